"""Lines that belong together are one: a traceback counts once, as what it says and how deep it was."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PYTHON = "Traceback (most recent call last):"
_FRAME = re.compile(
    r"\s+(?:File \"[^\"]{0,500}\", line \d|at |from )|\s*#\d{1,4} |\t\S{1,500}\.go:\d|\s+\S{1,500}\.go:\d"
)
_MORE = re.compile(
    r"\s|Caused by: |\.\.\. \d{1,6} more|goroutine \d|\[signal |exit status \d|created by "
)
_BETWEEN = (
    "During handling of the above exception",
    "The above exception was the direct cause",
)
_GO = ("panic: ", "fatal error: ", "runtime: ")
_CALL = re.compile(r"[^\s(]{1,200}\(.{0,500}\)$")
_RAISED = re.compile(
    r"(?!(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b)"
    r"(?:[^\W\d]\w{0,80}\.){0,20}[^\W\d]\w{0,80}(?:: |:?$)"
)
"""What ends a traceback of Python: `shop.errors.Trouble: no phone`, `KeyboardInterrupt`."""
_PATIENCE = 500
"""Lines in which a traceback has to end."""
MOST_FRAMES = 999


@dataclass(frozen=True, slots=True)
class Said:
    """`depth`: frames of a traceback; 0: it is none."""

    text: str
    depth: int = 0


class Folding:
    """Of one log, line by line. What is open goes on with the next lines, or until `flush`.

    Threads and processes write into one log, so other lines may come in the middle of a traceback.
    """

    def __init__(self) -> None:
        self._head = ""
        self._depth = 0
        self._open = 0  # of Python's tracebacks, whose last line says what each was
        self._frames = 0
        self._inside = 0  # lines since the first of them began
        self._chained = False

    def feed(self, lines: Iterable[str]) -> list[Said]:
        done: list[Said] = []
        for line in lines:
            if line.strip():
                done += self._feed(line)
        return done

    def _feed(self, line: str) -> list[Said]:
        if line.startswith(_PYTHON):
            return self._opened()
        if self._open:
            return self._in_python(line)
        if line.startswith(_BETWEEN) and self._depth:
            self._chained = True
            return []
        of_go = self._head.startswith(_GO) and _CALL.match(line)
        if self._head and (of_go or _MORE.match(line)):
            if _FRAME.match(line):
                self._depth = min(self._depth + 1, MOST_FRAMES)
            return []
        done = self._said()
        self._head = line
        return done

    def flush(self) -> list[Said]:
        """What is open is over: nothing came for a while."""
        done = self._said()
        if self._open:
            done.append(Said(_PYTHON, max(1, min(self._frames, MOST_FRAMES))))
        self._open = self._frames = self._inside = 0
        return done

    def _said(self) -> list[Said]:
        done = [Said(self._head.strip(), self._depth)] if self._head.strip() else []
        self._head, self._depth, self._chained = "", 0, False
        return done

    def _opened(self) -> list[Said]:
        """One that came of the one before replaces it: the last one is what was not handled."""
        if self._chained:
            self._head, self._depth, self._chained = "", 0, False
        done = self._said()
        self._open += 1
        return done

    def _in_python(self, line: str) -> list[Said]:
        self._inside += 1
        if self._inside > _PATIENCE:
            return self.flush()
        if line[0].isspace():
            self._frames += bool(_FRAME.match(line))
        elif not _RAISED.match(line):
            return [Said(line.strip())]  # somebody else's
        else:
            done = self._said()
            self._head, self._depth = line, max(1, min(self._frames // self._open, MOST_FRAMES))
            self._frames -= min(self._frames, self._depth)
            self._open -= 1
            self._inside = self._inside if self._open else 0
            return done
        return []
