"""TOML that is written for people: values, and comments that stay comments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_ESCAPES = {'"': '\\"', "\\": "\\\\"}


def fits(text: str) -> bool:
    """Whether it can be said in a config at all: nobody's control characters, and no broken UTF-8."""
    return text.isprintable()


def text(value: str) -> str:
    """A basic string. Raises ValueError for what does not fit."""
    if not fits(value):
        raise ValueError(f"cannot be written: {value!r}")
    return '"' + "".join(_ESCAPES.get(c, c) for c in value) + '"'


def texts(values: Iterable[str]) -> str:
    return "[" + ", ".join(text(value) for value in values) + "]"


def lists(values: Iterable[Iterable[str]]) -> str:
    return "[" + ", ".join(texts(value) for value in values) + "]"


def table(values: Mapping[str, str]) -> str:
    """An inline table; the names are those of variables."""
    return "{ " + ", ".join(f"{name} = {text(value)}" for name, value in values.items()) + " }"


def comment(said: str) -> str:
    """One line, whatever is in it."""
    return "# " + "".join(c if c.isprintable() else " " for c in said).strip()


def braced(value: str) -> str:
    """Braces as what they are: a template takes {port} and the like for placeholders."""
    return value.replace("{", "{{").replace("}", "}}")
