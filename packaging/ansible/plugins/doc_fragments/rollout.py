"""What the documentation of several modules has in common."""

from __future__ import annotations


class ModuleDocFragment:
    """`relctl.relctl.rollout`: of every module. `relctl.relctl.rollout.staying`: of those that start one."""

    DOCUMENTATION = """
options:
  app:
    description: Which app is meant. May be left out where the machine has only one.
    type: str
requirements:
  - relctl on the managed host
  - Python 3.11 or newer on the managed host
notes:
  - The login user must be in the group of I(access.operators), C(relctl) unless configured otherwise; root is not needed.
  - RELCTL_APP and RELCTL_SOCKET in C(environment) are understood as relctl does.
author:
  - relctl authors (@relctl)
"""

    STAYING = """
options:
  timeout:
    description:
      - How long to stay with the rollout, like C(30m). Then the task fails with I(outcome=running), and the rollout goes on.
      - Without it the task stays to the end.
    type: str
  wait_lock:
    description:
      - How long to wait while another rollout is active, like C(10m). Without it the task fails at once.
    type: str
  reason:
    description: Goes into the receipt.
    type: str
  note:
    description: Why, in one line of at most 500 characters, for the audit and the receipt.
    type: str
notes:
  - A rollout belongs to reld on the managed host. It goes on when the task, the play or the connection is lost.
  - A rollout takes a quarter of an hour by default, and nothing is said meanwhile. Keep the SSH connection from being
    dropped as idle, for example with C(-o ServerAliveInterval=30) in C(ssh_args), and do not use C(async), which would
    only add a second watcher that can be lost.
"""
