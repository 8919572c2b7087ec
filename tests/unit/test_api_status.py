"""What a state looks like from outside: status, receipt, metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reld.api.measured import measured
from reld.api.receipt import receipt
from reld.api.service import SlotVitals, Vitals
from reld.api.status import degraded, headline, status
from reld.core.model import (
    Color,
    Counts,
    Exit,
    Gate,
    Identity,
    Instance,
    InstanceState,
    Kind,
    Loaded,
    Mark,
    Outcome,
    Phase,
    Rollout,
    Routing,
    Slot,
    State,
    Target,
)
from reld.core.policy import Policy, SlotPolicy
from reld.metrics.facts import Facts
from reld.metrics.page import page

VITALS = Vitals(now=1000.0, offset=1_700_000_000.0)
BLUE = Target(Color.BLUE, "v1", ("127.0.0.1:21001",))
GREEN = Target(Color.GREEN, "v2", ("127.0.0.1:21002",))


def slot(color: Color, release: str, state: InstanceState = InstanceState.READY) -> Slot:
    number = 1 if color is Color.BLUE else 2
    instance = Instance(
        number,
        0,
        f"127.0.0.1:2100{number}",
        state,
        Identity(40 + number, 5, "b"),
        started_at=900.0,
    )
    return Slot(color, release, number, SlotPolicy(), (instance,))


STEADY = State("web", "b", blue=slot(Color.BLUE, "v1"), gate=Gate(Loaded(3, Routing(BLUE))))
ROLLOUT = Rollout(
    id=4,
    kind=Kind.SWITCH,
    phase=Phase.SHIFTING,
    since=970.0,
    began=940.0,
    policy=Policy(),
    actor="alice",
    from_="v1",
    to="v2",
    old=Color.BLUE,
    candidate=Color.GREEN,
    step=1,
    step_since=970.0,
    share=25,
    wanted_share=25,
    moved=True,
    blue=Counts(90, 1),
    green=Counts(10, 0),
    marks=(Mark(Phase.PREPARING, 940.0), Mark(Phase.STARTING, 941.0), Mark(Phase.SHIFTING, 950.0)),
)
SHIFTING = replace(
    STEADY,
    green=slot(Color.GREEN, "v2"),
    gate=Gate(Loaded(4, Routing(BLUE, GREEN, 4))),
    rollout=ROLLOUT,
)


NOTHING_FOUND = {
    "verdict": "fine",
    "sentence": "",
    "known": "",
    "errors": 0.0,
    "slowness": 0.0,
    "odds": 0.0,
    "observed": "",
    "share": 0,
}


def words(state: State) -> tuple[str, str]:
    slots = status(state, VITALS)["slots"]
    return slots["blue"]["state"], slots["green"]["state"]


def percents(state: State) -> tuple[int, int]:
    slots = status(state, VITALS)["slots"]
    return slots["blue"]["percent"], slots["green"]["percent"]


def in_phase(phase: Phase, **changes: Any) -> State:
    return replace(SHIFTING, rollout=replace(ROLLOUT, phase=phase, **changes))


def test_a_steady_state_has_one_live_slot_with_all_the_traffic() -> None:
    assert status(STEADY, VITALS) == {
        "app": "web",
        "live": "blue",
        "release": "v1",
        "rollout": None,
        "slots": {
            "blue": {
                "state": "live",
                "release": "v1",
                "percent": 100,
                "instances": [
                    {
                        "pid": 41,
                        "port": 21001,
                        "socket": None,
                        "address": "127.0.0.1:21001",
                        "state": "ready",
                        "started": "2023-11-14T22:28:20.000Z",
                        "restarts": 0,
                        "adopted": False,
                        "exit": None,
                        "detail": "",
                    }
                ],
                "workers": [],
                **measured(SlotVitals()),
            },
            "green": {
                "state": "empty",
                "release": None,
                "percent": 0,
                "instances": [],
                "workers": [],
                **measured(SlotVitals()),
            },
        },
        "degraded": None,
        "config": None,
        "maintenance": None,
        "follow": None,
        "rehearsal": None,
        "can": [],
    }


def test_a_running_rollout_shows_all_its_keys() -> None:
    shown = status(SHIFTING, VITALS)["rollout"]
    assert shown == {
        "id": 4,
        "kind": "switch",
        "from": "v1",
        "to": "v2",
        "phase": "shifting",
        "percent": 25,
        "step": 2,
        "steps": [5, 25, 50, 95, 100],
        "outcome": None,
        "reason": None,
        "actor": "alice",
        "started": "2023-11-14T22:29:00.000Z",
        "since": "2023-11-14T22:29:10.000Z",
        "seconds": 60.0,
        "eta": 30 + 2 * 60 + 600 + 30,
        "progress": {
            "seconds": 2.0,  # the log was never read further
            "needs_seconds": 60.0,
            "at_most": 600.0,
            "requests": 100,
            "needs_requests": 300,
        },
        "waiting": None,
        "paused": False,
        "approval": None,
        "note": None,
        "on_duty": None,
        "approve_after": [],
        "asks": None,
        "agreed": [],
        "left": None,
        "streams": None,
        "verdict": "fine",
        "evidence": NOTHING_FOUND,
        "skipped": [],
        "shadow": None,
        "surge": 0,
        "warm": None,
        "rate": None,
        "strategy": "warm",
        "turned_away": 0,
        "new_lines": None,
        "phases": [
            {"phase": "preparing", "seconds": 1.0},
            {"phase": "starting", "seconds": 9.0},
            {"phase": "shifting", "seconds": 50.0},
        ],
    }


def test_the_percents_add_up_while_shifting() -> None:
    assert percents(SHIFTING) == (75, 25)
    assert percents(STEADY) == (100, 0)
    assert percents(State("web", "b")) == (0, 0)


def test_lanes_of_another_rollout_do_not_count() -> None:
    stale = replace(SHIFTING, gate=Gate(Loaded(4, Routing(BLUE, GREEN, 3))))
    assert percents(stale) == (100, 0)


def test_the_words_of_the_slots_follow_the_rollout() -> None:
    booting = replace(
        in_phase(Phase.STARTING, share=0),
        green=slot(Color.GREEN, "v2", InstanceState.STARTING),
        gate=STEADY.gate,
    )
    assert words(booting) == ("live", "starting")
    assert words(replace(in_phase(Phase.PROVING, share=0), gate=STEADY.gate)) == ("live", "ready")
    assert words(SHIFTING) == ("live", "candidate")
    assert words(in_phase(Phase.BAKING, share=100)) == ("warm", "candidate")
    assert words(in_phase(Phase.REVERTING, share=0)) == ("live", "draining")
    committed = replace(
        in_phase(Phase.DRAINING, share=100, leaving=Color.BLUE),
        gate=Gate(Loaded(5, Routing(GREEN))),
    )
    assert words(committed) == ("draining", "live")
    assert percents(committed) == (0, 100)
    rollout = replace(ROLLOUT, phase=Phase.STOPPING, leaving=Color.BLUE)
    assert words(replace(committed, rollout=rollout)) == ("stopping", "live")


def test_an_external_slot_is_called_so() -> None:
    blue = replace(slot(Color.BLUE, "old"), external=True)
    assert words(replace(STEADY, blue=blue))[0] == "external"


def test_a_live_slot_that_lost_an_instance_is_degraded_and_says_why() -> None:
    state = replace(STEADY, blue=slot(Color.BLUE, "v1", InstanceState.EXITED))
    assert words(state)[0] == "dead"
    assert degraded(state) == "no instance of v1 runs, and it is live"
    state = replace(STEADY, blue=slot(Color.BLUE, "v1", InstanceState.STARTING))
    assert words(state)[0] == "degraded"
    assert degraded(state) == "0 of 1 instances of v1 are ready"


def test_a_slot_whose_processes_did_not_end_is_locked() -> None:
    state = replace(STEADY, green=slot(Color.GREEN, "v0", InstanceState.KILLING))
    assert words(state)[1] == "locked"
    assert degraded(state) == "slot green is locked: processes of v0 did not end"


def test_every_trouble_is_in_degraded() -> None:
    state = replace(
        SHIFTING,
        store_trouble="disk full",
        lanes_trouble="tmpfs gone",
        gate=replace(SHIFTING.gate, trouble="frozen"),
        rollout=replace(ROLLOUT, waiting="unproven"),
    )
    assert degraded(state) == "disk full; tmpfs gone; frozen; rollout 4: unproven"


def test_a_pause_is_a_wish_and_nothing_degraded() -> None:
    state = in_phase(Phase.SHIFTING, paused=True, waiting="paused by a person")
    assert degraded(state) is None
    assert status(state, VITALS)["rollout"]["eta"] is None


def test_an_adopted_instance_is_shown_as_such_and_its_unknown_end_says_why() -> None:
    assert STEADY.blue is not None
    (member,) = STEADY.blue.instances

    def shown(**changes: Any) -> tuple[bool, str | None]:
        changed = replace(STEADY.blue, instances=(replace(member, **changes),))
        (found,) = status(replace(STEADY, blue=changed), VITALS)["slots"]["blue"]["instances"]
        return found["adopted"], found["exit"]

    gone = {"state": InstanceState.KILLING}
    assert shown(adopted=True) == (True, None)
    assert shown(**gone, adopted=True, exit=Exit()) == (True, "exit status unknown: it was adopted")
    assert shown(**gone, adopted=True, exit=Exit(signal=9)) == (True, "killed by signal 9")
    assert shown(**gone, exit=Exit()) == (False, "exit status unknown")


def test_a_unix_address_has_no_port() -> None:
    instance = replace(slot(Color.BLUE, "v1").instances[0], address="unix:/run/app.sock")
    state = replace(STEADY, blue=replace(slot(Color.BLUE, "v1"), instances=(instance,)))
    shown = status(state, VITALS)["slots"]["blue"]["instances"][0]
    assert (shown["port"], shown["address"]) == (None, "unix:/run/app.sock")


@pytest.mark.parametrize(
    ("phase", "changes", "left"),
    [
        (Phase.PROVING, {"share": 0, "step": -1}, 4 * 60 + 600 + 30),
        (Phase.SHIFTING, {"step": 3}, 30 + 600 + 30),
        (Phase.SHIFTING, {"step": 4, "step_since": None}, 600 + 30),
        (Phase.BAKING, {"since": 500.0}, 100 + 30),
        (Phase.COMMITTING, {}, 30),
        (Phase.DRAINING, {"drain_since": 980.0}, 10),
        (Phase.DRAINING, {"drain_since": 900.0}, None),
        (Phase.STOPPING, {}, 0),
        (Phase.PROVING, {"old": None}, 0),
        (Phase.BAKING, {"waiting": "cornered"}, None),
    ],
)
def test_the_time_left_is_what_the_policy_makes_it(
    phase: Phase, changes: dict[str, Any], left: float | None
) -> None:
    assert status(in_phase(phase, **changes), VITALS)["rollout"]["eta"] == left


def test_the_headline_says_the_phase_the_share_and_the_time_left() -> None:
    assert headline(status(SHIFTING, VITALS)) == "shifting v2, 25 %, about 780 s left"
    assert headline(status(STEADY, VITALS)) == "v1 is live"
    assert headline(status(State("web", "b"), VITALS)) == "nothing is live"


ENDED = replace(
    ROLLOUT,
    phase=Phase.FINISHING,
    since=990.0,
    outcome=Outcome.DONE,
    reloads=2,
    cut=1,
    drain_seconds=30.0,
    marks=(*ROLLOUT.marks, Mark(Phase.SHIFTING, 960.0), Mark(Phase.FINISHING, 989.0)),
)


def test_a_receipt_has_the_whole_account() -> None:
    assert receipt(ENDED, VITALS, running=False) == {
        "id": 4,
        "kind": "switch",
        "from": "v1",
        "to": "v2",
        "actor": "alice",
        "outcome": "done",
        "exit": 0,
        "reason": "",
        "note": "",
        "approved_by": None,
        "approval_note": "",
        "agreed": [],
        "on_duty": None,
        "summary": "v2 serves: 100 requests, 1 error, 1 connection cut at the end of the drain",
        "evidence": NOTHING_FOUND,
        "judged_by": {
            "false_alarm": 0.001,
            "max_error_rate": None,
            "max_p95": None,
            "warmup": 60.0,
            "routes": [],
            "planned": 1200.0,
            "act": True,
        },
        "warning": None,
        "unproven": False,
        "moved": True,
        "skipped": [],
        "shadow": None,
        "rehearsal": None,
        "requests": {
            "blue": {"total": 90, "errors": 1, "failures": 0, "saved": 0, "release": "v1"},
            "green": {"total": 10, "errors": 0, "failures": 0, "saved": 0, "release": "v2"},
        },
        "strategy": "warm",
        "turned_away": 0,
        "new_lines": None,
        "reloads": 2,
        "workers": [],
        "drain": {"seconds": 30.0, "cut": 1, "closed": 0},
        "hooks": [],
        "started": "2023-11-14T22:29:00.000Z",
        "ended": "2023-11-14T22:29:50.000Z",
        "seconds": 50.0,
        "phases": [
            {"phase": "preparing", "seconds": 1.0},
            {"phase": "starting", "seconds": 9.0},
            {"phase": "shifting", "seconds": 39.0},
            {"phase": "finishing", "seconds": 1.0},
        ],
    }


def test_the_receipt_of_a_running_rollout_has_no_outcome_yet() -> None:
    turned = replace(ROLLOUT, outcome=Outcome.ROLLED_BACK)
    account = receipt(turned, VITALS, running=True)
    assert (account["outcome"], account["exit"], account["ended"]) == (None, None, None)
    assert account["phases"][-1] == {"phase": "shifting", "seconds": 50.0}


@pytest.mark.parametrize(
    ("outcome", "moved", "code"),
    [
        (Outcome.DONE, True, 0),
        (Outcome.FAILED, False, 1),
        (Outcome.ROLLED_BACK, True, 3),
        (Outcome.ABORTED, True, 3),
        (Outcome.ABORTED, False, 1),
    ],
)
def test_the_receipt_knows_the_exit_code(outcome: Outcome, moved: bool, code: int) -> None:
    ended = replace(ENDED, outcome=outcome, moved=moved, reason="why")
    assert receipt(ended, VITALS, running=False)["exit"] == code


def test_a_stop_that_was_done_is_a_success() -> None:
    stopped = replace(ENDED, kind=Kind.STOP, to="", blue=Counts(), green=Counts(), cut=0)
    account = receipt(stopped, VITALS, running=False)
    assert (account["exit"], account["to"]) == (0, None)
    assert account["summary"] == "v1 was stopped: 0 requests, 0 errors"


def test_the_summary_of_a_failure_says_who_serves() -> None:
    failed = replace(ENDED, outcome=Outcome.FAILED, reason="never ready", cut=0)
    assert receipt(failed, VITALS, running=False)["summary"] == (
        "switch failed (never ready), v1 serves: 100 requests, 1 error"
    )


def test_the_metrics_name_the_live_release_and_the_phase() -> None:
    lines = page(SHIFTING, VITALS, Facts()).decode().splitlines()
    assert 'reld_live_info{app="web",release="v1",slot="blue"} 1.0' in lines
    assert 'reld_rollout_phase{app="web",phase="shifting"} 1.0' in lines
    assert 'reld_rollout_phase{app="web",phase="baking"} 0.0' in lines
    assert 'reld_rollout_requests{app="web",result="error",slot="blue"} 1.0' in lines
    assert 'reld_slot_traffic_ratio{app="web",slot="green"} 0.25' in lines
    assert 'reld_slot_state{app="web",slot="green",state="candidate"} 1.0' in lines


def test_the_metrics_hold_one_series_for_each_label_set() -> None:
    names = [
        line.rpartition(" ")[0]
        for line in page(SHIFTING, VITALS, Facts()).decode().splitlines()
        if line[0] != "#"
    ]
    assert len(names) == len(set(names))


def test_the_slot_that_made_way_is_told_apart_from_one_that_is_being_stopped() -> None:
    away = replace(ROLLOUT, phase=Phase.STARTING, stop_first=True, made_way=True, turned_away=7)
    state = replace(STEADY, rollout=away, blue=slot(Color.BLUE, "v1", InstanceState.EXITED))
    assert words(state)[0] == "stopped"
    shown = status(state, VITALS)["rollout"]
    assert (shown["strategy"], shown["turned_away"], shown["eta"]) == ("stop-first", 7, None)


def test_a_release_that_nobody_could_bring_back_is_not_said_to_serve() -> None:
    ended = replace(ROLLOUT, outcome=Outcome.ROLLED_BACK, stranded=True, turned_away=7)
    told = receipt(ended, VITALS, running=False)["summary"]
    assert "nothing serves" in told
    assert "7 turned away with a 503" in told
