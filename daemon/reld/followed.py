"""A switch that a link asks for: the same request, the same refusals and the same audit as a person's."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from reld.api.clock import iso
from reld.api.peers import Caller
from reld.api.requests import Options, RolloutRequest
from reld.clock import boottime, offset
from reld.core.following import Link
from reld.core.model import Followed
from reld.errors import RelctlError
from reld.store.rows import AuditRow

Write = Callable[[AuditRow], Awaitable[None]]


class Beginning(Protocol):
    async def begin(
        self, request: RolloutRequest, caller: Caller, follow: Followed | None = None
    ) -> dict[str, Any]: ...


async def begin(service: Beginning, write: Write, link: Link, known: Followed) -> int | None:
    """The number of a rollout that ran for it already, None: it has begun, or there was no need.

    It is asked for by whoever made the link, who cannot approve it where approvers are named.
    Raises RelctlError.
    """
    caller = Caller(link.owner, os.getegid(), os.getpid(), None, f"follow {link.path}")
    options = Options(note=f"{link.path} leads to {link.target}"[:500])
    try:
        answer = await service.begin(
            RolloutRequest("switch", link.release, options), caller, follow=known
        )
    except RelctlError as error:
        await write(_row(caller, link, "refused", error.code, error.message))
        raise
    await write(_row(caller, link, "accepted", rollout=answer.get("id")))
    ran = answer.get("id") if answer.get("attached") else None
    return int(ran) if ran is not None else None


def _row(
    caller: Caller,
    link: Link,
    outcome: str,
    code: str = "",
    told: str = "",
    rollout: int | None = None,
) -> AuditRow:
    return AuditRow(
        time=iso(boottime() + offset()),
        uid=caller.uid,
        name=caller.name,
        login_uid=None,
        login_name="",
        pid=caller.pid,
        command="switch",
        target=link.release,
        arguments=json.dumps({"follow": link.path}, separators=(",", ":")),
        note=f"{link.path} leads to {link.target}"[:500],
        outcome=outcome,
        code=code,
        told=told,
        rollout=rollout,
    )
