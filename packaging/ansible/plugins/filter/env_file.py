"""Variables as the lines of an env file that reld reads back as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: env_file
version_added: "0.1.0"
short_description: A mapping as the lines of an env file
description:
  - Writes C(NAME=value) lines, as C(app.env_file) of relctl.toml(5) has them. No error shows a value.
positional: _input
options:
  _input:
    description: Names and values; values are text or numbers. Or the text of the file, which stays as it is.
    type: raw
    required: true
author:
  - relctl authors (@relctl)
"""

EXAMPLES = r"""
- name: Show an env file
  ansible.builtin.debug:
    msg: "{{ {'DATABASE_URL': 'postgres:///web', 'GREETING': ' hello '} | relctl.relctl.env_file }}"
"""

RETURN = r"""
_value:
  description: A line for each, in the order of the mapping.
  type: str
"""


def env_file(variables: Mapping[str, Any] | str) -> str:
    """Raises AnsibleFilterError, with the name, for what such a file cannot hold."""
    if isinstance(variables, str):
        return variables if variables.endswith("\n") else f"{variables}\n"
    if not isinstance(variables, Mapping):
        raise AnsibleFilterError("cannot write an env file: expected a mapping of names to text")
    return "".join(f"{name}={_value(name, value)}\n" for name, value in variables.items())


def _value(name: str, value: object) -> str:
    if not str(name).isidentifier():
        raise AnsibleFilterError(f"cannot write an env file: {name!r} is no name of a variable")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise AnsibleFilterError(
            f"cannot write an env file: {name} is no text; put its value in quotes"
        )
    text = str(value)
    if len(text.splitlines()) > 1 or text.endswith("\n") or "\0" in text:
        raise AnsibleFilterError(f"cannot write an env file: {name} is more than one line")
    # reld takes one pair of quotes away, and the space around them, and reads nothing else into a value.
    plain = text == text.strip() and text[:1] not in ("'", '"')
    return text if plain else f'"{text}"'


class FilterModule:
    """Found by Ansible."""

    def filters(self) -> dict[str, Callable[[Mapping[str, Any] | str], str]]:
        return {"env_file": env_file}
