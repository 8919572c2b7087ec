"""The how-tos of packaging/doc: each is followed by a test, and every block of it says where it belongs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.stacks.howto import DOCS, HowTo

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_each_how_to_is_followed_by_a_test(path: Path):
    HowTo(path)
    ways = (f'Stack("{path.stem}"', f'DOCS / "{path.name}"')
    tests = [*TESTS.glob("stacks/test_*.py"), *TESTS.glob("vm/test_*.py")]
    assert any(way in test.read_text() for test in tests for way in ways)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_what_a_page_links_to_is_there(path: Path):
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert [a for a in links if "://" not in a and not (path.parent / a).exists()] == []


def written(tmp_path: Path, text: str) -> HowTo:
    path = tmp_path / "some.md"
    path.write_text(text)
    return HowTo(path)


def test_blocks_are_known_by_section_place_and_line(tmp_path: Path):
    howto = written(
        tmp_path,
        "# Some\n\n## One\n\n```sh vm\ntrue\n```\n\n## Two\n```python a/b.py append\nx\n```\n",
    )
    assert howto.untold == ["One", "Two"]
    (typed,) = howto.section("One")
    (added,) = howto.section("Two")
    assert (typed.typed, typed.place, typed.text, typed.line) == (True, "vm", "true\n", 5)
    assert (added.typed, added.place, added.append, added.text) == (False, "a/b.py", True, "x\n")
    assert howto.untold == []


def test_what_is_only_shown_is_nobodys_task(tmp_path: Path):
    assert written(tmp_path, "## One\n```console\n$ true\n```\n").untold == []


@pytest.mark.parametrize("fence", ["```sh", "```toml", "```", "```python a.py before"])
def test_a_block_that_no_test_could_follow_is_refused(tmp_path: Path, fence: str):
    with pytest.raises(ValueError, match=r"some\.md:2: where"):
        written(tmp_path, f"## One\n{fence}\nx\n```\n")
