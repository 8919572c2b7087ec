"""[[worker]] on its way from the file to the core, to the snapshot and to the process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reld.config import Worker, policy, worker_policies
from reld.config_file import load
from reld.core.model import Color, Instance, Slot
from reld.core.policy import SlotPolicy, WorkerPolicy
from reld.errors import PrepareError
from reld.host import instances
from reld.host.active import ActiveFiles
from reld.snapshot import Seat, Snapshot, environment, placeholders, take
from reld.store.codec import decode, encode
from tests.unit.test_config_file import SMALL, write

TABLES = """
[[worker]]
name = "queue"
command = ["bin/worker", "{instance}"]
instances = 3
[[worker]]
name = "cron"
command = ["bin/cron", "{release}", "{slot}", "{directory}"]
stop_signal = "SIGINT"
stop_timeout = "2m"
handover = "stop-first"
"""
CRON = Worker(
    "cron", ("bin/cron", "{release}", "{slot}", "{directory}"), 1, 120.0, "SIGINT", "stop-first"
)


def snapshot(tmp_path: Path, without: str = "") -> Snapshot:
    (tmp_path / "v1/bin").mkdir(parents=True)
    for program in {"serve", "worker", "cron"} - {without}:
        (tmp_path / "v1/bin" / program).touch()
    path = write(tmp_path, SMALL + TABLES)
    text = path.read_text()
    before = next(line for line in text.splitlines() if line.startswith("directory"))
    path.write_text(text.replace(before, f'directory = "{tmp_path}/{{release}}"'))
    return take(load(path, uid=0), "v1")


def test_every_key_of_a_worker_arrives(tmp_path):
    config = load(write(tmp_path, SMALL + TABLES), uid=0)
    assert config.worker == (Worker("queue", ("bin/worker", "{instance}"), 3), CRON)
    assert policy(config).slot.workers == (
        WorkerPolicy("queue", 3),
        WorkerPolicy("cron", 1, 120.0, "SIGINT", "stop-first"),
    )


def test_a_snapshot_keeps_the_workers_and_their_commands(tmp_path):
    taken = snapshot(tmp_path)
    again = decode(Snapshot, encode(taken))
    assert worker_policies(again.workers)[1].stop_first
    assert again.command_of("cron") == CRON.command
    assert again.command_of("") == taken.app.command


def test_a_release_without_the_program_of_a_worker_is_not_complete(tmp_path):
    with pytest.raises(PrepareError, match="the command of worker cron needs bin/cron"):
        snapshot(tmp_path, without="cron")


def test_a_snapshot_from_before_there_were_workers_has_none(tmp_path):
    raw = encode(snapshot(tmp_path))
    del raw["workers"]
    assert decode(Snapshot, raw).workers == ()


def test_a_worker_has_its_name_and_no_port(tmp_path):
    taken = snapshot(tmp_path)
    seat = Seat("web", "blue", 0, 9, "", "boot-id-1", "cron", "127.0.0.1:21003", "/run/active/blue")
    env = environment(taken, {}, seat)
    assert "PORT" not in env
    assert (env["RELCTL_WORKER"], env["RELCTL_ACTIVE_FILE"]) == ("cron", "/run/active/blue")
    assert env["RELCTL_INSTANCE"] == "web.boot-id-.9.21003"
    assert placeholders(taken, seat)["slot"] == "blue"


def test_the_unit_of_a_worker_says_which_one_it_is_and_how_it_ends(tmp_path):
    policies = worker_policies((CRON,))
    instance = Instance(9, 0, "", worker="cron", near="127.0.0.1:21003")
    policy = SlotPolicy(workers=policies)
    slot = Slot(Color.BLUE, "v1", 4, policy, (), workers=(instance,))
    unit = instances._unit("web", snapshot(tmp_path), slot, instance)
    assert ("RELCTL_WORKER", "cron") in unit.fields
    assert ("RELCTL_INSTANCE", "9") in unit.fields
    assert (unit.identifier, unit.stop_signal, unit.stop_timeout) == ("web", "SIGINT", 120.0)
    assert not unit.held_back
    serves = replace(instance, worker="", address="127.0.0.1:21003")
    unit = instances._unit("web", snapshot(tmp_path / "2"), slot, serves)
    assert "RELCTL_WORKER" not in dict(unit.fields)
    assert (unit.stop_signal, unit.held_back) == ("SIGTERM", True)


def test_only_the_file_of_the_live_slot_is_there(tmp_path):
    files = ActiveFiles(tmp_path / "run")
    files.show(None)
    for color in (Color.BLUE, Color.GREEN, Color.GREEN, Color.BLUE):
        files.show(color)
        assert [c for c in Color if files.path(c).exists()] == [color]
    assert files.path(Color.BLUE).stat().st_mode & 0o777 == 0o644
    assert files.path(Color.BLUE).parent.stat().st_mode & 0o777 == 0o755
    files.show(None)
    assert not any(files.path(c).exists() for c in Color)


def test_the_new_file_is_not_made_while_the_old_one_cannot_be_removed(tmp_path, monkeypatch):
    files = ActiveFiles(tmp_path)
    files.show(Color.BLUE)

    def refuse(_path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    try:
        files.show(Color.GREEN)
    except OSError:
        pass
    assert not files.path(Color.GREEN).exists()
