"""The events of a rollout, from now to its end, also across a restart of reld."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from relctl.bond import Bond
from relctl.errors import UnreachableError, WaitOverError
from relctl.http import Client

GRACE = 30.0  # seconds that reld may be away: an upgrade is a restart
RETRY = 0.2
SILENCE = 15.0  # a running rollout says something every second


def rollout_events(
    client: Client,
    rollout: int,
    until: float | None,
    notice: Callable[[str], None],
    bond: Bond | None = None,
) -> Iterator[dict[str, Any]]:
    """Every event of `rollout`; the last one is its result.

    Args:
        client: the reld that is followed.
        rollout: its number.
        until: a time of `time.monotonic()` at which waiting ends; None = never.
        notice: told once per outage that reld is away.
        bond: without us the rollout goes back.

    Raises:
        UnreachableError: reld was away for longer than 30 s.
        LostError: nobody reads our output any more.
        WaitOverError: `until` is over.
    """
    away = _Away(client, f"reld is restarting, rollout {rollout} continues", notice)
    target, body = f"/v1/events?rollout={rollout}", None
    if bond is not None:
        target, body = f"/v1/rollouts/{rollout}/stay", {"lease": bond.name}
    while True:
        try:
            for event in client.stream(target, SILENCE, until, body):
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


def all_events(client: Client, notice: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Everything that happens, without end.

    Raises:
        UnreachableError: reld was away for longer than 30 s.
    """
    away = _Away(client, "reld is restarting, the app goes on", notice)
    while True:
        try:
            for event in client.stream("/v1/events"):
                away.back()
                yield event
        except UnreachableError as error:
            away.still(error)
        else:
            away.still(None)
        time.sleep(RETRY)


class _Away:
    """How long reld has been silent, and whether somebody was told."""

    def __init__(self, client: Client, text: str, notice: Callable[[str], None]) -> None:
        self._client = client
        self._text = text
        self._notice = notice
        self._since: float | None = None

    def back(self) -> None:
        self._since = None

    def still(self, error: UnreachableError | None) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self._notice(self._text)
        if now - self._since < GRACE:
            return
        client = self._client
        raise error or UnreachableError(
            f"cannot follow {client.unit} at {client.path}: it hangs up again and again",
            f"systemctl status {client.unit}",
        )
