"""The simulated host: each effect of the core takes its time, and may fail in its own ways."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from reld.core import effects as fx
from reld.core import events as ev
from reld.core.effects import Effect
from reld.core.model import Counts, Exit, InstanceState, Loaded, Mirrored, Rollout
from reld.core.routing import Role, role
from reld.core.verdict.finding import Finding, Verdict
from reld.engine import Post
from tests.sim import invariants, one_at_a_time, worker_rules
from tests.sim.invariants import Violation

if TYPE_CHECKING:
    from tests.sim.world import Process, World

_ENDING = (InstanceState.STOPPING, InstanceState.KILLING, InstanceState.EXITED)


class SimHost:
    """Implements engine.Host on a World. It acts on the world's truth, and checks what it is asked."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def perform(self, effect: Effect, post: Post) -> None:
        """A broken invariant ends the story, wherever it shows."""

        def told(event: ev.Event) -> bool:
            wanted = post(event)
            if wanted:
                self._world.reported(event)
            return wanted

        try:
            await self._do(effect, told)
        except AssertionError as error:
            self._world.fail(error)
        except asyncio.CancelledError:
            self._world.cancelled()
            raise

    async def _do(self, effect: Effect, post: Post) -> None:
        world, r = self._world, self._world.random
        match effect:
            case fx.Prepare(rollout=number):
                await asyncio.sleep(r.uniform(0.01, 0.2))
                post(self._prepared(number))
            case fx.Spawn(number=number):
                await asyncio.sleep(r.uniform(0.005, 0.05))
                self._spawn(number, post)
            case fx.Release(number=number):
                await asyncio.sleep(r.uniform(0.001, 0.02))
                post(self._released(number))
            case fx.AwaitExit(number=number):
                await self._exit(number, post)
            case fx.ProveReady(number=number):
                await self._often(0.2, lambda: post(self._probed(number)))
            case fx.CheckReady(number=number):
                await self._often(5.0, lambda: post(self._probed(number)))
            case fx.CheckLive(number=number):
                await self._often(5.0, lambda: post(self._live(number)))
            case fx.Stop(number=number):
                await asyncio.sleep(0)
                post(self._stopped(number))
            case fx.Kill(number=number):
                long = world.chance(world.faults.unkillable)
                await asyncio.sleep(r.uniform(12.0, 40.0) if long else r.uniform(0.0, 0.1))
                post(self._killed(number))
            case fx.Smoke(rollout=number):
                await asyncio.sleep(r.uniform(0.05, 1.0))
                passed = not world.chance(world.faults.smoke_fails)
                post(ev.SmokeEnded(number, passed, "" if passed else "login: 500"))
            case fx.RunHook(rollout=number, name=name, attempt=attempt):
                await asyncio.sleep(r.uniform(0.05, 3.0))
                passed = not world.chance(world.faults.hook_fails)
                post(ev.HookEnded(number, name, attempt, passed))
            case fx.Reload(generation=generation):
                await self._reload(generation, post)
            case fx.MoveLanes(rollout=number, share=share):
                await self._move_lanes(number, share, post)
            case fx.RemoveLanes(rollout=number, before=before):
                await self._often(1.0, lambda: not self._lanes_removed(number, before))
                post(ev.LanesRemoved(number))
            case fx.CountDrain(rollout=number, since=since):
                await self._often(0.5, lambda: post(self._drain_counted(number, since)))
            case fx.CloseStreams(rollout=number):
                left = iter(range(r.randrange(9), -1, -1))
                await self._often(0.5, lambda: post(ev.StreamsClosed(number, 1, next(left, 0))))
            case fx.Judge(rollout=number):
                await self._often(1.0, lambda: self._judge(number, post))
            case fx.AskGate(rollout=number):
                rehearsed = world.state.rollout and world.state.rollout.rehearsal
                own = count(rehearsed.asked + 5 if rehearsed else 5, 5)
                await self._often(1.0, lambda: post(ev.Asked(number, next(own), 0, 0)))
            case fx.AskOld(rollout=number):
                await asyncio.sleep(r.uniform(0.05, 2.0))
                self._asked_old(number, post)
            case fx.SetShield(rollout=number, on=on):
                (world.unshielded.discard if on else world.unshielded.add)(number)
                post(ev.ShieldSet(number, on))
            case fx.SetShadow(rollout=number, on=on):
                invariants.may_mirror(world, number, on=on)
                (world.mirrors.add if on else world.mirrors.discard)(number)
                post(ev.ShadowSet(number, on))
            case fx.RunUnits(rollout=number):
                await asyncio.sleep(r.uniform(0.01, 0.5))
                self._units_run(number)
                await self._often(1.0, lambda: self._units_watched(number, post))
            case fx.RemoveUnits(rollout=number):
                await asyncio.sleep(r.uniform(0.01, 5.0))
                self._units_removed(number)
                post(ev.UnitsRemoved(number))
            case fx.KeepActive(color=color):
                invariants.obey(worker_rules.show(world, color))
                post(ev.ActiveTold())
                await asyncio.Event().wait()
            case fx.KeepGate():
                await asyncio.Event().wait()

    @staticmethod
    async def _often(seconds: float, act: object) -> None:
        """Again and again, until it is told that it is not wanted any more."""
        assert callable(act)
        while True:
            await asyncio.sleep(seconds)
            if not act():
                return

    # releases and processes

    def _prepared(self, rollout: int) -> ev.Event:
        world = self._world
        if world.chance(world.faults.prepare_fails):
            return ev.PrepareFailed(rollout, "no such directory")
        assert world.state.rollout is not None
        count = world.state.rollout.policy.slot.instances
        resting = {x.address for x in world.state.resting}
        addresses: list[str] = []
        while len(addresses) < count:
            world.next_port = 21000 + (world.next_port - 21000 + 1) % 60
            address = f"127.0.0.1:{world.next_port}"
            used = any(p.alive and p.address == address for p in world.everything())
            if address not in resting and not used and not world.named_now(address):
                addresses.append(address)
        return ev.Prepared(rollout, tuple(addresses))

    def _spawn(self, number: int, post: Post) -> None:
        world = self._world
        instance = world.instance(number)
        if instance is None or world.chance(world.faults.spawn_fails):
            post(ev.SpawnFailed(number, "command not found"))
            return
        invariants.may_spawn(world, number, instance.address)
        invariants.obey(one_at_a_time.may_start(world, number))
        slot = world.slot_of(number)
        nursed = slot is not None and role(world.state, slot.color) is Role.LIVE
        nursed = nursed or bool(instance.worker)
        running = world.state.rollout
        hooks = running.hooks if running is not None else ()
        if not nursed and any(h.name == "before_start" and h.state == "running" for h in hooks):
            raise Violation("an instance is spawned before the hook before_start has ended")
        process = world.spawned(number, instance.address)
        if instance.worker and slot is not None:
            process.worker, process.index, process.color = (
                instance.worker,
                instance.index,
                slot.color,
            )
            process.stop_first = slot.policy.worker(instance.worker).stop_first
            process.siblings = tuple(w.name for w in slot.policy.workers)
        invariants.never_too_many(world)
        if not post(ev.Spawned(number, process.identity)):
            process.alive = False  # nobody will ever let it go

    def _released(self, number: int) -> ev.Event:
        world = self._world
        process = world.process(number)
        on_disk = world.instance_in(world.disk, number)
        known = on_disk is not None and on_disk.identity is not None
        invariants.on_disk_first(world, known, f"instance {number} runs")
        if process is None or not process.alive:
            return ev.SpawnFailed(number, "gone while held")
        if process.worker:
            invariants.obey(worker_rules.may_start(world, process))
        process.held = False
        if not world.chance(world.faults.never_ready):
            process.ready_at = world.now + world.random.uniform(0.05, 3.0)
        return ev.LetGo(number)

    async def _exit(self, number: int, post: Post) -> None:
        process = self._world.process(number)
        if process is None:
            await asyncio.sleep(0.001)
            post(ev.Exited(number, Exit()))
            return
        await process.gone.wait()
        await asyncio.sleep(0.001)
        post(ev.Exited(number, Exit(signal=9)))

    def _probed(self, number: int) -> ev.Event:
        process = self._world.process(number)
        passed = process is not None and self._answers(process)
        if process is not None:
            process.passes = process.passes + 1 if passed else 0
            process.was_ready = process.was_ready or process.passes >= 2
        return ev.ReadinessProbed(number, passed, "" if passed else "connection refused")

    def _answers(self, process: Process) -> bool:
        ready = process.ready_at is not None and self._world.now >= process.ready_at
        return process.alive and not process.held and ready and not process.sick

    def _asked_old(self, rollout: int, post: Post) -> None:
        world = self._world
        running = world.state.rollout
        slot = world.state.slot(running.old) if running is not None else None
        if slot is None:
            return
        processes = [world.process(i.number) for i in slot.instances]
        ready = all(p is not None and self._answers(p) for p in processes)
        smokes = not world.chance(world.faults.smoke_fails)
        post(ev.OldAsked(rollout, ready and smokes))

    def _live(self, number: int) -> ev.Event:
        process = self._world.process(number)
        passed = process is not None and process.alive and not process.sick
        if process is not None and not passed:
            process.seen_sick = True
        return ev.LivenessProbed(number, passed, "" if passed else "timed out")

    def _stopped(self, number: int) -> ev.Event:
        world = self._world
        process = world.process(number)
        if process is not None and process.alive:
            on_disk = world.instance_in(world.disk, number)
            known = on_disk is not None and on_disk.state in _ENDING
            invariants.on_disk_first(world, known, f"instance {number} is signalled")
            invariants.may_signal(world, process)
            if not process.stubborn:
                world.after(world.random.uniform(0.01, 2.0), lambda: world.die(process))
        return ev.Signalled(number)

    def _killed(self, number: int) -> ev.Event:
        world = self._world
        for process in world.processes.values():
            if process.number == number and process.alive:
                invariants.lives_on(world, process)
                invariants.may_signal(world, process)
                world.die(process)
        return ev.TreeEmpty(number)

    # plain units: systemd keeps them, reld only asks

    def _units_run(self, rollout: int) -> None:
        world = self._world
        running = world.state.rollout
        slot = world.state.slot(running.candidate) if running is not None else None
        if running is None or running.id != rollout or slot is None or rollout in world.units:
            return
        known = world.disk.rollout is not None and world.disk.rollout.phase is running.phase
        invariants.on_disk_first(world, known, "plain units are started")
        world.units[rollout] = [world.unit(i.number, i.address) for i in slot.instances]

    def _units_watched(self, rollout: int, post: Post) -> bool:
        if all(p.alive for p in self._world.units.get(rollout, [])):
            return True
        post(ev.UnitsFailed(rollout, "web.service exited"))
        return False

    def _units_removed(self, rollout: int) -> None:
        for process in self._world.units.pop(rollout, []):
            if process.alive:
                invariants.may_signal(self._world, process)
                self._world.die(process)

    # traffic

    async def _reload(self, generation: int, post: Post) -> None:
        world, r = self._world, self._world.random
        flying = world.state.gate.in_flight
        if flying is None or flying.generation != generation:
            return
        invariants.on_disk_first(world, world.disk.gate.in_flight == flying, "a reload begins")
        if flying.routing.rollout is not None:
            world.lanes.setdefault(flying.routing.rollout, 0)
        if world.chance(world.faults.reload_refused):
            await asyncio.sleep(0.02)
            post(ev.ReloadEnded(generation, ev.End.REFUSED, "nginx -t failed"))
            return
        invariants.may_name(world, flying.routing)
        invariants.obey(one_at_a_time.may_serve_nobody(world, flying.routing))
        world.pending.append(flying)
        if world.chance(world.faults.reload_unknown):
            if world.chance(world.faults.unknown_takes_effect):
                world.after(r.uniform(0.1, 20.0), lambda: self._take_effect(flying))
            else:
                world.after(20.0, lambda: self._forget(flying))
            await asyncio.sleep(15.0)
            post(ev.ReloadEnded(generation, ev.End.UNKNOWN, "no answer"))
            return
        world.after(r.uniform(0.02, 0.1), lambda: self._take_effect(flying))
        await asyncio.sleep(0.25)
        verified = world.serving.generation == generation
        end = ev.End.VERIFIED if verified else ev.End.UNKNOWN
        post(ev.ReloadEnded(generation, end, "" if verified else "another one answers"))

    def _forget(self, loaded: Loaded) -> None:
        if loaded in self._world.pending:
            self._world.pending.remove(loaded)

    def _take_effect(self, loaded: Loaded) -> None:
        world = self._world
        if loaded not in world.pending:
            return
        world.pending = [p for p in world.pending if p.generation > loaded.generation]
        if loaded.generation < world.serving.generation:
            return  # HUPs coalesce: the newest file wins
        for address in invariants.addresses(world.serving.routing):
            world.last_named[address] = world.now
        leaves = world.now + world.random.uniform(0.1, 8.0)
        world.old_workers.append((world.serving, leaves))
        world.serving = loaded

    async def _move_lanes(self, number: int, share: int, post: Post) -> None:
        """The rename at once; then the gate is asked whether it obeys, which can take its time."""
        world = self._world
        stuck = world.chance(world.faults.lanes_stuck)
        await asyncio.sleep(0.001)
        self._lanes_renamed(number, share)
        await asyncio.sleep(
            world.random.uniform(1.0, 8.0) if stuck else world.random.choice((0.002, 0.3))
        )
        if stuck or world.lanes.get(number, 0) != share:
            post(ev.LanesStuck(number, "permission denied"))
        else:
            post(ev.LanesMoved(number, share))

    def _lanes_renamed(self, rollout: int, share: int) -> None:
        world = self._world
        if share and world.chance(world.faults.lanes_stuck / 2):
            return
        if share > world.lanes.get(rollout, 0):
            known = world.disk.rollout is not None and world.disk.rollout.wanted_share == share
            invariants.on_disk_first(world, known, "lanes move forward")
        invariants.may_have_lanes(world, rollout, share)
        if share and rollout in world.mirrors:
            raise Violation("a lane moves, and requests are mirrored still")
        world.lanes[rollout] = share

    def _lanes_removed(self, rollout: int, before: int) -> bool:
        world = self._world
        world.reap_workers()
        if any(w.generation < before for w, _ in world.old_workers):
            return False
        if world.serving.routing.rollout == rollout:
            raise Violation("the lanes of the routing in force are removed")
        world.lanes.pop(rollout, None)
        world.mirrors.discard(rollout)
        return True

    def _drain_counted(self, rollout: int, since: int) -> ev.DrainCounted:
        world = self._world
        world.reap_workers()
        workers = sum(1 for w, _ in world.old_workers if w.generation < since)
        return ev.DrainCounted(rollout, since, world.random.choice((0, 0, 3)), workers)

    # the sensor

    def _judge(self, rollout: int, post: Post) -> bool:
        world = self._world
        running = world.state.rollout
        if running is None or running.id != rollout:
            return False
        if world.chance(world.faults.deaf):
            return True
        total = running.blue.total + world.random.randrange(100)
        if running.id != world.opinion[0] or world.chance(0.3):
            world.opinion = (running.id, self._opinion(running))
        rate = world.random.choice((None, 0.0, 0.1, 100.0))
        counts = Counts(total, 0)
        event = ev.Judged(rollout, world.now, counts, counts, world.opinion[1], rate)
        if rollout in world.mirrors:
            copies = running.shadow.mirrored.total + world.random.randrange(20)
            event = replace(event, mirrored=Mirrored(copies))
        return post(event)

    def _opinion(self, running: Rollout) -> Finding:
        world = self._world
        before = world.opinion[1] if running.id == world.opinion[0] else Finding()
        if before.verdict is Verdict.WORSE:
            return before  # the detector does not change its mind on that
        hold = "suspicion" if world.chance(world.faults.suspicion) else ""
        asks = bool(hold) and world.chance(0.3)
        if (running.share or running.id in world.mirrors) and world.chance(world.faults.judged_bad):
            verdict = world.random.choice([v for v in Verdict if v is not Verdict.FINE])
            return Finding(verdict, f"it is {verdict}", hold, asks)
        return Finding(hold=hold, asks=asks)
