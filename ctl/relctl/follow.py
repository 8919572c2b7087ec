"""The events of a rollout, from now to its end, also across a restart of reld."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

from relctl.bond import Bond
from relctl.errors import UnreachableError, WaitOverError
from relctl.http import Client

GRACE = 30.0  # seconds that reld may be away: an upgrade is a restart
RETRY = 0.2
SILENCE = 15.0  # a running rollout says something every second


class Watcher(Protocol):
    """Who is told: as in views.View."""

    query: str
    silence: float | None

    def away(self, text: str, seconds: float) -> None: ...

    def back(self) -> None: ...


def rollout_events(
    client: Client,
    rollout: int,
    until: float | None,
    watcher: Watcher,
    bond: Bond | None = None,
) -> Iterator[dict[str, Any]]:
    """Every event of `rollout`; the last one is its result.

    Args:
        client: the reld that is followed.
        rollout: its number.
        until: a time of `time.monotonic()` at which waiting ends; None = never.
        watcher: told that reld is away, for as long as it is.
        bond: without us the rollout goes back.

    Raises:
        UnreachableError: reld was away for longer than 30 s.
        LostError: nobody reads our output any more.
        WaitOverError: `until` is over.
    """
    away = _Away(client, f"reld is restarting, rollout {rollout} continues", watcher)
    target, body = _events(f"rollout={rollout}", watcher), None
    if bond is not None:
        target, body = f"/v1/rollouts/{rollout}/stay?{watcher.query}", {"lease": bond.name}
    silence = watcher.silence or SILENCE
    while True:
        try:
            for event in client.stream(target, silence, until, body):
                away.back()
                yield event
                if event.get("event") == "result":
                    return
        except UnreachableError as error:
            away.still(error)
        else:
            away.still(None)
        if until is not None and time.monotonic() >= until:
            raise WaitOverError
        time.sleep(RETRY)


def all_events(client: Client, watcher: Watcher) -> Iterator[dict[str, Any]]:
    """Everything that happens, without end.

    Raises:
        UnreachableError: reld was away for longer than 30 s.
    """
    away = _Away(client, "reld is restarting, the app goes on", watcher)
    while True:
        try:
            for event in client.stream(_events("", watcher), watcher.silence):
                away.back()
                yield event
        except UnreachableError as error:
            away.still(error)
        else:
            away.still(None)
        time.sleep(RETRY)


def _events(query: str, watcher: Watcher) -> str:
    asked = "&".join(part for part in (query, watcher.query) if part)
    return f"/v1/events?{asked}" if asked else "/v1/events"


class _Away:
    """How long reld has been silent, and who is told."""

    def __init__(self, client: Client, text: str, watcher: Watcher) -> None:
        self._client = client
        self._text = text
        self._watcher = watcher
        self._since: float | None = None

    def back(self) -> None:
        if self._since is not None:
            self._since = None
            self._watcher.back()

    def still(self, error: UnreachableError | None) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        self._watcher.away(self._text, now - self._since)
        if now - self._since < GRACE:
            return
        client = self._client
        raise error or UnreachableError(
            f"cannot follow {client.unit} at {client.path}: it hangs up again and again",
            f"relctl check; sudo systemctl status {client.unit}",
        )
