"""What the gate would be told, and how that differs from what it serves. Pure."""

from __future__ import annotations

from dataclasses import replace

from reld.core.crew import surge_of
from reld.core.model import InstanceState, Phase, Rollout, Routing, State, Target
from reld.core.routing import wanted
from reld.core.turns import new_slot


def routings(state: State, rollout: Rollout) -> tuple[Routing | None, Routing]:
    """While both slots serve (None: they never do), and once the new one is live.

    `rollout`: one that would begin now, with the addresses that it would get.
    """
    rollout = replace(rollout, surge=surge_of(state, rollout))
    there = new_slot(replace(state, rollout=rollout), rollout)
    slot = there.slot(rollout.candidate)
    assert slot is not None
    ready = tuple(
        i if i.state is InstanceState.PARKED else replace(i, state=InstanceState.READY)
        for i in slot.instances
    )
    all_ready = tuple(replace(i, state=InstanceState.READY, spare=False) for i in slot.instances)
    both = replace(there, rollout=replace(rollout, phase=Phase.ADMITTING))
    after = replace(there, rollout=replace(rollout, phase=Phase.COMMITTING))
    begins = wanted(both.with_slot(slot.color, replace(slot, instances=ready)))
    ends = wanted(after.with_slot(slot.color, replace(slot, instances=all_ready)))
    alone = rollout.stop_first or begins.default is None
    return (None if alone else begins), ends


def told(routing: Routing) -> str:
    """Who would be served from where, one line."""
    default, candidate = routing.default, routing.candidate
    if default is None:
        return "nobody is served"
    if candidate is None:
        return f"{_at(default)} alone"
    return f"{_at(default)}, and {_at(candidate)} for the lanes that it gets"


def _at(target: Target) -> str:
    first, *others = target.addresses or ("nowhere",)
    more = f" and {len(others)} more" if others else ""
    return f"{target.release} at {first}{more}"


def diff(before: str, after: str) -> str:
    """A unified diff of two gate configs; "" = they say the same. The mark of the first line is not
    nginx's, and names everything once more.
    """
    import difflib  # only here: reld lives long, and hardly ever plans

    old, new = _without_mark(before), _without_mark(after)
    lines = difflib.unified_diff(old, new, "gate.conf now", "gate.conf then", n=1, lineterm="")
    return "\n".join(lines)


def _without_mark(text: str) -> list[str]:
    lines = text.splitlines()
    return lines[1:] if lines and lines[0].startswith("# relctl: ") else lines
