"""The playbooks of the collection: what can be said of them without three VMs (tests/vm/test_fleet.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.collection import PLUGINS

PLAYBOOKS = PLUGINS.parent / "playbooks"
FILES = sorted(PLAYBOOKS.rglob("*.yml"))
WORDS = {
    *(
        "name",
        "hosts",
        "strategy",
        "gather_facts",
        "serial",
        "max_fail_percentage",
        "vars",
        "tasks",
    ),
    *("when", "register", "loop", "loop_control", "run_once", "throttle", "delegate_to"),
    *("failed_when", "changed_when", "check_mode", "ignore_errors", "ignore_unreachable"),
}


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    for entry in yaml.safe_load(path.read_text()):
        yield from entry.get("tasks", [entry])


def module(task: dict[str, Any]) -> str:
    (name,) = set(task) - WORDS
    return name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_they_need_no_other_collection(path: Path):
    used = {module(task) for task in tasks(path)}
    assert used
    ours = {f"relctl.relctl.{one.stem}" for one in PLUGINS.glob("modules/*.py")}
    assert {name for name in used if not name.startswith("ansible.builtin.")} <= ours


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_vm_that_cannot_be_reached_never_ends_a_play_without_its_table(path: Path):
    for task in tasks(path):
        if module(task).startswith("relctl.relctl."):
            assert task["ignore_unreachable"], task
            assert task["ignore_errors"], task
            assert task["failed_when"] is False, task


def test_each_file_of_tasks_is_used_and_is_there():
    asked = {
        found
        for path in FILES
        for found in re.findall(r"import_tasks: (?:tasks/)?(\w+\.yml)", path.read_text())
    }
    assert asked == {path.name for path in PLAYBOOKS.glob("tasks/*.yml")}


def test_a_release_goes_to_one_then_to_a_quarter_then_to_the_rest_and_stops_at_the_first_failure():
    *_, batches = yaml.safe_load((PLAYBOOKS / "release.yml").read_text())
    assert "[1, '25%', '100%']" in batches["serial"]
    assert batches["max_fail_percentage"] == 0


@pytest.mark.parametrize("name", ["release", "rollback", "rehearse"])
def test_no_strategy_of_somebodys_config_lets_a_vm_run_ahead(name):
    whom, *plays = yaml.safe_load((PLAYBOOKS / f"{name}.yml").read_text())
    assert whom["hosts"] == "all:localhost"
    assert {play["strategy"] for play in plays} == {"linear"}
