"""The modules of the Ansible collection with a real reld: what a task says of what really happened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.collection import Modules, Task, ended
from tests.load.load import Mix
from tests.rig import LoadInThread, Rig, fast, wait_for

QUICK = fast(steps=[50, 100], step_time="100ms", bake="100ms", drain="100ms", drain_max="300ms")
# Goes on when the verdict, or somebody, says so.
HOLD = {"steps": ["50", "100"], "step_time": "10m", "step_max": "1h"}


@dataclass(frozen=True)
class Night:
    """A fleet's worth of tasks, one after the other on one VM."""

    first: Task
    again: Task
    plan: Task
    missing: Task
    other: Task
    impatient: Task
    joined: Task
    gone: Task
    way_back: Task
    back: Task
    worse: Task
    info: Task
    invalid: Task


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(rest=QUICK) as made:
        made.release("v1")
        made.release("v2")
        made.release("v3", error_rate=1.0)
        yield made


@pytest.fixture(scope="module")
def modules(rig: Rig) -> Modules:
    return Modules(rig)


@pytest.fixture(scope="module")
def night(rig: Rig, modules: Modules) -> Night:
    told = {"first": modules.run("switch", release="v1", note="costs $HOME")}
    planning = modules.begin("switch", release="v2", check=True, diff=True)
    told["again"] = modules.run("switch", release="v1")
    told["plan"] = ended(planning)
    told["missing"] = modules.run("switch", release="v9")
    killed = modules.begin("switch", release="v2", **HOLD)
    rig.wait_share(50)
    killed.kill()
    killed.communicate(timeout=20)
    refused = modules.begin("switch", release="v3")
    told["impatient"] = modules.run("switch", release="v2", timeout="100ms")
    told["other"] = ended(refused)
    joining = modules.begin("switch", release="v2")
    wait_for(lambda: watches(joining.pid), 20, "the task does not watch the rollout")
    assert rig.relctl("promote").code == 0
    told["joined"] = ended(joining)
    leaving = modules.begin("rollback", from_="v1")
    told["way_back"] = modules.run("rollback", from_="v2", check=True)
    told["gone"] = ended(leaving)
    told["back"] = modules.run("rollback", from_="v2", reason="it is slow")
    with LoadInThread(rig.listen, None, Mix()) as load:
        load.wait_for(20)
        told["worse"] = modules.run("switch", release="v3", **HOLD)
    told["info"] = modules.run("info")
    rig.edit("bake =", "bakee =")
    told["invalid"] = modules.run("switch", release="v2")
    return Night(**told)


def watches(pid: int) -> bool:
    """Whether the process has `relctl watch` for a child."""
    try:
        return any("watch" in child.cmdline() for child in psutil.Process(pid).children())
    except psutil.NoSuchProcess:  # a child that ended in between
        return False


def test_a_switch_that_moved_traffic_is_a_change_with_its_receipt(night: Night) -> None:
    assert not night.first.failed
    assert (night.first["changed"], night.first["outcome"]) == (True, "done")
    assert night.first["receipt"]["to"] == night.first["release"] == "v1"
    assert (night.first["lost"], night.first["from"]) == (0, None)
    assert night.first["seconds"] > 0


def test_what_is_given_is_passed_on_letter_by_letter(night: Night) -> None:
    assert night.first["receipt"]["note"] == "costs $HOME"


def test_a_release_that_is_live_is_unchanged_with_the_receipt_of_the_rollout_that_brought_it(
    night: Night,
) -> None:
    assert not night.again.failed
    assert (night.again["changed"], night.again["outcome"]) == (False, "unchanged")
    assert night.again["receipt"]["id"] == night.first["id"]


def test_check_mode_is_the_plan_and_moves_nothing(night: Night) -> None:
    assert not night.plan.failed
    assert (night.plan["changed"], night.plan["release"]) == (True, "v1")
    assert "start 1 × v2" in night.plan["msg"]
    assert night.missing["id"] == night.first["id"] + 1


def test_diff_mode_shows_how_the_gate_would_change(night: Night) -> None:
    assert "+        server" in night.plan["diff"][0]["prepared"]


