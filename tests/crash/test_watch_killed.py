"""kill -9 of reld in the middle of a watch: nothing is decided before the backlog was read, the evidence
goes on from where it was, and every line counts once. All of them happen side by side.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.load.visitors import Visitors
from tests.rig import Rig, Told, wait_for
from tests.scenes import lines_of, watched

RATE = 120.0
AWAY = 3.0
"""Seconds without a reld; the bench has 30."""
SOMETIMES = {"get_error_rate": 0.05, "post_error_rate": 0.05, "refuse_rate": 0.05}
LONG = watched(steps=[50, 100], step_time="10m", step_max="10m", bake="10m", drain="1s")

Trouble = Callable[[Rig], None]


def killed(rig: Rig, away: float = AWAY) -> None:
    rig.kill_reld()
    time.sleep(away)
    rig.start_reld()


def killed_five_times(rig: Rig) -> None:
    for _ in range(5):
        killed(rig, 0.2)
        time.sleep(0.4)


def stopped(rig: Rig) -> None:
    assert rig.reld is not None
    rig.reld.send_signal(signal.SIGSTOP)
    time.sleep(5.0)
    rig.reld.send_signal(signal.SIGCONT)


def rotated_and_killed(rig: Rig) -> None:
    """The rotation that one reld began, the next one ends."""
    rig.rotate_log()
    killed(rig)


def killed_and_rotated(rig: Rig) -> None:
    rig.kill_reld()
    time.sleep(AWAY / 2)
    rig.rotate_log()
    time.sleep(AWAY / 2)
    rig.start_reld()


TROUBLES: tuple[Trouble, ...] = (
    killed,
    killed_five_times,
    stopped,
    rotated_and_killed,
    killed_and_rotated,
)


def every_request_counts_once(trouble: Trouble, rate: float = RATE) -> str:
    """What the clients were answered, the receipt, the verdict's evidence and what is kept for a
    replay: all of them say the same. Returns that in words.
    """
    with Rig(rest=LONG) as rig:
        rig.live_v1()
        rig.release("v2", **SOMETIMES)
        begun(rig, "--observe")
        new = address_of(rig)
        with Visitors(rig.listen, rate=rate) as visitors:
            visitors.wait_for(int(2 * rate))
            trouble(rig)
            visitors.wait_for(int(rate))
            seen = visitors.end()
        wait_for(
            lambda: total(rig) >= len(seen.visits), 10, lambda: f"{rig.receipt(2)}\n{seen.text}"
        )
        answered, failed = seen.by_release(), seen.by_release(errors=True)
        lines = lines_of(rig.logged())
        assert len(lines) == len(seen.visits), f"somebody else came by: {len(lines)}, {seen.text}"
        firsts = Counter(line.first == new for line in lines)
        wait_for(
            lambda: f" in {firsts[True]} requests" in rig.receipt(2)["evidence"]["known"],
            10,
            lambda: f"{firsts}: {rig.receipt(2)['evidence']}",
        )
        assert rig.relctl("rollback").code == 0
        rig.wait_idle()
        after = lines_of(rig.logged())
        assert len(after) == len(lines), f"somebody else came by: {after[len(lines) :]}"
        found = rig.receipt(2)["requests"]
        assert answered[""] == 0, seen.text
        totals = {color: (of["total"], of["errors"]) for color, of in found.items()}
        assert totals == {
            "blue": (answered["v1"], 0),
            "green": (answered["v2"], failed["v2"]),
        }, seen.text
        saved = sum(line.first_failed and line.status < 400 for line in lines)
        refused = sum(line.first == new and line.attempts[0][1] == "422" for line in lines)
        assert (found["green"]["saved"], found["blue"]["saved"]) == (saved, 0)
        assert kept(rig) == (firsts[False], firsts[True], failed["v2"] + saved, refused)
        return f"{len(seen.visits)} requests: {totals}, {saved} saved"


def begun(rig: Rig, *options: str) -> None:
    """v2 has half of the traffic, of which there is none yet."""
    answer = rig.relctl("switch", "v2", "--no-wait", *options)
    assert answer.code == 0, answer.text
    rig.wait_share(50)


def address_of(rig: Rig) -> str:
    """Of the candidate."""
    (instance,) = rig.status()["slots"]["green"]["instances"]
    return f"127.0.0.1:{instance['port']}"


def total(rig: Rig) -> int:
    return sum(slot["total"] for slot in rig.receipt(2)["requests"].values())


def kept(rig: Rig) -> tuple[int, int, int, int]:
    """For a replay: requests that each slot was dealt, and the candidate's failures and 4xx."""
    with closing(sqlite3.connect(rig.state / "state.db")) as database:
        ((packed,),) = database.execute("SELECT rows FROM watches WHERE rollout = 2").fetchall()
    rows = [json.loads(line) for line in zlib.decompress(packed).splitlines()]
    seconds = [row for row in rows if not isinstance(row[0], str)]
    old = [row[2] for row in seconds if len(row) > 2 and row[2]]
    new = [row[3] for row in seconds if len(row) > 3 and row[3]]
    assert not sum(tally[1] for tally in old), "v1 never failed"
    failures, refusals = (sum(tally[at] for tally in new) for at in (1, 2))
    return sum(t[0] for t in old), sum(t[0] for t in new), failures, refusals


def nothing_is_decided_before_the_backlog_is_read() -> None:
    """Steps are over long before it is back; who only looks at the clock would go on to the next."""
    steps = watched(steps=[50, 95, 100], step_time="3s", bake="3s", step_requests=10)
    with Rig(rest=steps) as rig:
        rig.live_v1("v2")
        with Visitors(rig.listen, rate=RATE, posts=0.0) as visitors:
            begun(rig)
            new = address_of(rig)
            rig.kill_reld()
            turn(new, error_rate=1.0)
            time.sleep(AWAY + 1.0)
            rig.start_reld()
            with Told(rig) as told:
                rig.wait_idle()
            seen = visitors.end()
        receipt = rig.receipt(2)
        assert receipt["outcome"] == "rolled_back", receipt
        assert receipt["evidence"]["share"] == 50, told.texts
        assert "v2 failed" in receipt["reason"]
        assert not [text for text in told.texts if "v2 has" in text], told.texts
        assert seen.failed == [], seen.text


def turn(address: str, **knobs: float) -> None:
    """Change what the app that runs does wrong."""
    body = json.dumps(knobs).encode()
    with urllib.request.urlopen(f"http://{address}/knobs", body, timeout=5) as answer:
        assert answer.status == 200


Begun = dict[object, Future[object]]


@pytest.fixture(scope="module")
def begun_together() -> Iterator[Begun]:
    with ThreadPoolExecutor(len(TROUBLES) + 1) as pool:
        backlog = nothing_is_decided_before_the_backlog_is_read
        found: Begun = {backlog: pool.submit(backlog)}
        found |= {t: pool.submit(every_request_counts_once, t) for t in TROUBLES}
        yield found


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_every_request_counts_once_while_reld_is(trouble: Trouble, begun_together: Begun) -> None:
    begun_together[trouble].result()


def test_what_happened_while_reld_was_away_is_read_before_anything_is_decided(
    begun_together: Begun,
) -> None:
    begun_together[nothing_is_decided_before_the_backlog_is_read].result()
