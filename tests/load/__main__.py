"""Load from a process of its own, so that clients and measuring code do not share a thread.

    python -m tests.load HOST PORT [--tls-port N] [--seconds N] [--set keepalive=8 …]

Ends after `--seconds`, or when stdin, if it is a pipe, ends or says something. Prints one JSON object: totals, failures (the first 100), closed
websockets, per release the count and the begins of its first and last request, and `samples`: a list of
[begin, latency] in seconds, begins on the monotonic clock that all processes share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import stat
from dataclasses import fields
from typing import Any

from tests.load.load import Load, Mix, Summary
from tests.load.tally import Tally


def described(tally: Tally) -> dict[str, Any]:
    return {
        "total": tally.total,
        "ok": tally.ok,
        "retried": tally.retried,
        "failed": len(tally.failed),
        "failures": tally.failed[:100],
        "closed": tally.closed,
        "releases": {
            name: {"count": seen.count, "first": seen.first, "last": seen.last}
            for name, seen in tally.releases.items()
        },
        "samples": list(zip(tally.began, tally.latencies, strict=True)),
    }


def report(summary: Summary) -> dict[str, Any]:
    kinds = {kind: described(tally) for kind, tally in summary.kinds.items()}
    return {"seconds": summary.seconds, "text": summary.text(), "kinds": kinds}


async def run(arguments: argparse.Namespace) -> Summary:
    kinds = {field.name: type(field.default) for field in fields(Mix)}
    pairs = (pair.split("=", 1) for pair in arguments.set)
    mix = Mix(**{name: kinds[name](value) for name, value in pairs})
    ended = asyncio.Event()
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        asyncio.get_running_loop().add_reader(0, ended.set)
    async with Load(arguments.host, arguments.port, tls_port=arguments.tls_port, mix=mix) as load:
        try:
            await asyncio.wait_for(ended.wait(), arguments.seconds)
        except TimeoutError:
            pass
        return await load.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description="a mix of clients")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="see Mix")
    print(json.dumps(report(asyncio.run(run(parser.parse_args())))))


if __name__ == "__main__":
    main()
