"""The gate, and the site's nginx before it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from reld.doctor.facts import GateFacts, SiteFacts
from reld.doctor.finding import Area, Desk, Finding, span
from reld.doctor.sites import Proxy

SAY = Desk(Area.NGINX)
_RELOAD = "sudo nginx -t && sudo systemctl reload nginx"


def findings(gate: GateFacts, site: SiteFacts) -> Iterator[Finding]:
    yield from _binary(gate)
    yield from _gate(gate)
    yield from _site(gate, site)


def _binary(gate: GateFacts) -> Iterator[Finding]:
    if gate.version:
        yield SAY.ok(f"{gate.binary} is nginx {gate.version}")
    else:
        yield SAY.error(
            f"{gate.binary} cannot be run: the gate could not start again",
            "sudo apt install nginx",
        )


def _gate(gate: GateFacts) -> Iterator[Finding]:
    restart = f"sudo systemctl status {gate.unit}; sudo systemctl restart {gate.unit}"
    if gate.wanted == 0 and gate.answers is None:
        yield SAY.ok("no gate so far: the first rollout starts it")
        return
    if gate.answers is None:
        yield SAY.error(f"the gate does not answer at {gate.status}", restart)
    elif gate.answers != gate.wanted:
        yield SAY.warning(
            f"the gate serves generation {gate.answers}, not {gate.wanted}: reld is at it, or it was"
            " reloaded by somebody else",
            "relctl status; again in a few seconds: relctl check",
        )
    else:
        yield SAY.ok(f"the gate serves generation {gate.answers}")
    if gate.holder:
        yield SAY.error(
            f"{gate.listen} is not the gate's: {gate.holder} listens there",
            f"end that, or choose another port in [gate] listen; {restart}",
        )
    elif gate.listens is False:
        yield SAY.error(f"nobody listens at {gate.listen}, where the site sends users", restart)
    elif gate.listens:
        yield SAY.ok(f"the gate listens at {gate.listen}")


def _site(gate: GateFacts, site: SiteFacts) -> Iterator[Finding]:
    ours = [p for p in site.proxies if _gate_spelling(p, gate.listen)]
    old = [p for p in site.proxies if set(p.addresses) & _spellings(site.old)]
    if ours:
        names = list(dict.fromkeys(p.name for p in ours))
        yield SAY.ok(f"{', '.join(names[:3])} leads to the gate ({ours[0].place})")
    elif site.why_not:
        yield SAY.warning(
            f"cannot tell whether the site leads to the gate: {site.why_not}",
            f"sudo nginx -T | grep -n {gate.listen}",
        )
    elif not old:
        yield SAY.warning(
            f"no site of this machine's nginx leads to the gate at {gate.listen}",
            f"in the site: proxy_pass http://{gate.listen}; then {_RELOAD}",
        )
    for proxy in _by_place(old):
        yield SAY.warning(
            f"{proxy.name} still goes past the gate, to {_text(proxy)} ({proxy.place}):"
            " no release reaches those users",
            f"{_change(proxy, gate.listen, site.old)}; {_RELOAD}",
        )
    yield from _straight(gate, site)
    for proxy in _by_place(ours):
        yield from _ours(proxy, gate)


def _straight(gate: GateFacts, site: SiteFacts) -> Iterator[Finding]:
    """An instance's port is another one after each switch."""
    first, last = site.ports
    for proxy in _by_place(site.proxies):
        wrong = [a for a in proxy.addresses if _on_loopback(a) and first <= _port(a) <= last]
        if wrong and gate.listen not in wrong:
            yield SAY.error(
                f"{proxy.name} goes straight to an instance's port, {wrong[0]} ({proxy.place}):"
                " after the next switch nobody answers there",
                f"{_change(proxy, gate.listen, wrong)}; {_RELOAD}",
            )


def _ours(proxy: Proxy, gate: GateFacts) -> Iterator[Finding]:
    beside = [a for a in proxy.addresses if a not in _spellings((gate.listen,))]
    if beside:
        yield SAY.warning(
            f"upstream {proxy.upstream} of {proxy.name} has {', '.join(beside)} beside the gate"
            f" ({proxy.servers[0].file}:{proxy.servers[0].line}): those users go past it",
            f"one server in that upstream: server {gate.listen}; then {_RELOAD}",
        )
    if _localhost(gate.listen) in proxy.addresses:
        yield SAY.warning(
            f"{proxy.name} says localhost ({proxy.place}): nginx takes [::1] too,"
            " where the gate does not listen, and tries it for nothing",
            f"{_change(proxy, gate.listen, (_localhost(gate.listen),))}; {_RELOAD}",
        )
    if proxy.read_timeout < gate.timeout:
        yield SAY.warning(
            f"{proxy.name} gives up after {span(proxy.read_timeout)} ({proxy.place}), and the gate"
            f" waits {span(gate.timeout)} for the app: in between users get a 504 that nobody judges",
            f"there: proxy_read_timeout {gate.timeout + 5:g}s; or [gate] timeout ="
            f' "{proxy.read_timeout:g}s"',
        )


def _change(proxy: Proxy, listen: str, old: Sequence[str]) -> str:
    """The line that a person types."""
    wanted = _spellings(old)
    for server in proxy.servers:
        if server.address in wanted:
            return _sed(server.file, server.line, server.text, listen)
    address = next((a for a in proxy.addresses if a in wanted), "")
    plain = address if address in proxy.text else address.rpartition(":")[0]
    if f"{plain}:/" in proxy.text:  # http://unix:/run/web.sock:/uri
        plain += ":"
    return _sed(proxy.file, proxy.line, f"//{plain}", f"//{listen}")


def _sed(file: str, line: int, old: str, new: str) -> str:
    plain = re.sub(r"[][\\*^$|]", r"\\\g<0>", old)
    script = shlex.quote(f"{line}s|{plain}|{new}|")
    return f"sudo sed -i --follow-symlinks {script} {shlex.quote(file)}"


def _by_place(proxies: Sequence[Proxy]) -> list[Proxy]:
    """One file may be part of several sites."""
    return list({p.place: p for p in reversed(proxies)}.values())[::-1]


def _text(proxy: Proxy) -> str:
    return ", ".join(proxy.addresses)


def _gate_spelling(proxy: Proxy, listen: str) -> bool:
    return not _spellings((listen,)).isdisjoint(proxy.addresses)


def _spellings(addresses: Sequence[str]) -> set[str]:
    return {*addresses, *(_localhost(a) for a in addresses if a.startswith("127.0.0.1:"))}


def _localhost(address: str) -> str:
    return f"localhost:{address.rpartition(':')[2]}"


def _on_loopback(address: str) -> bool:
    return address.startswith(("127.", "localhost:", "[::1]:"))


def _port(address: str) -> int:
    port = address.rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() else 0
