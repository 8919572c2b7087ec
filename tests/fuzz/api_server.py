"""A reld for the fuzzing of its API: all that answers is real, what it would start never starts.

python -m tests.fuzz.api_server DIRECTORY
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Any

from reld import config_file
from reld.api.clock import iso
from reld.api.handed import Over, RunRequest, UnpackRequest
from reld.api.hub import Hub
from reld.api.server import Server
from reld.auditing import Audit
from reld.clock import boottime, offset
from reld.core import effects as fx
from reld.core import events as ev
from reld.core.effects import Effect
from reld.core.machine import first_state
from reld.engine import Engine, Post
from reld.errors import Refused
from reld.host.snapshots import Snapshots, TodaysAccess
from reld.processes.identity import boot_id
from reld.saver import StateSaver
from reld.service import EngineService
from reld.store.database import Store

CONFIG = """\
[app]
command = ["bin/serve"]
directory = "{directory}/releases/{{release}}"
user = "nobody"
[ports]
range = "21000-21099"
[readiness]
path = "/ready"
[access]
operators = ["@relctl"]
approvers = ["nobody"]
"""


class NothingStarts:
    """Implements engine.Host: every rollout fails in its checks, after a moment."""

    async def perform(self, effect: Effect, post: Post) -> None:
        if isinstance(effect, fx.Prepare):
            await asyncio.sleep(0.05)
            post(ev.PrepareFailed(effect.rollout, "there is no such release"))
        await asyncio.Event().wait()


class NothingIsDone:
    """Implements api.handed.Hands: whatever is handed over is looked at, and that is all."""

    async def refuse_unpack(self, request: UnpackRequest) -> None:
        pass

    async def unpack(
        self, request: UnpackRequest, archive: int, talk: int, over: Over
    ) -> dict[str, Any]:
        os.fstat(archive), os.fstat(talk)
        return {"release": request.release, "message": "there"}

    async def refuse_run(self, request: RunRequest) -> None:
        if request.release not in (None, "v1"):
            raise Refused("cannot run anything: there is no such release")

    async def run(
        self, request: RunRequest, streams: tuple[int, int, int], over: Over
    ) -> dict[str, Any]:
        for one in streams:
            os.fstat(one)
        for word in request.argv:
            os.fsencode(word)
        return {"release": "v1", "exit": 0, "message": "ended: exit code 0"}


async def serve(directory: Path) -> None:
    (directory / "releases" / "v1").mkdir(parents=True)
    state = directory / "state"
    (state / "logs").mkdir(parents=True)
    path = directory / "web.toml"
    path.write_text(CONFIG.format(directory=directory))
    path.chmod(0o644)
    store = await Store.open(state / "state.db")
    snapshots = Snapshots(store, config_file.load(path, uid=os.geteuid()))
    saver = StateSaver(store, state / "logs", {})
    engine = Engine(first_state("web", boot_id()), NothingStarts(), saver, boottime)
    hub = Hub(lambda: iso(boottime() + offset()))
    service = EngineService(engine, store, snapshots, hub, state / "logs")
    server = Server(service, TodaysAccess(snapshots), Audit(store).write, NothingIsDone())
    await server.start(directory / "control.sock")
    (directory / "control.sock").chmod(0o666)
    print("ready", flush=True)
    await engine.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(serve(Path(sys.argv[1])), debug=False)
