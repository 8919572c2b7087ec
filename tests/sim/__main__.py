"""`python -m tests.sim FIRST COUNT`: tell that many stories, say how fast and what they came by.

`python -m tests.sim shrink SEED`: the fewest acts with which that story still breaks, as a script.

Ends with 1 when a story broke an invariant, or when some phase, outcome or kind was never reached: a
simulator that does not go there proves nothing about it.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter

from reld.core.model import Kind, Outcome, Phase
from tests.sim.stories import length, shrunk, tell

MUST_SEE = (
    *(f"phase {phase}" for phase in Phase),
    *(f"outcome {outcome}" for outcome in Outcome),
    *(f"kind {kind}" for kind in Kind),
    "unproven",
    "shadow",
    *(f"rehearsal {outcome}" for outcome in (Outcome.DONE, Outcome.FAILED, Outcome.ROLLED_BACK)),
    "could not go back",
    "waiting: is not fit",
    "locked slot",
    "waiting: approver",
    "waiting: to agree after",
    "waiting: to agree before any traffic",
    "waiting: to agree before the bake",
    *(f"stop-first {outcome}" for outcome in Outcome),
    *(f"workers moved, {outcome}" for outcome in (Outcome.DONE, Outcome.ROLLED_BACK)),
)


def main(first: int, count: int) -> int:
    began = time.monotonic()
    seen: Counter[str] = Counter()
    broken = 0
    for seed in range(first, first + count):
        try:
            world = tell(seed)
            seen += world.seen
            seen["rollouts"] += len(world.ended)
        except AssertionError as error:
            broken += 1
            print(f"python -m tests.sim shrink {seed}", file=sys.stderr)
            print(f"seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
    took = time.monotonic() - began
    for what in sorted(seen):
        print(f"{seen[what]:8} {what}")
    missing = [what for what in MUST_SEE if not seen[what]]
    if missing:
        print(f"never reached: {', '.join(missing)}", file=sys.stderr)
    print(f"{count} stories in {took:.1f} s, {count / took:.0f} a second; {broken} broken")
    return 1 if broken or missing else 0


def shrink(seed: int) -> int:
    try:
        acts, why, world = shrunk(seed)
    except ValueError as error:
        print(error)
        return 0
    print(f"story {seed} needs {len(acts)} of its {length(seed)} acts: {why}")
    print(f"chances: {world.faults}")
    print(*world.script, sep="\n")
    print("and what reld made of it, at the end:")
    print(*(line[:200] for line in world.log[-12:]), sep="\n")
    return 1


if __name__ == "__main__":
    logging.getLogger("reld").setLevel(logging.CRITICAL)  # a disk that fails is part of the story
    if sys.argv[1] == "shrink":
        sys.exit(shrink(int(sys.argv[2])))
    sys.exit(main(*(int(word) for word in sys.argv[1:3])))
