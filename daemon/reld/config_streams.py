"""Readers of what `[gate]` says of long connections, and of the page for its own 503s."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

from reld.config import Config
from reld.config_toml import Document, Findings, nearest
from reld.config_values import WrongError, duration, show
from reld.core.policy import StreamPolicy
from reld.errors import GateError
from reld.nginx import pages

_EXPECTED = 'a table such as { keep = "5m", close_over = "30s" }'
_KEYS = ("keep", "close_over")


def websockets(value: Any) -> StreamPolicy:
    if not isinstance(value, dict):
        raise WrongError(f"{show(value)} is not a table", _EXPECTED)
    for key in value:
        if key not in _KEYS:
            known = nearest(key, "websockets", [f"websockets.{one}" for one in _KEYS])
            raise WrongError(
                f"there is no key {show(key)} in it", _EXPECTED, known.rpartition(".")[2]
            )
    read = {key: duration(0.0 if key == "keep" else 0.01)(said) for key, said in value.items()}
    return StreamPolicy(**read)


def check(config: Config, document: Document, findings: Findings) -> None:
    _check_page(config, findings)
    _check_times(config, document, findings)


def health(config: Config) -> tuple[str, ...]:
    """The paths by which others ask whether the app is well, as nginx sees them."""
    asked = (config.readiness.path, config.liveness.path)
    plain = (unquote(path.partition("?")[0].partition("#")[0]) for path in asked if path)
    return tuple(dict.fromkeys(path for path in plain if _printable(path)))


def _printable(path: str) -> bool:
    return path.isascii() and path.isprintable() and " " not in path and len(path) <= 400


def _check_page(config: Config, findings: Findings) -> None:
    page, key = config.gate.unavailable_page, ("gate", "unavailable_page")
    if page is None or findings.about(key, ("gate",)):
        return
    try:
        pages.read(Path(page))
    except (OSError, ValueError, GateError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        expected = f"a plain file of at most {pages.LARGEST >> 10} KiB"
        findings.add(key, f"cannot read {page}: {reason}", expected)


def _check_times(config: Config, document: Document, findings: Findings) -> None:
    kept, most = config.gate.websockets, config.rollout.drain_max
    table = document.data.get("rollout")
    given = isinstance(table, dict) and "drain_max" in table
    key = ("rollout", "drain_max")
    if kept is None or not given or findings.about(key, ("rollout",), ("gate", "websockets")):
        return
    if most < kept.lasts:
        what = f"drain_max ({most:g} s) is over before the websockets are closed"
        expected = (
            f"at least keep + close_over of gate.websockets ({kept.lasts:g} s), or no drain_max"
        )
        findings.add(key, what, expected)
