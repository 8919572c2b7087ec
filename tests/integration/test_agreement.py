"""`steps = [5, "approve", …]`: it waits for a person, through a kill of reld, and says who it was."""

from __future__ import annotations

from tests.rig import Rig, fast


def test_it_waits_after_the_step_until_somebody_agrees() -> None:
    with Rig(rest=fast(steps=[5, "approve", 50, 100])) as rig:
        rig.live_v1("v2")
        plan = rig.relctl("switch", "v2", "--dry-run")
        assert "5 -> approve -> 50 -> 100 %" in plan.out.replace("→", "->")
        ahead = rig.relctl("plan", "v2", "--now", "--json").json
        gone = "--now leaves out where the config has a person agree: after 5 %"
        assert ahead["warnings"] == [gone]
        begun = rig.relctl("switch", "v2", "--on-duty", "anna", "--no-wait")
        assert begun.code == 0, begun.text
        shown = rig.wait_status(lambda s: s["rollout"] and s["rollout"]["asks"])["rollout"]
        number = shown["id"]
        assert shown["waiting"] == f"a person to agree after 5 %: relctl promote {number}"
        assert (shown["percent"], shown["on_duty"]) == (5, "anna")
        assert f"relctl promote {number}" in rig.relctl("status").out.partition("next: ")[2]
        assert rig.relctl("status", "--check").code == 0  # a wait that was planned is no trouble

        rig.kill_reld()
        rig.start_reld()
        rig.wait_status(lambda s: s["rollout"] and s["rollout"]["asks"])
        agreed = rig.relctl("promote", "--note", "looks well")
        assert agreed.code == 0, agreed.text
        rig.wait_idle()
        told = rig.receipt(number)
        assert (told["outcome"], told["on_duty"]) == ("done", "anna")
        (one,) = told["agreed"]
        assert (one["after"], one["note"]) == (5, "looks well")
        assert one["by"]
        assert one["at"]
        assert "after 5 % by " in rig.relctl("show", str(number)).out

        page = rig.relctl("runbook")
        assert page.code == 0, page.text
        assert page.out.startswith("# Releases of web\n")
        assert "**a person has to agree**" in page.out
