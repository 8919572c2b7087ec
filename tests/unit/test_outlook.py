"""What is said before a switch starts, and how long it takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld import outlook, plans
from reld.api.requests import Options
from reld.core.model import Kind
from reld.core.policy import Policy

POLICY = Policy()


def said(rate: float | None, policy: Policy = POLICY) -> str:
    return "\n".join(outlook.lines(policy, "v1", "v2", rate))


def test_with_traffic_it_says_what_it_will_notice_and_how_long_that_takes() -> None:
    assert said(40.0).startswith("will notice 2 % errors with 95 % probability after about ")
    assert "at 40 req/s (`--now`: " in said(40.0)
    assert "\n" not in said(40.0)


def test_what_cannot_be_known_is_said() -> None:
    assert said(None) == "no traffic has been counted yet: what the watch can find is not known"


def test_with_little_traffic_it_names_the_steps_that_are_skipped_and_will_be_unproven() -> None:
    assert outlook.skipped(POLICY, 0.1) == (5,)
    assert "skips 5 %: at 0.1 req/s they could not show anything" in said(0.1)
    assert "v2 will be unproven at 0.1 req/s: it gets about " in said(0.1)
    assert "requests, and 300 are needed; it goes live all the same" in said(0.1)


@pytest.mark.parametrize(
    ("on_unproven", "then"),
    [("hold", "it waits for relctl promote then"), ("rollback", "it goes back then")],
)
def test_without_traffic_it_says_what_happens_then(on_unproven: str, then: str) -> None:
    policy = replace(POLICY, on_unproven=on_unproven)
    assert f"nothing can be found, v2 will be unproven; {then}" in said(0.0, policy)


def test_all_at_once_says_what_that_costs() -> None:
    assert said(40.0, replace(POLICY, steps=(100,))).startswith("all traffic at once: ")


def test_a_step_takes_as_long_as_its_requests_need() -> None:
    assert outlook.step_length(POLICY, None) == 60.0
    assert outlook.step_length(POLICY, 40.0) == 60.0
    assert outlook.step_length(POLICY, 1.0) == 300.0
    assert outlook.step_length(POLICY, 0.1) == 600.0
    assert outlook.lasts(POLICY, 1.0) == 4 * 300 + 600 + 30


def test_the_plan_has_the_outlook_in_its_text_and_apart() -> None:
    plan = plans.forth(Kind.SWITCH, "v1", "v2", POLICY, 0.1)
    assert plan["skipped"] == [5]
    assert plan["text"][-len(plan["watch"]) :] == plan["watch"]
    assert "shift 25 % → 50 %" in plan["text"][1]
    assert plan["seconds"] == outlook.lasts(POLICY, 0.1)


def test_a_first_start_and_a_way_back_are_not_judged() -> None:
    for plan in (
        plans.forth(Kind.START, "", "v1", POLICY, 40.0),
        plans.forth(Kind.ROLLBACK, "v2", "v1", POLICY, 40.0),
    ):
        assert (plan["watch"], plan["skipped"], plan["steps"]) == ([], [], [100])


def test_by_what_a_release_is_judged_is_what_the_config_says() -> None:
    assert outlook.judged(POLICY) == [
        "a healthy release goes back by mistake once in 1000",
        "slowness is judged after 60 s, against the old release",
    ]
    strict = replace(
        POLICY.verdict, max_error_rate=0.05, max_p95=0.8, routes=("checkout", "search")
    )
    assert outlook.judged(replace(POLICY, steps=(100,), verdict=strict))[1:] == [
        "in any case not more than 5.0 % errors and 800 ms for 95 of 100 requests",
        "judged apart, too: checkout, search",
    ]


def test_to_observe_is_to_judge_and_not_to_act() -> None:
    policy = plans.with_options(POLICY, Options(observe=True))
    assert not policy.verdict.act
    assert plans.with_options(POLICY, Options()).verdict.act
    assert said(40.0, policy).endswith("only observed: the verdict is told and does not act")
