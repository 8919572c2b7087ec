"""The part of a gate config that knows a rehearsal's own requests, while it runs.

They have a header that nobody can guess, which no app ever sees (`unchanged`). In the log they have a
route of their own, so that they are told from users' requests; and where the rehearsal wants it the
gate answers those that come to the candidate with a 500 in its place, with a line as if it had.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from reld.core.model import OWN_ROUTE, Routing
from reld.errors import GateError
from reld.nginx.request_log import FILE
from reld.nginx.settings import GateSettings

FAILED = "failed as it was told to"
"""What the header of the same name says in such an answer."""
_KIND = "failing"
_TOKEN = re.compile(r"[0-9a-f]{16,64}")


def check(routing: Routing) -> None:
    """Raises GateError for what must not become nginx text."""
    marked = routing.rehearsal
    if marked is not None and not _TOKEN.fullmatch(marked.token):
        raise GateError("cannot write a gate config: no token of a rehearsal")


def in_use(routing: Routing) -> bool:
    return routing.rehearsal is not None and routing.candidate is not None


def maps(settings: GateSettings, generation: int, routing: Routing) -> Iterator[str]:
    """Directives of the http level."""
    marked, candidate = routing.rehearsal, routing.candidate
    if marked is None or candidate is None:
        return
    yield (
        f"    map $http_x_relctl_rehearsal $rehearsed {{ default ''; \"~^{marked.token}$\" 1; }}\n"
        f"    map $rehearsed $rehearsal_route {{ default $relctl_route; 1 {OWN_ROUTE}; }}\n"
    )
    if not marked.fails:
        return
    client = "$client" if settings.split == "client" else "-"
    yield (
        '    map "$slot|$rehearsed" $rehearsal_way'
        f" {{ default $kind; {candidate.color}|1 {_KIND}; }}\n"
        # Nobody was asked: the candidate's address is said, as it would be if it had been.
        f"    log_format relctl_{_KIND} '$msec|$request_time|-|{client}|{candidate.addresses[0]}"
        f"|500|500|$request_method|$kind|-|{routing.rollout}|{generation}|$rehearsal_route';\n"
    )


def way(routing: Routing) -> str:
    """The variable that names the way into a slot; empty = the usual one."""
    marked = routing.rehearsal
    return "$rehearsal_way" if in_use(routing) and marked is not None and marked.fails else ""


def location(settings: GateSettings, routing: Routing) -> str:
    """Of the server that users meet: what fails in the candidate's place."""
    if not way(routing) or routing.candidate is None:
        return ""
    return (
        f"        location @{routing.candidate.color}_{_KIND} {{\n"
        f"            access_log {settings.request_log} relctl_{_KIND} {FILE};\n"
        f'            add_header X-Relctl-Rehearsal "{FAILED}" always;\n'
        f'            default_type text/plain;\n            return 500 "{FAILED}\\n";\n        }}\n'
    )
