"""A rehearsal's own requests at the gate: told apart, failed where they are to, and no user's ever."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from reld.core.model import OWN_ROUTE, Marked
from reld.errors import GateError
from reld.nginx.counting import Counted, Counting
from reld.nginx.gate import Gate
from reld.nginx.mark import read_back
from reld.nginx.rehearse import FAILED
from tests.contract.gate_support import App, Reply, a_gate, an_app, ask, both, load, until

TOKEN = "0123456789abcdef" * 2
COUNT = 60


@contextlib.asynccontextmanager
async def rehearsing(
    *, fails: bool = True, **changes: object
) -> AsyncIterator[tuple[Gate, App, App]]:
    """A gate that gives half of the traffic to the copy."""
    async with a_gate(**changes) as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7, [50])
        await load(gate, 1, replace(both(old, new), rehearsal=Marked(TOKEN, fails)))
        await gate.move(7, 50)
        yield gate, old, new


async def own(gate: Gate, token: str = TOKEN) -> Reply:
    return await ask(gate.settings.listen, X_Relctl_Rehearsal=token)


async def counted(gate: Gate, old: App, new: App, lines: int) -> Counted:
    """What the log says, once it has so many lines."""

    def logged() -> list[str]:
        return gate.settings.request_log.read_text().splitlines()

    await until(lambda: len(logged()) >= lines, 10)
    sticky = gate.settings.split == "client"
    return Counting([old.address], [new.address], sticky=sticky).feed(logged(), 50)


@pytest.mark.parametrize("split", ["request", "client"])
async def test_own_requests_fail_on_the_copy_alone_and_users_are_served_by_both(split):
    async with rehearsing(split=split) as (gate, old, new):
        for _ in range(COUNT):
            assert (await ask(gate.settings.listen)).status == 200
        users = (len(old.seen), len(new.seen))
        replies = [await own(gate) for _ in range(COUNT)]
        found = await counted(gate, old, new, 2 * COUNT)
        failed = [r for r in replies if r.status == 500]
        assert {r.headers["x-relctl-rehearsal"] for r in failed} == {FAILED}
        assert {r.name for r in replies if r.status != 500} == {"old"}
        assert min(users) > 0
        assert (len(old.seen), len(new.seen)) == (users[0] + COUNT - len(failed), users[1])
        # Judged as any other, and no user's.
        routes = [route for sample in found.samples for route in sample.routes]
        assert {route.name for route in routes} == {OWN_ROUTE}
        assert sum(r.new.failures for r in routes) == sum(r.new.requests for r in routes)
        assert sum(r.new.failures for r in routes) == len(failed) > 0
        assert sum(r.old.failures for r in routes) == 0
        assert (found.old.total, found.new.total) == users
        assert (found.new.errors, found.new.failures, found.nonsense) == (0, 0, 0)
        assert (found.unattributed, found.requests) == (0, 2 * COUNT)


async def test_own_requests_that_are_not_to_fail_are_served_by_both_and_counted_apart():
    async with rehearsing(fails=False) as (gate, old, new):
        for _ in range(COUNT):
            assert (await own(gate)).status == 200
        assert min(len(old.seen), len(new.seen)) > 0
        found = await counted(gate, old, new, COUNT)
        assert (found.old.total, found.new.total, found.requests) == (0, 0, COUNT)


async def test_who_does_not_know_the_token_is_a_user():
    async with rehearsing() as (gate, old, new):
        for wrong in ("", "x", TOKEN[:-1], f"{TOKEN}0", TOKEN.upper(), f"{TOKEN}, {TOKEN}"):
            for _ in range(10):
                assert (await own(gate, wrong)).status == 200
        found = await counted(gate, old, new, 60)
        assert found.old.total + found.new.total == 60


async def test_no_app_sees_the_token_while_it_means_something_nor_when_it_does_not():
    async with rehearsing(fails=False) as (gate, old, new):
        for _ in range(20):
            await own(gate)
        await load(gate, 2, both(old, new))
        for _ in range(20):
            assert (await own(gate)).status == 200
        assert len(old.seen) + len(new.seen) == 40
        assert not [r for r in (*old.seen, *new.seen) if "x-relctl-rehearsal" in r.headers]


async def test_the_config_says_what_it_is_and_refuses_what_is_no_token():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        routing = replace(both(old, new), rehearsal=Marked(TOKEN, fails=True))
        assert read_back(gate.render(3, routing)) == (3, routing)
        assert "rehears" not in gate.render(3, both(old, new)).lower().replace(
            "x-relctl-rehearsal ''", ""
        ).replace("see `rehearse`", "")
        for wrong in ("", 'x"; }', "A" * 32, "0" * 65):
            with pytest.raises(GateError, match="no token"):
                gate.render(3, replace(routing, rehearsal=Marked(wrong)))
