"""Ports of several apps on one machine: real files, real locks, real processes."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reld import config_file, leases
from reld.config import Config, PortRange
from reld.errors import ConfigError, PrepareError
from reld.leases import NAME, Leases
from tests.ports import Ports
from tests.rig import ROOT, environment

FIRST = Ports().first
SMALL = """\
[app]
command = ["bin/serve"]
directory = "/srv/{release}"
user = "nobody"
[readiness]
tcp = true
"""


class Machine:
    """Configs in one directory, states in another; nothing runs."""

    def __init__(self, home: Path) -> None:
        self.etc, self.states = home / "etc", home / "states"
        self.etc.mkdir()
        self.states.mkdir()

    def config(self, app: str, rest: str = "") -> Path:
        path = self.etc / f"{app}.toml"
        path.write_text(SMALL + rest)
        path.chmod(0o644)
        return path

    def leases(self, app: str) -> Leases:
        (self.states / app).mkdir(exist_ok=True)
        return Leases(self.states / app, app)

    def load(self, app: str) -> Config:
        kept = self.leases(app).kept()
        return config_file.load(self.etc / f"{app}.toml", uid=os.geteuid(), kept=kept)

    def start(self, app: str) -> Config:
        """What a reld does first. Its lock is held for as long as the test has the file open."""
        config = self.load(app)
        self.leases(app).claim(config, ())
        return config

    def lock(self, app: str) -> int:
        handle = os.open(self.states / app / "reld.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(handle, fcntl.LOCK_EX)
        return handle


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_a_new_app_does_not_move_the_range_of_one_that_has_started(machine):
    machine.config("shop", '[gate]\nlisten = "127.0.0.1:8081"\n')
    before = machine.start("shop").ports.range
    machine.config("aaa")
    assert machine.start("aaa").ports.range != before
    assert machine.load("shop").ports.range == before
    machine.config("bbb", '[gate]\nlisten = "127.0.0.1:8082"\n')
    assert len({machine.start(app).ports.range.first for app in ("shop", "aaa", "bbb")}) == 3
    assert machine.load("shop").ports.range == before


def test_an_app_that_takes_its_range_out_of_its_config_keeps_it(machine):
    machine.config("web", '[ports]\nrange = "23400-23499"\n')
    machine.start("web")
    machine.config("web")
    assert machine.start("web").ports.range == PortRange(23400, 23499)


def test_the_range_of_an_app_whose_config_was_removed_is_free_again(machine):
    path = machine.config("shop")
    before = machine.start("shop").ports.range
    path.unlink()
    machine.config("web")
    assert machine.start("web").ports.range == before


def test_the_one_that_was_there_first_keeps_its_gate_and_the_newcomer_is_refused(machine):
    machine.config("web")
    machine.start("web")
    machine.config("copy")
    with pytest.raises(ConfigError) as refused:
        machine.start("copy")
    assert "copy.toml" in refused.value.message
    assert "127.0.0.1:8080 is taken by web (web.toml)" in refused.value.message
    machine.start("web")


def test_two_that_never_started_and_want_one_gate_are_both_refused(machine):
    machine.config("web")
    machine.config("copy")
    for app, other in (("web", "copy"), ("copy", "web")):
        with pytest.raises(ConfigError, match=rf"{app}\.toml.* is taken by {other} \({other}"):
            machine.load(app)


def test_a_config_in_another_directory_is_refused_the_gate_of_a_reld_that_runs(machine, tmp_path):
    machine.config("web")
    first = machine.start("web")
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(SMALL)
    config = config_file.load(elsewhere, uid=os.geteuid())
    handle = machine.lock("web")
    with pytest.raises(ConfigError, match=r"elsewhere\.toml: .*taken by web \(.*web\.toml\)"):
        machine.leases("elsewhere").claim(config, ())
    os.close(handle)  # it ended, and is not coming back by itself
    machine.leases("elsewhere").claim(config, ())
    assert first.ports.range == config.ports.range


def test_nobody_gets_a_port_that_another_app_has_even_while_it_does_not_listen(machine):
    chosen = f'[ports]\nrange = "{FIRST}-{FIRST + 19}"\n'
    machine.config("web", chosen)
    one = machine.start("web")
    mine = machine.leases("web").pick(one, 2, ())
    other = replace(one, path=machine.etc / "other.toml")
    theirs = machine.leases("other").pick(other, 2, ())
    assert not set(mine) & set(theirs)


def test_ports_that_nobody_has_any_more_are_given_again(machine):
    machine.config("web", f'[ports]\nrange = "{FIRST}-{FIRST + 5}"\n')
    config = machine.start("web")
    book = machine.leases("web")
    seen = [book.pick(config, 1, ()) for _ in range(12)]
    assert len(seen) == 12


def test_what_is_still_in_use_is_written_down_with_what_is_new(machine):
    machine.config("web", f'[ports]\nrange = "{FIRST}-{FIRST + 19}"\n')
    config = machine.start("web")
    found = machine.leases("web").pick(config, 1, {FIRST})
    said = json.loads((machine.states / "web" / NAME).read_text())
    assert {FIRST, *found, 8080} <= set(said["ports"])


def test_a_damaged_lease_is_nobodys(machine):
    machine.config("web")
    machine.start("web")
    for damage in ("", "{", "[]", '{"app": 1}', "\0" * 100):
        (machine.states / "web" / NAME).write_text(damage)
        assert machine.leases("other").kept() == {}


PICKING = """
import sys
from pathlib import Path
from reld import config_file
from reld.leases import Leases
config = config_file.load(Path(sys.argv[2]), uid={uid}, neighbours=())
leases = Leases(Path(sys.argv[1]), config.name)
sys.stdin.readline()
for _ in range(20):
    print(*leases.pick(config, 2, ()), flush=True)
