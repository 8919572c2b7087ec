"""Reads nginx's own language as nginx does, to see whether a value got out of its place.

The rules are those of ngx_conf_read_token: quotes only at a word's beginning; a backslash keeps the
next character from ending a word, and vanishes before quotes and itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from reld.nginx.settings import GateSettings

Words = tuple[str, ...]
_MEANT = {"t": "\t", "r": "\r", "n": "\n", '"': '"', "'": "'", "\\": "\\"}


class BrokenText(AssertionError):
    """nginx would not take it."""


@dataclass(frozen=True, slots=True)
class Statement:
    words: Words
    body: tuple[Statement, ...] | None = None


def read(text: str) -> tuple[Statement, ...]:
    """Raises BrokenText."""
    body, at = _body(text, 0, depth=0)
    if at != len(text):
        raise BrokenText(f"a brace too many at {at}")
    return body


def _body(text: str, at: int, depth: int) -> tuple[tuple[Statement, ...], int]:
    found: list[Statement] = []
    words: list[str] = []
    while at < len(text):
        c = text[at]
        if c in " \t\r\n":
            at += 1
        elif c == "#":
            at = text.find("\n", at) % (len(text) + 1)
        elif c == ";":
            if not words:
                raise BrokenText(f"a lone ; at {at}")
            found.append(Statement(tuple(words)))
            words, at = [], at + 1
        elif c == "{":
            if not words:
                raise BrokenText(f"a lone {{ at {at}")
            body, at = _body(text, at + 1, depth + 1)
            found.append(Statement(tuple(words), body))
            words = []
        elif c == "}":
            if words or not depth:
                raise BrokenText(f"an early }} at {at}")
            return tuple(found), at + 1
        else:
            word, at = _quoted(text, at) if c in "\"'" else _bare(text, at)
            words.append(word)
    if words or depth:
        raise BrokenText("it ends too early")
    return tuple(found), at


def _quoted(text: str, at: int) -> tuple[str, int]:
    end = at + 1
    while end < len(text) and text[end] != text[at]:
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise BrokenText(f"a quote without end at {at}")
    if text[end + 1 : end + 2] not in (*" \t\r\n;{)", ""):
        raise BrokenText(f"something behind a quote at {end}")
    return _plain(text[at + 1 : end]), end + 1


def _bare(text: str, at: int) -> tuple[str, int]:
    end = at
    while end < len(text) and text[end] not in " \t\r\n;{":
        if text[end] == "\\" or text.startswith("${", end):
            end += 1
        end += 1
    return _plain(text[at:end]), end


def _plain(raw: str) -> str:
    made, at = [], 0
    while at < len(raw):
        if raw[at] == "\\" and raw[at + 1 : at + 2] in _MEANT:
            made.append(_MEANT[raw[at + 1]])
            at += 2
        else:
            made.append(raw[at])
            at += 1
    return "".join(made)


def twin(settings: GateSettings) -> tuple[dict[str, object], dict[str, str]]:
    """Harmless values for the same places, and what stands for which real one."""
    assets = [f"/twin-asset-{n:03d}/" for n in range(len(settings.assets))]
    names = [f"twin-name-{n:03d}" for n in range(len(settings.routes))]
    matches = [f"/twin-match-{n:03d}" for n in range(len(settings.routes))]
    stand_for = dict(zip(assets, settings.assets, strict=True))
    stand_for |= {n: r.name for n, r in zip(names, settings.routes, strict=True)}
    stand_for |= {m: r.match for m, r in zip(matches, settings.routes, strict=True)}
    stand_for |= {"127.255.255.1:1": settings.listen, "127.255.255.2:2": settings.status}
    routes = tuple(
        type(route)(name, match, route.success)
        for route, name, match in zip(settings.routes, names, matches, strict=True)
    )
    values: dict[str, object] = {
        "assets": tuple(assets), "routes": routes,
        "listen": "127.255.255.1:1", "status": "127.255.255.2:2",
    }  # fmt: skip
    return values, stand_for


def same(
    real: tuple[Statement, ...], of_twin: tuple[Statement, ...], stand: dict[str, str]
) -> None:
    """Raises BrokenText where a value is more, or other, than one piece of one word."""
    if len(real) != len(of_twin):
        raise BrokenText(f"{len(real)} statements in place of {len(of_twin)}")
    for one, other in zip(real, of_twin, strict=True):
        expected = tuple(_replaced(word, stand) for word in other.words)
        if one.words != expected:
            raise BrokenText(f"{one.words} in place of {expected}")
        if (one.body is None) != (other.body is None):
            raise BrokenText(f"a block that is none: {one.words}")
        same(one.body or (), other.body or (), stand)


def _replaced(word: str, stand: dict[str, str]) -> str:
    for name, value in stand.items():
        if name in word:
            return word.replace(name, value)
    return word
