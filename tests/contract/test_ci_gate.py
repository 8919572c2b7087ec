"""The forced command of a CI's key: what it takes, and what it takes for an attack."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.mutate import spoiled

GATE = Path(__file__).parents[2] / "packaging/examples/ci-gate"
RELCTL = """\
#!/bin/sh
echo "$@" >&2
env >&2
cat
exit 7
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "releases").mkdir()
    (tmp_path / "outside").write_text("as it was")
    relctl = tmp_path / "relctl"
    relctl.write_text(RELCTL)
    relctl.chmod(0o755)
    return tmp_path


def ask(
    place: Path, command: str | None, sent: bytes = b"", *options: str
) -> subprocess.CompletedProcess[bytes]:
    given = {"PATH": "/usr/bin:/bin", "RELCTL_SOCKET": "/tmp/evil", "PYTHONPATH": str(place)}
    if command is not None:
        given["SSH_ORIGINAL_COMMAND"] = command
    words = ["--app", "web", "--releases", str(place / "releases"), *options]
    return subprocess.run(
        [GATE, *words, "--relctl", str(place / "relctl")],
        input=sent, env=given, capture_output=True, timeout=30, check=False,
    )  # fmt: skip


def entry(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def archive(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    return made.getvalue()


def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, type=tarfile.SYMTYPE, linkname=to)


RELEASE = (
    entry("./", type=tarfile.DIRTYPE),
    entry("./bin", type=tarfile.DIRTYPE),
    entry("./bin/serve", b"#!/bin/sh\n", mode=0o755),
    entry("a/b/data", b"d" * 5000, mode=0o600),
    link("a/up", "../bin/serve"),
    link("current", "./a/b"),
)


def clean(place: Path, *, but: tuple[str, ...] = ()) -> None:
    """Nothing is left, and nothing outside was touched."""
    assert sorted(os.listdir(place / "releases")) == sorted(but)
    assert (place / "outside").read_text() == "as it was"
    assert sorted(os.listdir(place)) == ["outside", "relctl", "releases"]


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_release_is_unpacked(place: Path, packed):
    done = ask(place, "upload v2", packed(archive(*RELEASE)))
    assert done.returncode == 0, done.stderr
    at = place / "releases/v2"
    assert (at / "a/up").read_text() == "#!/bin/sh\n"
    assert (at / "current/data").stat().st_size == 5000
    modes = {
        p.name: stat.S_IMODE(p.stat().st_mode) for p in (at, at / "bin/serve", at / "a/b/data")
    }
    assert modes == {"v2": 0o755, "serve": 0o755, "data": 0o644}
    clean(place, but=("v2",))


def test_an_empty_directory_is_no_release(place: Path):
    done = ask(place, "upload v2", archive(entry("./", type=tarfile.DIRTYPE)))
    assert (done.returncode, done.stderr) == (1, b"cannot take v2: there is nothing in it\n")
    clean(place)


def test_what_real_tar_makes_of_a_tree_is_taken(place: Path, tmp_path: Path):
    tree = tmp_path / "outside"
    tree.unlink()
    (tree / ("d" * 90) / ("e" * 90)).mkdir(parents=True)
    (tree / ("d" * 90) / ("e" * 90) / ("f" * 90)).write_text("long")
    made = subprocess.run(["tar", "-C", tree, "-cz", "."], capture_output=True, check=True).stdout
    assert ask(place, "upload v2", made).returncode == 0
    assert len(list((place / "releases/v2").rglob("f*"))) == 1


ATTACKS = {
    "absolute": [entry("/etc/passwd", b"x")],
    "climbs": [entry("../outside", b"x")],
    "climbs later": [entry("a/../../outside", b"x")],
    "through a link": [link("a", ".."), entry("a/outside", b"x")],
    "through a link that stays inside": [
        entry("d", type=tarfile.DIRTYPE), link("a", "d"), entry("a/x", b"x")
    ],
    "link to outside": [link("a", "../../outside")],
    "absolute link": [link("a", "/etc/passwd")],
    "link out by another link": [link("a/b/up", "../.."), link("out", "a/b/up/../outside")],
    "link in place of the release": [link(".", "../outside")],
    "empty link": [link("a", "")],
    "file in place of the release": [entry("./", b"x")],
    "hard link": [entry("a", type=tarfile.LNKTYPE, linkname="../outside")],
    "hard link inside": [entry("b", b"x"), entry("a", type=tarfile.LNKTYPE, linkname="b")],
    "device": [entry("a", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
    "block device": [entry("a", type=tarfile.BLKTYPE, devmajor=8)],
    "fifo": [entry("a", type=tarfile.FIFOTYPE)],
    "sparse": [entry("a", type=tarfile.GNUTYPE_SPARSE)],
    "contiguous": [entry("a", type=tarfile.CONTTYPE)],
    "twice": [entry("a", b"1"), entry("a", b"2")],
    "file where a directory is": [entry("a/b", b"1"), entry("a", b"2")],
    "newline in a name": [entry("a\nb", b"x")],
    "escape in a name": [entry("a\x1b[2Jb", b"x")],
    "deep": [entry("a/" * 70 + "x", b"x")],
    "long name": [entry("n" * 300, b"x")],
    "longest": [entry("n/" * 600 + "x", b"x")],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("entries", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_with_a_trick_is_refused_and_leaves_nothing(place: Path, entries, form):
    done = ask(place, "upload v2", archive(*RELEASE[:3] if entries else (), *entries, form=form))
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(b"cannot take v2: ")
    assert b"\x1b" not in done.stderr
    clean(place)


def test_bits_that_give_away_rights_are_dropped(place: Path):
    modes = {"s": 0o6755, "w": 0o666, "t": 0o1777}
    ask(place, "upload v2", archive(*(entry(n, b"x", mode=m, uid=0) for n, m in modes.items())))
    for name, expected in (("s", 0o755), ("w", 0o644), ("t", 0o755)):
        found = (place / "releases/v2" / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (expected, os.geteuid())


@pytest.mark.parametrize("at", [0, 511, 512, 1000, 1024, 1536, 2048, 5000])
def test_a_cut_archive_is_no_release(place: Path, at: int):
    whole = archive(*RELEASE)
    assert ask(place, "upload v2", whole[:at]).returncode == 1
    packed = gzip.compress(whole)
    assert ask(place, "upload v2", packed[: len(packed) * at // len(whole)]).returncode == 1
    clean(place)


def test_an_archive_that_goes_on_with_nonsense_is_no_release(place: Path):
    whole = archive(*RELEASE).rstrip(b"\0")
    whole += b"\0" * (-len(whole) % 512) + b"nonsense" * 64
    assert ask(place, "upload v2", whole).returncode == 1
    clean(place)


def test_a_small_archive_that_gets_too_large_is_stopped(place: Path):
    bomb = gzip.compress(archive(entry("a", bytes(3 << 20))))
    assert len(bomb) < 10_000
    done = ask(place, "upload v2", bomb, "--most", "2")
    assert (done.returncode, b"larger than 2 MiB" in done.stderr) == (1, True)
    assert ask(place, "upload v2", bomb, "--most", "4").returncode == 0


def test_headers_that_eat_memory_are_refused(place: Path):
    name = entry("n" * 100_000, b"x")
    done = ask(place, "upload v2", archive(name))
    assert (done.returncode, b"too large" in done.stderr) == (1, True)
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 8 << 30
    assert ask(place, "upload v2", info.tobuf() + bytes(4096)).returncode == 1
    chained = b"".join(
        entry("l", b"x", type=tarfile.GNUTYPE_LONGNAME)[0].tobuf() + b"x".ljust(512, b"\0")
        for _ in range(5000)
    )
    assert ask(place, "upload v2", chained).returncode == 1
    clean(place)


def test_a_release_that_is_there_is_never_changed(place: Path):
    (place / "releases/v1").mkdir()
    (place / "releases/dangling").symlink_to("nowhere")
    for name in ("v1", "dangling"):
        assert ask(place, f"upload {name}", archive(*RELEASE)).returncode == 1
    assert os.listdir(place / "releases/v1") == []
    assert not (place / "releases/nowhere").exists()


def test_an_upload_that_is_killed_is_swept_by_the_next_and_one_that_runs_is_not(place: Path):
    command = [GATE, "--app", "web", "--releases", str(place / "releases")]
    given = {"SSH_ORIGINAL_COMMAND": "upload slow", "PATH": "/usr/bin"}
    slow = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=given)
    assert slow.stdin is not None
    sent = archive(*RELEASE)
    slow.stdin.write(sent[:4000])
    slow.stdin.flush()
    until = time.monotonic() + 10
    while not list((place / "releases").rglob("serve")) and time.monotonic() < until:
        time.sleep(0.01)
    assert ask(place, "upload v2", archive(*RELEASE)).returncode == 0
    assert len(os.listdir(place / "releases")) == 2
    slow.kill()
    slow.communicate()
    assert ask(place, "upload v3", archive(*RELEASE)).returncode == 0
    clean(place, but=("v2", "v3"))


@pytest.mark.parametrize(
    "command",
    [
        None, "", " ", "sh", "upload", "upload ", "upload v2 ", "upload  v2", " upload v2", "upload v2\n",
        "upload v2; id", "upload $(id)", "upload ../v2", "upload .", "upload ..", "upload .v2",
        "upload -v2", "upload a/b", "upload " + "v" * 65, "upload v\xe9", "upload v2 v3", "upload\tv2",
        "switch", "switch -h", "switch --offline", "switch v2 --now", "switch ..", "switch `id`",
        "switch v2\nrollback", "status --json", "status;id", "rollback --force", "rollback v1",
        "stop", "mend", "abort 1", "Status", "internal-sftp", "scp -t /", "/usr/lib/openssh/sftp-server",
    ],
)  # fmt: skip
def test_nothing_else_is_understood(place: Path, command):
    done = ask(place, command, archive(*RELEASE))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"cannot do that: only upload RELEASE")
    clean(place)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("switch v2", "--app web switch --on-disconnect detach -- v2"),
        ("status", "--app web status"),
        ("rollback", "--app web rollback"),
    ],
)
def test_relctl_gets_its_words_an_empty_stdin_and_no_variables_of_the_client(
    place: Path, command, words
):
    done = ask(place, command, b"secret")
    first, *variables = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout, first) == (7, b"", words)
    names = {line.partition("=")[0] for line in variables}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "LANG"}


def test_spoiled_archives_are_refused_or_taken_whole(place: Path):
    corpus = archive(*RELEASE), archive(*RELEASE, form=tarfile.PAX_FORMAT)
    for number in range(60):
        chance = Random(number)
        sent = spoiled(chance, chance.choice(corpus), corpus)
        done = ask(place, f"upload r{number}", sent)
        assert done.returncode in (0, 1), done.stderr
        assert b"Traceback" not in done.stderr, (number, done.stderr)
        assert (done.returncode == 0) == (place / f"releases/r{number}").is_dir()
    for path in (place / "releases").rglob("*"):
        assert path.resolve().is_relative_to(place / "releases") or path.is_symlink()
    assert (place / "outside").read_text() == "as it was"
