"""A mix of clients, started and stopped together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

from tests.load.clients import keepalive_posts, oneshot_posts, slow_uploads
from tests.load.http1 import Address, unverified
from tests.load.http2 import http2_posts
from tests.load.tally import Tally
from tests.load.websocket import websocket_echoes


@dataclass(frozen=True, slots=True)
class Mix:
    """How many of which clients; times in seconds. Think times keep two cores from being the bottleneck."""

    keepalive: int = 64
    oneshot: int = 16
    http2: int = 2  # connections; only with a TLS port
    http2_streams: int = 4
    websockets: int = 4
    uploads: int = 1
    think: float = 0.1
    oneshot_think: float = 0.1
    upload_seconds: float = 3.0
    upload_size: int = 30_000
    timeout: float = 10.0
    limit: float = 600.0  # the load ends by itself after this


@dataclass(slots=True)
class Summary:
    """What the load saw, by kind of client and `whole`. `seconds` = how long it ran."""

    kinds: dict[str, Tally]
    seconds: float
    whole: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.whole = Tally.together(self.kinds.values())

    def text(self) -> str:
        lines = []
        for kind, tally in [*self.kinds.items(), ("all", self.whole)]:
            releases = " ".join(f"{name}={seen.count}" for name, seen in tally.releases.items())
            lines.append(
                f"{kind:10} {tally.total:8} requests {len(tally.failed):5} failed "
                f"{tally.retried:4} retried  p50 {tally.percentile(50) * 1000:7.1f} ms  "
                f"p99 {tally.percentile(99) * 1000:7.1f} ms  {releases}"
            )
        lines += [f"  {count} × {kind}" for kind, count in self.whole.kinds().most_common()]
        lines += [f"  {failure.kind}: {failure.detail}" for failure in self.whole.failed[:10]]
        return "\n".join(lines)


class Load:
    """`async with Load("127.0.0.1", port, tls_port=…, mix=Mix(…)) as load: …; summary = await load.stop()`.

    `port` takes plain HTTP/1.1. `tls_port` (HTTP/2 over TLS, certificate not verified) is used by the HTTP/2
    clients; without one there are none. Leaving the block stops the clients, too; `load.summary` stays.
    """

    def __init__(
        self, host: str, port: int, *, tls_port: int | None = None, mix: Mix | None = None
    ) -> None:
        self.mix = mix or Mix()
        self.plain = Address(host, port)
        self.secure = Address(host, tls_port, unverified("h2")) if tls_port is not None else None
        self.kinds: dict[str, list[Tally]] = {}
        self.tasks: list[asyncio.Task[None]] = []
        self.ending = asyncio.Event()
        self.summary: Summary | None = None
        self.began = 0.0

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    def start(self) -> None:
        mix, self.began = self.mix, time.monotonic()
        common: dict[str, float] = {"timeout": mix.timeout}
        for _ in range(mix.keepalive):
            self.add("keepalive", keepalive_posts, self.plain, think=mix.think, **common)
        for _ in range(mix.oneshot):
            self.add("oneshot", oneshot_posts, self.plain, think=mix.oneshot_think, **common)
        for _ in range(mix.http2 if self.secure else 0):
            streams = {"streams": mix.http2_streams, "think": mix.think}
            self.add("http2", http2_posts, self.secure, **streams, **common)
        for _ in range(mix.websockets):
            self.add("websocket", websocket_echoes, self.plain, **common)
        for _ in range(mix.uploads):
            upload = {"seconds": mix.upload_seconds, "size": mix.upload_size}
            self.add("upload", slow_uploads, self.plain, **upload, **common)
        self.timer = asyncio.get_running_loop().call_later(mix.limit, self.ending.set)

    def add(self, kind: str, client: Any, address: Address | None, **settings: Any) -> None:
        tally = Tally()
        self.kinds.setdefault(kind, []).append(tally)
        coroutine: Coroutine[Any, Any, None] = client(address, tally, self.ending, **settings)
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))

    def so_far(self) -> Tally:
        """Everything up to now, the clients go on."""
        return Tally.together(tally for tallies in self.kinds.values() for tally in tallies)

    async def wait_for(self, requests: int, timeout: float = 30.0) -> None:
        """Until that many more requests were answered; raises TimeoutError."""
        goal = requests + sum(tally.ok for tallies in self.kinds.values() for tally in tallies)
        async with asyncio.timeout(timeout):
            while sum(tally.ok for tallies in self.kinds.values() for tally in tallies) < goal:
                await asyncio.sleep(0.01)

    async def stop(self) -> Summary:
        """Ends the clients after their current request; raises what broke a client, if anything did."""
        if self.summary is not None:
            return self.summary
        self.ending.set()
        self.timer.cancel()
        seconds = time.monotonic() - self.began
        done, pending = (
            await asyncio.wait(self.tasks, timeout=self.mix.timeout + 5)
            if self.tasks
            else (set(), set())
        )
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self.summary = Summary(
            {kind: Tally.together(tallies) for kind, tallies in self.kinds.items()}, seconds
        )
        for task in pending:
            self.summary.whole.fail("timeout", f"client did not end: {task.get_name()}")
        for task in done:
            task.result()
        return self.summary
