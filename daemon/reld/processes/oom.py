"""Whom the kernel kills first when memory runs out: the candidate, as long as it is one.

See proc(5), oom_score_adj.
"""

from __future__ import annotations

from pathlib import Path

from reld.core.model import Identity
from reld.processes.identity import alive

CANDIDATE = 500
"""On a scale of 1000 for all of the memory."""


def lower(member: Identity) -> None:
    """Takes the mark of a candidate from a process; one that set a value of its own keeps it."""
    file = Path(f"/proc/{member.pid}/oom_score_adj")
    try:
        if int(file.read_text()) == CANDIDATE and alive(member):
            file.write_text("0")
    except (OSError, ValueError):
        return
