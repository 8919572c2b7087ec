"""The process that puts a release in place: as a whole or not at all, whatever happens to it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from reld.unpack import claim, trees
from tests.contract.unpack_support import RELEASE, Site, archive, entry, folder
from tests.rig import wait_for

SENT = archive(*RELEASE)


@contextmanager
def small_disk(at: Path) -> Iterator[None]:
    at.mkdir(exist_ok=True)
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=755", "none", str(at)]
    if os.geteuid() != 0 or subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.fail("this test mounts a small disk: it needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_release_gets_its_name_when_it_is_whole(site: Site):
    told, talk = site.unpack("v2", SENT)
    assert told["done"]["entries"] == len(RELEASE)
    assert talk == ""
    assert json.loads((site.releases / "v2/.relctl").read_text())["release"] == "v2"
    assert oct((site.releases / "v2").stat().st_mode & 0o777) == "0o755"
    site.clean("v2")


@pytest.mark.parametrize("taken", ["directory", "file", "link to nowhere"])
def test_what_is_there_is_never_changed(site: Site, taken: str):
    there = site.releases / "v2"
    if taken == "directory":
        there.mkdir()
    elif taken == "file":
        there.write_text("x")
    else:
        there.symlink_to("nowhere")
    told, _ = site.unpack("v2", SENT)
    assert "is there already" in told["error"]
    site.clean("v2")
    assert not (site.releases / "nowhere").exists()


def test_what_appears_meanwhile_is_never_changed(site: Site):
    for build in ([], [["true"]]):
        for worker in stopped_at_archive(site, build=build):
            (site.releases / "v2").mkdir()
            (site.releases / "v2/file").write_text("mine")
            out, _ = worker.communicate(SENT[4000:], timeout=10)
            assert "is there already" in json.loads(out)["error"]
        assert os.listdir(site.releases / "v2") == ["file"]
        site.clean("v2")
        shutil.rmtree(site.releases / "v2")


def test_what_takes_its_place_while_it_is_built_is_let_alone(site: Site):
    swapped = "mv ../v2 ../mine; mkdir ../v2; touch ../v2/file"
    told, _ = site.unpack("v2", SENT, build=[["sh", "-c", swapped]])
    assert "was moved or replaced while it was built" in told["error"]
    assert os.listdir(site.releases / "v2") == ["file"]
    site.clean("mine", "v2")


def test_a_release_may_have_its_app_further_down(site: Site):
    assert "done" in site.unpack("v2", SENT, inside="app/src")[0]
    assert (site.releases / "v2/app/src/bin/serve").exists()
    assert (site.releases / "v2/.relctl").exists()


def test_a_refused_archive_leaves_nothing(site: Site):
    told, _ = site.unpack("v2", archive(entry("../outside", b"x")))
    assert told["error"] == "the archive is refused: ../outside is no path inside a release"
    told, _ = site.unpack("v2", archive(entry("a", b"1"), entry("a/b", b"2")))
    assert "in each other's way" in told["error"]
    told, _ = site.unpack("v2", b"\x1f\x8bnonsense")
    assert told["error"].startswith("the archive is refused: ")
    site.clean()


# builds


def test_builds_run_in_order_in_the_release_and_are_seen(site: Site):
    build = [["sh", "-c", "echo one > made; pwd; cat bin/serve"], ["bin/second", "{x}"]]
    second = entry("bin/second", b'#!/bin/sh\necho "got $1 $(cat made)"; echo told >&2', mode=0o755)
    told, talk = site.unpack("v2", archive(*RELEASE, second), build=build)
    assert "done" in told, told
    lines = talk.splitlines()
    assert lines[0] == "$ sh -c 'echo one > made; pwd; cat bin/serve'"
    assert lines[1] == str(site.releases / "v2")  # what they write down stays true
    assert lines[2:] == ["#!/bin/sh", "$ bin/second '{x}'", "got {x} one", "told"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo why >&2; exit 7"], "ended with exit code 7"),
        (["sh", "-c", "kill -9 $$"], "ended with signal 9"),
        (["bin/nothing"], "No such file"),
    ],
)
def test_a_build_that_fails_leaves_nothing(site: Site, command: list[str], words: str):
    told, talk = site.unpack("v2", SENT, build=[["mkdir", "-m", "555", "d"], command, ["false"]])
    assert words in told["error"]
    assert "$ false" not in talk
    site.clean()


def test_a_build_may_leave_directories_that_nobody_may_write(site: Site):
    closed = ["sh", "-c", "mkdir -p m/n; touch m/n/f; chmod 555 m/n m; chmod 000 m/n/f; false"]
    assert "error" in site.unpack("v2", SENT, build=[closed])[0]
    site.clean()


def test_a_release_says_that_it_is_not_complete_until_it_is_built(site: Site):
    incomplete = site.releases / "v2/.relctl-incomplete"
    for worker in stopped_at_build(site):
        assert json.loads(incomplete.read_text())["unpack"] == "v2"
        assert not (site.releases / "v2/.relctl").exists()
        assert claim.at_work(str(site.releases / "v2"))
        (site.releases / "v2/go").touch()
        assert "done" in json.loads(worker.communicate(timeout=20)[0])
    assert not incomplete.exists()
    assert (site.releases / "v2/.relctl").exists()
    assert not claim.at_work(str(site.releases / "v2"))
    site.clean("v2")


def test_a_build_that_cleans_up_does_not_make_it_complete(site: Site):
    look = ["sh", "-c", "ls -A | grep relctl"]
    told, talk = site.unpack("v2", SENT, build=[["sh", "-c", "rm -r .relctl*"], look])
    assert "done" in told, told
    assert talk.splitlines()[-1] == ".relctl-incomplete"


# what is shared


def links(site: Site, release: str) -> dict[str, str]:
    top = site.releases / release
    return {str(p.relative_to(top)): os.readlink(p) for p in top.rglob("*") if p.is_symlink()}


def test_shared_directories_are_made_once_and_linked_in_each_release(site: Site):
    names = ["storage", "tmp/pids"]
    sent = archive(entry("f", b"x"), folder("tmp"))
    for release in ("v1", "v2"):
        assert "done" in site.unpack(release, sent, shared=names)[0]
        assert links(site, release) == {name: f"{site.shared}/{name}" for name in names}
        (site.releases / release / "storage" / release).write_text("kept")
    assert sorted(os.listdir(site.shared / "storage")) == ["v1", "v2"]


def test_a_build_finds_shared_things_in_place(site: Site):
    assert "done" in site.unpack("v1", SENT, shared=["db"], build=[["touch", "db/here"]])[0]
    assert (site.shared / "db/here").exists()


def test_what_the_first_release_brings_is_shared_from_then_on(site: Site):
    sent = archive(entry("storage/seed", b"first"), entry("config/key", b"secret"))
    names = ["storage", "config/key"]
    assert "done" in site.unpack("v1", sent, shared=names)[0]
    assert (site.shared / "storage/seed").read_text() == "first"
    assert (site.releases / "v1/config/key").read_text() == "secret"
    told, _ = site.unpack("v2", sent, shared=names)
    assert "brings storage along" in told["error"]
    assert "--exclude=./storage" in told["hint"]
    site.clean("v1")


def test_a_directory_with_nothing_but_a_keeper_is_no_content(site: Site):
    sent = archive(entry("storage/.keep"), entry("f", b"x"))
    for release in ("v1", "v2"):
        assert "done" in site.unpack(release, sent, shared=["storage"])[0]
    assert os.listdir(site.shared / "storage") == []


def test_what_was_moved_comes_back_out_when_the_build_fails(site: Site):
    sent = archive(entry("storage/seed", b"first"))
    assert "error" in site.unpack("v1", sent, shared=["storage"], build=[["false"]])[0]
    assert not (site.shared / "storage").exists()
    assert "done" in site.unpack("v1", sent, shared=["storage"])[0]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["", "other file system"])
def test_what_was_moved_comes_back_out_when_the_worker_is_killed(site: Site, elsewhere: bool):
    sent = archive(entry("storage/seed", b"first"), entry("config/key", b"secret"))
    names = ["storage", "config/key"]
    with small_disk(site.shared) if elsewhere else nullcontext():
        for worker in stopped_at_build(site, sent, shared=names):
            assert (site.shared / "config/key").read_text() == "secret"
            kill(worker)
        told, _ = site.unpack("v3", sent, shared=names)
        assert "done" in told, told
        site.clean("v3")
        assert (site.shared / "storage/seed").read_text() == "first"
        assert sorted(os.listdir(site.shared)) == ["config", "storage"]


def test_what_another_release_uses_by_now_is_never_taken_back(site: Site):
    sent = archive(entry("storage/seed", b"first"))
    for worker in stopped_at_build(site, sent, shared=["storage"]):
        assert "done" in site.unpack("v3", SENT, shared=["storage"])[0]
        kill(worker)
    site.sweep()
    site.clean("v3")
    assert (site.releases / "v3/storage/seed").read_text() == "first"


def test_a_shared_path_through_a_file_is_refused(site: Site):
    told, _ = site.unpack("v1", archive(entry("tmp", b"x")), shared=["tmp/pids"])
    assert "shared tmp/pids" in told["error"]
    site.clean()


# interrupted


def stopped_at_archive(site: Site, **order: Any) -> Iterator[subprocess.Popen[bytes]]:
    worker = site.begun("v2", **order)
    assert worker.stdin is not None
    worker.stdin.write(SENT[:4000])
    worker.stdin.flush()
    wait_for(lambda: any(site.releases.rglob("serve")), 10, "nothing is unpacked")
    yield worker


WAITS = "touch begun; until [ -e go ]; do sleep 0.05; done"


def stopped_at_build(
    site: Site, sent: bytes = SENT, **order: Any
) -> Iterator[subprocess.Popen[bytes]]:
    worker = site.begun("v2", build=[["sh", "-c", WAITS]], **order)
    assert worker.stdin is not None
    worker.stdin.write(sent)
    worker.stdin.close()
    worker.stdin = None
    wait_for((site.releases / "v2/begun").exists, 10, "no build begins")
    yield worker


Stop = Callable[[Site], Iterator[subprocess.Popen[bytes]]]


def kill(worker: subprocess.Popen[bytes]) -> None:
    """With all that it builds with, as reld does: none of them holds the lock any more."""
    try:
        builders = stopped(psutil.Process(worker.pid))
        for builder in builders:
            with suppress(psutil.NoSuchProcess):
                builder.kill()
    finally:
        worker.kill()
        worker.wait()
        close(worker)
    wait_for(lambda: all(over(builder) for builder in builders), 10, "a builder lives")


def stopped(process: psutil.Process) -> list[psutil.Process]:
    """It and all below it. Parents first: who is stopped begins none and reaps none."""
    try:
        process.suspend()
        children = process.children()
    except psutil.NoSuchProcess:
        return []
    return [process, *(each for child in children for each in stopped(child))]


def over(process: psutil.Process) -> bool:
    """Maybe not yet reaped by whoever inherited it."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


