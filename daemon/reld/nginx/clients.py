"""`split = "client"`: a cookie of the gate's own says who is who, in all states of the gate.

A client keeps its lane for the whole of a rollout, so that it only moves forward, or back at a
revert; and inside a slot it keeps its instance. Which one is worked out here, by rendezvous hashing
(every address has a score for every bucket of clients, and the highest one has it): when an instance
leaves, its clients alone move, and they come back to it when it does.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache

from reld.core.model import Routing, Target
from reld.nginx.settings import GateSettings

BUCKETS = 1000
"""So many that four instances have a quarter each, give or take a twentieth of it."""
_MOST_KNOWN = 512
_AGE = 30 * 86_400
_NAME = '"~^[0-9a-f]{32}$"'


def cookie_name(app: str) -> str:
    """The cookie; nginx has no variable for a cookie with a hyphen in its name."""
    return f"relctl_{app.replace('-', '_')}"


def in_use(settings: GateSettings, routing: Routing) -> bool:
    """The gate tells clients apart."""
    return settings.split == "client" and routing.default is not None


def maps(settings: GateSettings) -> str:
    """Directives of the http level: $client, and $client_cookie for whoever has none.

    The cookie is a random name, not a lane: each rollout deals its users anew, so the same people are
    not the first to meet every release. One answer in 64 says it again, so that whoever comes back
    within its life never gets another one, not in the middle of a rollout either.
    """
    cookie = cookie_name(settings.app)
    return (
        f"    map $cookie_{cookie} $client {{ {_NAME} $cookie_{cookie}; default $request_id; }}\n"
        "    map $request_id $again { \"~^(?:00|40|80|c0)\" $client; default ''; }\n"
        f"    map $cookie_{cookie} $client_named {{ {_NAME} $again; default $request_id; }}\n"
        "    map $http_x_forwarded_proto $cookie_secure { https '; Secure'; default ''; }\n"
        "    map $client_named $client_cookie { '' '';"
        f' default "{cookie}=$client_named; Path=/; Max-Age={_AGE}; HttpOnly; SameSite=Lax'
        '$cookie_secure"; }\n'
    )


def pick(target: Target) -> Iterator[str]:
    """The instance of each client, as $pick_COLOR."""
    # Another seed than the lanes', else lane and instance would go together.
    yield f'    split_clients "$client:instance" $pick_{target.color} {{\n'
    runs = [(index, len(list(run))) for index, run in itertools.groupby(dealt(target.addresses))]
    for index, length in runs[:-1]:
        yield f"        {length * 100 / BUCKETS:.2f}% {index};\n"
    yield f"        * {runs[-1][0]};\n    }}\n"


def dealt(addresses: Sequence[str]) -> tuple[int, ...]:
    """For each bucket the index of its address."""
    of_each_bucket = zip(*map(_scores, addresses), strict=True)
    return tuple(scores.index(max(scores)) for scores in of_each_bucket)


@lru_cache(maxsize=_MOST_KNOWN)
def _scores(address: str) -> tuple[bytes, ...]:
    return tuple(
        hashlib.blake2b(f"{bucket} {address}".encode(), digest_size=8).digest()
        for bucket in range(BUCKETS)
    )
