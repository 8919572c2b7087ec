"""The body of POST /v1/plan: that of a switch, which nobody begins."""

from __future__ import annotations

from typing import Any

from reld.api.requests import RolloutRequest, known_object, rollout_request
from reld.core.model import Kind
from reld.errors import BadRequest


def plan_request(body: Any) -> RolloutRequest:
    """Raises BadRequest, as for the switch itself."""
    fields = known_object(body, "the request", ("kind", "release", "options"))
    if fields.get("kind", Kind.SWITCH) != Kind.SWITCH:
        raise BadRequest("cannot plan that: only a switch is planned", "relctl plan RELEASE")
    return rollout_request({**fields, "kind": str(Kind.SWITCH)})
