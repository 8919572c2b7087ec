"""What is done with descriptors that clients hand over: see `api.handed`."""

from __future__ import annotations

from typing import Any

from reld.api.handed import Over, RunRequest, UnpackRequest
from reld.host.running import Commands
from reld.host.unpacking import Unpacking


class Hands:
    """Implements api.handed.Hands."""

    def __init__(self, unpacking: Unpacking, commands: Commands) -> None:
        self._unpacking = unpacking
        self._commands = commands

    async def refuse_unpack(self, request: UnpackRequest) -> None:
        await self._unpacking.refuse(request)

    async def unpack(
        self, request: UnpackRequest, archive: int, talk: int, over: Over
    ) -> dict[str, Any]:
        return await self._unpacking.unpack(request, archive, talk, over)

    async def refuse_run(self, request: RunRequest) -> None:
        await self._commands.refuse(request)

    async def run(
        self, request: RunRequest, streams: tuple[int, int, int], over: Over
    ) -> dict[str, Any]:
        return await self._commands.run(request, streams, over)
