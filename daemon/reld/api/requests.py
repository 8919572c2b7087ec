"""What a body or a query asks for, checked completely before anybody acts on it.

Limits: durations 0 … 30 days (seconds), steps 1 … 100 %, a reason and a note up to 500 characters each. Unknown keys
are errors: an option that was ignored is a rollout that nobody wanted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reld.api import rehearsal_options
from reld.core.agreement import WORD, split
from reld.core.model import Color, Kind
from reld.errors import BadRequest

_RELEASE = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,64}")  # a dot first: a copy that is not complete
_UNIT = re.compile(r"[a-z][a-z0-9-]{0,63}")
_LEASE = re.compile(r"[A-Za-z0-9]{8,64}")
_LONGEST = 30 * 24 * 3600.0
_MOST_REQUESTS = 10**9
_REASON = 500
_NAME = 64
_VERBS = ("pause", "resume", "promote", "abort")
_NAMED = (Kind.SWITCH, Kind.ROLLBACK)  # kinds that may name a release


class NotFound(BadRequest):
    """There is no such rollout."""

    code = "not-found"


class NoSuchRoute(NotFound):
    """relctl says by this code that reld and it are of different versions."""

    code = "no-such-route"


@dataclass(frozen=True, slots=True)
class Options:
    """Overrides for one rollout; None: as configured. Times in seconds, steps in percent and "approve".

    `observe`: the verdict is told and does not act. `stop_first`: the old slot is stopped before the
    new one starts. `surge`: 0 = two whole slots. `shadow`: a fraction of 1. `port` and `unit`: where `eject` goes.
    `share` (percent), `time` and `fail` (requests of its own, on purpose): of a rehearsal.
    """

    steps: tuple[int | str, ...] | None = None
    step_time: float | None = None
    step_max: float | None = None
    step_requests: int | None = None
    bake: float | None = None
    drain: float | None = None
    drain_max: float | None = None
    surge: int | None = None
    shadow: float | None = None
    now: bool = False
    force: bool = False
    supersede: bool = False
    dry_run: bool = False
    reason: str = ""
    observe: bool = False
    stop_first: bool = False
    note: str = ""
    port: int | None = None
    unit: str = ""
    on_duty: str = ""
    fail: bool = False
    share: int | None = None
    time: float | None = None


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """`kind` is a value of reld.core.model.Kind; `release` None: the one that the kind implies."""

    kind: str
    release: str | None
    options: Options


@dataclass(frozen=True, slots=True)
class Steer:
    """`verb`: pause, resume, promote or abort."""

    rollout: int
    verb: str
    full: bool
    reason: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    rollout: int
    note: str


@dataclass(frozen=True, slots=True)
class LogRequest:
    """None: the live slot, its release."""

    slot: str | None
    release: str | None
    lines: int
    follow: bool


def rollout_request(body: Any) -> RolloutRequest:
    """Reads the body of POST /v1/rollouts.

    Raises:
        BadRequest: what is wrong, and what was expected.
    """
    fields = known_object(body, "the request", ("kind", "release", "options"))
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in tuple(Kind):
        raise BadRequest(f"cannot begin: kind must be one of {', '.join(Kind)}")
    release = fields.get("release")
    if release is not None:
        release = release_name(release)
        if kind not in _NAMED:
            raise BadRequest(
                f"cannot {kind}: it takes no release",
                f"relctl switch {release} changes the release",
            )
    elif kind == Kind.SWITCH:
        raise BadRequest("cannot switch: no release is named", "relctl switch RELEASE")
    options = _options(fields.get("options"))
    if kind != Kind.EJECT and (options.port is not None or options.unit):
        raise BadRequest(f"cannot {kind}: port and unit are options of eject")
    if kind not in _NAMED and kind != Kind.RESTART and options.stop_first:
        raise BadRequest(f"cannot {kind}: stop_first is an option of switch, rollback and restart")
    if kind not in (Kind.SWITCH, Kind.RESTART) and options.surge is not None:
        raise BadRequest(f"cannot {kind}: surge is an option of switch and restart")
    if kind != Kind.SWITCH and options.shadow is not None:
        raise BadRequest(f"cannot {kind}: shadow is an option of switch")
    rehearsal_options.refuse(kind, options)
    return RolloutRequest(kind, release, options)


def steer(rollout: int, verb: str, body: Any) -> Steer:
    """Reads the body of POST /v1/rollouts/ID/VERB.

    Raises:
        BadRequest: what is wrong, and what was expected.
        NotFound: there is no such verb.
    """
    if verb not in _VERBS:
        raise NotFound(f"cannot {verb}: there is no such command", f"one of {', '.join(_VERBS)}")
    allowed = ("full", "reason", "note") if verb == "promote" else ("reason", "note")
    fields = known_object(body, f"the body of {verb}", allowed)
    full, reason, said = _flag(fields, "full"), one_line(fields, "reason"), one_line(fields, "note")
    return Steer(rollout, verb, full, reason, said)


def approval(rollout: int, body: Any) -> Approval:
    """Reads the body of POST /v1/rollouts/ID/approve. Raises BadRequest."""
    return Approval(rollout, note(body, "the body of approve"))


def lease(body: Any) -> str:
    """The name in the body of POST /v1/rollouts/ID/stay and detach. Raises BadRequest."""
    name = known_object(body, "the body", ("lease",)).get("lease")
    if not isinstance(name, str) or not _LEASE.fullmatch(name):
        raise BadRequest("cannot read the body: lease must be 8 to 64 letters and digits")
    return name


def note(body: Any, what: str) -> str:
    """The note of a body that says nothing else. Raises BadRequest."""
    return one_line(known_object(body, what, ("note",)), "note")


def release_name(value: Any) -> str:
    """A release name that is safe as a directory name.

    Raises:
        BadRequest: it is not one.
    """
    known = isinstance(value, str) and _RELEASE.fullmatch(value)
    if not known:
        shown = repr(value)[:80]
        raise BadRequest(
            f"cannot use {shown} as a release name",
            "a name has 1 to 64 of these characters: A-Z a-z 0-9 . _ -, and no dot before it",
        )
    return str(value)


def log_request(query: Mapping[str, str]) -> LogRequest:
    """Reads the query of GET /v1/logs."""
    _known_keys(query, "the query", ("slot", "release", "lines", "follow"))
    slot = query.get("slot") or None
    if slot is not None and slot not in tuple(Color):
        raise BadRequest(f"cannot show the log of slot {slot[:20]!r}: it is blue or green")
    release = query.get("release") or None
    return LogRequest(
        slot,
        None if release is None else release_name(release),
        query_number(query, "lines", default=100, most=100_000),
        query.get("follow", "") in ("1", "true"),
    )


def query_number(query: Mapping[str, str], name: str, *, default: int, most: int) -> int:
    """A whole number from 0 to `most` out of a query."""
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) > most:
        raise BadRequest(f"cannot read {name}={text[:20]!r}: it is a number from 0 to {most}")
    return int(text)


def _options(raw: Any) -> Options:
    fields = known_object(
        {} if raw is None else raw, "options", tuple(Options.__dataclass_fields__)
    )
    options = Options(
        steps=_steps(fields.get("steps")),
        step_time=_duration(fields, "step_time"),
        step_max=_duration(fields, "step_max"),
        step_requests=_count(fields, "step_requests"),
        bake=_duration(fields, "bake"),
        drain=_duration(fields, "drain"),
        drain_max=_duration(fields, "drain_max"),
        surge=_count(fields, "surge"),
        shadow=_fraction(fields, "shadow"),
        now=_flag(fields, "now"),
        force=_flag(fields, "force"),
        supersede=_flag(fields, "supersede"),
        dry_run=_flag(fields, "dry_run"),
        reason=one_line(fields, "reason"),
        observe=_flag(fields, "observe"),
        stop_first=_flag(fields, "stop_first"),
        note=one_line(fields, "note"),
        port=_port(fields),
        unit=_unit(fields),
        on_duty=_on_duty(fields),
        fail=_flag(fields, "fail"),
        share=rehearsal_options.share(fields),
        time=rehearsal_options.time(fields),
    )
    if options.now and options.steps not in (None, (100,)):
        raise BadRequest("cannot use both: now means steps = [100]", "leave one of them out")
    if options.surge and options.stop_first:
        raise BadRequest("cannot use both: stop_first leaves no room for a surge")
    if options.shadow and options.stop_first:
        raise BadRequest("cannot use both: with stop_first there is nobody to mirror")
    _ordered("step_time", options.step_time, "step_max", options.step_max)
    _ordered("drain", options.drain, "drain_max", options.drain_max)
    return options


def _ordered(less: str, small: float | None, more: str, large: float | None) -> None:
    if small is not None and large is not None and small > large:
        raise BadRequest(f"cannot use {less} {small:g} s: it is longer than {more} {large:g} s")


def _steps(raw: Any) -> tuple[int | str, ...] | None:
    if raw is None:
        return None
    known = isinstance(raw, list) and all(type(step) is int or step == WORD for step in raw)
    try:
        shares = list(split(raw)[0]) if known else []
    except ValueError as wrong:
        raise BadRequest(f"cannot use these steps: {wrong}", f"5,{WORD},25,100") from None
    if not shares or shares[0] < 1 or shares[-1] != 100 or shares != sorted(set(shares)):
        raise BadRequest(
            "cannot use these steps", "they are percentages that rise and end with 100: 5,25,100"
        )
    return tuple(raw)


def _on_duty(fields: Mapping[str, Any]) -> str:
    raw = one_line(fields, "on_duty").strip()
    if len(raw) > _NAME:
        raise BadRequest(f"cannot use on_duty: it is a name of at most {_NAME} characters")
    return raw


def _duration(fields: Mapping[str, Any], name: str) -> float | None:
    raw = fields.get(name)
    if raw is None:
        return None
    number = type(raw) in (int, float)
    if not number or not 0 <= raw <= _LONGEST:
        raise BadRequest(f"cannot use {name}: it is a number of seconds from 0 to {_LONGEST:.0f}")
    return float(raw)


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    raw = fields.get(name)
    if raw is None:
        return None
    if type(raw) is not int or not 0 <= raw <= _MOST_REQUESTS:
        raise BadRequest(f"cannot use {name}: it is a whole number from 0 to {_MOST_REQUESTS}")
    return raw


def _fraction(fields: Mapping[str, Any], name: str) -> float | None:
    raw = fields.get(name)
    if raw is None:
        return None
    if type(raw) not in (int, float) or not 0 <= raw <= 1:
        raise BadRequest(f"cannot use {name}: it is a fraction from 0 to 1, such as 0.05")
    return float(raw)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    raw = fields.get(name)
    if raw is None:
        return False
    if not isinstance(raw, bool):
        raise BadRequest(f"cannot use {name}: it is true or false")
    return raw


def _port(fields: Mapping[str, Any]) -> int | None:
    raw = fields.get("port")
    if raw is not None and (type(raw) is not int or not 1 <= raw <= 65535):
        raise BadRequest("cannot use port: it is a whole number from 1 to 65535")
    return raw


def _unit(fields: Mapping[str, Any]) -> str:
    raw = one_line(fields, "unit").removesuffix(".service")
    if raw and not _UNIT.fullmatch(raw):
        raise BadRequest(
            "cannot use unit: it is the name of a unit to be, such as web",
            "a name has 1 to 64 of these characters: a-z 0-9 -, a letter first",
        )
    return raw


def one_line(fields: Mapping[str, Any], name: str) -> str:
    raw = fields.get(name)
    if raw is None:
        return ""
    # isprintable: it is shown on terminals later, and a lone surrogate cannot be stored.
    if not isinstance(raw, str) or len(raw) > _REASON or not raw.isprintable():
        raise BadRequest(f"cannot use {name}: it is one line of at most {_REASON} characters")
    return raw


def known_object(raw: Any, what: str, allowed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise BadRequest(f"cannot read {what}: it is not a JSON object")
    _known_keys(raw, what, allowed)
    return raw


def _known_keys(raw: Mapping[str, Any], what: str, allowed: tuple[str, ...]) -> None:
    for key in raw:
        if key not in allowed:
            names = ", ".join(allowed)
            raise BadRequest(f"cannot read {what}: {key[:40]!r} is not known", f"known: {names}")
