"""A look at the logs of one rollout's two releases, a piece at a time, and what it finds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

from reld.core.model import Rollout, State
from reld.host.log_voices import Voice
from reld.newlines.comparison import Comparison
from reld.newlines.news import News

log = logging.getLogger("reld")

MOST_OLD = 100
MOST_NEW = 300
"""Lines of the old and of the new release that are looked at each time."""
ENOUGH = 0.05
"""Seconds of a processor for each of them, each time; what is left over is skipped."""
_PIECE = 10
MOST = 20
"""Kinds that are told."""

Voices = Callable[[State, Rollout], tuple[Voice, Voice] | str]


class Look:
    """At the logs of one rollout. `news` and `why` never wait; the rest is for threads.

    `news` None: not known, and `why` not.
    """

    def __init__(self, rollout: Rollout, voices: Voices) -> None:
        self.rollout = rollout
        self.news: News | None = None
        self.why = "the old release's log is not read yet"
        self._voices = voices
        self._one = threading.Lock()
        self._compared = Comparison(rollout.from_, rollout.to)
        self._old: Voice | None = None
        self._new: Voice | None = None
        self._past: Iterator[list[str]] | None = None
        self._silent = 0

    def begin(self, state: State) -> None:
        with self._one:
            self._carefully(lambda: self._begin(state))

    def step(self) -> bool:
        """Reads on; True: the past is still being read, and there is more of it."""
        with self._one:
            return self._carefully(self._step)

    def finish(self, patience: float) -> None:
        """Reads to the end, for so many seconds at most, and never again.

        What was found stays; what it was found by may be large.
        """
        until = time.monotonic() + patience
        if not self._one.acquire(timeout=patience):  # somebody waits for a disk
            return
        try:
            if self._old is None:
                return
            while self._past is not None and time.monotonic() < until:
                self._carefully(self._step)
            if self._past is None:
                self._carefully(self._step)
                self._carefully(self._tell_all)
            self._end()
        finally:
            self._one.release()

    def _carefully(self, work: Callable[[], bool]) -> bool:
        # Whatever is in a log, and whatever happens to it: it is only looked at.
        try:
            return work()
        except Exception:
            log.debug("the logs of rollout %d are not compared", self.rollout.id, exc_info=True)
            self.news, self.why = None, "the logs cannot be read"
            self._end()
            return False

    def _begin(self, state: State) -> bool:
        found = self._voices(state, self.rollout)
        if isinstance(found, str):
            self.why = found
            return False
        self._old, self._new = found
        self._past = self._old.past()
        return True

    def _step(self) -> bool:
        if self._past is not None:
            batch = next(self._past, None)
            if batch is not None:
                self._compared.old_said(batch)
                return True
            self._past = None
        if self._old is None or self._new is None:
            return False
        old, _ = self._old.more(MOST_OLD)
        new, thinned = self._new.more(MOST_NEW)
        _within(ENOUGH, self._compared.old_said, old)
        skipped = _within(ENOUGH, self._compared.new_said, new)
        self._compared.thinned |= thinned or skipped
        self._silent = 0 if old or new else self._silent + 1
        # What comes in pieces may come in two looks, but not with a whole look in between.
        return self._tell_all() if self._silent > 1 else self._tell()

    def _tell_all(self) -> bool:
        if self._old is None:
            return False
        self._compared.quiet()
        return self._tell()

    def _tell(self) -> bool:
        self.why = self._compared.why_unknown()
        self.news = None if self.why else self._compared.news(MOST)
        return False

    def _end(self) -> None:
        for voice in (self._old, self._new):
            if voice is not None:
                voice.close()
        self._old = self._new = self._past = None
        self._compared = Comparison(self.rollout.from_, self.rollout.to)


def _within(seconds: float, said: Callable[[list[str]], None], lines: list[str]) -> bool:
    """As many lines as there is time for, whatever they look like; True: the rest is skipped."""
    until = time.thread_time() + seconds
    for at in range(0, len(lines), _PIECE):
        if time.thread_time() > until:
            return True
        said(lines[at : at + _PIECE])
    return False
