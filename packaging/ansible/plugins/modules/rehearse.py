#!/usr/bin/python
"""Rehearses a release and its rollback with what is live on a VM."""

DOCUMENTATION = r"""
module: rehearse
short_description: Rehearse a release and its rollback
version_added: "0.1.0"
description:
  - Runs C(relctl rehearse) on the managed host and stays until it has ended. The live release is started once more in
    the other slot, gets a small share of the traffic, and goes back, is drained and stopped.
  - The task fails where the rehearsal found something.
options:
  share:
    description: How many percent of the traffic the copy gets, 1 to 50.
    type: int
  time:
    description: For how long, like C(30s).
    type: str
  fail:
    description: Let requests of reld's own fail in the copy, to see that the verdict finds it. No user's request fails.
    type: bool
    default: false
  force:
    description: Also where two copies may not fit into the memory.
    type: bool
    default: false
  supersede:
    description: If another rollout is active, end that first.
    type: bool
    default: false
attributes:
  check_mode:
    description: Nothing is done, and it fails where the rehearsal would be refused.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
extends_documentation_fragment:
  - relctl.relctl.rollout
  - relctl.relctl.rollout.staying
seealso:
  - module: relctl.relctl.switch
"""

EXAMPLES = r"""
- name: Know before the day
  relctl.relctl.rehearse:
    time: 30s
  register: rehearsed

- name: What it advises for the config
  ansible.builtin.debug:
    msg: "{{ rehearsed.rehearsal.advice }}"
"""

RETURN = r"""
outcome:
  description: How it ended. One that is C(running) goes on without the task.
  type: str
  returned: always
  sample: done
  choices: [done, failed, rolled_back, aborted, running]
changed:
  description: Whether the copy had a share of the traffic, for a while.
  type: bool
  returned: always
msg:
  description: What became of it, or what was found, in one sentence.
  type: str
  returned: always
rehearsal:
  description: What was measured in seconds, and what that advises for the config.
  type: dict
  returned: when it has ended
release:
  description: The release that is live.
  type: str
  returned: when relctl answered
  sample: v1
id:
  description: The number of the rollout, for C(relctl show).
  type: int
  returned: when there was one
  sample: 44
lost:
  description: Requests that users lost while it went on. They got an error, were turned away with a 503, or were cut
    at the end of the drain. The app's everyday errors are among them.
  type: int
  returned: always
  sample: 0
seconds:
  description: How long it took.
  type: float
  returned: always
  sample: 41.7
receipt:
  description: The account of it, as C(relctl show ID --json) tells it.
  type: dict
  returned: when there was one
log:
  description: What was told while it went on.
  type: list
  elements: str
  returned: when it has ended
rc:
  description: The exit code that relctl has for it.
  type: int
  returned: always
  sample: 0
stderr:
  description: What relctl said beside its answer.
  type: str
  returned: when it said something and did not do what it should
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.relctl.relctl.plugins.module_utils import answers
from ansible_collections.relctl.relctl.plugins.module_utils.command import (
    STAYING,
    Relctl,
    conclude,
)
from ansible_collections.relctl.relctl.plugins.module_utils.words import options

HOW = ("share", "time", "fail", "force", "supersede")


def rehearse(module: AnsibleModule, relctl: Relctl) -> dict[str, Any]:
    words = options(module.params, *HOW, "wait_lock", "reason", "note")
    begun = relctl.ask("rehearse", "--no-wait", *words)
    result = relctl.follow(int(begun["id"]))
    return {**result, "rehearsal": result["receipt"].get("rehearsal")}


def plan(module: AnsibleModule, relctl: Relctl) -> dict[str, Any]:
    """Whether it could begin; nothing is done."""
    found = relctl.ask("rehearse", "--dry-run", *options(module.params, *HOW))
    text = [str(line) for line in (found.get("plan") or {}).get("text") or []]
    return answers.unchanged("would rehearse: " + "; ".join(text), relctl.live())


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "share": {"type": "int"},
            "time": {"type": "str"},
            "fail": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "supersede": {"type": "bool", "default": False},
            **STAYING,
        },
        supports_check_mode=True,
    )
    work = plan if module.check_mode else rehearse
    conclude(module, lambda relctl: work(module, relctl))


if __name__ == "__main__":
    main()
