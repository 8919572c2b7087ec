"""`relctl audit`: who wanted to change what, and what became of it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from relctl.cli import Call, calling, command
from relctl.errors import DONE
from relctl.text import NONE, clean, clip, local, table

HEAD = ("TIME", "BY", "COMMAND", "ROLLOUT", "OUTCOME", "WHY")
MOST = 1000


@command("audit")
@click.option("--limit", "-n", type=click.IntRange(1, MOST), default=50, show_default=True)
@calling
def audit(call: Call, limit: int) -> int:
    """Who wanted to change what, also what was refused."""
    answer = call.client().get(f"/v1/audit?limit={limit}")
    if call.as_json:
        click.echo(json.dumps(answer))
        return DONE
    rows = [_row(entry) for entry in answer.get("audit") or []]
    width = _columns()
    for line in table(HEAD, rows) if rows else []:
        click.echo(line if width is None else clip(line, width))
    if not rows:
        click.echo("nobody has changed anything so far", err=True)
    return DONE


def _row(entry: dict[str, Any]) -> tuple[object, ...]:
    outcome = str(entry.get("outcome") or NONE)
    code = entry.get("code")
    said = [str(part) for part in (entry.get("note"), entry.get("told")) if part]
    return (
        local(entry.get("time")),
        who(entry),
        asked(entry),
        entry.get("rollout") or NONE,
        f"{outcome}: {code}" if code else outcome,
        "; ".join(said) or NONE,
    )


def who(entry: dict[str, Any]) -> str:
    """`alice`, or `alice (as root)` behind sudo; numbers where there is no name."""
    user = str(entry.get("user") or entry.get("uid"))
    login = entry.get("login") or entry.get("login_uid")
    if login is None or entry.get("login_uid") == entry.get("uid"):
        return user
    return f"{login} (as {user})"


def asked(entry: dict[str, Any]) -> str:
    """The command as it was typed, more or less."""
    words = [str(entry.get("command") or NONE), str(entry.get("target") or "")]
    arguments = entry.get("arguments")
    for name, value in arguments.items() if isinstance(arguments, dict) else ():
        words.append(
            f"--{clean(name).replace('_', '-')}" + ("" if value is True else _value(value))
        )
    return " ".join(word for word in words if word)


def _value(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else f"{value}"
    text = text.removesuffix(".0") if isinstance(value, float) else text
    return f"={json.dumps(text, ensure_ascii=False)}" if " " in text else f"={text}"


def _columns() -> int | None:
    """None: no terminal, so nothing is cut."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None
