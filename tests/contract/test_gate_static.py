"""Files from the releases' directories: which one answers, and what never gets out."""

from __future__ import annotations

import contextlib
import os
import shutil

import pytest

from reld.core.model import Routing
from reld.nginx.gate import Gate
from reld.nginx.settings import Static
from tests.contract.gate_support import (
    a_home,
    an_app,
    ask,
    blue,
    both,
    connect,
    end,
    load,
    make_settings,
    read_reply,
)


class Place:
    """A gate with `static` and two releases, v1 and v2, whose every file says whose it is."""

    def __init__(self, home, gate):
        self.gate, self.releases = gate, home / "releases"
        for name in ("v1", "v2"):
            self.put(name, "app.js")
            self.put(name, f"only-{name}.js")
        gate.roots = (str(self.releases / "v2"), str(self.releases / "v1"))

    def put(self, release, name):
        path = self.releases / release / "public/assets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{release} from-disk")
        return path

    async def ask(self, path, method="GET", body=b"", **more):
        return await ask(self.gate.settings.listen, path, method, body, **more)

    async def raw(self, path):
        """The path as it is, byte for byte."""
        reader, writer = await connect(self.gate.settings.listen)
        with contextlib.closing(writer):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))
            return await read_reply(reader)


@contextlib.asynccontextmanager
async def a_place(cache=0.0, **changes):
    static = (Static("/assets/", "public/assets", cache),)
    async with a_home() as home:
        gate = Gate(make_settings(home, static=static, **changes))
        try:
            yield Place(home, gate)
        finally:
            await end(gate.settings)


async def test_the_newest_release_answers_then_the_others_then_the_app():
    async with a_place() as place, an_app("v1") as old, an_app("v2") as new:
        await load(place.gate, 1, both(old, new))
        assert (await place.ask("/assets/app.js")).body == b"v2 from-disk"
        assert (await place.ask("/assets/only-v2.js")).body == b"v2 from-disk"
        assert (await place.ask("/assets/only-v1.js?x=1")).body == b"v1 from-disk"
        assert (await place.ask("/assets/none.js?x=1")).body == b"v1 0"
        assert [r.path for r in old.seen] == ["/assets/none.js?x=1"]


