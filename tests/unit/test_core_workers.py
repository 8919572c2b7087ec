"""Workers: which ones run, when, and in which order they change places."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.core import commands as c
from reld.core import effects as fx
from reld.core import events as ev
from reld.core.effects import todo
from reld.core.events import End
from reld.core.instances import BACKOFF_FIRST, SETTLED_AFTER
from reld.core.model import Color, Exit, InstanceState, Kind, Outcome, Phase
from reld.core.policy import WorkerPolicy
from reld.core.workers import trouble
from reld.narrate import narrate
from tests.unit.core_driver import POLICY, Driver, steady

QUEUE = WorkerPolicy("queue")
CRON = WorkerPolicy("cron", handover="stop-first", stop_timeout=7.0, stop_signal="SIGINT")


def having(*workers: WorkerPolicy):
    return replace(POLICY, slot=replace(POLICY.slot, workers=workers))


def running(driver: Driver, color: Color | None) -> list[str]:
    """Names of the workers of a slot that may be doing something."""
    slot = driver.state.slot(color)
    return [w.worker for w in slot.workers if w.runs] if slot is not None else []


def switching_to(phase: Phase, *workers: WorkerPolicy, then: tuple[WorkerPolicy, ...] = ()):
    driver = steady(policy=having(*workers))
    driver.begin(Kind.SWITCH, "v2", having(*(then or workers)))
    return driver.to(phase)


def words(driver: Driver) -> list[str]:
    return [f"{m.release} {m.worker} {m.what}" for m in driver.last.worker_moves]


# where they run


def test_the_first_release_starts_its_workers_when_it_is_live():
    driver = Driver().begin(Kind.SWITCH, "v1", having(QUEUE, CRON)).to(Phase.COMMITTING)
    assert running(driver, Color.BLUE) == []
    driver.rest()
    assert [(w.worker, w.state) for w in driver.live.workers] == [
        ("queue", InstanceState.READY),
        ("cron", InstanceState.READY),
    ]
    assert words(driver) == ["v1 queue started", "v1 cron started"]


def test_a_worker_with_instances_has_so_many():
    driver = steady(policy=having(replace(QUEUE, instances=3)))
    assert [(w.worker, w.index) for w in driver.live.workers] == [
        ("queue", 0),
        ("queue", 1),
        ("queue", 2),
    ]


@pytest.mark.parametrize(
    "phase", [Phase.STARTING, Phase.PROVING, Phase.SHIFTING, Phase.BAKING, Phase.COMMITTING]
)
def test_a_candidate_has_none_and_the_old_ones_go_on(phase):
    driver = switching_to(phase, QUEUE, CRON)
    assert running(driver, driver.rollout.candidate) == []
    assert running(driver, driver.rollout.old) == ["queue", "cron"]


def test_an_old_worker_that_dies_while_the_candidate_is_watched_is_started_again():
    driver = switching_to(Phase.BAKING, CRON)
    driver.exits(driver.old.workers[0])
    driver.until(lambda _: running(driver, driver.rollout.old) == ["cron"])
    assert driver.old.workers[0].restarts == 1


def test_nothing_of_the_watch_looks_at_workers():
    driver = steady(policy=having(QUEUE))
    driver.exits(driver.live.workers[0])
    assert driver.live.fit
    assert not driver.live.dead
    assert all(t.addresses for t in [driver.state.gate.verified.routing.default] if t)


def test_they_are_asked_nothing():
    driver = steady(policy=having(QUEUE))
    (worker,) = driver.live.workers
    asked = (fx.ProveReady, fx.CheckReady, fx.CheckLive)
    assert not [e for e in todo(driver.state) if isinstance(e, asked) and e.number == worker.number]
    before = driver.state
    driver.tell(ev.ReadinessProbed(worker.number, passed=False, detail="nobody asked"))
    assert driver.state == before


# overlap


def test_overlap_starts_the_new_ones_at_once_and_stops_the_old_ones_when_they_run():
    driver = switching_to(Phase.DRAINING, QUEUE)
    old, new = driver.rollout.old, driver.rollout.candidate
    driver.until(lambda _: running(driver, new) == ["queue"])
    assert driver.old.workers[0].state is InstanceState.READY
    driver.until(lambda _: driver.candidate.workers[0].state is InstanceState.READY)
    assert driver.now >= driver.candidate.workers[0].started_at + SETTLED_AFTER
    assert driver.old.workers[0].state is InstanceState.STOPPING
    driver.until(lambda _: running(driver, old) == [])
    driver.rest()
    assert words(driver) == ["v2 queue started", "v1 queue stopped"]


def test_overlap_with_several_waits_for_all_of_the_new_ones():
    driver = switching_to(Phase.DRAINING, QUEUE, then=(replace(QUEUE, instances=2),))
    driver.until(lambda _: len(running(driver, driver.rollout.candidate)) == 2)
    driver.exits(driver.candidate.workers[1])
    driver.until(lambda _: driver.candidate.workers[0].state is InstanceState.READY)
    assert driver.old.workers[0].state is InstanceState.READY
    driver.rest()
    assert {w.restarts for w in driver.live.workers} == {0, 1}


def test_old_overlapping_workers_stay_until_drain_max_while_the_new_ones_die():
    driver = switching_to(Phase.DRAINING, QUEUE)
    driver.until(lambda s: s.rollout.drain_since is not None)
    began = driver.rollout.drain_since

    def dies_whenever_it_runs(state):
        if running(driver, state.rollout.candidate):
            assert driver.old.workers[0].state is InstanceState.READY
            driver.exits(driver.candidate.workers[0])
        return driver.phase is Phase.STOPPING or "not running yet" in driver.rollout.waiting

    driver.until(dies_whenever_it_runs)
    assert driver.phase is Phase.DRAINING
    assert began + POLICY.drain <= driver.now < began + POLICY.drain_max
    assert trouble(driver.state)[0].startswith("worker queue of v2 does not stay up")
    driver.until(lambda s: dies_whenever_it_runs(s) and driver.phase is Phase.STOPPING)
    assert driver.now >= began + POLICY.drain_max
    assert driver.old.workers[0].state is InstanceState.STOPPING


def test_promote_ends_the_wait_for_workers_that_do_not_come_up():
    driver = switching_to(Phase.DRAINING, QUEUE)
    driver.until(lambda s: "not running yet" in s.rollout.waiting, without=(fx.Spawn,))
    assert driver.ask(c.Promote(driver.rollout.id)) is None
    assert driver.phase is Phase.STOPPING


def test_an_old_worker_that_overlaps_and_dies_is_not_started_again():
    driver = switching_to(Phase.DRAINING, QUEUE)
    driver.exits(driver.old.workers[0]).until(
        lambda s: s.rollout.phase is Phase.STOPPING or not driver.old.workers
    )
    assert running(driver, driver.rollout.old) == []
    driver.rest()
    assert running(driver, driver.state.live) == ["queue"]


# stop-first


def test_stop_first_starts_no_new_one_before_the_old_trees_are_empty():
    driver = switching_to(Phase.DRAINING, CRON)
    (old,) = driver.old.workers
    assert old.state is InstanceState.STOPPING
    assert driver.candidate.workers == ()
    driver.tell(ev.Signalled(old.number))
    assert driver.old.workers[0].deadline == driver.now + 7.0
    driver.tell(ev.Exited(old.number, Exit(code=0)))
    assert driver.old.workers[0].state is InstanceState.KILLING  # what it left behind
    assert driver.candidate.workers == ()
    driver.tell(ev.TreeEmpty(old.number))
    assert [w.state for w in driver.candidate.workers] == [InstanceState.WANTED]
    assert driver.old.workers == ()
    driver.rest()
    assert words(driver) == ["v1 cron stopped", "v2 cron started"]


def test_stop_first_kills_what_does_not_end_in_its_own_time():
    driver = switching_to(Phase.DRAINING, CRON)
    (old,) = driver.old.workers
    driver.tell(ev.Signalled(old.number)).wait(7.1)
    assert driver.old.workers[0].state is InstanceState.KILLING
    assert fx.Kill(old.number) in todo(driver.state)


@pytest.mark.parametrize(
    ("before", "after"),
    [(CRON, replace(CRON, handover="overlap")), (replace(CRON, handover="overlap"), CRON)],
)
def test_it_is_stop_first_if_either_release_says_so(before, after):
    driver = switching_to(Phase.DRAINING, before, then=(after,))
    assert driver.old.workers[0].state is InstanceState.STOPPING
    assert driver.candidate.workers == ()


def test_a_renamed_stop_first_worker_still_waits_for_the_old_one():
    driver = switching_to(Phase.DRAINING, CRON, then=(replace(CRON, name="timer"),))
    assert driver.old.workers[0].state is InstanceState.STOPPING
    assert driver.candidate.workers == ()
    driver.rest()
    assert running(driver, driver.state.live) == ["timer"]


def test_a_worker_under_another_name_starts_and_the_old_one_stops():
    driver = switching_to(Phase.DRAINING, QUEUE, then=(replace(QUEUE, name="jobs"),))
    assert driver.old.workers[0].state is InstanceState.STOPPING
    assert [w.worker for w in driver.candidate.workers] == ["jobs"]


def test_a_release_without_workers_stops_the_old_ones():
    driver = steady(policy=having(QUEUE, CRON)).begin(Kind.SWITCH, "v2", having())
    driver.to(Phase.DRAINING)
    assert {w.state for w in driver.old.workers} == {InstanceState.STOPPING}
    driver.rest()
    assert driver.live.workers == ()


def test_a_tree_that_cannot_be_killed_keeps_the_new_one_from_starting_and_shows():
    driver = switching_to(Phase.DRAINING, CRON)
    driver.until(lambda s: s.rollout is None, without=(fx.Kill,))
    assert driver.live.workers == ()
    assert trouble(driver.state) == ("worker cron of v2 is not started: v1's does not end",)
    driver.rest()
    assert running(driver, driver.state.live) == ["cron"]
    assert trouble(driver.state) == ()


# back


@pytest.mark.parametrize("worker", [QUEUE, CRON])
def test_a_revert_out_of_draining_brings_the_old_ones_back_by_the_same_rule(worker):
    driver = switching_to(Phase.DRAINING, worker)
    driver.until(lambda s: running(driver, s.live) != [])
    abort = c.Abort(driver.rollout.id, "rollback", Outcome.ROLLED_BACK)
    assert driver.ask(abort) is None
    both = set()

    def seen(state):
        both.add((bool(running(driver, Color.BLUE)), bool(running(driver, Color.GREEN))))
        return state.rollout is None

    driver.until(seen).rest()
    assert driver.live.release == "v1"
    assert running(driver, driver.state.live) == [worker.name]
    assert ((True, True) in both) is (worker is QUEUE)
    assert driver.last.outcome is Outcome.ROLLED_BACK


def test_a_revert_before_the_flip_moves_no_worker():
    driver = switching_to(Phase.COMMITTING, QUEUE, CRON)
    numbers = [w.number for w in driver.old.workers]
    assert driver.ask(c.Abort(driver.rollout.id, "by hand")) is None
    driver.reload_ends(End.REFUSED).rest()
    assert [w.number for w in driver.live.workers] == numbers
    assert driver.last.worker_moves == ()


def test_a_rollback_brings_back_the_workers_that_its_release_had():
    driver = steady(policy=having(CRON)).begin(Kind.SWITCH, "v2", having(QUEUE)).rest()
    assert running(driver, driver.state.live) == ["queue"]
    driver.begin(Kind.ROLLBACK, None, having(QUEUE))
    addresses = ("127.0.0.1:22000", "127.0.0.1:22001")
    driver.tell(ev.Prepared(driver.rollout.id, addresses, workers=(CRON,))).rest()
    assert driver.live.release == "v1"
    assert running(driver, driver.state.live) == ["cron"]


# nursed


def test_a_worker_that_dies_is_started_again_later_and_later():
    driver = steady(policy=having(QUEUE))
    waits = []
    for _ in range(4):
        driver.until(lambda _: running(driver, driver.state.live) == ["queue"])
        driver.until(lambda _: driver.live.workers[0].started_at > 0)
        driver.exits(driver.live.workers[0])
        driver.tell(ev.TreeEmpty(driver.live.workers[0].number))
        waits.append(driver.live.workers[0].spawn_at - driver.now)
    assert [round(w / BACKOFF_FIRST) for w in waits] == [1, 2, 4, 8]
    assert trouble(driver.state)
    driver.rest()
    assert trouble(driver.state) == ()


def test_one_that_ends_every_three_seconds_is_told_as_failing_and_not_as_mended_in_between():
    driver = steady(policy=having(QUEUE))
    told = []
    for _ in range(12):
        driver.until(lambda _: bool(driver.live.workers and driver.live.workers[0].started_at))
        for _ in range(6):
            driver.wait(0.5)
            told.append(bool(trouble(driver.state)))
        driver.exits(driver.live.workers[0])
        driver.tell(ev.TreeEmpty(driver.live.workers[0].number))
    assert all(told[-20:])


def test_a_command_that_cannot_be_started_is_tried_again_and_shows():
    driver = Driver().begin(Kind.SWITCH, "v1", having(QUEUE)).to(Phase.COMMITTING)
    driver.until(lambda s: s.rollout is None)
    (worker,) = driver.live.workers
    driver.tell(ev.SpawnFailed(worker.number, "cannot start bin/worker: there is no such file"))
    assert trouble(driver.state) == (
        "worker queue of v1 does not stay up: cannot start bin/worker: there is no such file",
    )
    driver.rest()
    assert running(driver, driver.state.live) == ["queue"]


# stop, start, eject


def test_stop_stops_them_and_start_starts_them():
    driver = steady(policy=having(QUEUE, CRON)).begin(Kind.STOP).to(Phase.DRAINING)
    assert {w.state for w in driver.old.workers} == {InstanceState.STOPPING}
    driver.rest()
    assert driver.state.slots == ()
    driver.begin(Kind.START, None, having(QUEUE, CRON)).rest()
    assert running(driver, driver.state.live) == ["queue", "cron"]


def test_a_stop_waits_until_the_trees_of_the_workers_are_empty():
    driver = steady(policy=having(CRON)).begin(Kind.STOP).to(Phase.STOPPING)
    driver.until(lambda _: not driver.old.workers or driver.old.workers[0].exit, without=(fx.Kill,))
    assert driver.phase is Phase.STOPPING


def test_eject_is_refused_and_says_what_to_write_by_hand():
    refusal = steady(policy=having(QUEUE, CRON)).ask(c.Begin(Kind.EJECT, None, POLICY, unit="web"))
    assert refusal is not None
    assert "queue, cron" in refusal.message
    assert "write a unit for each worker" in refusal.hint


def test_an_external_app_has_none():
    driver = Driver(external="127.0.0.1:8000")
    driver.rest()
    assert driver.live.workers == ()
    driver.begin(Kind.SWITCH, "v1", having(CRON)).rest()
    assert running(driver, driver.state.live) == ["cron"]


# after a kill


@pytest.mark.parametrize("worker", [QUEUE, CRON])
@pytest.mark.parametrize("alive", [True, False])
def test_a_handover_goes_on_after_reld_was_killed_in_the_middle(worker, alive):
    driver = switching_to(Phase.DRAINING, worker).reld_restarts(alive=alive)
    if worker is CRON:
        assert driver.state.slot(driver.state.live).workers == () or not driver.old.workers
    driver.rest()
    assert driver.live.release == "v2" if alive else "v1"
    assert running(driver, driver.state.live) == [worker.name]


def test_a_worker_that_died_while_reld_was_away_is_started_again_once_its_tree_is_empty():
    driver = steady(policy=having(CRON))
    before = driver.live.workers[0].number
    driver.reld_restarts(alive=False)
    assert fx.Kill(before) in todo(driver.state)
    driver.rest()
    assert running(driver, driver.state.live) == ["cron"]
    assert driver.live.workers[0].number > before


def test_a_worker_that_lives_is_adopted():
    driver = steady(policy=having(CRON))
    before = driver.live.workers
    driver.reld_restarts()
    assert [w.number for w in driver.live.workers] == [w.number for w in before]
    assert driver.live.workers[0].adopted


@pytest.mark.parametrize("phase", [Phase.SHIFTING, Phase.DRAINING])
def test_after_a_reboot_only_the_workers_of_the_live_slot_come_back(phase):
    driver = switching_to(phase, CRON)
    driver.machine_reboots()
    away = Color.other.fget(driver.state.live)
    slot = driver.state.slot(away)
    assert slot is None or slot.workers == ()
    driver.rest()
    assert running(driver, driver.state.live) == ["cron"]


# the file that says who is live


def test_the_file_is_the_live_slot_s_and_moves_with_it():
    driver = steady()
    assert fx.KeepActive(Color.GREEN if driver.state.live == "green" else Color.BLUE) in todo(
        driver.state
    )
    live = driver.state.live
    driver.begin(Kind.SWITCH, "v2").to(Phase.BAKING)
    assert fx.KeepActive(live) in todo(driver.state)
    driver.to(Phase.DRAINING)
    assert fx.KeepActive(driver.state.live) in todo(driver.state)
    assert fx.KeepActive(live) not in todo(driver.state)
    driver.rest()
    driver.begin(Kind.STOP).rest()
    assert fx.KeepActive(None) in todo(driver.state)


def test_a_file_that_cannot_be_written_is_remembered_until_it_can():
    driver = steady().tell(ev.ActiveTold("cannot say which slot is live: read-only"))
    assert driver.state.active_trouble.endswith("read-only")
    assert driver.tell(ev.ActiveTold()).state.active_trouble == ""


# what people hear


def test_people_hear_which_worker_of_which_release():
    driver = Driver()
    before, told = driver.state, []
    driver.begin(Kind.SWITCH, "v1", having(CRON, replace(QUEUE, instances=2)))

    def heard(state):
        nonlocal before
        told.extend(news.text for news in narrate(before, state) if "worker" in news.text)
        before = state
        return len(told) == 6

    driver.until(heard)
    assert "worker cron of v1 (blue) started, pid 103" in told
    assert "worker cron of v1 (blue) runs" in told
    assert [t for t in told if t.startswith("worker queue 1 of v1 (blue) runs")]
