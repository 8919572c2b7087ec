"""An edited config is told of before it is relied on."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from reld.config import (
    Access,
    App,
    Config,
    Gate,
    Hooks,
    PortRange,
    Ports,
    Readiness,
    Releases,
    Rollout,
    Route,
    Verdict,
)
from reld.errors import ConfigError
from reld.host import file_watch
from reld.host.config_watch import ConfigWatch
from reld.host.file_watch import changes, notified, polled

CONFIG = Config(
    "web",
    Path("/etc/relctl/web.toml"),
    App(("bin/serve",), "/srv/web/{release}"),
    Ports(PortRange(21000, 21099)),
    Readiness(tcp=True),
)


@pytest.fixture(params=[polled, notified], ids=["polling", "watchfiles"])
def seen(request, monkeypatch):
    monkeypatch.setattr(file_watch, "LOOK_EVERY", 0.05)
    return request.param


async def next_change(path, seen, edit):
    told = seen(path)
    waiting = asyncio.ensure_future(anext(told))
    try:
        for _ in range(100):  # a watch that is only about to begin misses what is done before it
            edit()
            done, _ = await asyncio.wait([waiting], timeout=0.1)
            if done:
                return waiting.result()
        raise AssertionError("the change was not seen")
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await told.aclose()


async def test_a_file_that_is_written_in_place_has_changed(tmp_path, seen):
    path = tmp_path / "web.toml"
    path.write_text("1")
    await next_change(path, seen, lambda: path.write_text(path.read_text() + "2"))


async def test_a_file_that_another_one_replaced_has_changed(tmp_path, seen):
    path = tmp_path / "web.toml"
    path.write_text("1")

    def edit():
        new = tmp_path / ".web.toml.swp"
        new.write_text("2")
        new.replace(path)

    await next_change(path, seen, edit)


async def test_without_watchfiles_it_looks_every_few_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(file_watch, "LOOK_EVERY", 0.05)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    path = tmp_path / "web.toml"
    path.write_text("1")
    await next_change(path, changes, lambda: path.write_text(path.read_text() + "2"))


async def test_a_name_beside_it_that_is_no_text_ends_no_watch(tmp_path, monkeypatch):
    monkeypatch.setattr(file_watch, "LOOK_EVERY", 0.05)
    path, odd = tmp_path / "web.toml", os.fsencode(tmp_path) + b"/\xff"
    path.write_text("1")

    def disturb():
        with open(odd, "ab"):
            path.write_text(path.read_text() + "2")

    await next_change(path, changes, disturb)


class Desk:
    """A file that a person edits while reld looks on."""

    def __init__(self, used=CONFIG):
        self.file = CONFIG
        self.wrong = ()
        self.edits = asyncio.Queue()
        self.snapshots = SimpleNamespace(config=CONFIG, known=lambda _: used)
        slot = SimpleNamespace(snapshot=1)
        state = SimpleNamespace(live="blue", slot=lambda _: slot)
        self.watch = ConfigWatch(lambda: state, self.snapshots, self.load, self.changes)

    def load(self):
        if self.wrong:
            raise ConfigError(self.wrong)
        return self.file

    async def changes(self, _path) -> AsyncGenerator[None, None]:
        while True:
            await self.edits.get()
            yield None

    async def look(self):
        keeping = asyncio.ensure_future(self.watch.keep())
        self.edits.put_nowait(None)
        while not self.edits.empty():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.02)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_what_runs_is_what_the_file_says():
    desk = Desk()
    await desk.look()
    assert desk.watch.said() == ""


async def test_a_change_takes_effect_with_the_next_rollout_and_is_then_forgotten():
    desk = Desk()
    desk.file = replace(CONFIG, readiness=Readiness(path="/ready"))
    await desk.look()
    assert "takes effect with the next rollout" in desk.watch.said()
    desk.snapshots.config, desk.snapshots.known = desk.file, lambda _: desk.file
    assert desk.watch.said() == ""


async def test_a_release_that_was_started_with_another_config_is_told_of_after_a_restart_too():
    desk = Desk(used=replace(CONFIG, app=App(("bin/old",), "/srv/web/{release}")))
    await desk.look()
    assert "takes effect with the next rollout" in desk.watch.said()


async def test_the_first_mistake_is_named_with_its_line():
    desk = Desk()
    desk.wrong = ("/etc/relctl/web.toml:3: app.usr: there is no such key", "and", "more")
    await desk.look()
    assert "web.toml:3: app.usr" in desk.watch.said()
    assert "2 more" in desk.watch.said()
    desk.wrong = ()
    await desk.look()
    assert desk.watch.said() == ""


@pytest.mark.parametrize(
    ("edit", "table"),
    [
        ({"gate": Gate(timeout=5.0)}, "[gate]"),
        ({"route": (Route("checkout", "^/checkout"),)}, "[[route]]"),
        ({"verdict": Verdict(shield=False)}, "[verdict] shield"),
    ],
)
async def test_what_the_gate_is_made_of_needs_a_restart_and_a_rollout_does_not_hide_that(
    edit, table
):
    desk = Desk()
    desk.file = replace(CONFIG, **edit)
    await desk.look()
    assert f"{table} changed since reld began: sudo systemctl restart reld@web" in desk.watch.said()
    desk.snapshots.config = desk.file  # a rollout has begun with it
    assert desk.watch.said().startswith(table)


async def test_a_gate_that_moves_leaves_the_site_behind_and_that_is_said():
    desk = Desk()
    desk.file = replace(CONFIG, gate=Gate(listen="127.0.0.1:8090"))
    await desk.look()
    assert "loses no request" not in desk.watch.said()
    assert "until the site's proxy_pass says 127.0.0.1:8090" in desk.watch.said()


@pytest.mark.parametrize(
    "edit",
    [
        {"access": Access(approvers=("anna",))},
        {"hooks": Hooks(before_start=("bin/migrate",))},
        {"rollout": Rollout(bake=1.0)},
    ],
    ids=lambda edit: next(iter(edit)),
)
async def test_every_other_table_takes_effect_with_the_next_rollout(edit):
    desk = Desk()
    desk.file = replace(CONFIG, **edit)
    await desk.look()
    assert desk.watch.said() == "was changed since: takes effect with the next rollout"


async def test_what_is_done_with_releases_and_links_takes_effect_at_once():
    desk = Desk()
    desk.file = replace(CONFIG, releases=Releases(follow="/srv/web/current"))
    await desk.look()
    assert desk.watch.said() == ""
    assert desk.watch.today is desk.file


async def test_an_edit_with_a_mistake_changes_nothing_of_what_is_used():
    desk = Desk()
    told = []
    desk.watch.after_looks(lambda: told.append(desk.watch.today))
    desk.wrong = ("/etc/relctl/web.toml:9: gate.listen: is no address",)
    await desk.look()
    assert desk.watch.today is CONFIG
    assert set(map(id, told)) == {id(CONFIG)}
