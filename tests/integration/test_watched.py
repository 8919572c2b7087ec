"""Live traffic decides: bad releases go back by themselves, and healthy ones are not blamed.

What has to be quick is looked at alone; what takes its time anyway happens side by side (`slow`).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.rig import Rig, wait_for
from tests.scenes import MOSTLY_READS, Play, Scene, play, watched

ALMOST_NO_ALARM = "1/1000000"


def rolled_back(scene: Scene, at: int) -> None:
    """By itself, with exit code 3 and a reason, and v1 serves."""
    assert scene.answer.code == 3, scene.text
    assert scene.receipt["outcome"] == "rolled_back"
    assert scene.receipt["evidence"]["share"] == at, scene.text
    assert scene.receipt["reason"].splitlines()[0] in scene.answer.text
    assert [v.release for v in scene.seen.visits[-20:]] == ["v1"] * 20


def done(scene: Scene) -> None:
    assert scene.answer.code == 0, scene.text
    assert scene.receipt["outcome"] == "done"
    assert {v.release for v in scene.seen.visits[-20:]} == {"v2"}


# Every GET fails


@pytest.fixture(scope="module")
def reads_fail() -> Iterator[Scene]:
    with Rig(rest=watched()) as rig:
        rig.live_v1()
        rig.release("v2", get_error_rate=1.0)
        yield play(rig)


def test_a_release_that_fails_every_get_is_back_in_a_second_and_no_user_sees_it(
    reads_fail: Scene,
) -> None:
    rolled_back(reads_fail, at=5)
    assert reads_fail.seen.failed == [], reads_fail.text
    # Half a second as a rule (`python -m tests.bench watched`); a shared machine may stand still for a second.
    assert reads_fail.seconds_back <= 3.0, reads_fail.text
    assert len(reads_fail.dealt) <= 60


def test_the_reason_has_the_requests_of_both_and_the_odds_and_where(reads_fail: Scene) -> None:
    reason = reads_fail.receipt["reason"]
    for words in ("v2 failed ", " requests", "v1 none of ", "by chance once in ", "GET"):
        assert words in reason, reason


def test_the_receipt_counts_what_the_shield_saved(reads_fail: Scene) -> None:
    old, new = reads_fail.account
    failed = len(reads_fail.first_failures)
    assert (new["failures"], new["saved"], new["errors"]) == (failed, failed, 0), reads_fail.text
    assert (old["failures"], old["errors"]) == (0, 0)
    assert new["total"] == reads_fail.seen.by_release()["v2"]
    assert f"{failed} saved by the shield" in reads_fail.answer.text


# Hangs and crashes


def test_a_release_that_never_answers_is_back_long_before_the_first_timeout() -> None:
    with Rig(rest=watched(), app='stop_timeout = "500ms"') as rig:
        rig.live_v1()
        rig.release("v2", hang_rate=1.0)
        scene = play(rig)
        rolled_back(scene, at=5)
        assert scene.seconds_exposed <= 5, scene.text
        assert "without an answer" in scene.receipt["reason"]


def test_a_crash_at_a_quarter_of_the_traffic_is_back_within_300_ms() -> None:
    with Rig(rest=watched(steps=[25, 100])) as rig:
        rig.live_v1("v2")
        with Play(rig) as playing:
            rig.wait_share(25)
            (pid,) = rig.pids("green")
            killed = time.time()
            os.kill(pid, signal.SIGKILL)
            scene = playing.ended(20)
        rolled_back(scene, at=25)
        assert scene.told.when("v1 has all the traffic again") - killed <= 0.3, scene.text
        assert "killed by signal 9" in scene.receipt["reason"]
        # What was written to the process when it died may be lost; nobody may send it again.
        assert {v.method for v in scene.seen.failed} <= {"POST"}, scene.text
        assert len(scene.seen.failed) <= 3


# Side by side from here on: a part of the traffic each, so that two cores can do it


def five_percent_of_posts_fail() -> tuple[Scene, dict[str, Any], dict[str, Any]]:
    """And two replays: as it was judged, and by a judge who hardly ever is wrong."""
    with Rig(rest=watched()) as rig:
        rig.live_v1()
        rig.release("v2", post_error_rate=0.05)
        scene = play(rig, rate=250.0, posts=1.0)
        number = str(scene.receipt["id"])
        same = rig.relctl("replay", number, "--json")
        stricter = rig.relctl("replay", number, "--json", "--false-alarm", ALMOST_NO_ALARM)
        return scene, same.json, stricter.json


def both_have_an_outage_and_one_leaks() -> tuple[Scene, str, str]:
    """And what it waited for, and what was said of the memory."""
    # How the outage falls on the two is chance: now and then it is not clear for long, and `step_max` ends it.
    some = watched(steps=[25, 100], step_time="12s", step_max="24s", bake="4s")
    with Rig(rest=some) as rig:
        outage = rig.home / "outage"
        rig.live_v1(outage_file=str(outage))
        rig.release("v2", outage_file=str(outage), leak=60_000)
        with Play(rig, rate=150.0) as playing:
            rig.wait_share(25)
            # What is usual has to be known before something can be unusual.
            wait_for(lambda: rig.receipt(2)["requests"]["blue"]["total"] > 500, 20, "no traffic")
            outage.touch()
            told = rig.wait_status(lambda s: "environment" in waiting_of(s), 10)
            time.sleep(3.0)
            outage.unlink()
            warned = rig.wait_status(lambda s: s["slots"]["green"]["resources"]["warning"], 25)
            scene = playing.ended(90)
        return scene, waiting_of(told), warned["slots"]["green"]["resources"]["warning"]


def nobody_comes() -> None:
    quiet = {"steps": [50, 100], "step_time": "300ms", "step_max": "600ms", "bake": "300ms"}
    with Rig(rest=watched(**quiet)) as rig:
        rig.live_v1("v2", "v3")
        answer = rig.relctl("switch", "v2", "--json")
        assert answer.code == 0, answer.text
        assert (answer.json["outcome"], answer.json["unproven"]) == ("done", True)
        for words in ("unproven", "nothing is known"):
            assert words in answer.json["summary"], answer.json
        on_unproven(rig, "rollback")
        answer = rig.relctl("switch", "v3")
        assert answer.code == 3, answer.text
        assert "unproven: only 0 of 50 requests" in answer.text
        on_unproven(rig, "hold")
        switch = rig.relctl_begun("switch", "v3")
        for phase in ("shifting", "baking"):
            rig.wait_phase(phase)
            told = rig.wait_status(lambda s: "relctl promote" in waiting_of(s))
            assert "unproven" in waiting_of(told)
            assert rig.relctl("promote").code == 0
        out, err = switch.communicate(timeout=20)
        assert switch.returncode == 0, out + err
        assert "unproven" in out, out


def on_unproven(rig: Rig, what: str) -> None:
    kept = [x for x in rig.config.read_text().splitlines() if not x.startswith("on_unproven")]
    text = "\n".join(kept).replace("[verdict]", f'[verdict]\non_unproven = "{what}"')
    rig.config.write_text(text)


def the_log_falls_silent() -> tuple[Scene, str, int]:
    """And what was said while it was, and the share some seconds later."""
    with Rig(rest=watched(steps=[50, 100], step_time="2s", step_requests=300)) as rig:
        rig.live_v1("v2")
        # Too few for the step, so that only what is read later can end it.
        with Play(rig, rate=60.0) as playing:
            rig.wait_share(50)
            log = rig.request_log
            log.rename(log.with_name("elsewhere"))
            log.touch()
            told = rig.wait_status(lambda s: "log" in waiting_of(s), 15)
            time.sleep(3.0)
            share = rig.status()["rollout"]["percent"]
            log.unlink()
            rig.reopen_log()
            scene = playing.ended(40)
        return scene, waiting_of(told), share


def more_is_refused() -> tuple[Scene, str, int]:
    """And what it waited for, and the share some seconds later."""
    with Rig(rest=watched(steps=[50, 100], bake="1s")) as rig:
        rig.live_v1()
        rig.release("v2", refuse_rate=0.2)
        with Play(rig, rate=150.0) as playing:
            told = rig.wait_status(lambda s: "relctl promote" in waiting_of(s), 25)
            time.sleep(1.5)
            share = rig.status()["rollout"]["percent"]
            while (running := rig.status()["rollout"]) is not None:  # each wait is one question
                if "relctl promote" in (running["waiting"] or ""):
                    rig.relctl("promote")
                time.sleep(0.1)
            scene = playing.ended(20)
        return scene, waiting_of(told), share


def a_bad_one_is_observed() -> Scene:
    with Rig(rest=watched(steps=[5, 100], step_time="2s", bake="1s")) as rig:
        rig.live_v1()
        rig.release("v2", error_rate=1.0)
        return play(rig, "switch", "v2", "--observe", rate=250.0, posts=MOSTLY_READS)


def waiting_of(status: dict[str, Any]) -> str:
    return (status["rollout"] or {}).get("waiting") or ""


SLOW: tuple[Callable[[], Any], ...] = (
    five_percent_of_posts_fail,
    both_have_an_outage_and_one_leaks,
    nobody_comes,
    the_log_falls_silent,
    more_is_refused,
    a_bad_one_is_observed,
)


@pytest.fixture(scope="module")
def slow() -> Iterator[dict[Callable[[], Any], Future[Any]]]:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        yield {scene: pool.submit(scene) for scene in SLOW}


Slow = dict[Callable[[], Any], Future[Any]]


def test_five_percent_of_errors_are_rolled_back_at_the_first_step(slow: Slow) -> None:
    scene, _, _ = slow[five_percent_of_posts_fail].result()
    rolled_back(scene, at=5)
    # 7 on average; so many come once in thousands of runs.
    assert 3 <= len(scene.seen.failed) <= 20, scene.text
    old, new = scene.account
    seen = scene.seen.by_release(errors=True)["v2"]
    assert (new["errors"], new["failures"], new["saved"]) == (seen, seen, 0), scene.text
    assert new["total"] == scene.seen.by_release()["v2"]
    assert old["errors"] == 0


def test_a_replay_finds_the_same_and_with_fewer_false_alarms_no_sooner(slow: Slow) -> None:
    scene, same, stricter = slow[five_percent_of_posts_fail].result()
    found = same["found"]
    assert (found["verdict"], found["share"]) == ("worse", 5)
    assert found["sentence"].startswith("v2 failed ")
    assert abs(found["seconds"] - scene.seconds_exposed) <= 3, (same, scene.text)
    assert stricter["found"] is None or stricter["found"]["seconds"] >= found["seconds"]


def test_an_outage_of_both_is_the_environment_and_no_reason_to_go_back(slow: Slow) -> None:
    scene, told, _ = slow[both_have_an_outage_and_one_leaks].result()
    done(scene)
    assert "the environment, not the release" in told
    assert any("the shield is off" in text for text in scene.told.texts), scene.text
    assert any("the shield is on again" in text for text in scene.told.texts), scene.text


def test_a_leak_is_told_and_no_reason_to_go_back(slow: Slow) -> None:
    scene, _, warned = slow[both_have_an_outage_and_one_leaks].result()
    done(scene)
    assert "memory of v2 grows by" in warned
    assert any("memory of v2 grows by" in text for text in scene.told.texts), scene.text
    assert "memory of v2 grows by" in scene.receipt["warning"]


def test_without_traffic_a_release_is_unproven_and_the_config_says_what_then(slow: Slow) -> None:
    slow[nobody_comes].result()


def test_a_silent_log_holds_says_so_never_goes_on_and_is_trusted_again_when_mended(
    slow: Slow,
) -> None:
    scene, told, share = slow[the_log_falls_silent].result()
    done(scene)
    assert "stays silent" in told
    assert share == 50
    assert any("can be trusted again" in text for text in scene.told.texts), scene.text


def test_a_release_that_refuses_more_waits_for_a_person(slow: Slow) -> None:
    scene, told, share = slow[more_is_refused].result()
    done(scene)
    assert "4xx" in told
    assert share == 50


def test_observed_a_bad_release_is_judged_and_not_rolled_back(slow: Slow) -> None:
    scene = slow[a_bad_one_is_observed].result()
    done(scene)
    observed = scene.receipt["evidence"]["observed"]
    assert observed.startswith("at 5 %: v2 failed "), scene.text
    assert f"would have gone back {observed}" in scene.receipt["summary"]
    assert "would have gone back" in scene.answer.text
