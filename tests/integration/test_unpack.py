"""`relctl unpack` and what becomes of releases: a real reld, a real gate, archives of the app with knobs."""

from __future__ import annotations

import io
import os
import pwd
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reld.unpack import claim
from tests.rig import HELD, KNOBS, Answer, Rig, environment, fast, wait_for


def packed(**knobs: Any) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.add(KNOBS, "./knobs.py")
        content = repr(knobs).replace("'", '"').encode()
        info = tarfile.TarInfo("./knobs.json")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


AT_ONCE = fast(steps=[100], step_time="0s", bake="0s", drain="0s")


def site(*lines: str, rest: str = AT_ONCE, **more: Any) -> Rig:
    """A rig whose directory of releases is the app's user's."""
    rig = Rig(tables="\n".join(["[releases]", *lines, ""]), rest=rest, **more)
    (rig.home / "shared").mkdir()
    if os.geteuid() == 0:
        for place in (rig.releases, rig.home / "shared"):
            os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)
    return rig


def begun(rig: Rig, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "relctl", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment() | {"RELCTL_SOCKET": str(rig.socket)},
    )


def unpack(rig: Rig, release: str, sent: bytes | None = None, *words: str) -> Answer:
    client = begun(rig, "unpack", release, *words)
    out, err = client.communicate(packed() if sent is None else sent, timeout=60)
    return Answer(client.returncode, out.decode(), err.decode())


def there(rig: Rig) -> list[str]:
    return sorted(os.listdir(rig.releases))


def feed(client: subprocess.Popen[bytes], sent: bytes) -> None:
    assert client.stdin is not None
    client.stdin.write(sent)
    client.stdin.flush()


def state_of(rig: Rig, release: str) -> str | None:
    rows = rig.relctl("releases", "--json").json["releases"]
    return next((r["incomplete"] for r in rows if r["release"] == release), None)


def lost(client: subprocess.Popen[bytes]) -> None:
    client.kill()
    client.communicate()


BUILD = 'build = [["sh", "-c", "echo building $RELCTL_RELEASE as $(id -un) with $KEY; ls shared"]]'


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with site(BUILD, 'shared = ["shared"]', "keep = 0", app='env = { KEY = "secret" }') as one:
        yield one


def test_a_release_is_unpacked_built_and_switched_to(rig: Rig):
    done = unpack(rig, "v1")
    assert (done.code, done.out.splitlines()[-1]) == (0, "next: relctl switch v1"), done.text
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    assert f"building v1 as {user} with secret" in done.err
    assert (rig.releases / "v1").stat().st_uid == pwd.getpwnam(user).pw_uid
    assert rig.relctl("switch", "v1").code == 0
    again = unpack(rig, "v1")
    assert (again.code, "is there already" in again.err) == (1, True)


def test_an_archive_in_a_file_is_unpacked_and_a_program_gets_one_object(rig: Rig):
    path = rig.home / "v3.tgz"
    path.write_bytes(packed())
    done = unpack(rig, "v3", b"", str(path), "--json", "--note", "by hand")
    assert (done.code, done.json["release"], done.json["entries"]) == (0, "v3", 2)
    (row, begin) = rig.relctl("audit", "--json").json["audit"][:2]
    assert [(r["command"], r["target"], r["note"]) for r in (row, begin)] == [
        ("unpack", "v3", "by hand")
    ] * 2
    assert (begin["told"], row["told"]) == ("begins", done.json["message"])
    assert "v3" in [r["release"] for r in rig.relctl("releases", "--json").json["releases"]]


def test_what_cannot_be_unpacked_is_told_and_leaves_nothing(rig: Rig):
    before = there(rig)
    cut = unpack(rig, "v4", packed()[:-300])
    assert (cut.code, "the archive is refused" in cut.err) == (1, True)
    assert unpack(rig, ".v4").code == 2
    assert unpack(rig, "v4", b"", "/nowhere.tgz").code == 1
    assert there(rig) == before


