"""A link that says which release is to be live: what a change of it means, and what it does not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from reld import followed
from reld.config import App, Config, PortRange, Ports, Readiness, Releases
from reld.core import commands as c
from reld.core.events import LinkNoted
from reld.core.following import Do, Link, decide, noted, told
from reld.core.model import Followed, Kind, Outcome, Phase
from reld.errors import Busy, Refused
from reld.host import file_watch
from reld.host import follow as follow_module
from reld.host.file_watch import link_changes, link_mark
from reld.host.follow import Follow, read, release_at
from tests.unit.core_driver import POLICY, steady

CURRENT = "/srv/web/current"


def link(release: str = "v2", trouble: str = "") -> Link:
    return Link(CURRENT, f"/srv/web/releases/{release}", release, trouble)


def following(release: str = "v1"):
    """v1 is live, and the link said so when it was looked at last."""
    return steady().tell(LinkNoted(noted(link(release))))


def switched(driver):
    begin = c.Begin(Kind.SWITCH, "v2", POLICY, f"follow {CURRENT}", follow=noted(link()))
    assert driver.ask(begin) is None
    return driver


# what a change means


def test_a_link_that_is_seen_for_the_first_time_is_only_remembered():
    assert decide(steady().state, link()) is Do.NOTE
    other = replace(noted(link()), link="/srv/other")
    assert decide(steady().tell(LinkNoted(other)).state, link()) is Do.NOTE


def test_a_changed_link_is_a_switch_also_if_it_changed_while_nobody_looked():
    driver = following()
    driver.reld_restarts()
    assert decide(driver.state, link("v1")) is Do.NOTHING
    assert decide(driver.state, link()) is Do.SWITCH
    assert told(driver.state, link(), "")[0] == "pending"


def test_a_link_to_what_is_live_is_remembered():
    assert decide(following("v0").state, link("v1")) is Do.NOTE


def test_what_was_begun_for_it_is_remembered_with_the_rollout():
    driver = switched(following())
    assert driver.state.follow == replace(noted(link()), rollout=driver.rollout.id)
    assert decide(driver.state, link()) is Do.NOTHING
    assert told(driver.state, link(), "") == (
        "followed",
        f"rollout {driver.rollout.id} is preparing",
    )
    driver.ended()
    assert driver.state.follow.outcome is Outcome.DONE
    assert told(driver.state, link(), "") == ("followed", "")


def test_the_newest_wish_waits_for_the_rollout_that_runs():
    driver = switched(following())
    assert decide(driver.state, link("v3")) is Do.WAIT
    state, why = told(driver.state, link("v3"), "")
    assert (state, why) == ("pending", f"v3 begins when rollout {driver.rollout.id} is over")
    driver.ended()
    assert decide(driver.state, link("v3")) is Do.SWITCH


def test_a_wish_for_a_release_that_is_just_going_back_waits_too():
    driver = following().begin(Kind.SWITCH, "v2").to(Phase.SHIFTING)
    assert decide(driver.state, link()) is Do.SWITCH  # it joins the rollout that runs
    assert driver.ask(c.Abort(driver.rollout.id, "no")) is None
    assert decide(driver.state, link()) is Do.WAIT


def test_a_release_that_went_back_is_not_tried_again_until_the_link_changes():
    driver = switched(following()).to(Phase.SHIFTING)
    number = driver.rollout.id
    driver.dies(driver.rollout.candidate)
    assert driver.ended().last.outcome is Outcome.ROLLED_BACK
    driver.reld_restarts()
    assert decide(driver.state, link()) is Do.NOTHING
    state, why = told(driver.state, link(), "")
    assert state == "refused"
    assert f"rollout {number} (v2) was rolled back, v1 is live" in why
    assert "not tried again until the link changes" in why
    assert decide(driver.state, link("v3")) is Do.SWITCH


def test_a_person_who_goes_back_does_not_fight_with_the_link():
    driver = switched(following())
    driver.rest()
    driver.begin(Kind.ROLLBACK).rest()
    assert decide(driver.state, link()) is Do.NOTHING
    state, why = told(driver.state, link(), "")
    assert state == "refused"
    assert why.startswith("drift: the link says v2, v1 is live")
    assert "relctl switch v2" in why


def test_a_link_that_leads_nowhere_changes_nothing():
    nowhere = replace(link(), trouble="leads nowhere")
    assert decide(following().state, nowhere) is Do.NOTHING
    assert told(following().state, nowhere, "") == ("refused", "leads nowhere")


# what the link says


@pytest.mark.parametrize(
    ("template", "target", "release"),
    [
        ("/no/rel/{release}", "/no/rel/v1", "v1"),
        ("/no/rel/{release}/app", "/no/rel/v1", "v1"),
        ("/no/rel/{release}/app", "/no/rel/v1/app", "v1"),
        ("/no/rel/web-{release}/app/x", "/no/rel/web-v1/app", "v1"),
        ("/no/{release}/{release}", "/no/a/a", "a"),
        ("/no/{{x}}/{release}", "/no/{x}/v2", "v2"),
        ("/no/{release}/{release}", "/no/a/b", ""),
        ("/no/rel/{release}", "/no/other/v1", ""),
        ("/no/rel/{release}", "/no/rel/.v1", ""),
        ("/no/rel/{release}", "/no/rel", ""),
        ("/no/rel/{release}", "/no/rel/v1/x", ""),
    ],
)
def test_the_release_at_a_path(template, target, release):
    assert release_at(template, target) == release


@pytest.fixture
def place(tmp_path):
    """The releases are behind a link themselves, as on machines with a disk for them."""
    real = tmp_path / "disk"
    for name in ("v1", "v2", "v3"):
        (real / "releases" / name).mkdir(parents=True)
    (tmp_path / "web").symlink_to(real)
    return tmp_path / "web"


def point(place: Path, release: str) -> None:
    """As deployment tools do it: a new link takes the old one's place."""
    new = place / "new"
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(place / "releases" / release)
    new.replace(place / "current")


