"""What people type while something runs, twice, too late, or without reld."""

from __future__ import annotations

import json
import os
import signal

from tests.load.load import Mix
from tests.rig import HELD, LoadInThread, Rig, fast


def begun(rig: Rig, *words: str) -> int:
    """The number of a rollout that somebody else watches."""
    answer = rig.relctl(*words, "--no-wait", "--json")
    assert answer.code == 0, answer.text
    return int(answer.json["id"])


def test_a_second_switch_is_refused_with_number_phase_age_and_a_hint() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2", "v3")
        number = begun(rig, "switch", "v2")
        rig.wait_share(5)
        answer = rig.relctl("switch", "v3")
        assert answer.code == 6, answer.text
        for word in (f"rollout {number}", "v2", "shifting", " s ago", "--wait-lock"):
            assert word in answer.err, answer.err
        error = rig.relctl("switch", "v3", "--json")
        assert (error.code, error.json["error"]["exit"]) == (6, 6)
        # `stop` is refused too, and names what would help.
        stop = rig.relctl("stop")
        assert stop.code == 6, stop.text
        assert f"relctl abort {number}" in stop.err
        # The same release is not a second one: it is watched.
        same = rig.relctl("switch", "v2", "--timeout", "500ms")
        assert same.code == 7, same.text
        assert f"rollout {number}" in same.text


def test_wait_lock_begins_when_the_other_rollout_has_ended() -> None:
    with Rig() as rig:
        rig.live_v1("v2", "v3")
        begun(rig, "switch", "v2")
        answer = rig.relctl("switch", "v3", "--wait-lock")
        assert answer.code == 0, answer.text
        assert rig.status()["release"] == "v3"
        assert [r["outcome"] for r in rig.relctl("history", "--json").json["rollouts"]] == [
            "done"
        ] * 3


def test_wait_lock_has_an_end_of_its_own() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2", "v3")
        begun(rig, "switch", "v2")
        answer = rig.relctl("switch", "v3", "--wait-lock=1s")
        assert answer.code == 6, answer.text


def test_supersede_aborts_what_is_still_shifting() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2", "v3")
        switch = rig.relctl_begun("switch", "v2")
        rig.wait_share(5)
        answer = rig.relctl("switch", "v3", "--supersede", "--now", "--bake", "0s")
        assert answer.code == 0, answer.text
        switch.communicate(timeout=20)
        assert switch.returncode == 3
        assert rig.status()["release"] == "v3"
        assert rig.receipt(2)["outcome"] == "aborted"
        assert "superseded by v3" in rig.receipt(2)["reason"]


def test_supersede_promotes_what_bakes_already() -> None:
    with Rig(rest=fast(bake="60s")) as rig:
        rig.live_v1("v2", "v3")
        begun(rig, "switch", "v2")
        rig.wait_phase("baking")
        answer = rig.relctl("switch", "v3", "--supersede", "--bake", "0s")
        assert answer.code == 0, answer.text
        assert rig.receipt(2)["outcome"] == "done"
        assert rig.receipt(3)["from"] == "v2"


def test_a_rollout_is_paused_resumed_promoted_and_aborted() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        switch = rig.relctl_begun("switch", "v2")
        rig.wait_share(5)
        assert rig.relctl("pause").code == 0
        shown = rig.wait_status(lambda s: s["rollout"]["waiting"])
        assert shown["rollout"]["paused"]
        assert "paused" in shown["rollout"]["waiting"]
        assert shown["degraded"] is None
        assert rig.relctl("resume").code == 0
        assert not rig.status()["rollout"]["paused"]
        assert rig.relctl("promote").code == 0
        rig.wait_share(95)
        assert rig.relctl("promote", "--full").code == 0
        rig.wait_phase("baking")
        answer = rig.relctl("abort", "--reason", "changed our mind")
        assert answer.code == 0, answer.text
        out, err = switch.communicate(timeout=20)
        assert switch.returncode == 3, out + err
        assert "changed our mind" in out + err
        assert rig.status()["release"] == "v1"
        for verb in ("pause", "resume", "promote", "abort"):
            late = rig.relctl(verb)
            assert (late.code, "no rollout is running" in late.err) == (1, True), late.text


