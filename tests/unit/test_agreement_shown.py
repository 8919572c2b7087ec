"""What people type and read of a manual gate, and of who watches a rollout."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relctl import asking, plan, receipt
from relctl import status as shown
from relctl.errors import UsageError
from reld import plans
from reld.api.requests import Options, rollout_request
from reld.api.service import Vitals
from reld.api.status import status
from reld.core import commands as c
from reld.core.model import Kind
from reld.core.policy import Policy
from reld.errors import BadRequest
from reld.narrate import narrate
from tests.unit.core_driver import POLICY, steady


def request(**options):
    return rollout_request({"kind": "switch", "release": "v2", "options": options}).options


def test_gates_are_read_from_a_request():
    assert request(steps=[5, "approve", 100]).steps == (5, "approve", 100)
    assert request(on_duty=" anna ").on_duty == "anna"


@pytest.mark.parametrize(
    "steps",
    [
        [5, "approve", "approve", 100],
        ["approve"],
        [5, "no", 100],
        ["approve", 5],
        [True, 100],
        [5, None, 100],
        "approve",
    ],
)
def test_gates_that_make_no_sense_are_refused(steps):
    with pytest.raises(BadRequest, match="cannot use these steps"):
        request(steps=steps)


@pytest.mark.parametrize("name", ["x" * 65, "a\nb", 7])
def test_who_watches_is_one_short_line(name):
    with pytest.raises(BadRequest, match="cannot use on_duty"):
        request(on_duty=name)


def test_steps_that_are_typed_bring_their_own_gates():
    policy = Policy(steps=(5, 50, 100), approve_after=(5,))
    assert plans.with_options(policy, Options(bake=1.0)).approve_after == (5,)
    typed = plans.with_options(policy, Options(steps=(10, 50, "approve", 100)))
    assert (typed.steps, typed.approve_after) == ((10, 50, 100), (50,))
    assert plans.with_options(policy, Options(now=True)).approve_after == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (Options(now=True), "--now leaves out where the config has a person agree: after 5 % and before the bake"),
        (Options(steps=(5, "approve", 100)), "--steps leaves out where the config has a person agree: before the bake"),
        (Options(bake=1.0), ""),
    ],
)  # fmt: skip
def test_gates_of_the_config_that_typed_steps_leave_out_are_told(options, said):
    configured = Policy(steps=(5, 50, 100), approve_after=(5, 100))
    policy = plans.with_options(configured, options)
    plan = plans.forth(Kind.SWITCH, "v1", "v2", policy, 10.0)
    assert plans.gates_left_out(plan, configured, policy, options) == said
    first = plans.forth(Kind.SWITCH, "", "v2", policy, None)
    assert plans.gates_left_out(first, configured, policy, options) == ""
    in_turn = plans.in_turn(Kind.SWITCH, "v1", "v2", policy, 3.0, options)
    assert plans.gates_left_out(in_turn, configured, policy, options) == ""


def test_the_plan_says_where_it_will_wait():
    policy = Policy(steps=(5, 50, 100), approve_after=(0, 5, 100))
    made = plans.forth(Kind.SWITCH, "v1", "v2", policy, 10.0)
    wait = "wait for a person to agree before any traffic and after 5 % and before the bake"
    assert any(line.startswith(wait) for line in made["text"])
    title = plan.title({"id": 7, "plan": made}, "switch")
    assert "approve → 5 → approve → 50 → 100 % → approve" in title
    plain = plans.forth(Kind.SWITCH, "v1", "v2", replace(policy, approve_after=()), 10.0)
    assert "5 → 50 → 100 %, " in plan.title({"id": 7, "plan": plain}, "switch")


def test_gates_as_they_are_typed():
    assert asking.steps("approve, 5%,approve,100") == ["approve", 5, "approve", 100]
    assert asking.name(" anna ") == "anna"


@pytest.mark.parametrize("text", ["5,approve,approve,100", "approve", "5,Approve,100", "approve,5"])
def test_gates_that_are_mistyped(text):
    with pytest.raises(UsageError, match="cannot use steps"):
        asking.steps(text)


@pytest.mark.parametrize("text", ["", " ", "x" * 65, "a\x1b[2J"])
def test_a_name_that_is_none(text):
    with pytest.raises(UsageError, match="as a name"):
        asking.name(text)


def waiting(*, approval: bool = False):
    driver = steady()
    policy = replace(POLICY, approve_after=(5,))
    begin = c.Begin(Kind.SWITCH, "v2", policy, "alice", on_duty="carol", people=(1000,))
    driver.tell(replace(begin, approval=approval))
    if approval:
        driver.until(lambda s: "approver" in s.rollout.waiting)
        driver.ask(c.Approve(driver.rollout.id, (1001,), "bob"))
    return driver.until(lambda s: s.rollout.asked)


@pytest.mark.parametrize(("approval", "who"), [(False, ""), (True, " (an approver)")])
def test_a_status_says_what_it_waits_for_and_what_to_type(approval, who):
    driver = waiting(approval=approval)
    told = status(driver.state, Vitals(driver.now, 0.0))
    assert told["degraded"] is None
    assert told["rollout"]["approve_after"] == [5]
    number = driver.rollout.id
    text = "\n".join(shown.lines(told))
    assert f"next: relctl promote {number}{who} · relctl abort {number}" in text
    assert f"to agree after 5 %: relctl promote {number}" in text
    assert "on duty" in text


def test_a_follow_is_one_line_of_a_status():
    told = status(steady().state, Vitals(0.0, 0.0))
    assert "follow" not in "\n".join(shown.lines(told))
    told["follow"] = {"link": "/srv/web/current", "state": "refused", "why": "drift: v2"}
    assert "/srv/web/current: refused, drift: v2" in "\n".join(shown.lines(told))


def test_who_watches_and_who_agreed_is_told_when_it_happens():
    before = steady().state
    driver = waiting()
    assert narrate(before, driver.state)  # the way there is told
    begun = steady()
    state = begun.state
    begun.tell(c.Begin(Kind.SWITCH, "v2", POLICY, on_duty="carol"))
    assert "preparing v2; carol watches" in [news.text for news in narrate(state, begun.state)]
    asked = driver.state
    driver.ask(c.Promote(driver.rollout.id, actor="bob", note="looks well"))
    assert "bob agreed after 5 %: looks well" in [n.text for n in narrate(asked, driver.state)]


def test_a_receipt_says_who_agreed_and_who_watched():
    account = {
        "id": 7,
        "outcome": "done",
        "on_duty": "carol",
        "agreed": [
            {"after": 0, "by": "anna", "at": "2026-11-23T12:00:00Z", "note": None},
            {"after": 100, "by": "bob", "at": "2026-11-23T12:10:00Z", "note": "fine"},
        ],
    }
    text = "\n".join(receipt.lines(account))
    assert "on duty" in text
    assert "before any traffic by anna at 2026-11-23" in text
    assert "before the bake by bob at 2026-11-23" in text
    assert ": fine" in text
