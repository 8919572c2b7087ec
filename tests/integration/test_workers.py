"""Real workers beside real instances: one at a time where they must be, without a gap where they may overlap."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any, Self

import pytest

from tests.rig import ROOT, Rig, fast, runs, wait_for

WORKER = ROOT / "tests" / "apps" / "worker.py"
TABLE = """
[[worker]]
name = "{name}"
command = ["/usr/bin/python3", "worker.py", "{diary}", "{lock}", "{{release}}", "{last}"]
handover = "{handover}"
stop_timeout = "3s"
"""
QUICK = fast(steps=[100], step_time="100ms", bake="100ms")
HELD = fast(steps=[100], step_time="100ms", bake="100ms", drain="2s", drain_max="20s")
SETTLED = 0.5
"""Seconds; reld itself waits longer, and tests should not."""
HOOK = f"import reld.core.instances as i\ni.SETTLED_AFTER = {SETTLED}\n"


class WorkerRig(Rig):
    """Every release brings its worker; `told` is what they wrote down."""

    def __init__(self, handover: str, *, last: float = 0.0, rest: str = QUICK) -> None:
        super().__init__(rest=rest, hook=HOOK)
        self.diary, self.lock = self.home / "diary", self.home / "lock"
        for path in (self.diary, self.lock):
            path.touch()
            path.chmod(0o666)
        table = TABLE.format(
            name="cron", diary=self.diary, lock=self.lock, last=last, handover=handover
        )
        with self.config.open("a") as file:
            file.write(table)

    def release(self, name: str, **knobs: Any) -> Path:
        directory = super().release(name, **knobs)
        shutil.copy(WORKER, directory / "worker.py")
        return directory

    def told(self, what: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.diary.read_text().splitlines()]
        return [line for line in lines if not what or line["what"] == what]

    def story(self) -> list[str]:
        return [f"{t['release']} {t['what']}" for t in self.told()]

    def workers(self, color: str = "") -> list[dict[str, Any]]:
        slots = self.status()["slots"]
        chosen = [slots[color]] if color else list(slots.values())
        return [w for slot in chosen for w in slot["workers"]]

    def wait_running(self, release: str) -> dict[str, Any]:
        """One worker runs, settled, and it is this release's."""

        def there(status: dict[str, Any]) -> bool:
            slots = status["slots"].values()
            found = [(s["release"], w["state"]) for s in slots for w in s["workers"]]
            return bool(found == [(release, "running")])

        self.wait_status(there)
        (worker,) = self.workers()
        return worker


