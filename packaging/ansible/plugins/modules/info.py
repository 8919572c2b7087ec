#!/usr/bin/python
"""What runs on a VM and what goes on."""

DOCUMENTATION = r"""
module: info
short_description: Tell what runs and what goes on
version_added: "0.1.0"
description:
  - Runs C(relctl status) on the managed host and hands on what it says, with the receipt of the last rollout.
  - Changes nothing.
options:
  rollout:
    description: The number of the rollout whose receipt is wanted, in place of the last one.
    type: int
attributes:
  check_mode:
    description: Nothing is changed anyway.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
extends_documentation_fragment:
  - relctl.relctl.rollout
seealso:
  - module: relctl.relctl.switch
"""

EXAMPLES = r"""
- name: Look
  relctl.relctl.info:
  register: found

- name: Say what is live
  ansible.builtin.debug:
    msg: "{{ found.release }}, and {{ found.degraded or 'all is well' }}"
"""

RETURN = r"""
release:
  description: The release that is live, none where nothing is.
  type: str
  returned: success
  sample: v2
rollout:
  description: The rollout that goes on, none where none does.
  type: dict
  returned: success
degraded:
  description: What is not as it should be, in one line; none where all is well.
  type: str
  returned: success
status:
  description: All that C(relctl status --json) says.
  type: dict
  returned: success
receipt:
  description: The account of the last rollout, or of the one that was asked for; none where there was none.
  type: dict
  returned: success
lost:
  description: Requests that users lost in that rollout.
  type: int
  returned: success
  sample: 0
seconds:
  description: How long that rollout took.
  type: float
  returned: success
  sample: 912.4
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.relctl.relctl.plugins.module_utils import answers
from ansible_collections.relctl.relctl.plugins.module_utils.command import Relctl, conclude


def look(relctl: Relctl, number: "int | None") -> dict[str, Any]:
    status = relctl.ask("status")
    if number is None:
        last = relctl.ask("history", "--limit=1").get("rollouts") or []
        number = last[0]["id"] if last else None
    receipt = None if number is None else relctl.ask("show", str(number))
    return {
        "changed": False,
        "release": status.get("release"),
        "rollout": status.get("rollout"),
        "degraded": status.get("degraded"),
        "status": status,
        **answers.account(receipt or {}),
        "receipt": receipt,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={"app": {"type": "str"}, "rollout": {"type": "int"}},
        supports_check_mode=True,
    )
    conclude(module, lambda relctl: look(relctl, module.params["rollout"]))


if __name__ == "__main__":
    main()
