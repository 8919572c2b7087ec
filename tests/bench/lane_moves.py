"""How long a move of the lanes takes, and that together with the gate's own word that it obeys."""

from __future__ import annotations

import asyncio
import statistics
import time

from reld.nginx import lanes
from tests.bench.verdicts import Line
from tests.contract.gate_support import App, a_gate, both, load

MOVES = 200
SHARES = (5, 25, 50, 95, 100, 0)
ROLLOUT = 7
LIMIT = 0.005


async def timed() -> tuple[list[float], list[float]]:
    """Seconds of each bare move, and of each move with the question whether the gate obeys."""
    bare, asked = [], []
    async with a_gate() as gate:
        gate.prepare_lanes(ROLLOUT, SHARES)
        # Nobody has to listen there: the gate is asked on its status port.
        old, new = App("v1", address="127.0.0.1:9"), App("v2", address="127.0.0.1:10")
        await load(gate, 1, both(old, new, ROLLOUT))
        for number in range(MOVES):
            share = SHARES[number % len(SHARES)]
            began = time.perf_counter()
            lanes.move_now(gate.settings.runtime, ROLLOUT, share)
            bare.append(time.perf_counter() - began)
            began = time.perf_counter()
            await gate.move(ROLLOUT, share)
            asked.append(time.perf_counter() - began)
    return bare, asked


def words(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1000:.2f} ms, max {max(seconds) * 1000:.2f} ms"


def measure() -> tuple[Line, ...]:
    bare, asked = asyncio.run(timed())
    return (
        Line(f"lane move ({MOVES})", words(bare), "≤ 5 ms", met=max(bare) <= LIMIT),
        Line("… with the question whether the gate obeys", words(asked)),
    )
