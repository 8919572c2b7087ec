"""The config: what does not load, and what loads and will disappoint."""

from __future__ import annotations

from collections.abc import Iterator

from reld.doctor.facts import ConfigFacts, Past
from reld.doctor.finding import Area, Desk, Finding, span, toml_span

SAY = Desk(Area.CONFIG)
NEAR = 0.7
"""Of a deadline: nearer than this, a slow day is over it."""


def findings(facts: ConfigFacts) -> Iterator[Finding]:
    if facts.findings:
        more = f" (and {len(facts.findings) - 1} more)" if len(facts.findings) > 1 else ""
        yield SAY.error(
            f"no switch can begin: {facts.findings[0]}{more}", f"sudo reld {facts.path} --check"
        )
        return
    yield SAY.ok(f"{facts.path} loads")
    if facts.news:
        yield SAY.warning(f"{facts.path} {facts.news}", "relctl restart, or the next switch")
    if facts.external is not None:
        stop = f"; sudo systemctl disable --now {facts.external}" if facts.external else ""
        yield SAY.warning(
            "[external] has had its time: the app that ran before gets no requests any more",
            f"remove [external] from {facts.path}{stop}",
        )
    yield from _rollout(facts)
    yield from _readiness(facts)
    yield from _drain(facts)


def _rollout(facts: ConfigFacts) -> Iterator[Finding]:
    if facts.smoke:
        checks = f"{facts.smoke} smoke check{'s' * (facts.smoke > 1)}"
        yield SAY.ok(f"{checks} before the first user")
    else:
        yield SAY.warning(
            "there is no [[smoke]]: the first users are the first who use a new release",
            f'in {facts.path}: [[smoke]] name = "home", path = "/", contains = "…"',
        )
    if facts.bake == 0:
        yield SAY.warning(
            "bake is 0: once all traffic has moved there is no way back in an instant",
            f'in {facts.path}: [rollout] bake = "10m"',
        )
    rate, needed = facts.rate, facts.step_requests
    if rate is None or len(facts.steps) < 2:
        return
    most = rate * facts.step_max
    if needed and most < needed:
        yield SAY.warning(
            f"at {rate:.2g} requests a second a step sees {most:.0f} of the {needed} of"
            f" step_requests within {span(facts.step_max)}: rollouts will end unproven",
            f"in {facts.path}: [rollout] step_requests = {max(1, int(most / 2))}, or a longer"
            " step_max",
        )
    elif needed:
        yield SAY.ok(f"a step gets its {needed} requests in {span(needed / rate)}")


def _readiness(facts: ConfigFacts) -> Iterator[Finding]:
    times = [p.starting for p in facts.pasts if p.starting is not None and p.outcome == "done"]
    if not times:
        return
    slowest = max(times)
    if slowest > NEAR * facts.ready_deadline:
        yield SAY.warning(
            f"a release took {span(slowest)} to be ready, and the deadline is"
            f" {span(facts.ready_deadline)}: on a slow day a good release is refused",
            f'in {facts.path}: [readiness] deadline = "{toml_span(2 * slowest)}"',
        )
    else:
        yield SAY.ok(f"ready after {span(slowest)} at most, of {span(facts.ready_deadline)}")


def _drain(facts: ConfigFacts) -> Iterator[Finding]:
    longest = max(facts.longest or 0.0, 0.0)
    if facts.drain_max < facts.gate_timeout:
        yield SAY.warning(
            f"drain_max is {span(facts.drain_max)}, and the gate waits {span(facts.gate_timeout)} for"
            " an answer: a request that takes longer than the drain is cut",
            f'in {facts.path}: [rollout] drain_max = "{toml_span(facts.gate_timeout)}", or a shorter'
            " [gate] timeout",
        )
    elif longest > facts.drain_max:
        yield SAY.warning(
            f"requests took up to {span(longest)} lately, and a slot that leaves has"
            f" {span(facts.drain_max)}: such a one would be cut",
            f'in {facts.path}: [rollout] drain_max = "{toml_span(longest * 1.5)}"',
        )
    else:
        yield SAY.ok(f"a slot that leaves has up to {span(facts.drain_max)} for its requests")
    yield from _cut(facts.pasts, facts)


def _cut(pasts: tuple[Past, ...], facts: ConfigFacts) -> Iterator[Finding]:
    last = next((past for past in pasts if past.outcome == "done"), None)
    if last is not None and last.cut and not facts.streams:
        yield SAY.warning(
            f"rollout {last.id} cut {last.cut} connection{'s' * (last.cut > 1)} at the end of its drain",
            f"in {facts.path}: websockets? [gate] websockets = "
            '{ keep = "5m", close_over = "30s" }; else a longer drain_max',
        )
