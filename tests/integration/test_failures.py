"""Releases that are bad in all the classic ways: refused with words, and v1 serves all the time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.rig import Answer, Rig, fast

QUICK = 'path = "/ready"\ndeadline = "1500ms"\n'


def refused(rig: Rig, answer: Answer, *words: str) -> None:
    """Exit 1, it says so, v1 serves, nothing else runs."""
    assert answer.code == 1, answer.text
    for word in words:
        assert word in answer.text, f"{word!r} is not in:\n{answer.text}"
    assert "Traceback" not in answer.text
    serves_v1_only(rig)


def serves_v1_only(rig: Rig) -> None:
    shown = rig.status()
    assert (shown["release"], shown["rollout"], shown["degraded"]) == ("v1", None, None), shown
    assert json.loads(rig.get("/")[1])["release"] == "v1"
    assert rig.leftovers() == rig.pids(), shown


def test_a_release_that_is_never_ready_is_refused_with_everything_that_helps() -> None:
    with Rig(readiness=QUICK) as rig:
        rig.live_v1()
        rig.release("v2", never_ready=True)
        answer = rig.relctl("switch", "v2")
        refused(rig, answer, "not ready after 1.5 s", "503", "ready: false", "v2 listens on")
        assert "once it is mended: relctl switch v2" in answer.out
        assert rig.relctl("status").out.endswith("next: relctl switch RELEASE · relctl history\n")
        again = rig.relctl("switch", "v2", "--json")
        assert again.code == 1
        assert again.json["outcome"] == "failed"
        assert again.json["moved"] is False
        assert any("v2 listens on" in line for line in again.json["evidence"]["log"])


def test_a_release_that_refuses_the_host_gets_the_hint_for_it() -> None:
    with Rig(readiness=QUICK) as rig:
        rig.live_v1("v2")
        rig.edit('path = "/ready"', 'path = "/status/400"')
        refused(rig, rig.relctl("switch", "v2"), "400", "hint:", "ALLOWED_HOSTS")


def test_a_crash_at_boot_is_told_with_its_exit_code_and_its_last_words() -> None:
    with Rig() as rig:
        rig.live_v1()
        rig.release("v2", crash_at_boot=7)
        refused(rig, rig.relctl("switch", "v2"), "exit code 7", "cannot start: knob crash_at_boot")


def test_a_crash_while_it_gets_ready_is_told_at_once() -> None:
    with Rig() as rig:
        rig.live_v1()
        rig.release("v2", ready_after=30, crash_after_seconds=0.3, crash_code=9)
        began = time.monotonic()
        refused(rig, rig.relctl("switch", "v2"), "exit code 9", "v2 listens on")
        assert time.monotonic() - began < 4


def test_a_crash_at_half_of_the_traffic_goes_back_and_no_reader_sees_it() -> None:
    with Rig(rest=fast(steps=[50, 100], step_time="10s")) as rig:
        rig.live_v1()
        rig.release("v2", crash_after_requests=40, crash_code=5)
        with readers(rig) as failed:
            answer = rig.relctl("switch", "v2")
        assert answer.code == 3, answer.text
        assert "exit code 5" in answer.text
        assert failed == []
        serves_v1_only(rig)


def test_a_failed_smoke_check_is_told_before_any_user_sees_the_release() -> None:
    smoke = '[[smoke]]\nname = "login"\nmethod = "POST"\npath = "/login"\nbody = "user=probe"\n'
    with Rig(tables=smoke) as rig:
        rig.live_v1()
        rig.release("v2", login_fails=True)
        refused(rig, rig.relctl("switch", "v2"), "smoke check failed", "login", "500")


def test_a_command_that_is_not_there_is_told_with_the_path_that_was_searched() -> None:
    with Rig() as rig:
        rig.live_v1("v2")
        rig.edit('"/usr/bin/python3"', '"no-such-python"')
        refused(
            rig,
            rig.relctl("switch", "v2"),
            "no-such-python",
            "PATH=",
            "/usr/bin",
            "could not be started",
        )


def test_a_release_without_a_directory_is_told_where_it_should_be() -> None:
    with Rig() as rig:
        rig.live_v1()
        answer = rig.relctl("switch", "v9")
        refused(rig, answer, "v9", str(rig.releases / "v9"))


def test_a_port_that_somebody_else_took_is_no_ready_release() -> None:
    with Rig() as rig:
        rig.live_v1()
        rig.release("v2", boot_delay=0.8)
        switch = rig.relctl_begun("switch", "v2")
        shown = rig.wait_status(
            lambda s: [i["state"] for i in s["slots"]["green"]["instances"]] == ["starting"]
        )
        with impostor(shown["slots"]["green"]["instances"][0]["port"]):
            out, err = switch.communicate(timeout=30)
        refused(rig, Answer(switch.returncode, out, err), "already in use", "{port}")


def test_a_name_that_cannot_be_a_release_is_a_usage_error() -> None:
    with Rig() as rig:
        for name in ("../x", "a b", "", "..", "x/y", "é", "a" * 65):
            answer = rig.relctl("switch", "--", name)
            assert answer.code == 2, answer.text
            code, told = rig.ask("POST", "/v1/rollouts", {"kind": "switch", "release": name})
            assert (code, told["error"]["exit"]) == (400, 2), told
        assert rig.relctl("rollback", "../x").code == 2


def test_an_app_on_another_port_gets_the_hint_for_it() -> None:
    with Rig(readiness=QUICK) as rig:
        rig.live_v1()
        rig.release("v2", listen_other_port=True)
        refused(rig, rig.relctl("switch", "v2"), "hint: it listens on", "{port}")


def test_an_app_that_goes_to_the_background_is_told_so_and_is_ended() -> None:
    with Rig() as rig:
        rig.live_v1()
        rig.release("v2", daemonise=True)
        refused(rig, rig.relctl("switch", "v2"), "the command went to the background")


def test_an_app_that_ignores_the_stop_signal_goes_with_all_its_children() -> None:
    with Rig(app='stop_timeout = "700ms"') as rig:
        rig.live_v1("v2", ignore_sigterm=True, children=3)
        assert len(rig.leftovers()) == 4
        answer = rig.relctl("switch", "v2")
        assert answer.code == 0, answer.text
        assert rig.leftovers() == rig.pids()
        stopping = next(p for p in answer_receipt(rig)["phases"] if p["phase"] == "stopping")
        assert 0.7 <= stopping["seconds"] < 4


def test_the_last_slow_request_is_finished_in_the_drain() -> None:
    with Rig(rest=fast(steps=[100], bake="0s", drain="100ms", drain_max="20s")) as rig:
        rig.live_v1("v2")
        answers: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: answers.append(rig.get("/slow?seconds=2.5")))
        asking.start()
        time.sleep(0.1)
        answer = rig.relctl("switch", "v2")
        asking.join(10)
        assert answer.code == 0, answer.text
        assert answers[0][0] == 200
        assert json.loads(answers[0][1])["release"] == "v1"
        assert answer_receipt(rig)["drain"]["cut"] == 0
        assert answer_receipt(rig)["drain"]["seconds"] > 0.5


def test_a_request_that_is_too_slow_for_the_drain_is_cut_and_counted() -> None:
    rest = fast(steps=[100], bake="0s", drain="100ms", drain_max="500ms")
    with Rig(rest=rest, app='stop_timeout = "300ms"') as rig:
        rig.live_v1("v2")
        answers: list[tuple[int, bytes]] = []
        asking = threading.Thread(target=lambda: answers.append(rig.get("/slow?seconds=20")))
        asking.start()
        time.sleep(0.1)
        answer = rig.relctl("switch", "v2", "--json")
        asking.join(10)
        assert answer.code == 0, answer.text
        assert answer.json["drain"]["cut"] == 1
        assert rig.leftovers() == rig.pids()


def answer_receipt(rig: Rig) -> dict[str, Any]:
    return rig.receipt(2)


@contextmanager
def readers(rig: Rig, count: int = 4) -> Iterator[list[str]]:
    """Clients that GET without a pause; what they complain about."""
    failed: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                status, body = rig.get("/")
                if status != 200:
                    failed.append(f"{status} {body!r}")
            except OSError as error:
                failed.append(repr(error))
            time.sleep(0.01)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield failed
    finally:
        stop.set()
        for thread in threads:
            thread.join(15)


@contextmanager
def impostor(port: int) -> Iterator[None]:
    """Somebody else's server on that port, always ready."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Ready)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_gate_whose_port_is_somebody_elses_is_told_and_starts_when_it_is_free() -> None:
    rig = Rig()
    try:
        with impostor(rig.listen):
            rig.start_reld()
            shown = rig.wait_status(lambda s: s["degraded"], within=10)
            assert str(rig.listen) in shown["degraded"], shown
            assert rig.relctl("status", "--check").code == 3
        rig.wait_status(lambda s: s["degraded"] is None, within=10)
        assert rig.get("/")[0] == 503
        rig.live_v1()
        assert rig.get("/")[0] == 200
    finally:
        rig.close()