def app(place: Path) -> App:
    return App(("bin/serve",), f"{place}/releases/{{release}}")


def test_a_link_behind_links_is_understood(place):
    point(place, "v2")
    found = read(str(place / "current"), app(place))
    assert (found.release, found.trouble, found.owner) == ("v2", "", os.getuid())


def test_what_is_no_link_and_what_leads_elsewhere_is_told_in_one_line(place):
    path = place / "current"
    assert "No such file" in read(str(path), app(place)).trouble
    path.mkdir()
    assert "is no symlink" in read(str(path), app(place)).trouble
    path.rmdir()
    path.symlink_to("/etc")
    found = read(str(path), app(place))
    assert "leads to /etc, which is none of the releases" in found.trouble
    assert "\n" not in found.trouble
    path.unlink()
    path.symlink_to(place / "releases" / "v9")
    assert "leads nowhere" in read(str(path), app(place)).trouble


@pytest.mark.parametrize("how", ["watchfiles", "polling"])
async def test_a_link_that_is_flipped_has_changed(place, monkeypatch, how):
    monkeypatch.setattr(file_watch, "LOOK_EVERY", 0.05)
    if how == "polling":
        monkeypatch.setitem(sys.modules, "watchfiles", None)
    point(place, "v1")
    told_of = link_changes(place / "current")
    waiting = asyncio.ensure_future(anext(told_of))
    names = iter(["v2", "v1"] * 50)
    try:
        async with asyncio.timeout(10):
            while not waiting.done():  # a watch that is only about to begin misses the first
                point(place, next(names))
                await asyncio.wait([waiting], timeout=0.1)
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await told_of.aclose()


def test_what_happens_in_the_release_is_no_change_of_the_link(place):
    point(place, "v1")
    before = link_mark(place / "current")
    (place / "releases" / "v1" / "more").mkdir()
    assert link_mark(place / "current") == before
    point(place, "v2")
    assert link_mark(place / "current") != before


# the watch


