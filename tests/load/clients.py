"""HTTP/1.1 clients: each is a coroutine that runs until `stop` is set and counts into its tally."""

from __future__ import annotations

import asyncio
import random
import time

from tests.load.http1 import Address, Connection, RequestError
from tests.load.requests import new_id, post, release_of
from tests.load.tally import Tally

BODY = b"x" * 200
BACK_OFF = 0.05  # seconds after a failure: a refused port must not become a busy loop


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Think time, jittered so that clients do not march in step; ends early when it is time to stop."""
    if seconds <= 0:
        await asyncio.sleep(0)
    elif not stop.is_set():
        await asyncio.sleep(seconds * random.uniform(0.5, 1.5))


async def keepalive_posts(
    address: Address, tally: Tally, stop: asyncio.Event, *, think: float, timeout: float
) -> None:
    """One connection, POST after POST. A connection that is known to be closed is replaced before the
    next request; a request that was written is never sent again."""
    connection: Connection | None = None
    while not stop.is_set():
        request_id, began = new_id(), time.monotonic()
        try:
            if connection is None or not connection.alive:
                connection = await Connection.open(address, timeout)
            response = await connection.request(
                post(address.host, "/echo", request_id, BODY), timeout
            )
            tally.succeed(release_of(response.status, response.body, request_id, len(BODY)), began)
        except RequestError as error:
            tally.fail(error.kind, f"{request_id}: {error.detail}")
            await asyncio.sleep(BACK_OFF)
        await pause(stop, think)
    if connection is not None:
        connection.close()


async def oneshot_posts(
    address: Address, tally: Tally, stop: asyncio.Event, *, think: float, timeout: float
) -> None:
    """A new connection for each request."""
    while not stop.is_set():
        request_id, began = new_id(), time.monotonic()
        connection: Connection | None = None
        try:
            connection = await Connection.open(address, timeout)
            message = post(address.host, "/echo", request_id, BODY, connection="close")
            response = await connection.request(message, timeout)
            tally.succeed(release_of(response.status, response.body, request_id, len(BODY)), began)
        except RequestError as error:
            tally.fail(error.kind, f"{request_id}: {error.detail}")
            await asyncio.sleep(BACK_OFF)
        finally:
            if connection is not None:
                connection.close()
        await pause(stop, think)


async def slow_uploads(
    address: Address,
    tally: Tally,
    stop: asyncio.Event,
    *,
    seconds: float,
    size: int,
    timeout: float,
) -> None:
    """Uploads of `size` bytes, dribbled over `seconds`, one after the other. When it is time to stop, the
    rest of the running one is sent at once."""
    pieces = max(1, int(seconds / 0.1))
    while not stop.is_set():
        request_id, began = new_id(), time.monotonic()
        connection: Connection | None = None
        try:
            connection = await Connection.open(address, timeout)
            message = post(address.host, "/upload", request_id, b"", connection="close")
            message = message.replace(b"Content-Length: 0", b"Content-Length: %d" % size)
            waiter = connection.start(message)
            sent = 0
            for number in range(1, pieces + 1):
                if waiter.done():  # an early answer, or the end
                    break
                await connection.may_write.wait()
                upto = size * number // pieces
                assert connection.transport is not None
                connection.transport.write(b"u" * (upto - sent))
                sent = upto
                if not stop.is_set() and number < pieces:
                    await asyncio.sleep(seconds / pieces)
            response = await connection.finish(waiter, timeout)
            tally.succeed(release_of(response.status, response.body, request_id, size), began)
        except RequestError as error:
            tally.fail(error.kind, f"{request_id}: {error.detail}")
            await asyncio.sleep(BACK_OFF)
        finally:
            if connection is not None:
                connection.close()
