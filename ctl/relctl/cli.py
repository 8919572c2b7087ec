"""The commands that start something: switch, rollback, restart, start, stop, contract."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import click

from relctl import asking, find, offline, rollouts
from relctl.bond import Bond
from relctl.errors import DETACHED, DONE, CtlError, UnreachableError, UsageError
from relctl.http import Client
from relctl.rollouts import Waiting

Command = Callable[..., int]


class Rollout(click.Command):
    """A command that starts a rollout: `--wait-lock` alone must not swallow the release's name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        lock = [f"{word}=" if word == "--wait-lock" else word for word in args[:end]]
        return super().parse_args(ctx, lock + args[end:])


class Call:
    """What every command is told: which reld, and for whom the answer is."""

    def __init__(self, socket: str | None, app: str | None, *, as_json: bool) -> None:
        self.socket = socket
        self.app = app
        self.as_json = as_json

    def client(self) -> Client:
        return Client(find.socket_path(self.socket, self.app))


def everywhere(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json, --socket and --app, before the command's name or after it."""
    for option in (
        click.option("--socket", metavar="PATH", help="reld's control socket [RELCTL_SOCKET]"),
        click.option(
            "--app", metavar="APP", help="which app, where there are several [RELCTL_APP]"
        ),
        click.option("--json", "as_json", is_flag=True, help="one object on stdout"),
    ):
        command = option(command)
    return command


def calling(command: Command) -> Command:
    """Gives the command a Call in place of the three options that all have."""

    @everywhere
    @click.pass_context
    @functools.wraps(command)
    def wrapped(
        ctx: click.Context, /, socket: str | None, app: str | None, as_json: bool, **rest: Any
    ) -> int:
        before: Call = ctx.obj
        if socket is None and app is None:
            socket, app = before.socket, before.app
        return command(Call(socket, app, as_json=as_json or before.as_json), **rest)

    return wrapped


def noted(command: Callable[..., Any]) -> Callable[..., Any]:
    """--note, of everything that changes something."""
    return click.option("--note", metavar="TEXT", help="why, for the audit: one line")(command)


def staying(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that starts a rollout."""
    for option in (
        click.option("--reason", metavar="TEXT", help="goes into the receipt"),
        click.option(
            "--wait-lock",
            "lock",
            type=asking.lock_seconds,
            metavar="[=DURATION]",
            help="while another rollout is active: wait",
        ),
        click.option(
            "--timeout",
            metavar="DURATION",
            type=asking.seconds,
            help="stop watching after that (exit 7)",
        ),
        click.option("--no-wait", is_flag=True, help="print the rollout's number and leave"),
    ):
        command = option(command)
    return noted(command)


def one_at_a_time(command: Callable[..., Any]) -> Callable[..., Any]:
    """--stop-first, of everything that changes what runs."""
    told = "two copies do not fit: stop the old one first, users get 503 until the new one is ready"
    return click.option("--stop-first", is_flag=True, help=told)(command)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
@everywhere
@click.pass_context
def relctl(ctx: click.Context, socket: str | None, app: str | None, as_json: bool) -> None:
    """Switches releases of an app without losing a request."""
    ctx.obj = Call(socket, app, as_json=as_json)


def command(*names: str) -> Callable[[Command], None]:
    """Registers a command under its name and its aliases."""

    def register(function: Command) -> None:
        made = click.command(names[0], cls=Rollout)(function)
        for name in names:
            relctl.add_command(made, name)

    return register


@command("switch", "deploy")
@click.argument("release")
@click.option("--until", type=click.Choice(["shifted"]), help="leave at 100 % of the traffic")
@click.option("--now", is_flag=True, help="steps 100; the bake is kept")
@click.option(
    "--steps",
    metavar="5,approve,25,100",
    help="shares in percent; approve: wait there until a person agrees",
)
@click.option(
    "--step-time", metavar="DURATION", type=asking.seconds, help="at least this long a step"
)
@click.option("--step-max", metavar="DURATION", type=asking.seconds, help="but never longer")
@click.option("--step-requests", type=click.IntRange(min=0), help="and this many requests")
@click.option(
    "--bake", metavar="DURATION", type=asking.seconds, help="how long the old slot stays warm"
)
@click.option("--drain", metavar="DURATION", type=asking.seconds, help="at least this long a drain")
@click.option("--drain-max", metavar="DURATION", type=asking.seconds, help="then the rest is cut")
@click.option(
    "--surge",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    help="change places with so many instances more than usual; 0: a whole second slot",
)
@click.option(
    "--shadow",
    metavar="SHARE",
    type=asking.fraction_or_none,
    help="first mirror such a share of the GETs, 5%, to the new release; 0: none",
)
@click.option("--observe", is_flag=True, help="the verdict is told and does not act")
@click.option("--dry-run", is_flag=True, help="print the plan, do nothing")
@click.option("--supersede", is_flag=True, help="end a rollout that is active first")
@click.option("--on-duty", metavar="NAME", type=asking.name, help="who watches this rollout")
@click.option(
    "--on-disconnect",
    type=click.Choice(["detach", "abort"]),
    default="detach",
    help="when this client is lost (SSH, kill): the rollout goes on [default], or back; Ctrl-C detaches",
)
@one_at_a_time
@staying
@calling
def switch(
    call: Call,
    release: str,
    until: str | None,
    now: bool,
    steps: str | None,
    on_disconnect: str,
    **rest: Any,
) -> int:
    """Switch to RELEASE and watch it until it is done."""
    asking.release_name(release)
    if on_disconnect == "abort":
        if rest["no_wait"]:
            raise UsageError("cannot use --on-disconnect abort together with --no-wait")
        rest["bond"] = Bond()
    if now and steps:
        raise UsageError("cannot use --now together with --steps: it means --steps 100")
    shares = asking.steps(steps) if steps else None
    return begin(call, "switch", release, until=until, now=now or None, steps=shares, **rest)


@command("rollback")
@click.argument("release", required=False)
@click.option("--offline", "without_reld", is_flag=True, help="without reld: one rename, as root")
@click.option("--force", is_flag=True, help="also past a contract that has been run")
@click.option("--dry-run", is_flag=True, help="print the plan, do nothing")
@one_at_a_time
@staying
@calling
def rollback(call: Call, release: str | None, without_reld: bool, **rest: Any) -> int:
    """Go back: at once, or to the last good release (or RELEASE)."""
    if release is not None:
        asking.release_name(release)
    if without_reld:
        if release is not None:
            raise UsageError(
                "cannot go back offline to a release of your choice: only from the newest "
                "rollout's candidate to the live slot",
                "relctl rollback --offline",
            )
        return _take_back(call)
    try:
        return begin(call, "rollback", release, **rest)
    except UnreachableError as error:
        if error.rollout is None:
            error.hint += ", or without it: sudo relctl rollback --offline"
        raise


def _take_back(call: Call) -> int:
    runtime = find.runtime_directory(call.socket, call.app)
    moved = offline.take_back(runtime)
    if call.as_json:
        click.echo(json.dumps({"rollout": moved.rollout, "from": moved.before, "to": "0"}))
        return DONE
    number = moved.rollout
    if moved.before == "0":
        click.echo(f"rollout {number} had no lanes already: all traffic goes to the live slot")
    else:
        click.echo(f"rollout {number}: {moved.before} % → 0 %, all traffic goes to the live slot")
    unit = f"reld@{find.app_of(runtime + '/' + find.SOCKET)}"
    click.echo(
        f"when reld comes back it goes on with the revert: sudo systemctl start {unit}\n"
        "if the rollout had been committed before, the live slot is the new release: "
        "relctl rollback then",
        err=True,
    )
    return DONE


@command("restart")
@click.option(
    "--surge",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    help="change places with so many instances more than usual; 0: a whole second slot",
)
@one_at_a_time
@staying
@calling
def restart(call: Call, **rest: Any) -> int:
    """Start the live release again, through the other slot."""
    return begin(call, "restart", None, **rest)


@command("start")
@staying
@calling
def start(call: Call, **rest: Any) -> int:
    """Start the app again after `relctl stop`."""
    return begin(call, "start", None, **rest)


@command("stop")
@staying
@calling
def stop(call: Call, **rest: Any) -> int:
    """Stop the app in order. The gate answers 503, then the drain, then the stop signal."""
    return begin(call, "stop", None, **rest)


@command("contract")
@staying
@calling
def contract(call: Call, **rest: Any) -> int:
    """Run the contract hook; older releases are no way back then."""
    return begin(call, "contract", None, **rest)


def begin(
    call: Call,
    kind: str,
    release: str | None,
    no_wait: bool,
    timeout: float | None,
    lock: float | None,
    until: str | None = None,
    bond: Bond | None = None,
    **options: Any,
) -> int:
    unset = (None, False)
    asked = {name: value for name, value in options.items() if not any(value is no for no in unset)}
    waiting = Waiting(not no_wait, until == "shifted", timeout, lock, bond)
    return rollouts.run(call.client(), kind, release, asked, waiting, as_json=call.as_json)


def run(arguments: list[str]) -> int:
    """Reads the command line and runs it; click's own handler of errors stays out of it."""
    from relctl import (  # noqa: F401  register their commands
        ahead,
        apps,
        audit,
        check,
        eject,
        init,
        looking,
        maintenance,
        mend,
        notify,
        rehearse,
        replay,
        runbook,
        running,
        unpack,
    )

    if not arguments:
        arguments = ["--help"]
    try:
        with relctl.make_context("relctl", list(arguments)) as context:
            return int(relctl.invoke(context) or DONE)
    except click.exceptions.Exit as leave:
        return int(leave.exit_code)
    except click.ClickException as error:
        ctx = getattr(error, "ctx", None)
        path = ctx.command_path if ctx is not None else "relctl"
        message = error.format_message().rstrip(".")
        raise UsageError(message[:1].lower() + message[1:], f"{path} --help") from None
    except click.Abort:
        raise CtlError("stopped", DETACHED, "interrupted") from None
