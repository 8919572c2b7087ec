"""What a switch would make of the gate's config, and what an edit of `[gate]` would."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from reld.config import Config
from reld.core.model import Rollout, State
from reld.errors import GateError
from reld.host.ahead import Parts
from reld.nginx.mark import read_back
from reld.nginx.render import render
from reld.nginx.settings import GateSettings
from reld.planning import gate
from reld.reading import reading

EDITED = "edits of the config, after a restart of reld"


class GateAhead:
    """Each diff is against the config on disk, with its generation, which every reload changes."""

    def __init__(self, parts: Parts, state: State) -> None:
        self._parts = parts
        self._state = state

    async def diffs(
        self, config: Config, rollout: Rollout, addresses: tuple[str, ...], directory: str
    ) -> tuple[tuple[dict[str, str], ...], str]:
        """[{"when", "text", "diff"}], and what people should know of them.

        `addresses`: of the new release's instances, none = they cannot be foreseen; `directory`: of the
        release, "" = it is not there.
        """
        if self._state.rollout is not None:
            return (), "a rollout is on its way: what the gate serves after it is not known"
        now = await reading(_on_disk, self._parts.gate.settings.config)
        if now is None:
            return (), "the gate has no config that can be read"
        try:
            found = await self._switched(now, replace(rollout, addresses=addresses), directory)
            edits = await self._edited(now, config)
        except GateError as error:
            return (), error.message
        note = ""
        if edits:
            unit = f"reld@{self._state.app}"
            note = (
                f"[gate] was edited, and no switch changes that: sudo systemctl restart {unit} does"
            )
        return (*found, *edits), note

    async def _switched(self, now: str, rollout: Rollout, directory: str) -> list[dict[str, str]]:
        if not rollout.addresses:
            return []
        settings, (generation, routing) = self._parts.gate.settings, read_back(now)
        both, after = gate.routings(self._state, rollout)
        roots: tuple[str, ...] = ()
        if settings.static:
            first = (directory,) if directory else ()
            roots = tuple(dict.fromkeys([*first, *await self._parts.files.roots(routing)]))
        found = []
        for when, then in (("while both serve", both), (f"once {rollout.to} is live", after)):
            if then is not None:
                text = render(settings, generation, then, roots)
                found.append({"when": when, "text": gate.told(then), "diff": gate.diff(now, text)})
        return found

    async def _edited(self, now: str, config: Config) -> list[dict[str, str]]:
        """With the routing of now."""
        present, edited = self._parts.gate.settings, self._parts.settings_of(config)
        if present == edited:
            return []
        generation, routing = read_back(now)
        roots = await self._parts.files.roots(routing)
        before = render(present, generation, routing, roots)
        after = render(edited, generation, routing, roots)
        changed = gate.diff(before, after)
        return (
            [{"when": EDITED, "text": _named(present, edited), "diff": changed}] if changed else []
        )


def _named(present: GateSettings, edited: GateSettings) -> str:
    """The settings that differ, by name."""
    names = (field.name for field in fields(present))
    return ", ".join(n for n in names if getattr(present, n) != getattr(edited, n))


def _on_disk(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
