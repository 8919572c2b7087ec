"""What to run, and how the one who runs it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from reld.core.model import Exit

if TYPE_CHECKING:
    from reld.processes.held import Held


@dataclass(frozen=True, slots=True)
class Unit:
    """How systemd shall keep an instance; without systemd none of it has an effect.

    Attributes:
        name: of the transient unit, with ".service".
        fields: of each line that it logs, for journald: (NAME, value).
        before: units that start after it, and so stop before it when the machine goes down.
        stop_timeout: seconds, when it is the machine that stops it.
        memory_max: bytes; None = no limit.
        tasks_max: processes and threads; None = systemd's own limit.
        held_back: it gets little of the processor until `unleash`.
    """

    name: str
    description: str = ""
    identifier: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    before: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    stop_timeout: float = 30.0
    memory_max: int | None = None
    tasks_max: int | None = None
    held_back: bool = True


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What to run.

    Attributes:
        argv: exactly these words, no shell. A first word with a slash is a path in `directory`; one
            without is looked up in the PATH of `env`.
        env: the complete environment, nothing is added.
        user: a name or a number as text; None: as reld itself.
        log: stdout and stderr are appended here, unless the launcher has a journal for its units;
            stdin is /dev/null.
        writable: directories that it may write even where the app's units may not.
        terminal: its standard input is a terminal that becomes its own, with job control.
        oom: oom_score_adj, see proc(5).
        unit: for an instance, which outlives reld; None: a command that reld waits for.
    """

    argv: tuple[str, ...]
    directory: Path
    env: dict[str, str]
    user: str | None
    log: Path
    oom: int = 0
    unit: Unit | None = None
    terminal: bool = False
    writable: tuple[str, ...] = ()


Streams = tuple[int, int, int]
"""Descriptors of standard input, output and error."""


class Ending(Protocol):
    """Knows how a process ends."""

    async def wait(self) -> Exit:
        """Returns when it is over; several may wait, and later ones get the answer too."""


class Launcher(Protocol):
    """Starts processes that outlive reld."""

    async def hold(self, spec: LaunchSpec) -> Held:
        """Spawn a child that waits for `let_go`. Disk and user database are touched in a thread.

        Raises:
            LaunchError: unknown user, log file, no memory or too many processes.
        """

    async def hold_with_output(self, spec: LaunchSpec, output: int) -> Held:
        """As `hold`, but stdout and stderr are a copy of this descriptor; `spec.log` isn't touched."""

    async def hold_with_streams(self, spec: LaunchSpec, streams: Streams) -> Held:
        """As `hold`, with copies of these descriptors; `spec.log` isn't touched."""

    def adopted(self, unit: str, pidfd: int) -> Ending | None:
        """For a process that an earlier reld started; None: nobody knows more than the kernel."""

    async def unleash(self, unit: str) -> None:
        """It is ready: from now on it gets as much of the processor as anybody. Never raises."""

    async def forget(self, unit: str) -> None:
        """Nothing of it runs, and how it ended is known. Never raises."""
