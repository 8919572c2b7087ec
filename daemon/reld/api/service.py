"""What the API asks of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from reld.api.hub import Subscription
from reld.api.peers import Caller
from reld.api.requests import LogRequest, RolloutRequest, Steer
from reld.core.model import State


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a status needs and the state has not.

    `now` is CLOCK_BOOTTIME, `offset` is what makes wall-clock time (seconds since 1970) of it.
    """

    now: float
    offset: float


class Service(Protocol):
    """Methods that may refuse raise reld.errors.Refused, or one of its subclasses."""

    def state(self) -> State: ...

    def vitals(self) -> Vitals: ...

    async def begin(self, request: RolloutRequest, caller: Caller) -> dict[str, Any]:
        """The body that answers POST /v1/rollouts.

        202 is sent when it has an id and is neither "attached" nor "already"; else 200.
        """
        ...

    async def steer(self, steer: Steer, caller: Caller) -> dict[str, Any]:
        """{"id", "message"}. Raises api.requests.NotFound for a rollout that never was."""
        ...

    def subscribe(self) -> Subscription:
        """Events from this moment on, as published in a Hub."""
        ...

    async def rollouts(self, limit: int) -> list[dict[str, Any]]:
        """Newest first, the running one included."""
        ...

    async def rollout(self, number: int) -> dict[str, Any] | None:
        """The receipt object ("outcome" null while it runs); None: there is no such rollout."""
        ...

    async def releases(self) -> list[dict[str, Any]]:
        """Newest first."""
        ...

    def log_lines(self, request: LogRequest) -> AsyncIterator[dict[str, Any]]:
        """{"release", "slot", "line"}; ends unless it follows."""
        ...