def test_a_rollout_that_failed_before_traffic_moved_is_no_change_and_says_what_to_type(
    night: Night,
) -> None:
    assert night.missing.failed
    assert (night.missing["changed"], night.missing["outcome"]) == (False, "failed")
    assert night.missing["msg"].startswith("release v9 is not there: ")
    assert "; next: put the release at " in night.missing["msg"]
    assert night.missing["release"] == "v1"


def test_another_release_is_refused_while_the_rollout_of_a_killed_play_goes_on(
    night: Night,
) -> None:
    assert night.other.failed
    assert night.other["rc"] == 6
    assert "cannot switch to v3: rollout" in night.other["msg"]
    assert "(v2) is shifting" in night.other["msg"]


def test_who_does_not_stay_to_the_end_is_told_that_it_goes_on(night: Night) -> None:
    assert night.impatient.failed
    assert (night.impatient["outcome"], night.impatient["changed"]) == ("running", True)
    number = night.impatient["id"]
    assert night.impatient["msg"].endswith(f"relctl watch {number} · undo: relctl abort {number}")


def test_a_second_play_joins_the_rollout_of_a_killed_one_and_tells_its_end(night: Night) -> None:
    assert not night.joined.failed
    assert night.joined["joined"]
    assert night.joined["id"] == night.impatient["id"]
    assert (night.joined["outcome"], night.joined["release"]) == ("done", "v2")


def test_a_machine_where_the_bad_release_is_not_live_is_left_alone(night: Night) -> None:
    assert not night.gone.failed
    assert (night.gone["changed"], night.gone["outcome"]) == (False, "unchanged")
    assert night.gone["msg"] == "v1 is not live here: v2 is"


def test_check_mode_of_a_rollback_says_from_what_to_what_and_goes_nowhere(night: Night) -> None:
    assert night.way_back["msg"] == "would go back v2 → v1, when v1 is ready"
    assert night.back["id"] == night.joined["id"] + 1


def test_a_rollback_from_a_release_brings_the_last_good_one(night: Night) -> None:
    assert not night.back.failed
    assert (night.back["changed"], night.back["outcome"]) == (True, "done")
    assert (night.back["from"], night.back["release"]) == ("v2", "v1")


def test_going_back_by_itself_is_a_failure_with_the_sentence_of_the_verdict(night: Night) -> None:
    assert night.worse.failed
    assert night.worse["msg"] == night.worse["receipt"]["evidence"]["sentence"]
    assert night.worse["msg"].startswith("v3 failed ")
    assert (night.worse["changed"], night.worse["outcome"]) == (True, "rolled_back")
    assert (night.worse["release"], night.worse["rc"]) == ("v1", 3)
    assert night.worse["lost"] > 0


def test_info_has_what_is_live_and_the_last_receipt(night: Night) -> None:
    assert (night.info["release"], night.info["rollout"]) == ("v1", None)
    assert night.info["receipt"]["id"] == night.worse["id"]
    assert night.info["receipt"]["outcome"] == "rolled_back"


def test_an_invalid_config_is_told_with_its_line(night: Night) -> None:
    assert night.invalid.failed
    assert "rollout.bakee: there is no such key" in night.invalid["msg"]
    assert "; next: correct " in night.invalid["msg"]
    assert night.invalid["release"] == "v1"


def test_a_relctl_that_nobody_understands_loses_no_word(modules: Modules) -> None:
    modules.install("echo half a {; echo 'Traceback: oh no' >&2; exit 1")
    task = modules.run("switch", release="v2")
    assert task.failed
    assert "Traceback: oh no" in task["msg"]
    assert (task["stdout"], task["stderr"]) == ("half a {\n", "Traceback: oh no\n")


@pytest.mark.parametrize(("name", "given"), [("switch", "release"), ("rollback", "from_")])
def test_a_release_that_yaml_has_made_another_one_is_refused(
    modules: Modules, name: str, given: str
) -> None:
    task = modules.run(name, **{given: 1.10})
    assert task.failed
    assert task["msg"].endswith(f'put it in quotes, {given.rstrip("_")}: "1.10"')


def test_without_relctl_the_task_says_what_is_missing(modules: Modules) -> None:
    (modules.programs / "relctl").unlink()
    task = modules.run("info")
    assert task.failed
    assert task["msg"].startswith("cannot find relctl")
