"""Runs in the child: wait for the word, become the app's user, exec. Never imported by reld.

    python -I -S trampoline.py LINE

LINE is the descriptor of a Unix socket to reld; 0 = standard input and output, where systemd connects it;
standard error is the journal then, and standard output becomes the same. reld says
what to do first: 4 bytes of length and a dict (marshal: both ends are the same interpreter, and it costs
nothing to import), if the dict says so a byte with a descriptor for stdout and stderr, or with all three. Then one byte
means exec; the end of the line means that reld died, and so does this process, before anything of the
app was started. The answer is "!" right before the exec, then either the end of the line (close-on-exec:
the app runs) or STAGE, errno and path of what went wrong.
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
_TIOCSCTTY = 0x540E  # of `termios`, which takes a millisecond


class _Failed(Exception):
    def __init__(self, stage: bytes, number: int | None, path: bytes = b"") -> None:
        super().__init__(stage)
        self.report = b"%s\0%d\0%s" % (stage, number or 0, path)


def main() -> NoReturn:
    line = int(sys.argv[1])
    if line == 0:
        line = _off_stdio()
    order: dict[str, Any] = marshal.loads(_read(line, int.from_bytes(_read(line, 4), "little")))  # noqa: S302
    if order["given"]:
        _take(line, order["given"])
    _read(line, 1)
    os.set_inheritable(line, False)
    try:
        os.write(line, b"!")
        try:
            _become(order)
            _execute(order)
        except _Failed as failed:
            os.write(line, failed.report)
    except BrokenPipeError:
        pass  # reld died just now: the same as no word at all
    os._exit(EXEC_FAILED)


def _off_stdio() -> int:
    line = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return line


def _read(line: int, size: int) -> bytes:
    got = b""
    while len(got) < size:
        try:
            more = os.read(line, size - len(got))
        except ConnectionResetError:
            more = b""
        if not more:
            os._exit(EXEC_FAILED)
        got += more
    return got


def _take(line: int, count: int) -> None:
    import _socket  # `socket` takes as long to import as the interpreter to start

    with_line = _socket.socket(fileno=os.dup(line))
    got, ancillary, _, _ = with_line.recvmsg(1, _socket.CMSG_LEN(4 * count))
    with_line.close()
    if not got or not ancillary:
        os._exit(EXEC_FAILED)
    raw = ancillary[0][2]
    given = [int.from_bytes(raw[at : at + 4], sys.byteorder) for at in range(0, 4 * count, 4)]
    for standard in (1, 2) if count == 1 else (0, 1, 2):
        os.dup2(given[0] if count == 1 else given[standard], standard)
    for one in given:
        os.close(one)


def _own_terminal() -> None:
    import fcntl

    try:
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    except OSError as problem:
        raise _Failed(b"terminal", problem.errno) from None


def _become(order: dict[str, Any]) -> None:
    try:
        # reld may be protected from the OOM killer by its unit; the app shall not be.
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(order["oom"]))
    except OSError:
        pass
    if order["terminal"]:
        _own_terminal()
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
