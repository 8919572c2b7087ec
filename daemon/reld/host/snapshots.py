"""Snapshots by the id of the rollout that took them: in the store, and the used ones in memory."""

from __future__ import annotations

from dataclasses import replace

from reld.config import Config
from reld.errors import StoreError
from reld.probes.spec import HttpProbe, Probe, TcpProbe
from reld.snapshot import Snapshot
from reld.store.codec import decode, encode
from reld.store.database import Store


class Snapshots:
    """`config` is today's; it serves new rollouts only."""

    def __init__(self, store: Store, config: Config) -> None:
        self.config = config
        self._store = store
        self._known: dict[int, Snapshot] = {}

    async def get(self, number: int) -> Snapshot:
        """Raises StoreError where it is lost."""
        if number not in self._known:
            raw = await self._store.snapshot(number)
            if raw is None:
                raise StoreError(f"the snapshot of rollout {number} is lost")
            self._known[number] = decode(Snapshot, raw)
        return self._known[number]

    def known(self, number: int) -> Snapshot | None:
        """Without asking the disk."""
        return self._known.get(number)

    async def put(self, number: int, snapshot: Snapshot) -> None:
        await self._store.put_snapshot(number, snapshot.release, encode(snapshot))
        self._known[number] = snapshot

    async def copy(self, source: int, number: int) -> Snapshot:
        """A rollback starts what the old snapshot says, under its own id."""
        snapshot = replace(await self.get(source))
        await self.put(number, snapshot)
        return snapshot

    async def keep(self, numbers: set[int]) -> None:
        """Forget all others."""
        for number in self._known.keys() - numbers:
            del self._known[number]
        await self._store.drop_snapshots(numbers)

    def external_probe(self) -> Probe:
        """The app that runs today is asked what today's config asks."""
        ready = self.config.readiness
        if ready.path is not None:
            return HttpProbe(ready.path, host=self.config.app.host, timeout=ready.timeout)
        return TcpProbe(ready.timeout)


class TodaysAccess:
    """[access] as the newest config has it: who may approve a rollout is read with the rollout."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    @property
    def operators(self) -> tuple[str, ...]:
        return self._snapshots.config.access.operators

    @property
    def viewers(self) -> tuple[str, ...]:
        return self._snapshots.config.access.viewers

    @property
    def approvers(self) -> tuple[str, ...]:
        return self._snapshots.config.access.approvers
