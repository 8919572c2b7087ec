"""What the doctor sees of a real machine: owners, walls, disks, who listens."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from relctl.setup import look, running
from reld import config_file
from reld.aside import HangsError
from reld.config import Releases
from reld.doctor import examine
from reld.doctor.doctor import Doctor
from reld.doctor.examine import _bounded, _listens
from reld.doctor.finding import Area, Level
from reld.doctor.gather import app as asked_app
from reld.doctor.gather import machine, rights
from reld.errors import StoreError
from reld.probes.spec import Result
from reld.processes import ports
from tests.apps.running import KNOBS_PY, knobs_app
from tests.site import Site
from tests.site.site import free_ports


@pytest.fixture
def place():
    """Where other users get to, which pytest's own directories do not allow."""
    made = Path(tempfile.mkdtemp(prefix="relctl-rights-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def config(place):
    """An app of the user `games`, whose releases are below `place`."""
    path = place / "web.toml"
    path.write_text(
        f'[app]\ncommand = ["x", "{{port}}"]\ndirectory = "{place}/top/releases/{{release}}"\n'
        f'user = "games"\nenv_file = "{place}/web.env"\n[readiness]\ntcp = true\n'
        '[releases]\nshared = ["storage"]\n[access]\noperators = ["@games", "@no-such-group"]\n'
    )
    path.chmod(0o644)
    (place / "top/releases").mkdir(parents=True)
    for one in (place / "top", place / "top/releases"):
        one.chmod(0o755)
    return config_file.load(path, uid=os.geteuid(), neighbours=[])


def test_owners_and_modes_and_what_the_apps_user_may(config, place):
    (place / "web.env").write_text("A=1\n")
    (place / "web.env").chmod(0o640)
    found = rights.gathered(config, str(place / "control.sock"))
    assert found.releases is not None
    assert (found.releases.path, found.releases.owner, found.releases.wall) == (
        f"{place}/top/releases",
        "root",
        "",
    )
    assert (found.releases.readable, found.releases.writable) == (True, False)
    assert found.env_file is not None
    assert (found.env_file.mode, found.env_file.readable) == (0o640, False)
    assert found.shared is not None
    assert (found.shared.path, found.shared.mode) == (f"{place}/top/shared", None)
    assert found.socket is not None
    assert (found.socket.mode, found.unpacks) == (None, True)
    assert dict(found.groups)["no-such-group"] is None
    assert "games" in (dict(found.groups)["games"] or ())


def test_a_shut_directory_on_the_way_is_named(config, place):
    (place / "top").chmod(0o700)
    found = rights.gathered(config, "/nowhere").releases
    assert found is not None
    assert found.wall == f"{place}/top"
    assert not rights.gathered(replace(config, releases=Releases()), "/nowhere").unpacks
    shutil.chown(place / "top", "games")
    opened = rights.gathered(config, "/nowhere").releases
    assert opened is not None
    assert opened.wall == ""


def test_one_finding_for_each_file_system_and_none_for_what_is_not_there(tmp_path):
    found = machine.rooms((("a", str(tmp_path)), ("b", str(tmp_path)), ("c", "/no/such")))
    (one,) = found
    assert (one.what, one.path, one.free > 0, one.size >= one.free) == (
        "a and b",
        str(tmp_path),
        True,
        True,
    )


def test_nginx_tells_its_version_and_what_is_no_nginx_does_not():
    assert machine.nginx_version(Path("/usr/sbin/nginx"))[0].isdigit()
    assert machine.nginx_version(Path("/bin/true")) == ""
    assert machine.nginx_version(Path("/no/such")) == ""
    assert machine.descriptors() > 0
    assert 0 < (machine.machine_files() or 0.5) < 1


def test_who_listens_at_the_gates_port():
    (free,) = free_ports(1)
    assert _listens(f"127.0.0.1:{free}") == (False, "")
    assert ports.listens_on(free) == ""
    with knobs_app() as app, Site(app.port) as site:
        there, holder = _listens(f"127.0.0.1:{app.port}")
        assert (there, f"(pid {app.process.pid})" in holder) == (True, True)
        assert _listens(f"127.0.0.1:{site.port}") == (True, "")
        assert ports.listens_on(app.port) == "127.0.0.1"


def test_init_finds_the_process_behind_a_port_and_where_its_code_is(tmp_path, monkeypatch):
    monkeypatch.setattr(look, "_SYSTEM", ("/usr/",))  # this tree may lie anywhere, below /tmp too
    with knobs_app() as app:
        found = running.today(f"127.0.0.1:{app.port}")
        assert (found.pid, found.listens, found.port) == (app.process.pid, True, app.port)
        assert "--port" in found.command
        assert look._answering(found, "") == "/ready"
        assert found.directory == str(KNOBS_PY.parent)
        beside = replace(found, directory="/", command=("/usr/bin/python3", *found.command[1:]))
        assert look.home(beside) == str(KNOBS_PY.parent)
    assert not running.today(f"127.0.0.1:{app.port}").listens
    assert running.today(f"unix:{tmp_path}/none.sock").pid == 0


def test_a_name_for_an_app_comes_from_its_directory_its_unit_or_its_site():
    site = SimpleNamespace(names=("_", "www.shop-2.example.com"))
    unit = running.Today("127.0.0.1:1", unit="My_App@1.service")
    assert look.name_for("/srv/shop/current", None, None) == "shop"
    assert look.name_for("/srv/My Blog", unit, site) == "my-blog"
    assert look.name_for("", unit, site) == "my-app-1"
    assert look.name_for("/", None, site) == "shop-2"
    assert look.name_for("/1/2", None, None) == "web"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (HangsError("disks"), "disks hangs"),
        (TimeoutError(), "within 3.5 s"),
        (StoreError("the snapshot is lost", "relctl mend"), "the snapshot is lost"),
        (KeyError("x"), "KeyError"),
    ],
)
async def test_what_cannot_be_looked_at_is_a_finding_and_hides_no_other(trouble, words):
    async def look():
        raise trouble

    (one,) = await _bounded(Area.HOST, look)
    assert (one.level, words in one.text, bool(one.mend)) == (Level.WARNING, True, True)


async def test_a_slow_endpoint_is_not_asked_as_often_as_a_fast_one(monkeypatch):
    async def answered(spec, address):
        return Result(ok=True, detail="", seconds=0.45)

    monkeypatch.setattr(asked_app, "probe", answered)
    asked = await asked_app._ask("127.0.0.1:1", "/ready", "localhost")
    assert asked.times == (0.45, 0.45)


async def test_an_area_that_takes_too_long_is_left(monkeypatch):
    monkeypatch.setattr(examine, "PATIENCE", 0.05)
    (one,) = await _bounded(Area.APP, asyncio.Event().wait)
    assert "could not be looked at" in one.text


async def test_many_who_ask_at_once_are_one_look(monkeypatch):
    looked = []
    let_go = asyncio.Event()

    async def examined(means):
        looked.append(means)
        await let_go.wait()
        return []

    monkeypatch.setattr(examine, "examine", examined)
    doctor = Doctor(SimpleNamespace(state=lambda: SimpleNamespace(app="web")))
    asking = [asyncio.create_task(doctor.check()) for _ in range(10)]
    await asyncio.sleep(0)
    asking[0].cancel()  # one who leaves takes nothing from the others
    let_go.set()
    answers = await asyncio.gather(*asking[1:])
    assert answers == [{"app": "web", "findings": []}] * 9
    assert len(looked) == 1
    assert await doctor.check() == answers[0]
    assert len(looked) == 2
