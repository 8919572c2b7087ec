"""Requests a second through site and gate, next to the site's plain `proxy_pass` to the same app."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.apps.running import started
from tests.bench import crowd
from tests.bench.verdicts import Line
from tests.rig import Rig
from tests.site.site import Site, free_ports

HERE = Path(__file__).parent
ROUNDS = 6
SECONDS = 2
RATIO = 0.9


def per_second(port: int) -> float:
    """wrk where there is one, our own clients otherwise."""
    if shutil.which("wrk") is None:
        with crowd.Crowd(port, keepalive=32, oneshot=0, websockets=0, uploads=0, think=0) as load:
            time.sleep(SECONDS)
            whole = load.end()
        return float(crowd.sent(whole)) / float(whole["seconds"])
    command = ["wrk", "-t1", "-c32", f"-d{SECONDS}s", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"cannot measure: {text}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found is not None, text
    return float(found[1])


def measure() -> tuple[Line, ...]:
    """A page as apps have them decides; next to it an answer that costs the app nothing."""
    free = ["--chdir", str(HERE.parent / "apps"), "wsgi:application"]
    page = ["--chdir", str(HERE), "page:application"]
    return (
        line("a page of some 2 ms", page, RATIO),
        line("an app that does nothing at all", free, None),
    )


def line(what: str, application: list[str], wanted: float | None) -> Line:
    rates = alternating(application)
    plain, gated = (statistics.median(rates[name]) for name in ("plain", "gated"))
    # Neighbours in time are compared: what slows the machine down for a while slows both.
    pairs = zip(rates["gated"], rates["plain"], strict=True)
    ratio = statistics.median(one / other for one, other in pairs)
    return Line(
        f"throughput, gunicorn with {what}: site + gate ÷ site alone "
        f"({gated:.0f}/s, {plain:.0f}/s, {ROUNDS} pairs)",
        f"{ratio:.2f}",
        "" if wanted is None else f"≥ {wanted}",
        met=None if wanted is None else ratio >= wanted,
    )


def alternating(application: list[str]) -> dict[str, list[float]]:
    """gunicorn is the external live slot of a reld, so the gate is as it is between rollouts."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    command += ["--threads", "8", "--log-level", "warning", "--no-control-socket", *application]
    external = f'[external]\naddress = "127.0.0.1:{port}"\nunit = "shop.service"\n'
    rates: dict[str, list[float]] = {"plain": [], "gated": []}
    with started(command, port, "v1", {}), Rig(tables=external) as rig:
        rig.wait_status(lambda status: status["live"] is not None)
        with Site(port) as plain, Site(rig.listen) as gated:
            sites = {"plain": plain.port, "gated": gated.port}
            for at in sites.values():
                per_second(at)  # warm
            for number in range(ROUNDS):
                # Who begins changes, so that neither has the other's leftovers all the time.
                for name in sorted(sites, reverse=bool(number % 2)):
                    rates[name].append(per_second(sites[name]))
    return rates
