"""`relctl run`: a command as the live release would run it, on the descriptors of whoever asked."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path

from reld.api.handed import Over, RunRequest
from reld.config import Config
from reld.core.model import Exit, State
from reld.errors import Refused
from reld.host.snapshots import Snapshots
from reld.nginx.settings import tcp_port
from reld.processes.environment import MARKER, clean_environment
from reld.processes.session import attended
from reld.processes.spec import Launcher, LaunchSpec, Streams
from reld.snapshot import Snapshot, release_environment, take

GRACE = 1.5
"""Seconds between SIGHUP and SIGKILL when the person has left."""
_SIGNALLED = 128
"""What a shell adds to the number of a signal."""


class Commands:
    """`todays` reads the config file as it is now; it raises ConfigError."""

    def __init__(
        self,
        state: Callable[[], State],
        snapshots: Snapshots,
        todays: Callable[[], Config],
        launcher: Launcher,
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._todays = todays
        self._launcher = launcher
        self._numbers = itertools.count(1)

    async def refuse(self, request: RunRequest) -> None:
        """Raises Refused, PrepareError, ConfigError, StoreError."""
        await self._snapshot(request.release)

    async def run(self, request: RunRequest, streams: Streams, over: Over) -> dict[str, object]:
        """Raises what `refuse` does, and LaunchError."""
        snapshot = await self._snapshot(request.release)
        state = self._state()
        port = tcp_port(self._snapshots.config.gate.listen)
        number = f"{os.getpid()}.{next(self._numbers)}"
        env = {
            **release_environment(snapshot, clean_environment(os.environ)),
            "RELCTL_APP": state.app,
            MARKER: f"{state.app}.{state.boot[:8]}.{port}.command.{number}",
        }
        if request.term:
            env["TERM"] = request.term
        spec = LaunchSpec(
            request.argv,
            Path(snapshot.directory),
            env,
            snapshot.app.user,
            Path(os.devnull),
            terminal=request.terminal,
        )
        ended = await attended(spec, streams, self._launcher, over, grace=GRACE)
        if ended.left:
            message = f"ended: whoever ran it left ({ended.exit})"
        else:
            message = f"ended: {ended.exit}"
        return {"release": snapshot.release, "exit": _code(ended.exit), "message": message}

    async def _snapshot(self, release: str | None) -> Snapshot:
        """Of what runs or was good: as it was started; of another release: as it would be now."""
        state = self._state()
        if release is None:
            live = state.slot(state.live)
            if live is None or not live.snapshot:
                raise Refused(
                    "cannot run anything: nothing that reld started is live",
                    "relctl run --release NAME -- …",
                )
            return await self._snapshots.get(live.snapshot)
        kept = [s.snapshot for s in state.slots if s.release == release and s.snapshot]
        kept += [g.snapshot for g in reversed(state.good) if g.release == release]
        if kept:
            return await self._snapshots.get(kept[0])
        config = await asyncio.to_thread(self._todays)
        return await asyncio.to_thread(take, config, release)


def _code(ended: Exit) -> int:
    if ended.signal is not None:
        return _SIGNALLED + ended.signal
    return ended.code if ended.code is not None else _SIGNALLED + signal.SIGKILL
