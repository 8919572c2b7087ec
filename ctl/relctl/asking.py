"""What people type, checked before anything is sent: release names, durations, steps."""

from __future__ import annotations

import math
from itertools import pairwise

from relctl.errors import UsageError

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
NAME_LENGTH = 64
APPROVE = "approve"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def release_name(name: str) -> str:
    """The name itself.

    Raises:
        UsageError: it could not be a release's, with the reason.
    """
    why = _bad_name(name)
    if why:
        raise UsageError(f"cannot use {name!r} as a release name: {why}", "relctl releases")
    return name


def _bad_name(name: str) -> str | None:
    if not name:
        return "it is empty"
    strange = [character for character in name if character not in NAME_CHARACTERS]
    if strange:
        return f"{strange[0]!r} is none of letters, digits, dot, underscore and dash"
    if len(name) > NAME_LENGTH:
        return f"it has {len(name)} characters, at most {NAME_LENGTH} are possible"
    if name.startswith("-"):
        return "it begins with a dash, like an option"
    if name.startswith("."):
        return "it begins with a dot, as what is not complete yet does"
    return None


def seconds(text: str) -> float:
    """Seconds of `30s`, `5m`, `1h30m`, `200ms`; a bare number is seconds.

    Raises:
        UsageError: it is no duration.
    """
    total, rest = 0.0, text.strip().lower()
    if not rest:
        raise _no_duration(text)
    while rest:
        digits = _leading(rest, "0123456789.")
        unit = _leading(rest[len(digits) :], "abcdefghijklmnopqrstuvwxyz")
        bare = rest == digits == text.strip()
        if not bare and unit not in UNITS:
            raise _no_duration(text)
        try:
            total += float(digits) * (1.0 if bare else UNITS[unit])
        except ValueError:
            raise _no_duration(text) from None
        rest = rest[len(digits) + len(unit) :]
    return total


def fraction(text: str) -> float:
    """A fraction of 1 of `1/1000`, `5%` or `0.05`.

    Raises:
        UsageError: it is none, or not above 0 and at most 1.
    """
    number, slash, below = text.strip().partition("/")
    percent = number.endswith("%") and not slash
    try:
        value = float(number.removesuffix("%")) / (float(below) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    value = value / 100 if percent else value
    if not 0 < value <= 1:
        raise UsageError(
            f"cannot read {text!r} as a share: it is above 0 and at most 1", "1/1000, 5%, 0.05"
        )
    return value


def fraction_or_none(text: str) -> float:
    """The same, and 0 for none of it."""
    return 0.0 if text.strip() in ("0", "0%") else fraction(text)


def lock_seconds(text: str) -> float:
    """The same for `--wait-lock`; nothing at all means: for as long as it takes."""
    return seconds(text) if text else math.inf


def steps(text: str) -> list[int | str]:
    """Shares in percent of `5,approve,25,100`.

    Raises:
        UsageError: no whole numbers from 1 to 100 that rise and end with 100, or "approve" twice in a
            row.
    """
    parts = [part.strip() for part in text.split(",")]
    if any(one == other == APPROVE for one, other in pairwise(parts)):
        raise UsageError(f"cannot use steps {text!r}: {APPROVE} is there twice in a row")
    try:
        row = [part if part == APPROVE else int(part.removesuffix("%")) for part in parts]
    except ValueError:
        row = []
    shares = [step for step in row if isinstance(step, int)]
    if not shares or shares != sorted(set(shares)) or shares[0] < 1 or shares[-1] != 100:
        raise UsageError(
            f"cannot use steps {text!r}: they are whole percents that rise and end with 100",
            f"--steps 5,25,100, and {APPROVE} where a person must agree: --steps 5,{APPROVE},25,100",
        )
    return row


def name(text: str) -> str:
    """A person's name, one line.

    Raises:
        UsageError: it is none, or longer than 64 characters.
    """
    short = text.strip()
    if not short or len(short) > NAME_LENGTH or not short.isprintable():
        raise UsageError(
            f"cannot use {text[:80]!r} as a name: it is one line of 1 to {NAME_LENGTH} characters",
            "--on-duty anna",
        )
    return short


def _leading(text: str, characters: str) -> str:
    return text[: len(text) - len(text.lstrip(characters))]


def _no_duration(text: str) -> UsageError:
    return UsageError(
        f"cannot read {text!r} as a duration: it is a number and one of ms, s, m, h, d",
        "30s, 5m, 1h30m",
    )
