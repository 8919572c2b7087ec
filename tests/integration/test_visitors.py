"""The visitors count every request as its user saw it, and the knobs of a bad release do what they say."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.apps.running import App, knobs_app
from tests.load.visitors import Seen, Visitors
from tests.site.site import free_ports


def visited(app: App, requests: int = 300, **settings: Any) -> Seen:
    with Visitors(app.port, **{"rate": 600.0} | settings) as visitors:
        visitors.wait_for(requests)
        return visitors.end()


def statuses(seen: Seen, method: str) -> set[int]:
    return {visit.status for visit in seen.visits if visit.method == method}


def test_visitors_come_at_their_rate_and_know_who_answered() -> None:
    with knobs_app("v7") as app, Visitors(app.port, rate=200.0) as visitors:
        visitors.wait_for(1)
        before, began = visitors.ended(), time.monotonic()
        visitors.wait_for(400)
        rate = (visitors.ended() - before) / (time.monotonic() - began)
        seen = visitors.end()
        assert 120 <= rate <= 280
        assert (seen.failed, seen.by_release()) == ([], Counter(v7=len(seen.visits)))
        assert app.get("/")["requests"] == len(seen.visits) + 1


def test_only_reads_or_only_writes_fail_when_the_knob_says_so() -> None:
    with knobs_app(get_error_rate=1.0) as app:
        seen = visited(app)
        assert (statuses(seen, "GET"), statuses(seen, "POST")) == ({500}, {200})
        app.turn(get_error_rate=0.0, post_error_rate=1.0)
        seen = visited(app)
        assert (statuses(seen, "GET"), statuses(seen, "POST")) == ({200}, {500})
        assert len(seen.failed) == seen.by_release(errors=True)["v1"] > 100


def test_a_refusal_is_no_failure() -> None:
    with knobs_app(refuse_rate=1.0) as app:
        seen = visited(app)
        assert {visit.status for visit in seen.visits} == {422}
        assert seen.failed == []


def test_the_slow_tail_is_as_long_as_the_knobs_say() -> None:
    with knobs_app(slow_rate=0.2, slow_seconds=0.5) as app:
        seen = visited(app)
        slow = [visit for visit in seen.visits if visit.took >= 0.5]
        assert 0.08 <= len(slow) / len(seen.visits) <= 0.4


def test_an_outage_lasts_as_long_as_its_file_is_there_and_spares_readiness(tmp_path: Path) -> None:
    outage = tmp_path / "outage"
    with knobs_app(outage_file=str(outage)) as app:
        assert visited(app).failed == []
        outage.touch()
        seen = visited(app)
        assert len(seen.failed) == len(seen.visits)
        assert app.get("/ready")["ready"]
        outage.unlink()
        assert visited(app).failed == []


def test_what_is_refused_cut_off_or_never_answered_is_a_failure() -> None:
    with hangs_up() as port, Visitors(port, rate=200.0) as visitors:
        visitors.wait_for(20)
        assert {v.why.split(":")[0][:5] for v in visitors.end().failed} <= {"eof a", "reset"}
    with Visitors(free_ports(1)[0], rate=200.0) as visitors:
        visitors.wait_for(20)
        seen = visitors.end()
        assert len(seen.failed) == len(seen.visits)
    with knobs_app(hang_rate=1.0) as app:
        seen = visited(app, 20, rate=100.0, timeout=0.3)
        assert {visit.why for visit in seen.visits} == {"timeout"}


@contextlib.contextmanager
def hangs_up() -> Iterator[int]:
    """A server that closes in the middle of an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(4096)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
