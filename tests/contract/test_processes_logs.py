from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from reld.processes import logs
from reld.processes.logs import older, open_log, printable, tail, trim


def test_the_newest_part_is_kept_and_the_log_starts_empty(tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"".join(b"%09d\n" % n for n in range(1000)))
    assert trim(log, 2000)
    assert log.stat().st_size == 0
    assert older(log).stat().st_size == 1000
    assert tail(log, 2) == ["000000998", "000000999"]


def test_a_small_log_is_left_alone(tmp_path):
    log = tmp_path / "app.log"
    log.write_text("a line\n")
    assert not trim(log, 2000)
    assert not trim(tmp_path / "none.log", 2000)
    assert not older(log).exists()


def test_a_process_that_writes_all_the_time_stays_within_the_cap_and_is_never_blocked(tmp_path):
    log = tmp_path / "app.log"
    fd = open_log(log, None)
    writer = subprocess.Popen(
        ["sh", "-c", "while :; do echo 0123456789012345678901234567890123456789; done"], stdout=fd
    )
    os.close(fd)
    try:
        largest, rounds, deadline = 0, 0, time.monotonic() + 10
        while rounds < 10:
            assert time.monotonic() < deadline
            rounds += trim(log, 40_000)
            largest = max(largest, older(log).stat().st_size if older(log).exists() else 0)
            time.sleep(0.005)
        assert writer.poll() is None
        # What is written while it is copied comes on top.
        assert largest < 2_000_000
        # Appended: no hole is left where the old end was.
        assert b"\0" not in log.read_bytes()
    finally:
        writer.kill()
        writer.wait()
    assert tail(log, 1)[0].startswith("0123")


def test_a_full_disk_empties_the_log_all_the_same(tmp_path, monkeypatch):
    log = tmp_path / "app.log"
    log.write_bytes(b"x" * 5000)

    def no_room(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logs, "_write_all", no_room)
    assert trim(log, 2000)
    assert log.stat().st_size == 0
    assert [p.name for p in tmp_path.iterdir()] == ["app.log"]


def test_a_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "app.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        open_log(tmp_path / "app.log", None)
    assert not (tmp_path / "elsewhere").exists()


def test_the_tail_of_a_huge_file_is_read_from_its_end(tmp_path):
    log = tmp_path / "app.log"
    with log.open("wb") as file:
        file.truncate(3_000_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast but one\nlast\n")
    began = time.perf_counter()
    assert tail(log, 2) == ["last but one", "last"]
    assert time.perf_counter() - began < 1


def test_a_last_line_without_an_end_counts(tmp_path):
    (tmp_path / "app.log").write_text("one\ntwo\nthr")
    assert tail(tmp_path / "app.log", 2) == ["two", "thr"]
    assert tail(tmp_path / "app.log", 9) == ["one", "two", "thr"]
    assert tail(tmp_path / "app.log", 0) == []


def test_a_missing_log_has_no_lines(tmp_path):
    assert tail(Path(tmp_path / "none.log"), 5) == []


def test_lines_are_made_printable():
    assert (
        printable(b"\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07t\xc3\xa9\xff\r\x00") == "red té\ufffd"
    )
    assert len(printable(b"x" * 10_000)) == 1000
