"""The story that every stack has to stand: five releases under load, a bad one, a way back, a reld killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.stacks.story import Load, Story
from tests.vm import machine

WENT_BACK = 3  # relctl's exit status


@dataclass(frozen=True)
class Bug:
    """What turns a file of the app into that of a release which fails some requests."""

    file: str
    right: str
    wrong: str


@dataclass
class Told:
    """`refused`: what `rollback` to a release of before the contract said at the end."""

    story: Story
    load: Load
    refused: str

    def nothing_is_lost(self) -> None:
        """No visitor got what he did not expect, but for what the bad release said itself."""
        print(self.load.summary)
        assert self.load.lost[:3] == []
        assert self.load.errors(outside=self.story.window("switch v4")) == []
        assert self.load.releases >= {"v1", "v2", "v3", "v5"}

    def all_is_told(self) -> None:
        """Nothing of the how-to is left that was not typed or written."""
        assert self.story.howto.untold == []
        assert machine.status(self.story.box)["release"] == "v5"

    def the_bad_one_went_back(self) -> None:
        (said,) = (typed.said for typed in self.story.typed if "switch v4" in typed.what)
        assert "going back to v3" in said
        assert 0 < len(self.load.said["errors"]) < 60

    def no_way_back(self) -> None:
        assert "contract" in self.refused


def tell(story: Story, bug: Bug, *, people: Callable[[], None] = lambda: None) -> Told:
    """Follows the whole how-to. `people`: what the visitors need, done when v1 serves."""
    story.follow("The VM, once")
    story.follow("The project, once")
    story.follow("The first release")
    people()
    with Load(story) as load:
        story.follow("The next release", meanwhile=story.kill_reld)
        story.follow("A change of the database: first half")
        story.follow("Going back")
        story.follow("A change of the database: second half")
        story.laptop.edit(bug.file, bug.right, bug.wrong)
        story.ship("v4", ends=WENT_BACK)
        story.laptop.edit(bug.file, bug.wrong, bug.right)
        story.ship("v5")
    story.follow("When something is wrong")
    refused = story.box.run("relctl", "rollback", "v2")
    return Told(story, load, refused.stdout + refused.stderr)
