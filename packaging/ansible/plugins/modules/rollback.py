#!/usr/bin/python
"""Takes the app of a VM back to an earlier release, and stays until that is done."""

DOCUMENTATION = r"""
module: rollback
short_description: Go back to an earlier release
version_added: "0.1.0"
description:
  - Runs C(relctl rollback) on the managed host and stays until it has ended. It is at once while a rollout can go
    back; else the last good release is started in the idle slot and gets all of the traffic when it is ready.
  - With I(from) a machine is left alone where that release is neither live nor being rolled out, so that a fleet can be
    told to be rid of a release wherever it is. A play that was killed can be run again.
options:
  from:
    description:
      - The release to be rid of. Where another one is live, and this one is not on its way, nothing is done.
      - A rollback from it that is on its way already is joined.
      - Without it the app goes back from whatever is live. Running that twice may go back twice.
      - One that looks like a number, such as C("1.10"), needs quotes.
    type: raw
  release:
    description: The release to go back to. By default the last good one.
    type: raw
  force:
    description: Also past a contract migration that has been run.
    type: bool
    default: false
  stop_first:
    description: Stop what is live before the earlier release is started, for an app of which two copies do not fit.
      Users get a 503 meanwhile.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says from what to what it would go.
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
- name: Be rid of v2, wherever it is
  relctl.relctl.rollback:
    from: v2
    reason: checkout is broken
    wait_lock: 5m

- name: Go back to a release that is known to be good
  relctl.relctl.rollback:
    release: v1
"""

RETURN = r"""
outcome:
  description: How it ended. A rollout that was turned round is C(rolled_back), one of its own that brought the earlier
    release is C(done). One that is C(running) goes on without the task.
  type: str
  returned: always
  sample: done
  choices: [done, unchanged, failed, rolled_back, aborted, running]
changed:
  description: Whether traffic moved.
  type: bool
  returned: always
msg:
  description: What became of it in one sentence.
  type: str
  returned: always
release:
  description: The release that is live afterwards.
  type: str
  returned: when relctl answered
  sample: v1
from:
  description: The release that it went back from.
  type: str
  returned: when there was a rollout
  sample: v2
id:
  description: The number of the rollout, for C(relctl show).
  type: int
  returned: when there was a rollout
  sample: 43
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
  sample: 6.2
receipt:
  description: The account of the rollout, as C(relctl show ID --json) tells it.
  type: dict
  returned: when there was a rollout
log:
  description: What was told while it went on.
  type: list
  elements: str
  returned: when the rollout has ended
joined:
  description: Whether the rollout was on its way before.
  type: bool
  returned: when there was a rollout
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
from ansible_collections.relctl.relctl.plugins.module_utils import answers, wayback
from ansible_collections.relctl.relctl.plugins.module_utils.command import (
    STAYING,
    Relctl,
    conclude,
    read_releases,
)
from ansible_collections.relctl.relctl.plugins.module_utils.words import options

HOW = ("force", "stop_first")
ROUNDS = 3
"""Looks at what is live, so often at most: others may start rollouts between two of them."""


def rollback(module: AnsibleModule, relctl: Relctl) -> dict[str, Any]:
    """Goes back, once; with `from` until that release is not live any more."""
    bad = module.params["from"]
    if not bad:
        return _back(module, relctl, module.params["release"])
    result: dict[str, Any] = {}
    for _round in range(ROUNDS):
        status = relctl.ask("status")
        way = wayback.way(status, bad, module.params["release"])
        if way.done:
            return result or answers.unchanged(way.done, status.get("release"))
        if way.busy:
            _wait(module, relctl, way)
            continue
        if way.joins:
            result = {**answers.turned(relctl.follow(way.joins)), "joined": True}
        else:
            result = _back(module, relctl, way.to or _last_good(module, relctl, bad))
        if result["release"] not in {bad, None}:
            return {**result, "failed": False}
        if result["failed"] or result["release"] is None:
            return result
    message = f"{bad} is live again and again: somebody else is at work; next: relctl history"
    return {**result, "failed": True, "msg": message}


def _back(module: AnsibleModule, relctl: Relctl, release: "str | None") -> dict[str, Any]:
    words = options(module.params, *HOW, "reason", "note")
    begun = relctl.begin("rollback", release, words)
    if begun.get("already"):
        return answers.unchanged(str(begun.get("message", "")), relctl.live())
    result = answers.turned(relctl.follow(int(begun["id"])))
    return {**result, "joined": bool(begun.get("attached"))}


def _last_good(module: AnsibleModule, relctl: Relctl, bad: str) -> "str | None":
    """By its name, so that it stays what is meant, whatever others do before it is begun.

    Right after another release went back by itself relctl, not told where to, has nothing to do: it is
    back. Here it is the one that stayed that is to be left.
    """
    found = relctl.ask("rollback", "--dry-run", *options(module.params, *HOW))
    if found.get("already"):
        return wayback.before(relctl.ask("history").get("rollouts") or [], bad)
    return (found.get("plan") or {}).get("to")


def _wait(module: AnsibleModule, relctl: Relctl, way: wayback.Way) -> None:
    """For another rollout, as long as was said; then it is looked at again."""
    if not module.params["wait_lock"] or not relctl.wait(way.waits_for, module.params["wait_lock"]):
        raise answers.Refused({**answers.failure(way.busy, answers.BUSY), "id": way.waits_for})


def plan(module: AnsibleModule, relctl: Relctl) -> dict[str, Any]:
    """From what to what it would go; nothing is done."""
    status = relctl.ask("status")
    release, bad = module.params["release"], module.params["from"]
    if bad:
        way = wayback.way(status, bad, release)
        if way.done:
            return answers.unchanged(way.done, status.get("release"))
        if way.busy:
            raise answers.Refused(answers.failure(way.busy, answers.BUSY))
        if way.joins:
            said = f"rollout {way.joins} goes back from {bad} already"
            return {**answers.unchanged(said, status.get("release")), "id": way.joins}
        release = way.to or _last_good(module, relctl, bad)
    words = options(module.params, *HOW)
    found = relctl.ask("rollback", "--dry-run", *words, *(["--", release] if release else []))
    if found.get("already"):
        return answers.unchanged(str(found.get("message", "")), status.get("release"))
    return {**answers.back(found.get("plan") or {}), "release": status.get("release")}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "from": {"type": "raw"},
            "release": {"type": "raw"},
            "force": {"type": "bool", "default": False},
            "stop_first": {"type": "bool", "default": False},
            **STAYING,
        },
        supports_check_mode=True,
    )
    read_releases(module, "from", "release")
    work = plan if module.check_mode else rollback
    conclude(module, lambda relctl: work(module, relctl))


if __name__ == "__main__":
    main()
