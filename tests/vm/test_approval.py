"""Two people, with real logins: one begins, another one says yes; sudo makes nobody a second person."""

from __future__ import annotations

import json

import pytest

from tests.vm import machine
from tests.vm.box import Box

ACCESS = '[access]\noperators = ["@relctl"]\napprovers = ["bob", "root"]\n'


@pytest.fixture(scope="module")
def vm(installed):
    with Box(installed.layers) as box:
        box.boot()
        box.sh("useradd -m -s /bin/bash -G relctl alice; useradd -m -s /bin/bash -G relctl bob")
        box.write("/etc/sudoers.d/all", "alice,bob ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        box.write("/etc/relctl/web.toml", box.sh("cat /etc/relctl/web.toml") + ACCESS)
        box.sh("systemctl enable --quiet --now reld@web")
        yield box


def test_what_one_began_waits_for_another(vm: Box):
    begun = vm.ssh("relctl switch v1 --no-wait --note first", user="alice")
    assert begun.returncode == 0, begun.stderr
    machine.until("it to wait", lambda: "approve 1" in vm.sh("relctl status"))
    assert machine.release(vm) in {"503", "502"}
    for mine in ("relctl approve", "sudo relctl approve", "relctl promote"):
        assert vm.ssh(mine, user="alice").returncode != 0, mine
    assert "waits for an approver" in vm.ssh("relctl resume", user="alice").stdout
    assert machine.status(vm)["rollout"] is not None
    yes = vm.ssh("relctl approve --note 'looked at it'", user="bob")
    assert yes.returncode == 0, yes.stderr
    machine.until("v1", lambda: machine.release(vm) == "v1")
    machine.until("the end", lambda: machine.status(vm)["rollout"] is None)
    receipt = json.loads(vm.sh("relctl show 1 --json"))
    assert (receipt["actor"], receipt["approved_by"]) == ("alice", "bob")


def test_going_back_waits_for_nobody(vm: Box):
    assert vm.ssh("relctl switch v2 --no-wait", user="alice").returncode == 0
    machine.until("it to wait", lambda: "approve 2" in vm.sh("relctl status"))
    assert vm.ssh("relctl rollback", user="alice").returncode == 0
    machine.until("the end", lambda: machine.status(vm)["rollout"] is None)
    assert machine.release(vm) == "v1"


def test_who_tried_what_is_in_the_audit_with_the_login_behind_sudo(vm: Box):
    rows = json.loads(vm.sh("relctl audit --json --limit 100"))["audit"]
    tried = [row for row in rows if row["command"] == "approve"]
    assert {(row["user"], row["login"], row["outcome"]) for row in tried} == {
        ("alice", "alice", "refused"),
        ("root", "alice", "refused"),
        ("bob", "bob", "accepted"),
    }
