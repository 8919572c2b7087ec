"""A background process of a release that must not run twice: it holds a lock and keeps a diary.

`python3 worker.py DIARY LOCK RELEASE [LAST]`: appends a JSON line to DIARY when it starts, when it is asked to
stop and when it ends, `LAST` seconds later. A second one that finds LOCK taken writes "twice" and goes on. A
child of it, deaf to signals, shares the lock: only when the whole tree is gone the lock is free.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time


def main(diary: str, lock: str, release: str, last: float) -> int:
    def write(what: str) -> None:
        active = os.environ["RELCTL_ACTIVE_FILE"]
        line = {
            "what": what,
            "release": release,
            "worker": os.environ["RELCTL_WORKER"],
            "pid": os.getpid(),
            "at": time.monotonic(),
            "active": os.path.exists(active),
            "env": {k: v for k, v in os.environ.items() if k.startswith("RELCTL_") or k == "PORT"},
        }
        with open(diary, "a") as file:
            file.write(json.dumps(line) + "\n")

    def stop(*_: object) -> None:
        write("asked")
        time.sleep(last)
        write("stop")
        os._exit(0)

    held = os.open(lock, os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        write("twice")
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            time.sleep(60)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    write("start")
    print(f"worker {os.environ['RELCTL_WORKER']} of {release} is here", flush=True)
    if os.path.exists("broken"):
        return 3
    while True:
        time.sleep(60)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4], float((sys.argv[4:] or ["0"])[0])))
