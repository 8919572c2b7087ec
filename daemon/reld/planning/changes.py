"""What the config says now that the live release was not started with. Pure; values of secrets never."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from reld.config import Config
from reld.core.verdict.words import counted
from reld.snapshot import Snapshot

_QUIET = ("env", "body", "headers")
"""Keys whose values may be secrets: only that they changed is told."""
_LONGEST = 60


def changed(
    then: Snapshot, now: Config, env: Mapping[str, str] | None, *, names: bool
) -> list[dict[str, Any]]:
    """[{"key", "from", "to"}]; both None: changed, and nobody is told to what.

    `env`: the complete environment as it would be taken now; None: it cannot be read. `names`: those
    of its variables may be told, else only how many there are.
    """
    found = [
        *_table("app", then.app, now.app),
        *_table("readiness", then.readiness, now.readiness),
        *_table("liveness", then.liveness, now.liveness),
        *_named("smoke", then.smoke, now.smoke),
        *_named("worker", then.workers, now.worker),
        *_table("hooks", then.hooks, now.hooks),
    ]
    if env is not None:
        found += _environment(dict(then.env), env, names=names)
    return found


def _table(name: str, then: Any, now: Any) -> Iterator[dict[str, Any]]:
    assert is_dataclass(then)
    for field in fields(then):
        before, after = getattr(then, field.name), getattr(now, field.name)
        if before == after or (name, field.name) == ("app", "env"):  # it is in the environment
            continue
        quiet = field.name in _QUIET
        yield _row(f"{name}.{field.name}", *((None, None) if quiet else (before, after)))


def _named(table: str, then: Iterable[Any], now: Iterable[Any]) -> Iterator[dict[str, Any]]:
    old, new = {item.name: item for item in then}, {item.name: item for item in now}
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            yield _row(f"{table} {name}", "there", "gone")
        elif name not in old:
            yield _row(f"{table} {name}", "not there", "new")
        else:
            yield from _table(f"{table} {name}", old[name], new[name])


def _environment(
    then: Mapping[str, str], now: Mapping[str, str], *, names: bool
) -> Iterator[dict[str, Any]]:
    gone, came = sorted(then.keys() - now.keys()), sorted(now.keys() - then.keys())
    other = sorted(name for name in then.keys() & now.keys() if then[name] != now[name])
    for word, of in (("new", came), ("gone", gone), ("changed", other)):
        if of:
            told = ", ".join(of) if names else counted(len(of), "variable")
            yield {"key": f"environment, {word}", "from": None, "to": _short(told)}


def _row(key: str, before: Any, after: Any) -> dict[str, Any]:
    return {"key": key, "from": _said(before), "to": _said(after)}


def _said(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, tuple):
        return _short(" ".join(map(str, value)))
    if isinstance(value, bool):
        return str(value).lower()
    return _short(f"{value:g}" if isinstance(value, float) else str(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
