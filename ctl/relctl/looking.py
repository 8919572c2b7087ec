"""The commands that look (status, watch, history, show, logs, releases, version) and steer."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import click

from relctl import __version__, asking, new_lines, quick, receipt, rollouts
from relctl import history as past
from relctl.cli import Call, calling, command, noted
from relctl.errors import DONE, FAILED, CtlError, UnreachableError, UsageError
from relctl.follow import GRACE, RETRY, all_events
from relctl.http import Client
from relctl.look import look_of
from relctl.rollouts import Waiting, leaving
from relctl.status import running
from relctl.text import NONE, clean, local, table
from relctl.views import Lines, view

CONNECTED = 1.0  # seconds; an attempt that held on for longer had found reld
NUMBER = click.IntRange(min=1)
NO_ROLLOUT = "no rollout so far"


@command("status")
@click.option("--check", is_flag=True, help="exit 3 where something is wrong")
@calling
def status(call: Call, check: bool) -> int:
    """What runs and what goes on."""
    return quick.run(quick.StatusCall(call.socket, call.app, json=call.as_json, check=check))


@command("watch")
@click.argument("number", metavar="[ID]", type=NUMBER, required=False)
@click.option(
    "--timeout", metavar="DURATION", type=asking.seconds, help="stop watching after that (exit 7)"
)
@calling
def watch(call: Call, number: int | None, timeout: float | None) -> int:
    """Follow rollout ID, or the one that runs, or whatever happens."""
    client = call.client()
    now = client.get("/v1/status")
    rollout = running(now)
    if number is None and rollout is not None:
        number = int(rollout["id"])
    if number is not None:
        final = rollouts.watch(client, number, Waiting(timeout=timeout), view(call.as_json))
        return receipt.exit_code(final or {})
    if timeout is not None:
        raise CtlError("cannot wait: no rollout is running", FAILED, "no-rollout", "relctl history")
    shown = view(call.as_json)
    if isinstance(shown, Lines):
        shown.notice(
            f"no rollout is running; whatever happens to {client.app} is shown, Ctrl-C ends"
        )
    with closing(shown), leaving("stopped watching", ""):
        for event in all_events(client, shown):
            shown.event(event)
    return DONE


@command("history")
@click.option("--limit", "-n", type=NUMBER, default=20, show_default=True)
@calling
def history(call: Call, limit: int) -> int:
    """The rollouts so far, newest first."""
    answer = call.client().get(f"/v1/rollouts?limit={limit}")
    found = answer.get("rollouts") or []
    if call.as_json:
        click.echo(json.dumps(answer))
    elif not found:
        click.echo(f"{NO_ROLLOUT}: relctl switch RELEASE", err=True)
    elif sys.stdout.isatty():
        width = shutil.get_terminal_size((80, 24)).columns
        click.echo("\n".join(past.fitted(found, width, look_of(sys.stdout))))
    else:
        click.echo("\n".join(past.plain(found)))
    return DONE


@command("releases")
@calling
def releases(call: Call) -> int:
    """The releases, newest first. One that is not complete cannot be switched to."""
    answer = call.client().get("/v1/releases")
    rows = [
        (
            release.get("release"),
            release.get("slot") or NONE,
            release.get("incomplete")
            or ("live" if release.get("live") else "good" if release.get("good") else NONE),
            "sealed" if release.get("sealed") else NONE,
            local(release["unpacked"]) if release.get("unpacked") else NONE,
        )
        for release in answer.get("releases") or []
    ]
    head = ("RELEASE", "SLOT", "STATE", "SEALED", "UNPACKED")
    _show_table(call, answer, head, rows, "no release directory")
    return DONE


@command("show")
@click.argument("number", metavar="[ID]", type=NUMBER, required=False)
@calling
def show(call: Call, number: int | None) -> int:
    """The receipt of rollout ID, or of the last one."""
    client = call.client()
    if number is None:
        number = _newest(client)
        if not call.as_json:
            click.echo(f"the last rollout of {client.app}: {number}", err=True)
    answer = client.get(f"/v1/rollouts/{number}")
    click.echo(json.dumps(answer) if call.as_json else "\n".join(receipt.full(answer)))
    return DONE


def _newest(client: Client) -> int:
    """Of the one that runs, or of the last one. Raises CtlError: there was none."""
    found = client.get("/v1/rollouts?limit=1").get("rollouts") or []
    if not found:
        message = f"cannot show the last rollout: {NO_ROLLOUT}"
        raise CtlError(message, FAILED, "no-rollout", "relctl switch RELEASE")
    return int(found[0]["id"])


@command("logs")
@click.argument("slot", type=click.Choice(["blue", "green"]), required=False)
@click.option("--follow", "-f", is_flag=True, help="go on with what comes")
@click.option("--release", metavar="RELEASE", help="of this release only")
@click.option("--lines", "-n", type=click.IntRange(min=0), default=100, show_default=True)
@click.option(
    "--new",
    "number",
    metavar="[ID]",
    type=click.IntRange(min=0),
    is_flag=False,
    flag_value=0,
    help="kinds of lines that the candidate writes and the old release never did",
)
@calling
def logs(
    call: Call, slot: str | None, follow: bool, release: str | None, lines: int, number: int | None
) -> int:
    """What the app and its hooks write to stdout and stderr."""
    if number is not None:
        if slot or follow or release:
            raise UsageError(
                "cannot use --new together with a slot, --follow or --release",
                "relctl logs --new [ID], of a rollout",
            )
        answer = call.client().get("/v1/logs/new" + (f"?rollout={number}" if number else ""))
        click.echo(json.dumps(answer) if call.as_json else "\n".join(new_lines.lines(answer)))
        return DONE
    if release is not None:
        asking.release_name(release)
    asked: dict[str, str | int] = {"lines": lines}
    asked.update({name: value for name, value in (("slot", slot), ("release", release)) if value})
    client = call.client()
    source = _following(client, asked) if follow else client.stream(_logs(asked), 30.0)
    said_nothing = True
    with leaving("stopped following", ""):
        for line in source:
            said_nothing = False
            if call.as_json:
                click.echo(json.dumps(line))
                continue
            said = str(line.get("line", ""))
            if sys.stdout.isatty():  # a log line may not steer the terminal of who reads it
                said = clean(said.replace("\t", "    "))
            prefix = "" if slot else f"{line.get('slot') or NONE} {line.get('release') or NONE} | "
            click.echo(prefix + ("hook | " if line.get("hook") else "") + said)
    if said_nothing and lines and not call.as_json:
        click.echo(f"nothing is written there so far: {_elsewhere(release)}", err=True)
    return DONE


def _elsewhere(release: str | None) -> str:
    return "relctl releases names the others" if release else "relctl logs --release RELEASE"


def _logs(asked: dict[str, str | int]) -> str:
    return "/v1/logs?" + urlencode(asked)


def _following(client: Client, asked: dict[str, str | int]) -> Iterator[dict[str, Any]]:
    """Log lines without end; a restart of reld is bridged, without the old lines again."""
    asked = {**asked, "follow": 1}
    client.get("/v1/status")  # a reld that is not there at all is told at once
    gone: float | None = None
    while True:
        began = time.monotonic()
        try:
            yield from client.stream(_logs(asked))
        except UnreachableError:
            now = time.monotonic()
            if gone is None or now - began > CONNECTED:
                gone = now  # an app may be quiet for hours: only the outage itself is timed
            if now - gone > GRACE:
                raise
        asked["lines"] = 0
        time.sleep(RETRY)


@command("version")
@calling
def version(call: Call) -> int:
    """The versions of relctl and of the reld that answers."""
    answering: str | None = None
    try:
        client = call.client()
        client.get("/v1/status")
        answering = client.version or None
    except UsageError:
        pass  # several apps: relctl's own version is still an answer
    except CtlError as error:
        if not call.as_json:
            click.echo(error.message, err=True)
    if call.as_json:
        click.echo(json.dumps({"relctl": __version__, "reld": answering}))
    else:
        click.echo(f"relctl {__version__}\nreld   {answering or NONE}")
    return DONE


def _steering(name: str, text: str) -> Callable[..., int]:
    def steer(call: Call, number: int | None, **options: Any) -> int:
        client = call.client()
        if number is None:
            rollout = running(client.get("/v1/status"))
            if rollout is None:
                raise CtlError(
                    f"cannot {name}: no rollout is running", FAILED, "no-rollout", "relctl status"
                )
            number = int(rollout["id"])
        body = {key: value for key, value in options.items() if value}
        answer = client.post(f"/v1/rollouts/{number}/{name}", body)
        if call.as_json:
            click.echo(json.dumps(answer))
            return DONE
        click.echo(clean(answer.get("message") or f"rollout {number}: {name}"))
        click.echo(f"  next: relctl watch {number}", err=True)
        return DONE

    steer.__doc__ = text
    return click.argument("number", metavar="[ID]", type=NUMBER, required=False)(steer)


_reason = click.option("--reason", metavar="TEXT", help="goes into the audit")
_full = click.option("--full", is_flag=True, help="straight to 100 %")


def _steers(name: str, text: str, *options: Callable[..., Any]) -> None:
    made = calling(_steering(name, text))
    for option in (noted, *options):
        made = option(made)
    command(name)(made)


_steers("pause", "Hold where it is; the guard stays on.", _reason)
_steers("resume", "Go on after a pause.", _reason)
_steers("promote", "End one wait, or agree to go on. The guard stays on.", _reason, _full)
_steers("abort", "Give up and go back.", _reason)
_steers("approve", "Agree, as another person, to a rollout that waits.")


def _show_table(
    call: Call,
    answer: dict[str, Any],
    head: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    nothing: str,
) -> None:
    if call.as_json:
        click.echo(json.dumps(answer))
    elif rows:
        click.echo("\n".join(table(head, rows)))
    else:
        click.echo(nothing, err=True)
