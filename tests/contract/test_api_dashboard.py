"""The dashboard's page and its token: real HTTP over the real socket, as browsers send it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator

import pytest

from tests.contract.api_support import APPROVER, STRANGER, VIEWER, Running, served
from tests.contract.browser_support import (
    AS_OPERATOR,
    HERE,
    OWN_PAGE,
    PAUSE,
    TYPED_IN,
    refused,
    send,
    token_of,
)


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with served() as running:
        yield running


# The token.


async def test_only_the_page_of_an_operator_carries_a_token(api: Running) -> None:
    assert await token_of(api.path, uid=VIEWER) == ""
    assert await token_of(api.path, uid=APPROVER) == ""
    assert len(await token_of(api.path, **AS_OPERATOR)) == 48
    assert (await send(api.path, "GET", "/", TYPED_IN, uid=STRANGER)).status == 403


async def test_our_page_with_its_token_may_change(api: Running) -> None:
    headers = {**OWN_PAGE, "X-Relctl-Token": await token_of(api.path, **AS_OPERATOR)}
    assert (await send(api.path, "POST", PAUSE, headers, b"{}", **AS_OPERATOR)).status == 200
    begun = json.dumps({"kind": "rollback"}).encode()
    done = await send(api.path, "POST", "/v1/rollouts", headers, begun, **AS_OPERATOR)
    assert done.status == 202
    assert (len(api.service.steered), len(api.service.begun)) == (1, 1)


@pytest.mark.parametrize("token", [None, "", "0" * 48, "x", "é", "0" * 4000])
async def test_a_browser_without_the_right_token_changes_nothing(
    api: Running, token: str | None
) -> None:
    headers = dict(OWN_PAGE) if token is None else {**OWN_PAGE, "X-Relctl-Token": token}
    for target in (PAUSE, "/v1/rollouts", "/v1/maintenance", "/v1/mend", "/v1/rollouts/42/replay"):
        assert refused(await send(api.path, "POST", target, headers, b"{}", **AS_OPERATOR))
    assert not api.service.steered
    assert {row.code for row in api.audit} == {"foreign-page"}


async def test_a_wrong_token_is_refused_also_where_none_is_needed(api: Running) -> None:
    headers = {"Host": "localhost", "X-Relctl-Token": "0" * 48}
    assert refused(await send(api.path, "POST", PAUSE, headers, b"{}"))


@pytest.mark.parametrize(
    "sign",
    [
        {"Origin": f"http://{HERE}"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Mode": "cors"},
        {"sec-fetch-dest": "empty"},
    ],
)
async def test_any_sign_of_a_browser_makes_the_token_needed(
    api: Running, sign: dict[str, str]
) -> None:
    headers = {"Host": HERE, "Content-Type": "application/json", **sign}
    assert refused(await send(api.path, "POST", PAUSE, headers, b"{}"))


async def test_a_viewer_with_an_operators_token_is_still_a_viewer(api: Running) -> None:
    headers = {**OWN_PAGE, "X-Relctl-Token": await token_of(api.path, **AS_OPERATOR)}
    answer = await send(api.path, "POST", PAUSE, headers, b"{}", uid=VIEWER)
    assert refused(answer)
    assert not api.service.steered


async def test_the_token_of_one_operator_is_nothing_in_the_browser_of_another(
    api: Running,
) -> None:
    headers = {**OWN_PAGE, "X-Relctl-Token": await token_of(api.path, uid=0)}
    assert refused(await send(api.path, "POST", PAUSE, headers, b"{}", **AS_OPERATOR))


async def test_the_token_of_before_a_restart_is_refused_and_says_so(api: Running) -> None:
    before = await token_of(api.path)
    async with served() as again:
        headers = {**OWN_PAGE, "X-Relctl-Token": before}
        answer = await send(again.path, "POST", PAUSE, headers, b"{}")
        assert refused(answer)
        assert "restarted" in answer.body["error"]["hint"]
        assert await token_of(again.path) != before


# The page.


async def test_the_page_lets_nothing_run_but_itself(api: Running) -> None:
    page = await send(api.path, "GET", "/", TYPED_IN)
    policy = page.headers["Content-Security-Policy"]
    for part in ("default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    for part in ("base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"):
        assert part in policy
    assert "unsafe" not in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    # No way out, and a page that people can load over the slowest line.
    assert not re.search(rb"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page.raw)
    assert not re.search(rb"innerHTML|insertAdjacentHTML|document\.write|\beval\(", page.raw)
    assert len(page.raw) < 60_000


async def test_every_answer_is_what_it_says_it_is(api: Running) -> None:
    for target in ("/", "/metrics", "/v1/status", "/v1/logs", "/v1/nowhere"):
        answer = await send(api.path, "GET", target, {"Host": HERE})
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_the_policy_names_the_very_style_and_script_of_the_page(api: Running) -> None:
    page = await send(api.path, "GET", "/", TYPED_IN)
    for tag in (b"style", b"script"):
        inside = page.raw.partition(b"<" + tag + b">")[2].partition(b"</" + tag + b">")[0]
        digest = base64.b64encode(hashlib.sha256(inside).digest()).decode()
        assert f"{tag.decode()}-src 'sha256-{digest}'" in page.headers["Content-Security-Policy"]
