"""How two releases change places instance by instance: numbers only.

One side grows, the other leaves. With `surge` more processes than usual the growing side gets its next
instances before it gets their traffic, and the leaving side gives its own up after it has lost theirs,
so neither is ever asked for more than its instances carry. Going back is the same with the sides
changed. The idea of such bounds is that of a rolling update's `maxSurge`; that every interrupted
prefix must be safe is tested as Patroni tests its quorum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

EASE = (3, 2)
"""A slot may carry 3/2 of its usual load for a while, when all of the traffic comes back at once."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`growing`, `leaving`: how many instances each side has when it is whole. `surge` is at least 1."""

    growing: int
    leaving: int
    surge: int

    @property
    def most(self) -> int:
        """So many processes run at any moment, those that are being stopped included."""
        return max(self.growing, self.leaving) + self.surge

    @property
    def first(self) -> int:
        """So many can be started beside the whole other side."""
        return min(self.growing, self.most - self.leaving)

    def carries(self, count: int) -> int:
        """Percent of the traffic that so many instances of the growing side carry as usual."""
        return 100 * min(count, self.growing) // self.growing

    def needed(self, share: int) -> int:
        """Instances of the growing side for so many percent of the traffic."""
        return min(self.growing, max(self.first, _ceil(self.growing * share, 100)))

    def after(self, count: int, share: int) -> int:
        """How many it has after the next change on the way to this share.

        The other side keeps what it needs for the traffic that `count` instances do not carry.
        """
        rest = _ceil(self.leaving * (self.growing - min(count, self.growing)), self.growing)
        room = self.most - max(1, rest)
        return min(self.needed(share), max(count, room))

    def beside(self, count: int) -> int:
        """How many of the leaving side run beside so many of the growing one."""
        return max(1, min(self.leaving, self.most - count))

    def counts(self, count: int, share: int) -> Iterator[int]:
        """Every number of instances on the way from `count` to this share, the last one included."""
        while count < self.needed(share):
            count = self.after(count, share)
            yield count

    def bears(self, count: int) -> bool:
        """So many instances of the growing side can take all of the traffic at once."""
        most, usual = EASE
        return self.growing * usual <= count * most


def forth_changes(instances: int, surge: int) -> int:
    """How often instances change places on the way to 100 %, when both sides have so many."""
    plan = Plan(instances, instances, surge)
    return len(list(plan.counts(plan.first, 100)))


def back_changes(growing: int, leaving: int, surge: int, count: int) -> int:
    """How often, until a slot that has `count` of its instances can take all of the traffic."""
    plan = Plan(growing, leaving, surge)
    if plan.bears(count):
        return 0
    return 1 + next(n for n, now in enumerate(plan.counts(count, 100)) if plan.bears(now))


def _ceil(number: int, by: int) -> int:
    return -(-number // by)