def test_one_name_is_unpacked_by_one_person_at_a_time(rig: Rig):
    first = begun(rig, "unpack", "v5")
    feed(first, packed()[:500])
    wait_for(lambda: any(n.startswith(".v5") for n in there(rig)), 10, "it does not begin")
    second = unpack(rig, "v5")
    assert (second.code, "somebody else is unpacking it" in second.err) == (6, True)
    _, err = first.communicate(packed()[500:], timeout=30)
    assert first.returncode == 0, err


@pytest.mark.parametrize("end", ["client", "connection"])
def test_when_the_sender_is_lost_nothing_is_left(rig: Rig, end: str):
    client = begun(rig, "unpack", "v6")
    feed(client, packed()[:500])
    wait_for(lambda: any(n.startswith(".v6") for n in there(rig)), 10, "it does not begin")
    if end == "client":
        client.kill()
    client.communicate(timeout=20)
    wait_for(lambda: not any("v6" in n for n in there(rig)), 10, "something is left")


def test_who_may_not_write_there_is_told_what_to_type(rig: Rig):
    if os.geteuid() != 0:
        return
    os.chown(rig.releases, 0, -1)
    try:
        refused = unpack(rig, "v7")
    finally:
        os.chown(rig.releases, pwd.getpwnam("nobody").pw_uid, -1)
    assert refused.code == 1
    assert f"user nobody may not write to {rig.releases}" in refused.err
    assert f"as root: install -d -o nobody {rig.releases}" in refused.err


def test_a_copy_that_says_so_is_not_switched_to(rig: Rig):
    copy = rig.release("v8")
    (copy / ".relctl-incomplete").touch()
    refused = rig.relctl("switch", "v8")
    assert (refused.code, "release v8 is not complete" in refused.text) == (1, True)
    assert f"rm {copy}/.relctl-incomplete" in refused.text
    assert state_of(rig, "v8") == "incomplete"
    (copy / ".relctl-incomplete").unlink()
    copy.chmod(0o700)
    if os.geteuid() == 0:
        assert "is closed to user nobody" in rig.relctl("switch", "v8").text
    shutil.rmtree(copy)


def test_a_release_without_the_apps_program_is_not_started():
    with site(command='["bin/serve", "{port}"]') as rig:
        (rig.releases / "v1").mkdir()
        refused = rig.relctl("switch", "v1")
        assert refused.code == 1
        assert "app.command needs bin/serve" in refused.text
        assert "starting" not in refused.text


def test_a_release_that_was_replaced_is_no_way_back_without_force():
    with site() as rig:
        rig.live_v1("v2")
        assert rig.relctl("switch", "v2").code == 0
        v1 = rig.releases / "v1"
        shutil.rmtree(v1)
        for name in ("another", "v1"):  # the first may get the inode of the one that is gone
            shutil.rmtree(rig.releases / "another", ignore_errors=True)
            rig.release(name)
        refused = rig.relctl("rollback")
        assert (refused.code, "v1 was replaced since it was good" in refused.text) == (1, True)
        assert rig.status()["release"] == "v2"
        assert rig.relctl("rollback", "--force").code == 0
        assert rig.status()["release"] == "v1"


def test_old_releases_go_but_none_that_is_needed():
    with site("keep = 2") as rig:
        rig.release("by-hand")
        for release in ("v1", "v2", "v3"):
            assert unpack(rig, release).code == 0
        assert there(rig) == ["by-hand", "v2", "v3"]
        for release in ("v2", "v3"):
            assert rig.relctl("switch", release).code == 0
        for release in ("v4", "v5"):
            assert unpack(rig, release).code == 0
        assert there(rig) == ["by-hand", "v2", "v3", "v4", "v5"]  # a rollback goes to v2
        assert rig.relctl("switch", "v5").code == 0
        wait_for(lambda: there(rig) == ["by-hand", "v3", "v4", "v5"], 10, "v2 stays, or more goes")
        assert rig.relctl("rollback").code == 0


def test_while_a_rollout_runs_releases_come_and_none_goes():
    with site("keep = 1", rest=HELD) as rig:
        assert unpack(rig, "v1").code == 0
        assert rig.relctl("switch", "v1").code == 0
        assert unpack(rig, "v2").code == 0
        rig.relctl("switch", "v2", "--no-wait")
        rig.wait_share(5)
        for release in ("v3", "v4"):
            assert unpack(rig, release).code == 0
        assert there(rig) == ["v1", "v2", "v3", "v4"]
        rig.relctl("abort")
        rig.wait_idle()
        wait_for(lambda: there(rig) == ["v1", "v4"], 10, "nothing is pruned")


