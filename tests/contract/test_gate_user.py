"""Whose the gate and its files are: it has a user of its own, which gains nothing by reld being root."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from reld.core.model import Routing
from reld.errors import GateError
from reld.host.tidy import Runtime
from reld.nginx import command, master, owner, places, room, start, takeover
from reld.nginx.requests import Tail
from tests.contract.gate_support import (
    a_gate,
    a_home,
    an_app,
    ask,
    blue,
    both,
    load,
    make_settings,
    until,
)

ROOT = os.geteuid() == 0
NOBODY = 65534
SECRET = "root:secret:line\n"


def mode(path):
    found = path.lstat()
    return found.st_uid, stat.S_IMODE(found.st_mode)


def uids(pid):
    said = Path(f"/proc/{pid}/status").read_text()
    return {int(word) for word in said.partition("Uid:")[2].splitlines()[0].split()}


def capabilities(pid):
    said = Path(f"/proc/{pid}/status").read_text()
    return {int(said.partition(f"Cap{kind}:")[2].split()[0], 16) for kind in ("Prm", "Eff", "Amb")}


def as_somebody(what, *paths):
    """Which of the paths another local user can `what` (of os.access)."""
    code = "import os, sys; print([p for p in sys.argv[2:] if os.access(p, int(sys.argv[1]))])"
    said = subprocess.run(
        [sys.executable, "-ISc", code, str(what), *map(str, paths)],
        user=NOBODY if ROOT else None,
        capture_output=True,
        text=True,
        check=True,
    )
    return said.stdout.strip()


async def test_master_and_workers_run_as_the_gates_user_without_any_capability():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        found = master.find(gate.settings)
        for pid in (found.pid, *(w.pid for w in master.workers(found))):
            assert uids(pid) == {gate.owner.uid}
            assert capabilities(pid) == {0}


async def test_nobody_else_reads_the_log_or_the_config_and_only_we_write_lanes_and_config():
    async with a_gate() as gate, an_app("old") as old, an_app("new") as new:
        gate.prepare_lanes(7)
        await load(gate, 1, both(old, new))
        await gate.move(7, 50)
        settings, us = gate.settings, os.geteuid()
        assert mode(settings.config) == (us, 0o640)
        assert mode(settings.config.parent) == (us, 0o750)
        assert mode(settings.state) == (us, 0o711 if ROOT else 0o700)
        assert mode(settings.place) == (gate.owner.uid, 0o750)
        assert mode(settings.runtime) == (us, 0o755)
        assert mode(settings.runtime / "lanes") == (us, 0o755)
        if ROOT:
            lanes = [*settings.runtime.rglob("lanes/**/*"), settings.runtime, settings.state]
            files = [settings.config, settings.request_log, settings.error_log, settings.pid_file]
            assert as_somebody(os.R_OK, *files) == "[]"
            assert as_somebody(os.W_OK, *files, settings.place, settings.config.parent, *lanes) == (
                "[]"
            )


async def test_a_config_is_tested_without_root():
    async with a_home() as home:
        settings = make_settings(home)
        secret = home / "secret"
        places.prepare(settings)
        secret.write_text(SECRET)
        secret.chmod(0o600)
        # What root would open for writing, and give to the user who put the link there.
        settings.error_log.symlink_to(secret)
        settings.config.write_text(f"error_log {settings.error_log};\nevents {{}}\n")
        settings.config.chmod(0o644)
        command.test(settings, settings.config)
        assert secret.read_text() == SECRET or not ROOT
        assert mode(secret) == (os.geteuid(), 0o600)


async def test_a_process_of_another_user_is_no_gate_whatever_it_calls_itself():
    async with a_gate() as gate:
        places.prepare(gate.settings)
        title = f"nginx: master process nginx -c {gate.settings.config}"
        with Forged(title, gate.settings.listen) as pid:
            assert master.owners(gate.settings.listen) == (pid,)
            assert (master.find(gate.settings) is None) is ROOT
            with (
                pytest.raises(GateError, match=f"taken by pid {pid}")
                if ROOT
                else (contextlib.suppress(GateError))
            ):
                gate.settings.config.write_text("events {}\n")
                start.start(gate.settings)


async def test_a_process_of_another_user_is_no_orphan_of_the_gate():
    async with a_gate() as gate:
        with Forged("nginx: worker process", gate.settings.listen) as pid:
            found = takeover.orphans((gate.settings.listen,), gate.owner)
            assert [o.pid for o in found] == ([] if ROOT else [pid])
            with takeover.take((gate.settings.listen,), gate.owner) as taken:
                assert len(taken.sockets) == len(found)


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "hard link"])
async def test_what_the_gates_user_puts_in_the_place_of_its_files_is_not_read(kind):
    async with a_home() as home:
        settings = make_settings(home)
        gate = owner.of(settings.user)
        places.prepare(settings)
        secret = settings.runtime / "secret"
        secret.write_text(SECRET)
        for path in (settings.request_log, settings.error_log, settings.pid_file):
            put(kind, path, secret)
        if kind == "hard link" and not ROOT:
            return  # then all of it is one user's
        tail = Tail(settings.request_log, uid=gate.uid)
        assert tail.read_raw() == []
        assert master.named(settings) is None
        assert command.logged(settings, 0) == ""


@pytest.mark.parametrize("kind", ["link", "pipe", "hard link"])
async def test_what_is_put_in_the_place_of_the_old_log_goes_and_what_it_leads_to_stays(kind):
    async with a_home() as home:
        settings = make_settings(home)
        places.prepare(settings)
        secret = settings.runtime / "secret"
        secret.write_text(SECRET)
        old = settings.request_log.with_name("requests.log.old")
        put(kind, old, secret)
        tail = Tail(settings.request_log, uid=owner.of(settings.user).uid)
        if ROOT or kind != "hard link":
            assert not tail.rotate()
            assert tail.retire([])
        assert not os.path.lexists(old) or not ROOT
        assert secret.read_text() == SECRET


async def test_a_pid_file_that_is_made_anew_is_not_written_through_a_link():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        settings = gate.settings
        target = settings.runtime / "made-by-root"
        settings.pid_file.unlink()
        runtime = Runtime(settings, lambda: True, nobody_listens, lambda *_: None)
        await runtime.look()
        settings.pid_file.symlink_to(target)
        await runtime.look()
        assert not target.exists()
        settings.pid_file.unlink()
        await runtime.look()
        await runtime.look()
        assert mode(settings.pid_file)[0] == gate.owner.uid
        assert master.named(settings) is not None


async def test_a_gate_without_its_directory_gets_it_back_and_logs_again():
    async with a_gate() as gate, an_app("old") as old:
        await load(gate, 1, Routing(blue(old)))
        subprocess.run(["rm", "-r", gate.settings.place], check=True)
        runtime = Runtime(gate.settings, lambda: True, nobody_listens, lambda *_: None)
        await runtime.look()
        await runtime.look()
        await until(gate.settings.request_log.exists)
        assert (await ask(gate.settings.listen)).name == "old"
        tail = Tail(gate.settings.request_log, uid=gate.owner.uid)
        await until(tail.read_raw)


async def test_a_gate_of_a_user_that_does_not_exist_is_refused_with_what_to_do():
    with pytest.raises(GateError, match="there is no user relctl-nobody-else") as caught:
        owner.of("relctl-nobody-else")
    assert "systemd-sysusers" in caught.value.hint


async def test_the_unit_that_does_not_start_says_what_nginx_said(monkeypatch):
    async with a_gate(unit="relctl-gate@web.service") as gate:
        places.prepare(gate.settings)
        said = "2026/01/01 00:00:00 [emerg] 1#1: no luck today"

        def systemctl(argv, *_):
            assert argv == ["systemctl", "--job-mode=fail", "start", "relctl-gate@web.service"]
            gate.settings.error_log.write_text(f"{said}\n")
            os.chown(gate.settings.error_log, gate.owner.uid, gate.owner.gid)
            return 1, "Job for relctl-gate@web.service failed.\n"

        monkeypatch.setattr(command, "run", systemctl)
        with pytest.raises(GateError, match="cannot start the gate: 1#1: no luck today") as caught:
            start.start(gate.settings)
        assert "sudo journalctl -u relctl-gate@web.service" in caught.value.hint


async def test_a_unit_that_started_nothing_is_told(monkeypatch):
    async with a_gate(unit="relctl-gate@web.service") as gate:
        monkeypatch.setattr(command, "run", lambda *_: (0, ""))
        monkeypatch.setattr(start, "_UP_WITHIN", 0.05)
        with pytest.raises(GateError, match="no master within") as caught:
            start.start(gate.settings)
        assert caught.value.hint == "sudo systemctl status relctl-gate@web.service"


async def test_a_gate_of_the_unit_is_asked_of_systemd_and_its_orphans_are_counted(monkeypatch):
    async with a_gate(unit="relctl-gate@web.service") as gate, an_app("old") as old:
        run, started = command.run, []

        def systemctl(argv, *by):
            if argv[0] != "systemctl":
                return run(argv, *by)
            started.append(argv)
            start._directly(gate.settings)
            return 0, ""

        monkeypatch.setattr(command, "run", systemctl)
        await load(gate, 1, Routing(blue(old)))
        was = master.find(gate.settings)
        orphans = {w.pid for w in master.workers(was)}
        os.kill(was.pid, signal.SIGKILL)
        await until(lambda: master.start_ticks(was.pid) is None)
        for worker in orphans:
            os.kill(worker, signal.SIGSTOP)  # so that they are there to be counted
        left = await asyncio.to_thread(start.start, gate.settings)
        assert {worker.pid for worker in left} == orphans
        for worker in orphans:
            os.kill(worker, signal.SIGCONT)
        assert len(started) == 2
        assert (await ask(gate.settings.listen)).name == "old"


def test_room_for_a_reload_is_seen_in_processes_of_any_user():
    assert room._limits(1)[1] > 0


async def nobody_listens():
    raise AssertionError


def put(kind, path, target):
    if kind == "link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "hard link":
        os.link(target, path)
    else:
        path.mkdir()


class Forged:
    """A process of another user with this title, that listens on the address."""

    def __init__(self, title, address):
        host, _, port = address.rpartition(":")
        self._socket = socket.create_server((host, int(port)))
        self._title = title

    def __enter__(self):
        # nginx's titles have no zero bytes: all of it is one argument.
        self._process = subprocess.Popen(
            [self._title, "-ISc", "import sys; print(flush=True); sys.stdin.read()"],
            executable=sys.executable,
            pass_fds=[self._socket.fileno()],
            user=NOBODY if ROOT else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._process.stdout.readline()
        self._socket.close()
        return self._process.pid

    def __exit__(self, *_):
        self._process.communicate()
