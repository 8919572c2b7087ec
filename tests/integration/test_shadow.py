"""Before any user sees it: what fails on copies of the live slot's GETs never gets a lane."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Self

import pytest

from tests.rig import Rig, fast, wait_for

MIRRORING = fast(shadow="20%", step_time="1s", step_requests=100, step_max="20s", steps=[50, 100])


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(rest=MIRRORING, app='stop_timeout = "500ms"') as rig:
        rig.live_v1()
        yield rig


class Visitors:
    """Somebody asks again and again, is always answered well, and notes by whom."""

    def __init__(self, rig: Rig) -> None:
        self.seen: list[tuple[int, str]] = []
        self._rig = rig
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._come)

    def _come(self) -> None:
        while not self._enough.is_set():
            status, body = self._rig.get()
            self.seen.append((status, json.loads(body)["release"] if status == 200 else ""))
            time.sleep(0.004)

    @property
    def releases(self) -> set[str]:
        return {release for _, release in self.seen}

    def __enter__(self) -> Self:
        self._thread.start()
        wait_for(lambda: len(self.seen) > 50, 20, "nobody came")
        return self

    def __exit__(self, *exception: object) -> None:
        self._enough.set()
        self._thread.join()
        assert {status for status, _ in self.seen} == {200}


def begun(rig: Rig, release: str, *options: str) -> int:
    """A switch whose copies have begun to come."""
    answer = rig.relctl("switch", release, "--no-wait", *options)
    assert answer.code == 0, answer.text
    rig.wait_status(lambda s: s["rollout"] and (s["rollout"]["shadow"]["total"] or 0) > 5)
    return int(answer.out)


def test_a_release_whose_gets_fail_is_refused_and_no_user_has_seen_it(rig: Rig) -> None:
    rig.release("failing", get_error_rate=1.0)
    with Visitors(rig) as visitors:
        answer = rig.relctl("switch", "failing")
    assert answer.code == 1, answer.text
    assert "failing" not in visitors.releases
    account = rig.receipt(2)
    assert (account["outcome"], account["moved"]) == ("failed", False)
    assert account["reason"].startswith("failed in shadow: failing failed all of ")
    assert account["reason"].endswith("; no user saw it")
    assert account["requests"]["green"]["total"] == 0
    assert account["shadow"]["failures"] == account["shadow"]["total"] >= 6
    assert account["evidence"]["verdict"] == "worse"
    assert "shadow     20 % of the GETs mirrored: " in answer.out
    assert rig.status()["release"] == "v1"


def test_a_release_that_hangs_is_refused_and_no_user_has_waited(rig: Rig) -> None:
    rig.release("hanging", hang_rate=1.0)
    with Visitors(rig) as visitors:
        answer = rig.relctl("switch", "hanging")
    assert answer.code == 1, answer.text
    assert "requests to hanging wait without an answer" in answer.out
    assert "hanging" not in visitors.releases


def test_going_back_in_the_shadow_moves_nobody(rig: Rig) -> None:
    rig.release("unwanted")
    with Visitors(rig) as visitors:
        number = begun(rig, "unwanted", "--step-time", "15s")
        assert rig.relctl("abort").code == 0
        rig.wait_idle()
        assert rig.receipt(number)["moved"] is False
        number = begun(rig, "unwanted", "--step-time", "15s")
        # What `relctl rollback --offline` does, for want of lanes to move.
        (rig.runtime / f"lanes/{number}/shadow").unlink()
        rig.wait_idle()
        assert rig.receipt(number)["reason"] == "the mirror was switched off"
    assert "unwanted" not in visitors.releases


def test_where_nobody_comes_it_goes_on_and_says_so(rig: Rig) -> None:
    rig.release("quiet")
    options = ("--shadow", "1%", "--step-max", "1s", "--step-requests", "1000000000")
    answer = rig.relctl("switch", "quiet", *options)
    assert answer.code == 0, answer.text
    number = int(answer.out.partition("rollout ")[2].split(":")[0])
    shadow = rig.receipt(number)["shadow"]
    assert (shadow["share"], shadow["over"]) == (0.01, True)
    assert shadow["reason"] == "too few requests to show anything"


def test_a_good_release_goes_through_also_when_reld_is_killed_in_the_shadow(rig: Rig) -> None:
    rig.release("good")
    with Visitors(rig) as visitors:
        number = begun(rig, "good", "--step-time", "2s")
        assert "good" not in visitors.releases
        rig.kill_reld()
        rig.start_reld()
        rig.wait_share(50)
        assert not (rig.runtime / f"lanes/{number}/shadow").exists()
        rig.wait_idle()
    account = rig.receipt(number)
    assert account["outcome"] == "done", account
    assert account["shadow"]["total"] >= 20
    assert (account["shadow"]["failures"], account["shadow"]["reason"]) == (0, None)
    assert account["reloads"] == 2