VENV = '[["python3", "-m", "venv", "--without-pip", ".venv"], ["sh", "-c", "%s"]]'
TOOL = "echo '#!'$PWD/.venv/bin/python > .venv/bin/tool; cat knobs.py >> .venv/bin/tool; chmod +x .venv/bin/tool"


def test_what_a_build_writes_down_of_its_path_is_true_afterwards():
    build = f"build = {VENV % TOOL}"
    with site(build, command='[".venv/bin/tool", "--port", "{port}"]') as rig:
        assert unpack(rig, "v1").code == 0
        done = rig.relctl("switch", "v1")
        assert done.code == 0, done.text


def test_a_release_that_is_being_built_is_seen_and_cannot_be_used():
    with site('build = [["sh", "-c", "until [ -e go ]; do sleep 0.05; done"]]', "keep = 1") as rig:
        client = begun(rig, "unpack", "v1")
        feed(client, packed())
        assert client.stdin is not None
        client.stdin.close()
        client.stdin = None
        wait_for(lambda: state_of(rig, "v1") == "being built", 10, "no build begins")
        refused = rig.relctl("switch", "v1")
        assert (refused.code, "unpack is building it in" in refused.text) == (1, True), refused.text
        assert "being built" in rig.relctl("releases").out
        second = unpack(rig, "v1")
        assert (second.code, "somebody else is unpacking it" in second.err) == (6, True)
        (rig.releases / "v1/go").touch()
        assert client.wait(20) == 0
        client.communicate()
        assert state_of(rig, "v1") is None
        assert rig.relctl("switch", "v1").code == 0


def test_what_was_left_of_a_build_is_named_and_the_next_unpack_removes_it():
    with site() as rig:
        assert unpack(rig, "v1").code == 0
        left = rig.releases / "v1"
        claim.Claim("v1", left.stat().st_ino).write(str(left))
        assert state_of(rig, "v1") == "incomplete"
        refused = rig.relctl("switch", "v1")
        assert "was left by an unpack that was killed" in refused.text
        assert "relctl unpack v1 again" in refused.text
        (left / "half").touch()
        assert unpack(rig, "v1").code == 0
        assert not (left / "half").exists()
        assert rig.relctl("switch", "v1").code == 0


def test_a_build_has_so_much_time():
    with site('build = [["sleep", "600"]]', 'unpack_timeout = "1s"') as rig:
        late = unpack(rig, "v1")
        assert (late.code, "longer than 1 s" in late.err) == (1, True)
        assert there(rig) == []


def sleepers(rig: Rig) -> list[int]:
    return [pid for pid in rig.leftovers() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("number", [9, 15], ids=["killed", "stopped"])
def test_when_reld_is_gone_nothing_is_left(number: int):
    with site('build = [["sleep", "600"]]') as rig:
        client = begun(rig, "unpack", "v1")
        feed(client, packed())
        assert client.stdin is not None
        client.stdin.close()
        wait_for(lambda: bool(sleepers(rig)), 10, "no build begins")
        rig.kill_reld(number)
        client.stdin = None
        client.communicate(timeout=20)
        assert client.returncode in (1, 5)
        wait_for(lambda: there(rig) == [] and not sleepers(rig), 10, f"left: {there(rig)}")
        rig.start_reld()


def test_what_both_left_when_they_were_killed_is_swept_at_the_next_start():
    with site() as rig:
        rig.kill_reld()
        for name in (".v1.~0a1b2c3d", ".v2", "v3", "v4"):
            (rig.releases / name / "sub").mkdir(parents=True)
        (rig.releases / "v3/.relctl-incomplete").touch()  # somebody's who copies
        built = rig.releases / "v4"
        claim.Claim("v4", built.stat().st_ino).write(str(built))
        for name in there(rig):
            if os.geteuid() == 0:
                subprocess.run(["chown", "-R", "nobody", rig.releases / name], check=True)
        rig.start_reld()
        wait_for(lambda: there(rig) == [".v2", "v3"], 10, "it is not swept")
