"""The same load on what people do without relctl: rewrite the upstream, `nginx -s reload`, at each step."""

from __future__ import annotations

import time

from tests.apps.running import knobs_app
from tests.bench import crowd
from tests.bench.verdicts import Line
from tests.site.site import Site

STEPS = 5


def measure(changes: int, step_time: float, **mix: float) -> tuple[Line, ...]:
    """`changes` rollouts of STEPS reloads each, `step_time` seconds apart; both apps run all the time."""
    with knobs_app("v1") as one, knobs_app("v2") as two, Site(one.port) as site:
        with crowd.Crowd(site.port, site.tls_port, **mix) as clients:
            time.sleep(1.0)
            for number in range(changes * STEPS):
                site.change_upstream((two, one)[number % 2].port)
                time.sleep(step_time)
            whole = clients.end()
    gone, sent = crowd.lost(whole), crowd.sent(whole)
    kinds = ", ".join(
        f"{name} {seen['failed']}" for name, seen in whole["kinds"].items() if seen["failed"]
    )
    broken = len(crowd.broken_websockets(whole))
    return (
        Line(
            f"the same load, the site's nginx reloaded {changes * STEPS} times instead",
            f"{gone} of {sent} lost ({kinds or 'none'}, websockets cut {broken})",
            "(loses)",
        ),
    )
