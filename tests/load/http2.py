"""HTTP/2 over TLS: some concurrent streams on one connection.

A server that wants to go (a reload, or its limit of requests for a connection) sends GOAWAY with the last
stream that it will answer. Streams above it were not processed (RFC 9113, section 6.8): they go to the next
connection, counted as `retried`, not as failures. All others must be answered.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.load.clients import BACK_OFF, BODY, pause
from tests.load.http1 import Address, RequestError, connected
from tests.load.requests import new_id, release_of
from tests.load.tally import Tally

GOAWAY = 0x7
UNPROCESSED = "unprocessed"


@dataclass(slots=True)
class Stream:
    waiter: asyncio.Future[tuple[int, bytes]]
    status: int = 0
    body: bytearray = field(default_factory=bytearray)


class Connection(asyncio.Protocol):
    """One HTTP/2 connection; `request` may be called by several tasks at a time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        self.transport: asyncio.Transport | None = None
        self.buffer = bytearray()
        self.streams: dict[int, Stream] = {}
        self.open = False  # takes new streams

    @classmethod
    async def connect(cls, address: Address, timeout: float) -> Connection:
        """Raises RequestError (connect)."""
        return await connected(cls, address, timeout)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.h2.initiate_connection()
        self.flush()
        self.open = True

    async def request(self, host: str, path: str, request_id: str, body: bytes, timeout: float):
        """(status, body); raises RequestError, with kind UNPROCESSED if the server did not look at it."""
        number = self.h2.get_next_available_stream_id()
        stream = Stream(self.loop.create_future())
        self.streams[number] = stream
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", host),
            (":path", path),
            ("x-request-id", request_id),
            ("content-length", str(len(body))),
        ]
        self.h2.send_headers(number, headers)
        self.h2.send_data(number, body, end_stream=True)
        self.flush()
        late = RequestError("timeout", f"{timeout} s")
        timer = self.loop.call_later(timeout, self.end_stream, number, late)
        try:
            return await stream.waiter
        finally:
            timer.cancel()

    def flush(self) -> None:
        assert self.transport is not None
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        # h2 takes a connection for closed at the first GOAWAY and then refuses the answers that the server
        # still owes, so GOAWAY frames are taken out here.
        self.buffer += data
        rest = bytearray()
        while len(self.buffer) >= 9:
            size = 9 + int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < size:
                break
            if self.buffer[3] == GOAWAY:
                self.go_away(
                    last=int.from_bytes(self.buffer[9:13], "big") & 0x7FFFFFFF,
                    code=int.from_bytes(self.buffer[13:17], "big"),
                )
            else:
                rest += self.buffer[:size]
            del self.buffer[:size]
        try:
            for event in self.h2.receive_data(bytes(rest)):
                self.handle(event)
        except h2.exceptions.H2Error as error:
            self.end_all(RequestError("protocol", repr(error)))
            self.close()
            return
        if self.transport is not None and not self.transport.is_closing():
            self.flush()
        self.close_when_done()

    def handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            if stream := self.streams.get(event.stream_id):
                stream.status = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if stream := self.streams.get(event.stream_id):
                stream.body += event.data
        elif isinstance(event, h2.events.StreamEnded):
            stream = self.streams.pop(event.stream_id, None)
            if stream is not None and not stream.waiter.done():
                stream.waiter.set_result((stream.status, bytes(stream.body)))
        elif isinstance(event, h2.events.StreamReset):
            refused = event.error_code == 0x7  # REFUSED_STREAM: not processed (section 8.7)
            kind = UNPROCESSED if refused else "reset"
            error = RequestError(kind, f"stream reset, code {event.error_code}")
            self.end_stream(event.stream_id, error)

    def go_away(self, last: int, code: int) -> None:
        self.open = False
        for number in [number for number in self.streams if number > last]:
            self.end_stream(number, RequestError(UNPROCESSED, f"GOAWAY, code {code}"))

    def end_stream(self, number: int, error: RequestError) -> None:
        stream = self.streams.pop(number, None)
        if stream is not None and not stream.waiter.done():
            stream.waiter.set_exception(error)

    def end_all(self, error: RequestError) -> None:
        for number in list(self.streams):
            self.end_stream(number, error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        kind = "eof" if exc is None else "reset"
        self.end_all(RequestError(kind, repr(exc) if exc else "with streams unanswered"))

    def close_when_done(self) -> None:
        if not self.open and not self.streams:
            self.close()

    def close(self) -> None:
        self.open = False
        if self.transport is not None:
            self.transport.close()


async def http2_posts(
    address: Address,
    tally: Tally,
    stop: asyncio.Event,
    *,
    streams: int,
    think: float,
    timeout: float,
) -> None:
    """`streams` POSTs at a time on one connection, until `stop`."""
    connection: Connection | None = None
    connecting = asyncio.Lock()

    async def current() -> Connection:
        nonlocal connection
        async with connecting:
            if connection is None or not connection.open:
                connection = await Connection.connect(address, timeout)
            return connection

    async def one_request() -> None:
        request_id, began = new_id(), time.monotonic()
        while True:
            link = await current()
            if not link.open:  # went away while this task waited for the lock
                continue
            try:
                status, body = await link.request(address.host, "/echo", request_id, BODY, timeout)
            except RequestError as error:
                if error.kind != UNPROCESSED:
                    raise
                tally.retried += 1
                continue
            tally.succeed(release_of(status, body, request_id, len(BODY)), began)
            return

    async def stream() -> None:
        while not stop.is_set():
            try:
                await one_request()
            except RequestError as error:
                tally.fail(error.kind, error.detail)
                await asyncio.sleep(BACK_OFF)
            await pause(stop, think)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(streams):
                group.create_task(stream())
    finally:
        if connection is not None:
            connection.close()
