"""One rollout under watch: every line once, whatever ends reld in between."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reld.core.model import Color, Counts, Kind, Outcome, Phase, Rollout
from reld.core.policy import Policy
from reld.core.verdict.finding import Verdict
from reld.core.verdict.replay import sample_of
from reld.host.checkpoint import Checkpoint, Checkpoints
from reld.host.watching import Watching
from reld.nginx.counting import Counting
from reld.nginx.requests import Position

OLD, NEW = "127.0.0.1:21001", "127.0.0.1:21002"
ROLLOUT = Rollout(
    id=7,
    kind=Kind.SWITCH,
    phase=Phase.SHIFTING,
    since=0.0,
    began=0.0,
    policy=Policy(),
    from_="v1",
    to="v2",
    old=Color.BLUE,
    candidate=Color.GREEN,
    step=0,
    share=5,
)


def line(address: str, status: int = 200, second: int = 1_700_000_000) -> str:
    addresses, statuses = address, str(status)
    return f"{second}.123|0.004|0.004|-|{addresses}|{statuses}|{status}|GET|plain|-|7|3|-"


def watching() -> Watching:
    made = Watching.begun(ROLLOUT, Counting([OLD], [NEW]), ())
    made.follows(ROLLOUT, 1_700_000_000)
    return made


def test_each_slot_gets_what_it_answered():
    watch = watching()
    watch.feed([line(OLD)] * 3 + [line(NEW), line(NEW, 500)])
    assert watch.counts() == {
        Color.BLUE: Counts(3),
        Color.GREEN: Counts(total=2, errors=1, failures=1),
    }


def test_a_release_that_fails_is_found_and_named():
    watch = watching()
    for second in range(30):
        watch.feed([line(OLD, second=1_700_000_000 + second)] * 95)
        watch.feed([line(NEW, 500, 1_700_000_000 + second)] * 5)
    found = watch.finding()
    assert found.verdict is Verdict.WORSE
    assert found.sentence.startswith("v2 failed ")
    assert ", v1 " in found.sentence


def test_going_back_adds_no_evidence():
    watch = watching()
    watch.follows(replace(ROLLOUT, outcome=Outcome.ABORTED), 1_700_000_001)
    for second in range(30):
        watch.feed([line(OLD, second=1_700_000_002 + second)] * 95)
        watch.feed([line(NEW, 500, 1_700_000_002 + second)] * 5)
    assert watch.finding().verdict is Verdict.FINE
    assert watch.counts()[Color.GREEN].errors == 150


def test_rows_add_up_to_what_was_counted():
    watch = watching()
    for second in range(10):
        # In two reads each: one second is one row.
        watch.feed([line(OLD, second=1_700_000_000 + second)] * 5)
        watch.feed(
            [line(OLD, second=1_700_000_000 + second), line(NEW, 500, 1_700_000_000 + second)]
        )
    watch.close_rows(None)
    rows = [json.loads(text) for text in watch.lines]
    samples = [sample_of(row) for row in rows if isinstance(row[0], int)]
    assert [s.second for s in samples] == [1_700_000_000 + n for n in range(10)]
    assert sum(s.old.requests for s in samples) == 60
    assert sum(s.new.failures for s in samples) == 10


def test_a_second_that_may_get_more_lines_is_no_row_yet():
    watch = watching()
    watch.lines.clear()
    watch.feed([line(OLD)])
    watch.close_rows(1_700_000_001)
    assert watch.lines == []
    watch.close_rows(1_700_000_010)
    assert len(watch.lines) == 1


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    watch = watching()
    watch.feed([line(OLD)] * 3 + [line(NEW, 500)])
    saved = Checkpoint(Position(12, 345), ((3, 9),), watch.kept)
    Checkpoints(tmp_path).save(saved)
    assert Checkpoints(tmp_path).load() == saved


@pytest.mark.parametrize("text", ["", "{", "[]", '{"position": 3}', "\x00\xff"])
def test_a_damaged_checkpoint_is_none(tmp_path, text):
    (tmp_path / "watch.json").write_text(text)
    assert Checkpoints(tmp_path).load() == Checkpoint()


def test_rows_behind_the_checkpoint_are_written_again_not_twice(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    first = checkpoints.append(7, ["a", "b"], 0)
    checkpoints.append(7, ["lost with reld"], first)
    checkpoints.append(7, ["c"], first)
    assert checkpoints.rows(7) == b"a\nb\nc\n"


def test_rows_of_other_rollouts_are_forgotten(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.append(6, ["a"], 0)
    checkpoints.append(7, ["b"], 0)
    checkpoints.forget(7)
    assert (checkpoints.rows(6), checkpoints.rows(7)) == (None, b"b\n")


def test_who_is_turned_away_is_counted_over_a_restart_where_it_was_announced(tmp_path):
    away = replace(ROLLOUT, stop_first=True, share=0)
    refused = line("-", 503).replace("|-|503|503|", "|-|-|503|")
    watch = Watching.begun(away, Counting([OLD], [NEW]), ())
    watch.feed([refused] * 3)
    Checkpoints(tmp_path).save(Checkpoint(watch=watch.kept))
    kept = Checkpoints(tmp_path).load().watch
    again = Watching(away, Counting([OLD], [NEW]), kept)
    again.feed([refused] * 2)
    assert again.turned_away == 5
    assert Watching(ROLLOUT, Counting([OLD], [NEW]), again.kept).turned_away == 0