STAGES = {"archive": stopped_at_archive, "build": stopped_at_build}


def close(worker: subprocess.Popen[bytes]) -> None:
    for pipe in (worker.stdin, worker.stdout, worker.stderr):
        if pipe is not None and not pipe.closed:
            pipe.close()


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_one_that_was_killed_is_swept_by_the_next_and_one_that_runs_is_not(site: Site, stage: Stop):
    for worker in stage(site):
        assert "done" in site.unpack("v3", SENT)[0]
        assert len(os.listdir(site.releases)) == 2
        kill(worker)
        site.sweep()
    site.clean("v3")


def test_one_whose_worker_is_dead_stays_as_long_as_its_build_lives(site: Site):
    for worker in stopped_at_build(site):
        worker.kill()
        worker.wait()
        close(worker)
        site.sweep()
        assert "is there already" in site.unpack("v2", SENT)[0]["error"]
        (site.releases / "v2/go").touch()
        wait_for(lambda: not claim.at_work(str(site.releases / "v2")), 10, "the build goes on")
    assert "done" in site.unpack("v2", SENT)[0]
    assert not (site.releases / "v2/begun").exists()
    site.clean("v2")


@pytest.mark.parametrize("by", ["a person", "a copy of one that is built"])
def test_what_unpack_did_not_make_is_never_swept(site: Site, by: str):
    copy = site.releases / "v3"
    if by == "a person":
        copy.mkdir()
        (copy / ".relctl-incomplete").touch()
    else:
        for worker in stopped_at_build(site):
            subprocess.run(["cp", "-a", site.releases / "v2", copy], check=True)
            kill(worker)
    site.sweep()
    site.clean("v3")
    assert "is there already" in site.unpack("v3", SENT)[0]["error"]


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_without_reld_it_cleans_up_and_ends(site: Site, stage: Stop):
    for worker in stage(site):
        assert worker.stdout is not None
        worker.stdout.close()  # reld is dead
        if worker.stdin is not None and not worker.stdin.closed:
            worker.stdin.write(SENT[4000:])
            worker.stdin.close()
        assert worker.wait(10) == 1
        close(worker)
    site.clean()


