"""The database is damaged, lost, out of room or held up, under a real reld: the app goes on, and going
back works; what happened is told until a person mends it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.load.load import Mix
from tests.rig import ROOT, LoadInThread, Rig, environment, fast

MIX = Mix(3, 2, 0, 0, 0, 0, think=0.03, upload_seconds=0.4, limit=50.0)
HALF = fast(steps=[50, 100], step_time="60s", step_max="10m")


def folded(path: Path) -> Path:
    """Its log is written back: after kill -9 nearly everything is only in there."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def flip(path: Path) -> None:
    with folded(path).open("r+b") as file:
        for place in (100, 4100, 8200):
            file.seek(place)
            was = file.read(1)
            file.seek(place)
            file.write(bytes([was[0] ^ 0x10]))


def write_off(path: Path) -> None:
    """Database and log, as a disk does it that lies about its fsync."""
    for name in ("state.db", "state.db-wal"):
        with contextlib.suppress(FileNotFoundError):
            there = path.with_name(name)
            there.write_bytes(os.urandom(there.stat().st_size))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "bits flipped": flip,
    "emptied": lambda path: folded(path).write_bytes(b""),
    "without its log": lambda path: path.with_name("state.db-wal").unlink(),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "noise": write_off,
}


def lose_everything(rig: Rig) -> None:
    write_off(rig.state / "state.db")
    (rig.state / "state.json").write_text("{}")


def backups(rig: Rig) -> list[Path]:
    return sorted(p for p in rig.state.glob("state.db.damaged-*") if p.name.endswith("Z"))


def ids(rig: Rig) -> list[int]:
    return [row["id"] for row in rig.ask("GET", "/v1/rollouts")[1]["rollouts"]]


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_database_costs_no_request_no_process_and_no_state(what: str) -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        before = rig.pids()
        with LoadInThread(rig.listen, None, MIX) as load:
            load.wait_for(10)
            rig.kill_reld()
            DAMAGES[what](rig.state / "state.db")
            rig.start_reld()
            shown = rig.status()
            assert (shown["release"], rig.pids(), shown["rollout"]) == ("v1", before, None)
            (backup,) = backups(rig)
            assert str(backup) in shown["degraded"], shown["degraded"]
            assert "relctl mend" in shown["degraded"]
            assert rig.relctl("status", "--check").code == 3
            refused = rig.relctl("switch", "v2")
            assert (refused.code, "relctl mend" in refused.err) == (9, True), refused.text
            mended = rig.relctl("mend")
            assert mended.code == 0, mended.text
            assert rig.status()["degraded"] is None
            switch = rig.relctl("switch", "v2")
            assert switch.code == 0, switch.text
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert ids(rig) in ([2, 1], [2])  # noise has no history
        assert rig.leftovers() == rig.pids()


def test_what_was_not_mended_is_told_after_every_start_and_going_back_is_not_barred() -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        assert rig.relctl("switch", "v2").code == 0
        rig.kill_reld()
        other = sqlite3.connect(rig.state / "state.db")
        other.execute("UPDATE state SET json = replace(json, 'v2', 'v3')")
        other.commit()
        other.close()
        rig.start_reld()
        told = rig.status()["degraded"]
        rig.kill_reld()
        rig.start_reld()
        assert rig.status()["degraded"] == told
        back = rig.relctl("rollback")
        assert back.code == 0, back.text
        assert rig.status()["release"] == "v1"
        assert rig.relctl("mend", "--json").json["rollouts"] == 2
        assert ids(rig) == [3, 2, 1]
        assert rig.relctl("mend").out == "nothing to mend: the state is whole\n"


