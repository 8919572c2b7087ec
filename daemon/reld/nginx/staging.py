"""The config on disk is replaced only by one that nginx takes, and that a reload can bring into effect."""

from __future__ import annotations

from pathlib import Path

from reld import durable
from reld.errors import GateError
from reld.nginx import command, master, pages, places, room
from reld.nginx.settings import GateSettings


def stage(settings: GateSettings, text: str) -> bytes | None:
    """Puts a config in place, and returns what was there before; None = nothing was.

    Raises OSError, and GateError with what nginx has against it or what a reload would not survive;
    nothing was changed then.
    """
    places.prepare(settings)
    pages.refresh(settings)
    _write(settings, settings.staged, text.encode())
    wrong = command.test(settings, settings.staged)
    if wrong:
        raise GateError(f"cannot load the gate config: {wrong}")
    found = master.find(settings)
    tight = "" if found is None else room.make(settings, found)
    if tight:
        raise GateError(f"cannot reload the gate: {tight}")
    for address in (settings.listen, settings.status):
        # Both -t and the reload would pass and change nothing.
        who = "" if found is None else master.foreigner(settings, address)
        if who:
            raise GateError(f"cannot reload the gate: {who}")
    old = settings.config.read_bytes() if settings.config.exists() else None
    durable.put(settings.staged, settings.config)
    return old


def restore(settings: GateSettings, before: bytes | None) -> None:
    """What `stage` returned is there again. Raises OSError, GateError."""
    if before is None:
        durable.remove(settings.config)
        return
    spare = settings.config.with_name(f"{settings.config.name}.before")
    _write(settings, spare, before)
    durable.put(spare, settings.config)


def _write(settings: GateSettings, path: Path, data: bytes) -> None:
    durable.write(path, data, places.CONFIG_MODE)
    places.entitle(path, settings)
