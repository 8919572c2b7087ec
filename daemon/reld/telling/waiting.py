"""What one target has not been told yet: in order, bounded, and not too much a minute. Pure."""

from __future__ import annotations

from collections import deque

from reld.telling.message import Message, collapsed

MOST = 50
"""Messages that wait; more are told as one."""
ENDS = 20
"""Ends of rollouts among them: never told as one, and the oldest are dropped."""
PER_MINUTE = 20


class Waiting:
    """`now` is seconds of any clock that does not jump."""

    def __init__(self, per_minute: int = PER_MINUTE) -> None:
        self._per_minute = per_minute
        self._messages: deque[Message] = deque()
        self._taken: deque[float] = deque(maxlen=per_minute)
        self._held = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        self._messages.append(message)
        if len(self._messages) > MOST:
            self._collapse()

    def pause(self, now: float) -> float:
        """Seconds until the next one may be taken; while there is a pause they gather."""
        if len(self._taken) < self._per_minute:
            return 0.0
        left = max(0.0, self._taken[0] + 60.0 - now)
        self._held = self._held or left > 0
        return left

    def take(self, now: float) -> Message:
        """The next one; IndexError: there is none."""
        if self._held:
            self._collapse()
        self._held = False
        self._taken.append(now)
        return self._messages.popleft()

    def _collapse(self) -> None:
        """All but ends become one, in the place of the last of them."""
        others = [m for m in self._messages if m.event != "end"]
        if len(others) > 1:
            last = others[-1]
            kept = [m for m in self._messages if m.event == "end" or m is last]
            self._messages = deque(collapsed(others) if m is last else m for m in kept)
        ends = [m for m in self._messages if m.event == "end"]
        for old in ends[: max(0, len(ends) - ENDS)]:
            self._messages.remove(old)
            self.dropped += 1