def test_promote_full_goes_to_all_the_traffic_at_once() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        begun(rig, "switch", "v2")
        rig.wait_share(5)
        assert rig.relctl("promote", "--full").code == 0
        rig.wait_phase("baking", within=5)
        assert rig.relctl("promote").code == 0
        rig.wait_idle()
        assert rig.status()["release"] == "v2"


def test_an_abort_before_traffic_moved_ends_with_1() -> None:
    with Rig() as rig:
        rig.live_v1()
        rig.release("v2", ready_after=30)
        switch = rig.relctl_begun("switch", "v2")
        rig.wait_phase("starting")
        assert rig.relctl("abort").code == 0
        switch.communicate(timeout=20)
        assert switch.returncode == 1
        assert rig.receipt(2)["outcome"] == "aborted"
        assert rig.leftovers() == rig.pids()


def test_a_switch_to_the_live_release_has_been_done_already() -> None:
    with Rig() as rig:
        rig.live_v1()
        answer = rig.relctl("switch", "v1")
        assert (answer.code, "already live" in answer.text) == (0, True), answer.text
        assert rig.relctl("start").code == 0
        assert len(rig.relctl("history", "--json").json["rollouts"]) == 1


def test_a_rollback_right_after_an_automatic_one_does_nothing() -> None:
    with Rig(rest=fast(steps=[100])) as rig:
        rig.live_v1()
        rig.release("v2", crash_after_seconds=1.2)
        assert rig.relctl("switch", "v2", "--bake", "30s").code == 3
        answer = rig.relctl("rollback")
        assert answer.code == 0, answer.text
        assert "v1 is live" in answer.text
        assert len(rig.relctl("history", "--json").json["rollouts"]) == 2


def test_a_rollback_without_an_earlier_release_says_so() -> None:
    with Rig() as rig:
        nothing = rig.relctl("rollback")
        assert (nothing.code, "nothing is live" in nothing.err) == (1, True), nothing.text
        rig.live_v1()
        answer = rig.relctl("rollback")
        assert (answer.code, "no earlier good release" in answer.err) == (1, True), answer.text


def test_a_rollback_after_the_commit_goes_through_the_idle_slot_to_the_old_snapshot() -> None:
    with Rig(app='env = { KNOBS = "{}", GREETING = "old" }') as rig:
        rig.live_v1("v2")
        rig.edit('GREETING = "old"', 'GREETING = "new"')
        assert rig.relctl("switch", "v2").code == 0
        dry = rig.relctl("rollback", "--dry-run", "--json")
        assert (dry.json["plan"]["from"], dry.json["plan"]["to"]) == ("v2", "v1")
        answer = rig.relctl("rollback")
        assert answer.code == 0, answer.text
        assert rig.status()["release"] == "v1"
        assert variable(rig, "GREETING") == "old"
        # The stack was popped: there is nothing below v1.
        assert rig.relctl("rollback").code == 1


def test_a_config_edit_reaches_the_app_only_with_a_restart() -> None:
    with Rig(app='env = { GREETING = "old" }') as rig:
        rig.live_v1()
        rig.edit('GREETING = "old"', 'GREETING = "new"')
        (pid,) = rig.pids()
        os.kill(pid, signal.SIGKILL)
        rig.wait_status(lambda s: s["degraded"] is None and rig.pids() not in ([pid], []))
        assert variable(rig, "GREETING") == "old"
        answer = rig.relctl("restart")
        assert answer.code == 0, answer.text
        assert variable(rig, "GREETING") == "new"
        assert rig.receipt(2)["kind"] == "restart"
        assert rig.leftovers() == rig.pids()


def test_a_config_that_is_broken_refuses_the_next_rollout_with_8_and_nothing_else() -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        rig.edit("[readiness]", "[readyness]")
        answer = rig.relctl("switch", "v2")
        assert answer.code == 8, answer.text
        assert "readiness" in answer.err
        assert rig.get("/")[0] == 200
        assert rig.relctl("status").code == 0


def test_stop_answers_503_and_start_brings_the_same_release_back() -> None:
    with Rig() as rig:
        rig.live_v1()
        assert rig.relctl("stop").code == 0
        assert rig.get("/")[0] == 503
        assert rig.leftovers() == []
        assert rig.relctl("stop").code == 0  # so already
        answer = rig.relctl("start")
        assert answer.code == 0, answer.text
        assert json.loads(rig.get("/")[1])["release"] == "v1"


