"""The routes: each declares its role, and nothing is reached but through this table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from reld.api import answers, handing, streams
from reld.api.following import following
from reld.api.glance import Glance
from reld.api.handed import Hands
from reld.api.leases import Leases
from reld.api.maintenance import LARGEST_BODY, maintenance_request
from reld.api.peers import Caller
from reld.api.plan import plan_request
from reld.api.replay import replay_request
from reld.api.requests import (
    NoSuchRoute,
    NotFound,
    Steer,
    approval,
    lease,
    log_request,
    note,
    query_number,
    rollout_request,
    steer,
)
from reld.api.roles import Role
from reld.api.service import Service
from reld.api.status import status

_MOST_ROLLOUTS = 1000
_MOST_AUDITS = 1000
METRICS = "text/plain; version=0.0.4; charset=utf-8"


async def _nothing() -> None:
    pass


@dataclass(slots=True)
class Attempt:
    """One request on its way; from `command` on it grows as it is understood (for the audit).

    `following` holds one of the caller's places at the streams; it raises Crowded.
    """

    request: web.BaseRequest
    path: Mapping[str, str]
    caller: Caller
    service: Service
    closing: asyncio.Event
    following: Callable[[], AbstractContextManager[None]]
    leases: Leases
    glance: Glance
    command: str
    target: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    rollout: int | None = None
    hands: Hands | None = None
    begun: Callable[[], Awaitable[None]] = _nothing
    """Writes into the audit that it began, for what may take hours."""
    told: str = ""
    """How it ended, for the audit."""
    token: Callable[[], str] = str
    """What the page must show to change something; empty for who may not operate."""
    start: str = ""
    """Names this start of reld, for the page."""

    @property
    def number(self) -> int:
        return int(self.path["number"])


Handler = Callable[[Attempt], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is a pattern of the whole path."""

    method: str
    path: re.Pattern[str]
    role: Role
    handler: Handler
    command: str = ""
    """What the audit calls it before its body is understood."""


async def _status(attempt: Attempt) -> web.StreamResponse:
    return answers.answer(status(attempt.service.state(), attempt.service.vitals()))


async def _begin(attempt: Attempt) -> web.StreamResponse:
    request = rollout_request(await answers.read_json(attempt.request))
    attempt.command, attempt.target = request.kind, request.release or ""
    attempt.arguments, attempt.note = _given(asdict(request.options)), request.options.note
    body = await attempt.service.begin(request, attempt.caller)
    attempt.rollout = body.get("id")
    old = body.get("id") is None or body.get("attached") or body.get("already")
    return answers.answer(body, 200 if old else 202)


async def _steer(attempt: Attempt) -> web.StreamResponse:
    body = await answers.read_json(attempt.request)
    asked = steer(attempt.number, attempt.path["verb"], body)
    attempt.arguments, attempt.note = (
        _given({"full": asked.full, "reason": asked.reason}),
        asked.note,
    )
    return answers.answer(await attempt.service.steer(asked, attempt.caller))


async def _stay(attempt: Attempt) -> web.StreamResponse:
    """The events of a rollout, for somebody without whom it goes back."""
    key = (attempt.number, lease(await answers.read_json(attempt.request)))
    if await attempt.service.rollout(attempt.number) is None:
        raise NotFound(
            f"cannot stay with rollout {attempt.number}: there is none", "relctl history"
        )
    wanted = following(attempt.request.query, attempt.number)
    with attempt.following(), attempt.leases.held(key):
        response = await streams.events(
            attempt.service, attempt.request, wanted, attempt.glance, attempt.closing
        )
    lost = _runs(attempt) and await attempt.leases.lost(key, attempt.closing)
    if not _runs(attempt):
        attempt.leases.forget(key)
    elif lost:
        attempt.command, attempt.note = "abort", "the connection was lost"
        asked = Steer(attempt.number, "abort", full=False, reason=attempt.note)
        await attempt.service.steer(asked, attempt.caller)
    return response


