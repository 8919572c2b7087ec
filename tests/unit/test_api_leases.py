"""Who stays with a rollout on a condition: lost, back in time, left in peace, or outlived by reld."""

from __future__ import annotations

import asyncio

from reld.api.leases import Leases

KEY = (7, "a" * 32)


async def test_who_does_not_come_back_is_lost():
    leases = Leases(0.01)
    with leases.held(KEY):
        pass
    assert await leases.lost(KEY, asyncio.Event())


async def test_who_comes_back_within_the_grace_is_not_lost():
    leases = Leases(0.02)
    with leases.held(KEY):
        pass
    looking = asyncio.ensure_future(leases.lost(KEY, asyncio.Event()))
    await asyncio.sleep(0)
    with leases.held(KEY):
        assert not await looking


async def test_who_was_back_and_left_again_is_waited_for_anew_and_lost_once():
    leases = Leases(0.02)
    with leases.held(KEY):
        pass
    first = asyncio.ensure_future(leases.lost(KEY, asyncio.Event()))
    await asyncio.sleep(0)
    with leases.held(KEY):
        pass
    assert await leases.lost(KEY, asyncio.Event())
    assert not await first


async def test_who_said_so_is_not_lost_whether_before_or_within_the_grace():
    leases = Leases(0.02)
    with leases.held(KEY):
        leases.give_back(KEY)
    assert not await leases.lost(KEY, asyncio.Event())
    with leases.held(KEY):
        pass
    looking = asyncio.ensure_future(leases.lost(KEY, asyncio.Event()))
    await asyncio.sleep(0)
    leases.give_back(KEY)
    assert not await looking


async def test_of_two_connections_of_one_client_the_last_counts():
    leases = Leases(0.01)
    with leases.held(KEY):
        with leases.held(KEY):
            pass
        assert not await leases.lost(KEY, asyncio.Event())
    assert await leases.lost(KEY, asyncio.Event())


async def test_a_reld_that_closes_takes_nobody_for_lost():
    leases, closing = Leases(30), asyncio.Event()
    with leases.held(KEY):
        pass
    closing.set()
    assert not await leases.lost(KEY, closing)


async def test_what_is_over_is_forgotten_and_a_stranger_gives_nothing_back():
    leases = Leases(0.01)
    with leases.held(KEY):
        pass
    await leases.lost(KEY, asyncio.Event())
    with leases.held((9, "c" * 32)):
        pass
    leases.forget((9, "c" * 32))
    leases.give_back(KEY)
    leases.give_back((8, "b" * 32))
    assert leases._known == {}
