"""Which unit a process is in, on machines with other cgroups than the one that runs the tests."""

from __future__ import annotations

import pytest

from reld.processes.cgroup import _systemd_s

UNIT = "/relctl.slice/relctl-web-r1-blue-1.service"


@pytest.mark.parametrize(
    "memberships",
    [
        f"0::{UNIT}\n",
        f"2:cpu,cpuacct:/relctl.slice\n1:name=systemd:{UNIT}\n0::{UNIT}\n",
        f"2:cpu,cpuacct:/relctl.slice\n1:name=systemd:{UNIT}\n",
        f"1:name=systemd:{UNIT}\n0::/\n",
    ],
    ids=["version 2", "hybrid", "version 1", "version 1, with an unused version 2"],
)
def test_a_unit_is_found_whatever_version_the_machine_has(memberships):
    assert _systemd_s(memberships) == UNIT


def test_a_process_in_no_group_is_in_no_unit():
    assert _systemd_s("0::/\n") == "/"
    assert _systemd_s("") == "/"
