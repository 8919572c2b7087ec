"""Which directories the gate is given, and what people are told of those that it cannot read."""

from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace

import pytest

from reld.core.model import Color, Routing, Slot, State, Target
from reld.core.policy import SlotPolicy
from reld.errors import PrepareError
from reld.host.static_files import StaticFiles
from reld.nginx import static
from reld.nginx.settings import Static
from reld.unpack import claim
from tests.contract.gate_support import a_home, make_settings


class Machine:
    """Releases in a directory, blue = v1 is live, green = v2 its candidate."""

    def __init__(self, home):
        self.home = home / "releases"
        settings = make_settings(home, static=(Static("/assets/", "public"),))
        app = SimpleNamespace(directory=f"{self.home}/{{release}}")
        snapshots = SimpleNamespace(config=SimpleNamespace(app=app), get=self.snapshot)
        slots = [Slot(c, r, n, SlotPolicy(), ()) for c, r, n in
                 ((Color.BLUE, "v1", 1), (Color.GREEN, "v2", 2))]  # fmt: skip
        state = State("web", "boot", *slots)
        self.files = StaticFiles(lambda: state, snapshots, settings)
        self.routing = Routing(
            Target(Color.BLUE, "v1", ("127.0.0.1:1",)),
            Target(Color.GREEN, "v2", ("127.0.0.1:2",)),
            7,
        )

    async def snapshot(self, number):
        return SimpleNamespace(release=f"v{number}", directory=str(self.home / f"v{number}"))

    def put(self, name, at=0):
        place = self.home / name / "public"
        place.mkdir(parents=True)
        (place / "a.js").write_text("")
        os.utime(place.parent, (at, at))
        return place

    async def names(self):
        return [root.rpartition("/")[2] for root in await self.files.roots(self.routing)]

    async def warning(self):
        return await self.files.prepared(await self.snapshot(2))


@contextlib.asynccontextmanager
async def machine():
    async with a_home() as home:
        yield Machine(home)


async def test_the_candidate_comes_first_then_the_live_one_then_the_newest_ten_in_all():
    async with machine() as m:
        for number in range(1, 15):
            m.put(f"v{number}", at=1000 + number)
        m.put(".unpacking-v99", at=5000)
        for name in ("v98", "v97"):
            left = m.put(name, at=5000).parent
            (left / ".relctl-incomplete").touch()
        claim.Claim("v97", left.stat().st_ino).write(str(left))
        m.put("with blank", at=5000)
        (m.home / "current").symlink_to(m.home / "v3")
        names = await m.names()
        assert names == ["v2", "v1", *(f"v{n}" for n in range(14, 6, -1))]
        assert await m.warning() == ""


async def test_what_is_not_there_is_not_named():
    async with machine() as m:
        m.put("v1")
        assert await m.names() == ["v1"]
        assert "there is no public in release v2" in await m.warning()


async def test_files_that_the_gate_cannot_read_are_told_with_what_to_type():
    async with machine() as m:
        place = m.put("v2")
        (place / "a.js").chmod(0o600)
        os.chown(place / "a.js", 65534, -1)
        assert f"chmod o+r {place}/a.js" in await m.warning()
        place.parent.chmod(0o700)
        os.chown(place.parent, 65534, -1)
        assert f"chmod o+x {place.parent}" in await m.warning()


async def test_without_the_types_of_files_nothing_is_started_and_what_runs_serves_on(monkeypatch):
    async with machine() as m:
        m.put("v2")
        monkeypatch.setattr(static, "MIME_TYPES", m.home / "mime.types")
        with pytest.raises(PrepareError, match=r"there is no .*mime\.types") as found:
            await m.warning()
        assert "apt install nginx-common" in found.value.hint
        assert await m.names() == []