@pytest.mark.parametrize("what", ["bits flipped", "noise"])
def test_a_database_that_is_damaged_while_traffic_is_shifted_can_still_be_rolled_back(
    what: str,
) -> None:
    with Rig(rest=HALF) as rig:
        rig.live_v1("v2")
        v1 = rig.pids()
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(50)
            both = rig.pids()
            load.wait_for(10)
            rig.kill_reld()
            DAMAGES[what](rig.state / "state.db")
            rig.start_reld()
            shown = rig.wait_share(50)
            assert shown["rollout"]["phase"] == "shifting"
            assert "is kept as" in shown["degraded"]
            assert rig.pids() == both
            back = rig.relctl("rollback")
            assert back.code == 0, back.text
            switch.communicate(timeout=40)
            rig.wait_idle()
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert rig.pids() == v1 == rig.leftovers()


def test_without_database_and_copy_offline_rollback_works_and_the_served_app_is_taken_over() -> (
    None
):
    with Rig(rest=HALF) as rig:
        rig.live_v1("v2", "v3")
        (v1,) = rig.pids()
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(50)
            rig.kill_reld()
            lose_everything(rig)
            back = rig.relctl("rollback", "--offline")
            assert (back.code, "50 % → 0 %" in back.out) == (0, True), back.text
            load.wait_for(10)
            rig.start_reld()
            switch.communicate(timeout=40)
            shown = rig.wait_status(lambda s: s["slots"]["green"]["release"] is None)
            assert (shown["release"], shown["live"]) == ("v1", "blue")
            assert shown["slots"]["blue"]["state"] == "external"
            for words in (
                "is kept as",
                "knows nothing",
                "v1 at 127.0.0.1:",
                "v2 at",
                "relctl mend",
            ):
                assert words in shown["degraded"], shown["degraded"]
            load.wait_for(10)
            assert rig.relctl("switch", "v3").code == 9
            assert rig.relctl("mend").code == 0
            switch = rig.relctl_begun("switch", "v3")
            rig.wait_share(50)
            number = rig.status()["rollout"]["id"]
            assert number == 3  # the lanes tell of rollout 2
            assert rig.relctl("promote", "--full").code == 0
            out, err = switch.communicate(timeout=40)
            assert switch.returncode == 0, out + err
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.status()["release"] == "v3"
        assert v1 in rig.leftovers()  # nobody knows whose it is: it is never signalled


def test_a_state_directory_that_is_gone_while_the_gate_serves_is_refused_and_the_app_goes_on() -> (
    None
):
    with Rig() as rig:
        rig.live_v1()
        rig.kill_reld()
        kept = rig.state.with_name("kept")
        rig.state.rename(kept)
        done = started(rig)
        assert (done.returncode, "Traceback" in done.stderr) == (9, False), done.stderr
        assert "what is not known must not be replaced" in done.stderr
        assert rig.get("/")[0] == 200
        shutil.rmtree(rig.state)
        kept.rename(rig.state)
        rig.start_reld()
        assert (rig.status()["release"], rig.status()["degraded"]) == ("v1", None)


def test_a_state_of_a_newer_reld_is_refused_with_a_way_out_and_the_app_goes_on() -> None:
    with Rig() as rig:
        rig.live_v1()
        rig.kill_reld(15)
        other = sqlite3.connect(rig.state / "state.db")
        other.execute("UPDATE meta SET schema = 99")
        other.commit()
        other.close()
        copy = (rig.state / "state.json").read_bytes()
        (rig.state / "state.json").unlink()
        done = started(rig)
        assert done.returncode == 9
        assert "a newer reld wrote it (schema 99" in done.stderr
        assert "install that version again" in done.stderr
        assert rig.get("/")[0] == 200
        # With a copy of our own the number is a damage like any other.
        (rig.state / "state.json").write_bytes(copy)
        rig.start_reld()
        assert "(its schema)" in rig.status()["degraded"]


def started(rig: Rig) -> subprocess.CompletedProcess[str]:
    """A reld that is expected to end by itself."""
    command = [sys.executable, "-m", "reld", str(rig.config)]
    directories = ["--state-dir", str(rig.state), "--runtime-dir", str(rig.runtime)]
    return subprocess.run(
        command + directories,
        capture_output=True,
        text=True,
        timeout=20,
        env=environment(),
        check=False,
        cwd=ROOT,
    )


