"""One method of the real machine for each effect of the core."""

from __future__ import annotations

from reld.core import effects as fx
from reld.core.effects import Effect
from reld.engine import Post
from reld.errors import RelctlError
from reld.host.active import ActiveFiles, keep_active
from reld.host.instances import Instances
from reld.host.probing import Probing
from reld.host.releases import Releases
from reld.host.sensor import Sensor
from reld.host.traffic import Traffic


class Machine:
    """The host that reld runs on."""

    def __init__(
        self,
        instances: Instances,
        probing: Probing,
        releases: Releases,
        traffic: Traffic,
        sensor: Sensor,
        active: ActiveFiles | None = None,
    ) -> None:
        self.instances = instances
        self.probing = probing
        self.releases = releases
        self.traffic = traffic
        self.sensor = sensor
        self.active = active

    async def perform(self, effect: Effect, post: Post) -> None:
        """Raises RelctlError; what the machine refuses (files, memory, disk) is one."""
        try:
            await self._perform(effect, post)
        except OSError as error:
            raise RelctlError(f"the machine refuses: {error}") from error

    async def _perform(self, effect: Effect, post: Post) -> None:
        match effect:
            case fx.Prepare(rollout):
                await self.releases.prepare(rollout, post)
            case fx.Smoke(rollout):
                await self.releases.smoke(rollout, post)
            case fx.RunHook(rollout, name, attempt):
                await self.releases.hook(rollout, name, attempt, post)
            case fx.Spawn(number):
                await self.instances.spawn(number, post)
            case fx.Release(number):
                await self.instances.release(number, post)
            case fx.AwaitExit(number):
                await self.instances.await_exit(number, post)
            case fx.ProveReady(number):
                await self.probing.prove_ready(number, post)
            case fx.CheckReady(number):
                await self.probing.check_ready(number, post)
            case fx.CheckLive(number):
                await self.probing.check_live(number, post)
            case fx.Stop(number):
                await self.instances.stop(number, post)
            case fx.Kill(number):
                await self.instances.kill(number, post)
            case fx.Reload(generation):
                await self.traffic.reload(generation, post)
            case fx.MoveLanes(rollout, share):
                await self.traffic.move_lanes(rollout, share, post)
            case fx.RemoveLanes(rollout, before):
                await self.traffic.remove_lanes(rollout, before, post)
            case fx.CountDrain(rollout, color, since):
                await self.traffic.count_drain(rollout, color, since, post)
            case fx.CloseStreams(rollout, color, _):
                await self.traffic.closer.close(rollout, color, post)
            case fx.Judge(rollout):
                await self.sensor.judge(rollout, post)
            case fx.AskGate(rollout):
                await self.releases.rehearser.ask(rollout, self.traffic.listen, post)
            case fx.AskOld(rollout):
                await self.releases.ask_old(rollout, post)
            case fx.SetShield(rollout, on):
                await self.traffic.set_shield(rollout, post, on=on)
            case fx.SetShadow(rollout, on):
                await self.traffic.set_shadow(rollout, post, on=on)
            case fx.RunUnits(rollout):
                await self.releases.eject.run(rollout, post)
            case fx.RemoveUnits(rollout):
                await self.releases.eject.remove(rollout, post)
            case fx.KeepActive(color):
                await keep_active(self.active, color, post)
            case fx.KeepGate():
                await self.traffic.keep_gate(post)
