"""What is said of a rollout for which the app is away."""

from __future__ import annotations

from relctl import plan as shown
from reld import away, plans
from reld.api.requests import Options
from reld.core.model import Kind, Mark, Outcome, Phase, Rollout
from reld.core.policy import STOP_FIRST, Policy
from reld.core.stop_first import measured

POLICY = Policy(strategy=STOP_FIRST)


def ended(*phases: tuple[Phase, float], over: float, stop_first: bool = False) -> Rollout:
    marks = tuple(Mark(phase, at) for phase, at in phases)
    phase = Phase.FINISHING
    return Rollout(
        4, Kind.SWITCH, phase, over, 0.0, POLICY,
        from_="v1", to="v2", outcome=Outcome.DONE, marks=marks, stop_first=stop_first,
    )  # fmt: skip


WARM = ended(
    *((Phase.PREPARING, 0.0), (Phase.STARTING, 1.0), (Phase.PROVING, 9.0), (Phase.ADMITTING, 10.0)),
    *((Phase.SHIFTING, 11.0), (Phase.DRAINING, 600.0), (Phase.STOPPING, 630.0)),
    (Phase.FINISHING, 633.0),
    over=634.0,
)
IN_TURN = ended(
    *((Phase.PREPARING, 0.0), (Phase.DRAINING, 10.0), (Phase.STOPPING, 11.0)),
    *((Phase.STARTING, 13.0), (Phase.PROVING, 20.0), (Phase.COMMITTING, 21.0)),
    (Phase.FINISHING, 22.0),
    over=99.0,
    stop_first=True,
)


def test_how_long_it_takes_is_known_from_any_rollout_that_got_a_release_ready() -> None:
    assert measured(WARM, 0.0) == 8.0 + 1.0 + 3.0
    assert measured(IN_TURN, 0.0) == 12.0


def test_what_never_got_ready_says_nothing_about_it() -> None:
    failed = ended((Phase.PREPARING, 0.0), (Phase.STARTING, 1.0), (Phase.STOPPING, 61.0), over=62.0)
    assert measured(failed, 7.0) == 7.0
    assert measured(ended(over=1.0), 7.0) == 7.0


def test_the_first_line_says_how_long_users_get_503() -> None:
    made = plans.in_turn(Kind.SWITCH, "v1", "v2", POLICY, 12.0, Options())
    assert shown.title({"id": 5, "plan": made}, "switch") == (
        "rollout 5: switch v1 → v2, stop-first, about 12 s"
    )
    assert made["watch"] == ["users get 503 for about 12 s: v1 is stopped before v2 starts"]
    assert "bring v1 back if v2 does not get ready" in made["text"]


def test_what_nobody_has_measured_is_not_promised() -> None:
    made = plans.in_turn(Kind.ROLLBACK, "v2", "v1", POLICY, 0.0, Options())
    assert shown.title({"plan": made}, "rollback") == "rollback v2 → v1, boots first, stop-first"
    assert "users get 503 until it is ready" in made["watch"][0]


def test_what_was_typed_for_nothing_is_named() -> None:
    typed = Options(stop_first=True, now=True, bake=60.0, step_time=1.0)
    (line,) = away.ignored(typed)
    assert line.startswith("stop-first: --step-time, --bake, --now ignored")
    assert away.ignored(Options(stop_first=True, drain=3.0)) == []


def test_a_person_may_want_it_this_time_only() -> None:
    assert plans.with_options(Policy(), Options(stop_first=True)).strategy == STOP_FIRST
    assert plans.with_options(POLICY, Options()).strategy == STOP_FIRST
