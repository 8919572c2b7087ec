"""Releases come and go: unpacked, built and pruned by a process of the app's user, told from here."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from reld import release_place
from reld.api.handed import Over, UnpackRequest
from reld.config import Config
from reld.core.model import State
from reld.core.prune import to_prune
from reld.errors import Busy, LaunchError, Refused
from reld.nginx.settings import tcp_port
from reld.processes.environment import DEFAULT_PATH, MARKER, clean_environment
from reld.processes.run import Ear
from reld.processes.session import attended
from reld.processes.spec import Launcher, LaunchSpec
from reld.processes.tree import Tree, kill_tree, marked
from reld.reading import reading
from reld.release_place import Place, place_of
from reld.snapshot import configured_environment
from reld.unpack import claim

log = logging.getLogger("reld.releases")

WORKER = Path(__file__).parents[1] / "unpack" / "worker.py"
TIDY_TIME = 300.0
"""Seconds for removing releases."""
AGAIN_AFTER = 5.0
TRIES = 12


class Unpacking:
    """`todays` reads the config file as it is now; it raises ConfigError."""

    def __init__(
        self,
        state: Callable[[], State],
        until: Callable[[Callable[[State], bool]], Awaitable[object]],
        config: Callable[[], Config],
        todays: Callable[[], Config],
        launcher: Launcher,
    ) -> None:
        self._state = state
        self._until = until
        self._config = config
        self._todays = todays
        self._launcher = launcher
        self._at_work: set[str] = set()
        self._tidying = asyncio.Lock()

    async def refuse(self, request: UnpackRequest) -> None:
        """Raises Refused, ConfigError."""
        config = await asyncio.to_thread(self._todays)
        await self._refuse(config, request.release)

    async def _refuse(self, config: Config, release: str) -> Place:
        place = place_of(config.app.directory, release)
        if release in self._at_work:
            raise Busy(f"cannot unpack {release}: somebody else is unpacking it", "relctl releases")
        if await reading(_taken, place):
            raise Refused(
                f"cannot unpack {release}: {place.top} is there already, and releases are never changed",
                "give it another name, or remove that one",
            )
        return place

    async def unpack(
        self, request: UnpackRequest, archive: int, talk: int, over: Over
    ) -> dict[str, Any]:
        """Raises Refused, ConfigError, LaunchError."""
        release = request.release
        config = await asyncio.to_thread(self._todays)
        place = await self._refuse(config, release)
        self._at_work.add(release)
        try:
            done = await self._unpack(config, place, release, archive, talk, over)
        finally:
            self._at_work.discard(release)
        await self.prune(config)
        size = f"{done['bytes'] / (1 << 20):.1f} MiB"
        message = f"{release} is at {place.top}: {done['entries']} entries, {size}"
        log.info("%s", message)
        return {"release": release, "directory": place.top, "message": message, **done}

    async def _unpack(
        self, config: Config, place: Place, release: str, archive: int, talk: int, over: Over
    ) -> dict[str, Any]:
        mark = self._mark(f"unpack.{release}")
        for identity in marked(mark):  # a reld that was killed left it running
            await kill_tree(Tree(identity, mark))
        settings = config.releases
        order = {
            "job": "unpack",
            "parent": place.parent,
            "name": place.name,
            "inside": place.inside,
            "release": release,
            "shared_at": place.shared,
            "shared": settings.shared,
            "build": [[word.replace("{release}", release) for word in c] for c in settings.build],
            "most": settings.max_size,
        }
        env = await asyncio.to_thread(_environment, config, release)
        env |= {"RELCTL_APP": self._state().app, MARKER: mark}
        ear = Ear()
        try:
            try:
                ended = await attended(
                    self._spec(config, order, env),
                    (archive, ear.mouth, talk),
                    self._launcher,
                    over,
                    within=settings.unpack_timeout,
                )
            finally:
                ear.listen()
            told = _last_word(ear.heard())
        finally:
            ear.close()
        if isinstance(told.get("done"), dict):
            return dict(told["done"])
        for identity in marked(mark):  # a build whose worker was killed
            await kill_tree(Tree(identity, mark))
        await self.sweep()
        cannot = f"cannot unpack {release}"
        if ended.late:
            limit = f"{settings.unpack_timeout:g} s"
            raise Refused(
                f"{cannot}: it took longer than {limit}", "releases.unpack_timeout in the config"
            )
        if ended.left:
            raise Refused(f"{cannot}: whoever sent it left, or reld stops", "relctl unpack again")
        if "error" in told:
            raise Refused(f"{cannot}: {told['error']}", str(told.get("hint", "")))
        raise Refused(f"{cannot}: what unpacks it ended with {ended.exit}", "look at reld's log")

    async def keep(self) -> None:
        """For ever: what was interrupted goes at the start, what is old after each rollout."""
        for _ in range(TRIES):  # what a killed reld left behind may still be at work
            template = self._config().app.directory
            if not await reading(release_place.interrupted, template):
                break
            await self.sweep()
            await asyncio.sleep(AGAIN_AFTER)
        while True:
            await self._until(lambda state: state.rollout is None)
            await self.prune(self._config())
            await self._until(lambda state: state.rollout is not None)

    async def prune(self, config: Config) -> None:
        """Raises nothing: what cannot be removed now is removed the next time."""
        async with self._tidying:
            template = config.app.directory
            found = await reading(release_place.unpacked, template)
            names = to_prune(found, config.releases.keep, self._state())
            if not names:
                return
            places = [place_of(template, name) for name in names]
            order = {
                "job": "remove",
                "parent": places[0].parent,
                "names": [place.name for place in places],
            }
            if await self._tidy(order):
                log.info("pruned %s", ", ".join(names))

    async def sweep(self) -> None:
        """Removes what was interrupted. Raises nothing."""
        place = place_of(self._config().app.directory, "x")
        await self._tidy({"job": "sweep", "parent": place.parent})

    async def _tidy(self, order: Mapping[str, Any]) -> bool:
        config = self._config()
        env = {"PATH": DEFAULT_PATH, **clean_environment(os.environ)}
        spec = self._spec(config, order, env)
        try:
            with open(os.devnull, "r+b") as nothing:
                silent = nothing.fileno()
                ended = await attended(
                    spec, (silent, silent, silent), self._launcher, lambda: False, within=TIDY_TIME
                )
        except LaunchError as error:
            log.warning("cannot tidy up releases: %s", error.message)
            return False
        if ended.exit.code != 0:
            log.warning("cannot tidy up releases: %s", ended.exit)
        return ended.exit.code == 0

    def _spec(self, config: Config, order: Mapping[str, Any], env: dict[str, str]) -> LaunchSpec:
        argv = (sys.executable, "-I", "-S", str(WORKER), json.dumps(order))
        place = place_of(config.app.directory, "x")
        return LaunchSpec(
            argv,
            Path("/"),
            env,
            config.app.user,
            Path(os.devnull),
            writable=(place.parent, place.shared),
        )

    def _mark(self, what: str) -> str:
        # The port tells two relds apart that look after apps of one name.
        port = tcp_port(self._config().gate.listen)
        return f"{self._state().app}.{self._state().boot[:8]}.{port}.{what}"


def _environment(config: Config, release: str) -> dict[str, str]:
    """What builds see: all that a hook of this release would. Raises PrepareError."""
    return {
        "PATH": DEFAULT_PATH,
        **clean_environment(os.environ),
        **dict(configured_environment(config)),
        "RELCTL_RELEASE": release,
    }


def _taken(place: Place) -> bool:
    """What an unpack left that was killed is nothing that anybody has; the next removes it."""
    return os.path.lexists(place.top) and claim.left(place.parent, place.name) is None


def _last_word(said: str) -> dict[str, Any]:
    try:
        told = json.loads(said.rstrip().rpartition("\n")[2])
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
