"""A body is understood completely, or refused with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from reld.api.requests import (
    LogRequest,
    NotFound,
    Options,
    RolloutRequest,
    Steer,
    log_request,
    rollout_request,
    steer,
)
from reld.errors import BadRequest


def test_a_switch_with_every_option_is_understood() -> None:
    options = {
        "steps": [5, 100],
        "step_time": 1,
        "step_max": 2.5,
        "step_requests": 0,
        "bake": 0,
        "drain": 1,
        "drain_max": 2,
        "surge": 1,
        "shadow": 0.05,
        "force": True,
        "supersede": True,
        "dry_run": True,
        "reason": "für alle",
        "observe": True,
    }
    body = {"kind": "switch", "release": "v2", "options": options}
    assert rollout_request(body) == RolloutRequest(
        "switch",
        "v2",
        Options(
            steps=(5, 100),
            step_time=1.0,
            step_max=2.5,
            step_requests=0,
            bake=0.0,
            drain=1.0,
            drain_max=2.0,
            surge=1,
            shadow=0.05,
            force=True,
            supersede=True,
            dry_run=True,
            reason="für alle",
            observe=True,
        ),
    )


def test_nulls_mean_as_configured() -> None:
    body = {"kind": "rollback", "release": None, "options": {"steps": None, "now": None}}
    assert rollout_request(body) == RolloutRequest("rollback", None, Options())


@pytest.mark.parametrize("name", ["v1", "2026-11-23_1.0", "A" * 64, "v..", "-x"])
def test_a_good_release_name_is_taken(name: str) -> None:
    assert rollout_request({"kind": "switch", "release": name}).release == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".v2.~0a1b2c3d",
        "../x",
        "a b",
        "a/b",
        "A" * 65,
        "v1\n",
        "é",
        "v\0",
        7,
        ["v1"],
        True,
        {},
    ],
)
def test_a_bad_release_name_is_refused(name: Any) -> None:
    with pytest.raises(BadRequest, match="as a release name"):
        rollout_request({"kind": "switch", "release": name})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (None, "not a JSON object"),
        ([], "not a JSON object"),
        ({}, "kind must be one of switch"),
        ({"kind": "dance"}, "kind must be one of switch"),
        ({"kind": []}, "kind must be one of switch"),
        ({"kind": "switch"}, "no release is named"),
        ({"kind": "stop", "release": "v1"}, "cannot stop: it takes no release"),
        ({"kind": "stop", "relase": "v1"}, "'relase' is not known"),
        ({"kind": "stop", "options": []}, "options: it is not a JSON object"),
        ({"kind": "stop", "options": {"fast": True}}, "'fast' is not known"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(body: Any, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        rollout_request(body)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": []},
        {"steps": [100, 5]},
        {"steps": [5, 5, 100]},
        {"steps": [0, 100]},
        {"steps": [5, 50]},
        {"steps": [5, 101]},
        {"steps": [5.0, 100]},
        {"steps": [True, 100]},
        {"steps": "5,100"},
        {"bake": -1},
        {"bake": "1m"},
        {"bake": True},
        {"bake": float("nan")},
        {"bake": float("inf")},
        {"bake": 10**400},
        {"step_requests": 1.5},
        {"step_requests": -1},
        {"step_requests": True},
        {"shadow": 1.01},
        {"shadow": -0.1},
        {"shadow": "5%"},
        {"shadow": True},
        {"shadow": 0.05, "stop_first": True},
        {"now": 1},
        {"now": True, "steps": [5, 100]},
        {"step_time": 10, "step_max": 5},
        {"drain": 10, "drain_max": 5},
        {"reason": 7},
        {"reason": "x" * 501},
        {"reason": "a\nb"},
        {"reason": "\x1b[2J"},
        {"reason": "\ud800"},
    ],
)
def test_an_option_out_of_its_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="cannot use"):
        rollout_request({"kind": "switch", "release": "v1", "options": options})


def test_now_may_say_its_steps_too() -> None:
    body = {"kind": "switch", "release": "v1", "options": {"now": True, "steps": [100]}}
    assert rollout_request(body).options.now


def test_steering_is_understood() -> None:
    assert steer(4, "promote", {"full": True}) == Steer(4, "promote", True, "")
    assert steer(4, "abort", {"reason": "slow"}) == Steer(4, "abort", False, "slow")
    assert steer(4, "pause", {}) == Steer(4, "pause", False, "")


def test_full_belongs_to_promote_only() -> None:
    with pytest.raises(BadRequest, match="'full' is not known"):
        steer(4, "pause", {"full": True})


def test_an_unknown_verb_is_not_found() -> None:
    with pytest.raises(NotFound):
        steer(4, "explode", {})


def test_the_log_query_is_understood() -> None:
    query = {"slot": "blue", "release": "v2", "lines": "5", "follow": "1"}
    assert log_request(query) == LogRequest("blue", "v2", 5, True)
    assert log_request({}) == LogRequest(None, None, 100, False)


@pytest.mark.parametrize(
    "query",
    [
        {"slot": "red"},
        {"release": "../x"},
        {"lines": "-1"},
        {"lines": "٣"},
        {"lines": "9" * 9},
        {"lines": "9" * 5000},
        {"file": "/etc/passwd"},
    ],
)
def test_a_log_query_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        log_request(query)


@pytest.mark.parametrize("kind", ["start", "stop", "contract", "eject"])
def test_only_what_changes_the_release_is_stop_first(kind: str) -> None:
    with pytest.raises(BadRequest, match="stop_first is an option of switch, rollback and restart"):
        rollout_request({"kind": kind, "options": {"stop_first": True}})


@pytest.mark.parametrize("kind", ["switch", "rollback", "restart"])
def test_what_changes_the_release_can_be_stop_first(kind: str) -> None:
    release = None if kind == "restart" else "v2"
    body = {"kind": kind, "release": release, "options": {"stop_first": True}}
    assert rollout_request(body).options == Options(stop_first=True)


def test_a_rehearsal_has_options_of_its_own() -> None:
    options = {"fail": True, "share": 10, "time": 5}
    body = {"kind": "rehearsal", "options": options}
    asked = Options(fail=True, share=10, time=5.0)
    assert rollout_request(body) == RolloutRequest("rehearsal", None, asked)
    assert rollout_request({"kind": "rehearsal"}).options == Options()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"kind": "rehearsal", "release": "v1"}, "it takes no release"),
        ({"kind": "rehearsal", "options": {"share": 51}}, "from 1 to 50"),
        ({"kind": "rehearsal", "options": {"share": 0}}, "from 1 to 50"),
        ({"kind": "rehearsal", "options": {"share": True}}, "from 1 to 50"),
        ({"kind": "rehearsal", "options": {"time": 0.5}}, "from 1 to 600 seconds"),
        ({"kind": "rehearsal", "options": {"time": 601}}, "from 1 to 600 seconds"),
        ({"kind": "rehearsal", "options": {"fail": "yes"}}, "true or false"),
        ({"kind": "rehearsal", "options": {"steps": [5, 100]}}, "steps is an option of switch"),
        ({"kind": "rehearsal", "options": {"now": True}}, "now is an option of switch"),
        ({"kind": "rehearsal", "options": {"stop_first": True}}, "stop_first"),
        ({"kind": "rehearsal", "options": {"surge": 1}}, "surge"),
        ({"kind": "rehearsal", "options": {"shadow": 0.5}}, "shadow"),
        ({"kind": "restart", "options": {"fail": True}}, "options of rehearse"),
        ({"kind": "switch", "release": "v2", "options": {"share": 5}}, "options of rehearse"),
        ({"kind": "switch", "release": "v2", "options": {"time": 5}}, "options of rehearse"),
    ],
)
def test_a_rehearsal_that_makes_no_sense_is_refused(body: dict[str, Any], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        rollout_request(body)
