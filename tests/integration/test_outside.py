"""What leaves the machine in a real rollout: messages, metrics, the file for node_exporter."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig import HELD, Rig, wait_for
from tests.scrape import ALERTS, DASHBOARD, names_in, queries, samples, scraped, value

SECRET = "T0-s3cret"
ALL = 'on = ["start", "step", "verdict", "end", "trouble"]'


class Hook:
    """A real server for webhooks. `status`: what it answers."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.signed: list[bool] = []
        self.status = 200
        self.tries = 0
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.tries += 1
                if hook.status == 200:
                    hook.got.append(json.loads(body))
                    wanted = hmac.new(b"key", body, hashlib.sha256).hexdigest()
                    hook.signed.append(self.headers["X-Relctl-Signature"] == f"sha256={wanted}")
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/{SECRET}"

    def events(self, event: str) -> list[dict[str, Any]]:
        return [m for m in list(self.got) if m["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        wait_for(lambda: len(self.events(event)) >= count, 40, lambda: f"{event}: {self.got}")
        return self.events(event)


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(10)


@contextlib.contextmanager
def telling(hook: Hook, tmp_path: Path, **settings: Any) -> Iterator[Rig]:
    secret = tmp_path / "key"
    secret.write_text("key\n")
    secret.chmod(0o600)
    tables = (
        f'[metrics]\ntextfile = "{tmp_path}/relctl-web.prom"\n'
        f'[[notify]]\nurl = "{hook.url}"\nsecret_file = "{secret}"\n{ALL}\n'
    )
    with Rig(tables=tables, **settings) as rig:
        yield rig


def test_a_rollout_is_told_and_measured_from_its_start_to_its_end(hook: Hook, tmp_path: Path):
    with telling(hook, tmp_path) as rig:
        rig.live_v1("v2")
        for _ in range(30):
            assert rig.get()[0] == 200
        wait_for(
            lambda: value(scraped(rig), "reld_requests_total", release="v1") == 30,
            40,
            "v1's requests are not counted",
        )
        assert rig.relctl("switch", "v2").code == 0
        for _ in range(5):
            rig.get()
        wait_for(
            lambda: value(scraped(rig), "reld_requests_total", release="v2") == 5,
            40,
            "v2's requests are not counted",
        )
        page = scraped(rig)
        assert value(page, "reld_requests_total", release="v1") == 30
        assert value(page, "reld_request_first_byte_seconds_count", release="v1") == 30
        assert value(page, "reld_live_info", release="v2", slot="green") == 1
        assert value(page, "reld_rollouts_total", kind="switch", outcome="done") == 2
        assert value(page, "reld_instance_probe_seconds", release="v2") is not None
        assert value(page, "reld_feed_silent") == 0
        _speaks_of_what_is_there(page)
        assert "reld_up" in (tmp_path / "relctl-web.prom").read_text()
        start, end = hook.wait_for("start", 2)[-1], hook.wait_for("end", 2)[-1]
        assert start["text"] == "rollout 2 began: switch from v1 to v2, root"
        assert end["receipt"]["outcome"] == "done"
        assert end["rollout"]["to"] == "v2"
        assert [m["rollout"]["percent"] for m in hook.events("step")] == [5, 50, 100]
        told = [m["event"] for m in hook.got if m["rollout"] and m["rollout"]["id"] == 2]
        assert (told[0], told[-1]) == ("start", "end")
        assert all(hook.signed)
        _has_no_secret(rig)
    assert not (tmp_path / "relctl-web.prom").exists()


def _speaks_of_what_is_there(page: bytes) -> None:
    speaks = names_in(ALERTS.read_text()) | names_in(" ".join(queries(DASHBOARD)))
    told = {line.split()[2] for line in page.decode().splitlines() if line.startswith("# TYPE")}
    assert speaks - told - set(samples(page)) == set()


def _has_no_secret(rig: Rig) -> None:
    asked = (("notify",), ("notify", "--test"), ("status", "--json"), ("audit",), ("history",))
    seen = [rig.relctl(*words).text for words in asked]
    assert "127.0.0.1" in seen[0]
    assert SECRET not in "".join([*seen, rig.reld_log(), scraped(rig).decode()])


def test_a_test_message_says_who_took_it(hook: Hook, tmp_path: Path):
    with telling(hook, tmp_path) as rig:
        good = rig.relctl("notify", "--test", "--json")
        assert (good.code, good.json["targets"][0]["answer"]) == (0, "200 OK")
        assert not good.json["pending"]
        assert hook.wait_for("test")[0]["app"] == "web"
        hook.status = 404
        bad = rig.relctl("notify", "--test")
        assert bad.code == 1
        assert "404 Not Found" in bad.out
        audited = rig.relctl("audit").out
        assert "notify" in audited


def test_nobody_to_tell_is_said_with_what_to_do():
    with Rig() as rig:
        found = rig.relctl("notify", "--test")
        assert found.code == 1
        assert "relctl.toml(5)" in found.err
        assert rig.relctl("notify").code == 0
        with rig.config.open("a") as file:
            file.write('[[notify]]\ncommand = ["/bin/true"]\n')
        found = rig.relctl("notify", "--test")
        assert found.code == 0, found.text
        assert "exit code 0" in found.out
        assert "from the next rollout on" in found.err
        with rig.config.open("a") as file:
            file.write('url = "https://s3cret"\n')
        found = rig.relctl("notify", "--test")
        assert found.code == 8
        assert "has both url and command" in found.err
        assert "s3cret" not in found.err


def test_a_server_that_is_down_delays_nothing_and_the_next_reld_tells_the_end(
    hook: Hook, tmp_path: Path
):
    hook.status = 500
    with telling(hook, tmp_path) as rig:
        rig.live_v1()
        rig.wait_idle()
        wait_for(lambda: hook.tries > 0, 40, "nobody was asked")
        rig.kill_reld(signal.SIGKILL)
        assert hook.got == []
        hook.status = 200
        rig.start_reld()
        (end,) = hook.wait_for("end")
        assert (end["rollout"]["id"], end["receipt"]["outcome"]) == (1, "done")
        wait_for(lambda: '": 1' in (rig.state / "told.json").read_text(), 40, "it is not noted")
        rig.kill_reld(signal.SIGTERM)
        rig.start_reld()
        assert rig.relctl("notify", "--test").code == 0
        assert len(hook.events("end")) == 1


def test_what_dies_again_and_again_is_told(hook: Hook, tmp_path: Path):
    with telling(hook, tmp_path, rest=HELD) as rig:
        rig.live_v1()
        for round_ in range(3):
            (pid,) = rig.pids()
            os.kill(pid, signal.SIGKILL)
            rig.wait_status(
                lambda s, n=round_: any(
                    i["restarts"] == n + 1 and i["state"] == "ready"
                    for slot in s["slots"].values()
                    for i in slot["instances"]
                )
            )
        wait_for(
            lambda: "crash_loop" in {m["what"] for m in hook.events("trouble")},
            40,
            lambda: str(hook.got),
        )
        (told,) = (m for m in hook.events("trouble") if m["what"] == "crash_loop")
        assert told["level"] == "error"
        assert "of v1 dies again and again" in told["text"]