class Files:
    """Looks at both slots' files, as fast as it can, in a thread."""

    def __init__(self, rig: Rig) -> None:
        self._paths = [rig.runtime / "active" / color for color in ("blue", "green")]
        self.seen: list[tuple[bool, bool]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def now(self) -> tuple[bool, bool]:
        # Backwards every other time: one that appears between two looks is no proof that both were.
        blue, green = self._paths
        first = (blue.exists(), green.exists())
        return first if first != (True, True) else (blue.exists(), first[1])

    def _look(self) -> None:
        while not self._over.is_set():
            now = self.now()
            if not self.seen or self.seen[-1] != now:
                self.seen.append(now)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join(10)


def test_stop_first_never_runs_twice_in_a_switch_a_revert_and_a_rollback() -> None:
    with WorkerRig("stop-first", last=0.3, rest=HELD) as rig, Files(rig) as files:
        rig.live_v1("v2")
        rig.wait_running("v1")
        switching = rig.relctl_begun("switch", "v2")
        rig.wait_phase("draining")
        wait_for(lambda: "v2 start" in rig.story(), 10, "v2's worker is not started")
        assert rig.relctl("rollback").code == 0
        switching.communicate(timeout=60)
        rig.wait_idle()
        rig.wait_running("v1")
        assert rig.story() == [
            *("v1 start", "v1 asked", "v1 stop"),
            *("v2 start", "v2 asked", "v2 stop"),
            "v1 start",
        ]
        assert rig.relctl("switch", "v2").code == 0
        assert rig.relctl("rollback").code == 0
        rig.wait_running("v1")
        assert rig.told("twice") == []
        assert rig.story()[-1] == "v1 start"
        receipt = rig.receipt(2)
        moves = [f"{m['release']} {m['worker']} {m['what']}" for m in receipt["workers"]]
        assert moves[:3] == ["v1 cron stopped", "v2 cron started", "v2 cron stopped"]
    assert (True, True) not in files.seen
    assert {(True, False), (False, True)} <= set(files.seen)


def test_overlap_leaves_no_gap_and_gives_the_worker_its_environment() -> None:
    with WorkerRig("overlap", last=0.1) as rig:
        rig.live_v1("v2")
        rig.wait_running("v1")
        assert rig.relctl("switch", "v2").code == 0
        rig.wait_running("v2")
        first, second = rig.told("start")
        (asked,) = rig.told("asked")
        assert (first["release"], second["release"], asked["release"]) == ("v1", "v2", "v1")
        assert asked["at"] >= second["at"] + SETTLED / 2  # it counts from when it was let go
        env = second["env"]
        assert "PORT" not in env
        assert (env["RELCTL_APP"], env["RELCTL_WORKER"], env["RELCTL_RELEASE"]) == (
            *("web", "cron", "v2"),
        )
        assert env["RELCTL_ACTIVE_FILE"] == str(rig.runtime / "active" / env["RELCTL_SLOT"])
        assert not asked["active"]
        (instance,) = rig.pids(env["RELCTL_SLOT"])
        shown = Path(f"/proc/{instance}/environ").read_text()
        assert f"RELCTL_ACTIVE_FILE={env['RELCTL_ACTIVE_FILE']}\0" in shown
        said = rig.relctl("logs", "--lines", "50")
        assert "worker cron of v2 is here" in said.out
        assert "cron" in rig.relctl("status").out


def test_a_worker_that_is_killed_is_nursed_and_its_children_go_first() -> None:
    with WorkerRig("stop-first") as rig:
        rig.live_v1()
        before = rig.wait_running("v1")
        os.kill(before["pid"], signal.SIGKILL)
        wait_for(lambda: len(rig.told("start")) == 2, 10, "it was not started again")
        after = rig.wait_running("v1")
        assert after["pid"] != before["pid"]
        assert after["restarts"] == 1
        assert rig.told("twice") == []  # the child that shared its lock was killed first


def test_a_worker_that_does_not_stay_up_is_told_and_the_old_one_goes_on_for_a_while() -> None:
    with WorkerRig("overlap", rest=fast(steps=[100], bake="0s", drain_max="1500ms")) as rig:
        rig.live_v1("v2")
        (rig.releases / "v2" / "broken").touch()
        rig.wait_running("v1")
        switching = rig.relctl_begun("switch", "v2")
        rig.wait_status(
            lambda s: (
                "worker cron of v2 does not stay up" in (s["degraded"] or "")
                and "not running yet" in (s["rollout"]["waiting"] or "")
            )
        )
        assert rig.told("asked") == []
        switching.communicate(timeout=60)
        assert switching.returncode == 0
        assert len(rig.told("asked")) == 1
        assert "worker cron of v2 does not stay up" in rig.status()["degraded"]
        (rig.releases / "v2" / "broken").unlink()
        rig.wait_running("v2")
        assert rig.status()["degraded"] is None


def test_stop_start_and_eject() -> None:
    with WorkerRig("stop-first", last=0.2) as rig:
        rig.live_v1()
        before = rig.wait_running("v1")
        ejected = rig.relctl("eject")
        assert ejected.code != 0
        assert "write a unit for each worker" in ejected.text
        assert rig.relctl("stop").code == 0
        assert not runs(before["pid"])
        assert rig.story() == ["v1 start", "v1 asked", "v1 stop"]
        assert not any((rig.runtime / "active").iterdir())
        assert rig.relctl("start").code == 0
        rig.wait_running("v1")
        assert rig.told("twice") == []


POINTS = ("before:stop", "after:kill", "after:spawn:2", "after:release:2", "before:keep-active:2")


@pytest.mark.timeout(200)
def test_reld_is_killed_in_the_middle_of_a_handover_and_it_goes_on() -> None:
    with WorkerRig("stop-first", last=0.1) as rig, Files(rig) as files:
        names = [f"v{n}" for n in range(2, len(POINTS) + 2)]
        rig.live_v1(*names)
        for name, point in zip(names, POINTS, strict=True):
            rig.wait_status(lambda s: not s["rollout"] and not s["degraded"])
            rig.kill_reld()
            rig.start_reld(failpoint=point)
            assert rig.reld is not None
            switching = rig.relctl_begun("switch", name)
            rig.reld.wait(30)
            assert rig.reld.returncode == -signal.SIGKILL, point
            rig.start_reld()
            switching.communicate(timeout=60)
            rig.wait_idle()
            assert rig.status()["release"] == name, point
            rig.wait_running(name)
            assert rig.told("twice") == [], point
    assert (True, True) not in files.seen


def test_a_rollback_brings_back_the_worker_that_the_old_release_had() -> None:
    with WorkerRig("stop-first") as rig:
        rig.live_v1("v2")
        rig.wait_running("v1")
        rig.edit('name = "cron"', 'name = "timer"')
        assert rig.relctl("switch", "v2").code == 0
        rig.wait_running("v2")
        assert [w["name"] for w in rig.workers()] == ["timer"]
        assert rig.relctl("rollback").code == 0
        rig.wait_running("v1")
        assert [w["name"] for w in rig.workers()] == ["cron"]
        assert rig.told("twice") == []