class Disk:
    """The state directory, whose disk can be full, read-only or held up."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.state = rig.state

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Of its own and small, where we may mount."""
        self.state.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", str(self.state)]
        self.may_mount = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        try:
            yield
        finally:
            if self.may_mount:
                subprocess.run(["umount", "--lazy", str(self.state)], check=True)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        ballast = self.state / "ballast"
        if not self.may_mount:
            with self.held():
                yield
            return
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        try:
            yield
        finally:
            ballast.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """A mount above it, because the app writes its log below."""
        if not self.may_mount:
            with self.held():
                yield
            return
        subprocess.run(["mount", "--bind", str(self.state), str(self.state)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(self.state)], check=True)
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(self.state)], check=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Somebody keeps the database to himself: every write waits, then fails."""
        other = sqlite3.connect(self.state / "state.db", isolation_level=None, timeout=10)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


@contextlib.contextmanager
def rig_on_a_small_disk(rest: str) -> Iterator[tuple[Rig, Disk]]:
    rig = Rig(rest=rest)
    disk = Disk(rig)
    with disk.mounted(), rig:
        yield rig, disk


@pytest.mark.parametrize("how", ["full", "held"])
def test_a_disk_that_takes_nothing_refuses_new_rollouts_and_recovers_by_itself(how: str) -> None:
    with rig_on_a_small_disk(fast()) as (rig, disk):
        rig.live_v1("v2")
        before = rig.pids()
        with LoadInThread(rig.listen, None, MIX) as load, getattr(disk, how)():
            refused = rig.relctl("switch", "v2")
            assert refused.code == 9, refused.text
            assert "cannot save the state" in refused.err
            assert "cannot save the state" in rig.status()["degraded"]
            assert [row["id"] for row in rig.relctl("history", "--json").json["rollouts"]][-1] == 1
            assert rig.relctl("show", "1").code == 0
            assert set(rig.pids()) >= set(before)
            load.wait_for(10)
        rig.wait_status(lambda s: s["degraded"] is None)
        assert rig.relctl("switch", "v2").code == 0
        assert rig.receipt(2)["outcome"] == "done"


@pytest.mark.parametrize("how", ["full", "held"])
def test_a_running_rollout_goes_back_while_the_disk_takes_nothing_and_reld_may_even_be_killed(
    how: str,
) -> None:
    with rig_on_a_small_disk(HALF) as (rig, disk):
        rig.live_v1("v2")
        v1 = rig.pids()
        with LoadInThread(rig.listen, None, MIX) as load:
            switch = rig.relctl_begun("switch", "v2")
            rig.wait_share(50)
            both = rig.pids()
            load.wait_for(10)
            with getattr(disk, how)():
                back = rig.relctl_begun("rollback", "--no-wait")
                rig.wait_share(0)
                assert {rig.get("/")[1].split()[0] for _ in range(20)} == {
                    rig.get("/")[1].split()[0]
                }
                rig.wait_status(lambda s: s["degraded"])
                rig.kill_reld()
                rig.start_reld()
                shown = rig.wait_status(lambda s: s["degraded"])
                assert shown["rollout"]["percent"] == 0
                assert rig.pids() == both
                load.wait_for(10)
            back.communicate(timeout=40)
            rig.wait_idle()
            rig.wait_status(lambda s: s["degraded"] is None)
            switch.communicate(timeout=40)
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert rig.pids() == v1 == rig.leftovers()


def test_a_disk_that_became_read_only_does_not_keep_reld_from_starting() -> None:
    with rig_on_a_small_disk(fast()) as (rig, disk):
        rig.live_v1("v2")
        before = rig.pids()
        rig.kill_reld()
        with disk.read_only():
            rig.start_reld()
            shown = rig.wait_status(lambda s: s["degraded"])
            assert "cannot save the state" in shown["degraded"], shown
            assert (shown["release"], rig.pids()) == ("v1", before)
            assert rig.relctl("switch", "v2").code == 9
            assert ids(rig) == [1]
        rig.wait_status(lambda s: s["degraded"] is None)
        assert rig.relctl("switch", "v2").code == 0
