"""Random stories: releases, rollbacks, kills, reboots and bad luck, then calm; told from one seed."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import replace

from reld.core import commands as c
from reld.core.model import Kind, Outcome, Phase, State
from reld.core.policy import Policy, SlotPolicy, WorkerPolicy
from reld.core.verdict.settings import VerdictSettings
from tests.sim import gates, people, rehearsals
from tests.sim.invariants import check_tidy, obey
from tests.sim.world import Faults, World

FAST = Policy(
    slot=SlotPolicy(instances=2, ready_deadline=20.0, stop_timeout=5.0),
    steps=(5, 50, 100),
    step_time=3.0,
    step_requests=10,
    step_max=30.0,
    bake=5.0,
    drain=2.0,
    drain_max=20.0,
    gate_timeout=4.0,
    hook_timeout=30.0,
    hooks=("before_start", "after_switch", "after_retire", "on_rollback", "contract"),
)
QUEUE = WorkerPolicy("queue", instances=2, stop_timeout=3.0)
CRON = WorkerPolicy("cron", stop_timeout=8.0, handover="stop-first")
WORKERS = (
    (),
    (QUEUE,),
    (CRON,),
    (QUEUE, CRON),
    (replace(QUEUE, handover="stop-first"), replace(CRON, name="timer")),
)
QUIET_TIME = 1800.0
"""Virtual seconds after which calm must have led to rest."""
QUIET_AT_LEAST = 6
PAUSES = (0.0, 0.01, 0.1, 0.5, 2.0, 2.0, 5.0, 15.0, 50.0)
"""Virtual seconds between two acts, at most."""


def faults_of(r: random.Random) -> Faults:
    """Half of the stories have a healthy machine: then only people and kills disturb."""
    if r.random() < 0.5:
        return Faults(stale_results=0.3)
    return Faults(
        reload_refused=r.choice((0.0, 0.1, 0.4)),
        reload_unknown=r.choice((0.0, 0.1, 0.4)),
        unknown_takes_effect=r.random(),
        spawn_fails=r.choice((0.0, 0.05)),
        never_ready=r.choice((0.0, 0.1)),
        smoke_fails=r.choice((0.0, 0.2)),
        hook_fails=r.choice((0.0, 0.2)),
        stubborn=r.choice((0.0, 0.3)),
        unkillable=r.choice((0.0, 0.0, 0.3)),
        lanes_stuck=r.choice((0.0, 0.3)),
        prepare_fails=r.choice((0.0, 0.1)),
        judged_bad=r.choice((0.0, 0.1, 0.3)),
        suspicion=r.choice((0.0, 0.0, 0.2)),
        deaf=r.choice((0.0, 0.0, 0.5, 1.0)),
        stale_results=0.5,
        disk_fails=r.choice((0.0, 0.0, 0.3)),
    )


def random_command(r: random.Random, state: State) -> c.Command:
    """What a person might type now, sensible or not."""
    rollout = state.rollout
    number = rollout.id if rollout is not None else 1
    slot = SlotPolicy(
        instances=r.choice((1, 2, 3, 4)),
        ready_deadline=20.0,
        stop_timeout=5.0,
        workers=r.choice(WORKERS),
    )
    policy = replace(
        FAST,
        slot=slot,
        steps=r.choice(((5, 50, 100), (100,), (10, 100))),
        bake=r.choice((0.0, 5.0)),
        surge=r.choice((0, 1, 1, 2)),
        shadow=r.choice((0.0, 0.0, 0.05, 0.5)),
        strategy=r.choice(("warm", "warm", "warm", "stop-first")),
        on_unproven=r.choice(("promote", "hold", "rollback")),
        step_requests=r.choice((0, 10, 100_000)),
        hooks=r.choice(((), FAST.hooks)),
        verdict=VerdictSettings(act=r.random() < 0.8),
    )
    chance = random.Random(f"streams {state.next_rollout} {policy.bake} {policy.steps}")
    policy = replace(policy, streams=people.streams_of(chance))
    policy = gates.gated(policy, random.Random(f"gates {state.next_rollout} {policy}"))
    release = r.choice(("v1", "v2", "v3", "v4", None))
    begins = [
        c.Begin(
            kind,
            release,
            policy,
            "test",
            force=r.random() < 0.3,
            unit="web",
            rehearsal=rehearsals.wish(chance),
        )
        for kind in Kind
        if not (kind is Kind.SWITCH and release is None)
    ]
    steers: list[c.Command] = [
        c.Pause(number),
        c.Resume(number),
        c.Promote(number),
        c.Promote(number, full=True),
        c.Abort(number, "by hand"),
        c.Abort(number, "rollback", Outcome.ROLLED_BACK),
    ]
    if rollout is not None and r.random() < 0.8:
        return r.choice(steers)
    weighted = [b for b in begins if b.kind is Kind.SWITCH] * 4 + begins
    return r.choice(weighted or begins)


def with_people(r: random.Random, state: State, command: c.Command) -> c.Command:
    """Some of it by two people: who begins has to be approved, or somebody approves."""
    name, uid = r.choice((("alice", 1000), ("bob", 1001)))
    if isinstance(command, c.Begin):
        return replace(command, actor=name, people=(uid,), approval=r.random() < 0.2)
    running = state.rollout
    if running is not None and running.awaits_approval and r.random() < 0.4:
        return c.Approve(running.id, (uid,), name)
    return command


def tell(seed: int, acts: Collection[int] | None = None) -> World:
    """One story, or only those acts of it; raises Violation where the design is broken."""
    world = prepared(seed)
    try:
        play(world, acts)
    finally:
        world.close()
    return world


def prepared(seed: int) -> World:
    """The machine on which the story of this seed happens."""
    r = random.Random(seed)
    external = "127.0.0.1:8000" if r.random() < 0.2 else None
    return World(seed, faults_of(r), external)


def length(seed: int) -> int:
    """How many acts the story of this seed has."""
    return random.Random(f"story {seed}").randrange(4, 30)


def play(world: World, acts: Collection[int] | None = None) -> None:
    """Trouble first, then calm, which has to lead to rest."""
    world.run(random.Random(f"story {world.seed} begins").uniform(0.0, 5.0))
    for number in range(length(world.seed)):
        if acts is not None and number not in acts:
            continue
        # Chance of its own, so that an act is the same one when others are left out.
        r = random.Random(f"story {world.seed} act {number}")
        at = world.now
        beside = people.closes_or_opens(world, number)
        if beside:
            world.script.append(f"{at:8.2f}  {beside}")
        rehearsed = rehearsals.rehearse(world, FAST, number)
        if rehearsed:
            world.script.append(f"{at:8.2f}  {rehearsed}")
        offline = people.goes_back_offline(world, number)
        if offline:
            world.script.append(f"{at:8.2f}  {offline}")
        world.script.append(f"{at:8.2f}  act {number:2}: {act(world, r)}")
        world.run(r.choice(PAUSES) * r.random())
    world.script.append(f"{world.now:8.2f}  calm")
    world.calm()
    for turn in range(int(QUIET_TIME / 10)):
        world.run(10.0)
        rollout = world.state.rollout
        if rollout is None and turn > QUIET_AT_LEAST and world.quiet:
            break
        if rollout is not None and rollout.waiting and turn % 5 == 4:
            world.command(c.Approve(rollout.id, (0,), "root"))
            world.command(c.Resume(rollout.id))  # a wait for a person: the person comes
            world.command(c.Promote(rollout.id))
    check_tidy(world)
    obey(people.told_right(world))


def act(world: World, r: random.Random) -> str:
    """One thing that a person or bad luck does; what it was."""
    dice = r.random()
    alive = [p for p in world.processes.values() if p.alive and not p.held]
    outside = world.external_process
    if dice < 0.01:
        few_are_left(world, r)
        return "abort while few of the old instances are left"
    if dice < 0.04:
        world.run(r.uniform(10.0, 60.0))
        return "nobody does anything for a while"
    if dice < 0.45:
        command = random_command(r, world.state)
        command = gates.answered(r, world.state, command)
        return typed(world, with_people(r, world.state, command))
    if dice < 0.6 and alive:
        process = r.choice(alive)
        world.die(process)
        return f"instance {process.number} dies"
    if dice < 0.74 and alive:
        process = r.choice([*alive, outside] if outside is not None else alive)
        process.sick = dice < 0.68
        return f"instance {process.number} is {'sick' if process.sick else 'well'}"
    if dice < 0.88:
        world.kill_reld()
        away = r.uniform(0.0, 3.0)
        world.run(away)
        world.start_reld()
        return f"reld is killed, and back after {away:.2f} s"
    if dice < 0.92:
        world.reboot()
        away = r.uniform(0.0, 1.0)
        world.run(away)
        world.start_reld()
        return f"the machine reboots, reld starts after {away:.2f} s"
    if dice < 0.96:
        world.frozen_disk = not world.frozen_disk
        return f"the disk {'freezes' if world.frozen_disk else 'thaws'}"
    too_late(world)
    return "abort while it commits, and an instance of the old slot dies"


def typed(world: World, command: c.Command) -> str:
    """What a person types, and what reld says."""
    words = type(command).__name__.lower()
    if isinstance(command, c.Begin):
        words = f"{command.kind} {command.release or ''}".rstrip()
        words += f" {list(command.policy.steps)} x{command.policy.slot.instances}"
        said = c.already(world.state, command)
        if said:
            return f"{words}: {said}"
    return f"{words}: {world.command(command) or 'accepted'}"


def shrunk(seed: int) -> tuple[list[int], str, World]:
    """The fewest acts found with which the story still breaks, how, and the world it left.

    Raises ValueError when it does not break at all.
    """
    acts = list(range(length(seed)))
    broken = _breaks(seed, acts)
    if broken is None:
        raise ValueError(f"story {seed} breaks nothing")
    part = max(1, len(acts) // 2)
    while part:
        for first in range(0, len(acts), part):
            fewer = acts[:first] + acts[first + part :]
            found = _breaks(seed, fewer)
            if found is not None:
                acts, broken = fewer, found
                break
        else:
            part //= 2
    return acts, *broken


def _breaks(seed: int, acts: Collection[int]) -> tuple[str, World] | None:
    world = prepared(seed)
    try:
        play(world, acts)
    except AssertionError as error:
        return f"{type(error).__name__}: {error}".splitlines()[0], world
    finally:
        world.close()
    return None


def few_are_left(world: World, r: random.Random) -> None:
    """Somebody begins a surge, and aborts it when the new release has most of the instances."""
    slot = replace(FAST.slot, instances=r.choice((2, 3, 4)))
    policy = replace(FAST, slot=slot, surge=1, steps=(100,), bake=10.0, step_requests=0)
    for _ in range(300):
        rollout = world.state.rollout
        if not world.up:
            return
        if rollout is None and world.state.live is None:
            typed(world, c.Begin(Kind.SWITCH, "v1", policy, "test"))
        elif rollout is None:
            typed(world, c.Begin(Kind.RESTART, None, policy, "test"))
        elif rollout.surge and rollout.share >= 75:
            world.command(c.Abort(rollout.id, "by hand"))
            return
        world.run(0.2)


def too_late(world: World) -> None:
    """Somebody aborts while it commits, and just then an instance of the old slot dies."""
    for _ in range(300):
        rollout = world.state.rollout
        if rollout is None or not world.up:
            return
        if rollout.phase is Phase.COMMITTING:
            break
        world.run(0.1)
    else:
        return
    world.command(c.Abort(rollout.id, "by hand"))
    old = world.state.slot(rollout.old)
    numbers = {i.number for i in old.instances} if old is not None else set()
    for process in list(world.processes.values()):
        if process.number in numbers and process.alive and not process.held:
            world.die(process)
            return
