"""Answers that go on: events and logs, one JSON object a line.

The engine never waits for a reader: it publishes into a bounded queue, and a reader that takes
nothing for some seconds loses its connection. The client may leave at any time; that is noticed
within a second, also while there is nothing to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from reld.api import answers
from reld.api.clock import iso
from reld.api.following import Following
from reld.api.glance import Glance, next_tick
from reld.api.hub import Subscription
from reld.api.receipt import receipt
from reld.api.requests import NotFound
from reld.api.service import Service

_log = logging.getLogger(__name__)
_TICK = 1.0  # seconds after which a client that left is noticed at the latest
_STUCK = 10.0  # seconds that an event reader may take nothing
_STUCK_LOG = 600.0  # the same for a log: a paused pager is no reason to hang up
_FIRST = 0.25  # seconds that a log may take to refuse before the answer begins
_UNKNOWN = 10.0  # seconds after which a followed rollout that nobody knows any more is given up


class _Gone(Exception):
    """The client left, or takes nothing."""


class _Reader:
    """The client's end of a stream."""

    def __init__(self, request: web.BaseRequest, patience: float) -> None:
        self._request = request
        self._patience = patience
        self.response = answers.stream()

    async def begin(self) -> None:
        await self.response.prepare(self._request)

    @property
    def takes(self) -> bool:
        """Whether it has taken all that it was given: a stopped one takes nothing, and costs nothing."""
        transport = self._request.transport
        return not isinstance(transport, asyncio.WriteTransport) or (
            transport.get_write_buffer_size() == 0
        )

    async def send(self, body: Mapping[str, Any]) -> None:
        await self.write(answers.line(body))

    async def write(self, line: bytes) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self.response.write(line)
        except TimeoutError as error:
            self.hang_up()
            raise _Gone from error
        except (ConnectionError, RuntimeError) as error:
            raise _Gone from error

    def check(self) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise _Gone

    def hang_up(self) -> None:
        transport = self._request.transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


async def events(
    service: Service,
    request: web.BaseRequest,
    asked: Following,
    glance: Glance,
    closing: asyncio.Event,
) -> web.StreamResponse:
    """Status, then what happened and happens; ends after the result of the rollout that is followed.

    Raises:
        NotFound: there is no such rollout.
    """
    # First the subscription, then the look: nothing can happen unseen in between.
    subscription = service.subscribe(asked.last)
    followed = asked.rollout
    try:
        ended = None if followed is None else await _ended(service, followed)
        reader = _Reader(request, _STUCK)
        await reader.begin()
        try:
            await reader.write(glance.line("status", followed, 0))
            if followed is not None and ended is not None:
                await reader.send(_result(service, followed, ended, 0))
            else:
                await _follow(service, reader, subscription, asked, glance, closing)
        except _Gone:
            pass
        except Exception as bug:
            _break_off(reader, bug)
        return reader.response
    finally:
        subscription.close()


async def _follow(
    service: Service,
    reader: _Reader,
    subscription: Subscription,
    asked: Following,
    glance: Glance,
    closing: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    followed, every = asked.rollout, asked.every
    tick, seq, unknown = next_tick(loop.time() + every, every), 0, 0.0
    while not closing.is_set() and unknown < _UNKNOWN:
        line = await subscription.next(min(_TICK, max(0.0, tick - loop.time())))
        reader.check()
        if subscription.dropped:
            reader.hang_up()
            return
        if line is not None:
            seq = line["seq"]
            if followed is None or line["rollout"] in (None, followed):
                if followed is not None and line["event"] == "result" and "past" not in line:
                    ended = line.get("receipt") or await _ended(service, followed)
                    if ended is not None:
                        await reader.send({**line, "receipt": ended})
                        return
                else:
                    await reader.send(line)
        if loop.time() < tick:
            continue
        if not reader.takes:  # a progress line that comes late is worth nothing
            tick = next_tick(loop.time() + _TICK, every)
            continue
        tick = next_tick(loop.time(), every)
        running = service.state().rollout
        if running is not None and followed in (None, running.id):
            await reader.write(glance.line("progress", running.id, seq))
        elif followed is not None:
            ended = await _ended(service, followed)
            if ended is not None:
                await reader.send(_result(service, followed, ended, seq))
                return
            unknown += every
        elif asked.at_rest:
            await reader.write(glance.line("progress", None, seq))


async def logs(
    lines: AsyncIterator[dict[str, Any]], request: web.BaseRequest, closing: asyncio.Event
) -> web.StreamResponse:
    """Every line until there are no more.

    Raises:
        RelctlError: the service refuses before the first line.
    """
    reader = _Reader(request, _STUCK_LOG)
    coming = asyncio.ensure_future(_next(lines))
    try:
        done, _ = await asyncio.wait({coming}, timeout=_FIRST)
        if done:
            coming.result()
        await reader.begin()
        try:
            while not closing.is_set():
                done, _ = await asyncio.wait({coming}, timeout=_TICK)
                reader.check()
                if not done:
                    continue
                line = coming.result()
                if line is None:
                    break
                await reader.send(line)
                coming = asyncio.ensure_future(_next(lines))
        except _Gone:
            pass
        except Exception as bug:
            _break_off(reader, bug)
    finally:
        coming.cancel()
        await asyncio.wait({coming})
        close = getattr(lines, "aclose", None)
        if close is not None:
            await close()
    return reader.response


def _break_off(reader: _Reader, trouble: Exception) -> None:
    """The answer has begun: a broken connection is the only way left to say that it is not whole."""
    _log.error("cannot go on with a stream: %r", trouble, exc_info=trouble)
    reader.hang_up()


async def _next(lines: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
    return await anext(lines, None)


async def _ended(service: Service, number: int) -> dict[str, Any] | None:
    """The receipt of a rollout that is over; None: it runs.

    The state knows the last one even while the disk is in trouble.
    """
    state = service.state()
    if state.rollout is not None and state.rollout.id == number:
        return None
    found = await service.rollout(number)  # says more than the state: the log's end, notes
    known = state.last is not None and state.last.id == number
    if known and (found is None or found["outcome"] is None):
        assert state.last is not None
        return receipt(state.last, service.vitals(), running=False)
    if found is None:
        raise NotFound(f"cannot follow rollout {number}: there is none", "relctl history")
    return found if found["outcome"] is not None else None


def _result(service: Service, number: int, ended: dict[str, Any], seq: int) -> dict[str, Any]:
    vitals = service.vitals()
    return {
        "seq": seq,
        "time": iso(vitals.now + vitals.offset),
        "rollout": number,
        "event": "result",
        "text": ended.get("summary", ""),
        "receipt": ended,
    }
