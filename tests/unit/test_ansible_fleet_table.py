"""The table at the end of a play."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from tests.collection import part

fleet = part("filter/fleet").fleet


def test_every_vm_is_a_line_and_columns_are_as_wide_as_what_is_in_them() -> None:
    rows = [
        {"vm": "web1.example.com", "release": "v2", "outcome": "done", "lost": 0, "seconds": 912.4},
        {"vm": "web2", "release": "v1", "outcome": "rolled_back", "lost": 1204, "seconds": 6.24},
        {"vm": "web3", "release": "v1"},
    ]
    assert fleet(rows) == [
        "VM                RELEASE  OUTCOME       LOST         TIME",
        "web1.example.com  v2       done             0  15 min 12 s",
        "web2              v1       rolled back  1,204        6.2 s",
        "web3              v1       not begun        –            –",
    ]


def test_a_fleet_without_vms_is_a_head_alone() -> None:
    assert fleet([]) == ["VM  RELEASE  OUTCOME  LOST  TIME"]


def test_what_is_not_known_is_a_dash() -> None:
    row = {"vm": "web1", "release": None, "outcome": "failed", "lost": None, "seconds": None}
    assert fleet([row])[1] == "web1  –        failed      –     –"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (-1, "0 s"),
    ],
)
def test_times_are_told_as_relctl_tells_them(seconds: float, told: str) -> None:
    assert fleet([{"vm": "a", "seconds": seconds}])[1].endswith(f"  {told}")


def test_nothing_in_a_row_steers_the_terminal_or_makes_a_line_of_its_own() -> None:
    lines = fleet([{"vm": "web1\x1b[2J", "release": "v2\nv3", "outcome": "failed"}])
    assert len(lines) == 2
    assert lines[1].startswith("web1 [2J  v2 v3")


@pytest.mark.parametrize("wrong", ["web1", {"vm": "web1"}, None, 7])
def test_what_is_no_list_of_vms_is_refused_in_words(wrong: object) -> None:
    with pytest.raises(AnsibleFilterError, match="takes a list with a dictionary for each VM"):
        fleet(wrong)


@pytest.mark.parametrize("row", ["web1", {}, {"release": "v2"}, {"vm": ""}])
def test_a_line_without_a_vm_is_refused_in_words(row: object) -> None:
    with pytest.raises(AnsibleFilterError, match="a line needs at least vm"):
        fleet([row])
