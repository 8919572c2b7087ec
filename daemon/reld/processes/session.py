"""A command that somebody attends: on descriptors of theirs, and ended when they leave."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from reld.core.model import Exit
from reld.processes.environment import MARKER
from reld.processes.exits import wait_exit
from reld.processes.held import Held
from reld.processes.spec import Launcher, LaunchSpec, Streams
from reld.processes.tree import Tree, kill_tree, send_stop

LOOK_EVERY = 0.2
"""Seconds between two looks whether anybody is still there."""


@dataclass(frozen=True, slots=True)
class Attended:
    """`left`: it was ended because nobody was there any more; `late`: because its time was over."""

    exit: Exit
    left: bool = False
    late: bool = False


async def attended(
    spec: LaunchSpec,
    streams: Streams,
    launcher: Launcher,
    left: Callable[[], bool],
    *,
    within: float | None = None,
    grace: float = 0.0,
) -> Attended:
    """Run a command to its end, or until `left` says so, or for `within` seconds.

    When it must end it gets SIGHUP, as from a terminal that is gone, and `grace` seconds; then its
    whole tree gets SIGKILL. `streams` stay open for the caller, who closes them.

    Raises:
        LaunchError: it could not be started.
    """
    held = await launcher.hold_with_streams(spec, streams)
    tree = Tree(held.identity, spec.env.get(MARKER, ""))
    try:
        await held.let_go()
        return await _end(held, tree, left, within, grace)
    except asyncio.CancelledError:
        await kill_tree(tree)
        raise
    finally:
        held.abandon()
        os.close(held.pidfd)
        await launcher.forget(held.unit)


async def _end(
    held: Held, tree: Tree, left: Callable[[], bool], within: float | None, grace: float
) -> Attended:
    loop = asyncio.get_running_loop()
    until = None if within is None else loop.time() + within
    ending = asyncio.ensure_future(wait_exit(held.pidfd, held.child))
    try:
        while True:
            await asyncio.wait({ending}, timeout=LOOK_EVERY)
            if ending.done():
                return Attended(ending.result())
            gone, late = left(), until is not None and loop.time() >= until
            if gone or late:
                break
        send_stop(held.pidfd, signal.SIGHUP)
        await asyncio.wait({ending}, timeout=grace)
        emptied = await kill_tree(tree)
        exited = await ending if emptied else Exit()
        return Attended(exited, left=gone, late=late)
    finally:
        ending.cancel()
        await asyncio.wait({ending})
