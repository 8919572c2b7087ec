"""Which names and which pages a browser may ask the control socket for: real HTTP, as browsers send it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.api_support import Running, served
from tests.contract.browser_support import (
    AS_OPERATOR,
    HERE,
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


# The name: DNS rebinding.


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080"),
        *("LOCALHOST:1", "reld", "relctl", "x", "x:80", "my-vm_2"),
    ],
)
async def test_this_machines_own_names_are_answered(api: Running, host: str) -> None:
    assert (await send(api.path, "GET", "/v1/status", {"Host": host})).status == 200


FOREIGN_HOSTS = [
    *("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"),
    *("localhost.", "localhost:", "localhost:8080:1", "localhost:123456", "127.0.0.1@evil.example"),
    *("evil.localhost", "192.0.2.7", "127.0.0.2", "[::1", "[::2]", "0.0.0.0", "127.1", "2130706433."),
    *("", "localhost evil.example", "localhost,evil.example", "ｌocalhost.example", "x" * 64),
]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize(
    "target", ["/", "/metrics", "/v1/status", "/v1/logs", "/v1/events", "/v1/nowhere"]
)
async def test_another_name_is_refused_on_every_path(api: Running, host: str, target: str) -> None:
    answer = await send(api.path, "GET", target, {"Host": host})
    assert refused(answer)
    assert "DNS rebinding" in answer.body["error"]["message"]
    assert "http://127.0.0.1:PORT/" in answer.body["error"]["hint"]
    assert "token" not in answer.raw.decode()


async def test_another_name_changes_nothing_and_is_in_the_audit(api: Running) -> None:
    headers = {"Host": "evil.example:8080", "Content-Type": "application/json"}
    assert refused(await send(api.path, "POST", PAUSE, headers, b"{}"))
    assert not api.service.steered
    assert [(r.command, r.outcome, r.code) for r in api.audit] == [
        ("pause", "refused", "foreign-page")
    ]


async def test_every_one_of_several_names_must_be_ours(api: Running) -> None:
    pairs = [("Host", "localhost"), ("Host", "evil.example")]
    for given in (pairs, pairs[::-1]):
        # Newer parsers do not even read it.
        assert (await send(api.path, "GET", "/v1/status", list(given))).status in (400, 403)


async def test_a_client_without_any_name_is_no_browser(api: Running) -> None:
    assert (await send(api.path, "GET", "/v1/status", {})).status == 200


@pytest.mark.parametrize(
    "sign",
    [
        {"Accept-Encoding": "gzip, deflate, br"},
        {"Accept-Language": "en"},
        {"Referer": "http://x/"},
        {"Origin": "http://x"},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("host", ["x", "reld", "relctl:8080"])
async def test_a_name_without_a_dot_is_no_way_in_for_a_browser(
    api: Running, host: str, sign: dict[str, str]
) -> None:
    # Somebody in the same network may own the name "x".
    assert refused(await send(api.path, "GET", "/v1/logs", {"Host": host, **sign}))


# What pages of other sites can send.


FOREIGN_PAGES: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:3000"},  # another program's port is another origin
    {"Origin": "http://localhost:8080"},
    {"Origin": ""},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
    {"Sec-Fetch-Site": "who knows"},
]


@pytest.mark.parametrize("headers", FOREIGN_PAGES)
async def test_a_page_of_another_origin_reads_nothing(
    api: Running, headers: dict[str, str]
) -> None:
    for target in ("/", "/v1/status", "/v1/logs", "/v1/events", "/v1/nowhere"):
        assert refused(await send(api.path, "GET", target, {"Host": HERE, **headers}))


@pytest.mark.parametrize("headers", FOREIGN_PAGES)
async def test_a_page_of_another_origin_changes_nothing_even_with_the_token(
    api: Running, headers: dict[str, str]
) -> None:
    token = await token_of(api.path, **AS_OPERATOR)
    given = {"Host": HERE, "Content-Type": "application/json", "X-Relctl-Token": token, **headers}
    assert refused(await send(api.path, "POST", PAUSE, given, b"{}", **AS_OPERATOR))
    assert not api.service.steered


async def test_a_link_of_another_site_opens_the_page_and_nothing_else(api: Running) -> None:
    link = {**TYPED_IN, "Sec-Fetch-Site": "cross-site"}
    assert (await send(api.path, "GET", "/", link)).status == 200
    assert refused(await send(api.path, "GET", "/v1/logs", link))
    assert refused(await send(api.path, "GET", "/?x", {**link, "Sec-Fetch-Dest": "iframe"}))


async def test_a_preflight_is_refused_without_any_leave(api: Running) -> None:
    asked = {
        "Host": HERE,
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-relctl-token,content-type",
    }
    answer = await send(api.path, "OPTIONS", PAUSE, asked)
    assert refused(answer)
    assert not any(name.lower().startswith("access-control") for name in answer.headers)


# relctl and curl go on as before.


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "reld", "Connection": "close"},
        {"Host": "reld", "Connection": "close", "Content-Type": "application/json"},
        {"Host": "x", "User-Agent": "curl/7.88.1", "Accept": "*/*", "Content-Type": "application/json"},
        {"Host": "localhost", "Accept-Encoding": "identity", "Content-Type": "application/json; charset=utf-8"},
    ],
)  # fmt: skip
async def test_a_program_without_any_sign_of_a_browser_needs_no_token(
    api: Running, headers: dict[str, str]
) -> None:
    assert (await send(api.path, "POST", PAUSE, headers, b"{}")).status == 200


@pytest.mark.parametrize(
    "kind",
    [
        *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"),
        *("text/plain; application/json", "application/jsonp", "application/json, text/plain", "x"),
    ],
)
async def test_a_body_of_another_type_is_refused_with_what_to_say(api: Running, kind: str) -> None:
    headers = {"Host": "localhost", "Content-Type": kind}
    answer = await send(api.path, "POST", PAUSE, headers, b"{}")
    assert refused(answer)
    assert "application/json" in answer.body["error"]["hint"]
    assert not api.service.steered
