"""What `relctl watch` shows in every phase, as a person sees it: drawn through a terminal, kept as text.

    python -m tests.screens    write tests/unit/screens anew; look at the difference before you keep it

The states are reld's own values, shown by reld's own `status`: what the view reads is what there is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relctl.look import Look
from relctl.screen.frame import Scene, frame
from relctl.screen.painter import Painter
from reld.api.service import Vitals
from reld.api.status import status
from tests.states import AT_REST, BOOTED, EVENTS, NOW, STATES, measured, shifting
from tests.terminal import Terminal

HERE = Path(__file__).parent / "unit" / "screens"
SIZES = ((80, 24), (50, 15))
FRAMES = ("reld-is-away", "new-lines", "ascii", "a-long-story")
"""Those that are more than a state."""


def scene_of(name: str) -> Scene:
    state = STATES.get(name, shifting)()
    shown = status(state, Vitals(NOW, BOOTED, measured(state)))
    if name == "new-lines":
        top = [{"text": "ERROR cannot reach <*>: connection refused", "count": 39}]
        shown["rollout"]["new_lines"] = {"kinds": 3, "lines": 41, "top": top}
    if name == "a-long-story":
        shown["rollout"]["on_duty"] = "bob"
        shown["config"] = "web.toml has changed: app.command, rollout.steps; with the next rollout"
        shown["degraded"] = "the state cannot be saved: no space left on device, since 11:02:13"
    told = EVENTS if state.rollout is not None else AT_REST
    events = [{"event": "x", "time": BOOTED + at, "text": text} for at, text in told]
    return Scene(shown, tuple(events), 12.3 if name == "reld-is-away" else None)


def drawn(name: str, size: tuple[int, int]) -> list[str]:
    """What is on a terminal of that size when the view is there."""
    look = Look(colour=True, unicode=name != "ascii")
    with _utc(), Terminal(size) as terminal:
        painter = Painter(look, terminal.theirs)
        painter.draw(frame(scene_of(name), size, look), size=size)
        terminal.all_written()
        found = terminal.lines
        painter.close()
    return found


@contextmanager
def _utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def names() -> list[str]:
    return [*STATES, *FRAMES]


def page(name: str) -> str:
    """The file of one scene: each size, in a frame as wide as the terminal."""
    parts = []
    for columns, rows in SIZES:
        title = f"{columns} x {rows} ".ljust(columns, "-")
        parts.append("\n".join([title, *drawn(name, (columns, rows)), "-" * columns]))
    return "\n\n".join(parts) + "\n"


def main() -> int:
    HERE.mkdir(exist_ok=True)
    for old in HERE.glob("*.txt"):
        if old.stem not in names():
            old.unlink()
    for name in names():
        (HERE / f"{name}.txt").write_text(page(name), "utf-8")
    print(f"{len(names())} screens are in {HERE}: look at the difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
