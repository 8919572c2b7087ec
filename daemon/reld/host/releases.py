"""Effects on a release as a whole: checks before it starts, smoke checks, hooks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from reld import away
from reld.config import Smoke, fill, worker_policies
from reld.core.commands import way_back
from reld.core.crew import surge_of
from reld.core.events import HookEnded, OldAsked, Prepared, PrepareFailed, SmokeEnded
from reld.core.model import InstanceState, Kind, Rollout, Slot, State
from reld.engine import Post
from reld.errors import LaunchError, PrepareError, RelctlError
from reld.excerpt import excerpt
from reld.host.eject import Eject
from reld.host.instances import Instances
from reld.host.probing import Probing
from reld.host.rehearsing import Rehearser
from reld.host.snapshots import Snapshots
from reld.host.static_files import StaticFiles
from reld.nginx.settings import tcp_port
from reld.planning.memory import Memory, hint
from reld.probes.smoke import SmokeCheck, smoke
from reld.probes.spec import ExecProbe, HttpProbe, Result
from reld.processes import resources
from reld.processes.environment import MARKER, clean_environment
from reld.processes.run import run
from reld.processes.spec import Launcher
from reld.processes.tree import Tree, kill_tree, marked
from reld.snapshot import (
    Seat,
    Snapshot,
    environment,
    placeholders,
    refuse_no_directory,
    refuse_replaced,
    release_environment,
    take,
)

SMOKE_TIMEOUT = 10.0
HOOK_LINES = 20


class Releases:
    """Prepares releases and runs what the team configured around them."""

    def __init__(
        self,
        state: Callable[[], State],
        snapshots: Snapshots,
        instances: Instances,
        probing: Probing,
        launcher: Launcher,
        files: StaticFiles | None = None,
    ) -> None:
        self._state = state
        self._files = files
        self._snapshots = snapshots
        self._instances = instances
        self._probing = probing
        self._launcher = launcher
        self.eject = Eject(state, snapshots, instances.others)
        self.rehearser = Rehearser(state, snapshots)

    async def prepare(self, rollout: int, post: Post) -> None:
        running = self._state().rollout
        if running is None or running.id != rollout:
            return
        warning, workers = "", None
        try:
            if running.kind is not Kind.EJECT:
                await self._snapshot(running)
                workers = worker_policies((await self._snapshots.get(rollout)).workers)
                warning = await self._warned(running)
            if not running.force and not running.stop_first:
                self._check_memory(running)
            if running.kind is Kind.EJECT:
                addresses = await self.eject.prepared(running)
            else:
                addresses = await self._instances.lease(
                    running.policy.slot.instances, await self._snapshots.get(rollout)
                )
        except (RelctlError, OSError) as error:
            words = error.message if isinstance(error, RelctlError) else str(error)
            hint = error.hint if isinstance(error, RelctlError) else ""
            post(PrepareFailed(rollout, f"{words}\nhint: {hint}" if hint else words))
            return
        post(Prepared(rollout, addresses, warning, workers))

    async def _warned(self, rollout: Rollout) -> str:
        if self._files is None:
            return ""
        try:
            return await self._files.prepared(await self._snapshots.get(rollout.id))
        except PrepareError as error:
            if rollout.kind is not Kind.ROLLBACK:
                raise
            return error.message  # files are no reason not to go back

    async def _snapshot(self, rollout: Rollout) -> None:
        good = next((g for g in reversed(self._state().good) if g.release == rollout.to), None)
        if rollout.kind is Kind.ROLLBACK:
            good = good or way_back(self._state())
        if rollout.kind is Kind.ROLLBACK and good is not None and good.release == rollout.to:
            old = await self._snapshots.copy(good.snapshot, rollout.id)
            await asyncio.to_thread(refuse_no_directory, old)
            if not rollout.force:
                await asyncio.to_thread(refuse_replaced, old)
            return
        if rollout.kind is Kind.REHEARSAL:
            await self.rehearser.prepare(rollout)
            return
        taken = await asyncio.to_thread(take, self._snapshots.config, rollout.to)
        await self._snapshots.put(rollout.id, taken)

    def _check_memory(self, rollout: Rollout) -> None:
        """Two copies run side by side: the second must fit beside the first."""
        found = self.room(self._state(), rollout)
        if found is not None and not found.enough:
            same = rollout.kind in (Kind.EJECT, Kind.REHEARSAL)
            other = "" if same else away.another_way(rollout, self._state().away)
            raise PrepareError(found.refusal, hint(other))

    def room(self, state: State, rollout: Rollout) -> Memory | None:
        """What a second copy would need; None: nothing of ours runs. Blocks for some milliseconds."""
        live = state.slot(state.live)
        if live is None or live.external:
            return None
        members = self._instances.roster.members
        needed = resources.usage(members(replace(live, workers=()))).rss_bytes
        surge = surge_of(state, rollout)
        if surge:  # at any moment only so many more than usual
            needed = needed * min(surge, len(live.instances)) // len(live.instances)
        beside = (w for w in live.workers if not live.policy.worker(w.worker).stop_first)
        overlapping = replace(live, instances=(), workers=tuple(beside))
        needed += resources.usage(members(overlapping)).rss_bytes
        return Memory(needed, resources.memory_available(), surge)

    async def asked(self, slot: Slot, snapshot: Snapshot, check: Smoke) -> Result:
        """One smoke check, of an instance that serves now."""
        (made,) = self._checks(replace(snapshot, smoke=(check,)), slot)
        ready = (i for i in slot.crew if i.state is InstanceState.READY)
        instance = next(ready, slot.crew[0])
        return await smoke(made, instance.address, self._launcher)

    async def smoke(self, rollout: int, post: Post) -> None:
        running = self._state().rollout
        slot = self._state().slot(running.candidate) if running is not None else None
        if running is None or slot is None:
            return
        snapshot = await self._snapshots.get(rollout)
        if running.kind is not Kind.ROLLBACK:  # a way back is proven by its readiness
            for check in self._checks(snapshot, slot):
                for instance in slot.crew:
                    result = await smoke(check, instance.address, self._launcher)
                    if not result.ok:
                        body = f'; it said: "{result.body}"' if result.body else ""
                        post(SmokeEnded(rollout, passed=False, detail=f"{result.detail}{body}"))
                        return
        post(SmokeEnded(rollout, passed=True))

    async def ask_old(self, rollout: int, post: Post) -> None:
        """Is the warm old slot any better? Its readiness and its smoke checks, asked now."""
        running = self._state().rollout
        slot = self._state().slot(running.old) if running is not None else None
        if running is None or slot is None:
            return
        why = await self._probing.asked_now(slot)
        if not why and not slot.external:
            snapshot = await self._snapshots.get(slot.snapshot)
            for check in self._checks(snapshot, slot):
                result = await smoke(check, slot.crew[0].address, self._launcher)
                if not result.ok:
                    why = result.detail
                    break
        post(OldAsked(rollout, passed=not why, detail=why))

    def _checks(self, snapshot: Snapshot, slot: Slot) -> list[SmokeCheck]:
        state = self._state()
        first = slot.crew[0]
        seat = Seat(state.app, slot.color, 0, first.number, first.address, state.boot)
        env = environment(snapshot, clean_environment(os.environ), seat)
        env.pop(MARKER)
        checks = []
        for s in snapshot.smoke:
            limit = s.within or SMOKE_TIMEOUT
            probe: HttpProbe | ExecProbe
            if s.command:
                values = placeholders(snapshot, seat)
                argv = tuple(fill(word, values) for word in s.command)
                user = snapshot.app.user
                probe = ExecProbe(argv, Path(snapshot.directory), env, user, max(limit, 1.0))
            else:
                probe = HttpProbe(
                    path=s.path or "/",
                    method=s.method,
                    host=snapshot.app.host,
                    headers=s.headers,
                    body=s.body or "",
                    timeout=max(limit * 2, 1.0),
                    status=s.status,
                    contains=s.contains or "",
                )
            checks.append(SmokeCheck(s.name, probe, s.times, s.warm, s.within))
        return checks

    async def hook(self, rollout: int, name: str, attempt: int, post: Post) -> None:
        """Runs in the release's directory as the app's user; its output is in the release's log."""
        running = self._state().rollout
        if running is None or running.id != rollout:
            return
        snapshot = await self._hook_snapshot(running)
        argv: tuple[str, ...] = getattr(snapshot.hooks, name)
        values = {"release": snapshot.release, "directory": snapshot.directory}
        # The port tells two relds apart that look after apps of one name.
        port = tcp_port(self._snapshots.config.gate.listen)
        mark = f"{self._state().app}.{self._state().boot[:8]}.{port}.hook.{rollout}.{name}"
        env = {
            **release_environment(snapshot, clean_environment(os.environ)),
            "RELCTL_APP": self._state().app,
            "RELCTL_ROLLOUT": str(rollout),
            "RELCTL_KIND": running.kind,
            "RELCTL_FROM": running.from_,
            "RELCTL_TO": running.to,
            "RELCTL_HOOK": name,
            "RELCTL_HOOK_ATTEMPT": str(attempt),
            MARKER: mark,
        }
        if attempt > 1:
            # A reld that was killed left it running, and a migration is not run beside itself.
            for identity in marked(mark):
                await kill_tree(Tree(identity, mark))
        try:
            result = await run(
                tuple(fill(word, values) for word in argv),
                Path(snapshot.directory),
                env,
                snapshot.app.user,
                snapshot.hooks.timeout,
                self._instances.log_of(f"{snapshot.release}.hooks"),
                self._launcher,
            )
        except LaunchError as error:
            post(HookEnded(rollout, name, attempt, passed=False, detail=error.message))
            return
        said = "\n".join(excerpt(result.output_tail.splitlines()[-HOOK_LINES:]))
        if result.timed_out:
            said = f"timed out after {snapshot.hooks.timeout:g} s\n{said}"
        elif not result.ok:
            said = f"{result.exit}\n{said}"
        post(HookEnded(rollout, name, attempt, passed=result.ok, detail=said.strip()))

    async def _hook_snapshot(self, rollout: Rollout) -> Snapshot:
        """The release that the hook is about; `contract` and `on_rollback`: the one that serves."""
        state = self._state()
        live = state.slot(state.live)
        if rollout.kind is Kind.CONTRACT and live is not None:
            return await self._snapshots.get(live.snapshot)
        return await self._snapshots.get(rollout.id)
