"""A socket that systemd holds open for a reld that does not come up, or that is only being restarted."""

from __future__ import annotations

import os
import socket
import threading

import pytest

from relctl import find, programs
from relctl.__main__ import main
from relctl.http import Client

AGAIN_AND_AGAIN = {
    "ActiveState": "activating",
    "Result": "exit-code",
    "ExecMainStatus": "8",
    "NRestarts": "1",
}
STARTING = {"ActiveState": "activating", "Result": "success", "ExecMainStatus": "0"}
WRONG = "/etc/relctl/web.toml:3: app.comand: no such key; did you mean command?"


@pytest.fixture
def silent(monkeypatch, tmp_path):
    """A control socket behind which nobody is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(find, "RUN", "run")
    monkeypatch.setattr(find, "ETC", str(tmp_path / "etc"))
    monkeypatch.setenv("RELCTL_SOCKET", "run/web/control.sock")
    monkeypatch.setattr("relctl.http.LOOK_AFTER", 0.05)
    monkeypatch.setattr("relctl.http.LOOK_EVERY", 0.05)
    os.makedirs("run/web")
    os.makedirs("etc")
    (tmp_path / "etc" / "web.toml").touch()
    monkeypatch.setattr(programs, "reld", lambda: ["reld"])
    monkeypatch.setattr(programs, "said", lambda *_: (8, WRONG + "\n", ""))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("run/web/control.sock")
    listening.listen()
    yield listening
    listening.close()


def systemd_says(monkeypatch, *answers):
    """One after the other; the last one stays."""
    left = list(answers)
    monkeypatch.setattr(
        programs, "properties", lambda *_: left.pop(0) if len(left) > 1 else left[0]
    )


@pytest.mark.parametrize("command", ["status", "history", "switch v2", "logs", "watch"])
def test_a_broken_config_is_named_with_its_line_and_not_waited_for(
    silent, monkeypatch, capsys, command
):
    systemd_says(monkeypatch, STARTING, AGAIN_AND_AGAIN)
    assert main(command.split()) == 5
    said = capsys.readouterr().err
    assert "cannot ask reld@web: it does not come up, its config is wrong" in said
    assert WRONG in said
    assert "relctl check" in said


def test_any_other_end_is_told_when_it_came_often_enough(silent, monkeypatch, capsys):
    systemd_says(monkeypatch, AGAIN_AND_AGAIN | {"ExecMainStatus": "9", "NRestarts": "3"})
    assert main(["status"]) == 5
    said = capsys.readouterr().err
    assert "it does not come up (exit status 9, 3 starts in vain)" in said
    assert "next: relctl check; sudo journalctl -u reld@web" in said


@pytest.mark.parametrize(
    "state",
    [
        STARTING,
        {"ActiveState": "deactivating", "Result": "success", "NRestarts": "0"},
        {"ActiveState": "active", "Result": "success", "NRestarts": "12"},
        AGAIN_AND_AGAIN | {"NRestarts": "0"},
        AGAIN_AND_AGAIN | {"ExecMainStatus": "9", "NRestarts": "2"},
        AGAIN_AND_AGAIN | {"Result": "signal", "NRestarts": "9"},
        AGAIN_AND_AGAIN | {"Result": "watchdog", "NRestarts": "9"},
        {},
    ],
)
def test_a_reld_that_is_only_restarted_is_waited_for(silent, monkeypatch, capsys, state):
    asked = threading.Event()

    def properties(*_):
        asked.set()
        return state

    monkeypatch.setattr(programs, "properties", properties)

    def answer():
        asked.wait(30)  # it comes up only after somebody has looked why it does not
        connection, _ = silent.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + b'{"app":"web"}')

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert main(["status"]) == 0
    finally:
        thread.join()


def test_without_systemd_the_patience_is_what_it_was(silent, monkeypatch):
    systemd_says(monkeypatch, {})
    client = Client("run/web/control.sock")
    client.patience = 0.3
    with pytest.raises(Exception, match="it does not answer"):
        client.get("/v1/status")


def test_a_socket_of_another_place_is_nobody_systemd_knows(silent, monkeypatch):
    monkeypatch.setattr(find, "RUN", "/run/relctl")
    systemd_says(monkeypatch, AGAIN_AND_AGAIN)
    client = Client("run/web/control.sock")
    client.patience = 0.2
    with pytest.raises(Exception, match="it does not answer"):
        client.get("/v1/status")
