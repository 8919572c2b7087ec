"""Runs in the child: wait for the word, become the app's user, exec. Never imported by reld.

    python -I -S trampoline.py ORDER GO ANSWER      (three inherited file descriptors)

ORDER is a file with what to do (marshal: both ends are the same interpreter, and it costs nothing to
import). GO is a pipe: one byte means exec; its end means that reld died, and so does this process,
before anything of the app was started. ANSWER is a pipe that reld reads: "!" right before the exec,
then either its end (close-on-exec: the app runs) or STAGE, errno and path of what went wrong.
"""

from __future__ import annotations

import errno
import marshal
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself takes longer to import than all the rest
    from typing import Any, NoReturn

EXEC_FAILED = 127


class _Failed(Exception):
    def __init__(self, stage: bytes, number: int | None, path: bytes = b"") -> None:
        super().__init__(stage)
        self.report = b"%s\0%d\0%s" % (stage, number or 0, path)


def main() -> NoReturn:
    order_fd, go, answer = (int(word) for word in sys.argv[1:4])
    with open(order_fd, "rb") as file:
        order: dict[str, Any] = marshal.load(file)  # noqa: S302
    if not os.read(go, 1):
        os._exit(EXEC_FAILED)
    os.close(go)
    os.set_inheritable(answer, False)
    try:
        os.write(answer, b"!")
        try:
            _become(order)
            _execute(order)
        except _Failed as failed:
            os.write(answer, failed.report)
    except BrokenPipeError:
        pass  # reld died just now: the same as no word at all
    os._exit(EXEC_FAILED)


def _become(order: dict[str, Any]) -> None:
    try:
        # reld may be protected from the OOM killer by its unit; the app shall not be.
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(order["oom"]))
    except OSError:
        pass
    if order["user"] is not None:
        uid, gid, groups = order["user"]
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        except OSError as problem:
            raise _Failed(b"user", problem.errno) from None
    try:
        os.chdir(order["directory"])
    except OSError as problem:
        raise _Failed(b"directory", problem.errno, order["directory"]) from None
    os.umask(0o022)
    for number in signal.valid_signals():
        try:  # noqa: SIM105 - contextlib is slow to import, too
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _execute(order: dict[str, Any]) -> NoReturn:
    absent = (errno.ENOENT, errno.ENOTDIR)
    worst = _Failed(b"exec", errno.ENOENT, order["files"][0])
    for path in order["files"]:
        try:
            os.execve(path, order["argv"], order["env"])
        except OSError as problem:
            # As a shell does: something that may not be run says more than nothing found. A file
            # that is there and "not found" is a script whose interpreter is missing.
            # Of several folders, one that is closed to the user says nothing at all.
            there = os.path.lexists(path)
            closed = problem.errno == errno.EACCES and len(order["files"]) > 1
            if there or not (closed or problem.errno in absent):
                worst = _Failed(b"exec", problem.errno, path)
    raise worst


if __name__ == "__main__":
    main()
