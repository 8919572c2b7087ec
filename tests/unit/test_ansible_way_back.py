"""How a machine gets rid of a release: every state that `relctl status` can tell."""

from __future__ import annotations

from typing import Any

import pytest

from tests.collection import part

wayback = part("module_utils/wayback")
Way = wayback.Way


def rollout(kind: str, leaves: str | None, brings: str | None, outcome: str = "") -> dict[str, Any]:
    return {
        "id": 7,
        "kind": kind,
        "from": leaves,
        "to": brings,
        "phase": "shifting",
        "outcome": outcome or None,
    }


def way(live: str | None, running: dict[str, Any] | None, release: str | None = None) -> Any:
    """To be rid of v2."""
    return wayback.way({"release": live, "rollout": running}, "v2", release)


def test_where_it_is_live_and_nothing_goes_on_relctl_chooses_what_to_go_back_to() -> None:
    assert way("v2", None) == Way()


def test_where_to_go_can_be_said() -> None:
    assert way("v2", None, "v0") == Way(to="v0")


@pytest.mark.parametrize("live", ["v1", None])
def test_where_it_is_not_live_nothing_is_done(live: str | None) -> None:
    assert way(live, None) == Way(done=f"v2 is not live here: {live or 'nothing'} is")


def test_where_others_change_places_nothing_is_done() -> None:
    assert way("v1", rollout("switch", "v1", "v3")).done


@pytest.mark.parametrize("outcome", ["", "done"])
def test_a_rollout_that_brings_it_is_turned_round(outcome: str) -> None:
    assert way("v1", rollout("switch", "v1", "v2", outcome)) == Way(to="v1")


def test_a_first_release_that_is_being_brought_is_turned_round_to_nothing() -> None:
    assert way(None, rollout("switch", None, "v2")) == Way()


@pytest.mark.parametrize("outcome", ["rolled_back", "aborted", "failed"])
def test_a_rollout_that_goes_back_by_itself_is_joined(outcome: str) -> None:
    assert way("v1", rollout("switch", "v1", "v2", outcome)) == Way(joins=7)


@pytest.mark.parametrize("release", [None, "v1"])
def test_a_rollback_from_it_that_goes_on_is_joined(release: str | None) -> None:
    assert way("v2", rollout("rollback", "v2", "v1"), release) == Way(joins=7)


@pytest.mark.parametrize(
    ("running", "release"),
    [
        (rollout("rollback", "v2", "v1"), "v0"),
        (rollout("rollback", "v3", "v2"), None),
        (rollout("switch", "v2", "v3"), None),
        (rollout("restart", "v2", "v2"), None),
        (rollout("rehearsal", "v2", "v2"), None),
        (rollout("stop", "v2", None), None),
    ],
)
def test_any_other_rollout_with_it_is_in_the_way(
    running: dict[str, Any], release: str | None
) -> None:
    found = way("v3" if running["from"] == "v3" else "v2", running, release)
    assert found.waits_for == 7
    assert found.busy.startswith("cannot roll back from v2: rollout 7 (")
    assert found.busy.endswith("is shifting; next: relctl watch 7, or wait_lock")


def test_what_a_release_was_switched_to_from_is_the_way_back_and_never_what_was_left() -> None:
    def past(kind: str, before: str | None, to: str, outcome: str = "done") -> dict[str, Any]:
        return {"kind": kind, "from": before, "to": to, "outcome": outcome}

    history = [
        past("switch", "v2", "v4", "rolled_back"),
        past("rollback", "v3", "v2"),
        past("switch", "v2", "v3"),
        past("switch", "v1", "v2"),
        past("switch", None, "v1"),
    ]
    assert wayback.before(history, "v2") == "v1"
    assert wayback.before(history, "v1") is None
    assert wayback.before(history, "v9") is None
