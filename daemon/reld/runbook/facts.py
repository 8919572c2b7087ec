"""What the page is made of. Nothing in here is looked up later: the page is a pure function of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reld import config as settings
from reld.config import Config
from reld.core.model import Slot, State
from reld.core.policy import STOP_FIRST, Policy

RELEASE = "RELEASE"
"""The release that somebody is going to switch to."""


@dataclass(frozen=True, slots=True)
class Facts:
    """`rate`: requests per second lately, None = not known. `members`: who is in each @group of [access].

    `rehearsal`: as in a status. `state_directory` and `socket` are paths. `gate_unit`: what systemd calls
    the gate, None: reld runs it itself. `wrong`: what is wrong with the config file, one line.
    """

    config: Config
    state: State
    rate: float | None = None
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rehearsal: Mapping[str, Any] | None = None
    state_directory: str = ""
    socket: str = ""
    gate_unit: str | None = None
    wrong: str = ""

    @property
    def policy(self) -> Policy:
        """As the next switch would carry it."""
        return settings.policy(self.config)

    @property
    def live(self) -> Slot | None:
        return self.state.slot(self.state.live)

    @property
    def serving(self) -> str:
        """The live release, for a sentence."""
        return self.live.release if self.live is not None else "the old release"

    @property
    def stop_first(self) -> bool:
        """Two copies are never there at once."""
        return self.policy.strategy == STOP_FIRST

    @property
    def unit(self) -> str:
        return f"reld@{self.config.name}"

    def type(self, words: str) -> str:
        """A command of relctl's, as it is typed on the machine."""
        return f"relctl --app {self.config.name} {words}"
