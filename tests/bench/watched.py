"""Bad releases under real traffic: how soon they are back, and how many requests they cost; and healthy
ones in an outage. Real nginx, real reld, 400 requests a second.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from statistics import mean
from typing import Any

from tests.bench.verdicts import Line
from tests.crash.test_watch_killed import every_request_counts_once, killed
from tests.rig import Rig
from tests.scenes import MOSTLY_READS, RATE, Play, Scene, play, watched

RUNS = 10
OUTAGE = 5.0
AWAY = 30.0
SLOW_RUNS = 1  # takes minutes


def measure() -> tuple[Line, ...]:
    return (
        *every_get_fails(),
        *some_posts_fail(),
        *some_are_slow(),
        *nobody_is_answered(),
        *crashes(),
        *outages(),
        counted(),
    )


def bad(knobs: dict[str, Any], runs: int, *, posts: float = MOSTLY_READS) -> list[Scene]:
    """The same bad release again and again, at 5 % first. All of them must go back by themselves."""
    scenes = []
    with Rig(rest=watched(step_time="5m", step_max="5m"), app='stop_timeout = "500ms"') as rig:
        rig.live_v1()
        rig.release("v2", **knobs)
        for number in range(runs):
            scene = play(rig, posts=posts, patience=240.0)
            told(f"{knobs} {number + 1}", scene)
            scenes.append(scene)
    return scenes


def told(what: str, scene: Scene) -> None:
    receipt = scene.receipt
    print(f"  {what}: {receipt['outcome']}: {receipt['summary']}", file=sys.stderr, flush=True)


def back(scenes: list[Scene]) -> Line:
    at_first = sum(
        s.receipt["outcome"] == "rolled_back" and s.receipt["evidence"]["share"] == 5
        for s in scenes
    )
    return Line(
        "… rolled back at the first step",
        f"{at_first} of {len(scenes)}",
        "all",
        met=at_first == len(scenes),
        binding=True,
    )


def every_get_fails() -> tuple[Line, ...]:
    scenes = bad({"get_error_rate": 1.0}, RUNS)
    took = [scene.seconds_back for scene in scenes]
    seen = sum(len(scene.seen.failed) for scene in scenes)
    return (
        Line(
            f"100 % of GETs fail: back after the first failed attempt (mean {mean(took):.2f} s)",
            f"at most {max(took):.2f} s",
            "≤ 1.5 s",
            met=max(took) <= 1.5,
        ),
        Line(
            f"… users who saw an error ({mean(len(s.first_failures) for s in scenes):.0f} saved)",
            str(seen),
            "0",
            met=seen == 0,
            binding=True,
        ),
        back(scenes),
    )


def some_posts_fail() -> tuple[Line, ...]:
    scenes = bad({"post_error_rate": 0.05}, RUNS, posts=0.5)
    failed = [len(scene.seen.failed) for scene in scenes]
    took = mean(scene.seconds_exposed for scene in scenes)
    return (
        Line(
            f"5 % of POSTs fail, half are POSTs: failed requests ({min(failed)} … {max(failed)}, "
            f"{took:.0f} s)",
            f"{mean(failed):.1f} on average",
            "≤ 15",
            met=mean(failed) <= 15,
        ),
        back(scenes),
    )


def some_are_slow() -> tuple[Line, ...]:
    scenes = bad({"slow_rate": 0.03, "slow_seconds": 2.0}, SLOW_RUNS)
    took = [scene.seconds_exposed for scene in scenes]
    found = sum(s.receipt["outcome"] == "rolled_back" for s in scenes)
    slow = mean(sum(line.seconds >= 2 for line in scene.dealt) for scene in scenes)
    return (
        Line(
            f"3 % of requests 2 s slower: found ({', '.join(f'{t:.0f} s' for t in took)} at 5 %, "
            f"{slow:.0f} slow requests)",
            f"{found} of {len(scenes)}",
            "all",
            met=found == len(scenes),
            binding=True,
        ),
    )


def nobody_is_answered() -> tuple[Line, ...]:
    scenes = bad({"hang_rate": 1.0}, RUNS)
    took = [scene.seconds_exposed for scene in scenes]
    return (
        Line(
            f"every request hangs: back after the first one (mean {mean(took):.1f} s)",
            f"at most {max(took):.1f} s",
            "≤ 5 s",
            met=max(took) <= 5,
        ),
        back(scenes),
    )


def crashes() -> tuple[Line, ...]:
    took, failed = [], 0
    with Rig(rest=watched(steps=[25, 100])) as rig:
        rig.live_v1("v2")
        for number in range(RUNS):
            with Play(rig) as playing:
                rig.wait_share(25)
                (pid,) = rig.pids("green")
                killed_at = time.time()
                os.kill(pid, signal.SIGKILL)
                scene = playing.ended(20)
            took.append(scene.told.when("v1 has all the traffic again") - killed_at)
            failed += len(scene.seen.failed)
            told(f"crash {number + 1}", scene)
    return (
        Line(
            f"killed at 25 %: back (mean {mean(took) * 1000:.0f} ms, {failed} failed requests)",
            f"at most {max(took) * 1000:.0f} ms",
            "≤ 300 ms",
            met=max(took) <= 0.3,
        ),
    )


def outages() -> tuple[Line, ...]:
    """Both releases are healthy and need the same thing, which is away for a while."""
    scenes = []
    steps = watched(steps=[25, 50, 100], step_time="6s", step_max="15s", bake="2s")
    with Rig(rest=steps) as rig:
        outage = rig.home / "outage"
        rig.live_v1(outage_file=str(outage))
        rig.release("v2", outage_file=str(outage))
        for number in range(RUNS):
            new = "v1" if rig.status()["release"] == "v2" else "v2"
            with Play(rig, "switch", new, rate=RATE / 2) as playing:
                # At 25 %, at 50 %, and in the bake; the moment after the lanes moved is the worst.
                rig.wait_share((25, 50, 100)[number % 3], 90)
                outage.touch()
                time.sleep(OUTAGE)
                outage.unlink()
                scene = playing.ended(90)
            told(f"outage {number + 1}", scene)
            scenes.append(scene)
    gone = sum(scene.receipt["outcome"] != "done" for scene in scenes)
    said = sum("the environment" in "".join(scene.told.texts) for scene in scenes)
    return (
        Line(
            f"healthy, {OUTAGE:.0f} s outage of what both need (environment named in {said})",
            f"{gone} of {len(scenes)} rolled back",
            "0",
            met=gone == 0,
            binding=True,
        ),
    )


def counted() -> Line:
    try:
        words, exact = every_request_counts_once(lambda rig: killed(rig, AWAY), RATE), True
    except AssertionError as error:
        words, exact = str(error), False
    print(f"  kill -9, {AWAY:.0f} s: {words}", file=sys.stderr, flush=True)
    return Line(
        f"reld killed in a watch, back after {AWAY:.0f} s: lines counted twice or missed "
        f"({words.partition(':')[0] if exact else 'see above'})",
        "0" if exact else "some",
        "0",
        met=exact,
        binding=True,
    )
