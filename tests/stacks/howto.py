"""A how-to of packaging/doc as a test sees it: sections, each with the blocks that are typed and written.

A fenced block says after its language where it belongs; Markdown's readers see nothing of that:

    ```sh vm                      typed on the VM           ```sh laptop         typed in the app's tree
    ```toml /etc/relctl/web.toml  a file of the VM (root's) ```python a/b.py     a file of the app's tree
    ```python a/b.py append       added to such a file      ```diff laptop       a change of the app's tree
    ```console                    only shown
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "packaging/doc"
_FENCE = re.compile(r"^```(\S*) *(\S*) *(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = ("console", "text")


@dataclass(frozen=True, slots=True)
class Block:
    """`append`: the file is there already, and this comes after what it has."""

    language: str
    place: str
    append: bool
    text: str
    line: int

    @property
    def typed(self) -> bool:
        return self.language == "sh"


class HowTo:
    """Raises ValueError for a block that no test could follow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sections: dict[str, list[Block]] = {}
        self._followed: set[str] = set()
        text = path.read_text()
        titles = [
            (found.start(), found[1]) for found in re.finditer(r"^## (.*)$", text, re.MULTILINE)
        ]
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            if found[1] in _SHOWN:
                continue
            if not found[2] or found[3] not in ("", "append"):
                raise ValueError(f"{path.name}:{line}: where does this block belong?")
            title = next((t for start, t in reversed(titles) if start < found.start()), "")
            block = Block(found[1], found[2], bool(found[3]), found[4], line)
            self._sections.setdefault(title, []).append(block)

    def section(self, title: str) -> list[Block]:
        """Its blocks, in order. Raises KeyError where there is none."""
        self._followed.add(title)
        return self._sections[title]

    @property
    def untold(self) -> list[str]:
        """Sections with blocks that nobody has asked for."""
        return [title for title in self._sections if title not in self._followed]
