"""Both savers, and how to make each of them fail."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from reld.core.model import Rollout, State
from reld.saver import StateSaver
from reld.store.database import Store
from tests.sim.world import SimDisk, World


class Disk(ABC):
    """An engine.Saver, what a reld that comes back reads from it, and its bad day."""

    @abstractmethod
    def save(self, state: State, *ended: Rollout) -> None:
        """Raises StoreError."""

    @abstractmethod
    def kept(self) -> tuple[State | None, list[int]]:
        """After a restart: the state, and the rollouts that there are receipts of."""

    @abstractmethod
    def broken(self) -> contextlib.AbstractContextManager[None]: ...

    @abstractmethod
    def close(self) -> None: ...


class SimulatedDisk(Disk):
    def __init__(self) -> None:
        self.world = World(7)
        self.world.kill_reld()
        self.saver = SimDisk(self.world)

    def save(self, state: State, *ended: Rollout) -> None:
        self.world.loop.run_until_complete(self.saver.save(state, ended))

    def kept(self) -> tuple[State | None, list[int]]:
        return self.world.disk, sorted(self.world.receipts)

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        self.world.faults.disk_fails = 1.0
        yield
        self.world.faults.disk_fails = 0.0

    def close(self) -> None:
        self.world.close()


class RealDisk(Disk):
    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="relctl-disk-"))
        self.runner = asyncio.Runner()
        self._open()

    def _open(self) -> None:
        self.store = self.runner.run(Store.open(self.home / "state.db"))
        self.saver = StateSaver(self.store, self.home, {})

    def save(self, state: State, *ended: Rollout) -> None:
        self.runner.run(self.saver.save(state, ended))

    def kept(self) -> tuple[State | None, list[int]]:
        self.runner.run(self.store.close())
        self._open()
        told = self.runner.run(self.store.rollouts(10))
        return self.runner.run(self.store.load_state()), sorted(r["id"] for r in told)

    @contextlib.contextmanager
    def broken(self) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # no write succeeds
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def close(self) -> None:
        self.runner.run(self.store.close())
        self.runner.close()
        shutil.rmtree(self.home)
