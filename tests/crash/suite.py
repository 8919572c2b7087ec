"""A rig under load in which reld is killed again and again, one rollout after the other.

with Stage() as stage:
    stage.killed_at(Case("after:reload", SWITCH, "before:persist"))
"""

from __future__ import annotations

import contextlib
import http.client
import random
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.crash.account import PATIENCE, Account, Told, at_rest
from tests.crash.clients import FEW, Clients
from tests.load.load import Mix
from tests.rig import Rig, fast

QUICK = fast(steps=[50, 100], step_time="300ms", bake="300ms", drain="200ms", drain_max="3s")
TABLES = """
[liveness]
path = "/live"
interval = "300ms"
[[smoke]]
name = "front"
path = "/"
[hooks]
before_start = ["/bin/true"]
after_switch = ["/bin/true"]
on_rollback = ["/bin/true"]
"""
READINESS = 'path = "/ready"\ninterval = "50ms"\ndeadline = "30s"\n'
HELD = {"steps": [50, 100], "step_time": 600, "step_max": 1200}


@dataclass(frozen=True)
class Scenario:
    """What people ask for, and when the failpoint is armed."""

    name: str
    kind: str = "switch"
    options: dict[str, Any] = field(default_factory=dict)
    instant: bool = False
    """A switch is turned back in the middle; the failpoint is armed just before that is said."""
    armed_in: str = ""
    """Phase; "" = before the command."""
    killed_in: str = ""
    """Phase in which reld is killed: the next one is to reach the point."""
    trouble: Callable[[Stage], None] | None = None
    """What happens to the app in `armed_in`."""
    over: Callable[[Stage], None] | None = None
    """Ends the trouble."""
    outcomes: tuple[str, ...] = ("done",)
    mix: Mix | None = None
    """Other clients than usual."""


@dataclass(frozen=True)
class Case:
    """`again`: where the reld that comes back is killed once more; "" = it is not."""

    point: str
    scenario: Scenario
    again: str = ""

    def __str__(self) -> str:
        return f"{self.scenario.name}: {self.point}" + (f", {self.again}" if self.again else "")


