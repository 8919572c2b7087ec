"""`relctl rehearse`: a real reld, its gate and an app that people visit, and what nobody loses by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.load.visitors import Visitors
from tests.rig import Rig, fast

NOTE = '["/bin/sh", "-c", "echo hook >> hooks"]'
HOOKS = "\n".join(
    ["[hooks]", *(f"{h} = {NOTE}" for h in ("before_start", "after_switch", "on_rollback"))]
)
RATE = 60.0
TIMES = (
    "seconds_to_ready",
    "seconds_to_roll_back",
    "longest_request",
    "seconds_to_drain",
    "seconds_to_stop",
)


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(rest=fast(bake="0s"), app='stop_timeout = "2s"', tables=HOOKS) as rig:
        rig.release("v1").chmod(0o777)
        answer = rig.relctl("switch", "v1")
        assert answer.code == 0, answer.text
        with Visitors(rig.listen, rate=RATE, posts=0.3) as visitors:
            visitors.wait_for(int(RATE / 2))
            yield rig
            seen = visitors.end()
            # In all of these rehearsals not one of them was sent away.
            assert seen.failed == [], seen.text


def hooks(rig: Rig) -> int:
    return len((rig.releases / "v1/hooks").read_text().splitlines())


def test_a_rehearsal_under_load_loses_nothing_and_says_what_was_measured(rig: Rig) -> None:
    ran, pids = hooks(rig), rig.pids()
    answer = rig.relctl("rehearse", "--share", "25", "--time", "1s", "--json")
    assert answer.code == 0, answer.text
    told = answer.json
    assert (told["outcome"], told["kind"], told["reason"]) == ("done", "rehearsal", "")
    assert [told["from"], told["to"]] == ["v1", "v1"]
    found = told["rehearsal"]
    assert (found["lost"], found["found"], found["fail"]) == (0, None, False)
    assert all(found[name] is not None for name in TIMES), found
    assert found["seconds_to_roll_back"] < 10
    assert {a.partition(" =")[0].rpartition(" ")[2] for a in found["advice"]} == {
        "drain",
        "drain_max",
        "deadline",
        "stop_timeout",
    }
    # Both were asked, by users and by reld, and reld's are nobody's requests.
    assert found["own"]["asked"] > 0
    assert (found["own"]["failed"], found["own"]["lost"]) == (0, 0)
    assert min(told["requests"][color]["total"] for color in ("blue", "green")) > 0
    # It is as it was.
    assert rig.pids() == pids
    assert hooks(rig) == ran
    assert told["reloads"] == 2
    status = rig.status()
    assert status["release"] == "v1"
    shown = {k: v for k, v in found.items() if k not in ("share", "fail", "own")}
    assert status["rehearsal"] == shown
    line = next(x for x in rig.relctl("status").out.splitlines() if x.startswith("rehearsal"))
    assert ": done, ready in " in line
    assert "nothing lost" in line


def test_what_fails_on_purpose_is_found_and_no_user_has_seen_it(rig: Rig) -> None:
    # The gate that runs is asked, not the one that an edit of the config wants after a restart.
    listen = f'listen = "127.0.0.1:{rig.listen}"'
    edited = f'listen = "127.0.0.1:{rig.listen + 60}"'
    rig.edit(listen, edited)
    answer = rig.relctl("rehearse", "--fail", "--share", "25", timeout=150)
    rig.edit(edited, listen)
    assert answer.code == 0, answer.text
    told = rig.receipt(rig.status()["rehearsal"]["id"])
    found = told["rehearsal"]
    assert (told["outcome"], found["found"], found["lost"]) == ("done", True, 0)
    assert told["evidence"]["verdict"] == "worse"
    assert "as it was to be found: " in told["reason"]
    assert found["own"]["failed"] > 0
    for color in ("blue", "green"):
        assert (told["requests"][color]["errors"], told["requests"][color]["failures"]) == (0, 0)
        assert told["requests"][color]["total"] > 0
    assert "the verdict works" in answer.out
    assert rig.status()["rehearsal"]["found"] is True
    assert "relctl_rehearsed" not in (rig.state / "gate/gate.conf").read_text()


def test_a_reld_that_is_killed_in_the_middle_goes_back_and_keeps_what_was_seen(rig: Rig) -> None:
    before = rig.status()["rehearsal"]
    assert before is not None
    answer = rig.relctl("rehearse", "--share", "25", "--time", "2s", "--no-wait")
    assert answer.code == 0, answer.text
    number = int(answer.out)
    rig.wait_share(25)
    rig.wait_status(lambda _: rig.receipt(number)["requests"]["blue"]["total"] > 0)
    rig.kill_reld()
    rig.start_reld()
    assert rig.status()["rehearsal"]["id"] in (before["id"], number)
    rig.wait_idle()
    told = rig.receipt(number)
    assert told["outcome"] == "done", told
    assert told["rehearsal"]["lost"] == 0
    assert rig.status()["rehearsal"]["id"] == number


def test_a_person_has_it_back_at_once(rig: Rig) -> None:
    number = int(rig.relctl("rehearse", "--time", "60s", "--no-wait").out)
    rig.wait_share(5)
    busy = rig.relctl("rehearse")
    assert busy.code == 6, busy.text
    # Who wants to be rid of what is live is not told that he is.
    away = rig.relctl("rollback")
    assert away.code == 6, away.text
    assert f"relctl abort {number}, then relctl rollback --wait-lock" in away.err
    answer = rig.relctl("rollback", "v1")
    assert answer.code == 0, answer.text
    assert rig.receipt(number)["outcome"] == "rolled_back"
    assert rig.status()["release"] == "v1"


def test_before_it_begins_it_says_what_it_will_do_and_does_nothing(rig: Rig) -> None:
    answer = rig.relctl("rehearse", "--fail", "--dry-run")
    assert answer.code == 0, answer.text
    assert "no user's request does" in answer.out
    assert rig.status()["rollout"] is None
    wrong = rig.relctl("rehearse", "--share", "80")
    assert wrong.code == 2, wrong.text


def test_a_copy_that_does_not_get_ready_is_what_it_ends_with(rig: Rig) -> None:
    (rig.releases / "v1/knobs.json").write_text('{"crash_at_boot": 3}')
    answer = rig.relctl("rehearse", "--json")
    assert answer.code == 1, answer.text
    assert answer.json["outcome"] == "failed"
    assert "exit code 3" in answer.json["reason"]
    assert rig.status()["rehearsal"]["outcome"] == "failed"
    assert rig.get()[0] == 200