"""


def test_relds_that_pick_at_the_same_moment_never_get_the_same_port(machine):
    """Four of them, all from one small range, which no config check allows."""
    for app in "abcd":
        machine.config(app, f'[ports]\nrange = "{FIRST}-{FIRST + 30}"\n')
        (machine.states / app).mkdir()
    pickers = [
        subprocess.Popen(
            [sys.executable, "-c", PICKING.format(uid=os.geteuid()), machine.states / app,
             machine.etc / f"{app}.toml"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(), cwd=ROOT,
        )
        for app in "abcd"
    ]  # fmt: skip
    for picker in pickers:
        assert picker.stdin is not None
        picker.stdin.write("\n")
        picker.stdin.flush()
    said = [picker.communicate(timeout=60)[0].split() for picker in pickers]
    assert [picker.returncode for picker in pickers] == [0] * 4
    last = [set(words[-2:]) for words in said]  # what each of them has now
    assert len(set().union(*last)) == 8


def test_a_reld_that_was_killed_while_it_picked_holds_nobody_up(machine, monkeypatch):
    machine.config("web", f'[ports]\nrange = "{FIRST}-{FIRST + 19}"\n')
    config = machine.start("web")
    code = (
        "import fcntl, os, sys, time\n"
        f"fcntl.flock(os.open({str(machine.states)!r}, os.O_RDONLY), fcntl.LOCK_EX)\n"
        "print('locked', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    monkeypatch.setattr(leases, "PATIENCE", 0.1)
    with pytest.raises(PrepareError, match=r"holds .* locked"):
        machine.leases("web").pick(config, 1, ())
    machine.leases("web").claim(config, ())  # an app is never left without its reld
    holder.kill()
    holder.communicate()
    assert machine.leases("web").pick(config, 1, ())


def test_where_nothing_can_be_written_a_port_is_found_all_the_same(machine, monkeypatch):
    machine.config("web", f'[ports]\nrange = "{FIRST}-{FIRST + 19}"\n')
    config = machine.start("web")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(leases.durable, "replace", full)
    assert machine.leases("web").pick(config, 1, ())


def test_it_is_known_which_port_is_for_another_app(machine):
    machine.config("web")
    machine.config("shop", '[gate]\nlisten = "127.0.0.1:8090"\n[ports]\nrange = "23000-23009"\n')
    machine.start("web")
    machine.start("shop")
    asked = [machine.leases("web").others(port) for port in (8090, 23005, 8080, 8000)]
    assert asked == ["shop", "shop", "", ""]
    (machine.etc / "shop.toml").unlink()
    assert machine.leases("web").others(8090) == ""
