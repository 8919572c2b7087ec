"""TOML with line numbers, and findings that say where and what to write instead.

`tomllib` forgets where a key stood. A small second pass over the text, which is known to be valid
by then, finds the line of every table header and key; it never has to judge syntax.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Key = tuple[str | int, ...]

_AT = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_OPENING = re.compile(r"\[{0,2}")
_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')[ \t]*(\.?)""")
_VALUE_PART = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'''
    r"""|\'\'\'(?:[^']|'{1,2}(?!'))*'{3,5}"""
    r"""|"(?:[^"\\]|\\.)*"|'[^']*'|\#[^\n]*|\n|[\[\]{}]|[^"'#\n\[\]{}]+""",
    re.DOTALL,
)

# What people call it elsewhere (lower case, without - and _): systemd, docker, kamal, capistrano,
# kubernetes.
_ELSEWHERE = {
    "execstart": "app.command", "entrypoint": "app.command", "cmd": "app.command",
    "args": "app.command", "exec": "app.command", "workingdirectory": "app.directory",
    "workingdir": "app.directory", "workdir": "app.directory", "deployto": "app.directory",
    "currentpath": "app.directory", "releasepath": "app.directory", "cwd": "app.directory",
    "releasesdirectory": "app.directory", "image": "app.directory", "group": "app.user",
    "runas": "app.user", "hosts": "app.host", "hostname": "app.host", "domain": "app.host",
    "servername": "app.host", "replicas": "app.instances", "scale": "app.instances",
    "workers": "app.instances", "servers": "app.instances", "environmentfile": "app.env_file",
    "linkedfiles": "app.env_file", "environment": "app.env", "defaultenv": "app.env",
    "killsignal": "app.stop_signal", "execstop": "app.stop_signal",
    "timeoutstopsec": "app.stop_timeout", "stopgraceperiod": "app.stop_timeout",
    "terminationgraceperiodseconds": "app.stop_timeout", "service": "app", "services": "app",
    "application": "app", "unit": "app", "port": "ports.range", "expose": "ports.range",
    "appport": "ports.range", "healthcheck": "readiness", "readinessprobe": "readiness",
    "test": "readiness.command", "httpget": "readiness.path",
    "timeoutstartsec": "readiness.deadline", "startperiod": "readiness.deadline",
    "deploytimeout": "readiness.deadline", "periodseconds": "readiness.interval",
    "timeoutseconds": "readiness.timeout", "successthreshold": "readiness.successes",
    "livenessprobe": "liveness", "watchdogsec": "liveness.interval",
    "retries": "liveness.failures", "failurethreshold": "liveness.failures",
    "deploy": "rollout", "updateconfig": "rollout", "canary": "rollout.steps",
    "draintimeout": "rollout.drain_max", "prestop": "rollout.drain", "proxy": "gate",
    "nginx": "gate", "listenstream": "gate.listen", "bind": "gate.listen",
    "responsetimeout": "gate.timeout", "proxyreadtimeout": "gate.timeout",
    "assetpath": "gate.assets", "execstartpre": "hooks.before_start",
    "predeploy": "hooks.before_start", "execstartpost": "hooks.after_switch",
    "postdeploy": "hooks.after_switch", "execstoppost": "hooks.after_retire",
}  # fmt: skip


class Document:
    """A TOML text that was read, and the line of everything in it."""

    def __init__(self, data: dict[str, Any], lines: Mapping[Key, int]) -> None:
        self.data = data
        self._lines = lines

    def line(self, key: Key) -> int:
        """The line of a key, or of the nearest thing around it that has one."""
        while key and key not in self._lines:
            key = key[:-1]
        return self._lines.get(key, 1)


class MalformedError(Exception):
    """The bytes are no TOML; `key` is the key on that line, or "syntax"."""

    def __init__(self, line: int, key: str, what: str, expected: str) -> None:
        super().__init__(what)
        self.line, self.key, self.what, self.expected = line, key, what, expected


def parse(content: bytes) -> Document:
    """Read TOML. Raises MalformedError, and nothing else whatever the bytes are."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MalformedError(line, "syntax", "not UTF-8", "a text file in UTF-8") from None
    text = text.replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
        return Document(data, _index(text))
    except tomllib.TOMLDecodeError as error:
        raise _malformed(text, str(error)) from None
    except RecursionError:
        raise MalformedError(1, "syntax", "nested too deeply", "tables and keys") from None
    except ValueError:  # Python's limit on the digits of an integer
        found = re.search(r"[0-9_]{4000}", text)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        raise MalformedError(line, "syntax", "a number too long to read", "a shorter one") from None


def _malformed(text: str, message: str) -> MalformedError:
    found = _AT.search(message)
    lines = text.split("\n")
    line = int(found[1]) if found and found[1] else len(text.rstrip().split("\n"))
    what = message[: found.start()] if found else message
    what = one_line(what[:1].lower() + what[1:])
    here = lines[line - 1] if line <= len(lines) else ""
    key = re.match(r"[ \t]*([A-Za-z0-9_.-]+)[ \t]*=", here)
    expected = 'TOML: key = "text", key = 5, key = ["a", "list"], or a [table]'
    return MalformedError(line, key[1] if key else "syntax", f"{what} (TOML)", expected)


def _index(text: str) -> dict[Key, int]:
    lines: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    at, line = 0, 1
    while True:
        start, at = at, at + len(_matched(_SPACE, text, at))
        line += text.count("\n", start, at)
        if at >= len(text):
            return lines
        opening = _matched(_OPENING, text, at)
        parts, end = _key(text, at + len(opening))
        if end <= at:  # cannot happen in valid TOML; the lines so far are better than a loop
            return lines
        if opening:
            table = (*_resolve(parts[:-1], counts), parts[-1])
            if opening == "[[":
                counts[table] = counts.get(table, 0) + 1
            table = _resolve(parts, counts)
            _note(lines, table, line)
            at = end + len(opening)
        else:
            _note(lines, (*table, *parts), line)
            after = _after_value(text, end + 1)
            line += text.count("\n", at, after)
            at = after


def _matched(pattern: re.Pattern[str], text: str, at: int) -> str:
    found = pattern.match(text, at)
    return found[0] if found else ""


def _resolve(parts: tuple[str, ...], counts: Mapping[Key, int]) -> Key:
    """A table's path; in an array of tables the name means its last element so far."""
    path: Key = ()
    for part in parts:
        path = (*path, part)
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _note(lines: dict[Key, int], key: Key, line: int) -> None:
    for length in range(1, len(key) + 1):
        lines.setdefault(key[:length], line)


def _key(text: str, at: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while found := _KEY_PART.match(text, at):
        raw, at = found[1], found.end()
        parts.append(raw if _BARE.fullmatch(raw) else str(tomllib.loads(f"k={raw}")["k"]))
        if not found[2]:
            break
    return tuple(parts), at


def _after_value(text: str, at: int) -> int:
    depth = 0
    while found := _VALUE_PART.match(text, at):
        part = found[0]
        if part == "\n" and depth == 0:
            break
        at = found.end()
        depth += (part in "[{") - (part in "]}")
    return at


class Findings:
    """What is wrong with one file, each with its line."""

    def __init__(self, path: Path, document: Document) -> None:
        self._path = path
        self._document = document
        self._found: dict[str, int] = {}
        self._keys: set[Key] = set()

    def add(self, key: Key, what: str, expected: str = "", meant: str = "") -> None:
        line = self._document.line(key)
        self._keys.add(key)
        self._found.setdefault(sentence(self._path, line, dotted(key), what, expected, meant), line)

    def about(self, *keys: Key) -> bool:
        """Whether one of these keys is wrong already: then nothing can be concluded from it."""
        return not self._keys.isdisjoint(keys)

    @property
    def sorted(self) -> tuple[str, ...]:
        return tuple(sorted(self._found, key=lambda text: self._found[text]))


def sentence(
    path: Path, line: int, key: str, what: str, expected: str = "", meant: str = ""
) -> str:
    text = f"{one_line(str(path))}:{line}: {key}: {what}"
    text += f"; expected {expected}" if expected else ""
    return text + (f"; did you mean {meant}?" if meant else "")


def one_line(text: str) -> str:
    """Text of a stranger's, safe to print: one line, no control characters, no lone surrogates."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def dotted(key: Key) -> str:
    names = [part for part in key if isinstance(part, str)]
    return ".".join(n if _BARE.fullmatch(n) else one_line(json.dumps(n)) for n in names) or "file"


def nearest(key: str, table: str, known: Iterable[str]) -> str:
    """The key that was probably meant, or "". `known` are all dotted keys; `table` may be ""."""
    every = tuple(known)
    plain = re.sub(r"[-_]", "", key[:64]).lower()
    siblings = {_last(k): k for k in every if k.rpartition(".")[0] == table}
    if plain in siblings:
        return siblings[plain]
    if plain in _ELSEWHERE:
        return _ELSEWHERE[plain]
    if close := difflib.get_close_matches(plain, siblings, 1, 0.7):
        return siblings[close[0]]
    others: dict[str, str] = {}
    for other in every:
        others.setdefault(_last(other), other)
    close = difflib.get_close_matches(plain, others, 1, 0.8)
    return others[close[0]] if close else ""


def _last(key: str) -> str:
    return key.rpartition(".")[2].replace("_", "")
