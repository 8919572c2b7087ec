"""Who may do what: the whole table of routes, asked by everybody, over a real socket."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from reld.api.requests import Approval
from reld.api.roles import Role
from reld.api.routes import ROUTES, Route
from tests.contract.api_support import (
    APPROVER,
    OPERATOR,
    OPERATORS_GROUP,
    STRANGER,
    VIEWER,
    Rules,
    Running,
    ask,
    served,
)

CALLERS: dict[str, dict[str, Any]] = {
    "nobody": {"uid": STRANGER},
    "viewer": {"uid": VIEWER},
    "approver": {"uid": APPROVER},
    "operator": {"uid": OPERATOR, "groups": (OPERATORS_GROUP,)},
    "root": {"uid": 0},
}

ALLOWED = """
    route                                nobody viewer approver operator root
    GET  /                               no     yes    yes      yes      yes
    GET  /metrics                        no     yes    yes      yes      yes
    GET  /v1/notify                      no     yes    yes      yes      yes
    POST /v1/notify                      no     no     no       yes      yes
    GET  /v1/status                      no     yes    yes      yes      yes
    GET  /v1/rollouts                    no     yes    yes      yes      yes
    GET  /v1/rollouts/42                 no     yes    yes      yes      yes
    POST /v1/rollouts/42/replay          no     yes    yes      yes      yes
    POST /v1/plan                        no     yes    yes      yes      yes
    GET  /v1/events                      no     yes    yes      yes      yes
    GET  /v1/logs                        no     yes    yes      yes      yes
    GET  /v1/logs/new                    no     yes    yes      yes      yes
    GET  /v1/releases                    no     yes    yes      yes      yes
    GET  /v1/runbook                     no     yes    yes      yes      yes
    GET  /v1/audit                       no     no     yes      yes      yes
    GET  /v1/check                       no     yes    yes      yes      yes
    POST /v1/rollouts/42/approve         no     no     yes      no       yes
    POST /v1/rollouts                    no     no     no       yes      yes
    POST /v1/rollouts/42/pause           no     no     no       yes      yes
    POST /v1/rollouts/42/resume          no     no     no       yes      yes
    POST /v1/rollouts/42/promote         no     no     yes      yes      yes
    POST /v1/rollouts/42/abort           no     no     no       yes      yes
    POST /v1/rollouts/41/stay            no     no     no       yes      yes
    POST /v1/rollouts/42/detach          no     no     no       yes      yes
    POST /v1/mend                        no     no     no       yes      yes
    POST /v1/maintenance                 no     no     no       bare     bare
    POST /v1/releases                    no     no     no       bare     bare
    POST /v1/run                         no     no     no       bare     bare
    GET  /v1/nowhere                     no     404    404      404      404
    POST /v1/nowhere                     no     404    404      404      404
    GET  /v1/rollouts/42/pause           no     404    404      404      404
