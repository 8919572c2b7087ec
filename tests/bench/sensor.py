"""What the sensor costs: reld per line, its memory over ten million of them, and the gate."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from reld.core.model import Color, Routing, Target
from reld.nginx.counting import Counting
from reld.nginx.gate import Gate
from reld.nginx.requests import Tail
from tests.bench.verdicts import Line
from tests.contract.gate_support import a_home, end, free_address, load, make_settings

LINES = 10_000_000
PIECE = 100_000
RATE = 10_000
"""Lines a second that the generated log has: the most before it is thinned."""
MICROSECONDS = 5.0
PER_SECOND = 100_000
GROWTH = 4 << 20
ROUNDS = 10
SECONDS = 2
RATIO = 0.95
OLD, NEW = "127.0.0.1:21001", "127.0.0.1:21002"


def measure() -> tuple[Line, ...]:
    return (*reading(), *throughput())


# -- reld's part -------------------------------------------------------------------------------------


def reading() -> Iterator[Line]:
    """In a process of its own, so that memory is the sensor's."""
    for kind, lines in (("plain", LINES), ("sticky", LINES // 5)):
        command = [sys.executable, "-m", "tests.bench.sensor", kind, str(lines)]
        said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert said["counted"] == lines, said
        micros, per_second = said["seconds"] / lines * 1e6, lines / said["seconds"]
        what = f"tail and counting, {kind} split, {lines / 1e6:g} M lines"
        yield Line(f"{what}: reld's CPU per line", f"{micros:.2f} µs", f"≤ {MICROSECONDS:g} µs",
                   met=micros <= MICROSECONDS)  # fmt: skip
        yield Line(f"{what}: lines per second and core", f"{per_second:,.0f}",
                   f"≥ {PER_SECOND:,}", met=per_second >= PER_SECOND)  # fmt: skip
        growth = said["after"] - said["before"]
        yield Line(f"{what}: growth of the process after the first tenth",
                   f"{growth / 1024:.0f} KiB of {said['after'] >> 20} MiB",
                   f"≤ {GROWTH >> 20} MiB", met=growth <= GROWTH, binding=True)  # fmt: skip


def read_many(kind: str, lines: int) -> None:
    chance = random.Random(1)
    clients = [f"{chance.getrandbits(128):032x}" for _ in range(50_000)] if kind == "sticky" else []
    with tempfile.TemporaryDirectory(dir=memory()) as home:
        log = Path(home) / "requests.log"
        log.touch()
        tail, before = Tail(log), 0
        counting = Counting([OLD], [NEW], {"login": (302,)}, sticky=bool(clients))
        spent, counted = 0.0, 0
        for number in range(lines // PIECE):
            # A log of its own for each piece, as after a rotation; seconds go on.
            log.write_text(piece(chance, 1_753_888_000 + number * (PIECE // RATE), clients))
            began = time.process_time()
            while raw := tail.read_raw():
                counted += counting.feed(raw, 5).lines
            spent += time.process_time() - began
            log.unlink()
            if number == lines // PIECE // 10:
                before = resident()
        print(json.dumps({"seconds": spent, "counted": counted, "before": before,
                          "after": resident()}))  # fmt: skip


def piece(chance: random.Random, since: int, clients: list[str]) -> str:
    """Lines as of a page with some routes: two slots, a few errors, times that are all different."""
    drawn = chance.choices(SHAPES, weights=[s[0] for s in SHAPES], k=PIECE)
    found = []
    for number, (_, said) in enumerate(drawn):
        header = chance.lognormvariate(-4, 1)
        client = chance.choice(clients) if clients else "-"
        at = since + number / RATE
        found.append(f"{at:.3f}|{header + 0.001:.3f}|{header:.3f}|{client}|{said}\n")
    return "".join(found)


SHAPES = [
    (weight * share, f"{address}|{status}|{status}|{method}|plain|-|7|3|{route}")
    for address, share in ((OLD, 0.95), (NEW, 0.05))
    for method in ("GET", "POST")
    for route in ("-", "checkout", "login", "search")
    for status, weight in (("200", 0.9), ("302", 0.05), ("404", 0.04), ("500", 0.01))
]


def memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# -- the gate's part ---------------------------------------------------------------------------------


class Unlogged(Gate):
    """The same gate without the sensor."""

    def render(self, generation: int, routing: Routing) -> str:
        text = re.sub(r"access_log \S+ relctl .*;", "access_log off;",
                      super().render(generation, routing))  # fmt: skip
        return re.sub(r"if \(-f \S+/thin\) \{.*\}", "", text)


def throughput() -> tuple[Line, ...]:
    if shutil.which("wrk") is None:
        return (Line("the gate with its sensor ÷ without", "wrk is not installed"),)
    with_, without, read = asyncio.run(alternating())
    # Neighbours in time are compared: what slows the machine down for a while slows both.
    ratio = statistics.median(a / b for a, b in zip(with_, without, strict=True))
    return (
        Line(
            f"the gate with its sensor ÷ without, nginx as the app ({statistics.median(with_):.0f}/s, "
            f"{statistics.median(without):.0f}/s, {ROUNDS} pairs, {read} lines read meanwhile)",
            f"{ratio:.3f}",
            f"≥ {RATIO}",
            met=ratio >= RATIO,
        ),
    )


async def alternating() -> tuple[list[float], list[float], int]:
    async with a_home() as home, an_nginx(home) as app:
        routing = Routing(
            Target(Color.BLUE, "v1", (app,)),
            Target(Color.GREEN, "v2", (app.replace(".1:", ".2:"),)),
            7,
        )
        gates: list[Gate] = []
        try:
            for kind in (Gate, Unlogged):
                own = home / kind.__name__
                own.mkdir()
                (own / "run").mkdir()
                gates.append(kind(make_settings(own)))
                gates[-1].prepare_lanes(7)
                await load(gates[-1], 1, routing)
                await gates[-1].move(7, 5)
            return await rates(gates, Counting([app], [app.replace(".1:", ".2:")]))
        finally:
            for gate in gates:
                await end(gate.settings)


async def rates(gates: list[Gate], counting: Counting) -> tuple[list[float], list[float], int]:
    found: tuple[list[float], list[float]] = ([], [])
    read, stop = 0, threading.Event()

    def follow() -> None:
        nonlocal read
        tail = Tail(gates[0].settings.request_log, uid=gates[0].owner.uid)
        while not stop.wait(0.1):
            while raw := tail.read_raw():
                read += counting.feed(raw, 5).lines
            gates[0].tend_log(tail)

    following = asyncio.create_task(asyncio.to_thread(follow))
    for gate in gates:
        await asyncio.to_thread(per_second, gate.settings.listen)  # warm
    for number in range(ROUNDS):
        # Who begins changes, so that neither has the other's leftovers all the time.
        for at in sorted((0, 1), reverse=bool(number % 2)):
            found[at].append(await asyncio.to_thread(per_second, gates[at].settings.listen))
    stop.set()
    await following
    return *found, read


def per_second(address: str) -> float:
    command = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", f"http://{address}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise RuntimeError(f"cannot measure: {text}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found is not None, text
    return float(found[1])


@contextlib.asynccontextmanager
async def an_nginx(home: Path) -> AsyncIterator[str]:
    """An app that costs next to nothing, on two addresses, so that the gate's share is large."""
    address, config = free_address(), home / "app.conf"
    port = address.rpartition(":")[2]
    config.write_text(
        f"daemon off; pid {home}/app.pid; error_log /dev/null; worker_processes 1;\n"
        "events { worker_connections 1024; }\n"
        "http { access_log off; keepalive_requests 1000000;\n"
        f"server {{ listen 127.0.0.1:{port}; listen 127.0.0.2:{port};\n"
        '    location / { return 200 "hello\\n"; } } }\n'
    )
    process = subprocess.Popen(["/usr/sbin/nginx", "-p", str(home), "-c", str(config)])
    try:
        async with asyncio.timeout(10):
            while not (home / "app.pid").exists():
                await asyncio.sleep(0.01)
        yield address
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    read_many(sys.argv[1], int(sys.argv[2]))
