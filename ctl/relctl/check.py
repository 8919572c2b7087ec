"""`relctl check`: a doctor for host, reld, nginx, config, permissions and app."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from relctl import __version__, find
from relctl.cli import Call, calling, command
from relctl.errors import DONE, NEEDS_OPERATOR, UNREACHABLE, CtlError, UnreachableError
from relctl.http import Client
from relctl.text import clean

if TYPE_CHECKING:
    from relctl.look import Look
    from relctl.unaided import Finding

AREAS = ("host", "reld", "nginx", "config", "permissions", "app")
PATIENCE = 5.0
"""Seconds; reld itself takes at most 3.5."""
WIDEST = 100
_STYLES = {"error": "red", "warning": "yellow", "ok": "green"}
_LEVELS = ("error", "warning", "ok")
_INDENT = 10


@command("check")
@click.option("--verbose", "-v", is_flag=True, help="also what is fine")
@calling
def check(call: Call, verbose: bool) -> int:
    """What is wrong or will be, and what to type."""
    from relctl.look import look_of

    app, found, answered = _found(call)
    found.sort(key=_order)
    errors = sum(one["level"] == "error" for one in found)
    if call.as_json:
        click.echo(json.dumps({"app": app, "findings": found}))
    else:
        look = look_of(sys.stdout)
        width = WIDEST
        if sys.stdout.isatty():
            width = min(WIDEST, shutil.get_terminal_size((80, 24)).columns)
        # Without reld there is little to say, and that users are served is the first thing to know.
        for line in lines(found, verbose=verbose or not answered, look=look, width=width):
            click.echo(line)
    return NEEDS_OPERATOR if errors else DONE


def _found(call: Call) -> tuple[str, list[Finding], bool]:
    """App, findings, and whether reld answered. Raises UsageError: several apps, and none named."""
    from relctl.unaided import as_findings, finding, findings, who_asks

    try:
        path = find.socket_path(call.socket, call.app)
    except UnreachableError as error:
        app = _only_config()
        if not app:
            return "", [finding("config", "error", error.message, error.hint)], False
        path = os.path.join(find.RUN, app, find.SOCKET)
        return app, findings(path, app, error), False
    client = Client(path)
    client.patience = PATIENCE
    try:
        answer = client.get("/v1/check")
    except CtlError as error:
        if error.exit_code != UNREACHABLE and error.code != "not-permitted":
            raise
        return client.app, findings(path, client.app, error), False
    found = [*as_findings(answer.get("findings")), who_asks(path)]
    if client.version and client.version != __version__:
        text = f"reld is version {clean(client.version)}, relctl is {__version__}"
        mend = f"sudo systemctl restart {client.unit}   (the app goes on)"
        found.append(finding("reld", "warning", text, mend))
    return str(answer.get("app") or client.app), found, True


def _only_config() -> str:
    try:
        names = sorted(n[:-5] for n in os.listdir(find.ETC) if n.endswith(".toml"))
    except OSError:
        return ""
    return names[0] if len(names) == 1 else ""


def _order(one: dict[str, Any]) -> tuple[int, int]:
    area, level = one["area"], one["level"]
    return (
        AREAS.index(area) if area in AREAS else len(AREAS),
        _LEVELS.index(level) if level in _LEVELS else len(_LEVELS),
    )


def lines(found: list[Finding], *, verbose: bool, look: Look, width: int) -> list[str]:
    """For people: what is not fine with its mend, by area; the rest in one line, or line by line."""
    shown: list[str] = []
    area = ""
    for one in found:
        if one["level"] == "ok" and not verbose:
            continue
        if one["area"] != area:
            area = one["area"]
            shown += [*([""] if shown else []), look.styled(clean(area), "bold")]
        shown += _one(one, look, width)
    return [*shown, *([""] if shown else []), _sum(found, look, verbose=verbose)]


def _one(one: Finding, look: Look, width: int) -> list[str]:
    level = clean(one["level"])
    text = _wrapped(look.text(clean(one["text"])), width)
    first = f"  {look.styled(level, _STYLES.get(level, ''))}{' ' * (_INDENT - 2 - len(level))} "
    shown = [first + text[0], *(f"{' ' * (_INDENT + 1)}{line}" for line in text[1:])]
    if one["mend"]:
        # Never wrapped: it is there to be copied.
        shown.append(
            f"{' ' * (_INDENT + 1)}{look.styled('next:', 'dim')} {look.text(clean(one['mend']))}"
        )
    return shown


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    room = max(20, width - _INDENT - 1)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def _sum(found: list[Finding], look: Look, *, verbose: bool) -> str:
    counts = {level: sum(one["level"] == level for one in found) for level in _LEVELS}
    parts = [
        look.styled(f"{counts[level]} {level}{'s' * (counts[level] > 1)}", _STYLES[level])
        for level in ("error", "warning")
        if counts[level]
    ]
    fine = f"{counts['ok']} of {len(found)} checks are fine"
    if not verbose and counts["ok"]:
        fine += "; all of them: relctl check -v"
    return ", ".join([*parts, fine])
