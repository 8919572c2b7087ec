"""`split = "client"` on a real gate behind a real site: a slot that only goes forward, and one instance."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from reld.core.model import Color, Routing, Target
from tests.contract.gate_support import a_gate, an_app, ask, blue, green, load
from tests.site.site import Site

CLIENTS = 60


class Crowd:
    """Clients with cookies, who ask through the site's nginx and remember who answered."""

    def __init__(self, port):
        self.address = f"127.0.0.1:{port}"
        self.cookies = [""] * CLIENTS
        self.answers = [[] for _ in range(CLIENTS)]

    async def come(self):
        """Each asks once."""
        await asyncio.gather(*map(self._one, range(CLIENTS)))
        return [answers[-1] for answers in self.answers]

    async def _one(self, number):
        said = {"Cookie": self.cookies[number]} if self.cookies[number] else {}
        reply = await ask(self.address, **said)
        assert reply.status == 200
        given = reply.headers.get("set-cookie", "").partition(";")[0]
        # Only the first answer gives a name; a later one may say it again, and never another one.
        assert given in ("", self.cookies[number]) or not self.cookies[number]
        self.cookies[number] = self.cookies[number] or given
        assert self.cookies[number].startswith("relctl_web=")
        self.answers[number].append(reply.name)


@contextlib.asynccontextmanager
async def apps(*names):
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(named(name)) for name in names]


@contextlib.asynccontextmanager
async def named(name):
    """Without words to the site's nginx, which would take them."""
    async with an_app(name) as app:

        async def answer(request):
            said = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\nConnection: close\r\n\r\n"
            request.writer.write(f"{said}{name}".encode())
            await request.writer.drain()
            return True

        app.behave = answer
        yield app


async def test_a_client_only_goes_forward_and_keeps_its_instance_through_a_whole_rollout():
    async with (
        a_gate(split="client") as gate,
        apps("old0", "old1", "old2") as old,
        apps("new0", "new1", "new2") as new,
        apps("next0") as newest,
    ):
        with Site(int(gate.settings.listen.rpartition(":")[2])) as site:
            crowd = Crowd(site.port)
            await load(gate, 1, Routing(blue(*old)))
            await crowd.come()
            await crowd.come()
            gate.prepare_lanes(7)
            await load(gate, 2, Routing(blue(*old), green(*new), 7))
            await crowd.come()
            for share in (5, 25, 50, 95, 100):
                await gate.move(7, share)
                now = await crowd.come()
                moved = sum(name.startswith("new") for name in now)
                assert abs(moved / CLIENTS - share / 100) < 0.25
            await load(gate, 3, Routing(green(*new)))
            await crowd.come()
            # The next rollout deals anew: whoever has not moved to it is still where he was.
            gate.prepare_lanes(8)
            third = Target(Color.BLUE, "v3", tuple(app.address for app in newest))
            await load(gate, 4, Routing(green(*new), third, 8))
            await gate.move(8, 30)
            await crowd.come()
            await gate.move(8, 0)  # reverted
            await crowd.come()
    for answers in crowd.answers:
        kinds = [name.rstrip("0123456789") for name in answers]
        assert kinds[:-2] == sorted(kinds[:-2], key=("old", "new").index)
        assert kinds[-1] == "new"
        for kind in ("old", "new", "next"):
            assert len({name for name in answers if name.startswith(kind)}) <= 1
    for kind in ("old", "new"):
        met = Counter(next(n for n in a if n.startswith(kind)) for a in crowd.answers)
        assert len(met) == 3
        assert min(met.values()) >= 5


async def test_when_an_instance_leaves_only_its_clients_move_and_they_come_back():
    async with a_gate(split="client") as gate, apps("a", "b", "c") as three:
        with Site(int(gate.settings.listen.rpartition(":")[2])) as site:
            crowd = Crowd(site.port)
            await load(gate, 1, Routing(blue(*three)))
            before = await crowd.come()
            await load(gate, 2, Routing(blue(three[0], three[2])))
            without = await crowd.come()
            await load(gate, 3, Routing(blue(*three)))
            assert await crowd.come() == before
    assert all(was in ("b", now) for was, now in zip(before, without, strict=True))
    assert {"a", "c"} == set(without)


async def test_without_a_cookie_parallel_first_requests_are_several_clients():
    async with a_gate(split="client") as gate, apps("a", "b") as two:
        await load(gate, 1, Routing(blue(*two)))
        replies = await asyncio.gather(*(ask(gate.settings.listen) for _ in range(20)))
        names = {reply.headers["set-cookie"].partition(";")[0] for reply in replies}
        assert len(names) == 20
        assert {reply.name for reply in replies} == {"a", "b"}


async def test_requests_that_are_dealt_one_by_one_get_no_cookie():
    async with a_gate() as gate, apps("a", "b") as two:
        await load(gate, 1, Routing(blue(*two)))
        assert "set-cookie" not in (await ask(gate.settings.listen)).headers
