"""One reld per app: who came first holds locks, and the kernel lets go of them when it dies.

The state directory survives a wiped runtime directory and a start with another one; the runtime
directory is looked at as well, because two states must not share one gate's files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from reld.errors import GateError, StoreError
from reld.nginx import master, owner, status
from reld.nginx.owner import Owner
from reld.nginx.settings import GateSettings

_NAME = "reld.lock"


@contextlib.contextmanager
def only_one(app: str, directories: tuple[Path, ...]) -> Iterator[None]:
    """Holds a lock in each of the directories. Raises StoreError, naming who holds one already."""
    with contextlib.ExitStack() as held:
        for directory in dict.fromkeys(d.resolve() for d in directories):
            held.enter_context(_locked(app, directory))
        yield


async def refuse_anothers_gate(settings: GateSettings) -> None:
    """With other directories than the first reld of this app: its gate gives it away.

    Raises StoreError.
    """
    answer = await status.ask(settings)
    if answer is None or answer.app != settings.app:
        return
    for address in (settings.status, settings.listen):
        for pid in _owners(address):
            state = _state_of(pid, owner.of(settings.user))
            who = "" if state in (None, settings.state) else _holder(Path(str(state)))
            if who:
                raise StoreError(
                    f"cannot look after {settings.app}: another reld does it already (pid {who}): "
                    f"the gate at {address} is its own, with its state in {state}",
                    "relctl status; another app needs a gate.listen and a gate.status of its own",
                )


@contextlib.contextmanager
def _locked(app: str, directory: Path) -> Iterator[None]:
    file = _opened(directory)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            who = _said(directory)
            raise StoreError(
                f"cannot look after {app}: another reld does it already (pid {who}), "
                f"with {directory}",
                "relctl status",
            ) from None
        with contextlib.suppress(OSError):  # on a full disk the lock counts, not its text
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)


def _opened(directory: Path) -> int:
    try:
        return os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:  # no room, or read-only: the directory itself can be locked as well
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _said(directory: Path) -> str:
    try:
        with (directory / _NAME).open() as file:
            return file.read(20).strip() or "unknown"
    except OSError:
        return "unknown"


def _owners(address: str) -> tuple[int, ...]:
    try:
        return master.owners(address)
    except (OSError, GateError):
        return ()


def _state_of(pid: int, gate: Owner) -> Path | None:
    """STATE of the config that a gate's master was started with."""
    words = master.command_line(pid).split()
    try:
        if not owner.has(gate, pid):
            return None
        if words[:3] == ["nginx:", "master", "process"]:
            return Path(words[words.index("-c") + 1]).parent.parent
    except (ValueError, IndexError):
        return None
    return None


def _holder(directory: Path) -> str:
    """The pid of the reld that holds the lock in a directory; "" = nobody does."""
    try:
        with (directory / _NAME).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _said(directory)
    except OSError:
        return ""
    return ""