class Stage:
    """A rig and its clients. A case that fails leaves it `broken`."""

    def __init__(
        self, mix: Mix = FEW, knobs: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        chosen: dict[str, Any] = {"rest": QUICK, "tables": TABLES, "readiness": READINESS}
        self.rig = Rig(**(chosen | settings))
        self._mix, self._knobs = mix, knobs or {}
        self._point = self.rig.home / "failpoint"
        self.last = 0
        self.broken = False

    def __enter__(self) -> Self:
        rig = self.rig
        try:
            self.start()
            for name in ("v1", "v2"):
                rig.release(name, **self._knobs)
            self.last = self.asked({"kind": "switch", "release": "v1"})["id"]
            at_rest(rig)
            self.clients = Clients(rig.listen, self._mix)
            self.clients.__enter__()
            self.clients.wait_for(20)
        except BaseException as error:
            rig.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.clients.__exit__(kind, error, trace)
        finally:
            self.rig.__exit__(kind, error, trace)

    # reld and its failpoint

    def start(self) -> None:
        self.rig.start_reld(f"@{self._point}")

    def begin(self) -> None:
        """It may never answer."""
        self.rig.begin_reld(f"@{self._point}")

    def arm(self, point: str) -> None:
        made = self._point.with_suffix(".new")
        made.write_text(point)
        made.rename(self._point)

    def disarm(self) -> None:
        self._point.unlink(missing_ok=True)

    def dies(self, point: str) -> None:
        """reld reaches the point that is armed."""
        reld = self.rig.reld
        assert reld is not None
        try:
            code = reld.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            log = self.rig.reld_log()[-4000:]
            raise AssertionError(f"{point} is never reached: {self.rig.status()}\n{log}") from None
        assert code == -9, f"reld ended with {code}\n{self.rig.reld_log()[-4000:]}"

    # what people ask for

    def asked(self, body: dict[str, Any]) -> dict[str, Any]:
        code, told = self.rig.ask("POST", "/v1/rollouts", body)
        assert code in (200, 202), told
        return dict(told)

    def promised(self, body: dict[str, Any]) -> int | None:
        """The id; None: reld died before it answered."""
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return int(self.asked(body)["id"])
        return None

    def account(self) -> Account:
        account = Account(self.rig, self.clients, self.last + 1)
        account.new = "v2" if self.rig.status()["release"] == "v1" else "v1"
        return account

    def ask_for(self, account: Account, scenario: Scenario) -> None:
        release = account.new if scenario.kind == "switch" else None
        options = HELD if scenario.instant else scenario.options
        body = {"kind": scenario.kind, "release": release, "options": options}
        account.promised = self.promised(body)

    def plain_switch(self) -> dict[str, Any]:
        """Without any fault; the receipt."""
        account = self.account()
        self.ask_for(account, Scenario("plain"))
        assert account.promised is not None
        told = account.over()
        assert told.outcome == "done", told
        self.last = account.promised
        return told.receipt

    def with_a_way_back(self) -> None:
        """What is live came by a switch, and what was live before it is known to be good."""
        last = self.rig.receipt(self.last)
        if (last["kind"], last["outcome"]) != ("switch", "done") or not last["from"]:
            self.plain_switch()

    # cases

    def killed_at(self, case: Case) -> Told:
        """Raises AssertionError."""
        return self.ended(lambda: self._killed_at(case))

    def killed_some_time(self, kind: str, moments: random.Random) -> Told:
        """`kind`: switch, turn back, rollback. Raises AssertionError."""
        return self.ended(lambda: self._killed_some_time(kind, moments))

    def ended(self, case: Callable[[], Told]) -> Told:
        """Notes which rollout was the last one, or that something is broken."""
        try:
            told = case()
        except BaseException:
            self.broken = True
            raise
        self.last = told.receipt.get("id", self.last)
        return told

    def _killed_at(self, case: Case) -> Told:
        scenario, rig = case.scenario, self.rig
        if scenario.kind == "rollback":
            self.with_a_way_back()
        account = self.account()
        phase = scenario.armed_in or scenario.killed_in
        if not phase and not scenario.instant:
            self.arm(case.point)
        self.ask_for(account, scenario)
        back = None
        if scenario.instant:
            rig.wait_share(50, PATIENCE)
            self.clients.wait_for(10)
            self.arm(case.point)
            back = self.promised({"kind": "rollback"})
        elif phase:
            rig.wait_phase(phase, PATIENCE)
            if scenario.killed_in:
                rig.kill_reld()
                account.died()
            if scenario.trouble is not None:
                scenario.trouble(self)
            self.arm(case.point)
            if scenario.killed_in:
                self.begin()
        self.dies(case.point)
        account.died()
        if case.again:
            self.arm(case.again)
            self.begin()
            self.dies(case.again)
            account.died()
        self.disarm()
        self.start()
        account.back()
        if scenario.over is not None:
            scenario.over(self)
        if scenario.instant:
            self._still_turned_back(back)
        return account.over(scenario.outcomes)

    def _still_turned_back(self, promised: int | None) -> None:
        """A rollback that was lost with reld, and that nobody was promised, is said again."""
        running = self.rig.status()["rollout"]
        if running is not None and running["phase"] in ("shifting", "baking"):
            assert promised is None, f"a rollback that was promised is forgotten: {running}"
            assert self.promised({"kind": "rollback"}) is not None

    def _killed_some_time(self, kind: str, moments: random.Random) -> Told:
        if kind == "rollback":
            self.with_a_way_back()
        account = self.account()
        turned = kind == "turn back"
        self.ask_for(account, Scenario(kind, "switch" if turned else kind, instant=turned))
        back = None
        if turned:
            self.rig.wait_share(50, PATIENCE)
            self.clients.wait_for(10)
            back = self.promised({"kind": "rollback"})
        time.sleep(moments.uniform(0.0, 1.2 if turned else 2.5))
        self.rig.kill_reld()
        account.died()
        if moments.random() < 0.5:
            self.begin()
            time.sleep(moments.uniform(0.2, 1.5))
            self.rig.kill_reld()
            account.died()
        self.start()
        account.back()
        if turned:
            self._still_turned_back(back)
        return account.over(("rolled_back",) if turned else ("done",))


class Stages:
    """As many as there are users at a time; who fails gets another one, so that one failure is one."""

    def __init__(self, mix: Mix = FEW, **settings: Any) -> None:
        self._mix, self._settings = mix, settings
        self._free: list[tuple[Mix, Stage]] = []
        self._lock = threading.Lock()

    def killed_at(self, case: Case) -> Told:
        return self.do(lambda stage: stage.killed_at(case), case.scenario.mix)

    def do(self, what: Callable[[Stage], Told], mix: Mix | None = None) -> Told:
        mix = mix or self._mix
        with self._lock:
            found = next((one for one in self._free if one[0] == mix), None)
            if found is not None:
                self._free.remove(found)
        stage = Stage(mix, **self._settings).__enter__() if found is None else found[1]
        try:
            return what(stage)
        finally:
            if stage.broken:
                stage.__exit__(None, None, None)
            else:
                with self._lock:
                    self._free.append((mix, stage))

    def close(self) -> None:
        """After all that each of them can still switch. Raises AssertionError."""

        def ended(stage: Stage) -> None:
            try:
                stage.plain_switch()
            finally:
                stage.__exit__(None, None, None)

        with ThreadPoolExecutor(len(self._free) + 1) as pool:
            for done in [pool.submit(ended, stage) for _, stage in self._free]:
                done.result()
