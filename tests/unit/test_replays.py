"""A rollout judged again from what was counted: the answer, and every reason to have none."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from reld.api.replay import ReplayRequest, replay_request
from reld.api.requests import NotFound
from reld.core.verdict.replay import row, step_row
from reld.core.verdict.sample import Sample, Tally
from reld.core.verdict.settings import VerdictSettings
from reld.errors import BadRequest, Refused
from reld.replays import judged_again

ACCOUNT = {
    "id": 7,
    "from": "v1",
    "to": "v2",
    "outcome": "done",
    "judged_by": {**asdict(VerdictSettings()), "routes": []},
}


def lines(failures: int, seconds: int = 60, share: int = 25) -> bytes:
    """So many of 10 requests a second fail on the candidate, none on the old slot."""
    rows = [step_row(1000, share)]
    for second in range(1000, 1000 + seconds):
        new = Tally(10, failures)
        rows.append(row(Sample(second, share, Tally(30), new)))
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


def test_a_candidate_that_fails_is_found_with_the_time_the_share_and_the_sentence() -> None:
    answer = judged_again(ReplayRequest(7), ACCOUNT, lines(5))
    assert (answer["id"], answer["outcome"], answer["seconds"]) == (7, "done", 59)
    found = answer["found"]
    assert (found["verdict"], found["share"]) == ("worse", 25)
    assert 0 < found["seconds"] < 59
    assert found["sentence"].startswith("v2 failed ")
    assert "v1" in found["sentence"]
    assert found["odds"] >= 1000


def test_a_healthy_candidate_is_not_found() -> None:
    assert judged_again(ReplayRequest(7), ACCOUNT, lines(0))["found"] is None


def test_other_settings_are_used_and_told() -> None:
    answer = judged_again(ReplayRequest(7, false_alarm=0.01, warmup=5.0), ACCOUNT, lines(0))
    assert answer["settings"] == {
        **asdict(VerdictSettings(false_alarm=0.01, warmup=5.0)),
        "routes": [],
    }


@pytest.mark.parametrize(
    ("account", "rows", "kind", "said"),
    [
        (None, None, NotFound, "there is none"),
        ({**ACCOUNT, "outcome": None}, None, Refused, "it still runs"),
        (ACCOUNT, None, Refused, "not kept"),
        (ACCOUNT, b"", Refused, "not kept"),
        ({"outcome": "done"}, b"[1,5]\n", Refused, "not kept"),
        (ACCOUNT, b"[1,5]\n[2", Refused, "damaged"),
        (ACCOUNT, b'["what"]\n', Refused, "damaged: cannot replay: row 1"),
    ],
)
def test_without_counts_there_is_a_reason(
    account: dict[str, Any] | None, rows: bytes | None, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        judged_again(ReplayRequest(7), account, rows)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"what": 1},
        {"false_alarm": 0},
        {"false_alarm": 0.6},
        {"false_alarm": True},
        {"max_error_rate": 1.1},
        {"max_p95": "1s"},
        {"max_p95": float("nan")},
        {"warmup": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(body: Any) -> None:
    with pytest.raises(BadRequest):
        replay_request(7, body)


def test_settings_that_are_left_out_or_null_are_as_they_were() -> None:
    asked = replay_request(7, {"warmup": 0, "max_p95": None})
    assert asked == ReplayRequest(7, warmup=0.0)
    assert asked.changed == {"warmup": 0.0}
