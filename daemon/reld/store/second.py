"""The copy of the state, in a file of its own beside the database.

    {"format": 1, "schema": 3, "sequence": 812, "sum": "…"}
    the state
    [number, "release", "snapshot"]      one line each

Written whole after each commit and before the save is acknowledged, so it is never older than what
anybody was told. It is small (the state and the snapshots in use), and it shares nothing with SQLite:
no page, no log, no index. The first line and its sum stay as they are in later versions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from reld import durable
from reld.store import schema
from reld.store.content import Content, total
from reld.store.trouble import Damaged

_FORMAT = 1
_MOST = 256 << 20
"""Bytes that are read at most: what is larger is not ours."""


@dataclass(frozen=True, slots=True)
class Second:
    """`content` None: it was written by a newer reld, whose schema says how new."""

    schema: int
    content: Content | None


def write(path: Path, content: Content) -> None:
    """Raises OSError."""
    lines = ["" if content.state is None else content.state]
    lines += [
        json.dumps([number, release, text]) for number, (release, text) in content.snapshots.items()
    ]
    body = "".join(f"{line}\n" for line in lines).encode()
    head = {
        "format": _FORMAT,
        "schema": schema.VERSION,
        "sequence": content.sequence,
        "sum": _sum(schema.VERSION, content.sequence, body),
    }
    durable.replace(path, json.dumps(head).encode() + b"\n" + body)


def read(path: Path) -> Second | None:
    """None: there is none. Raises Damaged."""
    try:
        with path.open("rb") as file:
            first, _, body = file.read(_MOST).partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read: {error.strerror}") from error
    try:
        head = json.loads(first)
        version, sequence = int(head["schema"]), int(head["sequence"])
        if head["sum"] != _sum(version, sequence, body):
            raise Damaged(f"{path.name} is not what was written")
        if version > schema.VERSION or head["format"] != _FORMAT:
            return Second(version, None)
        return Second(version, _content(sequence, body))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{path.name} is damaged: {error}") from error


def _content(sequence: int, body: bytes) -> Content:
    state, *snapshots = body.decode().rstrip("\n").split("\n")
    found = (json.loads(line) for line in snapshots)
    known = {int(number): (str(release), str(text)) for number, release, text in found}
    return Content(sequence, state or None, known)


def _sum(version: int, sequence: int, body: bytes) -> str:
    return total((str(version), str(sequence), body.decode("latin-1")))
