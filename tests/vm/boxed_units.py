"""What only the systemd launcher promises. Run inside a booted machine, by test_launcher.py."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from reld.core.model import Color, Exit
from reld.processes import cgroup, journal
from reld.processes.held import Held
from reld.processes.identity import adopt, alive
from reld.processes.journal import Journal
from reld.processes.session import attended
from reld.processes.spec import LaunchSpec, Unit
from reld.processes.tree import Tree, kill_tree
from reld.processes.units import Units, unit_name

APP = "boxed"
NAME = unit_name(APP, 7, Color.BLUE, 12)


@pytest.fixture
def place() -> Iterator[Path]:
    """Where anybody may write."""
    with tempfile.TemporaryDirectory(dir="/srv") as made:
        Path(made).chmod(0o777)
        yield Path(made)


@pytest.fixture
def units(tmp_path: Path) -> Units:
    return Units(APP, tmp_path / "launch")


def a_spec(
    script: str, name: str = NAME, number: int = 12, env: dict[str, str] | None = None, **more
) -> LaunchSpec:
    fields = (("RELCTL_APP", APP), ("RELCTL_INSTANCE", str(number)), ("RELCTL_RELEASE", "v1"))
    unit = Unit(name, "boxed v1: blue 0 (rollout 7)", APP, fields, **more)
    path = {"PATH": "/usr/bin:/bin", **(env or {})}
    return LaunchSpec(("sh", "-c", script), Path("/"), path, "nobody", Path("/nowhere"), unit=unit)


@contextlib.asynccontextmanager
async def running(units: Units, spec: LaunchSpec) -> AsyncIterator[Held]:
    held = await units.hold(spec)
    try:
        await held.let_go()
        yield held
    finally:
        held.abandon()
        await kill_tree(Tree(held.identity, "", cgroup.group_of(held.identity.pid)))
        await held.child.wait()
        os.close(held.pidfd)
        await units.forget(held.unit)


def shown(unit: str, *names: str) -> list[str]:
    asked = ["systemctl", "show", *(f"--property={name}" for name in names), unit]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    found = dict(line.split("=", 1) for line in said.splitlines())
    return [found[name] for name in names]


async def test_an_instance_is_a_unit_with_its_own_cgroup_in_relctl_s_slice(units):
    async with running(units, a_spec("sleep 60")) as held:
        assert held.unit == "relctl-boxed-r7-blue-12.service"
        assert cgroup.unit_of(held.identity.pid) == held.unit
        assert shown(held.unit, "Slice", "MainPID") == ["relctl.slice", str(held.identity.pid)]
        said = subprocess.run(
            ["systemctl", "status", held.unit], capture_output=True, text=True, check=True
        ).stdout
        assert "boxed v1: blue 0 (rollout 7)" in said


async def test_the_app_gets_nothing_of_the_launcher_s(units, place):
    script = "id -un > told; ls -l /proc/self/fd >> told; cat /proc/self/oom_score_adj >> told"
    spec = a_spec(f"cd {place}; {script}")
    async with running(units, spec) as held:
        assert await held.child.wait() == Exit(code=0)
    told = (place / "told").read_text()
    assert told.startswith("nobody\n")
    assert told.count("socket:") == 1  # stderr, the journal
    assert "/dev/null" in told
    assert told.endswith("\n0\n")


async def test_its_limits_are_systemd_s(units):
    spec = a_spec("sleep 60", memory_max=512 << 20, tasks_max=99, stop_timeout=7.5)
    async with running(units, spec) as held:
        asked = shown(held.unit, "MemoryMax", "TasksMax", "TimeoutStopUSec", "OOMPolicy")
        assert asked == [str(512 << 20), "99", "7.500000s", "continue"]


async def test_it_has_little_of_the_processor_until_it_is_ready(units):
    async with running(units, a_spec("sleep 60")) as held:
        assert shown(held.unit, "CPUWeight") == ["20"]
        await units.unleash(held.unit)
        assert shown(held.unit, "CPUWeight") == ["100"]
    # systemd tidies up when it has nothing else to do. (It keeps the fields, 75 bytes, until a reboot.)
    kept = Path(f"/run/systemd/units/log-extra-fields:{NAME}")
    while set(Path("/run/systemd").rglob(f"*{NAME}*")) - {kept}:
        await asyncio.sleep(0.02)


async def test_no_secret_is_shown_to_whoever_may_ask_systemd(units):
    async with running(units, a_spec("sleep 60", env={"PASSWORD": "s3cret"})) as held:
        everything = subprocess.run(
            ["systemctl", "show", "--all", held.unit], capture_output=True, text=True, check=True
        ).stdout
        assert "s3cret" not in everything
        found = subprocess.run(["grep", "-rl", "s3cret", "/run"], capture_output=True, check=False)
        assert found.stdout == b""


async def test_it_logs_straight_into_the_journal_under_its_release(units):
    # journald looks up whose a line is when it reads it: of a process that is gone by then it is nobody's.
    async with running(
        units, a_spec("echo out; echo err >&2; sleep 0.5; exit 3", number=13)
    ) as held:
        assert await held.child.wait() == Exit(code=3)
        assert journal.settle()
        fields = {"RELCTL_INSTANCE": "13", "_BOOT_ID": held.identity.boot_id.replace("-", "")}
        assert Journal(APP).tail(fields, 2) == ["out", "err"]
    said = subprocess.run(
        ["journalctl", "-o", "json", f"_SYSTEMD_UNIT={NAME}", "RELCTL_INSTANCE=13"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert {json.loads(line)["SYSLOG_IDENTIFIER"] for line in said.splitlines()} == {APP}


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("sleep 0.1; exit 5", Exit(code=5)),
        ("sleep 0.1; kill -11 $$", Exit(signal=11)),
        ("sleep 0.1", Exit(code=0)),
    ],
)
async def test_how_it_ended_is_known_to_a_reld_that_did_not_start_it(units, script, end):
    async with running(units, a_spec(script)) as held:
        pidfd = adopt(held.identity)
        assert pidfd is not None
        other = Units(APP, Path("/nowhere"))
        ending = other.adopted(held.unit, pidfd)
        os.close(pidfd)
        assert ending is not None
        assert await ending.wait() == end


async def test_a_stop_by_systemctl_is_told_from_a_crash(units):
    async with running(units, a_spec("exec sleep 60")) as held:
        await asyncio.to_thread(subprocess.run, ["systemctl", "stop", held.unit], check=True)
        assert (await held.child.wait()).cause == "stopped with systemctl"


async def test_a_daemon_that_hides_is_found_by_its_cgroup(units, place):
    script = f"setsid sh -c 'sleep 61 & echo $! > {place}/pid' & wait; exec sleep 60"
    async with running(units, a_spec(script)) as held:
        while not (place / "pid").exists() or not (place / "pid").read_text():
            await asyncio.sleep(0.01)
        hidden = int((place / "pid").read_text())
        group = cgroup.group_of(held.identity.pid)
        signal.pidfd_send_signal(held.pidfd, signal.SIGKILL)
        await held.child.wait()
        assert await kill_tree(Tree(held.identity, "", group))
        with pytest.raises(ProcessLookupError):
            os.kill(hidden, 0)


async def test_the_name_of_one_that_is_over_may_come_again(units):
    async with running(units, a_spec("exit 1")) as held:
        await held.child.wait()
        async with running(units, a_spec("exec sleep 60")) as again:
            assert again.unit == held.unit
            assert alive(again.identity)


async def test_a_name_that_is_in_use_is_refused_and_its_owner_left_alone(units):
    async with running(units, a_spec("exec sleep 60")) as held:
        with pytest.raises(Exception, match="systemd refuses"):
            await units.hold(a_spec("true"))
        assert alive(held.identity)


async def test_what_is_over_and_wanted_by_nobody_is_swept_away(units):
    other = unit_name(APP, 8, Color.GREEN, 13)
    foreign = "relctl-boxed-two-r1-blue-1.service"
    async with (
        running(units, a_spec("exec sleep 60")) as lives,
        running(units, a_spec("exit 1", other)) as ended,
        running(units, a_spec("exit 1", foreign)) as theirs,
    ):
        await ended.child.wait()
        await theirs.child.wait()
        await asyncio.to_thread(units.sweep, [])
        assert shown(lives.unit, "ActiveState") == ["active"]
        assert shown(other, "LoadState") == ["not-found"]
        assert shown(foreign, "ActiveState") == ["failed"]


async def test_a_held_one_whose_reld_died_never_ran(units, place):
    held = await units.hold(a_spec(f"touch {place}/ran"))
    held.abandon()
    assert (await held.child.wait()).code == 127
    os.close(held.pidfd)
    assert not (place / "ran").exists()
    await units.forget(held.unit)
    assert shown(held.unit, "LoadState") == ["not-found"]


async def test_nothing_is_left_in_the_directory_of_its_lines(units, tmp_path):
    async with running(units, a_spec("true")):
        assert list((tmp_path / "launch").iterdir()) == []


async def test_who_puts_releases_in_place_may_write_where_the_sandbox_of_the_app_does_not_let_it(
    units, place
):
    sandbox = Path("/etc/systemd/system/relctl-boxed-.service.d/sandbox.conf")
    sandbox.parent.mkdir()
    sandbox.write_text("[Service]\nProtectSystem=strict\n")
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    try:
        codes = []
        for writable in ((), (str(place), "/srv/not/there")):
            spec = LaunchSpec(
                ("touch", str(place / "made")), Path("/"), {"PATH": "/usr/bin:/bin"}, "nobody",
                Path("/nowhere"), writable=writable,
            )  # fmt: skip
            with open(os.devnull, "r+b") as nothing:
                streams = (nothing.fileno(),) * 3
                codes.append((await attended(spec, streams, units, lambda: False)).exit.code)
        assert codes == [1, 0]
    finally:
        shutil.rmtree(sandbox.parent)
        subprocess.run(["systemctl", "daemon-reload"], check=True)
