"""The app: does its readiness say the truth, and does it stop, stay up and keep its memory?

Whether an endpoint looks at what the app needs cannot be seen from outside. What can be seen is where it
was wrong, and what it cannot have done in the time it took: the first is told as what happened, the second
as a question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from reld.doctor.facts import AppFacts, Asked, InstanceFacts, Past
from reld.doctor.finding import Area, Desk, Finding, size, span

SAY = Desk(Area.APP)
FEWEST = 20
"""Requests of the last seconds below which their errors say little."""
MANY_ERRORS, MOST_ERRORS = 0.05, 0.2
HARDLY_A_QUESTION = 0.001
"""Seconds: in less, hardly anything but the app itself can have been asked."""
SLOW_LIVENESS = 0.1
GROWTH = 10 << 20
"""Bytes a minute; less than that is no news."""
_DATABASE = re.compile(
    r"database|postgres|mysql|mariadb|mongo|redis|sqlite|\bdb\b|\bsql\b", re.IGNORECASE
)
_LOCAL_WAYS = "bind 127.0.0.1, such as --bind 127.0.0.1:{port}"


def findings(facts: AppFacts) -> Iterator[Finding]:
    yield from _was_wrong(facts)
    if facts.release:
        yield from _ready_and_failing(facts)
        yield from _depends_on_nothing(facts)
        yield from _liveness(facts)
        for instance in facts.instances:
            yield from _instance(instance, facts)
        yield from _memory(facts)
    yield from _stops(facts)


def _was_wrong(facts: AppFacts) -> Iterator[Finding]:
    """Ready, and the smoke check right after it failed."""
    wrong = [past for past in facts.pasts if past.failed_smoke]
    last_done = next((p.id for p in facts.pasts if p.outcome == "done"), 0)
    # Once may have been a bug that no readiness can know of, and is over with the next good release.
    if not wrong or (len(wrong) == 1 and wrong[0].id < last_done):
        return
    newest = wrong[0]
    often = f", as in {len(wrong) - 1} more of the last rollouts" if len(wrong) > 1 else ""
    yield SAY.warning(
        f"readiness said yes too early: {newest.release} was ready in rollout {newest.id} and then"
        f" failed its smoke check: {newest.failed_smoke}{often}",
        f"have {facts.readiness or 'the readiness check'} ask what that check needs;"
        f" relctl show {newest.id}",
    )


def _ready_and_failing(facts: AppFacts) -> Iterator[Finding]:
    if facts.errors is None or facts.requests < FEWEST:
        return
    if facts.errors < MANY_ERRORS:
        yield SAY.ok(f"{facts.errors * 100:.1f} % of {facts.requests} requests failed lately")
        return
    failing = f"{facts.errors * 100:.0f} % of {facts.requests} requests failed in the last seconds"
    if facts.instances and all(instance.ready for instance in facts.instances):
        failing += ", while readiness says yes"
    mend = "relctl logs -n 100; if it is the release: relctl rollback"
    level = SAY.error if facts.errors >= MOST_ERRORS else SAY.warning
    yield level(failing, mend)


def _depends_on_nothing(facts: AppFacts) -> Iterator[Finding]:
    ready, nowhere = facts.ready, facts.nowhere
    if facts.connects_only:
        yield SAY.warning(
            "readiness only connects: an app that listens before it can serve counts as ready",
            '[readiness] path = "/ready", an endpoint that asks what the app needs',
        )
        return
    if ready is None or not ready.ok:
        if ready is not None:
            yield SAY.warning(
                f"readiness says no just now: {ready.detail}", "relctl status; relctl logs -n 50"
            )
        return
    if nowhere is not None and nowhere.ok and nowhere.body == ready.body:
        yield SAY.warning(
            f"{ready.path} says nothing: the app answers {nowhere.path}, which cannot exist, just so",
            "[readiness] path = an endpoint of its own, not the page that catches all",
        )
        return
    slowest = max(ready.times, default=0.0)
    if facts.peers and slowest < HARDLY_A_QUESTION:
        yield SAY.warning(
            f"{ready.path} answers within {span(slowest)}, and the app has connections to"
            f" {', '.join(facts.peers[:3])}: does it look at them?",
            f"if releases cannot serve without them, have {ready.path} ask them",
        )
        return
    yield SAY.ok(f"{ready.path} is ready within {span(slowest)}")


def _liveness(facts: AppFacts) -> Iterator[Finding]:
    if not facts.liveness:
        yield SAY.ok("liveness: it runs and accepts connections")
        return
    mend = "[liveness] path = an endpoint that asks nothing else, or no [liveness] at all"
    if facts.liveness == facts.readiness:
        yield SAY.warning(
            f"liveness asks {facts.liveness}, as readiness does: when something that it needs is away,"
            " instances are restarted, which does not bring that back",
            mend,
        )
    elif facts.live is not None and (why := _asks_a_database(facts.live)):
        yield SAY.warning(
            f"liveness seems to depend on more than the app: {facts.liveness} {why};"
            " when that is away, instances are restarted for nothing",
            mend,
        )
    else:
        yield SAY.ok(f"liveness asks {facts.liveness}")


def _asks_a_database(live: Asked) -> str:
    if named := _DATABASE.search(live.body):
        return f'speaks of "{named[0]}"'
    fastest = min(live.times, default=0.0)
    return f"takes {span(fastest)} at least" if fastest > SLOW_LIVENESS else ""


def _instance(instance: InstanceFacts, facts: AppFacts) -> Iterator[Finding]:
    if instance.listens in ("0.0.0.0", "::"):
        yield SAY.warning(
            f"{instance.name} listens on {instance.listens}: who reaches this machine reaches the app"
            " past nginx and the gate",
            f"[app] command: {_LOCAL_WAYS}",
        )
    elif instance.listens:
        yield SAY.ok(f"{instance.name} listens on {instance.listens} only")
    if instance.restarts:
        how = f" ({instance.detail})" if instance.detail else ""
        yield SAY.warning(
            f"{instance.name} was restarted {instance.restarts} time"
            f"{'s' * (instance.restarts > 1)} since {facts.release} is live{how}",
            "relctl logs -n 100",
        )


def _memory(facts: AppFacts) -> Iterator[Finding]:
    if facts.growth is None or facts.memory is None:
        return
    if facts.growth >= max(GROWTH, 0.05 * facts.memory):
        yield SAY.warning(
            f"its memory grows by {size(facts.growth)} a minute, and is {size(facts.memory)}",
            '[app] memory_max = "…" bounds it; relctl restart, without losing a request, frees it',
        )
    else:
        yield SAY.ok(f"its memory is {size(facts.memory)} and stays so")


def _stops(facts: AppFacts) -> Iterator[Finding]:
    stopped = [p for p in facts.pasts if p.stopping is not None and p.stopping > 0]
    if not stopped or facts.stop_timeout <= 0:
        return
    last = stopped[0]
    took = last.stopping or 0.0
    if took >= facts.stop_timeout:
        yield SAY.warning(
            f"the app seems to ignore {facts.stop_signal}: in rollout {last.id} it was not gone after"
            f" {span(facts.stop_timeout)} and was killed",
            "a script that starts it ends with: exec PROGRAM; or another [app] stop_signal",
        )
    else:
        yield SAY.ok(f"it stopped within {span(took)} of {facts.stop_signal}")


def past_of(receipt: dict[str, object]) -> Past:
    """What the doctor wants of a receipt object."""
    spent = {
        str(phase["phase"]): float(phase["seconds"])
        for phase in _list(receipt.get("phases"))
        if isinstance(phase, dict)
    }
    reason = str(receipt.get("reason") or "").partition("\n")[0]
    failed = reason.removeprefix("smoke check failed: ") if "proving" in spent else reason
    drain = receipt.get("drain")
    cut = drain.get("cut") if isinstance(drain, dict) else 0
    return Past(
        id=int(str(receipt["id"])),
        release=str(receipt.get("to") or receipt.get("from") or ""),
        outcome=str(receipt.get("outcome") or ""),
        kind=str(receipt.get("kind") or ""),
        starting=spent.get("starting"),
        stopping=spent.get("stopping"),
        failed_smoke=failed if failed != reason else "",
        cut=cut if isinstance(cut, int) else 0,
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
