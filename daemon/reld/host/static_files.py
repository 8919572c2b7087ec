"""Which directories of releases the gate serves files from, and what keeps it from that."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from reld.core.model import Routing, State
from reld.errors import GateError, PrepareError, StoreError
from reld.host.snapshots import Snapshots
from reld.nginx import command, owner, static
from reld.nginx.settings import GateSettings
from reld.release_list import directories
from reld.snapshot import Snapshot

log = logging.getLogger("reld.gate")

STORE_PATIENCE = 2.0
"""Seconds: a disk that does not answer must not keep traffic from moving."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class StaticFiles:
    """Of one app; without `[gate] static` it has nothing to say."""

    def __init__(
        self, state: Callable[[], State], snapshots: Snapshots, settings: GateSettings
    ) -> None:
        self._state = state
        self._snapshots = snapshots
        self._settings = settings

    async def roots(self, routing: Routing) -> tuple[str, ...]:
        """For the next config: the candidate's directory, the live one's, then the newest others."""
        if not self._settings.static or routing.default is None:
            return ()
        first = []
        for target in (routing.candidate, routing.default):
            slot = self._state().slot(target.color) if target is not None else None
            if slot is not None and slot.snapshot:
                with contextlib.suppress(StoreError, TimeoutError):
                    async with asyncio.timeout(STORE_PATIENCE):
                        first.append((await self._snapshots.get(slot.snapshot)).directory)
        template = self._snapshots.config.app.directory
        return await asyncio.to_thread(_there, first, template)

    async def prepared(self, snapshot: Snapshot) -> str:
        """What people should know of a release before it is started; "" = nothing.

        Raises PrepareError: no file could be served at all.
        """
        if not self._settings.static:
            return ""
        return await asyncio.to_thread(self._looked_at, snapshot)

    def _looked_at(self, snapshot: Snapshot) -> str:
        if not static.MIME_TYPES.exists():
            raise PrepareError(
                f"cannot serve [gate] static: there is no {static.MIME_TYPES}",
                "apt install nginx-common, or take `static` out of [gate]",
            )
        if not static.fits(snapshot.directory):
            return (
                f"[gate] static: {snapshot.directory} has a name that the gate's config cannot hold"
            )
        try:
            gate = owner.of(self._settings.user)
        except GateError as error:
            return error.message
        for item in self._settings.static:
            place = f"{snapshot.directory}/{item.dir}"
            if not Path(place).is_dir():
                return (
                    f"[gate] static: there is no {item.dir} in release {snapshot.release},"
                    f" so the app is asked for all of {item.url}"
                )
            shut, right = _shut(place, gate)
            if shut:
                return (
                    f"[gate] static: the gate (user {gate.name}) cannot read {shut}, so the app is"
                    f" asked for {item.url}: chmod o+{right} {shut}"
                )
        return ""


def _there(first: Sequence[str], template: str) -> tuple[str, ...]:
    if not static.MIME_TYPES.exists():
        log.warning("there is no %s: the app is asked for all files", static.MIME_TYPES)
        return ()
    others: list[str] = []
    with contextlib.suppress(OSError):  # a directory may go while it is looked at
        before, _, after = template.partition("{release}")
        others = [f"{before}{n}{after}" for n in directories(template) if _NAME.fullmatch(n)]
    found: dict[str, None] = {}
    for place in (*first, *others):
        real = os.path.realpath(place)
        if static.fits(real) and os.path.isdir(real):
            found.setdefault(real)
    return tuple(found)[: static.MOST]


def _shut(place: str, gate: owner.Owner) -> tuple[str, str]:
    """What of it, or on the way to it, the gate's user may not use, and the right that it lacks.

    Of the files one is looked at: who writes them gives all of them the same rights.
    """
    if not _may(place, gate, "x"):
        way = [*reversed(Path(place).parents), Path(place)]
        return next((str(one) for one in way if not _may(str(one), gate, "x")), place), "x"
    files = (f"{where}/{name}" for where, _, names in os.walk(place) for name in names)
    sample = next(files, "")
    return (sample, "r") if sample and not _may(sample, gate, "r") else ("", "")


def _may(place: str, gate: owner.Owner, right: str) -> bool:
    # Asked as that user: groups and access control lists count, too.
    return command.run(["test", f"-{right}", place], gate)[0] != 1
