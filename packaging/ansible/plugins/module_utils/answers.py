"""What relctl answers, as the result of a task: exit codes, refusals and receipts. Pure.

A result has "outcome": done, unchanged, failed, rolled_back, aborted or running. "changed" is true only
if traffic moved, also where it came back.
"""

from __future__ import annotations

import json
import re
from typing import Any

USAGE, UNREACHABLE, BUSY, CONFIG, NEEDS_OPERATOR = 2, 5, 6, 8, 9
WENT_BACK = ("rolled_back", "aborted")
BY_THEMSELVES = ("rollback", "rehearsal")  # kinds of rollouts that are done when they went back
HINT = "\nhint: "
BY_A_PERSON = re.compile(r"^superseded by | by [^ ]+$")
"""A reason that says who, as reld words it, and not what became of it."""


class Refused(Exception):
    """The task fails; `result` is all that it says."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(result["msg"])
        self.result = result


def read(out: str) -> dict[str, Any]:
    """The last object on relctl's stdout; empty where there is none."""
    for line in reversed(out.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def refusal(code: int, out: str, err: str) -> dict[str, Any]:
    """The result for a `relctl --json` that ended with `code` and without what it was asked for."""
    error = read(out).get("error")
    if isinstance(error, dict):
        return {**failure(_sentence(error), code), "code": error.get("code"), **talk(err)}
    said = "; ".join(_said(err)[-1:]) or "it said nothing"  # of a traceback the last line tells
    message = f"cannot read what relctl answered (exit code {code}): {said}; next: relctl status"
    return {**failure(message, code), "stdout": out, "stderr": err}


def left(code: int, err: str, receipt: dict[str, Any]) -> dict[str, Any]:
    """The result for a rollout that goes on, while its watching ended with `code`.

    `err`: what `relctl watch` said to people. `receipt`: of now.
    """
    number = receipt.get("id")
    said = "; ".join(_last_words(_said(err)))
    message = said or f"rollout {number} goes on; next: relctl watch {number}"
    result = {**failure(message, code), **account(receipt), **talk(err)}
    return {
        **result,
        "outcome": "running",
        "changed": bool(receipt.get("moved")),
        "id": number,
        "from": receipt.get("from"),
    }


def out_of_sight(number: int, refused: dict[str, Any]) -> dict[str, Any]:
    """The result for a rollout that was begun, where relctl cannot tell any more what became of it."""
    message = f"lost sight of rollout {number}, which goes on or ends by itself: {refused['msg']}"
    return {**refused, "outcome": "running", "id": number, "msg": message}


def _said(err: str) -> list[str]:
    """Its lines, for a sentence."""
    return [line.strip().removeprefix("relctl: ") for line in err.splitlines() if line.strip()]


def _last_words(said: list[str]) -> list[str]:
    """The error and what to type next: before them may be what was said on the way."""
    return said[-2:] if said and said[-1].startswith("next: ") else said[-1:]


def failure(message: str, code: int) -> dict[str, Any]:
    """The result of a task that could not even begin."""
    return {
        "failed": True,
        "changed": False,
        "outcome": "failed",
        "id": None,
        "msg": message,
        "rc": code,
        "lost": 0,
        "seconds": 0.0,
    }


def talk(err: str) -> dict[str, Any]:
    """What relctl said beside its answer is never lost."""
    return {"stderr": err} if err.strip() else {}


def _sentence(error: dict[str, Any]) -> str:
    message, hint = str(error.get("message", "")), str(error.get("hint") or "")
    if "log in again" in hint:  # Ansible keeps connections, and with them old groups
        hint += "; in a play: meta: reset_connection, which logs in again"
    elif error.get("exit") == CONFIG and not hint:
        hint = "correct the config, then run the play again"
    hint = hint.replace("add --wait-lock", "wait_lock in the task")
    return f"{message}; next: {hint}" if hint else message


def ended(receipt: dict[str, Any]) -> dict[str, Any]:
    """The result for a rollout that is over, as its receipt tells it."""
    outcome = str(receipt.get("outcome") or "running")
    failed = not outcome.startswith("done")
    return {
        "failed": failed,
        "changed": bool(receipt.get("moved")),
        "outcome": "done" if outcome.startswith("done") else outcome,
        "id": receipt.get("id"),
        "from": receipt.get("from"),
        "msg": reason(receipt) if failed else str(receipt.get("summary", "")),
        "rc": receipt.get("exit"),
        **account(receipt),
    }


def turned(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a rollback, where it may have turned another rollout round.

    Having gone back is what was wished for then, and a rollout that is done could not.
    """
    if result["receipt"].get("kind") in BY_THEMSELVES:
        return result
    result = {**result, "from": result["receipt"].get("to")}
    if result["outcome"] == "done":
        message = f"could not go back: {result['msg']}; next: relctl status"
        return {**result, "failed": True, "msg": message, "rc": NEEDS_OPERATOR}
    if result["outcome"] not in WENT_BACK:
        return result
    summary = str(result["receipt"].get("summary", ""))
    return {**result, "failed": False, "msg": summary or result["msg"], "rc": 0}


def account(receipt: dict[str, Any]) -> dict[str, Any]:
    """What it cost, and the receipt itself."""
    return {
        "lost": lost(receipt),
        "seconds": float(receipt.get("seconds") or 0.0),
        "receipt": receipt,
    }


def reason(receipt: dict[str, Any]) -> str:
    """Why it ended as it did: the verdict's own sentence, or what else was in the way."""
    why = str(receipt.get("reason") or receipt.get("summary") or "")
    if receipt.get("outcome") in WENT_BACK and BY_A_PERSON.search(why):
        before = receipt.get("from") or "nothing"
        why = f"{receipt.get('to')} did not stay, {before} is back: {why}"
    return why.replace(HINT, "; next: ", 1)


def lost(receipt: dict[str, Any]) -> int:
    """Requests that users lost: answered with an error, turned away with a 503, or cut.

    Those of both releases while the rollout went on, the app's everyday errors among them.
    """
    slots = receipt.get("requests") or {}
    errors = sum(int((counted or {}).get("errors") or 0) for counted in slots.values())
    cut = int((receipt.get("drain") or {}).get("cut") or 0)
    return errors + int(receipt.get("turned_away") or 0) + cut


def unchanged(message: str, release: str | None) -> dict[str, Any]:
    """The result where nothing had to be done."""
    return {
        "failed": False,
        "changed": False,
        "outcome": "unchanged",
        "id": None,
        "release": release,
        "msg": message,
        "rc": 0,
        "lost": 0,
        "seconds": 0.0,
    }


def planned(plan: dict[str, Any]) -> dict[str, Any]:
    """The result of a check: what a switch would do, in the words of `relctl plan`."""
    way = plan.get("plan") or {}
    stops = plan.get("stops") or []
    text = [str(line) for line in way.get("text") or []]
    said = plan.get("already") or plan.get("attached") or "; ".join(text)
    return {
        "failed": bool(stops),
        "changed": not stops and not plan.get("already"),
        "outcome": "failed" if stops else "unchanged" if plan.get("already") else "done",
        "id": None,
        "from": way.get("from"),
        "msg": _sentence(stops[0]) if stops else said,
        "rc": stops[0].get("exit") if stops else 0,
        "lost": 0,
        "plan": plan,
    }


def back(plan: dict[str, Any]) -> dict[str, Any]:
    """The result of a check: from what to what `relctl rollback` would go."""
    before, after = plan.get("from") or "nothing", plan.get("to") or "nothing"
    how = "instantly" if plan.get("instant") else f"when {after} is ready"
    return {
        "failed": False,
        "changed": True,
        "outcome": "done",
        "id": None,
        "from": plan.get("from"),
        "msg": f"would go back {before} → {after}, {how}",
        "rc": 0,
        "lost": 0,
        "plan": plan,
    }


def doubts(plan: dict[str, Any]) -> list[str]:
    """What a plan warns of, and its questions that are answered no."""
    asked = [one for one in plan.get("questions") or [] if one.get("answer") == "no"]
    noes = [f"{one.get('name')}: {one.get('why')}" for one in asked]
    return [str(warning) for warning in plan.get("warnings") or []] + noes


def differences(plan: dict[str, Any]) -> list[dict[str, str]]:
    """How the gate's config would change, as Ansible shows it."""
    return [
        {"prepared": f"# {one.get('when')}: {one.get('text')}\n{one.get('diff')}"}
        for one in plan.get("gate_diff") or []
        if one.get("diff")
    ]
