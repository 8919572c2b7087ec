from __future__ import annotations

import pytest

from reld.core.model import Exit
from reld.probes.hints import Seen, classic_hint
from reld.probes.spec import Result


def answered(status: int | None, **more: str) -> Result:
    return Result(status == 200, "", 0.1, status, **more)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen(answered(400), host="www.example.com"), "refuses the host 'www.example.com'"),
        (Seen(answered(403)), "ALLOWED_HOSTS"),
        (Seen(answered(500), log_tail=("DisallowedHost at /",)), "ALLOWED_HOSTS"),
        (Seen(answered(301, location="https://a/ready")), "trust that header"),
        (Seen(answered(308, location="https://a/ready")), "X-Forwarded-Proto"),
        (Seen(answered(302, location="/login")), "it redirects to /login"),
        (Seen(answered(401)), "without a login"),
        (Seen(answered(404)), "readiness.path"),
        (Seen(answered(None), port=21003, elsewhere=(3000,)), "it listens on 3000, not on 21003"),
        (Seen(exit=Exit(code=0), survivors=2), "went to the background"),
        (Seen(exit=Exit(code=0)), "stay in the foreground"),
        (Seen(exit=Exit(code=127)), "a command was not found"),
        (Seen(exit=Exit(code=1), log_tail=("sh: 1: foo: command not found",)), "PATH"),
        (Seen(exit=Exit(code=126)), "chmod +x"),
        (Seen(exit=Exit(code=1), log_tail=("Error: listen EADDRINUSE",)), "{port}"),
        (Seen(exit=Exit(signal=9)), "OOM"),
        (Seen(argv=("/usr/bin/npm", "start"), stop_ignored=True), "npm does not pass the stop"),
        (Seen(argv=("sh", "-c", "serve"), stop_ignored=True), "put `exec` before"),
        (Seen(argv=("bin/serve",), stop_ignored=True), "app.stop_timeout"),
        (Seen(socket="/run/a", elsewhere=(3000,)), "it listens on port 3000, not on /run/a"),
        (Seen(socket="/run/a", log_tail=("Address already in use",)), "each instance on its own"),
        (
            Seen(socket="/run/a", log_tail=("bind: Permission denied",)),
            "at /run/a and nowhere else",
        ),
    ],
)
def test_a_classic_is_recognised(seen, words):
    assert words in classic_hint(seen)


@pytest.mark.parametrize(
    "seen",
    [
        Seen(),
        Seen(answered(503)),
        Seen(answered(200)),
        Seen(exit=Exit(code=1)),
        Seen(exit=Exit()),
        Seen(answered(503), elsewhere=(9100,), port=21003),
        Seen(argv=("npm", "start")),
    ],
)
def test_nothing_is_guessed_where_nothing_is_known(seen):
    assert classic_hint(seen) == ""
