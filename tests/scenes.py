"""Watched rollouts under steady traffic, and what became of everybody's requests."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from tests.load.visitors import Seen, Visitors
from tests.rig import Answer, Rig, Told

RATE = 400.0
MOSTLY_READS = 0.1
"""POSTs among the requests of a usual site."""


def watched(*, verdict: str = 'warmup = "1s"', **settings: Any) -> str:
    """`[rollout]` and `[verdict]` of a watch that is worth the name, only shorter than a real one."""
    values: dict[str, Any] = {
        "steps": [5, 25, 50, 100],
        "step_time": "20s",
        "step_requests": 50,
        "step_max": "60s",
        "bake": "2s",
        "drain": "300ms",
        "drain_max": "1s",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in (values | settings).items()]
    return "\n".join(["[rollout]", *lines, "[verdict]", verdict, ""])


STEEP = watched(steps=[50, 100], step_time="60s")


class Line(NamedTuple):
    """A line of the gate's log, read without reld's help. `at`: wall clock of the request's end."""

    at: float
    seconds: float
    attempts: tuple[tuple[str, str], ...]
    status: int
    method: str

    @property
    def first(self) -> str:
        """The address that was asked first."""
        return self.attempts[0][0] if self.attempts else ""

    @property
    def first_failed(self) -> bool:
        _, status = self.attempts[0]
        return self.status >= 500 if status == "-" else int(status) >= 500


def lines_of(log: list[str]) -> list[Line]:
    found = []
    for text in log:
        fields = text.split("|")
        if fields[-1] == "beat":
            continue
        at, seconds, _, _, addresses, statuses, status, method = fields[:8]
        tries = zip(re.split(", | : ", addresses), re.split(", | : ", statuses), strict=True)
        attempts = tuple((address, status) for address, status in tries if ":" in address)
        found.append(Line(float(at), float(seconds), attempts, int(status), method))
    return found


@dataclass
class Scene:
    """One rollout, from before it until its receipt.

    `old`: addresses of what was live before it; `color`: the candidate's; `began`: wall clock.
    """

    answer: Answer = field(default_factory=lambda: Answer(-1, "", ""))
    receipt: dict[str, Any] = field(default_factory=dict)
    seen: Seen = field(default_factory=lambda: Seen([]))
    lines: list[Line] = field(default_factory=list)
    told: Told = field(init=False)
    old: frozenset[str] = frozenset()
    color: str = "green"
    began: float = field(default_factory=time.time)

    @property
    def dealt(self) -> list[Line]:
        """Requests whose first attempt was the candidate's."""
        return [
            line
            for line in self.lines
            if line.at >= self.began and line.first and line.first not in self.old
        ]

    @property
    def first_failures(self) -> list[Line]:
        """Those of them that it failed."""
        return [line for line in self.dealt if line.first_failed]

    @property
    def seconds_back(self) -> float:
        """From the first failed attempt to the last request that the candidate was given."""
        first = min(line.at for line in self.first_failures)
        return max(line.at - line.seconds for line in self.dealt) - first

    @property
    def seconds_exposed(self) -> float:
        """From the first request that the candidate was given to the last one."""
        begins = [line.at - line.seconds for line in self.dealt]
        return max(begins) - min(begins)

    @property
    def account(self) -> tuple[dict[str, int], dict[str, int]]:
        """The receipt's requests: the old slot's, the candidate's."""
        requests = self.receipt["requests"]
        color = "green" if self.color == "blue" else "blue"
        return requests[color], requests[self.color]

    @property
    def text(self) -> str:
        return "\n".join(
            [self.answer.text, json.dumps(self.receipt, indent=1), self.seen.text, *self.told.texts]
        )


class Play:
    """A scene while it is played: visitors come, `relctl switch v2` runs beside the test.

    with Play(rig) as play: …what happens meanwhile…
    play.scene
    """

    def __init__(
        self,
        rig: Rig,
        *words: str,
        rate: float = RATE,
        posts: float = MOSTLY_READS,
        patience: float = 90.0,
    ) -> None:
        self.rig = rig
        self.words = words or ("switch", "v2")
        self.scene = Scene()
        self._rate = rate
        self._patience = patience
        self._visitors = Visitors(rig.listen, rate=rate, posts=posts)
        self._told = self.scene.told = Told(rig)

    def __enter__(self) -> Self:
        slots = self.rig.status()["slots"]
        live = self.rig.status()["live"]
        self.scene.old = frozenset(f"127.0.0.1:{i['port']}" for i in slots[live]["instances"])
        self.scene.color = "blue" if live == "green" else "green"
        self._told.__enter__()
        self._visitors.__enter__()
        self._visitors.wait_for(int(1.5 * self._rate))
        self.scene.began = time.time()
        self.switch = self.rig.relctl_begun(*self.words)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        scene = self.scene
        try:
            if kind is None:
                self.ended(self._patience)
                scene.seen = self._visitors.end()
        finally:
            if self.switch.poll() is None:
                self.switch.kill()
                self.switch.communicate()
            self._visitors.__exit__(None, None, None)
            self._told.__exit__()
        if kind is None:
            scene.lines = lines_of(self.rig.logged())

    def ended(self, within: float) -> Scene:
        """Waits for relctl."""
        if self.scene.answer.code == -1:
            out, err = self.switch.communicate(timeout=within)
            self.scene.answer = Answer(self.switch.returncode, out, err)
            newest = self.rig.ask("GET", "/v1/rollouts?limit=1")[1]["rollouts"][0]["id"]
            self.scene.receipt = self.rig.receipt(newest)
        return self.scene


def play(rig: Rig, *words: str, **settings: float) -> Scene:
    """A scene in which nothing else happens. `settings`: see Play."""
    with Play(rig, *words, **settings) as playing:
        pass
    return playing.scene
