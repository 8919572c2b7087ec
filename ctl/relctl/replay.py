"""`relctl replay`: would the verdict have been another one with other settings?"""

from __future__ import annotations

import json
from typing import Any

import click

from relctl import asking
from relctl.cli import Call, calling, command
from relctl.errors import DONE
from relctl.looking import NUMBER
from relctl.text import clean, duration, labelled


@command("replay")
@click.argument("number", metavar="ID", type=NUMBER)
@click.option("--false-alarm", metavar="1/100", type=asking.fraction, help="the one knob")
@click.option("--max-error-rate", metavar="5%", type=asking.fraction, help="absolute limit")
@click.option("--max-p95", metavar="800ms", type=asking.seconds, help="absolute limit")
@click.option("--warmup", metavar="30s", type=asking.seconds, help="slowness is not judged before")
@calling
def replay(call: Call, number: int, **settings: Any) -> int:
    """Judge the requests of rollout ID again, with other settings."""
    asked = {name: value for name, value in settings.items() if value is not None}
    answer = call.client().post(f"/v1/rollouts/{number}/replay", asked)
    click.echo(json.dumps(answer) if call.as_json else "\n".join(lines(answer)))
    return DONE


def lines(answer: dict[str, Any]) -> list[str]:
    """The answer for people."""
    outcome = clean(answer.get("outcome") or "unknown").replace("_", " ")
    return labelled(
        (
            (f"rollout {answer.get('id')}", f"{outcome} then, {_watched(answer)}"),
            ("judged by", _settings(answer.get("settings") or {})),
            ("now", _found(answer.get("found"))),
        )
    )


def _watched(answer: dict[str, Any]) -> str:
    return f"watched for {duration(float(answer.get('seconds') or 0))}"


def _found(found: Any) -> str:
    if not isinstance(found, dict):
        return "nothing is found against it"
    when = f"after {duration(float(found.get('seconds') or 0))} at {found.get('share')} %"
    said = clean(found.get("sentence") or "")
    return f"{clean(found.get('verdict'))} {when}" + (f": {said}" if said else "")


def _settings(settings: dict[str, Any]) -> str:
    alarm = float(settings.get("false_alarm") or 0)
    parts = [f"false alarm 1/{1 / alarm:.0f}" if 0 < alarm <= 0.5 else ""]
    if settings.get("max_error_rate") is not None:
        parts.append(f"max error rate {float(settings['max_error_rate']) * 100:g} %")
    if settings.get("max_p95") is not None:
        parts.append(f"max p95 {float(settings['max_p95']) * 1000:g} ms")
    if settings.get("warmup") is not None:
        parts.append(f"warmup {duration(float(settings['warmup']))}")
    return ", ".join(part for part in parts if part)
