"""One rollout from the request to its receipt, with every way to stop watching it."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from relctl import plan, receipt
from relctl.bond import Bond
from relctl.errors import (
    BUSY,
    DETACHED,
    DONE,
    CtlError,
    DetachedError,
    LostError,
    UnreachableError,
    WaitOverError,
)
from relctl.follow import rollout_events
from relctl.http import Client
from relctl.status import running
from relctl.text import clean, duration
from relctl.views import View, view

POLL = 0.5


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long somebody stays. Durations in seconds; None = no limit, except `lock`: no waiting.

    `bond`: not to be left alone.
    """

    follow: bool = True
    until_shifted: bool = False
    timeout: float | None = None
    lock: float | None = None
    bond: Bond | None = None


def run(
    client: Client,
    kind: str,
    release: str | None,
    options: dict[str, Any],
    waiting: Waiting,
    *,
    as_json: bool,
) -> int:
    """Asks for a rollout and stays with it. Returns the exit code."""
    body = {"kind": kind, "release": release, "options": options}
    with leaving(f"detached before {client.unit} had answered", "relctl status"):
        answer = _submit(client, body, waiting.lock, quiet=as_json)
    if answer.get("already") or options.get("dry_run") or not waiting.follow:
        _tell(answer, kind, as_json=as_json)
        return DONE
    number = answer.get("id")
    if not isinstance(number, int):
        raise CtlError(f"cannot follow: {client.unit} gave no number", 70, "no-id", "relctl status")
    opening = {"event": "accepted", **answer, "text": plan.title(answer, kind)}
    final = watch(client, number, waiting, view(as_json), opening)
    if final is None:
        return DONE
    if kind == "rollback" and final.get("kind") != "rollback":
        return receipt.exit_code_of_turning_back(final)
    return receipt.exit_code(final)


def watch(
    client: Client,
    number: int,
    waiting: Waiting,
    shown: View,
    opening: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """Follows rollout `number`. Returns its receipt, or None if it was to be left at 100 %.

    Raises:
        CtlError: detached (130), timed out (7), or reld stayed away (5). The rollout goes on.
    """
    until = None if waiting.timeout is None else time.monotonic() + waiting.timeout
    back = f"relctl watch {number} · undo: relctl abort {number}"
    bond = waiting.bond
    try:
        with leaving(f"still running: {back}", "", number, bond):
            if opening is not None:
                shown.event(opening)
            final = _events(client, number, waiting, shown, until)
        if final is None and bond is not None:
            bond.loosen(client, number)
        return final
    except DetachedError:
        shown.close()
        if bond is not None:
            bond.loosen(client, number)
        raise
    except WaitOverError:
        shown.close()
        if bond is not None:
            bond.loosen(client, number)
        limit = duration(waiting.timeout or 0)
        raise CtlError(
            f"rollout {number} is not over after {limit}; still running: {back}",
            7,
            "timeout",
            "",
            number,
        ) from None
    except UnreachableError as error:
        shown.close()
        error.hint = f"{error.hint}; then relctl watch {number}"
        error.rollout = number
        raise
    finally:
        shown.close()


def _events(
    client: Client, number: int, waiting: Waiting, shown: View, until: float | None
) -> dict[str, Any] | None:
    for event in rollout_events(client, number, until, shown, waiting.bond):
        final = event.get("receipt")
        if event.get("event") == "result" and isinstance(final, dict):
            shown.end(final)
            return final
        shown.event(event)
        if waiting.until_shifted and shifted(event.get("status")):
            shown.close()
            if sys.stdout.isatty():
                shown.notice(f"rollout {number} has all the traffic: relctl watch {number}")
            shown.end(client.get(f"/v1/rollouts/{number}"))
            return None
    raise CtlError(
        f"cannot read the result of rollout {number}", 70, "no-receipt", f"relctl show {number}"
    )


def shifted(status: Any) -> bool:
    """Whether the rollout's release gets all the traffic, and is not on its way back."""
    rollout = status.get("rollout") if isinstance(status, dict) else None
    if not isinstance(rollout, dict) or rollout.get("phase") == "reverting":
        return False
    if rollout.get("phase") == "baking" or (rollout.get("percent") or 0) >= 100:
        return True
    moved = rollout.get("from") != rollout.get("to")
    return bool(moved and rollout.get("to") and status.get("release") == rollout.get("to"))


@contextmanager
def leaving(
    message: str, hint: str, rollout: int | None = None, bond: Bond | None = None
) -> Iterator[None]:
    """Ctrl-C, a dropped SSH and a closed pipe end the watching, and the rollout only with a bond.

    Raises:
        DetachedError: Ctrl-C; or the others without a bond.
        CtlError: with the same exit code, 130: the rollout goes back.
    """
    caught = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means: stay
        caught.append(signal.SIGHUP)
    before = {number: signal.signal(number, _leave) for number in caught}
    try:
        yield
    except _HungUp:
        raise _lost(message, hint, rollout, bond) from None
    except KeyboardInterrupt:
        raise DetachedError(message, hint, rollout) from None
    except (OSError, LostError):  # nobody reads our output any more
        raise _lost(message, hint, rollout, bond) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _HungUp(KeyboardInterrupt):
    """We were told to go by somebody else than the person at the keyboard."""


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise _HungUp


def _lost(message: str, hint: str, rollout: int | None, bond: Bond | None) -> CtlError:
    if bond is None:
        return DetachedError(message, hint, rollout)
    return CtlError(
        f"disconnected: rollout {rollout} is aborted", DETACHED, "disconnected", hint, rollout
    )


def _submit(
    client: Client, body: dict[str, Any], lock: float | None, *, quiet: bool
) -> dict[str, Any]:
    """Posts the rollout; while another one is active waits for up to `lock` seconds."""
    until = None if lock is None else time.monotonic() + lock
    told = quiet
    while True:
        try:
            return client.post("/v1/rollouts", body)
        except CtlError as error:
            if error.exit_code != BUSY or until is None:
                raise
            if not told:
                print(f"waiting: {clean(error.message)}", file=sys.stderr, flush=True)
                told = True
            while True:
                if time.monotonic() >= until:
                    error.message += f" (waited for {duration(lock or 0)})"
                    raise
                time.sleep(min(POLL, max(0.0, until - time.monotonic())))
                if running(client.get("/v1/status")) is None:
                    break


def _tell(answer: dict[str, Any], kind: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer))
    elif answer.get("already"):
        print(clean(answer.get("message") or "already so"))
    elif answer.get("id") is None:
        print("\n".join(plan.lines(answer)))
        if kind == "switch":
            print(f"  all of it: relctl plan {clean(plan.release(answer))}", file=sys.stderr)
    else:  # --no-wait: the number is the data
        print(answer["id"])
        print(f"{plan.title(answer, kind)}; relctl watch {answer['id']}", file=sys.stderr)
        for line in plan.watch(answer):
            print(f"  {line}", file=sys.stderr)