def test_everything_that_looks_can_look_while_a_rollout_runs() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        begun(rig, "switch", "v2")
        rig.wait_share(5)
        shown = rig.relctl("status")
        assert shown.code == 0
        for word in ("v1", "v2", "shifting", "5 %"):
            assert word in shown.out, shown.out
        assert rig.relctl("status", "--check").code == 0
        assert "v2" in rig.relctl("history").out
        assert "still running" in rig.relctl("show", "2").out
        assert rig.relctl("show", "99").code == 2
        assert "v1 listens on" in rig.relctl("logs").out
        assert "v2 listens on" in rig.relctl("logs", "green").out
        releases = rig.relctl("releases", "--json").json["releases"]
        assert {r["release"]: r["live"] for r in releases} == {"v1": True, "v2": False}
        assert rig.relctl("watch", "--timeout", "300ms").code == 7
        assert rig.relctl("watch", "1").code == 0


def test_a_dry_run_changes_nothing_and_tells_the_plan() -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        answer = rig.relctl("switch", "v2", "--dry-run")
        assert answer.code == 0, answer.text
        assert "5" in answer.text
        assert "v2" in answer.text
        assert len(rig.relctl("history", "--json").json["rollouts"]) == 1
        assert rig.leftovers() == rig.pids()


def test_ctrl_c_detaches_and_the_rollout_goes_on() -> None:
    with Rig(rest=fast(step_time="700ms")) as rig:
        rig.live_v1("v2")
        switch = rig.relctl_begun("switch", "v2")
        rig.wait_share(5)
        switch.send_signal(signal.SIGINT)
        out, err = switch.communicate(timeout=10)
        assert switch.returncode == 130, out + err
        assert "relctl watch 2" in err
        watched = rig.relctl("watch", "2")
        assert watched.code == 0, watched.text
        assert rig.status()["release"] == "v2"


def test_going_back_offline_needs_no_reld_and_reld_goes_on_with_it() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        begun(rig, "switch", "v2")
        rig.wait_share(5)
        assert rig.relctl("promote").code == 0
        rig.wait_share(95)
        with LoadInThread(rig.listen, None, Mix(4, 2, 0, 0, 0, 0, think=0.02)) as load:
            load.wait_for(20)
            rig.kill_reld()
            unreachable = rig.relctl("rollback")
            assert unreachable.code == 5, unreachable.text
            assert "--offline" in unreachable.err
            answer = rig.relctl("rollback", "--offline")
            assert answer.code == 0, answer.text
            served = {json.loads(rig.get("/")[1])["release"] for _ in range(30)}
            assert served == {"v1"}
            rig.start_reld()
            rig.wait_idle()
            summary = load.stop()
        assert not summary.whole.failed, summary.text()
        assert rig.receipt(2)["outcome"] == "rolled_back"
        assert "moved back" in rig.receipt(2)["reason"]
        assert rig.leftovers() == rig.pids()


def test_nobody_there_is_exit_5_with_what_to_type() -> None:
    with Rig() as rig:
        rig.kill_reld(signal.SIGTERM)
        for words in (("status",), ("switch", "v1"), ("history",), ("abort",)):
            answer = rig.relctl(*words)
            assert answer.code == 5, answer.text
            assert "systemctl" in answer.err


def variable(rig: Rig, name: str) -> str:
    """Of the live instance's environment."""
    (pid,) = rig.pids()
    with open(f"/proc/{pid}/environ", "rb") as file:
        pairs = (p.partition(b"=") for p in file.read().split(b"\0"))
        return {k.decode(): v.decode() for k, _, v in pairs}[name]


def test_a_broken_config_never_bars_the_way_back() -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        assert rig.relctl("switch", "v2").code == 0
        rig.edit("[readiness]", "[readyness]")
        back = rig.relctl("rollback")
        assert back.code == 0, back.text
        assert rig.status()["release"] == "v1"


def test_a_dry_run_of_a_rollback_turns_nothing() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        number = begun(rig, "switch", "v2")
        rig.wait_share(5)
        body = {"kind": "rollback", "options": {"dry_run": True}}
        code, plan = rig.ask("POST", "/v1/rollouts", body)
        assert (code, plan["plan"]["to"]) == (200, "v1")
        rollout = rig.status()["rollout"]
        assert (rollout["id"], rollout["phase"]) == (number, "shifting")