async def test_type_length_etag_range_and_head_are_as_of_any_file():
    async with a_place(cache=3600.0) as place, an_app("v1") as app:
        await load(place.gate, 1, Routing(blue(app)))
        whole = await place.ask("/assets/app.js")
        assert whole.headers["content-type"] == "application/javascript"
        assert whole.headers["cache-control"] == "public, max-age=3600, immutable"
        head = await place.ask("/assets/app.js", "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "12")
        part = await place.ask("/assets/app.js", Range="bytes=3-6")
        assert (part.status, part.body) == (206, b"from")
        known = {"If-None-Match": whole.headers["etag"]}
        assert (await place.ask("/assets/app.js", "HEAD", **known)).status == 304
        assert app.seen == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_for_the_app(method):
    async with a_place() as place, an_app("v1") as app:
        await load(place.gate, 1, Routing(blue(app)))
        assert (await place.ask("/assets/app.js", method, b"abc")).body == b"v1 3"
        assert [(r.method, r.path) for r in app.seen] == [(method, "/assets/app.js")]


@pytest.mark.parametrize(
    "path",
    [
        "/assets/",
        "/assets/inner",
        "/assets/inner/",
        "/assets/.env",
        "/assets/.git/config",
        "/assets/inner/.env",
        "/assets/%2eenv",
        "/assets/%2e%2e/secret",
        "/assets//app.js",
        "/assets/app.js%0a",
        "/assets/app.js/",
        "/assets/app.js/-",
        "/assets/stolen",
        "/assets/mine",
        "/assets/..%5c..%5csecret",
        "/assets/%252e%252e/%252e%252e/secret",
    ],
)
async def test_nothing_but_files_below_the_directory_is_ever_sent(path):
    async with a_place() as place, an_app("v1") as app:
        place.put("v2", "inner/x.js")
        for name in (".env", ".git/config", "inner/.env", "../../secret", "../secret"):
            place.put("v2", name)
        assets = place.releases / "v2/public/assets"
        theirs = place.releases.parent / "theirs"
        theirs.write_text("v2 from-disk")
        (assets / "stolen").symlink_to(theirs)
        os.chown(theirs, 65534, -1)
        mine = place.put("v2", "unreadable")
        mine.rename(assets / "mine")
        (assets / "mine").chmod(0o600)
        await load(place.gate, 1, Routing(blue(app)))
        reply = await place.raw(path)
        assert b"from-disk" not in reply.body
        # The app gets the path as it was sent, and answers.
        assert ([r.path for r in app.seen], reply.status) == ([path], 200)


@pytest.mark.parametrize("climb", [".%2e/.%2e/", "..%2f..%2f", "%2e%2e/%2e%2e/"])
async def test_who_climbs_above_the_root_is_sent_away(climb):
    async with a_place() as place, an_app("v1") as app:
        await load(place.gate, 1, Routing(blue(app)))
        assert (await place.raw(f"/assets/{climb}etc/passwd")).status == 400


async def test_a_link_to_what_its_owner_owns_is_followed():
    async with a_place() as place, an_app("v1") as app:
        shared = place.releases.parent / "shared.js"
        shared.write_text("v2 from-disk")
        (place.releases / "v2/public/assets/up.js").symlink_to(shared)
        await load(place.gate, 1, Routing(blue(app)))
        assert (await place.ask("/assets/up.js")).name == "v2"
        assert app.seen == []


async def test_a_release_that_became_a_link_to_somebody_elses_files_gives_nothing_away():
    async with a_place() as place, an_app("v1") as app:
        place.gate.roots = (str(place.releases / "v2"),)
        await load(place.gate, 1, Routing(blue(app)))
        theirs = place.releases.parent / "theirs"
        (place.releases / "v2").rename(theirs)
        (place.releases / "v2").symlink_to(theirs)
        os.lchown(place.releases / "v2", 65534, -1)
        assert (await place.ask("/assets/app.js")).body == b"v1 0"


async def test_releases_may_vanish_under_a_running_gate_and_its_config_stays_good():
    async with a_place() as place, an_app("v1") as app:
        await load(place.gate, 1, Routing(blue(app)))
        shutil.rmtree(place.releases / "v2")
        assert (await place.ask("/assets/app.js")).body == b"v1 from-disk"
        shutil.rmtree(place.releases)
        assert (await place.ask("/assets/app.js")).body == b"v1 0"
        await load(place.gate, 2, Routing(blue(app)))


async def test_a_directory_that_the_gate_may_not_enter_is_as_good_as_empty():
    async with a_place() as place, an_app("v1") as app:
        (place.releases / "v2/public").chmod(0o700)
        os.chown(place.releases / "v2/public", 65534, -1)
        await load(place.gate, 1, Routing(blue(app)))
        assert (await place.ask("/assets/app.js")).body == b"v1 from-disk"
        assert (await place.ask("/assets/only-v2.js")).body == b"v1 0"


async def test_what_comes_from_disk_is_in_no_log_and_what_the_app_answers_is():
    async with a_place() as place, an_app("v1") as app:
        await load(place.gate, 1, Routing(blue(app)))
        for path in ("/assets/app.js", "/assets/none.js", "/assets/only-v1.js"):
            await place.ask(path)
        await place.gate.beat(1)
        log = place.gate.settings.request_log
        while "beat" not in (said := log.read_text()):
            pass
        assert [line.split("|")[4] for line in said.splitlines()[:-1]] == [app.address]


async def test_a_prefix_of_assets_and_of_static_is_asked_of_disk_then_of_both_slots():
    assets = ("/assets/", "/assets/deep/", "/other/")
    async with a_place(assets=assets) as place, an_app("v1") as old, an_app("v2") as new:
        place.put("v1", "deep/x.js")
        old.missing = ("/assets/new.js", "/assets/deep/new.js", "/other/new.js")
        await load(place.gate, 1, both(old, new))
        assert (await place.ask("/assets/deep/x.js")).body == b"v1 from-disk"
        for path in old.missing:
            assert (await place.ask(path)).body == b"v2 0"


async def test_a_long_path_is_the_apps_and_no_error():
    async with a_place() as place, an_app("v1") as app:
        await load(place.gate, 1, Routing(blue(app)))
        assert (await place.ask(f"/assets/{'a/' * 15_000}b")).body == b"v1 0"
