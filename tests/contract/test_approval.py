"""Two people, from the config to the receipt: the service with a real engine and a real store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reld import config_file
from reld.api.hub import Hub
from reld.api.peers import Caller
from reld.api.requests import Approval, Options, RolloutRequest, Steer
from reld.core import commands as c
from reld.core.machine import first_state
from reld.core.model import Kind, Rollout
from reld.engine import Engine
from reld.errors import BadRequest, Busy, NotPermitted, Refused
from reld.host.snapshots import Snapshots, TodaysAccess
from reld.saver import StateSaver
from reld.service import EngineService
from reld.store.database import Store
from tests.fuzz.api_server import CONFIG
from tests.unit.core_driver import POLICY, steady

ALICE = Caller(1000, 1000, 1, 1000, "alice", login_name="alice")
ALICE_AS_ROOT = Caller(0, 0, 1, 1000, "root", login_name="alice")
BOB = Caller(1001, 1001, 1, 1001, "bob", login_name="bob")
SWITCH = RolloutRequest("switch", "v2", Options(note="ticket 7"))


class Idle:
    async def perform(self, effect: object, post: object) -> None:
        await asyncio.Event().wait()


@dataclass
class Reld:
    service: EngineService
    engine: Engine
    access: TodaysAccess
    config: Path
    snapshots: Snapshots

    @property
    def rollout(self) -> Rollout:
        found = self.engine.state.rollout
        assert found is not None
        return found

    def approvers(self, names: str) -> None:
        text = self.config.read_text().rpartition("approvers")[0]
        self.config.write_text(f"{text}approvers = {names}\n")


@pytest.fixture
async def reld(tmp_path: Path) -> AsyncIterator[Reld]:
    path = tmp_path / "web.toml"
    path.write_text(CONFIG.format(directory=tmp_path))
    path.chmod(0o600)
    store = await Store.open(tmp_path / "state.db")
    snapshots = Snapshots(store, config_file.load(path, uid=os.geteuid()))
    saver = StateSaver(store, tmp_path, {})
    engine = Engine(first_state("web", "boot"), Idle(), saver, lambda: 100.0)
    service = EngineService(engine, store, snapshots, Hub(lambda: "T"), tmp_path)
    running = asyncio.create_task(engine.run())
    yield Reld(service, engine, TodaysAccess(snapshots), path, snapshots)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await store.close()


async def begun(reld: Reld, who: Caller = ALICE) -> int:
    return int((await reld.service.begin(SWITCH, who))["id"])


async def test_with_approvers_a_switch_needs_one_and_another_person_is_one(reld: Reld) -> None:
    number = await begun(reld)
    assert reld.rollout.awaits_approval
    for alice in (ALICE, ALICE_AS_ROOT):
        with pytest.raises(NotPermitted, match="alice began it"):
            await reld.service.approve(Approval(number, ""), alice)
    said = await reld.service.approve(Approval(number, "seen in staging"), BOB)
    assert said == {"id": number, "message": f"rollout {number} is approved by bob"}
    account = await reld.service.rollout(number)
    assert account is not None
    assert account["note"] == "ticket 7"
    assert (account["approved_by"], account["approval_note"]) == ("bob", "seen in staging")
    with pytest.raises(Refused, match="bob has approved it already"):
        await reld.service.approve(Approval(number, ""), BOB)


async def test_what_sudo_began_is_not_approved_by_the_same_person(reld: Reld) -> None:
    number = await begun(reld, ALICE_AS_ROOT)
    with pytest.raises(NotPermitted):
        await reld.service.approve(Approval(number, ""), ALICE)
    await reld.service.approve(Approval(number, ""), Caller(0, 0, 1, None, "root"))


async def test_without_approvers_nothing_waits_for_one(reld: Reld) -> None:
    reld.approvers("[]")
    number = await begun(reld)
    assert not reld.rollout.approval
    with pytest.raises(Refused, match="needs no approval"):
        await reld.service.approve(Approval(number, ""), BOB)


async def test_who_may_approve_is_read_with_the_rollout(reld: Reld) -> None:
    reld.approvers('["bob"]')
    assert reld.access.approvers == ("nobody",)
    await begun(reld)
    assert reld.access.approvers == ("bob",)


async def test_the_config_that_a_rollout_began_with_decides(reld: Reld) -> None:
    await begun(reld)
    reld.approvers("[]")
    assert reld.rollout.awaits_approval


async def test_an_approval_of_what_never_was_is_not_found(reld: Reld) -> None:
    with pytest.raises(BadRequest):
        await reld.service.approve(Approval(77, ""), BOB)


@pytest.mark.parametrize("verb", ["abort", "pause"])
async def test_going_back_and_holding_need_nobody(reld: Reld, verb: str) -> None:
    number = await begun(reld)
    await reld.service.steer(Steer(number, verb, full=False, reason="", note="too slow"), ALICE)
    ended: Any = reld.engine.state.rollout or reld.engine.state.last
    assert ended.paused if verb == "pause" else ended.reason == "too slow by alice"


async def test_a_rollback_turns_a_rollout_that_waits(reld: Reld) -> None:
    number = await begun(reld)
    answer = await reld.service.begin(RolloutRequest("rollback", None, Options()), ALICE)
    assert (answer["id"], answer["attached"]) == (number, True)


async def test_a_second_switch_is_told_of_the_wait(reld: Reld) -> None:
    number = await begun(reld)
    with pytest.raises(Busy) as caught:
        await reld.service.begin(RolloutRequest("switch", "v3", Options()), BOB)
    assert f"relctl approve {number}" in caught.value.hint


# Between two steps.


def asked(reld: Reld, who: Caller, *, approvers: str) -> int:
    """It waits after 5 % for a person, as far as the state says."""
    reld.approvers(approvers)
    config = config_file.load(reld.config, uid=os.geteuid())
    reld.snapshots.config = config
    policy = replace(POLICY, approve_after=(5,))
    driver = steady()
    begin = c.Begin(Kind.SWITCH, "v2", policy, who.actor, people=who.people, on_duty="carol")
    driver.tell(replace(begin, approval=bool(config.access.approvers)))
    driver.until(lambda s: "approver" in s.rollout.waiting or s.rollout.asked)
    if driver.rollout.awaits_approval:
        assert driver.ask(c.Approve(driver.rollout.id, (), "dora")) is None
    reld.engine.state = driver.until(lambda s: s.rollout.asked).state
    return driver.rollout.id


def promoted(number: int, *, full: bool = False) -> Steer:
    return Steer(number, "promote", full=full, reason="", note="looks well")


async def test_an_approver_who_is_no_operator_agrees_between_two_steps(reld: Reld) -> None:
    number = asked(reld, ALICE, approvers='["bob", "alice"]')
    with pytest.raises(NotPermitted, match="alice began it"):
        await reld.service.steer(promoted(number), ALICE_AS_ROOT)
    with pytest.raises(NotPermitted, match="it waits for an approver"):
        await reld.service.steer(
            promoted(number), Caller(1002, 1002, 1, 1002, "olga", frozenset({"0"}))
        )
    with pytest.raises(NotPermitted, match="--full is for operators"):
        await reld.service.steer(promoted(number, full=True), BOB)
    await reld.service.steer(promoted(number), BOB)
    account = await reld.service.rollout(number)
    assert account is not None
    assert account["on_duty"] == "carol"
    (one,) = account["agreed"]
    assert (one["after"], one["by"], one["note"]) == (5, "bob", "looks well")
    assert one["at"].endswith("Z")


async def test_where_nobody_is_asked_an_approver_who_is_no_operator_steers_nothing(
    reld: Reld,
) -> None:
    reld.approvers('["bob"]')
    number = await begun(reld)
    with pytest.raises(NotPermitted, match="for operators"):
        await reld.service.steer(promoted(number), BOB)


async def test_without_approvers_who_began_agrees(reld: Reld) -> None:
    number = asked(reld, ALICE_AS_ROOT, approvers="[]")
    await reld.service.steer(promoted(number), ALICE_AS_ROOT)
    assert [one.by for one in reld.rollout.agreed] == ["alice (as root)"]


async def test_a_switch_that_leaves_the_gates_of_the_config_out_says_so_before_it_begins(
    reld: Reld,
) -> None:
    reld.engine.state = steady().state
    text = reld.config.read_text()
    reld.config.write_text(f'{text}[rollout]\nsteps = [5, "approve", 100]\n')
    said = "--now leaves out where the config has a person agree: after 5 %"
    now = replace(SWITCH, options=Options(now=True, dry_run=True))
    plan = (await reld.service.begin(now, ALICE))["plan"]
    assert plan["watch"][0] == said
    assert said in plan["text"]
    as_configured = replace(SWITCH, options=Options(dry_run=True))
    plan = (await reld.service.begin(as_configured, ALICE))["plan"]
    assert not any("leaves out" in line for line in plan["text"] + plan["watch"])
