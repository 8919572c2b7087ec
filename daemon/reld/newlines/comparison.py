"""What a candidate writes that the old release never did, as far as that is known."""

from __future__ import annotations

from collections.abc import Iterable

from reld.newlines import masking
from reld.newlines.folding import Folding, Said
from reld.newlines.masking import Level
from reld.newlines.news import Kind, News
from reld.newlines.templates import Template, Templates

KNOWN = 3000
"""Kinds that are remembered of the old release; one that writes more cannot be compared with."""
NEW = 300
LONGEST_TEXT = 200
"""Characters of a kind that are shown."""


class Comparison:
    """Of two releases; not safe for threads."""

    def __init__(self, old: str, new: str) -> None:
        self._old_name, self._new_name = old, new
        self._old, self._new = Templates(KNOWN), Templates(NEW)
        self._old_lines, self._new_lines = Folding(), Folding()
        self.thinned = False

    def old_said(self, lines: Iterable[str]) -> None:
        if self.hopeless:
            return
        for said in self._old_lines.feed(lines):
            self._learn(said)

    def new_said(self, lines: Iterable[str]) -> None:
        if self.hopeless:
            return
        for said in self._new_lines.feed(lines):
            self._compare(said)

    @property
    def hopeless(self) -> bool:
        """It cannot be compared any more, whatever comes: no line is worth looking at."""
        return self._old.lost > 0

    def quiet(self) -> None:
        """Nothing came for a while: what was being said is over."""
        for said in self._old_lines.flush():
            self._learn(said)
        for said in self._new_lines.flush():
            self._compare(said)

    def why_unknown(self) -> str:
        """Why there is nothing to compare with; empty: there is."""
        if not self._old.lines:
            return f"nothing is known of what {self._old_name} wrote"
        if self.hopeless:
            return f"{self._old_name} writes too many kinds of lines to tell which are new"
        return ""

    def news(self, most: int) -> News:
        """At most so many kinds of it."""
        # The old release may have begun to say it meanwhile: then it is no news of the candidate.
        new = [t for t in self._new.all if self._old.find(t.keys) is None]
        new.sort(key=lambda t: (t.level, -t.count, t.order))
        return News(
            len(new),
            sum(t.count for t in new),
            tuple(map(_kind, new[:most])),
            self._old.lines,
            self.thinned or bool(self._new.lost),
        )

    def _learn(self, said: Said) -> None:
        line = masking.line(said.text, self._old_name)
        if line is not None:
            self._old.learn(line, said.depth)

    def _compare(self, said: Said) -> None:
        line = masking.line(said.text, self._new_name)
        if line is None or self._old.find(line.keys) is not None:
            return
        found = self._new.learn(line, said.depth)
        if found is not None and said.depth:
            found.level = Level.ERROR


def _kind(template: Template) -> Kind:
    text = template.text
    text = text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
    level = "" if template.level is Level.OTHER else template.level.name.lower()
    return Kind(text, template.count, level)