def _runs(attempt: Attempt) -> bool:
    running = attempt.service.state().rollout
    return running is not None and running.id == attempt.number


async def _detach(attempt: Attempt) -> web.StreamResponse:
    key = (attempt.number, lease(await answers.read_json(attempt.request)))
    attempt.leases.give_back(key)
    return answers.answer({"id": attempt.number, "message": f"rollout {attempt.number} goes on"})


async def _mend(attempt: Attempt) -> web.StreamResponse:
    attempt.note = note(await answers.read_json(attempt.request), "the body of mend")
    return answers.answer(await attempt.service.mend(attempt.caller))


async def _maintain(attempt: Attempt) -> web.StreamResponse:
    body = await answers.read_json(attempt.request, LARGEST_BODY)
    asked = maintenance_request(body)
    page = None if asked.page is None else f"{len(asked.page)} bytes"
    allow = list(asked.allow) or None
    attempt.target, attempt.note = ("on" if asked.on else "off"), asked.note
    attempt.arguments = _given(
        {"reason": asked.reason, "page": page, "allow": allow, "hold": asked.hold or None}
    )
    return answers.answer(await attempt.service.maintain(asked, attempt.caller))


async def _approve(attempt: Attempt) -> web.StreamResponse:
    asked = approval(attempt.number, await answers.read_json(attempt.request))
    attempt.note = asked.note
    return answers.answer(await attempt.service.approve(asked, attempt.caller))


async def _audit(attempt: Attempt) -> web.StreamResponse:
    limit = query_number(attempt.request.query, "limit", default=50, most=_MOST_AUDITS)
    return answers.answer({"audit": await attempt.service.audits(limit)})


async def _replay(attempt: Attempt) -> web.StreamResponse:
    asked = replay_request(attempt.number, await answers.read_json(attempt.request))
    return answers.answer(await attempt.service.replay(asked))


async def _plan(attempt: Attempt) -> web.StreamResponse:
    asked = plan_request(await answers.read_json(attempt.request))
    return answers.answer(await attempt.service.plan(asked, attempt.caller))


async def _rollouts(attempt: Attempt) -> web.StreamResponse:
    limit = query_number(attempt.request.query, "limit", default=20, most=_MOST_ROLLOUTS)
    return answers.answer({"rollouts": await attempt.service.rollouts(limit)})


async def _rollout(attempt: Attempt) -> web.StreamResponse:
    found = await attempt.service.rollout(attempt.number)
    if found is None:
        raise NotFound(f"cannot show rollout {attempt.number}: there is none", "relctl history")
    return answers.answer(found)


async def _events(attempt: Attempt) -> web.StreamResponse:
    followed = None
    if "rollout" in attempt.request.query:
        followed = query_number(attempt.request.query, "rollout", default=0, most=10**9 - 1)
    asked = following(attempt.request.query, followed)
    with attempt.following():
        return await streams.events(
            attempt.service, attempt.request, asked, attempt.glance, attempt.closing
        )


async def _logs(attempt: Attempt) -> web.StreamResponse:
    lines = attempt.service.log_lines(log_request(attempt.request.query))
    with attempt.following():
        return await streams.logs(lines, attempt.request, attempt.closing)


async def _check(attempt: Attempt) -> web.StreamResponse:
    return answers.answer(await attempt.service.check())


async def _new_lines(attempt: Attempt) -> web.StreamResponse:
    asked = query_number(attempt.request.query, "rollout", default=0, most=10**9 - 1)
    return answers.answer(await attempt.service.new_lines(asked or None))


async def _runbook(attempt: Attempt) -> web.StreamResponse:
    return answers.answer({"markdown": await attempt.service.runbook()})


async def _releases(attempt: Attempt) -> web.StreamResponse:
    return answers.answer({"releases": await attempt.service.releases()})


async def _metrics(attempt: Attempt) -> web.StreamResponse:
    return answers.text(await attempt.service.metrics(), METRICS)


