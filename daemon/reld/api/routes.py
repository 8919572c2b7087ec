"""The routes: each declares its role, and nothing is reached but through this table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from reld.api import answers, streams
from reld.api.metrics import CONTENT_TYPE, metrics
from reld.api.peers import Caller
from reld.api.replay import replay_request
from reld.api.requests import NotFound, log_request, query_number, rollout_request, steer
from reld.api.roles import Role
from reld.api.service import Service
from reld.api.status import status

_MOST_ROLLOUTS = 1000


@dataclass(slots=True)
class Attempt:
    """One request on its way; `command` and `target` grow as it is understood (for the audit)."""

    request: web.BaseRequest
    path: Mapping[str, str]
    caller: Caller
    service: Service
    closing: asyncio.Event
    command: str
    target: str = ""

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


async def _status(attempt: Attempt) -> web.StreamResponse:
    return answers.answer(status(attempt.service.state(), attempt.service.vitals()))


async def _begin(attempt: Attempt) -> web.StreamResponse:
    request = rollout_request(await answers.read_json(attempt.request))
    attempt.command, attempt.target = request.kind, request.release or ""
    body = await attempt.service.begin(request, attempt.caller)
    old = body.get("id") is None or body.get("attached") or body.get("already")
    return answers.answer(body, 200 if old else 202)


async def _steer(attempt: Attempt) -> web.StreamResponse:
    attempt.command, attempt.target = attempt.path["verb"], attempt.path["number"]
    body = await answers.read_json(attempt.request)
    asked = steer(attempt.number, attempt.path["verb"], body)
    return answers.answer(await attempt.service.steer(asked, attempt.caller))


async def _mend(attempt: Attempt) -> web.StreamResponse:
    attempt.command = "mend"
    await answers.read_json(attempt.request)
    return answers.answer(await attempt.service.mend(attempt.caller))


async def _replay(attempt: Attempt) -> web.StreamResponse:
    asked = replay_request(attempt.number, await answers.read_json(attempt.request))
    return answers.answer(await attempt.service.replay(asked))


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
    return await streams.events(attempt.service, attempt.request, followed, attempt.closing)


async def _logs(attempt: Attempt) -> web.StreamResponse:
    lines = attempt.service.log_lines(log_request(attempt.request.query))
    return await streams.logs(lines, attempt.request, attempt.closing)


async def _releases(attempt: Attempt) -> web.StreamResponse:
    return answers.answer({"releases": await attempt.service.releases()})


async def _metrics(attempt: Attempt) -> web.StreamResponse:
    return answers.text(metrics(attempt.service.state(), attempt.service.vitals()), CONTENT_TYPE)


async def _page(_: Attempt) -> web.StreamResponse:
    return answers.page()


def _route(method: str, path: str, role: Role, handler: Handler) -> Route:
    # {number} and {verb} are the only variable parts; a number has no sign and no leading zero.
    pattern = path.replace("{number}", "(?P<number>[1-9][0-9]{0,8})")
    return Route(
        method, re.compile(pattern.replace("{verb}", "(?P<verb>[a-z]{1,16})")), role, handler
    )


ROUTES = (
    _route("GET", "/", Role.READ, _page),
    _route("GET", "/metrics", Role.READ, _metrics),
    _route("GET", "/v1/status", Role.READ, _status),
    _route("POST", "/v1/rollouts", Role.OPERATE, _begin),
    _route("GET", "/v1/rollouts", Role.READ, _rollouts),
    _route("GET", "/v1/rollouts/{number}", Role.READ, _rollout),
    _route("POST", "/v1/rollouts/{number}/replay", Role.READ, _replay),  # looks, changes nothing
    _route("POST", "/v1/rollouts/{number}/{verb}", Role.OPERATE, _steer),
    _route("POST", "/v1/mend", Role.OPERATE, _mend),
    _route("GET", "/v1/events", Role.READ, _events),
    _route("GET", "/v1/logs", Role.READ, _logs),
    _route("GET", "/v1/releases", Role.READ, _releases),
)


def find(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    """The route and the variable parts of the path.

    Raises:
        NotFound: there is none.
    """
    for route in ROUTES:
        match = route.path.fullmatch(path)
        if match is not None and route.method == method:
            return route, match.groupdict()
    raise NotFound(
        f"cannot {method[:10]} {path[:80]}: there is no such route",
        "is relctl newer than reld? relctl --version",
    )
