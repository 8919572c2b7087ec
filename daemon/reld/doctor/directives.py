"""nginx's config language, read as nginx reads it, but forgiving: what is broken is read as far as it goes.

Pure, and bounded in every direction: these are other people's files.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)|(?P<comment>\#[^\n]*)|(?P<mark>[;{}])"""
    r"""|(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<word>(?:\$\{[^}\s]*\}|\\.|[^\s;{}"'\\])(?:\$\{[^}\s]*\}|\\.|[^\s;{}\\])*)""",
    re.DOTALL,
)
_DUMPED = re.compile(r"^# configuration file (/.*):$", re.MULTILINE)
DEEPEST = 30
MOST = 20_000
"""Directives that are read; no honest config comes near it."""


@dataclass(slots=True)
class Directive:
    """`line` counts from 1. `block` None: it ended with a semicolon."""

    name: str
    words: tuple[str, ...]
    file: str
    line: int
    block: list[Directive] | None = None

    def all(self, *names: str) -> Iterator[Directive]:
        """Directives of its block with one of these names."""
        return (inner for inner in self.block or () if inner.name in names)

    def last(self, name: str) -> Directive | None:
        return next(iter([*self.all(name)][-1:]), None)


@dataclass(slots=True)
class _Reader:
    files: Mapping[str, str]
    prefix: str
    read: int = 0
    missing: list[str] = field(default_factory=list)

    def file(self, path: str, into: list[Directive], open_: tuple[str, ...]) -> None:
        if path in open_ or len(open_) >= DEEPEST:
            return
        stack = [into]
        for name, words, line, mark in _statements(self.files.get(path, "")):
            if mark == "}":
                if len(stack) > 1:
                    stack.pop()
                continue
            self.read += 1
            if self.read > MOST:
                return
            made = Directive(name, words, path, line, [] if mark == "{" else None)
            if name == "include" and words and mark == ";":
                for inner in self.included(words[0]):
                    self.file(inner, stack[-1], (*open_, path))
                continue
            stack[-1].append(made)
            if made.block is not None:
                stack.append(made.block if len(stack) < DEEPEST else [])

    def included(self, pattern: str) -> list[str]:
        wanted = absolute(pattern, self.prefix)
        if wanted in self.files:
            return [wanted]
        return sorted(path for path in self.files if matches(path, wanted))


def parse(files: Mapping[str, str], main: str) -> Directive:
    """The whole config as one block without a name. `files`: by path; `main`: where nginx begins."""
    top: list[Directive] = []
    _Reader(files, posixpath.dirname(main)).file(main, top, ())
    return Directive("", (), main, 1, top)


def includes(text: str) -> list[str]:
    """The patterns that a file includes."""
    return [
        words[0]
        for name, words, _, mark in _statements(text)
        if name == "include" and words and mark == ";"
    ]


def absolute(pattern: str, prefix: str) -> str:
    return posixpath.normpath(posixpath.join(prefix, pattern))


def matches(path: str, pattern: str) -> bool:
    """As glob(3): a star does not go over a slash, nor stand for a dot at the beginning."""
    mine, wanted = path.split("/"), pattern.split("/")
    return len(mine) == len(wanted) and all(
        fnmatch.fnmatchcase(one, other) and (one[:1] != "." or other[:1] == ".")
        for one, other in zip(mine, wanted, strict=True)
    )


def dumped(text: str) -> tuple[dict[str, str], str]:
    """The files in what `nginx -T` says, and the first of them; ({}, "") where there is none."""
    found = list(_DUMPED.finditer(text))
    files: dict[str, str] = {}
    for at, one in enumerate(found):
        end = found[at + 1].start() if at + 1 < len(found) else len(text)
        # nginx puts an empty line behind each; the lines before it keep their numbers.
        files.setdefault(one[1], text[one.end() + 1 : end])
    return files, found[0][1] if found else ""


def _statements(text: str) -> Iterator[tuple[str, tuple[str, ...], int, str]]:
    """(name, words, line, what ends it): ";", "{", or "}" with an empty name."""
    words: list[str] = []
    at, line, began = 0, 1, 1
    while found := _TOKEN.match(text, at):
        kind, raw = found.lastgroup, found[0]
        if kind == "mark":
            if words and raw != "}":
                yield words[0], tuple(words[1:]), began, raw
            elif raw != ";":
                yield "", (), line, raw
            words = []
        elif kind in ("word", "quoted"):
            if not words:
                began = line
            words.append(_unquoted(raw))
        line += raw.count("\n")
        at = found.end()
        if at <= found.start():
            return


def _unquoted(raw: str) -> str:
    if raw[:1] in ("'", '"') and raw[-1:] == raw[:1] and len(raw) > 1:
        return raw[1:-1].replace("\\" + raw[0], raw[0])
    return raw
