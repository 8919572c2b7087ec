"""A module's parameters as relctl's options. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def options(given: Mapping[str, Any], *names: str) -> list[str]:
    """Those of these names; what is not given, or empty, is left out, and 0 is neither."""
    words = []
    for name in names:
        value, flag = given[name], "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, list) and value:
            words.append(f"{flag}={','.join(value)}")
        elif value is not None and value is not False and value not in ("", []):
            words.append(f"{flag}={value}")
    return words


def release(given: Mapping[str, Any], name: str) -> str | None:
    """A parameter that names a release, as it was typed. None: it is not given.

    Raises:
        ValueError: it is empty, or not what was typed any more: YAML makes 1.10 the number 1.1.
    """
    value = given[name]
    if value is None or (isinstance(value, str) and value):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value == "":
        raise ValueError(f"cannot use {name}: it is empty; next: relctl releases")
    why = f"it is no text, YAML reads it as {value!r}"
    raise ValueError(f'cannot use {name}: {why}; next: put it in quotes, {name}: "1.10"')
