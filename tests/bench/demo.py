"""`make demo`, in about a minute: a switch under load, a release that never gets ready, one that fails
one request in ten and goes back by itself, and a rollback.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

from tests.bench.crowd import Crowd, SoFar, failures, lost
from tests.rig import ROOT, Rig, environment
from tests.site.site import Site

SETTINGS = """
[rollout]
steps = [5, 25, 50, 95, 100]
step_time = "2s"
step_requests = 100
step_max = "30s"
bake = "2s"
drain = "1s"
drain_max = "4s"
"""
READINESS = 'path = "/ready"\ndeadline = "3s"\n'
MOST_HURT = 40
"""Of several hundred requests a second; about ten are usual."""
CLIENTS = {"keepalive": 64, "oneshot": 8, "http2": 1, "websockets": 4, "uploads": 0, "think": 0.15}


def say(text: str = "") -> None:
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() and text else text, flush=True)


def type_it(rig: Rig, *words: str) -> int:
    """As a person would: on this very terminal. Returns the exit code."""
    say(f"\n$ relctl {' '.join(words)}")
    around = environment() | {"RELCTL_SOCKET": str(rig.socket)}
    command = [sys.executable, "-m", "relctl", *words]
    return subprocess.run(command, env=around, cwd=ROOT, timeout=60, check=False).returncode


def tell(seen: SoFar, before: SoFar | None = None) -> None:
    sent = seen.sent - (before.sent if before else 0)
    gone = seen.lost + seen.broken - (before.lost + before.broken if before else 0)
    say(f"  clients: requests sent {sent}, lost {gone}; websockets open {seen.websockets}")


def expect(wanted: int, code: int, what: str) -> list[str]:
    return [] if code == wanted else [f"{what}: exit code {code}, not {wanted}"]


def show(rig: Rig, crowd: Crowd) -> tuple[list[str], int]:
    """The four acts: what was not as it should be, and how many requests the bad release failed."""
    time.sleep(2)
    before = crowd.so_far()
    say("\n1. v2 is there: a switch, in steps, while everybody goes on")
    wrong = expect(0, type_it(rig, "switch", "v2"), "switch v2")
    after = crowd.so_far()
    tell(after, before)
    say("\n2. v3 starts, and never gets ready: it never sees a request")
    wrong += expect(1, type_it(rig, "switch", "v3"), "switch v3")
    refused = crowd.so_far()
    tell(refused, after)
    say("\n3. v4 answers one POST in ten with 500: live traffic tells, and it goes back by itself")
    wrong += expect(3, type_it(rig, "switch", "v4"), "switch v4")
    judged = crowd.so_far()
    hurt = judged.lost - refused.lost
    say(
        f"  clients: requests sent {judged.sent - refused.sent}, answered with 500 by v4: {hurt}; "
        "they POST, so nobody could answer for v4"
    )
    if hurt > MOST_HURT:
        wrong.append(f"v4 hurt {hurt} requests")
    say("\n4. somebody does not like v2: back to v1")
    wrong += expect(
        0, type_it(rig, "rollback", "v1", "--reason", "the checkout looks odd"), "rollback"
    )
    tell(crowd.so_far(), judged)
    wrong += expect(0, type_it(rig, "status"), "status")
    if (serves := rig.status()["release"]) != "v1":
        wrong.append(f"v1 should serve, but {serves} does")
    return wrong, hurt


def summary(whole: dict[str, Any]) -> None:
    say("\nWhat the clients saw")
    row = "  {:12} {:>9} {:>7}  {}".format
    print(row("clients", "requests", "failed", "answered by"))
    names = {
        "keepalive": "keep-alive",
        "oneshot": "one-shot",
        "http2": "HTTP/2",
        "websocket": "websockets",
    }
    for kind, seen in whole["kinds"].items():
        by = ", ".join(f"{name} {one['count']}" for name, one in sorted(seen["releases"].items()))
        print(row(names.get(kind, kind), seen["total"], seen["failed"], by))
    codes = [code for code, _, _ in whole["kinds"]["websocket"]["closed"]]
    print(
        f"  websockets that were asked to move at the end of a drain: {codes.count(1001)}, "
        f"cut without a word: {len([c for c in codes if c not in (1000, 1001)])}"
    )


def main() -> int:
    began = time.monotonic()
    say("A site's nginx (TLS, HTTP/2) → the gate (relctl's own nginx) → an app in two slots.")
    who = "root: the app runs as nobody" if os.geteuid() == 0 else "not root: all is yours"
    say(f"Everything is on loopback, in temporary directories ({who}).")
    with Rig(readiness=READINESS, rest=SETTINGS) as rig, Site(rig.listen) as site:
        for name in ("v1", "v2"):
            rig.release(name)
        rig.release("v3", never_ready=True)
        rig.release("v4", error_rate=0.1)
        say("\n0. v1, the first release")
        wrong = expect(0, type_it(rig, "switch", "v1"), "switch v1")
        say(
            "\nNow 64 keep-alive clients that POST and never retry, 8 with a new connection for each "
            "request,\nHTTP/2 streams over TLS and 4 websockets, in a process of their own."
        )
        with Crowd(site.port, site.tls_port, **CLIENTS) as crowd:
            acts, hurt = show(rig, crowd)
            wrong += acts
            whole = crowd.end()
    summary(whole)
    gone = lost(whole) - hurt
    if gone:
        wrong += [f"{gone} requests or websockets were lost", *failures(whole)]
    for line in wrong:
        print(f"  WRONG: {line}", file=sys.stderr)
    sent = sum(seen["total"] for seen in whole["kinds"].values())
    say(
        f"\nrequests sent {sent}, lost {gone}, failed by v4 before it was taken back {hurt}, "
        f"in {time.monotonic() - began:.0f} s."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
