"""The clients in a process of their own, which says what they saw so far whenever it is asked.

    python -m tests.bench.crowd HOST PORT [TLS_PORT] [--set keepalive=8 …]

A line on stdin is answered by a line of JSON (totals up to now); the end of stdin stops the clients, and
the last line is the whole report (see tests.load).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, dataclass, fields
from typing import Any

from tests.load.__main__ import report
from tests.load.apart import Apart
from tests.load.load import Load, Mix

CLEAN_CLOSE = (1000, 1001)


@dataclass(frozen=True, slots=True)
class SoFar:
    sent: int
    lost: int
    websockets: int  # open now
    said_goodbye: int  # websockets that the server closed with a close frame
    broken: int  # websockets that ended without one


class Crowd(Apart):
    """`with Crowd(port, tls_port, keepalive=64) as crowd: crowd.so_far(); whole = crowd.end()`."""

    def __init__(self, port: int, tls_port: int | None = None, **mix: float) -> None:
        secure = [str(tls_port)] if tls_port is not None else []
        wanted = [f"{name}={value}" for name, value in mix.items()]
        super().__init__("tests.bench.crowd", "127.0.0.1", str(port), *secure, "--set", *wanted)

    def so_far(self) -> SoFar:
        return SoFar(**self.asked())

    def end(self) -> dict[str, Any]:
        """Stops the clients after their last answer; what all of them saw, see `tests.load`."""
        return dict(self.last())


def sent(whole: dict[str, Any]) -> int:
    return sum(kind["total"] for kind in whole["kinds"].values())


def lost(whole: dict[str, Any]) -> int:
    return sum(kind["failed"] for kind in whole["kinds"].values()) + len(broken_websockets(whole))


def broken_websockets(whole: dict[str, Any]) -> list[float]:
    """When websockets ended without a word (monotonic seconds)."""
    closed = whole["kinds"].get("websocket", {"closed": []})["closed"]
    return [when for code, _, when in closed if code not in CLEAN_CLOSE]


def failures(whole: dict[str, Any], most: int = 10) -> list[str]:
    return [
        f"{name}: {kind}: {detail} at {when:.3f}"
        for name, seen in whole["kinds"].items()
        for kind, detail, when in seen["failures"]
    ][:most]


def now(load: Load, mix: Mix) -> SoFar:
    seen = load.so_far()
    closed = [end for end in seen.closed if end.code not in CLEAN_CLOSE]
    # A websocket that is closed is opened again at once, so all of them are open, or a failure is counted.
    return SoFar(
        seen.total, len(seen.failed), mix.websockets, len(seen.closed) - len(closed), len(closed)
    )


async def serve(host: str, port: int, tls_port: int | None, mix: Mix) -> dict[str, Any]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with Load(host, port, tls_port=tls_port, mix=mix) as load:
        while await reader.readline():
            print(json.dumps(asdict(now(load, mix))), flush=True)
        return report(await load.stop())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.crowd")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("tls_port", type=int, nargs="?")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="see Mix")
    arguments = parser.parse_args()
    kinds = {field.name: type(field.default) for field in fields(Mix)}
    pairs = (pair.split("=", 1) for pair in arguments.set)
    mix = Mix(**{name: kinds[name](value) for name, value in pairs})
    whole = asyncio.run(serve(arguments.host, arguments.port, arguments.tls_port, mix))
    print(json.dumps(whole))


if __name__ == "__main__":
    main()
