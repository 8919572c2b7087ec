"""What a hostile client might send: HTTP that is none, HTTP that is some, and JSON of all shapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz.mutate import DICTIONARY, spoiled

SECRET = "this lies outside of the logs"
"""A text in a file beside them."""

NAMES = (
    "v1", "v2", "", ".", "..", "../secret", "../../etc/passwd", "..%2fsecret", "v1\0", "a" * 64, "a" * 65,
    "-x", "v1\n", "\u202ev1", "\ud800", "é", "v1/../../secret", "/etc/passwd", "${x}", "$(id)", "`id`", "v1;",
    "😀", "CON", "v1.log", "*", "%s%n", "x" * 100_000,
)  # fmt: skip
NUMBERS = (
    "1", "2", "3", "0", "00", "-1", "+1", "1.0", "1e3", "999999999", "1000000000", "9" * 30, "9" * 5000, "٣",
    "0x10", "1_0", " 1", "1 ", "NaN", "null", "..", "%31", "1%00", "", "9223372036854775808",
)  # fmt: skip
PATHS = (
    "/", "/metrics", "/v1/notify", "/v1/status", "/v1/rollouts", "/v1/rollouts/{n}", "/v1/rollouts/{n}/{v}", "/v1/mend",
    "/v1/events", "/v1/events?rollout={n}", "/v1/events?every={n}&last={n}", "/v1/logs?release={r}&lines={n}", "/v1/logs?slot={r}",
    "/v1/logs?follow=1&release={r}", "/v1/logs/new", "/v1/logs/new?rollout={n}", "/v1/releases", "/v1/run",
    "/v1/maintenance", "/v1/audit?limit={n}", "/v1/rollouts?limit={n}",
    "/v1/nowhere", "/v1/plan", "//v1/status", "/v1/../v1/status", "/v1/status/", "/v1/status;x", "/v1/status#x",
    "*", "http://[", "http://x/v1/status", "/%", "/%zz", "/%00", "/%ed%a0%80", "/\xff", "/v1/rollouts/{n}%2fabort",
    "?", "/?" + "a=b&" * 2000, "/v1/" + "a/" * 3000, "x:y", "//[::1", "http://a:b:c/", "/v1/logs?lines={n}&lines=1",
    "/v1/rollouts?limit", "/v1/rollouts?=&&=;%", "/v1/logs?release=%2e%2e%2fsecret", "/v1/status?\x00",
)  # fmt: skip
VERBS = (
    "pause", "resume", "promote", "abort", "approve", "replay", "stay", "detach", "explode", "", "a" * 99,
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get", "", "G E T",
           "GET\0", "\xff", "PRI", "M" * 10_000)  # fmt: skip
VERSIONS = (
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/1.",
    "HTTP/9.9",
    "",
    "http/1.1",
    "HTTP/1.1 x",
)
HEADERS = (
    b"Host: x", b"Host: x\r\nHost: y", b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade",
    b"Upgrade: websocket", b"Upgrade: h2c\r\nHTTP2-Settings: AAAA", b"Expect: 100-continue", b"Expect: x",
    b"Content-Encoding: gzip", b"Content-Encoding: deflate", b"Content-Encoding: br", b"Content-Type: \xff",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: identity", b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: +5",
    b"Content-Length: 99999999999999999999", b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 1e3",
    b"Content-Length: ", b": x", b"X", b"X : y", b" folded: y", b"X: a\r\n b", b"X: \0", b"X\0: y", b"\xff: \xff",
    b"Cookie: " + b"a=b; " * 1000, b"X: " + b"y" * 9000, b"Accept: text/html", b"Range: bytes=0-",
    b"X-Forwarded-For: 127.0.0.1", b"Authorization: Basic cm9vdDo=", b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA",
    b"Host: evil.example:8080", b"Host: \xff", b"Host: [::1", b"Origin: null", b"Origin: \xff", b"Origin: http://reld",
    b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Site: same-origin", b"X-Relctl-Token: \xff", b"X-Relctl-Token: 0",
    b"Content-Type: application/json", b"Content-Type: text/plain; " + b"x" * 500, b"Accept-Language: en",
)  # fmt: skip
KINDS = (
    "switch",
    "rollback",
    "restart",
    "start",
    "stop",
    "contract",
    "eject",
    "rehearsal",
    "",
    "SWITCH",
    "switch\0",
    None,
    1,
)
OPTIONS = (
    "steps", "step_time", "step_max", "step_requests", "bake", "drain", "drain_max", "now", "force", "supersede",
    "dry_run", "reason", "observe", "note", "unit", "port", "on_duty", "stop_first", "surge", "shadow", "fail", "share", "time", "__class__", "", "x" * 5000, "\ud800",
)  # fmt: skip
WORDS = (
    ["true"], ["sh", "-c", "exit 3"], [], [""], ["a\0b"], ["\ud800"], ["x"] * 1001, ["\u202e"], ["-"], "true", {"0": "a"},
    [["a"]], [None], ["\n"],
)  # fmt: skip
NETWORKS = (
    ["192.0.2.0/24"], ["::1"], ["0.0.0.0/0"], ["192.0.2.7/24"], ["192.0.2.0/33"], ["::ffff:1.2.3.4"], ["fe80::1%lo"],
    ["1;}"], [""], [7], ["١.1.1.1"], ["::/0"] * 201, "::1", {}, ["0x7f.1"], ["127.1"], ["192.0.2.0/255.255.255.0"],
)  # fmt: skip
PAGES = (
    "<p>sorry</p>",
    "",
    "$host {0} ; }",
    "\ud800",
    "é" * 1000,
    "\0",
    "x" * 60_000,
    "x" * (257 << 10),
    7,
    None,
)
RAW = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"1" * 4299, b"1" * 5000, b"[" * 30_000, b'{"a":' * 10_000,
    b"\xff\xfe", b"\xef\xbb\xbf{}", b"null", b"true", b'"\\ud800"', b'"\x00"', b"{" * 60_000, b'{"kind":"stop",}',
    b"[]", b"0", b'""', b"{} {}", b"//", b" " * 65_536, b" " * 65_537, b"[" + b"1," * 30_000 + b"1]", b"\x00",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """`doubtful`: it may be no complete request; `leaves`: the client does not wait at all.

    `hands`: so many descriptors are sent, with the last piece of it or after the answer.
    """

    data: bytes
    doubtful: bool = True
    leaves: bool = False
    hands: int = 0


def made(chance: Random) -> Input:
    kind = chance.choice(_KINDS)
    data = kind(chance)
    dice = chance.random()
    if dice < 0.25:
        return Input(spoiled(chance, data, DICTIONARY))
    if dice < 0.35:
        return Input(data[: chance.randrange(len(data) + 1)], leaves=chance.random() < 0.7)
    if kind is _handing or dice > 0.98:
        return Input(data, hands=chance.choice((0, 1, 2, 2, 3, 3, 4, 253)))
    whole = kind in (_plain_get, _plain_post)
    return Input(data, doubtful=not whole, leaves=dice > 0.97)


def value(chance: Random, depth: int = 0) -> Any:
    """Any JSON value, most of them wrong."""
    pick = chance.randrange(12)
    if pick == 0 and depth < 4:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if pick == 1 and depth < 4:
        return {str(value(chance, 9))[:50]: value(chance, depth + 1) for _ in range(3)}
    simple: tuple[Any, ...] = (
        None, True, False, 0, 1, -1, 0.5, 1e308, 10**30, -(10**400), [5, 50, 100], [100], [100, 5], [0, 100], [True, 100],
        "x" * 501, "x\ny", "\u2028", 30, 86400 * 30, 86400 * 31, [1] * 5000, {}, [], 1e-320, 65535, 65536,
        *NAMES, *NUMBERS,
    )  # fmt: skip
    return chance.choice(simple)


def _body(chance: Random) -> bytes:
    dice = chance.random()
    if dice < 0.25:
        return chance.choice(RAW)
    if dice < 0.35:
        return json.dumps(value(chance)).encode()
    if dice < 0.5:
        keys = ("full", "reason", "note", "lease", "false_alarm", "max_p95", "warmup", "x")
        named = {key: value(chance) for key in keys if chance.random() < 0.3}
        return json.dumps(named).encode()
    if dice < 0.75:
        good: dict[str, Any] = {"kind": chance.choice(("switch", *KINDS[:7]))}
        if good["kind"] in ("switch", "rollback"):
            good["release"] = chance.choice(("v1", "v2", "v3"))
        good["options"] = {
            "bake": 1,
            "steps": [50, "approve", 100],
            "note": "x",
            "dry_run": dice < 0.57,
        }
        return json.dumps(good).encode()
    options = {key: value(chance) for key in OPTIONS if chance.random() < 0.15}
    if chance.random() < 0.5:
        options["dry_run"] = True
    body: dict[str, Any] = {"kind": chance.choice(KINDS), "release": chance.choice((None, *NAMES))}
    if chance.random() < 0.7:
        body["options"] = options
    if chance.random() < 0.1:
        body[str(value(chance, 9))[:50]] = value(chance)
    return json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


def _target(chance: Random) -> str:
    path = chance.choice((chance.choice(PATHS[:17]), chance.choice(PATHS)))
    path = path.replace(
        "{n}", chance.choice((chance.choice(NUMBERS[:3]), chance.choice(NUMBERS)))
    ).replace("{v}", chance.choice(VERBS))
    return path.replace("{r}", chance.choice(NAMES))


def _lines(chance: Random, method: str, target: str, *more: bytes) -> bytes:
    version = "HTTP/1.1" if chance.random() < 0.85 else chance.choice(VERSIONS)
    first = f"{method} {target} {version}".encode("utf-8", "surrogatepass")
    many = chance.choice((0, 0, 0, 1, 2, 5, 200))
    headers = [chance.choice(HEADERS) for _ in range(many)]
    end = b"\r\n" if chance.random() < 0.9 else chance.choice((b"\n", b"\r", b"\r\r\n", b"\0"))
    return end.join((first, b"Host: reld", *headers, *more, b"", b""))


def _get(chance: Random) -> bytes:
    return _lines(chance, chance.choice(("GET", "GET", chance.choice(METHODS))), _target(chance))


def _post(chance: Random) -> bytes:
    body = _body(chance)
    paths = ("/v1/rollouts", "/v1/rollouts", "/v1/rollouts/{n}/{v}", "/v1/mend")
    path = chance.choice(paths).replace("{n}", chance.choice(NUMBERS[:3] + NUMBERS))
    path = path.replace("{v}", chance.choice(VERBS))
    length = len(body) if chance.random() < 0.9 else chance.choice((0, 1, len(body) + 5, 10**12))
    return _lines(chance, "POST", path, f"Content-Length: {length}".encode()) + body


def _plain_post(chance: Random) -> bytes:
    """Right as HTTP, so that it is the body that is judged."""
    body = _body(chance)
    paths = ("/v1/rollouts", "/v1/rollouts", "/v1/rollouts/{n}/replay", "/v1/mend")
    path = chance.choice((*paths, "/v1/rollouts/{n}/{v}")).replace("{v}", chance.choice(VERBS[:8]))
    path = path.replace("{n}", str(chance.randrange(1, 30)))
    head = f"POST {path} HTTP/1.1\r\nHost: reld\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _plain_get(chance: Random) -> bytes:
    """Right as HTTP, so that it is the path and the query that are judged."""
    target = _target(chance).encode("utf-8", "replace").replace(b" ", b"%20")
    return b"GET " + target + b" HTTP/1.1\r\nHost: reld\r\n\r\n"


def _handing(chance: Random) -> bytes:
    """What wants descriptors, and maintenance: mostly right, with one thing odd."""
    kind = chance.choice(("/v1/run", "/v1/releases", "/v1/maintenance", "/v1/maintenance"))
    fields: dict[str, Any] = {
        "/v1/run": {"argv": chance.choice(WORDS), "terminal": True, "term": chance.choice(NAMES)},
        "/v1/releases": {"release": chance.choice(NAMES[:2] + NAMES), "note": "x"},
        "/v1/maintenance": {
            "on": chance.choice((True, True, False, None)),
            "page": chance.choice(PAGES), "allow": chance.choice(NETWORKS), "reason": "x",
        },
    }[kind]  # fmt: skip
    for name in [name for name in fields if name not in ("on", "argv", "release")]:
        if chance.random() < 0.4:
            del fields[name]
    if chance.random() < 0.3:
        fields[chance.choice((*fields, "release", "x"))] = value(chance)
    body = json.dumps(fields).encode()
    expect = b"Expect: 100-continue\r\n" if chance.random() < 0.7 else b""
    head = f"POST {kind} HTTP/1.1\r\nHost: reld\r\nContent-Length: {len(body)}\r\n"
    more = chance.choice((b"", b"", b"d", b"ddd"))
    return head.encode() + expect + b"\r\n" + body + more


def _chunked(chance: Random) -> bytes:
    body = _body(chance)[:5000]
    sizes = (
        b"%x" % len(body),
        b"0",
        b"-1",
        b"FFFFFFFFFFFFFFFFFF",
        b"1" * 100,
        b"zz",
        b"",
        b" 5",
        b"5;x=y",
    )
    size = sizes[0] if chance.random() < 0.6 else chance.choice(sizes)
    ends = (
        b"0\r\n\r\n",
        b"0\r\n\r\n",
        b"",
        b"0\r\nX: y\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"\r\n",
    )
    head = _lines(chance, "POST", "/v1/rollouts", b"Transfer-Encoding: chunked")
    return head + size + b"\r\n" + body + b"\r\n" + chance.choice(ends)


def _several(chance: Random) -> bytes:
    parts = [chance.choice((_get, _plain_post))(chance) for _ in range(chance.choice((2, 3, 20)))]
    return b"".join(parts)


def _garbage(chance: Random) -> bytes:
    return chance.randbytes(chance.choice((1, 10, 100, 5000))) + chance.choice((b"", b"\r\n\r\n"))


_KINDS: tuple[Callable[[Random], bytes], ...] = (
    _get, _plain_get, _plain_get, _post, _post, _plain_post, _plain_post, _plain_post, _handing, _handing,
    _chunked, _several, _garbage,
)  # fmt: skip
