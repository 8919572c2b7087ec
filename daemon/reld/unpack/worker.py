"""Runs as the app's user: `python -I -S worker.py ORDER`, ORDER being JSON. Never imported by reld.

    {"job": "unpack", "parent", "name", "inside", "shared_at", "shared", "build", "most", "release"}
    {"job": "sweep", "parent"}                  what was interrupted is removed
    {"job": "remove", "parent", "names"}        whole releases, hidden first

Standard input is the archive, standard error is the person's; the last line on standard output is JSON for
reld: {"done": …} or {"error", "hint"}. When nobody reads standard output any more, reld is dead: nothing
may come of it then.
"""

from __future__ import annotations

import errno
import json
import os
import pwd
import select
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

if not __package__:  # a program, see above: what it needs of reld is beside it
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from reld.unpack import archive, claim, trees
from reld.unpack.coming import Coming, Failed
from reld.unpack.shared import Shared, SharedError

LOOK_EVERY = 0.2
"""Seconds between two looks whether reld is still there."""
_ARCHIVE, _RELD, _PERSON = 0, 1, 2


class _Abandoned(Exception):
    """reld is gone."""


class _Input:
    """The archive as it comes, also where somebody made the descriptor non-blocking."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(_ARCHIVE, select.POLLIN)
        self._poll.register(_RELD, 0)

    def read(self, size: int) -> bytes:
        while True:
            for descriptor, what in self._poll.poll():
                if descriptor == _RELD and what & select.POLLERR:
                    raise _Abandoned
            try:
                return os.read(_ARCHIVE, size)
            except BlockingIOError:
                continue


def main() -> int:
    order: dict[str, Any] = json.loads(sys.argv[1])
    os.umask(0o022)
    try:
        match order["job"]:
            case "unpack":
                told = _unpack(order)
            case "sweep":
                claim.sweep(order["parent"])
                told = {}
            case _:
                told = {"removed": _remove(order["parent"], order["names"])}
    except _Abandoned:
        return 1
    except Failed as failed:
        return _tell({"error": str(failed), "hint": failed.hint}, 1)
    return _tell({"done": told}, 0)


def _tell(told: dict[str, Any], code: int) -> int:
    with suppress(OSError):
        os.write(_RELD, json.dumps(told).encode("ascii") + b"\n")
    return code


def _unpack(order: dict[str, Any]) -> dict[str, Any]:
    parent = order["parent"]
    began = time.monotonic()
    try:
        coming = Coming(parent, order["name"])
    except OSError as error:
        raise _trouble(error, parent) from None
    try:
        taken = _put(coming, order)
    except OSError as error:
        coming.discard()
        raise _trouble(error, parent) from None
    except BaseException:
        coming.discard()
        raise
    finally:
        os.close(coming.lock)
    return {
        "entries": taken.entries,
        "bytes": taken.size,
        "seconds": round(time.monotonic() - began, 3),
    }


def _put(coming: Coming, order: dict[str, Any]) -> archive.Taken:
    inside, at = order["inside"], order["shared_at"]
    release = os.path.join(coming.top, inside) if inside else coming.top
    os.makedirs(release, 0o755, exist_ok=True)
    taken = _take_archive(release, order["most"])
    _share(Shared(release, inside, at, coming.note), tuple(order["shared"]), at)
    if order["build"]:
        coming.appear()  # what builds write down has the path that it will have
        for command in order["build"]:
            _build(command, os.path.join(coming.top, inside).rstrip("/"), coming)
    coming.finish(order["release"])
    _go_on()
    coming.complete()
    return taken


def _take_archive(release: str, most: int) -> archive.Taken:
    root = os.open(release, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return archive.unpack(_Input(), root, most)
    except archive.TROUBLE as error:
        raise Failed(f"the archive is refused: {archive.shown(str(error), 300)}") from None
    except OSError as error:
        if error.errno is None:  # gzip's own: bad magic, wrong checksum
            why = archive.shown(str(error), 300)
            raise Failed(f"the archive is refused: {why}") from None
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
            raise Failed(
                "the archive is refused: two of its entries are in each other's way"
            ) from None
        raise
    finally:
        os.close(root)


def _share(shared: Shared, names: tuple[str, ...], at: str) -> None:
    try:
        shared.link(names)
    except SharedError as error:
        raise Failed(str(error), error.hint) from None
    except PermissionError:
        raise Failed(
            f"user {_user()} may not make what is shared in {at}",
            f"as root: install -d -o {_user()} {at}",
        ) from None


def _build(command: list[str], release: str, coming: Coming) -> None:
    words = shlex.join(command)
    with suppress(OSError):
        os.write(_PERSON, f"$ {words}\n".encode("utf-8", "replace"))
    try:
        building = subprocess.Popen(
            command,
            cwd=release,
            stdin=subprocess.DEVNULL,
            stdout=_PERSON,
            stderr=_PERSON,
            process_group=0,
            pass_fds=(coming.lock,),
        )
    except OSError as error:
        raise Failed(f"the build cannot run {words}: {error.strerror}") from None
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                code = building.wait(LOOK_EVERY)
                break
            coming.hold()
            _go_on()
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(building.pid, signal.SIGKILL)
        building.wait()
        raise
    coming.hold()
    if code != 0:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise Failed(f"the build failed: {words} ended with {how}", "what it said is above")


def _go_on() -> None:
    """Raises _Abandoned."""
    look = select.poll()
    look.register(_RELD, 0)
    if look.poll(0):
        raise _Abandoned


def _remove(parent: str, names: list[str]) -> list[str]:
    removed = []
    for name in names:
        aside = os.path.join(parent, trees.hidden(name))
        try:
            os.rename(os.path.join(parent, name), aside)
        except OSError:
            continue
        removed.append(name)
        trees.remove(aside)
    return removed


def _trouble(error: OSError, parent: str) -> Failed:
    user = _user()
    if error.errno in (errno.EACCES, errno.EPERM, errno.ENOENT) and not os.access(parent, os.W_OK):
        return Failed(
            f"user {user} may not write to {parent}", f"as root: install -d -o {user} {parent}"
        )
    if error.errno == errno.EROFS:
        return Failed(
            f"{parent} is read-only for the app's units",
            f"add ReadWritePaths={parent} to the app's sandbox, or mount it writable",
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failed(f"the disk is full: {parent}", f"df -h {parent}; relctl releases")
    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    return Failed(f"{where}{error.strerror or error}", f"ls -la {parent}")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


if __name__ == "__main__":
    sys.exit(main())
