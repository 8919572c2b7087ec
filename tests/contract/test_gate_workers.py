"""Who counts as a worker of the gate, seen in real processes."""

from __future__ import annotations

import subprocess
import sys

from reld.nginx import master

_TITLE = "nginx: master process nginx -c gate.conf"
_MASTER = f"""
import os, sys
def fork(then):
    pid = os.fork()
    if pid == 0:
        then()
    return pid
quiet = lambda: sys.stdin.read() and None or os._exit(0)
forked = fork(quiet)
upgraded = fork(lambda: os.execv("/bin/sleep", [{_TITLE!r}, "60"]))
while b"sleep" not in open(f"/proc/{{upgraded}}/comm", "rb").read():
    pass
print(forked, flush=True)
sys.stdin.read()
os.kill(upgraded, 9)
"""


def test_a_worker_that_still_has_its_masters_title_counts_and_a_new_master_does_not():
    with subprocess.Popen(
        [_TITLE, "-c", _MASTER],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        forked = int(process.stdout.readline())
        ticks = master.start_ticks(process.pid)
        assert ticks is not None
        found = master.workers(master.Process(process.pid, ticks))
        process.communicate()
    assert [(worker.pid, worker.leaving) for worker in found] == [(forked, False)]
