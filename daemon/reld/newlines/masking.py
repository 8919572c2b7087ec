"""A log line → its words, with what differs from line to line masked.

Each word has a key, by which lines are compared, and a form to be shown. What names a person, a moment
or a secret is masked in both; a small number or a quoted string only in the key, because it is often
the news itself (`KeyError: 'phone'`). Every pattern takes time linear in the line, whose length is
bounded: the lines are anybody's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

LONGEST = 500
"""Characters of a line that are looked at."""
MOST_WORDS = 40
REST = "<rest>"
"""Stands for the words behind the first MOST_WORDS."""


class Level(IntEnum):
    """How much a person wants to see it; the least comes first."""

    ERROR = 0
    WARNING = 1
    OTHER = 2


@dataclass(frozen=True, slots=True)
class Line:
    """`keys` and `shown` have the same length, at least one word."""

    keys: tuple[str, ...]
    shown: tuple[str, ...]
    text: str = ""

    @property
    def level(self) -> Level:
        """Worked out when it is asked for: most lines are known, and nobody asks."""
        return level_of(self.text)


_ALWAYS = (
    (
        # Passwords and tokens, wherever they came from, have no business in a receipt.
        r"(?i)\b(passw(?:or)?d|pwd|secret|token|authorization|api[_-]?key|cookie)(\"?\s?[=:]\s?)(?:bearer |basic )?[^\s,;&]{1,500}",
        r"\1\2<secret>",
    ),
    (r"(://[^\s/:@]{0,100}:)[^\s/@]{1,300}@", r"\1<secret>@"),
    (
        r"\b\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?(?:Z| ?[+-]\d\d:?\d\d)?\b",
        "<time>",
    ),
    (r"\b\d\d/[A-Z][a-z]{2}/\d{4}[: ]\d\d:\d\d:\d\d(?: [+-]\d{4})?", "<time>"),
    (r"\b[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d\b", "<time>"),
    (r"\b\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\b", "<time>"),
    (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<id>"),
    (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", "<mail>"),
    (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b", "<ip>"),
    (
        r"(?<![\w:.])(?=[a-fA-F:]{0,40}\d)(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{1,4}(?![\w:])",
        "<ip>",
    ),
    (r"\b0x[0-9a-fA-F]{1,64}\b", "<id>"),
    (r"\b(?=[a-fA-F]{0,500}\d)[0-9a-fA-F]{8,}\b(?!\.)", "<id>"),
    (r"\d{5,}", "<n>"),
)
_ALWAYS_MASKED = tuple((re.compile(pattern), said) for pattern, said in _ALWAYS)
_QUOTED = r"\"(?:[^\"\\]|\\.){0,500}\"|'(?:[^'\\]|\\.){0,500}'"
_WORD = re.compile(rf"(?:(?<![^\s=:,(\[{{])(?:{_QUOTED})|\S)+")
_QUOTE = re.compile(rf"[bru]?(?:{_QUOTED})")
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:(?:ns|us|µs|ms|s|min|m|h|[kKMGT]?i?B|%)(?!\w))?")
_OPAQUE = re.compile(r"(?=[^\d]{0,64}\d)(?=[\d_-]{0,64}[A-Za-z])[\w-]{20,64}")
_MESSAGE = re.compile(
    r"\b(msg|message|err|error|event|exception)=\"((?:[^\"\\]|\\.){0,500})\"", re.IGNORECASE
)
_REQUEST = re.compile(
    r"\"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) ([^\s?\"]{1,500})[^\s\"]{0,500}"
    r"(?: HTTP/[\d.]{1,3})?\"(?:,? (\d{3})\b)?"
)
_CUT = tuple(
    re.compile(rf"\"(?:{names})\": ?\"((?:[^\"\\]|\\.){{0,500}})\"")
    for names in ("level|severity", "msg|message|event", "err|error|exception")
)
_STATUS = re.compile(r"HTTP/\d{3}")
_ERROR = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|SEVERE|PANIC|ALERT|EMERG(?:ENCY)?)\b"
    r"|\b(?i:level|severity|lvl)\"?[=:] ?\"?(?i:error|fatal|critical|panic|alert|emerg)"
    r"|\[(?:error|fatal|crit|critical|alert|emerg)\]|^(?:error|fatal|panic): "
    r"|HTTP/[\d.]{1,3}\" 5\d\d\b|\bTraceback\b|\b[A-Z]\w{0,80}(?:Error|Exception)\b|\b(?:Uncaught|Unhandled|Segmentation fault)\b"
)
_WARNING = re.compile(
    r"\bWARN(?:ING)?\b|\b(?i:level|severity|lvl)\"?[=:] ?\"?(?i:warn)|\[warn(?:ing)?\]|\b\w{1,80}Warning\b"
)
_LEVELS = ((60, "FATAL"), (50, "ERROR"), (40, "WARN"), (0, "INFO"))
"""Of loggers that write numbers (pino, bunyan)."""


def line(said: str, release: str = "") -> Line | None:
    """`release`: its own name, which is no news in its lines. None: there is nothing in it."""
    text = said[:LONGEST].strip()
    if text.startswith("{"):
        text = _of_json(said.strip()) or text
    whole = text
    text = _MESSAGE.sub(r"\1= \2", text)
    text = _REQUEST.sub(_request, text)
    if len(release) > 5:  # of a short one, v2, the number is masked
        text = re.sub(rf"(?<![\w.-]){re.escape(release)}(?![\w-])", "<release>", text)
    for pattern, mask in _ALWAYS_MASKED:
        text = pattern.sub(mask, text)
    words = _WORD.findall(text)
    if not words:
        return None
    keys = [_key(word) for word in words[:MOST_WORDS]]
    if len(words) > MOST_WORDS:
        words, keys = [*words[:MOST_WORDS], REST], [*keys, REST]
    shown = [_opaque(word) for word in words]
    return Line(tuple(keys), tuple(shown), whole)


def level_of(text: str) -> Level:
    if _ERROR.search(text):
        return Level.ERROR
    return Level.WARNING if _WARNING.search(text) else Level.OTHER


def _key(word: str) -> str:
    if _STATUS.fullmatch(word):
        return word
    return _NUMBER.sub("<n>", _opaque(_QUOTE.sub("<str>", word)))


def _opaque(word: str) -> str:
    """Session ids and the like: long, and with digits in it."""
    return _OPAQUE.sub("<id>", word) if len(word) >= 20 else word


def _request(match: re.Match[str]) -> str:
    """`"GET /a?b HTTP/1.1" 500` → `GET /a HTTP/500`: path and status are the news, not the rest."""
    method, path, status = match.groups()
    return f"{method} {path} HTTP/{status}" if status else f"{method} {path}"


def _of_json(said: str) -> str:
    """Level, message and error of a structured line; empty: it is none."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):  # it was cut, or is none
        return " ".join(value for pattern in _CUT for value in pattern.findall(said[:LONGEST])[:1])
    if not isinstance(found, dict) or not found:
        return ""
    level = _first(found, ("level", "severity", "lvl", "levelname"))
    if level.isdecimal():
        level = next((name for least, name in _LEVELS if int(level[:9]) >= least), "")
    message = _first(found, ("msg", "message", "event", "text"))
    error = _error(_field(found, ("err", "error", "exception", "exc_info")))
    if not message and not error:
        message = "{" + ", ".join(str(key) for key in found) + "}"
    told = " ".join(part for part in (level.upper(), message, error) if part)[:LONGEST]
    # What was printable may have been an escape of JSON's.
    return "".join(c if c.isprintable() else " " for c in told)


def _first(found: dict[str, Any], names: tuple[str, ...]) -> str:
    value = _field(found, names)
    return str(value) if isinstance(value, str | int | float) else ""


def _field(found: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((found[name] for name in names if name in found), None)


def _error(value: Any) -> str:
    if isinstance(value, dict):
        parts = (_first(value, ("type", "name", "class")), _first(value, ("message", "msg")))
        return ": ".join(part for part in parts if part)
    if not isinstance(value, str):
        return ""
    lines = [part for part in value.splitlines() if part.strip()] or [""]
    return lines[-1 if lines[0].startswith("Traceback") else 0].strip()
