"""What an archive may hold, and what is taken for an attack."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from reld.unpack import archive as unpacking
from reld.unpack import packing
from tests.contract.unpack_support import RELEASE, archive, entry, folder, hard, link
from tests.fuzz.mutate import spoiled

MOST = 64 << 20
REFUSED = (*unpacking.TROUBLE, OSError)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where it is unpacked to; nothing beside it was touched in the end."""
    (tmp_path / "outside").write_text("as it was")
    (tmp_path / "release").mkdir()
    yield tmp_path / "release"
    assert (tmp_path / "outside").read_text() == "as it was"
    assert sorted(os.listdir(tmp_path)) == ["outside", "release"]
    for path in (tmp_path / "release").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "release")


def take(place: Path, sent: bytes, most: int = MOST, entries: int = 500_000) -> unpacking.Taken:
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    before = os.umask(0o022)
    try:
        return unpacking.unpack(io.BytesIO(sent), root, most, entries)
    finally:
        os.umask(before)
        os.close(root)


@pytest.mark.parametrize(
    "packed",
    [bytes, gzip.compress, bz2.compress, lzma.compress],
    ids=["tar", "gzip", "bzip2", "xz"],
)
def test_a_release_is_unpacked(place: Path, packed):
    taken = take(place, packed(archive(*RELEASE)))
    assert taken.entries == len(RELEASE)
    assert (place / "a/up").read_text() == "#!/bin/sh\n"
    assert (place / "current/data").stat().st_size == 5000
    found = {p.name: p.stat() for p in (place / "bin/serve", place / "a/b/data")}
    assert {name: stat.S_IMODE(f.st_mode) for name, f in found.items()} == {
        "serve": 0o755,
        "data": 0o644,
    }
    assert found["serve"].st_mtime == 1_000_000_000
    assert (place / "bin/same").stat().st_ino == found["serve"].st_ino


def test_what_real_tar_makes_of_a_tree_is_taken(
    place: Path, tmp_path_factory: pytest.TempPathFactory
):
    tree = tmp_path_factory.mktemp("tree")
    deep = tree / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    (deep / ("f" * 90)).write_text("long")
    os.link(deep / ("f" * 90), tree / "same")
    (tree / "here").symlink_to("d" * 90)
    for options in ("-cz", "-cJ", "-c"):
        made = subprocess.run(["tar", "-C", tree, options, "."], capture_output=True, check=True)
        take(place, made.stdout)
        assert len(list(place.rglob("f*"))) == 1
        empty(place)


def empty(place: Path) -> None:
    for path in place.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


EVIL = {
    "absolute": [entry("/etc/passwd", b"x")],
    "climbs": [entry("../outside", b"x")],
    "climbs later": [entry("a/../../outside", b"x")],
    "through a link": [link("a", ".."), entry("a/outside", b"x")],
    "through a link that stays inside": [folder("d"), link("a", "d"), entry("a/x", b"x")],
    "link to outside": [link("a", "../../outside")],
    "absolute link": [link("a", "/etc/passwd")],
    "link out by another link": [link("a/b/up", "../.."), link("out", "a/b/up/../outside")],
    "link in place of the release": [link(".", "../outside")],
    "empty link": [link("a", "")],
    "file in place of the release": [entry("./", b"x")],
    "hard link to outside": [hard("a", "../outside")],
    "absolute hard link": [hard("a", "/etc/passwd")],
    "hard link to nothing": [hard("a", "b")],
    "hard link to a directory": [folder("d"), hard("a", "d")],
    "hard link to itself": [hard("a", "a")],
    "hard link to the release": [hard("a", ".")],
    "hard link out by a link": [link("up/a", ".."), hard("b", "up/a/outside")],
    "hard link to a link that leads out there": [link("d/a", "../b"), hard("x", "d/a")],
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
    "only what is ours": [entry(".relctl", b"{}")],
}  # fmt: skip


@pytest.mark.parametrize("entries", EVIL.values(), ids=EVIL.keys())
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_with_a_trick_is_refused(place: Path, entries, form):
    with pytest.raises(REFUSED) as refused:
        take(place, archive(*entries, form=form))
    assert "\x1b" not in str(refused.value)


def test_bits_that_give_away_rights_and_owners_do_not_count(place: Path):
    modes = {"s": 0o6755, "w": 0o666, "t": 0o1777}
    take(place, archive(*(entry(n, b"x", mode=m, uid=0, gid=4) for n, m in modes.items())))
    for name, expected in (("s", 0o755), ("w", 0o644), ("t", 0o755)):
        found = (place / name).stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (expected, os.geteuid())


def test_marks_that_mean_something_to_reld_are_left_out(place: Path):
    take(
        place,
        archive(entry("./.relctl", b"{}"), entry(".relctl-incomplete"), entry("a/.relctl", b"x")),
    )
    assert [str(p.relative_to(place)) for p in place.rglob("*")] == ["a", "a/.relctl"]


@pytest.mark.parametrize("at", [0, 511, 512, 1000, 1024, 1536, 2048, 5000])
def test_a_cut_archive_is_no_release(place: Path, at: int):
    whole = archive(*RELEASE)
    for packed in (whole, gzip.compress(whole), bz2.compress(whole), lzma.compress(whole)):
        with pytest.raises(REFUSED):
            take(place, packed[: len(packed) * at // len(whole)])
        empty(place)


def test_an_archive_that_goes_on_with_nonsense_is_no_release(place: Path):
    whole = archive(*RELEASE).rstrip(b"\0")
    whole += b"\0" * (-len(whole) % 512) + b"nonsense" * 64
    with pytest.raises(packing.ArchiveError):
        take(place, whole)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_small_archive_that_gets_too_large_is_stopped(place: Path, pack):
    bomb = pack(archive(entry("a", bytes(3 << 20))))
    assert len(bomb) < 10_000
    with pytest.raises(packing.ArchiveError, match="larger than 2 MiB"):
        take(place, bomb, 2 << 20)
    empty(place)
    take(place, bomb, 4 << 20)


def test_an_archive_that_asks_for_too_much_memory_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packing, "XZ_MEMORY", 1 << 20)
    greedy = lzma.compress(archive(*RELEASE))  # 9 MiB, because its dictionary has 8
    with pytest.raises(lzma.LZMAError):
        take(place, greedy)


def test_too_many_entries_are_refused(place: Path):
    with pytest.raises(packing.ArchiveError, match="more than 3 entries"):
        take(place, archive(*(folder(f"d{n}") for n in range(4))), entries=3)


def test_headers_that_eat_memory_are_refused(place: Path):
    with pytest.raises(packing.ArchiveError, match="too large"):
        take(place, archive(entry("n" * 100_000, b"x")))
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 8 << 30
    chained = b"".join(
        entry("l", b"x", type=tarfile.GNUTYPE_LONGNAME)[0].tobuf() + b"x".ljust(512, b"\0")
        for _ in range(5000)
    )
    for sent in (info.tobuf() + bytes(4096), chained):
        with pytest.raises(REFUSED):
            take(place, sent)


def test_spoiled_archives_are_refused_or_taken(place: Path):
    corpus = archive(*RELEASE), archive(*RELEASE, form=tarfile.PAX_FORMAT)
    taken = 0
    for number in range(150):
        chance = Random(number)
        try:
            take(place, spoiled(chance, chance.choice(corpus), corpus))
            taken += 1
        except REFUSED:
            pass
        empty(place)
    assert 0 < taken < 150
