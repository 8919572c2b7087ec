"""Two apps on one machine: two relds, two gates, and neither notices the other."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.load.load import Mix, Summary
from tests.rig import FAST, HELD, LoadInThread, Rig, wait_for

MIX = Mix(keepalive=6, oneshot=3, http2=0, websockets=1, uploads=0, think=0.05, limit=60.0)


class App(Rig):
    """A rig whose config and state lie beside those of the other apps, as on a real machine."""

    def __init__(self, machine: Path, name: str, **more: Any) -> None:
        super().__init__(**more)
        etc, states = machine / "etc", machine / "states"
        etc.mkdir(exist_ok=True)
        states.mkdir(exist_ok=True)
        self.name = name
        self.state = states / name
        self.config = self.config.rename(etc / f"{name}.toml")


@pytest.fixture
def machine() -> Iterator[Path]:
    """Not pytest's own directory: the users of apps and gates have no way through that one."""
    home = Path(tempfile.mkdtemp(prefix="relctl-machine-"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home, ignore_errors=True)


def clean(summary: Summary, *releases: str) -> None:
    assert not summary.whole.failed, summary.text()
    assert summary.whole.ok > 50, summary.text()
    assert summary.whole.releases.keys() == set(releases), summary.text()


def test_two_rollouts_at_the_same_time_lose_nothing_and_mix_nothing(machine: Path) -> None:
    with App(machine, "shop", rest=FAST) as shop, App(machine, "blog", rest=FAST) as blog:
        shop.live_v1("shop-2")
        blog.release("blog-1")
        blog.release("blog-2")
        assert blog.relctl("switch", "blog-1").code == 0
        with (
            LoadInThread(shop.listen, None, MIX) as on_shop,
            LoadInThread(blog.listen, None, MIX) as on_blog,
        ):
            on_shop.wait_for(30)
            on_blog.wait_for(30)
            both = [shop.relctl_begun("switch", "shop-2"), blog.relctl_begun("switch", "blog-2")]
            said = [one.communicate(timeout=60) for one in both]
            assert [one.returncode for one in both] == [0, 0], said
            on_shop.wait_for(30)
            on_blog.wait_for(30)
            clean(on_shop.stop(), "v1", "shop-2")
            clean(on_blog.stop(), "blog-1", "blog-2")
        assert (shop.status()["app"], shop.status()["release"]) == ("shop", "shop-2")
        assert (blog.status()["app"], blog.status()["release"]) == ("blog", "blog-2")


def test_a_reld_that_is_killed_does_not_touch_the_other_apps_rollout(machine: Path) -> None:
    with App(machine, "shop", rest=FAST) as shop, App(machine, "blog", rest=HELD) as blog:
        shop.live_v1("shop-2")
        blog.live_v1("blog-2")
        with (
            LoadInThread(shop.listen, None, MIX) as on_shop,
            LoadInThread(blog.listen, None, MIX) as on_blog,
        ):
            assert blog.relctl("switch", "blog-2", "--no-wait").code == 0
            blog.wait_share(5)
            pids = blog.pids()
            blog.kill_reld()
            answer = shop.relctl("switch", "shop-2")
            assert answer.code == 0, answer.text
            blog.start_reld()
            assert sorted(blog.pids()) == sorted(pids)
            assert blog.wait_share(5)["rollout"]["to"] == "blog-2"
            assert blog.relctl("promote", "--full").code == 0
            blog.wait_share(100)
            assert blog.relctl("promote").code == 0
            assert blog.wait_idle()["release"] == "blog-2"
            clean(on_shop.stop(), "v1", "shop-2")
            clean(on_blog.stop(), "v1", "blog-2")


def test_a_rollback_of_one_app_moves_the_lanes_of_that_app_only(machine: Path) -> None:
    with App(machine, "shop", rest=HELD) as shop, App(machine, "blog", rest=HELD) as blog:
        for app in (shop, blog):
            app.live_v1("v2")
            assert app.relctl("switch", "v2", "--no-wait").code == 0
            app.wait_share(5)
        assert shop.relctl("rollback", "--reason", "no").code == 0
        shop.wait_idle()
        assert shop.status()["release"] == "v1"
        now = blog.status()
        assert (now["rollout"]["to"], now["rollout"]["percent"]) == ("v2", 5)


def test_a_copied_config_cannot_take_the_gate_of_an_app_that_runs(machine: Path) -> None:
    with App(machine, "shop") as shop:
        shop.live_v1()
        copy = App(machine, "copy")
        try:
            copy.config.write_text(shop.config.read_text())
            copy.begin_reld()
            assert copy.reld is not None
            assert copy.reld.wait(20) == 8
            assert "copy.toml" in copy.reld_log()
            assert f"127.0.0.1:{shop.listen} is taken by shop (shop.toml)" in copy.reld_log()
            shop.kill_reld()
            shop.start_reld()  # the one that was there first comes back
            assert shop.get()[0] == 200
        finally:
            copy.close()


def test_nobody_gets_the_port_of_an_app_that_is_down_for_a_moment(machine: Path) -> None:
    """Even where the configs would let them, for instance because one of them was moved away."""
    with App(machine, "shop") as shop:
        shop.live_v1()
        (port,) = (i["port"] for s in shop.status()["slots"].values() for i in s["instances"])
        blog = App(machine, "blog")
        mine = f"{blog.listen + 2}-{blog.listen + 41}"
        blog.edit(f'range = "{mine}"', f'range = "{port}-{port + 38}"')
        shop.kill_reld()
        shop.config.rename(shop.config.with_suffix(".away"))
        for pid in shop.leftovers():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not listens(port), 10, "the instance does not end")
        with blog:
            blog.live_v1()
            found = {i["port"] for s in blog.status()["slots"].values() for i in s["instances"]}
            assert found
            assert port not in found


def listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