async def _told(attempt: Attempt) -> web.StreamResponse:
    return answers.answer({"targets": attempt.service.told()})


async def _tell_all(attempt: Attempt) -> web.StreamResponse:
    attempt.note = note(await answers.read_json(attempt.request), "the body of notify")
    answered = await attempt.service.tell_all()
    told = [target["told"] for target in answered["targets"]]
    attempt.told = f"{sum(told)} of {len(told)} were told"
    return answers.answer(answered)


async def _page(attempt: Attempt) -> web.StreamResponse:
    from reld.api.dashboard.page import page  # only who looks pays for it

    token = attempt.token()
    made = await asyncio.to_thread(page, attempt.caller.name, token, attempt.start)
    return answers.page(*made)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """What was really asked for; the note has a place of its own."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and value is not False and value != "" and name != "note"
    }


def _route(method: str, path: str, role: Role, handler: Handler, command: str = "") -> Route:
    # {number} and {verb} are the only variable parts; a number has no sign and no leading zero.
    pattern = path.replace("{number}", "(?P<number>[1-9][0-9]{0,8})")
    pattern = pattern.replace("{verb}", "(?P<verb>[a-z]{1,16})")
    return Route(method, re.compile(pattern), role, handler, command)


ROUTES = (
    _route("GET", "/", Role.READ, _page),
    _route("GET", "/metrics", Role.READ, _metrics),
    _route("GET", "/v1/notify", Role.READ, _told),
    _route("POST", "/v1/notify", Role.OPERATE, _tell_all, "notify"),
    _route("GET", "/v1/status", Role.READ, _status),
    _route("POST", "/v1/rollouts", Role.OPERATE, _begin, "begin"),
    _route("GET", "/v1/rollouts", Role.READ, _rollouts),
    _route("GET", "/v1/rollouts/{number}", Role.READ, _rollout),
    _route("POST", "/v1/rollouts/{number}/replay", Role.READ, _replay),  # looks, changes nothing
    _route("POST", "/v1/plan", Role.READ, _plan),  # looks, changes nothing
    _route("POST", "/v1/rollouts/{number}/approve", Role.APPROVE, _approve, "approve"),
    _route("POST", "/v1/rollouts/{number}/stay", Role.OPERATE, _stay, "stay"),
    _route("POST", "/v1/rollouts/{number}/detach", Role.OPERATE, _detach, "detach"),
    _route("POST", "/v1/rollouts/{number}/(?P<verb>promote)", Role.AGREE, _steer),
    _route("POST", "/v1/rollouts/{number}/{verb}", Role.OPERATE, _steer),
    _route("POST", "/v1/mend", Role.OPERATE, _mend, "mend"),
    _route("POST", "/v1/maintenance", Role.OPERATE, _maintain, "maintenance"),
    _route("GET", "/v1/audit", Role.AUDIT, _audit),
    _route("GET", "/v1/check", Role.READ, _check),
    _route("GET", "/v1/events", Role.READ, _events),
    _route("GET", "/v1/logs", Role.READ, _logs),
    _route("GET", "/v1/logs/new", Role.READ, _new_lines),
    _route("GET", "/v1/releases", Role.READ, _releases),
    _route("GET", "/v1/runbook", Role.READ, _runbook),
    _route("POST", "/v1/releases", Role.OPERATE, handing.unpack, "unpack"),
    _route("POST", "/v1/run", Role.OPERATE, handing.run, "run"),
)


def find(method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    """The route and the variable parts of the path; None: there is no such route."""
    for route in ROUTES:
        match = route.path.fullmatch(path)
        if match is not None and route.method == method:
            return route, match.groupdict()
    return None


def unknown(method: str, path: str) -> NoSuchRoute:
    return NoSuchRoute(
        f"cannot {method[:10]} {path[:80]}: there is no such route",
        "is relctl newer than reld? relctl version",
    )
