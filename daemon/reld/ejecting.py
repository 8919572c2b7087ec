"""What `eject` means before it begins, and what a person has to do when it is over. Pure."""

from __future__ import annotations

from typing import Any

from reld.api.requests import Options
from reld.config import Config
from reld.core.model import Kind, Rollout
from reld.core.units import plain_name
from reld.nginx.settings import tcp_port
from reld.plain_units import ENVIRONMENTS, UNITS, PlainUnits

USUAL_PORT = 8000


def where(kind: Kind, options: Options, config: Config) -> dict[str, Any]:
    """`unit` and `port` of a Begin; nothing for any other kind."""
    if kind is not Kind.EJECT:
        return {}
    return {"unit": options.unit or config.name, "port": options.port or usual_port(config)}


def usual_port(config: Config) -> int:
    """Where the app was before relctl came, if the config still says so."""
    before = tcp_port(config.external.address) if config.external is not None else None
    return before or USUAL_PORT


def plan_lines(
    unit: str, units: PlainUnits, ports: tuple[int, ...], release: str, gate: str
) -> list[str]:
    """What `--dry-run` says. Of the secrets only the place."""
    secrets, *files = units.files
    told = [
        f"start {release} again as {_services(units.names)}, and prove it there",
        f"move all traffic to {_addresses(ports)}, drain the instances, stop them",
        *change_lines(gate, ports, unit),
        f"{secrets.path} (mode 0600) would be the environment that the app has now",
    ]
    for file in files:
        told += [f"{file.path} would be:", *(f"  {line}" for line in file.text.splitlines())]
    return told


def done_lines(app: str, gate: str, rollout: Rollout) -> list[str]:
    """What is left to do, as lines to type."""
    ports = _ports(rollout)
    names = tuple(plain_name(rollout.unit, port, len(ports)) for port in ports)
    return [
        f"without relctl, now and at every boot: {_services(names)}, {rollout.to} on {_addresses(ports)}",
        *change_lines(gate, ports, rollout.unit),
        "then: sudo nginx -t && sudo systemctl reload nginx",
        "and, once nobody uses the gate any more:",
        f"  sudo systemctl disable --now reld@{app}.socket reld@{app} relctl-gate@{app}",
        "  sudo apt remove relctl",
    ]


def change_lines(gate: str, ports: tuple[int, ...], upstream: str) -> list[str]:
    """The line of the site's nginx, as it is and as it is to be."""
    if len(ports) == 1:
        new = f"127.0.0.1:{ports[0]}"
        return [f"change back in the site's nginx: proxy_pass http://{gate} -> http://{new}"]
    servers = " ".join(f"server 127.0.0.1:{port};" for port in ports)
    return [
        f"put into the site's nginx, before its server: upstream {upstream} {{ {servers} }}",
        f"change back in its server: proxy_pass http://{gate} -> http://{upstream}",
    ]


def left_lines(rollout: Rollout) -> list[str]:
    """The app was ejected once, and is back: its units are nobody's business but the person's."""
    if not rollout.old_units:
        return []
    names = " ".join(f"{name}.service" for name in rollout.old_units)
    return [
        f"{names} gets no requests any more: sudo systemctl disable --now {names}",
        f"its files are in {UNITS}, its environment is in {ENVIRONMENTS}",
    ]


def _ports(rollout: Rollout) -> tuple[int, ...]:
    return tuple(range(rollout.port, rollout.port + len(rollout.addresses)))


def _services(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name}.service" for name in names)


def _addresses(ports: tuple[int, ...]) -> str:
    return ", ".join(f"127.0.0.1:{port}" for port in ports)
