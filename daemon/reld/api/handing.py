"""POST /v1/releases and /v1/run: first it is asked whether it may be done, then descriptors are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from reld.api import answers, handed
from reld.api.handed import Hands
from reld.errors import Refused

if TYPE_CHECKING:
    from reld.api.routes import Attempt


async def unpack(attempt: Attempt) -> web.StreamResponse:
    asked = handed.unpack_request(await answers.read_json(attempt.request))
    attempt.target, attempt.note = asked.release, asked.note
    hands = _hands(attempt)
    await hands.refuse_unpack(asked)
    with attempt.following():
        given = await handed.take(attempt.request, 2)
        with handed.closing(given):
            await attempt.begun()
            over = handed.over(attempt.request, attempt.closing)
            done = await hands.unpack(asked, given[0], given[1], over)
    attempt.told = done["message"]
    return answers.answer(done)


async def run(attempt: Attempt) -> web.StreamResponse:
    asked = handed.run_request(await answers.read_json(attempt.request))
    attempt.target, attempt.note = asked.release or "", asked.note
    attempt.arguments = {"argv": list(asked.argv)}
    hands = _hands(attempt)
    await hands.refuse_run(asked)
    with attempt.following():
        given = await handed.take(attempt.request, 3)
        with handed.closing(given):
            await attempt.begun()
            over = handed.over(attempt.request, attempt.closing)
            done = await hands.run(asked, (given[0], given[1], given[2]), over)
    attempt.told = done["message"]
    return answers.answer(done)


def _hands(attempt: Attempt) -> Hands:
    if attempt.hands is None:
        raise Refused(f"cannot {attempt.command}: this reld starts nothing")
    return attempt.hands
