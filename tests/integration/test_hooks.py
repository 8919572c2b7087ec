"""What a team runs around a rollout: when, as whom, with which environment, and what it may stop."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from tests.rig import Rig, fast

HOOK = """#!/bin/sh
echo "$RELCTL_HOOK rollout=$RELCTL_ROLLOUT kind=$RELCTL_KIND from=$RELCTL_FROM to=$RELCTL_TO \
release=$RELCTL_RELEASE app=$RELCTL_APP attempt=$RELCTL_HOOK_ATTEMPT user=$(id -un) dir=$(pwd) $1" >> {out}
echo "$RELCTL_HOOK said something"
[ ! -e "fail-$RELCTL_HOOK" ]
"""
ALL = """
[hooks]
before_start = ["./hook", "expand"]
after_switch = ["./hook"]
after_retire = ["./hook"]
on_rollback = ["./hook"]
contract = ["./hook", "contract"]
timeout = "5s"
"""


class HookRig(Rig):
    """Every release brings its hook; `told` is what they wrote down."""

    def release(self, name: str, **knobs: object) -> Path:
        directory = super().release(name, **knobs)
        hook = directory / "hook"
        hook.write_text(HOOK.format(out=self.out))
        hook.chmod(0o755)
        return directory

    @property
    def out(self) -> Path:
        path = self.home / "hooks.txt"
        if not path.exists():
            path.touch()
            path.chmod(stat.S_IMODE(0o666))
        return path

    def told(self) -> list[dict[str, str]]:
        lines = [line.split() for line in self.out.read_text().splitlines()]
        return [
            {"hook": line[0]} | dict(word.split("=", 1) for word in line[1:] if "=" in word)
            for line in lines
        ]

    def names(self) -> list[str]:
        return [told["hook"] for told in self.told()]


def test_hooks_run_in_their_order_as_the_apps_user_and_know_what_happens() -> None:
    with HookRig(tables=ALL, rest=fast(steps=[100])) as rig:
        rig.live_v1("v2")
        assert rig.names() == ["before_start", "after_switch"]
        assert rig.relctl("switch", "v2").code == 0
        told = rig.told()[2:]
        assert [t["hook"] for t in told] == ["before_start", "after_switch", "after_retire"]
        user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        for one in told:
            wanted = {"rollout": "2", "kind": "switch", "from": "v1", "to": "v2", "app": "web"}
            assert wanted.items() <= one.items()
            assert (one["user"], one["dir"]) == (user, str(rig.releases / "v2"))
            assert (one["release"], one["attempt"]) == ("v2", "1")
        hooks = rig.receipt(2)["hooks"]
        assert [(h["name"], h["state"]) for h in hooks] == [
            (name, "done") for name in ("before_start", "after_switch", "after_retire")
        ]
        assert hooks[0]["detail"] == "before_start said something"


def test_on_rollback_runs_when_traffic_had_moved() -> None:
    with HookRig(tables=ALL, rest=fast(steps=[100], bake="30s")) as rig:
        rig.live_v1("v2")
        rig.release("v3", crash_at_boot=1)
        assert rig.relctl("switch", "v2", "--until", "shifted").code == 0
        assert rig.relctl("rollback").code == 0
        assert rig.names()[2:] == ["before_start", "after_switch", "on_rollback"]
        assert rig.relctl("switch", "v3").code == 1
        assert rig.names()[5:] == ["before_start"]  # no traffic had moved: nothing to undo


def test_a_failed_before_start_refuses_the_release_with_its_words() -> None:
    with HookRig(tables=ALL) as rig:
        rig.live_v1("v2")
        (rig.releases / "v2" / "fail-before_start").touch()
        answer = rig.relctl("switch", "v2")
        assert answer.code == 1, answer.text
        for word in ("before_start", "exit code 1", "said something"):
            assert word in answer.text, answer.text
        assert rig.leftovers() == rig.pids()
        assert rig.status()["release"] == "v1"


def test_a_failed_hook_after_the_switch_is_told_and_undoes_nothing() -> None:
    with HookRig(tables=ALL, rest=fast(steps=[100])) as rig:
        rig.live_v1("v2")
        (rig.releases / "v2" / "fail-after_switch").touch()
        answer = rig.relctl("switch", "v2")
        assert answer.code == 0, answer.text
        assert "after_switch failed" in answer.text
        assert rig.status()["release"] == "v2"


def test_a_hook_that_takes_too_long_is_ended_with_everything_it_started() -> None:
    tables = '[hooks]\nbefore_start = ["/bin/sh", "-c", "sleep 61 & sleep 62"]\ntimeout = "500ms"\n'
    with Rig(tables="") as rig:
        rig.live_v1("v2")
        rig.config.write_text(rig.config.read_text() + tables)
        answer = rig.relctl("switch", "v2")
        assert answer.code == 1, answer.text
        assert "timed out after 0.5 s" in answer.text
        assert rig.leftovers() == rig.pids()


def test_contract_runs_only_by_its_own_command_and_ends_the_way_back() -> None:
    with HookRig(tables=ALL, rest=fast(steps=[100], bake="0s", drain="0s")) as rig:
        rig.live_v1("v2")
        assert rig.relctl("switch", "v2").code == 0
        assert "contract" not in rig.names()
        answer = rig.relctl("contract")
        assert answer.code == 0, answer.text
        last = rig.told()[-1]
        assert (last["hook"], last["release"]) == ("contract", "v2")
        back = rig.relctl("rollback")
        assert back.code == 9, back.text
        assert "contract" in back.err
        assert "--force" in back.err
        sealed = {
            r["release"]: r["sealed"] for r in rig.relctl("releases", "--json").json["releases"]
        }
        assert sealed == {"v1": True, "v2": False}
        forced = rig.relctl("rollback", "--force")
        assert forced.code == 0, forced.text
        assert rig.status()["release"] == "v1"


def test_a_failed_contract_ends_with_1_and_seals_nothing() -> None:
    with HookRig(tables=ALL, rest=fast(steps=[100], bake="0s", drain="0s")) as rig:
        rig.live_v1("v2")
        (rig.releases / "v2" / "fail-contract").touch()
        assert rig.relctl("switch", "v2").code == 0
        answer = rig.relctl("contract")
        assert answer.code == 1, answer.text
        assert rig.relctl("rollback").code == 0


def test_without_a_contract_hook_contract_says_so() -> None:
    with Rig() as rig:
        rig.live_v1()
        answer = rig.relctl("contract")
        assert (answer.code, "hooks.contract" in answer.err) == (1, True), answer.text
