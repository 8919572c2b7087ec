"""What a plan is made of: stages, memory, changes of the config, the gate's config, the page itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relctl.look import Look
from relctl.plan_page import lines
from reld import plans
from reld.config import Access, App, Config, Hooks, PortRange, Ports, Readiness, Smoke, Worker
from reld.core.commands import Begin
from reld.core.machine import begun
from reld.core.model import Color, Kind, Mark, Phase, Rollout, Routing, Target
from reld.core.policy import STOP_FIRST, Policy
from reld.errors import Busy, ConfigError, PrepareError
from reld.planning import changes, gate, memory
from reld.planning.memory import Memory
from reld.planning.page import Found, approvers, hooks, page
from reld.planning.questions import Answer, Question
from reld.planning.stages import Stage, Took, stages, took
from reld.snapshot import Snapshot
from tests.unit.core_driver import POLICY, Driver, steady, with_policy

MIB = 1 << 20


def rollout(policy: Policy | None = None, **changed: Any) -> Rollout:
    base = Rollout(
        id=4, kind=Kind.SWITCH, phase=Phase.PREPARING, since=0.0, began=0.0, policy=policy or Policy(), from_="v1",
        to="v2",
    )  # fmt: skip
    return replace(base, **changed)


def told(of: Rollout, rate: float | None = 40.0, **more: Any) -> dict[str, Stage]:
    given = {"smokes": 0, "started": None, "away": 0.0, "alone": False, **more}
    found = stages(of, rate, **given)
    return {stage.name: stage for stage in found}


# stages


def test_a_step_says_how_long_it_takes_and_what_the_release_gets() -> None:
    found = told(rollout())
    assert list(found) == ["start", "5 %", "25 %", "50 %", "95 %", "bake", "drain", "stop"]
    assert (found["5 %"].seconds, found["5 %"].most) == (60.0, 600.0)
    assert found["5 %"].text == "about 120 requests for v2"
    assert (found["bake"].seconds, found["drain"].seconds) == (600.0, 30.0)
    assert (found["start"].seconds, found["start"].most) == (None, 60.0)


def test_with_little_traffic_a_step_waits_for_its_requests_or_is_skipped() -> None:
    found = told(rollout(), 0.1)
    assert found["5 %"].text == "skipped: it could not show anything"
    assert found["25 %"].seconds == 600.0
    assert told(rollout(), None)["5 %"].text == "how many requests is not known"


def test_what_the_config_adds_is_a_stage_of_its_own() -> None:
    policy = Policy(hooks=("before_start",), shadow=0.05, approve_after=(0, 25, 100))
    found = stages(rollout(policy), 40.0, 2, Took("v1", 3.2), 0.0, alone=False)
    names = [stage.name for stage in found]
    assert names[:5] == ["migrate", "start", "smoke", "shadow", "approve"]
    assert names[names.index("25 %") + 1] == "approve"
    assert names[names.index("bake") - 1] == "approve"
    assert found[1].text == "1 × v2, as long as v1 took"
    assert found[1].seconds == 3.2


def test_who_is_alone_starts_and_serves() -> None:
    assert list(told(rollout(), smokes=1, alone=True)) == ["start", "smoke", "commit"]


def test_stop_first_says_when_users_get_503() -> None:
    policy = Policy(strategy=STOP_FIRST, hooks=("before_start",))
    found = told(rollout(policy, stop_first=True), away=4.0)
    assert list(found) == ["migrate", "stop the old", "start", "commit"]
    assert "503 from here" in found["stop the old"].text
    assert "about 4 s" in found["commit"].text


def test_how_long_a_start_took_is_taken_from_the_last_rollout() -> None:
    marks = (Mark(Phase.PREPARING, 1.0), Mark(Phase.STARTING, 2.0), Mark(Phase.PROVING, 5.5))
    assert took(rollout(marks=marks), Phase.STARTING) == Took("v2", 3.5)
    assert took(rollout(), Phase.STARTING) is None
    assert took(None, Phase.STARTING) is None


# memory


def test_memory_says_what_the_switch_would_say() -> None:
    short = Memory(300 * MIB, 100 * MIB)
    assert not short.enough
    assert short.refusal == (
        "two copies do not fit: the live one uses 300 MiB and only 100 MiB are available"
    )
    assert Memory(300 * MIB, 100 * MIB, 1).refusal.startswith("1 more instances do not fit: ")
    enough = memory.told(Memory(100 * MIB, 300 * MIB), "")
    assert (enough["enough"], enough["needed"]) == (True, 100 * MIB)
    assert enough["text"] == "a second copy: about 100 MiB of the 300 MiB available"
    assert memory.told(None, "nothing is live")["text"] == "nothing is live"
    assert memory.hint("") == "free memory, or --force if the new release needs less"


# what the config says now


def config(**changed: Any) -> Config:
    base = Config(
        "web",
        Path("web.toml"),
        App(("run",), "/r/{release}"),
        Ports(PortRange(1, 9)),
        Readiness("/r"),
    )
    return replace(base, **changed)


def snapshot(of: Config, **changed: Any) -> Snapshot:
    base = Snapshot(
        "v1",
        "/r/v1",
        of.app,
        of.readiness,
        of.liveness,
        of.smoke,
        of.hooks,
        (("A", "1"),),
        of.worker,
    )
    return replace(base, **changed)


def changed(then: Snapshot, now: Config, env: dict[str, str] | None = None, **more: Any) -> Any:
    known = {"A": "1"} if env is None else env
    found = changes.changed(then, now, known, **{"names": True, **more})
    return {row["key"]: (row["from"], row["to"]) for row in found}


def test_an_unchanged_config_changes_nothing() -> None:
    assert changed(snapshot(config()), config()) == {}


def test_what_was_edited_is_said_with_both_values() -> None:
    now = config(
        app=App(("run", "--fast"), "/r/{release}", instances=3),
        readiness=Readiness("/ready", deadline=90.0),
        smoke=(Smoke("login", "/login"),),
        worker=(Worker("mail", ("work",)),),
        hooks=Hooks(before_start=("migrate",)),
    )
    then = snapshot(config(smoke=(Smoke("old", "/old"),), worker=(Worker("mail", ("slow",)),)))
    assert changed(then, now) == {
        "app.command": ("run", "run --fast"),
        "app.instances": ("1", "3"),
        "readiness.path": ("/r", "/ready"),
        "readiness.deadline": ("60", "90"),
        "smoke old": ("there", "gone"),
        "smoke login": ("not there", "new"),
        "worker mail.command": ("slow", "work"),
        "hooks.before_start": ("", "migrate"),
    }


def test_no_value_of_the_environment_and_no_body_is_ever_told() -> None:
    secret = "hunter2"
    check = Smoke("login", "/login", headers=(("Authorization", secret),), body=secret)
    then = snapshot(config(smoke=(Smoke("login", "/login"),)), env=(("A", "1"), ("OLD", secret)))
    now = config(smoke=(check,), app=App(("run",), "/r/{release}", env=(("B", secret),)))
    found = changed(then, now, {"A": secret, "B": secret})
    assert found == {
        "smoke login.body": (None, None),
        "smoke login.headers": (None, None),
        "environment, new": (None, "B"),
        "environment, gone": (None, "OLD"),
        "environment, changed": (None, "A"),
    }
    few = changed(then, now, {"A": secret, "B": secret}, names=False)
    assert few["environment, new"] == (None, "1 variable")


# the gate


@pytest.mark.parametrize(
    "policy",
    [
        POLICY,
        with_policy(surge=1, slot=replace(POLICY.slot, instances=3)),
        with_policy(shadow=0.05),
        with_policy(strategy=STOP_FIRST),
    ],
    ids=["warm", "surge", "shadow", "stop-first"],
)
@pytest.mark.parametrize("first", [False, True], ids=["live", "first"])
def test_what_the_gate_is_said_to_get_is_what_the_core_asks_of_it(
    policy: Policy, first: bool
) -> None:
    driver = Driver() if first else steady(policy=policy)
    would = begun(driver.state, Begin(Kind.SWITCH, "v2", policy), driver.now).rollout
    assert would is not None
    ports = range(driver.port, driver.port + policy.slot.instances)
    addresses = tuple(f"127.0.0.1:{port}" for port in ports)
    both, after = gate.routings(driver.state, replace(would, addresses=addresses))
    driver.begin(Kind.SWITCH, "v2", policy)
    if first or would.stop_first:
        assert both is None
    else:
        driver.to(Phase.SHIFTING)
        assert driver.state.gate.verified.routing == both
    assert driver.ended().state.gate.verified.routing == after


def test_a_diff_leaves_out_the_mark_and_says_nothing_where_nothing_changes() -> None:
    before = "# relctl: {1}\nupstream {\n  a\n}\n"
    assert gate.diff(before, before.replace("{1}", "{2}")) == ""
    found = gate.diff(before, before.replace("  a", "  b"))
    assert found.split("\n") == [
        "--- gate.conf now", "+++ gate.conf then", "@@ -1,3 +1,3 @@", " upstream {", "-  a", "+  b", " }"
    ]  # fmt: skip


# the page


def plan_of(of: Rollout, **more: Any) -> dict[str, Any]:
    plan = plans.forth(Kind.SWITCH, of.from_, of.to, of.policy, 40.0)
    given = {"stops": (), "questions": (), "stages": (), "memory": None, **more}
    return page(
        Found(**given), plan, Hooks(before_start=("bin/migrate", "expand")), {"text": "nobody"}
    )


YES = Question("gate-drains", Answer.YES, "it did")
NO = Question("slow-endpoints", Answer.NO, "v1 fails", "relctl logs")
OPEN = Question("side-by-side", Answer.UNKNOWN, "nobody said", "declare it")


@pytest.mark.parametrize(
    ("stops", "questions", "ok"),
    [
        ((), (YES,), True),
        ((), (YES, OPEN), True),
        ((), (YES, NO), False),
        ((PrepareError("release v2 is not there", "put it there"),), (YES,), False),
    ],
)
def test_it_is_ok_when_nothing_stops_it_and_nothing_says_no(
    stops: Any, questions: Any, ok: bool
) -> None:
    answer = plan_of(rollout(), stops=stops, questions=questions)
    assert answer["ok"] is ok
    text = "\n".join(lines(answer, Look(), 80))
    assert ("not ready" in text) is not ok


def test_a_stop_is_told_in_the_words_of_the_switch() -> None:
    busy = Busy("cannot switch to v2: rollout 3 (v1) is shifting", "relctl watch 3")
    wrong = ConfigError(("web.toml:1: app: no", "web.toml:2: gate: no"))
    answer = plan_of(rollout(), stops=(busy, wrong))
    assert [(s["code"], s["exit"]) for s in answer["stops"]] == [("busy", 6), ("config-invalid", 8)]
    text = "\n".join(lines(answer, Look(), 80))
    assert "next: relctl watch 3" in text
    assert "web.toml:2: gate: no" in text
    assert "2 things would stop it" in text


def test_hooks_are_told_in_the_order_of_their_life_and_only_where_they_run() -> None:
    every = Hooks(("a",), ("b",), ("c",), ("d",), ("e",))
    assert [hook["name"] for hook in hooks(every, "v1", "v2")] == [
        "before_start", "after_switch", "after_retire", "on_rollback"
    ]  # fmt: skip
    assert [hook["name"] for hook in hooks(every, "", "v2")] == ["before_start", "after_switch"]
    assert hooks(every, "v1", "v2")[0]["when"] == "before v2 starts, while v1 serves"


def test_who_may_approve_is_named_where_somebody_has_to() -> None:
    state = Driver().state
    nobody = approvers(state, rollout(), Access())
    assert (nobody["needed"], nobody["who"]) == (False, [])
    asked = approvers(state, rollout(Policy(approve_after=(25,))), Access(approvers=("@leads",)))
    assert asked["needed"]
    assert "before any traffic moves: @leads" in asked["text"]
    assert "relctl promote" in asked["text"]
    first = approvers(state, rollout(stop_first=True), Access(approvers=("anna",)))
    assert "before v1 is stopped: anna" in first["text"]


def whole_page() -> dict[str, Any]:
    of = rollout(Policy(hooks=("before_start",)))
    return plan_of(
        of,
        stages=stages(of, 40.0, 1, Took("v1", 3.2), 0.0, alone=False),
        questions=(YES, NO, OPEN),
        memory=Memory(300 * MIB, 2000 * MIB),
        stops=(PrepareError("release v2 is not there: /r/v2 is no directory", "put it there"),),
        gate_diff=({"when": "while both serve", "diff": "--- a\n+++ b\n+x\n-y\n+" + "z" * 200},),
        changes=({"key": "app.instances", "from": "1", "to": "3"},),
    )


@pytest.mark.parametrize("width", [80, 60, 40])
@pytest.mark.parametrize("plain", [False, True])
def test_the_page_fits_the_terminal(width: int, plain: bool) -> None:
    shown = lines(whole_page(), Look(unicode=not plain), width)
    assert [line for line in shown if len(line) > width] == []
    assert all(line.isascii() for line in shown) or not plain


def test_colour_changes_nothing_but_the_colour() -> None:
    import re

    plain, coloured = (lines(whole_page(), Look(colour=c), 80) for c in (False, True))
    assert plain != coloured
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in coloured] == plain


def test_the_gates_config_is_counted_and_on_request_shown_line_by_line() -> None:
    shown = "\n".join(lines(whole_page(), Look(), 80))
    assert "while both serve: 2 lines more, 1 less" in shown
    assert "z" * 200 not in shown
    assert "z" * 200 in "\n".join(lines(whole_page(), Look(), 80, whole=True))


def test_a_hundred_lanes_are_folded_into_one_line() -> None:
    lanes = "\n".join(f"+        1.00% {lane:02d};" for lane in range(99))
    part = {"when": "then", "text": "v2 alone", "diff": f"--- a\n+++ b\n+map {{\n{lanes}\n+}}"}
    answer = plan_of(rollout(), gate_diff=(part,))
    shown = lines(answer, Look(), 80, whole=True)
    assert "  then: v2 alone (101 lines more, 0 less)" in shown
    at = shown.index("  +        1.00% 00;")
    assert shown[at : at + 3] == ["  +        1.00% 00;", "  +        (and 98 more)", "  +}"]


def test_who_is_served_from_where_is_said_of_a_routing() -> None:
    v1 = Target(Color.BLUE, "v1", ("127.0.0.1:1", "127.0.0.1:2"))
    v2 = Target(Color.GREEN, "v2", ("127.0.0.1:3",))
    assert gate.told(Routing(v1)) == "v1 at 127.0.0.1:1 and 1 more alone"
    assert gate.told(Routing(v1, v2, 4)).endswith("v2 at 127.0.0.1:3 for the lanes that it gets")
    assert gate.told(Routing()) == "nobody is served"


def test_an_edit_of_the_gate_is_shown_without_being_asked_for() -> None:
    part = {
        "when": "edits of the config, after a restart of reld",
        "diff": "--- a\n+++ b\n+limit 9",
    }
    answer = plan_of(rollout(), gate_diff=(part,), gate_note="[gate] was edited")
    shown = "\n".join(lines(answer, Look(), 80))
    assert "  +limit 9" in shown
    assert "[gate] was edited" in shown
