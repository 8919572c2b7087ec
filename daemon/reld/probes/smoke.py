"""Smoke checks: the slow endpoints that do real work, before any user meets them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from reld.probes.probe import probe, seconds
from reld.probes.spec import ExecProbe, HttpProbe, Result
from reld.processes.launch import DIRECT
from reld.processes.spec import Launcher


@dataclass(frozen=True, slots=True)
class SmokeCheck:
    """Ask `times` times, one after the other, each answer as wanted.

    Attributes:
        within: seconds that each of them may take; None: the probe's own timeout alone counts.
        warm: that many calls come first and need nothing but any answer (a command: an end).
    """

    name: str
    probe: HttpProbe | ExecProbe
    times: int = 1
    warm: int = 0
    within: float | None = None


async def smoke(check: SmokeCheck, address: str, launcher: Launcher = DIRECT) -> Result:
    """Run one check against one instance; stops at the first answer that is not as wanted.

    `detail` is a sentence such as "login: answer 3 of 5 took 1.2 s, limit 800 ms". A command gets the
    address in RELCTL_URL. Never raises, except when it is cancelled.
    """
    began = asyncio.get_running_loop().time()
    spec = _with_url(check.probe, address)
    slowest = 0.0
    last = Result(True, "", 0.0)
    for number in range(1, check.warm + 1):
        last = await probe(spec, address, launcher)
        if not _answered(spec, last):
            return _failed(
                check, f"warm-up call {number} of {check.warm}: {last.detail}", last, began
            )
    for number in range(1, check.times + 1):
        last = await probe(spec, address, launcher)
        which = f"answer {number} of {check.times}"
        if not last.ok:
            return _failed(check, f"{which}: {last.detail}", last, began)
        if check.within is not None and last.seconds > check.within:
            slow = f"{which} took {seconds(last.seconds)}, limit {seconds(check.within)}"
            return _failed(check, slow, last, began)
        slowest = max(slowest, last.seconds)
    answers = "answer" if check.times == 1 else "answers"
    detail = f"{check.name}: {check.times} {answers}, the slowest took {seconds(slowest)}"
    return replace(last, ok=True, detail=detail, seconds=_since(began))


def url(address: str) -> str:
    """What RELCTL_URL says: "http://127.0.0.1:21003", or "unix:/path" as it is."""
    return address if address.startswith("unix:") else f"http://{address}"


def _with_url(spec: HttpProbe | ExecProbe, address: str) -> HttpProbe | ExecProbe:
    if isinstance(spec, HttpProbe):
        return spec
    env: Mapping[str, str] = {**spec.env, "RELCTL_URL": url(address)}
    return replace(spec, env=env)


def _answered(spec: HttpProbe | ExecProbe, result: Result) -> bool:
    if isinstance(spec, HttpProbe):
        return result.status is not None
    return result.ok or "exit code" in result.detail


def _failed(check: SmokeCheck, why: str, last: Result, began: float) -> Result:
    return replace(last, ok=False, detail=f"{check.name}: {why}", seconds=_since(began))


def _since(began: float) -> float:
    return asyncio.get_running_loop().time() - began
