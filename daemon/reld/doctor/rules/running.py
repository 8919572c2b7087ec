"""reld itself: its database, what is degraded, who keeps what, whether it comes back after a boot."""

from __future__ import annotations

from collections.abc import Iterator

from reld.doctor.facts import ReldFacts
from reld.doctor.finding import Area, Desk, Finding

SAY = Desk(Area.RELD)


def findings(facts: ReldFacts) -> Iterator[Finding]:
    yield SAY.ok(f"{facts.unit} {facts.version} answers")
    if facts.damage:
        yield SAY.error(f"the database was damaged: {facts.damage}", "relctl mend")
    elif facts.store_trouble:
        yield SAY.error(
            f"the database cannot be written: {facts.store_trouble}",
            f"df -h /var/lib/relctl; sudo journalctl -u {facts.unit} -n 50",
        )
    else:
        yield SAY.ok("the database is well")
    if facts.degraded:
        yield SAY.error(f"degraded: {facts.degraded}", "relctl status; relctl logs -n 50")
    if facts.waiting:
        yield SAY.warning(facts.waiting, "relctl watch")
    yield from _kept(facts)
    if facts.enabled == "enabled":
        yield SAY.ok("it is started at boot")
    elif facts.enabled:
        yield SAY.warning(
            f"{facts.unit} is {facts.enabled}: after a reboot neither reld nor the app is started",
            f"sudo systemctl enable {facts.unit}",
        )


def _kept(facts: ReldFacts) -> Iterator[Finding]:
    if facts.systemd:
        yield SAY.ok("systemd keeps the app and its gate")
    elif facts.booted and facts.root:
        yield SAY.warning(
            "reld itself keeps the app and its gate, beside a systemd that could: "
            "they have no limits and no units of their own",
            f"sudo systemctl enable --now {facts.unit}, in place of a reld started by hand",
        )
    else:
        yield SAY.ok("reld itself keeps the app and its gate")
