"""The contract of the launchers, systemd's among them: it needs a systemd that is PID 1."""

from __future__ import annotations

from tests.vm import machine


def test_both_launchers_keep_the_contract(tester):
    said = machine.run_pytest(
        tester,
        "-rA",
        "tests/contract/test_processes_launch.py",
        "tests/contract/test_processes_exits.py",
        "tests/contract/test_processes_tree.py",
        "tests/contract/test_processes_run.py",
        "tests/contract/test_processes_session.py",
    )
    passed = [line for line in said.splitlines() if line.startswith("PASSED")]
    assert sum("[systemd" in line for line in passed) == sum("[direct" in line for line in passed)
    assert sum("[systemd" in line for line in passed) > 30


def test_instances_are_units_of_systemd(tester):
    machine.run_pytest(tester, "tests/vm/boxed_units.py")
