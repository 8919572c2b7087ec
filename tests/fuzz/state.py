"""What reld kept: read as it was written, or refused. Never a half of it, and never a traceback.

The state and the snapshots by the codec; the copy beside the database; and whole databases.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from reld.config import App, Hooks, Liveness, Readiness, Smoke
from reld.core.model import (
    Agreed,
    Color,
    Counts,
    Exit,
    Followed,
    Gate,
    Good,
    Hook,
    HookState,
    Identity,
    Instance,
    InstanceState,
    Kind,
    Lanes,
    Loaded,
    Mark,
    Marked,
    Outcome,
    Phase,
    Rest,
    Rollout,
    Routing,
    Slot,
    State,
    Target,
    Watch,
)
from reld.core.policy import Policy, SlotPolicy
from reld.core.rehearsed import Rehearsal, Rehearsed
from reld.core.verdict.finding import Finding, Verdict
from reld.errors import StoreError
from reld.snapshot import Snapshot
from reld.store import codec, second
from reld.store.content import Content
from reld.store.database import Store
from reld.store.trouble import Damaged
from tests.fuzz.counted import Counted, tried
from tests.fuzz.mutate import spoiled, spoiled_json

FIRST_SCHEMA = Path(__file__).parents[1] / "fakes/state_of_schema_1.json"


def run(inputs: int, seed: int) -> Counted:
    """One in fifty is a database, one in five a copy; the others are text for the codec."""
    place = Path(tempfile.mkdtemp(prefix="relctl-fuzz.", dir=_memory()))
    databases, copies = inputs // 50, inputs // 5
    try:
        return (
            tried(inputs - databases - copies, seed, _text)
            + tried(copies, seed + 1, _copy_in(place))
            + tried(databases, seed + 2, _database_in(place))
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def full() -> State:
    """Something in every field that can hold something."""
    identity = Identity(41, 99, "boot")
    ready = Instance(3, 0, "127.0.0.1:21003", InstanceState.READY, identity, deadline=12.5)
    gone = Instance(
        4, 1, "unix:/run/x", InstanceState.EXITED, exit=Exit(signal=9), detail="ü\udc80"
    )
    blue = Slot(Color.BLUE, "v1", 1, SlotPolicy(instances=2), (ready, gone))
    green = Slot(Color.GREEN, "v2", 2, SlotPolicy(), (gone,), external=True)
    targets = (
        Target(Color.BLUE, "v1", ("127.0.0.1:21003", "unix:/run/x")),
        Target(Color.GREEN, "v2", ("127.0.0.1:21004",)),
    )
    rollout = Rollout(
        id=4, kind=Kind.SWITCH, phase=Phase.SHIFTING, since=1.5, began=1.0,
        policy=Policy(steps=(1, 100), approve_after=(0, 1), hooks=("before_start",)), actor="anna", from_="v1", to="v2",
        old=Color.BLUE, candidate=Color.GREEN, turning=Outcome.ROLLED_BACK, prepared=True,
        addresses=("127.0.0.1:21004",), step=1, share=5, step_since=3.25, skipped=(5, 25),
        watch=Watch(12.5, 22.5, Finding(Verdict.WORSE, "v2 failed", odds=5300.0, errors=1.0), 38.5),
        hooks=(Hook("before_start", HookState.DONE, 1, 9.0),), left=3,
        blue=Counts(10, 1), green=Counts(140, 0, 7, 7), marks=(Mark(Phase.PREPARING, 1.0),),
        rehearsal=Rehearsal(5, 30.0, True, "f" * 32, back_at=2.5, found=True),
        on_duty="carol", asked=True, agreed=(Agreed(0, "bob", "2026-11-24", "ü"), Agreed(5, "anna")),
    )  # fmt: skip
    routing = Routing(*targets, 4, rehearsal=Marked("f" * 32, fails=True))
    return State(
        app="web", boot="boot", blue=blue, green=green,
        gate=Gate(Loaded(5, routing), Loaded(6, routing), (Loaded(4, Routing()),), deadline=1.0),
        rollout=rollout, last=rollout, good=(Good("v1", 1, sealed=True),),
        resting=(Rest("127.0.0.1:1", 3.0),), old_lanes=(Lanes(3, 5),),
        follow=Followed("/srv/web/current", "/srv/web/releases/v2", "v2", 4, Outcome.ROLLED_BACK),
        rehearsed=Rehearsed("v1", "2026-11-24", 3, "done", seconds_to_ready=0.5, advice=("a", "b")),
    )  # fmt: skip


def snapshot() -> Snapshot:
    return Snapshot(
        "v1", "/srv/web/releases/v1",
        App(("bin/serve", "{port}"), "/srv/{release}", "web", env=(("A", "b"),)),
        Readiness("/ready"), Liveness(), (Smoke("login", "/login", headers=(("A", "b"),)),),
        Hooks(before_start=("bin/migrate",)), (("SECRET", "hunter2"), ("ü", "\n")),
    )  # fmt: skip


_CORPUS: tuple[tuple[type[Any], str], ...] = (
    (State, codec.dumps(full())),
    (State, codec.dumps(State("web", "b"))),
    (State, FIRST_SCHEMA.read_text("utf-8")),
    (Snapshot, codec.dumps(snapshot())),
)
_TREES = tuple((kind, json.loads(text)) for kind, text in _CORPUS)


def _text(chance: Random) -> str:
    if chance.random() < 0.5:
        kind, text = chance.choice(_CORPUS)
        text = spoiled(chance, text.encode()).decode("utf-8", "replace")
    else:
        kind, tree = chance.choice(_TREES)
        text = json.dumps(spoiled_json(chance, tree))
    try:
        found = codec.loads(kind, text)
    except StoreError as error:
        return _refusal(error)
    assert type(found) is kind
    said = codec.dumps(found)
    assert codec.loads(kind, said) == found
    assert codec.dumps(codec.loads(kind, said)) == said
    # What was taken is all that was said: nothing was dropped on the way in.
    _all_there(json.loads(text), json.loads(said))
    return "taken"


def _refusal(error: StoreError) -> str:
    assert error.message.startswith("cannot read ")
    assert "hunter2" not in f"{error.message} {error.hint}", "a secret is in the message"
    return "refused"


def _all_there(given: Any, kept: Any) -> None:
    if isinstance(given, dict):
        for key, value in given.items():
            _all_there(value, kept[key])
    elif isinstance(given, list):
        assert len(given) == len(kept)
        for one, other in zip(given, kept, strict=True):
            _all_there(one, other)
    elif isinstance(kept, float):
        assert float(given) == kept
    else:
        assert given == kept, f"{given!r} became {kept!r}"


def _copy_in(place: Path) -> Callable[[Random], str]:
    path = place / "state.json"
    content = Content(812, _CORPUS[0][1], {1: ("v1", _CORPUS[3][1]), 7: ("v2", "{}")})
    second.write(path, content)
    whole = path.read_bytes()

    def one(chance: Random) -> str:
        path.write_bytes(spoiled(chance, whole))
        try:
            found = second.read(path)
        except Damaged:
            return "copy refused"
        assert found is not None
        assert found.content in (None, content), "another content than was written"
        return "copy taken"

    return one


def _database_in(place: Path) -> Callable[[Random], str]:
    path = place / "whole/state.db"
    path.parent.mkdir()
    asyncio.run(_filled(path))
    files = {p.name: p.read_bytes() for p in path.parent.iterdir()}

    def one(chance: Random) -> str:
        spot = place / "spoiled"
        shutil.rmtree(spot, ignore_errors=True)
        spot.mkdir()
        for name, raw in files.items():
            (spot / name).write_bytes(raw)
        for name in chance.sample(sorted(files), chance.choice((1, 1, len(files)))):
            (spot / name).write_bytes(spoiled(chance, files[name]))
        return asyncio.run(_opened(spot / "state.db"))

    return one


async def _filled(path: Path) -> None:
    store = await Store.open(path)
    await store.put_snapshot(1, "v1", codec.encode(snapshot()))
    await store.save(full())
    await store.close()


async def _opened(path: Path) -> str:
    try:
        store = await Store.open(path)
    except StoreError:
        return "database refused"
    try:
        found = await store.load_state()
        # Both were spoiled: it begins anew and says so. Else nothing that was saved is missing.
        assert found in (None, full()), "another state than was saved"
        if found is None:
            assert store.damage, "it forgot everything and says nothing"
            return "database lost, and told"
        raw = await store.snapshot(1)
        assert raw == codec.encode(snapshot()), "another snapshot than was saved"
        await store.save(full())
        return "database mended from the copy" if store.damage else "database read"
    except StoreError:
        return "database refused"
    finally:
        await store.close()
