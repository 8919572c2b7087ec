"""What instances need of the machine, when two ask at once and when it does not answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reld.core.events import Exited, ReadinessProbed
from reld.core.model import Color, Exit, Identity, Instance, InstanceState, Rest, Slot, State
from reld.core.policy import SlotPolicy
from reld.host import instances as host
from reld.host import probing
from reld.host.instances import Instances
from reld.host.probing import Probing
from reld.host.roster import Roster, Running
from reld.probes.spec import Result


class Ended:
    async def wait(self) -> Exit:
        return Exit(signal=9)


def serving() -> State:
    instance = Instance(
        number=7,
        index=0,
        address="127.0.0.1:21000",
        state=InstanceState.READY,
        identity=Identity(1, 2, "boot"),
    )
    slot = Slot(Color.BLUE, "v1", 1, SlotPolicy(), (instance,))
    return State(app="web", boot="boot", blue=slot)


def made(state: Any, words: Any = None, leases: Any = None) -> Instances:
    async def get(_number: int) -> Any:
        return SimpleNamespace(app=None)

    snapshots: Any = SimpleNamespace(config=None, get=get)
    launcher: Any = None
    sockets: Any = None
    return Instances(Roster(state), snapshots, Path("/"), launcher, words, leases, sockets)


async def test_two_that_need_a_port_at_once_never_get_the_same():
    states = [serving()]

    def pick(_config: object, count: int, taken: set[int]) -> tuple[int, ...]:
        return tuple(port for port in range(21001, 21010) if port not in taken)[:count]

    instances = made(lambda: states[0], leases=SimpleNamespace(pick=pick))

    async def ask() -> str:
        on_port: Any = SimpleNamespace(app=SimpleNamespace(command=("serve", "{port}")))
        (address,) = await instances.lease(1, on_port)
        resting = (*states[0].resting, Rest(address, 1e9))  # as by the event that tells of it
        states[0] = replace(states[0], resting=resting)
        return address

    assert len(set(await asyncio.gather(*(ask() for _ in range(4))))) == 4


async def test_an_exit_is_told_even_if_its_last_words_cannot_be_read(monkeypatch):
    monkeypatch.setattr(host, "WORDS_PATIENCE", 0.05)
    over = threading.Event()
    state = serving()
    words = SimpleNamespace(last=lambda *_: over.wait(20.0) and [])
    instances = made(lambda: state, words)
    tree: Any = None
    instances.roster.running[7] = Running(Identity(1, 2, "boot"), -1, tree, Ended())
    told: list[Any] = []
    try:
        async with asyncio.timeout(5.0):
            await instances.await_exit(7, lambda event: told.append(event) or True)
    finally:
        over.set()
    assert told == [Exited(7, Exit(signal=9), "")]


async def test_an_instance_is_looked_at_while_pid_1_does_not_answer(monkeypatch):
    async def for_ever(_unit: str) -> None:
        await asyncio.Event().wait()

    async def get(_number: int) -> None:
        pass

    async def refused(*_: object) -> Result:
        return Result(ok=False, detail="refused", seconds=0.0)

    monkeypatch.setattr(probing, "CHECK_EVERY", 0.0)
    monkeypatch.setattr(probing, "readiness_probe", lambda *_: None)
    monkeypatch.setattr(probing, "why_not_ready", lambda *_: "refused")
    monkeypatch.setattr(probing, "probe", refused)
    state = serving()
    roster = Roster(lambda: state)
    tree: Any = SimpleNamespace(members=frozenset)
    roster.running[7] = Running(
        Identity(1, 2, "boot"), -1, tree, unit="relctl-web-r1-blue-7.service"
    )
    snapshots: Any = SimpleNamespace(get=get)
    launcher: Any = SimpleNamespace(unleash=for_ever)
    words: Any = SimpleNamespace(so_far=lambda *_: [])
    sockets: Any = None
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    looking = asyncio.create_task(
        Probing(roster, snapshots, launcher, words, sockets).check_ready(
            7, lambda event: told.done() or told.set_result(event) is None
        )
    )
    try:
        async with asyncio.timeout(5.0):
            assert await told == ReadinessProbed(7, passed=False, detail="refused")
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
