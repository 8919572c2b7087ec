"""Copies of the live slot's GETs, out of the gate's log: judged by themselves, nobody's requests."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reld.core.model import Color, Counts, Kind, Outcome, Phase, Rollout, Shadow
from reld.core.policy import Policy
from reld.core.verdict.finding import Verdict
from reld.core.verdict.replay import sample_of
from reld.core.verdict.sample import Sample
from reld.host.checkpoint import Checkpoint, Checkpoints
from reld.host.shadow_watching import nominal_share
from reld.host.watching import Watching
from reld.nginx.counting import Counting

OLD, NEW = "127.0.0.1:21001", "127.0.0.1:21002"
BEGAN = 1_700_000_000
MIRRORING = Rollout(
    id=7,
    kind=Kind.SWITCH,
    phase=Phase.SHIFTING,
    since=0.0,
    began=0.0,
    policy=Policy(shadow=0.1),
    from_="v1",
    to="v2",
    old=Color.BLUE,
    candidate=Color.GREEN,
    shadow=Shadow(on=True, since=0.0),
)
STEPPING = replace(
    MIRRORING, step=0, share=5, shadow=replace(MIRRORING.shadow, on=False, over=True)
)


def line(
    address: str,
    status: int = 200,
    second: int = BEGAN,
    kind: str = "plain",
    method: str = "GET",
    took: str = "0.004",
    client: str = "-",
) -> str:
    return (
        f"{second}.123|{took}|{took}|{client}|{address}|{status}|{status}|{method}|{kind}|-|7|3|-"
    )


def copy(status: int = 200, second: int = BEGAN, took: str = "0.004") -> str:
    return line(NEW, status, second, "shadow", took=took)


def watching(counting: Counting | None = None) -> Watching:
    made = Watching.begun(MIRRORING, counting or Counting([OLD], [NEW]), ())
    made.follows(MIRRORING, BEGAN)
    return made


def test_a_copy_is_nobodys_request():
    watch = watching()
    counted = watch.feed([line(OLD), copy(), copy(500)])
    assert (counted.lines, counted.requests, counted.unattributed, counted.nonsense) == (1, 1, 0, 0)
    assert watch.counts() == {Color.BLUE: Counts(1), Color.GREEN: Counts()}


def test_copies_are_counted_apart_with_their_failures_and_times():
    watch = watching()
    watch.feed([line(OLD, took="0.010")] * 20 + [copy(took="0.100")] * 9 + [copy(502)])
    seen = watch.shadow.mirrored()
    assert (seen.total, seen.failures) == (10, 1)
    assert seen.p95 == pytest.approx(0.1, rel=0.1)
    assert seen.live_p95 == pytest.approx(0.01, rel=0.1)


def test_only_gets_of_the_live_slot_are_compared_with_copies():
    watch = watching()
    watch.feed([line(OLD, method="POST"), line(OLD, kind="stream"), line(OLD), copy()])
    assert watch.shadow.kept.old.requests == 1


def test_copies_that_fail_are_found_and_the_releases_named():
    watch = watching()
    for second in range(BEGAN, BEGAN + 20):
        watch.feed([line(OLD, second=second)] * 50 + [copy(500, second)] * 5)
    found = watch.finding()
    assert found.verdict is Verdict.WORSE
    assert found.sentence.startswith("v2 failed all of ")


def test_copies_that_do_as_well_as_the_live_slot_are_fine():
    watch = watching()
    for second in range(BEGAN, BEGAN + 60):
        watch.feed([line(OLD, 500, second)] + [line(OLD, second=second)] * 49)
        watch.feed([copy(500 if second % 10 == 0 else 200, second)] + [copy(200, second)] * 4)
    assert watch.finding().verdict is Verdict.FINE


def test_copies_that_pile_up_are_found_though_none_of_them_ended():
    watch = watching()
    for second in range(BEGAN, BEGAN + 10):
        watch.feed([line(OLD, second=second)] * 50)
        watch.waited(Sample(second, 0, old_waiting=0, new_waiting=20))
    assert watch.finding().verdict is Verdict.WORSE
    assert "wait without an answer" in watch.finding().sentence
    rows = [sample_of(json.loads(row)) for row in watch.lines[1:]]
    assert rows
    assert {row.new_waiting for row in rows} == {None}, "no user waits"


def test_that_no_copy_comes_is_no_trouble_of_the_gate():
    watch = watching()
    for second in range(BEGAN, BEGAN + 20):
        watch.feed([line(OLD, second=second)] * 50)
    assert watch.finding().verdict is Verdict.FINE


def test_users_are_judged_afresh_when_the_first_lane_has_moved():
    watch = watching()
    for second in range(BEGAN, BEGAN + 20):
        watch.feed([line(OLD, second=second)] * 50 + [copy(500, second)] * 5)
    watch.follows(STEPPING, BEGAN + 21)
    assert watch.finding().verdict is Verdict.FINE
    watch.feed([copy(500, BEGAN + 21)])
    assert watch.shadow.mirrored().total == 100, "what comes late counts no more"


def test_what_a_shadow_failed_for_stays_the_evidence():
    watch = watching()
    for second in range(BEGAN, BEGAN + 20):
        watch.feed([line(OLD, second=second)] * 50 + [copy(500, second)] * 5)
    watch.follows(replace(MIRRORING, phase=Phase.REVERTING, outcome=Outcome.FAILED), BEGAN + 21)
    assert watch.finding().verdict is Verdict.WORSE


def test_where_clients_are_told_apart_every_copy_still_counts():
    watch = watching(Counting([OLD], [NEW], sticky=True))
    watch.feed([line(OLD, client="ann")] * 10 + [copy()] * 3)
    assert watch.shadow.kept.old.requests == 10
    assert watch.shadow.mirrored().total == 3


def test_a_reld_that_comes_back_goes_on_with_the_same_evidence(tmp_path):
    before = watching()
    before.feed([line(OLD)] * 50 + [copy(500)] * 5)
    Checkpoints(tmp_path).save(Checkpoint(watch=before.kept))
    kept = Checkpoints(tmp_path).load().watch
    assert kept is not None
    after = Watching(MIRRORING, Counting([OLD], [NEW]), kept)
    after.follows(MIRRORING, BEGAN + 1)
    assert after.shadow.mirrored() == before.shadow.mirrored()
    assert after.finding() == before.finding()


@pytest.mark.parametrize(
    ("shadow", "share"), [(0.001, 1), (0.01, 1), (0.05, 5), (0.1, 10), (0.2, 17), (1.0, 50)]
)
def test_the_share_of_the_copies_among_both_is_never_taken_too_low(shadow, share):
    assert nominal_share(shadow) == share
    assert share / 100 >= shadow / (1 + shadow)
