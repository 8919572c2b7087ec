"""Two releases change places instance by instance: forth, back, and from wherever it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from reld.core import commands as c
from reld.core import events as ev
from reld.core import exchange
from reld.core.effects import (
    CloseStreams,
    CountDrain,
    MoveLanes,
    ProveReady,
    Spawn,
    moves_lanes_back,
    todo,
)
from reld.core.events import End
from reld.core.model import Color, Counts, InstanceState, Kind, Outcome, Phase, State
from reld.core.pacing import GRACE
from reld.core.policy import Policy, SlotPolicy, StreamPolicy
from reld.core.surge import EASE
from reld.core.turns import lanes_back
from tests.unit.core_driver import POLICY, Driver, steady, with_policy

SURGE = with_policy(slot=SlotPolicy(instances=4), surge=1)
_ASKED, _COUNT = (ProveReady,), (CountDrain,)
_NO_PROCESS = (InstanceState.EXITED, InstanceState.PARKED)


def switching(policy: Policy = SURGE) -> Driver:
    return steady(policy=policy).begin(Kind.SWITCH, "v2", policy)


def counts(state: State) -> tuple[int, int, int]:
    """Old ones that should run, new ones, and the share."""
    rollout = state.rollout
    assert rollout is not None
    old, new = state.slot(rollout.old), state.slot(rollout.candidate)
    return (len(old.crew) if old else 0, len(new.crew) if new else 0, rollout.share)


def ready(state: State, color: Color | None) -> int:
    """Instances that the gate names, and that answer."""
    slot = state.slot(color)
    named = {
        address
        for target in (state.gate.verified.routing.default, state.gate.verified.routing.candidate)
        if target is not None and target.color is color
        for address in target.addresses
    }
    return sum(i.was_ready and i.address in named for i in slot.instances) if slot else 0


def checked(state: State) -> None:
    """Never more than N + surge, and nobody has much more to do than usual."""
    rollout = state.rollout
    processes = [i for s in state.slots for i in s.instances if i.state not in _NO_PROCESS]
    assert len(processes) <= 5, [i.state for i in processes]
    both = (Phase.SHIFTING, Phase.BAKING, Phase.RETURNING)
    if rollout is None or rollout.phase not in both or not rollout.surge:
        return
    if state.gate.verified.routing.candidate is None:
        return  # a way back from the drain: the lanes count when both are named again
    most = EASE[0] / EASE[1] if rollout.phase is not Phase.SHIFTING else 1.02
    asked = max(rollout.share, rollout.wanted_share)
    assert asked / 100 * 4 <= ready(state, rollout.candidate) * 1.02, counts(state)
    least = min(rollout.share, rollout.wanted_share)
    assert (100 - least) / 100 * 4 <= ready(state, rollout.old) * most, counts(state)


def walked(driver: Driver, reached: Callable[[State], bool]) -> list[tuple[int, int, int]]:
    """Every count on the way; each of its moments is looked at."""
    seen: list[tuple[int, int, int]] = []

    def looked(state: State) -> bool:
        checked(state)
        if state.rollout is not None and counts(state) not in seen[-1:]:
            seen.append(counts(state))
        return reached(state)

    driver.until(looked)
    return seen


def in_phase(phase: Phase) -> Callable[[State], bool]:
    return lambda s: s.rollout is not None and s.rollout.phase is phase


def at_rest(driver: Driver) -> None:
    walked(driver, lambda s: s.rollout is None)
    driver.rest()
    assert driver.live.fit
    assert [i.state for i in driver.live.instances] == [InstanceState.READY] * 4
    assert len(driver.state.slots) == 1
    assert driver.state.gate.verified.routing.default is not None
    assert len(driver.state.gate.verified.routing.default.addresses) == 4


def test_the_instances_grow_with_the_share_and_the_old_ones_leave_one_by_one():
    driver = switching().to(Phase.SHIFTING)
    seen = walked(driver, in_phase(Phase.BAKING))
    assert seen == [
        *((4, 1, 0), (4, 1, 5), (3, 1, 25), (3, 2, 25), (3, 2, 50)),
        *((2, 2, 50), (2, 3, 50), (1, 3, 75), (1, 4, 75), (1, 4, 100)),
    ]
    states = [i.state for i in driver.old.instances]
    assert states == [InstanceState.READY, *[InstanceState.PARKED] * 3]
    at_rest(driver)
    assert (driver.last.outcome, driver.live.release) == (Outcome.DONE, "v2")
    assert driver.last.reloads == 2 + 2 * 3


def test_an_old_instance_drains_before_it_is_stopped_and_the_next_one_starts_after_it_has_gone():
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: counts(s)[0] == 3)
    begun = driver.now
    leaving = driver.old.instances[3]
    driver.until(lambda s: s.blue is not None and s.blue.instances[3].state == "stopping")
    assert driver.now >= begun + SURGE.drain
    named = driver.state.gate.verified.routing.default
    assert named is not None
    assert leaving.address not in named.addresses
    assert not any(isinstance(e, Spawn) for e in todo(driver.state))
    driver.until(lambda s: any(isinstance(e, Spawn) for e in todo(s)))
    assert driver.old.instances[3].state is InstanceState.PARKED


def test_what_has_not_drained_is_given_up_after_drain_max():
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: s.rollout is not None and s.rollout.thinning is not None)
    begun = driver.now
    busy = replace(driver.rollout.thinning, drained=False)
    driver.state = replace(driver.state, rollout=replace(driver.rollout, thinning=busy))
    driver.until(
        lambda s: s.blue is not None and s.blue.instances[3].state == "stopping",
        without=(CountDrain,),
    )
    assert driver.now == begun + SURGE.drain_max


def thinning(policy: Policy, streams: StreamPolicy | None) -> Driver:
    """An old instance has left the gate; old workers live, for connections to others."""
    driver = switching(replace(policy, streams=streams, gate_timeout=40.0)).to(Phase.SHIFTING)
    walked(driver, lambda s: s.rollout is not None and s.rollout.thinning is not None)
    return driver


def told_to_stop(driver: Driver) -> float:
    """Seconds after the instance has left the gate."""
    begun = driver.rollout.thinning.at
    driver.until(
        lambda s: s.blue is not None and s.blue.instances[3].state == "stopping", without=_COUNT
    )
    return driver.now - begun


def closes(driver: Driver) -> list[CloseStreams]:
    return [e for e in todo(driver.state) if isinstance(e, CloseStreams)]


def test_where_streams_are_closed_an_instance_does_not_wait_for_those_of_others():
    driver = thinning(SURGE, StreamPolicy(300.0, 50.0))
    number, since = driver.rollout.id, driver.rollout.thinning.since
    assert closes(driver) == [CloseStreams(number, Color.BLUE, since)]
    driver.tell(ev.DrainCounted(number, since, 2, 1, 2))
    driver.tell(ev.StreamsClosed(number, 2, 0))
    driver.tell(ev.DrainCounted(number, since, 0, 1, 0))
    assert told_to_stop(driver) == 50.0 + GRACE
    assert not closes(driver)
    driver.tell(ev.DrainCounted(number, since, 3, 1, 3))  # on its way when it was cancelled
    assert (driver.rollout.thinning.left, driver.rollout.cut) == (0, 0)
    driver.until(lambda s: s.rollout is not None and s.rollout.thinning is None)
    assert (driver.rollout.streams, driver.rollout.streams_most) == (None, 0)
    at_rest(driver)
    assert (driver.last.closed, driver.last.cut) == (2, 0)


def test_without_the_setting_an_instance_waits_for_the_old_workers_as_ever():
    driver = thinning(SURGE, None)
    driver.tell(ev.DrainCounted(driver.rollout.id, driver.rollout.thinning.since, 0, 1, 0))
    assert not closes(driver)
    assert told_to_stop(driver) == SURGE.drain_max


def test_what_an_instance_that_leaves_waits_for_is_told_once():
    driver = thinning(SURGE, None)
    number, since = driver.rollout.id, driver.rollout.thinning.since
    driver.tell(ev.DrainCounted(number, since, 4, 1))
    assert not driver.rollout.waiting
    driver.wait(SURGE.drain)
    told = (
        f"4 connections to instance 3 of v1 after {SURGE.drain:g} s: "
        f"at most {SURGE.drain_max:g} s for what they have begun"
    )
    assert driver.rollout.waiting == told
    driver.tell(ev.DrainCounted(number, since, 1, 1))
    assert driver.rollout.waiting == told
    told_to_stop(driver)
    assert not driver.rollout.waiting


@pytest.mark.parametrize("share", [25, 50])
def test_an_early_way_back_is_at_once_and_the_old_ones_come_back_while_the_new_ones_drain(share):
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: counts(s)[2] == share)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.phase is Phase.REVERTING
    assert driver.rollout.wanted_share == 0
    at_rest(driver)
    assert (driver.last.outcome, driver.live.release) == (Outcome.ABORTED, "v1")


def test_from_the_bake_the_old_ones_take_what_they_carry_at_once_and_come_back_one_by_one():
    driver = switching().to(Phase.BAKING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert (driver.phase, driver.rollout.wanted_share) == (Phase.RETURNING, 75)
    seen = walked(driver, in_phase(Phase.REVERTING))
    assert seen == [
        *((1, 4, 100), (1, 3, 75), (2, 3, 75), (2, 2, 50), (3, 2, 50)),
    ]
    at_rest(driver)
    assert (driver.last.outcome, driver.live.release) == (Outcome.ABORTED, "v1")
    assert driver.last.turned_at == 100


def test_lanes_that_go_back_wait_for_no_disk():
    driver = switching().to(Phase.BAKING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    moves = [e for e in todo(driver.state) if isinstance(e, MoveLanes)]
    assert [e.share for e in moves] == [75]
    assert all(moves_lanes_back(e) for e in moves)


def test_a_way_back_from_the_drain_names_both_again_before_the_lanes_decide():
    driver = switching().to(Phase.DRAINING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.phase is Phase.RETURNING
    at_rest(driver)
    assert (driver.last.outcome, driver.live.release) == (Outcome.ABORTED, "v1")


def test_a_candidate_that_is_dead_gives_everything_back_at_once():
    driver = switching().to(Phase.BAKING)
    for instance in driver.candidate.instances[:-1]:
        driver.exits(instance)
    assert driver.phase is Phase.RETURNING
    driver.exits(driver.candidate.instances[-1])
    assert (driver.phase, driver.rollout.wanted_share) == (Phase.REVERTING, 0)
    at_rest(driver)
    assert driver.last.outcome is Outcome.ROLLED_BACK


def test_a_candidate_that_fails_most_requests_gives_everything_back_at_once():
    driver = switching().to(Phase.BAKING)
    for _ in range(3):
        driver.wait(1.0)
        total = driver.rollout.green.total + 100
        driver.heard(Counts(total, errors=90, failures=total))
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.phase is Phase.REVERTING


def test_where_some_of_the_candidate_died_both_get_their_fair_part():
    driver = switching().to(Phase.BAKING)
    driver.exits(driver.candidate.instances[0])
    assert driver.phase is Phase.RETURNING
    assert driver.rollout.wanted_share == 75
    driver.exits(driver.candidate.instances[1])
    driver.until(lambda s: s.rollout is not None and s.rollout.share < 75)
    assert driver.rollout.share <= 67
    driver.rest()
    assert driver.live.release == "v1"


def test_promote_ends_the_wait_for_the_old_instances():
    driver = switching().to(Phase.BAKING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.ask(c.Promote(driver.rollout.id)) is None
    assert driver.phase is Phase.REVERTING
    at_rest(driver)


def test_going_back_is_asked_for_once():
    driver = switching().to(Phase.BAKING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert c.can_go_back(driver.state)
    before = driver.state
    assert driver.ask(c.Abort(driver.rollout.id, "again", Outcome.ROLLED_BACK)) is None
    assert driver.state == before
    assert driver.ask(c.Pause(driver.rollout.id)) is not None


def test_the_next_instance_that_is_not_ready_in_time_turns_it_back():
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: counts(s)[1] == 2)
    driver.until(
        lambda s: s.rollout is None or s.rollout.outcome is not None, without=(ProveReady,)
    )
    assert "instance 1 of v2 not ready after 60 s" in driver.rollout.reason
    at_rest(driver)
    assert driver.last.outcome is Outcome.ROLLED_BACK


def test_the_next_instance_is_late_and_the_old_slot_not_fit_so_it_says_what_it_waits_for():
    driver = growing()
    driver.exits(driver.old.crew[0])
    driver.until(
        lambda s: s.rollout is not None and "not ready" in s.rollout.waiting, without=_ASKED
    )
    late = "instance 1 of v2 not ready after 60 s, but v1 is not fit: going back when it is"
    assert (driver.phase, driver.rollout.waiting) == (Phase.SHIFTING, late)
    driver.rest()  # the old one is back first
    assert (driver.last.outcome, driver.live.fit) == (Outcome.ROLLED_BACK, True)


def test_the_next_instance_gets_its_time_again_when_nobody_asked_it():
    driver = growing()
    driver.now += 100.0
    driver.reld_restarts()
    assert driver.rollout.outcome is None
    at_rest(driver)
    assert driver.last.outcome is Outcome.DONE


def test_spare_ones_stay_in_the_gate_while_no_other_is_ready_and_that_is_told():
    driver = switching().to(Phase.SHIFTING)
    driver.until(lambda s: s.blue is not None and any(i.spare for i in s.blue.instances))
    for instance in driver.old.crew:
        driver.exits(instance)
    driver.reload_ends(End.REFUSED).wait(1.0)
    assert driver.rollout.waiting == "no other instance of v1 is ready"
    assert driver.old.instances[3].state is InstanceState.READY
    driver.rest()
    assert (driver.last.outcome, driver.live.fit) == (Outcome.DONE, True)


def test_what_was_cut_on_the_way_is_in_the_receipt():
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: s.rollout is not None and s.rollout.thinning is not None)
    since = driver.rollout.thinning.since
    driver.tell(ev.DrainCounted(driver.rollout.id, since, 3, 1))
    driver.until(
        lambda s: s.blue is not None and s.blue.instances[3].state == "stopping", without=_COUNT
    )
    at_rest(driver)
    assert driver.last.cut == 3


def test_a_way_back_from_the_drain_whose_last_old_instance_dies_says_that_it_could_not_go_back():
    driver = switching().to(Phase.DRAINING)
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.phase is Phase.RETURNING
    driver.exits(driver.old.crew[0])
    driver.reload_ends(End.REFUSED)
    driver.wait(1.0)
    at_rest(driver)
    assert (driver.last.outcome, driver.live.release) == (Outcome.DONE, "v2")
    assert "could not go back" in driver.last.reason


def test_a_pause_holds_what_an_earlier_promote_has_not_done_yet():
    driver = growing()
    step = driver.rollout.step
    driver.ask(c.Promote(driver.rollout.id))
    driver.ask(c.Pause(driver.rollout.id))
    driver.until(lambda s: s.rollout is not None and "paused" in s.rollout.waiting)
    driver.wait(600.0)
    assert driver.rollout.step == step
    driver.ask(c.Resume(driver.rollout.id))
    at_rest(driver)


def test_a_pause_keeps_instances_where_they_are():
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: counts(s) == (3, 2, 50))
    driver.ask(c.Pause(driver.rollout.id))
    driver.wait(600.0)
    assert counts(driver.state) == (3, 2, 50)
    driver.ask(c.Resume(driver.rollout.id))
    at_rest(driver)


def test_an_old_instance_that_dies_is_nursed_and_a_parked_one_is_not():
    driver = switching().to(Phase.BAKING)
    driver.exits(driver.old.instances[0])
    driver.until(lambda s: s.blue is not None and s.blue.fit)
    states = [i.state for i in driver.old.instances]
    assert states == [InstanceState.READY, *[InstanceState.PARKED] * 3]


def test_a_rollback_later_changes_places_the_same_way():
    driver = switching().rest().begin(Kind.ROLLBACK, None, SURGE)
    seen = walked(driver.to(Phase.SHIFTING), in_phase(Phase.DRAINING))
    assert (2, 2, 50) in seen
    assert seen[-1] == (1, 4, 100)
    at_rest(driver)
    assert driver.live.release == "v1"


def test_a_single_instance_is_as_without_a_surge():
    plain = steady(policy=with_policy(slot=SlotPolicy(instances=1)))
    surge = steady(policy=with_policy(slot=SlotPolicy(instances=1), surge=1))
    for driver in (plain, surge):
        driver.begin(Kind.SWITCH, "v2", replace(driver.state.last.policy, hooks=())).rest()
    assert surge.phases == plain.phases
    assert surge.last.reloads == plain.last.reloads


def test_the_first_release_and_one_beside_a_dead_slot_come_as_a_whole():
    driver = Driver().begin(Kind.SWITCH, "v1", SURGE).to(Phase.STARTING)
    assert len(driver.candidate.crew) == 4
    driver = switching().to(Phase.PREPARING)
    driver.dies(driver.rollout.old)
    driver.to(Phase.STARTING)
    assert (driver.rollout.surge, len(driver.candidate.crew)) == (0, 4)


def growing() -> Driver:
    """The second new instance starts, and is not ready yet."""
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: counts(s)[1] == 2)
    return driver.until(lambda s: driver.candidate.instances[1].state == "starting", without=_ASKED)


def moments() -> list[int]:
    """As many moments as a switch, and a way back from its bake, have."""
    return list(range(0, 260, 17))


def to_moment(number: int, *, back: bool) -> Driver:
    driver = switching()
    if back:
        driver.to(Phase.BAKING).ask(c.Abort(driver.rollout.id, "by hand"))
    left = number

    def reached(state: State) -> bool:
        nonlocal left
        checked(state)
        left -= 1
        return left < 0 or state.rollout is None

    return driver.until(reached)


@pytest.mark.parametrize("back", [False, True], ids=["forth", "back"])
@pytest.mark.parametrize("number", moments())
def test_a_reld_that_is_killed_at_any_moment_goes_on_by_the_same_rules(number, back):
    driver = to_moment(number, back=back)
    if driver.state.rollout is None or driver.phase is Phase.PREPARING:
        return
    flying = driver.state.gate.in_flight
    driver.reld_restarts(serving=None if flying is None else flying.generation)
    at_rest(driver)
    assert driver.last.outcome is (Outcome.ABORTED if back else Outcome.DONE)


@pytest.mark.parametrize("back", [False, True], ids=["forth", "back"])
@pytest.mark.parametrize("number", moments())
def test_a_reboot_at_any_moment_leads_to_a_whole_slot(number, back):
    driver = to_moment(number, back=back)
    driver.machine_reboots().rest()
    assert driver.live.fit
    assert len(driver.live.crew) == 4


@pytest.mark.parametrize("number", moments())
def test_who_turns_back_at_any_moment_gets_the_whole_old_slot(number):
    driver = to_moment(number, back=False)
    refusal = None
    if driver.state.rollout is not None:
        refusal = driver.ask(c.Abort(driver.rollout.id, "by hand"))
    if driver.state.rollout is None or refusal is not None:
        return
    at_rest(driver)
    assert driver.live.release == "v1"


@pytest.mark.parametrize("end", [End.REFUSED, End.UNKNOWN])
def test_a_gate_that_takes_no_config_holds_the_exchange_and_says_so(end):
    driver = switching().to(Phase.SHIFTING)
    walked(driver, lambda s: counts(s) == (3, 1, 25) and s.gate.in_flight is not None)
    driver.reload_ends(end)
    assert "the gate does not take" in driver.rollout.waiting
    at_rest(driver)
    assert driver.last.outcome is Outcome.DONE


def test_what_the_warm_slot_is_worth_is_told():
    driver = switching().to(Phase.BAKING)
    assert exchange.warm_now(driver.state).startswith(
        "1 of 4 old instances is warm: going back takes about 60 s"
    )
    assert exchange.lines(POLICY, "v1") == []
    told = exchange.lines(SURGE, "v1")
    assert "at most 5 instances run at a time, so they change places 3 times" in told[0]
    assert exchange.lasts(SURGE) == 90.0


def test_all_lanes_at_once_is_what_a_whole_slot_gets():
    driver = switching(with_policy(slot=SlotPolicy(instances=2), surge=2)).to(Phase.BAKING)
    assert len(driver.old.crew) == 2
    driver.ask(c.Abort(driver.rollout.id, "by hand"))
    assert driver.phase is Phase.REVERTING
    assert lanes_back(driver.state, driver.rollout, driver.now).rollout is not None
