"""Lines of the request log into what each second says of both slots.

It may meet 10,000 lines in a second, so a line is only cut in five: the second, the time to the first
byte, and the rest, its *shape*, of which there are few. What a shape means is worked out once;
how many lines have it, and how long they took, is counted per second and shape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reld.core.verdict.sample import Sample, bucket
from reld.nginx.once import Once
from reld.nginx.second import Second
from reld.nginx.shapes import NONSENSE, Outcome, Shape, Shapes

PATIENCE = 1.0
"""A client that left without an answer after so many seconds met a slow app."""

_NO_TIME, _WRONG = -1, -2
KNOWN_TIMES = 20_000
_SECONDS = 10
_LONGEST_BEAT = 15
_EXAMPLE = 160

_Groups = dict[str, dict[str, list[str]]]


@dataclass(frozen=True, slots=True)
class Seen:
    """Requests of one slot, as users saw them.

    `total`, `errors` (by the final status): by who answered last. `saved`: its first attempt failed
    and the user got a good answer all the same. `attempts`, `failures`: every try.
    """

    total: int = 0
    errors: int = 0
    saved: int = 0
    attempts: int = 0
    failures: int = 0

    def __add__(self, more: Seen) -> Seen:
        return Seen(
            self.total + more.total,
            self.errors + more.errors,
            self.saved + more.saved,
            self.attempts + more.attempts,
            self.failures + more.failures,
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """What some lines said.

    `samples`: in order of their second; more of the same second may come later. `lines`: that were
    requests; `requests`: those that they stand for (see `request_log`). `unattributed`: requests
    whose first attempt was none of a known slot; `turned_away`: those of them that the gate answered
    503 by itself. `nonsense`: lines that made no sense, `example`: the last of them, made printable.
    `beat`: the newest one met, None = none.
    """

    samples: tuple[Sample, ...] = ()
    old: Seen = Seen()
    new: Seen = Seen()
    lines: int = 0
    requests: int = 0
    unattributed: int = 0
    turned_away: int = 0
    nonsense: int = 0
    example: str = ""
    beat: int | None = None


class Counting:
    """Counts for one pair of slots; `old` and `new` are the addresses of their instances.

    `success`: the good statuses of the routes that name them. `sticky`: clients, not requests, are
    dealt to the slots, so each counts at most once per ten seconds, slot and kind of outcome, and
    with a failure once per step; what users saw is not limited so.
    """

    def __init__(
        self,
        old: Iterable[str],
        new: Iterable[str] = (),
        success: Mapping[str, tuple[int, ...]] | None = None,
        *,
        sticky: bool = False,
    ) -> None:
        self._shapes = Shapes(frozenset(old), frozenset(new), dict(success or {}))
        self._once = Once() if sticky else None
        self._times: dict[str, int] = {}

    def of_all(self) -> Counting:
        """For the same slots, one that tells no clients apart."""
        made = Counting(())
        made._shapes = self._shapes
        return made

    def step_begun(self) -> None:
        """The lanes were moved: clients that failed may say so again."""
        if self._once is not None:
            self._once.forget_failures()

    def feed(self, lines: Iterable[str], share: int = 0) -> Counted:
        """Counts lines as they are in the log. `share`: percent of the lanes on the new slot."""
        batch = _Batch(share)
        if self._once is None:
            groups = _grouped(lines, batch)
        else:
            groups = self._grouped_once(lines, batch, self._once)
        for text, shapes in groups.items():
            second = _second(text)
            for said, times in shapes.items():
                shape = self._shapes.of(said)
                if second is None or shape is NONSENSE:
                    batch.refuse(f"{text}…|{said}", len(times))
                elif shape.beat:
                    batch.beats(times)
                elif shape.nobodys:
                    continue
                else:
                    batch.saw(shape, len(times))
                    batch.count(second, shape, len(times), self._buckets(shape, times, batch))
        return batch.counted()

    def _grouped_once(self, lines: Iterable[str], batch: _Batch, once: Once) -> _Groups:
        """Only the lines that count; the others are seen, and no more."""
        groups: _Groups = {}
        for line in lines:
            try:
                at, waited, header, client, said = line.split("|", 4)
            except ValueError:
                batch.refuse(line, 1)
                continue
            text = at[:-4]
            shape = self._shapes.of(said)
            if client != "-" and shape.slot is not None:
                second = _second(text)
                failed = shape.outcome is Outcome.FAILED
                key = (client, shape.kind)
                if second is not None and not once.counts(key, second, failing=failed):
                    batch.saw(shape, 1)
                    continue
            if header < ".":
                header = f"-{waited}"
            groups.setdefault(text, {}).setdefault(said, []).append(header)
        return groups

    def _buckets(self, shape: Shape, times: list[str], batch: _Batch) -> dict[int, int]:
        found: dict[int, int] = {}
        if not shape.timed:
            return found
        known = self._times
        for text, count in Counter(times).items():
            number = known.get(text)
            if number is None:
                if len(known) >= KNOWN_TIMES:
                    known.clear()
                number = known[text] = _bucket_of(text)
            if number == _WRONG:
                batch.refuse(f"time {text}", count)
            elif number != _NO_TIME and (shape.left or not text.startswith("-")):
                found[number] = found.get(number, 0) + count
        return found


def _grouped(lines: Iterable[str], batch: _Batch) -> _Groups:
    """By second and shape: the time to the first byte, or "-" and the time that was waited for it.

    The hot path: every operation here costs a twentieth of a microsecond per line.
    """
    groups: _Groups = {}
    shapes: dict[str, list[str]] = {}
    now = ""
    for line in lines:
        try:
            at, waited, header, _, said = line.split("|", 4)
        except ValueError:
            batch.refuse(line, 1)
            continue
        if at[:-4] != now:
            now = at[:-4]
            shapes = groups.setdefault(now, {})
        if header < ".":
            header = "-" + waited
        try:
            shapes[said].append(header)
        except KeyError:
            shapes[said] = [header]
    return groups


class _Batch:
    """What one call of `feed` gathers."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._seconds: dict[int, Second] = {}
        self._seen = ([0] * 5, [0] * 5)
        self._lines = self._requests = self._unattributed = self._nonsense = 0
        self._turned_away = 0
        self._example = ""
        self._beat: int | None = None

    def refuse(self, text: str, lines: int) -> None:
        self._nonsense += lines
        self._example = "".join(c if " " <= c <= "~" else "?" for c in text[:_EXAMPLE])

    def beats(self, numbers: list[str]) -> None:
        sensible = (n for n in numbers if n.isdecimal() and len(n) <= _LONGEST_BEAT)
        newest = max(map(int, sensible), default=None)
        if newest is not None:
            self._beat = max(newest, newest if self._beat is None else self._beat)

    def saw(self, shape: Shape, lines: int) -> None:
        requests = lines * shape.stands_for
        self._lines += lines
        self._requests += requests
        if shape.slot is None:
            self._unattributed += requests
            self._turned_away += requests * shape.turned_away
        if shape.own:
            return
        for slot, increments in shape.seen:
            seen = self._seen[slot]
            for number, increment in enumerate(increments):
                seen[number] += requests * increment

    def count(self, second: int, shape: Shape, lines: int, times: dict[int, int]) -> None:
        if shape.slot is None:
            return
        found = self._seconds.setdefault(second, Second())
        found.count(shape, lines * shape.stands_for, times)

    def counted(self) -> Counted:
        return Counted(
            samples=tuple(
                found.sample(second, self._share) for second, found in sorted(self._seconds.items())
            ),
            old=Seen(*self._seen[0]),
            new=Seen(*self._seen[1]),
            lines=self._lines,
            requests=self._requests,
            unattributed=self._unattributed,
            turned_away=self._turned_away,
            nonsense=self._nonsense,
            example=self._example,
            beat=self._beat,
        )


def _second(text: str) -> int | None:
    sensible = len(text) == _SECONDS and text.isdecimal() and text[0] != "0"
    return int(text) if sensible else None


def _bucket_of(text: str) -> int:
    """Of "0.012", of the first of "0.012, 0.003", and of "-1.200": no answer, and the wait for it."""
    try:
        if not text.startswith("-"):
            return bucket(float(text.partition(",")[0].partition(" ")[0]))
        waited = float(text[1:])
        return bucket(waited) if waited >= PATIENCE else _NO_TIME
    except (ValueError, OverflowError):  # also "nan" and "inf", which are numbers to Python
        return _WRONG
