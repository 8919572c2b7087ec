"""Runs this machine's relctl for a module. A rollout is reld's own: whoever watches it may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.relctl.relctl.plugins.module_utils import answers, words
from ansible_collections.relctl.relctl.plugins.module_utils.words import options

PATIENCE = 10  # seconds that reld may be away: an upgrade is a restart
PLAIN = {"LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
STAYING = {
    "app": {"type": "str"},
    "timeout": {"type": "str"},
    "wait_lock": {"type": "str"},
    "reason": {"type": "str"},
    "note": {"type": "str"},
}
"""The parameters of every module that starts a rollout."""


class Relctl:
    """The relctl of this machine, for the app that is meant. Without one the task has failed.

    Raises:
        answers.Refused: relctl said no.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._program = module.get_bin_path("relctl")
        self._app = [f"--app={module.params['app']}"] if module.params["app"] else []
        if self._program is None:
            message = (
                "cannot find relctl: it is not in the PATH of this machine; "
                "next: install it, as the role relctl.relctl.vm does"
            )
            module.fail_json(**answers.failure(message, 127))

    def ask(self, *call: str) -> dict[str, Any]:
        """The object that `relctl --json` answers with."""
        code, out, err = self._run("--json", *call)
        said = answers.read(out)
        if not said or "error" in said:
            raise answers.Refused(answers.refusal(code, out, err))
        return said

    def follow(self, number: int) -> dict[str, Any]:
        """Watches a rollout to its end, or for as long as the parameter `timeout` says.

        Its events are taken as lines: as objects an hour of them would be megabytes.
        """
        timeout = options(self._module.params, "timeout")
        code, out, err = self._run("watch", *timeout, str(number))
        try:
            receipt = self._receipt(number)
        except answers.Refused as refused:
            lost = answers.out_of_sight(number, refused.result)
            raise answers.Refused({**lost, "log": out.splitlines()}) from None
        if receipt.get("outcome") is None:
            raise answers.Refused(answers.left(code, err, receipt))
        told = {"release": self.live(), "log": out.splitlines(), **answers.talk(err)}
        return {**answers.ended(receipt), **told}

    def begin(self, kind: str, release: str | None, given: list[str]) -> dict[str, Any]:
        """The answer to a switch or a rollback; it may be an older one of the same kind and release.

        `release` None: as relctl chooses. relctl itself joins what goes forth, and not what goes back
        or is a rollback: the end of that is the answer, too, not a second try after it.
        """
        call = [kind, "--no-wait", *given]
        named = ["--", release] if release else []
        try:
            return self.ask(*call, *named)
        except answers.Refused as refused:
            if refused.result["rc"] != answers.BUSY:
                raise
            running = self.ask("status").get("rollout") or {}
            if running.get("kind") == kind and release in (None, running.get("to")):
                return {"id": running["id"], "attached": True}
            lock = options(self._module.params, "wait_lock")
            if not lock:
                raise
        return self.ask(*call, *lock, *named)

    def wait(self, number: int, limit: str) -> bool:
        """Whether rollout `number` was over before `limit`, a duration."""
        self._run("watch", f"--timeout={limit}", str(number))
        return self._receipt(number).get("outcome") is not None

    def live(self) -> str | None:
        """The release that is live now."""
        release = self._in_the_end("status").get("release")
        return None if release is None else str(release)

    def _receipt(self, number: int) -> dict[str, Any]:
        return self._in_the_end("show", str(number))

    def _in_the_end(self, *call: str) -> dict[str, Any]:
        """As `ask`: what has happened is to be told, also while reld is being restarted."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.ask(*call)
            except answers.Refused as refused:
                if refused.result["rc"] != answers.UNREACHABLE or time.monotonic() > until:
                    raise
            time.sleep(0.5)

    def _run(self, *call: str) -> tuple[int, str, str]:
        code, out, err = self._module.run_command(
            [self._program, *self._app, *call],
            environ_update=PLAIN,
            expand_user_and_vars=False,  # a note may have a $ in it
        )
        return int(code), str(out), str(err)


def read_releases(module: AnsibleModule, *names: str) -> None:
    """Those parameters as text: relctl shall get what was typed, or the task fails."""
    for name in names:
        try:
            module.params[name] = words.release(module.params, name)
        except ValueError as error:
            module.fail_json(**answers.failure(str(error), answers.USAGE))


def conclude(module: AnsibleModule, work: Callable[[Relctl], dict[str, Any]]) -> None:
    """Does the work of a module, and ends it with the result, also a failure with what is live."""
    relctl = Relctl(module)
    try:
        result = work(relctl)
    except answers.Refused as refused:
        result = refused.result
        if result["rc"] != answers.UNREACHABLE:
            with suppress(answers.Refused):
                result = {"release": relctl.live(), **result}
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
