"""The simulator can fail: each way to break the core that somebody could think of is caught."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from reld import engine
from reld.core import (
    agreement,
    approval,
    commands,
    crew,
    drain,
    effects,
    instances,
    parking,
    recovery,
    routing,
    stop_first,
    turns,
    watch,
    workers,
)
from reld.core import rollout as life
from reld.core.commands import Pause
from reld.core.model import InstanceState, Phase, Rollout
from reld.errors import StoreError
from tests.sim import stories
from tests.sim import world as world_module
from tests.sim.host import SimHost

pytestmark = pytest.mark.timeout(300)  # computing only: a busy machine makes it slow, not wrong

SEEDS = 1_500
"""Stories within which every mutant must be caught."""


def caught():
    for seed in range(SEEDS):
        try:
            stories.tell(seed)
        except AssertionError as error:
            return str(error)
    return None


def phase(monkeypatch, name, mutant):
    monkeypatch.setitem(life._PHASES, name, mutant)


def lanes_move_beside_the_mirror(m):
    def impatient(state, rollout, at):
        shadow = rollout.shadow
        off = replace(shadow, on=shadow.on and not shadow.over)
        return shadowing(state, replace(rollout, shadow=off), at)

    shadowing = life.shadowing
    m.setattr(life, "shadowing", impatient)


def sigterm_before_the_drain(m):
    phase(m, Phase.DRAINING, lambda s, r, at: turns.enter(s, r, Phase.STOPPING, at))


def traffic_before_readiness(m):
    phase(m, Phase.STARTING, lambda s, r, at: turns.enter(s, r, Phase.PROVING, at))


def no_deadline_on_starting(m):
    starting = life.starting
    phase(m, Phase.STARTING, lambda s, r, at: starting(s, r, r.since))


def no_deadline_on_draining(m):
    draining = life.draining
    phase(m, Phase.DRAINING, lambda s, r, at: draining(s, r, r.drain_since or at))


def routing_compared_by_colour(m):
    def colours(wanted):
        targets = (wanted.default, wanted.candidate)
        return [None if t is None else t.color for t in targets]

    def settled(state):
        gate = state.gate
        same = colours(gate.verified.routing) == colours(routing.wanted(state))
        return gate.in_flight is None and not gate.suspects and same

    m.setattr(routing, "settled", settled)
    m.setattr(life, "settled", settled)


def only_the_last_suspect_is_remembered(m):
    m.setattr(routing, "suspected", lambda suspects, loaded: (loaded,))
    m.setattr(recovery, "suspected", lambda suspects, loaded: (loaded,))


def no_suspect_is_remembered(m):
    m.setattr(routing, "suspected", lambda suspects, loaded: ())
    m.setattr(recovery, "suspected", lambda suspects, loaded: ())


def only_the_verified_config_exposes(m):
    for module in (life, drain):
        m.setattr(module, "exposed", lambda s, color: s.gate.verified.routing.names(color))


def nobody_is_adopted(m):
    recover = world_module.recover
    m.setattr(
        world_module,
        "recover",
        lambda s, found, at: recover(s, replace(found, alive=frozenset()), at),
    )


def effects_before_the_disk(m):
    m.setattr(engine, "moves_lanes_back", lambda effect: True)


def going_back_waits_for_the_disk(m):
    m.setattr(engine, "moves_lanes_back", lambda effect: False)


def lanes_under_way_are_forgotten(m):
    of_rollout = effects._of_rollout
    m.setattr(effects, "_of_rollout", lambda r: of_rollout(replace(r, unsure=False)))


def lanes_are_never_removed(m):
    everything = effects.todo
    m.setattr(
        engine,
        "todo",
        lambda s: frozenset(e for e in everything(s) if not isinstance(e, effects.RemoveLanes)),
    )


def a_pause_is_ignored(m):
    steered = commands.steered
    m.setattr(commands, "steered", lambda r, c: r if isinstance(c, Pause) else steered(r, c))


def leaving_instances_are_revived(m):
    m.setattr(instances, "role", lambda state, color: routing.Role.LIVE)


def nobody_is_nursed(m):
    m.setattr(instances, "_nursed", lambda state, slot, at: state)


def healthy_live_instances_are_restarted(m):
    m.setattr(
        instances,
        "_to_be_restarted",
        lambda s, slot, i, at: i.was_ready and i.started_at + 5.0 < at,
    )


def old_gate_workers_are_not_counted(m):
    counted = SimHost._drain_counted

    def without_workers(self, rollout, since):
        return replace(counted(self, rollout, since), workers=0)

    m.setattr(SimHost, "_drain_counted", without_workers)


def silence_is_health(m):
    m.setattr(
        life,
        "step_unproven",
        lambda s, r, at: turns.step_to(s, r.step + 1, at),
    )


def the_verdict_is_ignored(m):
    m.setattr(watch, "worse", lambda rollout: "")


def the_environment_holds_nothing(m):
    m.setattr(watch, "not_yet", lambda rollout, at: "")


def steps_are_timed_by_the_clock(m):
    m.setattr(life, "watched_for", lambda rollout, since: rollout.watch.silent_at - since)


def an_unproven_bake_is_done_in_silence(m):
    m.setattr(life, "dealt", lambda rollout: 10**9)


def work_that_is_not_wanted_goes_on(m):
    """The engine cancels nothing, and takes what it says."""

    def reconcile(self):
        self._works, kept = dict(self._works), self._works
        wanted = effects.todo(self.state)
        safe = wanted & effects.todo(self._disk) if self._disk is not None else frozenset()
        for effect in wanted - kept.keys() - self._pauses.keys():
            if effect in safe or effects.moves_lanes_back(effect):
                self._begin(effect)
        self._set_alarm()

    m.setattr(engine.Engine, "_reconcile", reconcile)


def a_failed_write_counts_as_written(m):
    saving = world_module.SimDisk.save

    async def save(self, state, ended):
        with contextlib.suppress(StoreError):
            await saving(self, state, ended)

    m.setattr(world_module.SimDisk, "save", save)


def approvals_are_not_awaited(m):
    m.setattr(Rollout, "awaits_approval", property(lambda rollout: False))


def nobody_is_asked_between_steps(m):
    m.setattr(agreement, "needed", lambda state, rollout, share=0: False)


def straight_to_the_end_goes_past_people(m):
    m.setattr(agreement, "farthest", lambda rollout: len(rollout.policy.steps) - 1)


def everybody_approves_his_own(m):
    m.setattr(approval, "began_it", lambda rollout, people: False)


def stop_first_workers_do_not_wait(m):
    m.setattr(workers, "blockers", lambda state, slot, policy: ())


def workers_run_in_every_slot(m):
    m.setattr(workers, "_away", workers._at_home)


def workers_are_not_started_again(m):
    m.setattr(workers, "reborn", lambda worker, number, at: worker)


def overlapping_workers_leave_a_gap(m):
    m.setattr(workers, "_stays", lambda home, slot, worker: False)


def a_slot_is_empty_without_its_workers(m):
    def empty(slot):
        return instances.empty(replace(slot, workers=()))

    for module in (life, turns, stop_first):
        m.setattr(module, "empty", empty)


def a_renamed_worker_does_not_wait(m):
    excludes = workers._excludes
    m.setattr(
        workers,
        "_excludes",
        lambda slot, policy, other, w: w.worker == policy.name and excludes(slot, policy, other, w),
    )


def stop_first_starts_beside_what_is_left(m):
    m.setattr(stop_first, "empty", lambda slot: True)


def stop_first_waits_for_no_drain(m):
    at_once = lambda s, r, slot, least, at: turns.enter(s, r, Phase.STOPPING, at)  # noqa: E731
    m.setattr(stop_first, "until_drained", at_once)


def stop_first_forgets_the_old_release(m):
    def forgotten(state, rollout, outcome, why, at):
        ended = replace(rollout, outcome=outcome, reason=why, turning=None, leaving=None)
        return turns.enter(state, ended, Phase.FINISHING, at)

    m.setattr(stop_first, "restored", forgotten)


def the_next_ones_start_before_the_others_have_gone(m):
    m.setattr(crew, "thinned", lambda state, rollout, slot, at: None)


def spare_ones_are_stopped_without_a_drain(m):
    def at_once(state, rollout, slot, at):
        stopped = instances.stop_spare(slot, at)
        if stopped != slot:
            return instances.put_slot(state, stopped)
        parked = all(i.state is InstanceState.PARKED for i in slot.instances if i.spare)
        return None if parked else state

    m.setattr(crew, "thinned", at_once)


def parked_ones_never_come_back(m):
    m.setattr(parking, "restored", lambda state: state)


MUTANTS = [
    the_next_ones_start_before_the_others_have_gone,
    spare_ones_are_stopped_without_a_drain,
    parked_ones_never_come_back,
    stop_first_workers_do_not_wait,
    workers_run_in_every_slot,
    workers_are_not_started_again,
    overlapping_workers_leave_a_gap,
    a_slot_is_empty_without_its_workers,
    a_renamed_worker_does_not_wait,
    lanes_move_beside_the_mirror,
    sigterm_before_the_drain,
    traffic_before_readiness,
    no_deadline_on_starting,
    no_deadline_on_draining,
    routing_compared_by_colour,
    only_the_last_suspect_is_remembered,
    no_suspect_is_remembered,
    only_the_verified_config_exposes,
    nobody_is_adopted,
    effects_before_the_disk,
    going_back_waits_for_the_disk,
    lanes_under_way_are_forgotten,
    lanes_are_never_removed,
    a_pause_is_ignored,
    leaving_instances_are_revived,
    nobody_is_nursed,
    healthy_live_instances_are_restarted,
    old_gate_workers_are_not_counted,
    silence_is_health,
    the_verdict_is_ignored,
    the_environment_holds_nothing,
    steps_are_timed_by_the_clock,
    an_unproven_bake_is_done_in_silence,
    work_that_is_not_wanted_goes_on,
    a_failed_write_counts_as_written,
    approvals_are_not_awaited,
    nobody_is_asked_between_steps,
    straight_to_the_end_goes_past_people,
    everybody_approves_his_own,
    stop_first_starts_beside_what_is_left,
    stop_first_waits_for_no_drain,
    stop_first_forgets_the_old_release,
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_the_stories_catch(mutant, monkeypatch):
    mutant(monkeypatch)
    assert caught() is not None


def test_a_story_that_breaks_shrinks_to_the_few_acts_that_it_needs(monkeypatch):
    sigterm_before_the_drain(monkeypatch)
    seed = next(seed for seed in range(SEEDS) if breaks(seed, None))
    acts, why, world = stories.shrunk(seed)
    assert breaks(seed, acts)
    assert "drain" in why or "signalled" in why
    assert 0 < len(acts) <= stories.length(seed) // 2, world.script
    assert not any(breaks(seed, [a for a in acts if a != one]) for one in acts)
    assert len(world.script) >= len(acts)


def breaks(seed, acts):
    try:
        stories.tell(seed, acts)
    except AssertionError:
        return True
    return False
