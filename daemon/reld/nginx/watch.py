"""Looking at a gate that runs: is it alive, is it ours, could it be reloaded, is its binary still there."""

from __future__ import annotations

import asyncio
import os
import signal

from reld.errors import GateError
from reld.nginx import master, room, status
from reld.nginx.settings import GateSettings

_POLL = 0.02


async def trouble(settings: GateSettings) -> str:
    """What is wrong with the gate, in words; "" = nothing, or there is no gate yet.

    A stopped process is continued: whoever stopped it, its users wait. Raises OSError, GateError.
    """
    found = master.find(settings)
    if found is None:
        return "the gate's master process dies at once" if settings.config.exists() else ""
    answer = await status.ask(settings, timeout=3.0)
    if answer is None or answer.app != settings.app:
        for address in (settings.status, settings.listen):
            who = master.foreigner(settings, address)
            if who:
                return f"the gate is not what answers: {who}"
        _thaw(found)
        return "the gate runs but does not answer within 3 s"
    if master.stopped(found):
        _thaw(found)
        return "the gate's master process was stopped"
    return room.make(settings, found)


async def until_it_dies(settings: GateSettings, seconds: float) -> None:
    """Returns the moment the gate's master ends, or after `seconds`."""
    found = master.find(settings)
    try:
        handle = os.pidfd_open(found.pid) if found is not None else -1
    except ProcessLookupError:
        return
    if handle < 0:
        await asyncio.sleep(seconds)
        return
    died = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, died.set)
    try:
        async with asyncio.timeout(seconds):
            await died.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def replace(settings: GateSettings, old: master.Process) -> None:
    """A new master, with the binary on disk, on the sockets of the old one, which then leaves.

    Raises GateError when the new one does not come up within 5 s; the old one serves on.
    """
    master.send(old, signal.SIGUSR2)
    try:
        async with asyncio.timeout(5.0):
            while not (new := master.named(settings)) or new == old or not master.workers(new):
                await asyncio.sleep(_POLL)
    except TimeoutError as error:
        raise GateError(
            "cannot put the upgraded nginx into service: it does not start",
            hint=f"nginx -t -c {settings.config}, and see {settings.error_log}",
        ) from error
    master.send(old, signal.SIGQUIT)


def _thaw(found: master.Process) -> None:
    for process in (found, *(worker.process for worker in master.workers(found))):
        if master.stopped(process):
            master.send(process, signal.SIGCONT)
