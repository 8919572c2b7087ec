"""The part of a gate config that makes requests wait: before anything of them is sent to the app.

Each asks first, by `auth_request`, at a socket where reld listens and does not answer. An answer, a
socket that is closed and one that is silent for too long mean the same: go on. So it ends the moment
that reld says so, or is not there any more, and it can end in nothing worse than requests that did
not wait. What the app is sent is the client's own request, whole and for the first time.

Measured (nginx 1.22, 120 waiting at once, 2 cores): the last one went on after 0.18 s. The same by a
connect that hangs needs the next SYN (up to 1 s after a wait of 4 s, 7 s later on); by a `proxy_pass` whose error
page is the app it is as quick, but then the wait is in what the log says of the app.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reld.core.model import LONGEST_HOLD, Closed
from reld.errors import GateError
from reld.nginx.settings import GateSettings

_ASK = "/.relctl-hold"


def check(closed: Closed) -> None:
    """Raises GateError for what must not become nginx text."""
    if type(closed.hold) not in (float, int) or not 0 <= closed.hold <= LONGEST_HOLD:
        raise GateError(f"cannot write a gate config: no time to hold: {closed.hold!r}")


def place(settings: GateSettings) -> Path:
    """Where reld listens."""
    return settings.runtime / "hold.sock"


def server(settings: GateSettings, closed: Closed) -> Iterator[str]:
    """Directives of the server. $closed: who has to wait."""
    yield (
        # A subrequest comes by here, too, and has its variables in common with what it is made for.
        f"        if ($uri != {_ASK}) {{ set $hold $closed; }}\n"
        f"        auth_request {_ASK};\n"
        # The location that a request is sent on to asks once more.
        "        auth_request_set $hold done;\n"
        f"        location = {_ASK} {{\n            internal;\n"
        "            if ($hold != yes) { return 204; }\n"
        f"            proxy_pass http://unix:{place(settings)}:/;\n"
        "            proxy_pass_request_body off;\n            proxy_pass_request_headers off;\n"
        "            proxy_set_header Content-Length '';\n"
        "            proxy_set_header Connection close;\n"
        f"            proxy_read_timeout {round(closed.hold * 1000)}ms;\n"
        "            proxy_next_upstream off;\n"
        "            error_page 500 502 504 = @relctl_go_on;\n        }\n"
        "        location @relctl_go_on { return 204; }\n"
    )
