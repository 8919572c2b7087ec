"""What others do with the same streams: a threshold on windows, and a test that is looked at too often."""

from __future__ import annotations

import math

WINDOW, LOOK = 60.0, 10.0
MOST_CHECKS, LEAST_SUCCESS = 5, 0.99
NOMINAL = 2.576
"""Two-sided 1 %."""


class Threshold:
    """As Flagger's request-success-rate with its documented example: below 99 % in a one-minute window
    is a failed check, and the fifth failed check of the rollout goes back."""

    name = "Flagger's rule"

    def __init__(self) -> None:
        self.due, self.checks = WINDOW, 0
        self.requests = self.failures = 0

    def back(self, at: float, old: tuple[int, int], new: tuple[int, int]) -> bool:
        self.requests += new[0]
        self.failures += new[1]
        if at < self.due:
            return False
        if self.requests and 1 - self.failures / self.requests < LEAST_SUCCESS:
            self.checks += 1
        self.requests = self.failures = 0
        self.due += WINDOW * max(1, math.ceil((at - self.due) / WINDOW))
        return self.checks >= MOST_CHECKS


class Repeated:
    """Two pooled proportions, nominal 1 %, looked at every ten seconds."""

    name = "repeated z-test"

    def __init__(self) -> None:
        self.due = LOOK
        self.old, self.old_failed, self.new, self.new_failed = 0, 0, 0, 0

    def back(self, at: float, old: tuple[int, int], new: tuple[int, int]) -> bool:
        self.old += old[0]
        self.old_failed += old[1]
        self.new += new[0]
        self.new_failed += new[1]
        if at < self.due:
            return False
        self.due += LOOK * max(1, math.ceil((at - self.due) / LOOK))
        if not self.old or not self.new:
            return False
        rate = (self.old_failed + self.new_failed) / (self.old + self.new)
        spread = math.sqrt(rate * (1 - rate) * (1 / self.old + 1 / self.new))
        excess = self.new_failed / self.new - self.old_failed / self.old
        return spread > 0 and excess / spread > NOMINAL
