"""Whom to tell. Names and errors here have no secret in them: they are logged and shown."""

from __future__ import annotations

import hashlib
import json
from typing import Protocol
from urllib.parse import urlsplit

from reld.config import Notify
from reld.telling.message import Message


class NotTold(Exception):
    """Why not, in a few words without any secret. `final`: another try would not do better.

    `after`: seconds that the target wants to be left alone.
    """

    def __init__(self, why: str, *, final: bool = False, after: float = 0.0) -> None:
        super().__init__(why)
        self.why, self.final, self.after = why, final, after


class Target(Protocol):
    """Tells once, within a bounded time."""

    async def tell(self, message: Message) -> str:
        """How it answered. Raises NotTold."""


def name_of(notify: Notify) -> str:
    """Of an address only where it leads to; of a command only its program."""
    if notify.command:
        return notify.command[0]
    found = urlsplit(notify.url or "")
    return f"{found.scheme}://{found.hostname}{f':{found.port}' if found.port else ''}/..."


def key_of(notify: Notify) -> str:
    """The same for the same target, and tells nothing of it."""
    said = json.dumps([notify.url, notify.command])
    return hashlib.sha256(said.encode()).hexdigest()[:16]
