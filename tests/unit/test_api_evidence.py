"""What the watch found, in a status, in a receipt's sentence and in the metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reld.api.receipt import receipt
from reld.api.service import SlotVitals, Vitals
from reld.api.status import status
from reld.core.model import (
    Color,
    Counts,
    Kind,
    Outcome,
    Phase,
    Rollout,
    State,
    Watch,
)
from reld.core.policy import Policy
from reld.core.verdict.finding import Finding, Verdict
from reld.metrics.facts import Facts
from reld.metrics.page import page

VITALS = Vitals(now=1000.0, offset=1_700_000_000.0)
SAID = "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %); by chance once in 5300 releases"
WORSE = Finding(Verdict.WORSE, SAID, errors=1.0, slowness=0.123456, odds=5300.0)
KNOWN = "no failure in 212 requests: error rate below 1.4 % with 95 % confidence"
ENDED = Rollout(
    id=4,
    kind=Kind.SWITCH,
    phase=Phase.FINISHING,
    since=990.0,
    began=940.0,
    policy=Policy(),
    actor="alice",
    from_="v1",
    to="v2",
    old=Color.BLUE,
    candidate=Color.GREEN,
    moved=True,
    turned_at=5,
    outcome=Outcome.ROLLED_BACK,
    reason=SAID,
    watch=Watch(finding=WORSE),
    blue=Counts(2660, 0, 3, 0),
    green=Counts(140, 0, 7, 7),
)
DONE = replace(ENDED, outcome=Outcome.DONE, reason="", turned_at=0, watch=Watch())


def sentence(rollout: Rollout) -> str:
    return str(receipt(rollout, VITALS, running=False)["summary"])


def test_a_rollback_is_one_sentence_with_its_share_its_odds_and_what_the_shield_saved() -> None:
    assert sentence(ENDED) == (
        f"v2 was rolled back at 5 %: {SAID}, v1 serves: "
        "2,800 requests, 0 errors, 7 saved by the shield"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "rollback by alice"}, "v2 was rolled back at 5 % by alice, v1 serves: "),
        ({"reason": "too blue by alice"}, "v2 was rolled back at 5 %: too blue by alice, v1 "),
        (
            {"outcome": Outcome.ABORTED, "reason": "aborted by alice"},
            "switch was aborted at 5 % by alice, v1 serves: ",
        ),
        (
            {"turned_at": 0, "reason": "v2 exited (exit code 1): Traceback\nline 1\nline 2"},
            "v2 was rolled back: v2 exited (exit code 1): Traceback, v1 serves: ",
        ),
    ],
)
def test_the_reason_is_said_once_and_on_one_line(changes: dict[str, Any], said: str) -> None:
    assert sentence(replace(ENDED, **changes)).startswith(said)


def test_what_is_unproven_says_what_is_known() -> None:
    unproven = replace(DONE, unproven=True, watch=Watch(finding=Finding(known=KNOWN)))
    assert sentence(unproven) == (
        f"v2 serves, unproven: {KNOWN}; 2,800 requests, 0 errors, 7 saved by the shield"
    )
    silent = replace(DONE, unproven=True, green=Counts())
    assert sentence(silent) == "v2 serves, unproven: 2,660 requests, 0 errors"


def test_what_was_only_observed_is_told() -> None:
    observed = replace(DONE, observed=f"at 5 %: {SAID}", green=Counts(9000, 30))
    assert sentence(observed) == (
        f"v2 serves; the verdict would have gone back at 5 %: {SAID}; 11,660 requests, 30 errors"
    )


def test_the_receipt_has_the_evidence_and_the_settings() -> None:
    account = receipt(replace(ENDED, skipped=(5, 25), unproven=True), VITALS, running=False)
    assert account["evidence"] == {
        "verdict": "worse",
        "sentence": SAID,
        "known": "",
        "errors": 1.0,
        "slowness": 0.1235,
        "odds": 5300.0,
        "observed": "",
        "share": 5,
    }
    assert account["judged_by"]["false_alarm"] == 0.001
    counts = {"total": 140, "errors": 0, "failures": 7, "saved": 7}
    assert account["requests"]["green"] == {"release": "v2", **counts}
    assert (account["skipped"], account["unproven"]) == ([5, 25], True)


RUNNING = replace(
    ENDED,
    phase=Phase.SHIFTING,
    outcome=None,
    reason="",
    turned_at=0,
    share=5,
    skipped=(1,),
    watch=Watch(finding=Finding(errors=0.35, known=KNOWN), rate=38.5),
)
STATE = State("web", "b", rollout=RUNNING)


def test_a_status_shows_the_evidence_while_it_grows() -> None:
    shown = status(STATE, VITALS)["rollout"]
    assert (shown["verdict"], shown["skipped"], shown["rate"]) == ("fine", [1], 38.5)
    assert (shown["evidence"]["errors"], shown["evidence"]["known"]) == (0.35, KNOWN)


def test_a_status_shows_what_is_measured_of_a_slot_and_null_for_what_is_not() -> None:
    blue = SlotVitals(rate=40.1234, p95=80.04, rss_bytes=123, peers={"127.0.0.1:5432": 12})
    slots = status(STATE, replace(VITALS, slots={"blue": blue}))["slots"]
    assert slots["blue"]["traffic"] == {
        "rate": 40.123,
        "errors": None,
        "p50": None,
        "p95": 80.0,
        "p99": None,
    }
    assert slots["blue"]["resources"]["peers"] == {"127.0.0.1:5432": 12}
    assert slots["blue"]["resources"]["rss_bytes"] == 123
    assert set(slots["green"]["resources"].values()) == {None}


def test_the_metrics_have_verdict_evidence_failures_and_saved() -> None:
    state = replace(STATE, rollout=replace(RUNNING, watch=Watch(finding=WORSE)))
    lines = page(state, VITALS, Facts()).decode().splitlines()
    for line in (
        'reld_rollout_verdict{app="web",verdict="worse"} 1.0',
        'reld_rollout_verdict{app="web",verdict="fine"} 0.0',
        'reld_rollout_evidence{app="web",kind="errors"} 1.0',
        'reld_rollout_evidence{app="web",kind="slowness"} 0.1235',
        'reld_rollout_failures{app="web",slot="green"} 7.0',
        'reld_rollout_saved{app="web",slot="green"} 7.0',
    ):
        assert line in lines