def test_a_connection_that_is_lost_in_the_middle_leaves_nothing(site: Site):
    for worker in stopped_at_archive(site):
        out, _ = worker.communicate(timeout=10)
        assert "the archive is refused" in json.loads(out)["error"]
    site.clean()


def test_killed_at_any_moment_there_is_a_whole_release_or_none(site: Site):
    chance, whole = Random(6), 0
    order: dict[str, Any] = {"shared": ["storage"], "build": [["cp", "-r", "a", "copy"]]}
    began = time.monotonic()
    assert "done" in site.unpack("first", SENT, **order)[0]
    takes = time.monotonic() - began
    for number in range(25):
        name = f"r{number}"
        worker = site.begun(name, **order)
        try:
            assert worker.stdin is not None
            worker.stdin.write(SENT)
            worker.stdin.close()
            time.sleep(chance.uniform(0.1, 1.5) * takes)
        finally:
            kill(worker)
        if (site.releases / name).exists() and claim.left(str(site.releases), name) is None:
            whole += 1
            assert (site.releases / name / "copy/b/data").stat().st_size == 5000
            assert (site.releases / name / ".relctl").stat().st_size > 10
    site.sweep()
    site.clean("first", *(f"r{n}" for n in range(25) if (site.releases / f"r{n}").exists()))
    assert 0 < whole < 25


