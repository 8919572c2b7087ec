"""What is kept of a rollout that ended: receipt, evidence, log, counts; and asked for again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reld.api.hub import Hub
from reld.api.replay import ReplayRequest
from reld.api.requests import NotFound
from reld.api.service import SlotVitals
from reld.core.model import Color, Kind, Outcome, Phase, Rollout, State, Watch
from reld.core.policy import Policy
from reld.core.verdict.finding import Finding, Verdict
from reld.core.verdict.replay import row, step_row
from reld.core.verdict.sample import Sample, Tally
from reld.core.verdict.settings import VerdictSettings
from reld.errors import Refused
from reld.saver import StateSaver
from reld.service import EngineService
from reld.store.database import Store

ROLLOUT = Rollout(
    id=7,
    kind=Kind.SWITCH,
    phase=Phase.FINISHING,
    since=990.0,
    began=940.0,
    policy=Policy(verdict=VerdictSettings(act=False)),
    from_="v1",
    to="v2",
    old=Color.BLUE,
    candidate=Color.GREEN,
    outcome=Outcome.DONE,
    watch=Watch(finding=Finding(Verdict.WORSE, "v2 failed 7 of 140 requests", odds=5300.0)),
)
STATE = State("web", "boot")
ROWS = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in [
        step_row(1000, 25),
        *(row(Sample(1000 + n, 25, Tally(30), Tally(10, 5))) for n in range(60)),
    ]
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "state.db")
    yield store
    await store.close()


def service(store: Store, tmp_path: Path, **more: Any) -> EngineService:
    engine: Any = SimpleNamespace(state=STATE, watch=lambda _: None)
    nothing: Any = None
    return EngineService(engine, store, nothing, Hub(lambda: "T"), tmp_path, **more)


async def saved(
    store: Store, tmp_path: Path, rollout: Rollout, watched: Callable[[int], bytes | None]
) -> dict[str, Any]:
    await StateSaver(store, tmp_path, {}, watched).save(STATE, (rollout,))
    found = await store.rollout(rollout.id)
    assert found is not None
    return found


async def test_a_rollout_that_went_back_keeps_its_evidence_and_the_end_of_its_log(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "v2.log").write_text("".join(f"line {n}\n" for n in range(30)))
    back = replace(ROLLOUT, outcome=Outcome.ROLLED_BACK, turned_at=5)
    evidence = (await saved(store, tmp_path, back, lambda _: None))["evidence"]
    assert (evidence["verdict"], evidence["share"], evidence["odds"]) == ("worse", 5, 5300.0)
    assert evidence["log"] == [f"line {n}" for n in range(10, 30)]


async def test_a_rollout_that_is_done_keeps_no_log(store: Store, tmp_path: Path) -> None:
    assert "log" not in (await saved(store, tmp_path, ROLLOUT, lambda _: None))["evidence"]


async def test_counts_that_cannot_be_read_cost_no_receipt(store: Store, tmp_path: Path) -> None:
    def lost(_: int) -> bytes:
        raise OSError("gone")

    assert (await saved(store, tmp_path, ROLLOUT, lost))["outcome"] == "done"
    assert await store.watch(7) is None


async def test_a_rollout_can_be_judged_again_from_what_was_kept(
    store: Store, tmp_path: Path
) -> None:
    await saved(store, tmp_path, ROLLOUT, {7: ROWS}.get)
    answer = await service(store, tmp_path).replay(ReplayRequest(7, warmup=5.0))
    assert answer["found"]["sentence"].startswith("v2 failed ")
    assert answer["settings"]["warmup"] == 5.0
    assert not answer["settings"]["act"]


async def test_a_rollout_without_counts_and_one_that_never_was_cannot_be_judged(
    store: Store, tmp_path: Path
) -> None:
    await saved(store, tmp_path, ROLLOUT, lambda _: None)
    with pytest.raises(Refused, match="its counts are not kept"):
        await service(store, tmp_path).replay(ReplayRequest(7))
    with pytest.raises(NotFound):
        await service(store, tmp_path).replay(ReplayRequest(8))


def test_the_service_hands_on_what_is_measured(store: Store, tmp_path: Path) -> None:
    slots = {"blue": SlotVitals(rate=2.0)}
    vitals = service(store, tmp_path, slots=lambda: slots).vitals()
    assert vitals.slot("blue").rate == 2.0
    assert vitals.slot("green") == SlotVitals()
