"""A mapping as the TOML that reld reads: in the order it was given, short tables on one line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: toml
version_added: "0.1.0"
short_description: A mapping as TOML, for people to read
description:
  - Writes a mapping as TOML. Tables and keys stay in the order they have, so the same variables are always
    the same text, and a diff shows what was edited.
  - A list of mappings becomes C([[name]]) tables, a mapping inside a table C({ … }) where it fits on a line.
positional: _input
options:
  _input:
    description: The config of an app, as relctl.toml(5) has it.
    type: dict
    required: true
author:
  - relctl authors (@relctl)
"""

EXAMPLES = r"""
- name: Show the config as it will be
  ansible.builtin.debug:
    msg: "{{ {'app': {'command': ['bin/serve', '{port}'], 'user': 'web'}} | relctl.relctl.toml }}"
"""

RETURN = r"""
_value:
  description: TOML 1.0, ending with a line feed.
  type: str
"""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 100

_Path = tuple[str, ...]


def toml(config: Mapping[str, Any]) -> str:
    """Raises AnsibleFilterError for what TOML has no words for, with the key."""
    if not isinstance(config, Mapping):
        raise AnsibleFilterError(f"cannot write TOML: expected a mapping, got {_kind(config)}")
    return "\n".join(_table((), config, "")).strip("\n") + "\n"


def _table(path: _Path, table: Mapping[str, Any], header: str) -> list[str]:
    """Its lines. Tables below it come last: after their headers nothing could be said of this one."""
    said, below = [header] if header else [], []
    for name, value in table.items():
        at = (*path, str(name))
        line = "" if not path and _needs_header(value) else f"{_key(name)} = {_inline(at, value)}"
        if line and len(line) <= _WIDTH:
            said.append(line)
        elif isinstance(value, Mapping):
            below += ["", *_table(at, value, f"[{_header(at)}]")]
        elif _needs_header(value):
            for item in value:
                below += ["", *_table(at, item, f"[[{_header(at)}]]")]
        elif isinstance(value, list | tuple):
            said += [f"{_key(name)} = [", *(f"    {_inline(at, item)}," for item in value), "]"]
        else:
            said.append(line)
    return said + below


def _needs_header(value: object) -> bool:
    """A mapping, or a list of nothing but mappings."""
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, Mapping) for item in value)
    return isinstance(value, Mapping)


def _inline(at: _Path, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(at, value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(at, item) for item in value) + "]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(k)} = {_inline((*at, str(k)), v)}" for k, v in value.items())
        return "{ " + inside + " }" if inside else "{}"
    instead = "leave the key out" if value is None else "write it as text, in quotes"
    raise AnsibleFilterError(f"cannot write TOML: {_dotted(at)} is {_kind(value)}; {instead}")


def _text(at: _Path, value: str) -> str:
    """A basic string. JSON escapes what TOML does, but for DEL."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise AnsibleFilterError(f"cannot write TOML: {_dotted(at)} is no UTF-8 text") from None
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: object) -> str:
    text = str(name)
    return text if _BARE.fullmatch(text) else _text((text,), text)


def _header(path: _Path) -> str:
    return ".".join(map(_key, path))


def _dotted(path: _Path) -> str:
    """For people; any text can be a key of YAML's."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part) for part in path)


def _kind(value: object) -> str:
    return "empty (null)" if value is None else f"of the type {type(value).__name__}"


class FilterModule:
    """Found by Ansible."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], str]]:
        return {"toml": toml}