"""
"""What the README says of the roles; a path that is none is "no" to who may nothing; "bare": it may be
asked for, but this client has no descriptors to hand over.
"""

LEASE = {"lease": "0123456789abcdef"}
BODIES = {
    "/v1/plan": {"release": "v2"},
    "/v1/rollouts": {"kind": "stop"},
    "/v1/releases": {"release": "v2"},
    "/v1/run": {"argv": ["true"]},
    "/v1/rollouts/41/stay": LEASE,
    "/v1/rollouts/42/detach": LEASE,
}
DONE = {"no": {403}, "yes": {200, 202}, "404": {404}, "bare": {400}}


def cells() -> list[tuple[str, str, str, str]]:
    head, *rows = [line.split() for line in ALLOWED.strip().splitlines()]
    return [
        (method, path, who, word)
        for method, path, *words in rows
        for who, word in zip(head[1:], words, strict=True)
    ]


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with served() as running:
        yield running


@pytest.mark.parametrize(("method", "path", "who", "word"), cells())
async def test_each_route_does_for_each_caller_what_the_table_says(
    api: Running, method: str, path: str, who: str, word: str
) -> None:
    ends = "/v1/events?rollout=41" if path == "/v1/events" else path
    answer = await ask(api.path, method, ends, BODIES.get(path, {}), **CALLERS[who])
    assert answer.status in DONE[word]
    if word == "no":
        assert answer.body["error"]["code"] == "not-permitted"
        done = (api.service.begun, api.service.steered, api.service.approved)
        assert not any(done)


def test_the_table_tells_of_every_route() -> None:
    told = [(method, path) for method, path, *_ in cells()]
    for route in ROUTES:
        assert any(m == route.method and route.path.fullmatch(p) for m, p in told), route.path


def test_a_route_without_a_role_cannot_be_made() -> None:
    assert all(isinstance(route.role, Role) for route in ROUTES)
    with pytest.raises(TypeError):
        Route("GET", re.compile("/"), handler=ROUTES[0].handler)  # type: ignore[call-arg]


async def test_who_operates_and_approves_may_do_both(api: Running) -> None:
    api.server.access = Rules(operators=(str(OPERATOR),), approvers=(str(OPERATOR),))
    approve = await ask(api.path, "POST", "/v1/rollouts/42/approve", {}, uid=OPERATOR)
    begin = await ask(api.path, "POST", "/v1/rollouts", {"kind": "stop"}, uid=OPERATOR)
    assert (approve.status, begin.status) == (200, 202)


async def test_a_group_of_approvers_is_a_group(api: Running) -> None:
    api.server.access = Rules(approvers=("@54321",))
    path = "/v1/rollouts/42/approve"
    assert (await ask(api.path, "POST", path, {}, uid=STRANGER, groups=(54321,))).status == 200
    assert (await ask(api.path, "POST", path, {}, uid=STRANGER, groups=(54322,))).status == 403


async def test_an_approval_says_who_and_why(api: Running) -> None:
    path = "/v1/rollouts/42/approve"
    await ask(api.path, "POST", path, {"note": "tested in staging"}, uid=APPROVER)
    approval, caller = api.service.approved[0]
    assert approval == Approval(42, "tested in staging")
    assert caller.people == (APPROVER,)


# The audit.


async def test_every_attempt_to_change_is_in_the_audit_with_its_outcome(api: Running) -> None:
    switch = {
        "kind": "switch",
        "release": "v2",
        "options": {"bake": 0, "steps": [50, 100], "note": "ticket 7"},
    }
    await ask(api.path, "GET", "/v1/status")
    await ask(api.path, "GET", "/v1/audit", uid=VIEWER)
    await ask(api.path, "POST", "/v1/rollouts", switch)
    await ask(api.path, "POST", "/v1/rollouts/42/abort", {"note": "too slow"})
    await ask(api.path, "POST", "/v1/rollouts/42/promote", {"full": True})
    await ask(api.path, "POST", "/v1/rollouts/42/approve", {"note": "yes"}, uid=APPROVER)
    await ask(api.path, "POST", "/v1/mend", {"note": "disk changed"})
    await ask(api.path, "POST", "/v1/rollouts/41/pause", {})
    await ask(api.path, "POST", "/v1/rollouts", b"{")
    for path in ("/v1/rollouts", "/v1/rollouts/42/abort", "/v1/rollouts/42/approve", "/v1/mend"):
        await ask(api.path, "POST", path, {}, uid=VIEWER)
    seen = [
        (r.uid, r.command, r.target, r.arguments, r.note, r.outcome, r.code, r.rollout)
        for r in api.audit
    ]
    options = '{"steps":[50,100],"bake":0.0}'
    denied = ("{}", "", "refused", "not-permitted")
    assert seen == [
        (0, "switch", "v2", options, "ticket 7", "accepted", "", 42),
        (0, "abort", "42", "{}", "too slow", "accepted", "", 42),
        (0, "promote", "42", '{"full":true}', "", "accepted", "", 42),
        (APPROVER, "approve", "42", "{}", "yes", "accepted", "", 42),
        (0, "mend", "", "{}", "disk changed", "accepted", "", None),
        (0, "pause", "41", "{}", "", "refused", "not-found", 41),
        (0, "begin", "", "{}", "", "refused", "bad-request", None),
        (VIEWER, "begin", "", *denied, None),
        (VIEWER, "abort", "42", *denied, 42),
        (VIEWER, "approve", "42", *denied, 42),
        (VIEWER, "mend", "", *denied, None),
    ]
    assert api.audit[-1].told == f"cannot change anything: user {VIEWER} is not permitted"
    first = api.audit[0]
    assert (first.time, first.pid, first.name) == ("1970-01-01T00:00:10.000Z", os.getpid(), "root")


@pytest.mark.parametrize("note", ["x" * 501, "a\nb", "\x1b[2J", "\udc80", 7, ["x"], "\u202etxt"])
async def test_a_note_is_one_short_line_of_what_can_be_printed(api: Running, note: Any) -> None:
    for path, body in (
        ("/v1/rollouts", {"kind": "stop", "options": {"note": note}}),
        ("/v1/rollouts/42/pause", {"note": note}),
        ("/v1/rollouts/42/approve", {"note": note}),
        ("/v1/mend", {"note": note}),
    ):
        assert (await ask(api.path, "POST", path, body)).status == 400
    assert [row.outcome for row in api.audit] == ["refused"] * 4
    assert not api.service.begun


async def test_the_audit_is_read_with_a_limit(api: Running) -> None:
    answer = await ask(api.path, "GET", "/v1/audit?limit=1", uid=APPROVER)
    assert answer.body == {"audit": [{"command": "switch"}]}
    assert (await ask(api.path, "GET", "/v1/audit?limit=1001")).status == 400