def test_a_full_disk_is_told_and_leaves_nothing(site: Site):
    with small_disk(site.releases):
        told, _ = site.unpack("v2", archive(*RELEASE, entry("big", bytes(3 << 20))))
        assert told["error"] == f"the disk is full: {site.releases}"
        site.clean()
        assert "done" in site.unpack("v2", SENT)[0]


def test_however_many_files_there_are_the_disk_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    waits: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda found: (waits.append(found), real(found)))
    (tmp_path / "few").mkdir()
    for number in range(300):
        (tmp_path / str(number)).write_text("x")
        (tmp_path / "few" / str(number % 9)).write_text("x")
    with trees.opened(str(tmp_path)) as found:
        trees.sync(found, str(tmp_path))
        assert waits == []
        trees.sync(found, str(tmp_path / "few"))
        assert len(waits) == 10  # nobody waits for what others write, for the sake of a few
        monkeypatch.setattr(trees, "_sync_file_system", lambda found: False)
        trees.sync(found, str(tmp_path))
    assert len(waits) == 10 + 311  # where there is no syncfs: each file and directory


def test_a_disk_that_fails_is_told(tmp_path: Path):
    for number in range(300):
        (tmp_path / str(number)).touch()
    with pytest.raises(OSError, match="Bad file descriptor"):
        trees.sync(10_000, str(tmp_path))


# removal


def test_releases_are_removed_with_what_nobody_may_write_in_them(site: Site):
    closed = ["sh", "-c", "mkdir -p m/n; touch m/n/f; chmod 555 m/n m"]
    for release in ("v1", "v2", "v3"):
        site.unpack(release, SENT, build=[closed])
    told, _ = site.unpack("", b"", job="remove", names=["v1", "gone", "v3"])
    assert told == {"done": {"removed": ["v1", "v3"]}}
    site.clean("v2")


def test_what_looks_like_ours_but_is_not_stays(site: Site):
    for name in (".git", ".v2.tmp", ".v2.~12345", "v2.~12345678"):
        (site.releases / name).mkdir()
    (site.releases / ".v2.~12345678").mkdir()
    site.sweep()
    site.clean(".git", ".v2.tmp", ".v2.~12345", "v2.~12345678")
