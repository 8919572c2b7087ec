"""The plan of a surge, from every prefix that something may interrupt: safe whichever way it goes on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from reld.core.surge import Plan, back_changes, forth_changes

SIZES = [
    (old, new, surge)
    for old in range(1, 6)
    for new in range(1, 6)
    for surge in range(1, min(old, new) + 1)
]
SHARES = (1, 5, 25, 33, 50, 66, 75, 95, 99, 100)


@dataclass(frozen=True)
class Moment:
    """What runs, and who has the traffic: percent of it at the new slot. `ending`: being stopped."""

    old: int
    new: int
    share: int = 0
    old_ending: int = 0
    new_ending: int = 0


@dataclass(frozen=True)
class Size:
    old: int
    new: int
    surge: int

    def load(self, now: Moment) -> tuple[float, float]:
        """Of an instance of each slot; 1 = as usual. A part of a percent is nobody's fault."""
        old = (100 - now.share) / 100 * self.old / now.old
        new = now.share / 100 * self.new / now.new if now.new else 0.0
        return old, new


def changes(size: Size, now: Moment, goal: int, forward: bool) -> list[Moment]:
    """Every moment of one way, in order: towards `goal` percent at the growing slot."""
    moments = []
    plan = Plan(size.new, size.old, size.surge) if forward else Plan(size.old, size.new, size.surge)
    while True:
        now = replace(now, old_ending=0, new_ending=0)  # first of all what ends has its time to
        moments.append(now)
        count = now.new if forward else now.old
        share = now.share if forward else 100 - now.share
        able = min(goal, plan.carries(count))
        if share < able:
            now = replace(now, share=able if forward else 100 - able)
            moments.append(now)
        if max(share, able) >= goal and count >= plan.needed(goal):
            return moments
        then = plan.after(count, goal)
        keep = plan.beside(then)
        if forward and now.old > keep:
            moments.append(now := replace(now, old=keep, old_ending=now.old - keep))
        if not forward and now.new > keep:
            moments.append(now := replace(now, new=keep, new_ending=now.new - keep))
        now = replace(now, old_ending=0, new_ending=0)
        now = replace(now, new=then) if forward else replace(now, old=then)
        assert then > count, "a change that changes nothing would go on for ever"
        moments.append(now)


def begins(size: Size) -> Moment:
    return Moment(size.old, Plan(size.new, size.old, size.surge).first)


def every_way(size: Size) -> list[tuple[Moment, list[Moment]]]:
    """From each moment of the way forth, back; and from each moment of that, forth again."""
    forth = changes(size, begins(size), 100, forward=True)
    ways = [(begins(size), forth)]
    for moment in forth:
        back = changes(size, moment, 100, forward=False)
        ways.append((moment, back))
        ways += [(there, changes(size, there, 100, forward=True)) for there in back]
    return ways


@pytest.mark.parametrize("size", [Size(*s) for s in SIZES], ids=str)
def test_from_every_interrupted_prefix_never_too_many_run_and_nobody_has_too_much_to_do(size):
    most = max(size.old, size.new) + size.surge
    for _, way in every_way(size):
        for now in way:
            assert now.old + now.new + now.old_ending + now.new_ending <= most, now
            assert now.old >= 1, now
            old, new = size.load(now)
            # A percent that is rounded down stays with the other slot.
            assert old <= 1 + size.old / 100, now
            assert new <= 1 + size.new / 100, now


@pytest.mark.parametrize("size", [Size(*s) for s in SIZES], ids=str)
def test_each_way_ends_whole_with_all_of_the_traffic(size):
    for _, way in every_way(size):
        end = way[-1]
        whole = (end.new, end.share) == (size.new, 100) or (end.old, end.share) == (size.old, 0)
        assert whole, end


@pytest.mark.parametrize("size", [Size(*s) for s in SIZES], ids=str)
def test_a_step_gets_no_more_instances_than_its_share_needs(size):
    plan = Plan(size.new, size.old, size.surge)
    for share in SHARES:
        needed = plan.needed(share)
        assert plan.carries(needed) >= share
        assert needed == plan.first or plan.carries(needed - 1) < share
        now = begins(size)
        end = changes(size, now, share, forward=True)[-1]
        assert (end.new, end.share) == (max(needed, now.new), share)


def test_as_many_as_there_are_is_a_whole_second_slot():
    for count in range(1, 9):
        plan = Plan(count, count, count)
        assert (plan.first, plan.beside(count), forth_changes(count, count)) == (count, count, 0)


def test_a_single_instance_is_a_whole_slot_beside_a_whole_slot():
    plan = Plan(1, 1, 1)
    assert (plan.most, plan.first, plan.beside(1), forth_changes(1, 1)) == (2, 1, 1, 0)


@pytest.mark.parametrize(
    ("count", "surge", "forth", "back"), [(2, 1, 1, 1), (4, 1, 3, 2), (4, 2, 1, 1), (10, 3, 3, 2)]
)
def test_so_often_instances_change_places(count, surge, forth, back):
    assert forth_changes(count, surge) == forth
    assert back_changes(count, count, surge, surge) == back
