"""Pages for the gate's own 503s: beside the gate's config, where the gate may read and not write.

A kept page has its content in its name, so a config never shows another one than it was written for;
the common one is copied anew with each load.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from reld import durable
from reld.errors import GateError
from reld.nginx import places
from reld.nginx.settings import GateSettings

COMMON = "unavailable.html"
LARGEST = 256 << 10
"""Bytes; it is sent to everybody who comes by while nothing else works."""
KEPT_FOR = 3600.0
"""Seconds that a page lives at least: a config that names it may be on its way."""
_PLAIN = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>503 Service Unavailable</title>
<p>Closed for a moment. Please try again soon.</p>
</html>
"""
_NAME = re.compile(r"page-[0-9a-f]{16}\.html")


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def keep(settings: GateSettings, content: bytes) -> str:
    """Puts a page where the gate reads it, durably, and says what it is called there.

    Raises OSError, GateError.
    """
    name = f"page-{hashlib.sha256(content).hexdigest()[:16]}.html"
    places.prepare(settings)
    _put(settings, name, content)
    return name


def refresh(settings: GateSettings) -> None:
    """Copies the common page; one that cannot be read leaves what was copied before.

    Raises OSError, GateError.
    """
    content = _PLAIN
    if settings.unavailable_page is not None:
        try:
            content = read(settings.unavailable_page)
        except (OSError, ValueError):
            if (settings.pages / COMMON).exists():
                return
    _put(settings, COMMON, content)


def read(path: Path) -> bytes:
    """A page of a person. Raises OSError, ValueError: it is no plain file, or too large."""
    # Opened without waiting and looked at before it is read: it may be a FIFO or a device.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is not a regular file")
        content = os.read(handle, LARGEST + 1)
    finally:
        os.close(handle)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 10} KiB")
    return content


def forget(settings: GateSettings, used: Container[str]) -> None:
    """Removes pages that no config names any more. Never raises: it is tried again."""
    with suppress(OSError):
        for path in settings.pages.iterdir():
            old = time.time() - path.stat().st_mtime > KEPT_FOR
            if old and is_name(path.name) and path.name not in used:
                durable.remove(path)


def _put(settings: GateSettings, name: str, content: bytes) -> None:
    made = settings.pages / f"{name}.new"
    try:
        durable.write(made, content, places.CONFIG_MODE)
        places.entitle(made, settings)
        durable.put(made, settings.pages / name)
    except OSError as error:
        raise GateError(f"cannot keep the page {settings.pages / name}: {error}") from error
