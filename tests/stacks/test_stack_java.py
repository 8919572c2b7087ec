"""packaging/doc/java.md, followed word for word: a JVM that boots for 40 s, warm, and alone on a small VM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.stacks.postgres import rows
from tests.stacks.story import HURRY, Load, Stack, Story
from tests.stacks.told import WENT_BACK, Bug, Told
from tests.vm import machine, roots
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(900)

JAVA = Stack("java", hurry=HURRY)
ENV = "/etc/relctl/web.env"
BOOT = 40  # seconds, as the how-to says
QUICK = 2
BUG = Bug("src/shop/Shop.java", 'form.get("item")', 'form.get("Item")')
WRONG_PRICE = Bug("src/shop/Catalogue.java", "250 + number", "350 + number")


@dataclass
class Small(Told):
    """`pause` are the visitors while two JVMs did not fit; `receipts` the two rollouts they met."""

    pause: Load
    receipts: list[dict[str, Any]]


def boot_for(box: Box, seconds: int) -> None:
    """From the next start of a release on. (A page of the catalogue is a second.)"""
    box.sh(f"echo CATALOGUE_PAGES={seconds} >> {ENV}")


@pytest.fixture(scope="module", params=roots.SUITES)
def told(
    request: pytest.FixtureRequest, deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Small]:
    with Story(JAVA, request.param, deb, tmp_path_factory.mktemp("laptop")) as story:
        yield tell(story)


def tell(story: Story) -> Small:
    """told.tell, but for the seconds of each boot; and then the pause."""
    story.follow("The VM, once")
    story.follow("The project, once")
    boot_for(story.box, QUICK)
    story.follow("The first release")
    with Load(story) as load:
        story.follow("The next release", meanwhile=story.kill_reld)
        # As it is: 40 s. (Not v2: a rollback starts what it goes back to as it was started first.)
        story.box.sh(f"sed -i /CATALOGUE_PAGES/d {ENV}")
        story.follow("A change of the database: first half")
        boot_for(story.box, QUICK)
        story.follow("Going back")
        story.follow("A change of the database: second half")
        with_bug(story, BUG, "v4", WENT_BACK)
        story.ship("v5")
    refused = story.box.run("relctl", "rollback", "v2")
    with Load(story) as pause:
        story.follow("A VM too small for two")
        with_bug(story, WRONG_PRICE, "v7", WENT_BACK)
    story.follow("When something is wrong")
    return Small(story, load, refused.stdout + refused.stderr, pause, receipts(story.box))


def with_bug(story: Story, bug: Bug, release: str, ends: int) -> None:
    story.laptop.edit(bug.file, bug.right, bug.wrong)
    story.ship(release, ends=ends)
    story.laptop.edit(bug.file, bug.wrong, bug.right)


def receipts(box: Box) -> list[dict[str, Any]]:
    """Of v6 and v7, as the history has them."""
    known = json.loads(box.sh("relctl history --json"))["rollouts"]
    return [rollout for rollout in known if rollout["to"] in ("v6", "v7")]


def test_no_request_of_any_visitor_is_lost_while_a_jvm_boots_beside_the_other(told: Small):
    told.nothing_is_lost()
    assert told.load.said["turned_away"] == []


def test_the_boot_of_the_third_release_took_its_40_seconds(told: Small):
    began, ended = told.story.window("unpack v3")
    assert BOOT < ended - began < 3 * BOOT


def test_nothing_of_the_how_to_is_left_out(told: Small):
    assert told.story.howto.untold == []


def test_the_bad_release_went_back_by_itself_and_said_why(told: Small):
    told.the_bad_one_went_back()


def test_a_column_comes_before_the_release_that_wants_it_and_goes_after_all_that_knew_it(
    told: Small,
):
    at = dict(rows(told.story, "name, applied FROM migrations"))
    first = dict(rows(told.story, "release, min(ordered) FROM orders GROUP BY release"))
    last = dict(rows(told.story, "release, max(ordered) FROM orders GROUP BY release"))
    assert first["v2"] < at["0002_email.sql"] < first["v3"]
    # v2 had it all once more after the rollback, with the new column there.
    assert at["0002_email.sql"] < last["v2"] < at["0003_no_fax.sql"] < first["v5"]


def test_after_the_second_half_there_is_no_way_back_before_it(told: Small):
    told.no_way_back()


def test_no_two_mailers_are_ever_at_it_and_each_order_is_mailed_once(told: Small):
    runs = rows(told.story, "release, began, last, refused FROM mailer ORDER BY id")
    assert [run for run in runs if run[3]] == []
    ended = [datetime.fromisoformat(run[2]) for run in runs]
    began = [datetime.fromisoformat(run[1]) for run in runs]
    assert all(end <= start for end, start in zip(ended, began[1:], strict=False))
    assert [run[0] for run in runs] == ["v1", "v2", "v3", "v2", "v3", "v5", "v6", "v6"]
    machine.until(
        "the last mails",
        lambda: rows(told.story, "count(*) FROM orders WHERE mails = 0") == [[0]],
    )
    assert rows(told.story, "count(*) FROM orders WHERE mails > 1") == [[0]]


def test_on_a_small_machine_everybody_is_answered_or_told_when_to_come_back(told: Small):
    print(told.pause.summary)
    assert told.pause.lost[:3] == []
    assert told.pause.errors() == []
    assert told.pause.releases == {"v5", "v6"}
    assert len(told.pause.said["turned_away"]) > 0


def test_the_receipts_count_as_many_turned_away_as_the_visitors_do(told: Small):
    by_the_gate = told.pause.said["answers"]["- 503"]
    assert [r["turned_away"] > 0 for r in told.receipts] == [True, True]
    assert sum(r["turned_away"] for r in told.receipts) == by_the_gate


def test_the_kernel_knows_what_a_jvm_may_have(told: Small):
    box = told.story.box
    (pid,) = machine.pids(box)
    unit = box.sh(f"ps -o unit= -p {pid}").strip()
    assert box.sh(f"systemctl show -P MemoryMax {unit}").strip() == str(512 << 20)


def test_a_jvm_that_sigterm_has_ended_is_no_failure_to_anybody(told: Small):
    assert told.story.box.sh("systemctl list-units --failed --plain --no-legend 'rel*'") == ""
    assert machine.status(told.story.box)["release"] == "v6"
