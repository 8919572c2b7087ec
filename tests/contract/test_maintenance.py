"""A gate that a person has closed: 503 with a page, but not for everybody and not for every path."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from reld.core.model import Closed, Routing
from reld.errors import GateError
from reld.nginx import pages
from reld.nginx.gate import Gate, LoadEnd
from reld.nginx.mark import read_back
from reld.nginx.render import render
from tests.contract.gate_support import a_gate, an_app, ask, blue, both, green, load

SORRY = b"<h1>Back at noon; $costs {0} \xc3\xa9</h1>" * 400


async def close(gate: Gate, generation: int, routing: Routing, *allow: str) -> None:
    closed = Closed(gate.keep_page(SORRY), allow)
    await load(gate, generation, dataclasses.replace(routing, maintenance=closed))


async def test_every_request_gets_the_page_whatever_it_is():
    async with an_app("v1") as app, a_gate() as gate:
        await close(gate, 1, Routing(blue(app)))
        for method, body in (
            ("GET", b""),
            ("POST", b"x" * 200_000),
            ("DELETE", b""),
            ("PUT", b"y"),
        ):
            reply = await ask(gate.settings.listen, "/any?a=b", method, body)
            assert (reply.status, reply.body) == (503, SORRY), method
            assert reply.headers["retry-after"] == "30"
            assert reply.headers["content-type"] == "text/html; charset=utf-8"
            assert reply.headers["cache-control"] == "no-store"
        assert (await ask(gate.settings.listen, "/", "HEAD")).status == 503
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert (await ask(gate.settings.listen, "/ws", **upgrade)).status == 503
        assert not app.seen


async def test_the_paths_of_the_health_checks_go_on_to_the_app():
    health = ("/ready", '/live"$x;{\\}')
    async with an_app("v1") as app, a_gate(health=health) as gate:
        await close(gate, 1, Routing(blue(app)))
        for path in (*health, "/ready?deep=1"):
            assert (await ask(gate.settings.listen, path)).status == 200, path
        assert (await ask(gate.settings.listen, "/ready/x")).status == 503


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 503),
        ({"X-Forwarded-For": "192.0.2.7"}, 200),
        ({"X-Forwarded-For": "203.0.113.1, 192.0.2.7"}, 200),
        ({"X-Forwarded-For": "192.0.2.7, 203.0.113.1"}, 503),
        ({"X-Forwarded-For": "nonsense"}, 503),
        ({"X-Forwarded-For": "2001:db8::1"}, 200),
        ({"X-Real-IP": "192.0.2.7"}, 200),
        ({"X-Real-IP": "192.0.2.7", "X-Forwarded-For": "203.0.113.1"}, 503),
        # A site that sets the one, and passes on what its client says in the other.
        ({"X-Real-IP": "203.0.113.1", "X-Forwarded-For": "192.0.2.7"}, 503),
        ({"X-Real-IP": "192.0.2.7", "X-Forwarded-For": "203.0.113.1, 192.0.2.8"}, 200),
    ],
)
async def test_clients_are_let_through_by_what_the_site_says_of_them(headers, status):
    async with an_app("v1") as app, a_gate() as gate:
        await close(gate, 1, Routing(blue(app)), "192.0.2.0/24", "2001:db8::/32")
        assert (await ask(gate.settings.listen, **headers)).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 200), ({"X-Real-IP": "203.0.113.1"}, 503), ({"X-Forwarded-For": "203.0.113.1"}, 503)],
)
async def test_who_lets_this_machine_through_does_not_let_in_all_who_come_by_the_site(
    headers, status
):
    async with an_app("v1") as app, a_gate() as gate:
        await close(gate, 1, Routing(blue(app)), "127.0.0.0/8")
        assert (await ask(gate.settings.listen, **headers)).status == status


async def test_the_page_is_no_path_of_its_own():
    async with an_app("v1") as app, a_gate() as gate:
        await close(gate, 1, Routing(blue(app)))
        name = gate.keep_page(SORRY)
        assert (await ask(gate.settings.listen, f"/.relctl-unavailable/{name}")).status == 404


async def test_both_slots_and_none_can_be_closed_and_opened_again():
    async with an_app("v1") as old, an_app("v2") as new, a_gate(split="client") as gate:
        gate.prepare_lanes(7)
        for generation, routing in enumerate((Routing(), both(old, new), Routing(green(new)))):
            await close(gate, 2 * generation + 1, routing)
            assert (await ask(gate.settings.listen)).body == SORRY
        await load(gate, 10, Routing(green(new)))
        assert (await ask(gate.settings.listen)).name == "v2"


async def test_the_common_page_is_for_every_503_of_the_gate(tmp_path: Path):
    page = tmp_path / "sorry.html"
    page.write_bytes(b"<p>one</p>")
    async with an_app("v1") as app, a_gate(unavailable_page=page) as gate:
        await load(gate, 1, Routing())
        reply = await ask(gate.settings.listen, "/", "POST", b"x")
        assert (reply.status, reply.body, reply.headers["retry-after"]) == (503, b"<p>one</p>", "5")
        page.write_bytes(b"<p>two</p>")
        await load(gate, 2, Routing(blue(app), maintenance=Closed()))
        assert (await ask(gate.settings.listen)).body == b"<p>two</p>"
        page.unlink()
        await load(gate, 3, Routing())
        assert (await ask(gate.settings.listen)).body == b"<p>two</p>"


async def test_an_error_of_the_app_is_not_taken_for_one_of_the_gate(tmp_path: Path):
    page = tmp_path / "sorry.html"
    page.write_bytes(b"sorry")
    async with an_app("v1") as app, a_gate(unavailable_page=page) as gate:
        app.status = 503
        await load(gate, 1, Routing(blue(app)))
        reply = await ask(gate.settings.listen)
        assert (reply.status, reply.name) == (503, "v1")
        assert "retry-after" not in reply.headers


async def test_the_gate_may_read_its_pages_and_not_write_them():
    async with a_gate() as gate:
        await load(gate, 1, Routing())
        path = gate.settings.pages / gate.keep_page(SORRY)
        assert path.stat().st_mode & 0o777 == 0o640
        assert path.stat().st_uid == os.geteuid()


async def test_pages_that_nobody_names_any_more_are_removed_but_not_young_ones():
    async with a_gate() as gate:
        used, unused, young = (gate.keep_page(text) for text in (b"a", b"b", b"c"))
        long_ago = time.time() - 2 * pages.KEPT_FOR
        for name in (used, unused):
            os.utime(gate.settings.pages / name, (long_ago, long_ago))
        gate.forget_pages({used})
        assert {p.name for p in gate.settings.pages.glob("page-*")} == {used, young}


async def test_a_page_that_has_vanished_still_leaves_a_503():
    async with an_app("v1") as app, a_gate() as gate:
        await close(gate, 1, Routing(blue(app)))
        (gate.settings.pages / gate.keep_page(SORRY)).unlink()
        reply = await ask(gate.settings.listen)
        assert (reply.status, reply.headers["retry-after"]) == (503, "30")


async def test_a_closed_gate_is_read_back_from_its_config():
    async with an_app("v1") as app, a_gate() as gate:
        routing = Routing(blue(app), maintenance=Closed(gate.keep_page(b"x"), ("192.0.2.0/24",)))
        assert read_back(render(gate.settings, 5, routing)) == (5, routing)


@pytest.mark.parametrize(
    "closed",
    [
        Closed("../x.html"),
        Closed("page-0.html;"),
        Closed(allow=("1.2.3.4; }",)),
        Closed(allow=("1.2.3.4/8",)),
        Closed(allow=("default",)),
    ],
)
async def test_nothing_evil_becomes_nginx_text(closed: Closed):
    async with a_gate() as gate:
        ended = await gate.load(1, Routing(maintenance=closed), 5.0)
        assert ended.what is LoadEnd.REFUSED


def test_a_page_is_a_plain_file_of_a_bounded_size(tmp_path: Path):
    large = tmp_path / "large.html"
    large.write_bytes(b"x" * (pages.LARGEST + 1))
    with pytest.raises(ValueError, match="larger than 256 KiB"):
        pages.read(large)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        pages.read(tmp_path / "pipe")


async def test_a_page_that_cannot_be_kept_is_told():
    async with a_gate() as gate:
        await load(gate, 1, Routing())
        (gate.settings.pages / f"{gate.keep_page(b'x')}.new").mkdir()
        with pytest.raises(GateError, match="cannot keep the page"):
            gate.keep_page(b"x")