class Desk:
    """Everything around the watch; `answers`: what each next switch comes to."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.driver = steady()
        self.begun: list[str] = []
        self.said: list[str] = []
        self.answers: list[Exception] = []
        releases = Releases(follow=str(place / "current"))
        self.today = Config(
            "web",
            Path("/etc/relctl/web.toml"),
            app(place),
            Ports(PortRange(21000, 21099)),
            Readiness(tcp=True),
            releases=releases,
        )
        self.lookers = []
        self.flips: asyncio.Queue[None] = asyncio.Queue()
        self.follow = Follow(
            lambda: self.driver.state, self, self.begin, self.note, self.said.append, self.seen
        )

    def after_looks(self, looker):
        self.lookers.append(looker)

    def tell(self, event):
        before = self.driver.state
        self.driver.tell(event)
        self.follow.moved(before, self.driver.state)

    def note(self, known: Followed | None):
        self.tell(LinkNoted(known))

    async def seen(self, _path):
        while True:
            await self.flips.get()
            yield None

    async def begin(self, link: Link, known: Followed) -> int | None:
        self.begun.append(link.release)
        if self.answers:
            raise self.answers.pop(0)
        running = self.driver.state.rollout
        if running is not None and running.to == link.release:
            return running.id
        self.tell(c.Begin(Kind.SWITCH, link.release, POLICY, follow=known))
        return None

    def point(self, release: str):
        point(self.place, release)
        self.flips.put_nowait(None)

    def rest(self):
        before = self.driver.state
        self.driver.rest()
        self.follow.moved(before, self.driver.state)

    async def until(self, reached):
        async with asyncio.timeout(10):
            while not reached():
                await asyncio.sleep(0.005)

    async def told(self, state: str):
        await self.until(lambda: (self.follow.shown() or {}).get("state") == state)
        return self.follow.shown()["why"] or ""


@pytest.fixture
async def desk(place, monkeypatch):
    monkeypatch.setattr(follow_module, "SETTLED_AFTER", 0.02)
    point(place, "v1")
    desk = Desk(place)
    keeping = asyncio.create_task(desk.follow.keep())
    await desk.until(lambda: desk.driver.state.follow is not None)
    yield desk
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def test_a_name_that_is_no_text_is_told_in_one_line(place):
    odd = os.fsencode(place) + b"/\x1b[2J\n\xff"
    os.mkdir(odd)
    os.symlink(odd, os.fsencode(place) + b"/current")
    found = read(str(place / "current"), app(place))
    assert "none of the releases" in found.trouble
    assert found.trouble.isprintable()


async def test_a_flip_begins_a_switch_once(desk):
    desk.point("v2")
    await desk.until(lambda: desk.begun)
    desk.rest()
    assert await desk.told("followed") == ""
    desk.point("v2")  # the same again is no change
    await desk.until(desk.flips.empty)
    await asyncio.sleep(0.1)
    assert desk.begun == ["v2"]


async def test_at_the_start_an_old_difference_is_told_and_not_acted_upon(place, monkeypatch):
    monkeypatch.setattr(follow_module, "SETTLED_AFTER", 0.02)
    point(place, "v3")
    desk = Desk(place)
    keeping = asyncio.create_task(desk.follow.keep())
    try:
        assert "drift: the link says v3, v1 is live" in await desk.told("refused")
        assert desk.begun == []
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_only_the_newest_wish_waits_and_begins_when_the_rollout_is_over(desk):
    desk.driver.begin(Kind.SWITCH, "v0")
    desk.point("v2")
    assert "v2 begins when rollout" in await desk.told("pending")
    desk.point("v3")
    await desk.until(lambda: "v3 begins when" in (desk.follow.shown()["why"] or ""))
    assert desk.begun == []
    desk.rest()
    await desk.until(lambda: desk.begun)
    assert desk.begun == ["v3"]


async def test_a_flip_to_the_release_that_is_on_its_way_joins_it(desk):
    desk.driver.begin(Kind.SWITCH, "v2")
    desk.point("v2")
    await desk.until(lambda: desk.driver.state.follow.release == "v2")
    assert desk.driver.state.follow.rollout == desk.driver.rollout.id


async def test_a_refusal_is_told_once_and_not_tried_again_by_itself(desk):
    desk.answers = [Refused("cannot switch: no", "do this")] * 9
    desk.point("v2")
    assert await desk.told("refused") == "cannot switch: no; do this"
    for _ in range(3):
        desk.flips.put_nowait(None)
    await desk.until(desk.flips.empty)
    await asyncio.sleep(0.1)
    assert desk.begun == ["v2"]
    assert len(desk.said) == 1


async def test_a_mended_config_is_a_reason_to_try_again(desk):
    desk.answers = [Refused("the config has an error")]
    desk.point("v2")
    await desk.told("refused")
    for looker in desk.lookers:
        looker()
    await desk.until(lambda: desk.driver.state.rollout is not None)
    assert desk.begun == ["v2", "v2"]


async def test_somebody_who_was_faster_is_waited_for(desk):
    desk.answers = [Busy("rollout 7 runs")]
    desk.point("v2")
    await desk.until(lambda: desk.begun)
    assert desk.said == []


async def test_a_link_that_goes_for_a_moment_is_waited_for(desk):
    """`ln -sfn` removes it first."""
    (desk.place / "current").unlink()
    desk.flips.put_nowait(None)
    desk.point("v2")
    await desk.until(lambda: desk.begun)
    assert desk.begun == ["v2"]


async def test_a_link_that_is_never_the_same_twice_can_be_let_go(desk, place, monkeypatch):
    names = itertools.cycle(("v2", "v3"))
    looks = []

    def flickering(path, app):
        looks.append(path)
        name = next(names)
        return Link(path, f"{place}/releases/{name}", name)

    monkeypatch.setattr(follow_module, "read", flickering)
    desk.flips.put_nowait(None)
    await desk.until(lambda: len(looks) > 3)
    desk.today = replace(desk.today, releases=Releases())
    for looker in desk.lookers:
        looker()
    await desk.until(lambda: desk.driver.state.follow is None)
    assert desk.begun == []


async def test_a_disk_that_hangs_is_told_and_remembers_nothing(place, monkeypatch):
    monkeypatch.setattr(follow_module, "SETTLED_AFTER", 0.02)
    monkeypatch.setattr(follow_module, "PATIENCE", 0.02)
    point(place, "v2")
    back = threading.Event()

    def hanging(path, app):
        back.wait(30)
        return read(path, app)

    monkeypatch.setattr(follow_module, "read", hanging)
    desk = Desk(place)
    keeping = asyncio.create_task(desk.follow.keep())
    try:
        assert "its disk hangs" in await desk.told("refused")
        assert desk.driver.state.follow is None
        monkeypatch.setattr(follow_module, "PATIENCE", 30.0)
        back.set()

        def tried() -> bool:
            desk.flips.put_nowait(None)
            return desk.driver.state.follow is not None

        await desk.until(tried)
        assert desk.driver.state.follow.release == "v2"
        assert desk.begun == []
    finally:
        back.set()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_without_the_key_nothing_is_remembered_any_more(desk):
    desk.today = replace(desk.today, releases=Releases())
    for looker in desk.lookers:
        looker()
    await desk.until(lambda: desk.driver.state.follow is None)
    assert desk.follow.shown() is None
    point(desk.place, "v2")
    desk.today = replace(desk.today, releases=Releases(follow=str(desk.place / "current")))
    for looker in desk.lookers:
        looker()
    assert "drift" in await desk.told("refused")
    assert desk.begun == []


# through the same way as a person's


async def test_it_is_asked_for_by_the_link_and_whoever_made_it_and_is_in_the_audit():
    rows, asked = [], []

    async def write(row):
        rows.append(row)

    async def begin(request, caller, follow=None):
        asked.append((request, caller, follow))
        if len(asked) > 1:
            raise Refused("cannot switch: no")
        return {"id": 7, "attached": False, "already": False}

    service = SimpleNamespace(begin=begin)
    wish = replace(link(), owner=1000)
    assert await followed.begin(service, write, wish, noted(wish)) is None
    request, caller, known = asked[0]
    assert (request.kind, request.release) == ("switch", "v2")
    assert caller.actor == f"follow {CURRENT}"
    assert caller.people == (1000,)
    assert known == noted(wish)
    assert (rows[0].command, rows[0].outcome, rows[0].rollout) == ("switch", "accepted", 7)
    with pytest.raises(Refused):
        await followed.begin(service, write, wish, noted(wish))
    assert (rows[1].outcome, rows[1].told) == ("refused", "cannot switch: no")
