"""What a part of the fuzzing tells, and the loop that all parts run in."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Counted:
    """`inputs`: tried; `answers`: how many ended in which way; `bugs`: each with its input."""

    inputs: int
    answers: Mapping[str, int] = field(default_factory=dict)
    bugs: tuple[str, ...] = ()

    def __add__(self, more: Counted) -> Counted:
        answers = Counter(self.answers) + Counter(more.answers)
        return Counted(self.inputs + more.inputs, dict(answers), self.bugs + more.bugs)

    def __str__(self) -> str:
        said = ", ".join(f"{kind} {number}" for kind, number in sorted(self.answers.items()))
        return f"{self.inputs} inputs, {len(self.bugs)} bugs ({said})"


def tried(inputs: int, seed: int, one: Callable[[Random], str]) -> Counted:
    """Calls `one` for each input with a chance of its own; it returns the way in which it ended.

    What it raises is a bug. Input N of a seed is the same however many there are.
    """
    answers: Counter[str] = Counter()
    bugs: list[str] = []
    for number in range(inputs):
        try:
            answers[one(Random(f"{seed}.{number}"))] += 1
        except Exception as bug:
            answers["bug"] += 1
            if len(bugs) < MOST_SHOWN:
                *_, last = traceback.extract_tb((bug.__cause__ or bug).__traceback__)
                where = f"{Path(last.filename).name}:{last.lineno}"
                bugs.append(f"seed {seed}, input {number}: {type(bug).__name__}: {bug} ({where})")
    return Counted(inputs, dict(answers), tuple(bugs))
