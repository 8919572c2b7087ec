#!/usr/bin/python
"""Switches the app of a VM to a release, and stays until that is done or undone."""

DOCUMENTATION = r"""
module: switch
short_description: Switch to a release without losing a request
version_added: "0.1.0"
description:
  - Runs C(relctl switch) on the managed host and stays until the rollout has ended.
  - The release gets a growing share of the live traffic and is compared with the old one on it. Where it is clearly
    worse reld goes back by itself, and the task fails with the sentence of the verdict as its message.
  - Where the release is live already nothing is done. Where it is being rolled out already, for example since a play
    that was killed, that rollout is joined and its end is told.
options:
  release:
    description: The release, as C(relctl releases) on the managed host names it. It must be in place.
      One that looks like a number, such as C("1.10"), needs quotes.
    type: raw
    required: true
  now:
    description: One step to 100 percent of the traffic. The bake is kept.
    type: bool
    default: false
  steps:
    description: The shares of the traffic in percent, rising to 100; C(approve) among them waits until a person agrees.
    type: list
    elements: str
  step_time:
    description: How long a step takes at least, like C(1m).
    type: str
  step_requests:
    description: How many requests on both releases together a step takes at least.
    type: int
  step_max:
    description: How long a step takes at most.
    type: str
  bake:
    description: How long the old release stays warm at 100 percent.
    type: str
  drain:
    description: How long the old release is at least given to finish.
    type: str
  drain_max:
    description: How long the old release is at most given to finish. What is open then is cut, and counted.
    type: str
  shadow:
    description: Which share of the GETs is copied to the release first, like C(5%). C(0) is none.
    type: str
  surge:
    description: The releases change places instance by instance, with so many more than usual. C(0) is a whole second slot.
    type: int
  observe:
    description: The verdict is told and does not act.
    type: bool
    default: false
  stop_first:
    description: Stop the old release before the new one is started, for an app of which two copies do not fit.
      Users get a 503 meanwhile.
    type: bool
    default: false
  supersede:
    description: If another rollout is active, end that first.
    type: bool
    default: false
  on_duty:
    description: Who watches it, one line of at most 64 characters.
    type: str
attributes:
  check_mode:
    description: Shows what C(relctl plan) says, and fails where the switch would be refused or stopped.
    support: full
  diff_mode:
    description: In check mode, shows how the config of the gate would change.
    support: partial
    details: Only together with check mode.
extends_documentation_fragment:
  - relctl.relctl.rollout
  - relctl.relctl.rollout.staying
seealso:
  - module: relctl.relctl.rollback
  - module: relctl.relctl.info
"""

EXAMPLES = r"""
- name: Switch to v2, as the config of each machine says
  relctl.relctl.switch:
    release: v2

- name: A careful one, with a person to ask
  relctl.relctl.switch:
    app: web
    release: v2
    steps: [1, 5, 25, 100]
    bake: 1h
    timeout: 3h
    on_duty: anna
    note: "ticket 4711"
"""

RETURN = r"""
outcome:
  description: How it ended. A rollout that is C(running) goes on without the task.
  type: str
  returned: always
  sample: done
  choices: [done, unchanged, failed, rolled_back, aborted, running]
changed:
  description: Whether traffic moved, also where it came back.
  type: bool
  returned: always
msg:
  description: What became of it in one sentence. Where it went back by itself, the sentence of the verdict.
  type: str
  returned: always
  sample: "v2 failed 11 of 13 requests (85 %), v1 none of 416; by chance once in 1000000 releases; all on POST"
release:
  description: The release that is live afterwards.
  type: str
  returned: when relctl answered
  sample: v2
from:
  description: The release that was live before.
  type: str
  returned: when there was a rollout
  sample: v1
id:
  description: The number of the rollout, for C(relctl show).
  type: int
  returned: when there was a rollout
  sample: 42
lost:
  description: Requests that users lost while it went on, of both releases. They got an error, were turned away with
    a 503, or were cut at the end of the drain. The app's everyday errors are among them.
  type: int
  returned: always
  sample: 0
seconds:
  description: How long the rollout took.
  type: float
  returned: always
  sample: 912.4
receipt:
  description: The account of the rollout, as C(relctl show ID --json) tells it. Where nothing had to be done, that
    of the rollout that brought the release, if it was the last one.
  type: dict
  returned: when there was a rollout
log:
  description: What was told while it went on.
  type: list
  elements: str
  returned: when the rollout has ended
joined:
  description: Whether the rollout was on its way before. It goes by the options that it was begun with.
  type: bool
  returned: when there was a rollout
plan:
  description: What C(relctl plan) says.
  type: dict
  returned: in check mode
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
    read_releases,
)
from ansible_collections.relctl.relctl.plugins.module_utils.words import options

DOING = (
    *("now", "steps", "step_time", "step_requests", "step_max", "bake", "drain", "drain_max"),
    *("shadow", "surge", "observe", "stop_first", "supersede"),
)
"""The parameters that relctl plan understands, too."""


def switch(module: AnsibleModule, relctl: Relctl) -> dict[str, Any]:
    """Begins the rollout, or joins the one of the same release, and follows it."""
    given = module.params
    words = [*options(given, *DOING), *options(given, "reason", "note", "on_duty")]
    begun = relctl.begin("switch", given["release"], words)
    if begun.get("already"):
        return _already(relctl, begun, given["release"])
    return {**relctl.follow(int(begun["id"])), "joined": bool(begun.get("attached"))}


def _already(relctl: Relctl, answer: dict[str, Any], release: str) -> dict[str, Any]:
    """With the receipt of the rollout that did it, where that was the last one."""
    result = answers.unchanged(str(answer.get("message", "")), release)
    for last in relctl.ask("history", "--limit=1").get("rollouts") or []:
        if last.get("kind") == "switch" and last.get("to") == release:
            receipt = relctl.ask("show", str(last["id"]))
            result.update(answers.account(receipt))
            result["from"], result["id"] = receipt.get("from"), last["id"]
    return result


def plan(module: AnsibleModule, relctl: Relctl) -> dict[str, Any]:
    """What would be done; nothing is."""
    found = relctl.ask("plan", *options(module.params, *DOING), "--", module.params["release"])
    for doubt in answers.doubts(found):
        module.warn(doubt)
    result = {**answers.planned(found), "release": relctl.live()}
    if module._diff:  # noqa: SLF001  Ansible's own name for it
        result["diff"] = answers.differences(found)
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "release": {"type": "raw", "required": True},
            "now": {"type": "bool", "default": False},
            "steps": {"type": "list", "elements": "str"},
            "step_time": {"type": "str"},
            "step_requests": {"type": "int"},
            "step_max": {"type": "str"},
            "bake": {"type": "str"},
            "drain": {"type": "str"},
            "drain_max": {"type": "str"},
            "shadow": {"type": "str"},
            "surge": {"type": "int"},
            "observe": {"type": "bool", "default": False},
            "stop_first": {"type": "bool", "default": False},
            "supersede": {"type": "bool", "default": False},
            "on_duty": {"type": "str"},
            **STAYING,
        },
        mutually_exclusive=[("now", "steps")],
        supports_check_mode=True,
    )
    read_releases(module, "release")
    work = plan if module.check_mode else switch
    conclude(module, lambda relctl: work(module, relctl))


if __name__ == "__main__":
    main()
