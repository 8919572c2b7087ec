"""Ways to spoil text, bytes and JSON. Each takes its chance from the caller."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

DICTIONARY = (
    b"\0", b"\n", b"\r\n", b"'", b'"', b"\\", b";", b"{", b"}", b"#", b"$", b"${x}", b"`id`", b"$(id)",
    b"..", b"../../etc/passwd", b"%n", b"%s", b"%00", b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80",
    b"\xef\xbb\xbf", b"-1", b"0", b"9" * 40, b"1e999", b"nan", b"true", b"null", b"[", b"]", b"[[", b"]]",
    b" ", b"\t", b"\x1b[2J", b"\xe2\x80\xae", b"\xd9\xa3", b"{release}", b"{{", b"(?P<a>", b"|", b", ", b" : ",
    b"\x85", b"\xe2\x80\xa8", b"; include /etc/passwd;", b"*", b"~*", b"\x7f", b"=", b".", b"unix:/",
)  # fmt: skip


def spoiled(chance: Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Some changes at random places: bits, bytes, words, pieces doubled, cut, moved, of others."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(data) + 1)
        length = chance.choice((0, 1, 1, 2, 5, 30))
        match chance.randrange(8):
            case 0:
                data[at : at + length] = chance.randbytes(chance.randrange(5))
            case 1 | 2:
                data[at : at + length] = chance.choice(DICTIONARY)
            case 3:
                piece = data[at : at + chance.choice((1, 4, 40))]
                data[at:at] = piece * chance.choice((1, 2, 50))
            case 4:
                del data[at : at + chance.choice((1, 3, 20, 200))]
            case 5 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 6 if others:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                data[at : at + length] = other[start : start + chance.choice((3, 30, 300))]
            case _:
                data[at:at] = bytes([chance.randrange(256)])
    return bytes(data)


NUMBERS = (0, 1, -1, 2**31, 2**63, 2**64, -(2**63), 10**40, 0.5, -0.0, 1e308, 5e-324, True, False)
TEXTS = (
    "", "\0", "x" * 5000, "\ud800", "blue", "shifting", "../../../etc/passwd", "127.0.0.1:1",
    "unix:/run/x", "v1", "\n", "%s", "127.0.0.1:21003", "-1", "nan", "\u202e",
)  # fmt: skip


def value(chance: Random, depth: int = 0) -> Any:
    """Anything that JSON can say."""
    kind = chance.randrange(5 if depth > 2 else 7)
    if kind == 0:
        return None
    if kind in (1, 2):
        return chance.choice(NUMBERS)
    if kind in (3, 4):
        return chance.choice(TEXTS)
    made = [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return made if kind == 5 else {chance.choice(TEXTS): item for item in made}


def spoiled_json(chance: Random, raw: Any) -> Any:
    """The same tree with some places changed, removed, doubled, or moved."""
    tree = json.loads(json.dumps(raw))
    for _ in range(chance.choice((1, 1, 2, 4))):
        places = list(_places(tree))
        holder, key = chance.choice(places)
        match chance.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(key, holder[key])
            case 1:
                holder[chance.choice(TEXTS)] = holder[key]
            case 2:
                other, at = chance.choice(places)
                holder[key] = json.loads(json.dumps(other[at])) if _there(other, at) else None
            case 3 if isinstance(holder[key], int | float):
                holder[key] = chance.choice(NUMBERS)
            case _:
                holder[key] = value(chance)
        if not tree:
            break
    return tree


def _places(tree: Any) -> Any:
    keys = range(len(tree)) if isinstance(tree, list) else list(tree)
    for key in keys:
        yield tree, key
        if isinstance(tree[key], list | dict):
            yield from _places(tree[key])


def _there(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)
