"""`[releases]` in the config: what it may say, and how it is told what it may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reld.config import Releases
from reld.config_file import check, load
from tests.unit.test_config_refusals import VALID


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "web.toml"
    path.write_text(VALID + "\n".join(["[releases]", *lines, ""]))
    path.chmod(0o644)
    return path


def test_without_it_there_are_defaults(tmp_path: Path):
    assert load(written(tmp_path), uid=os.geteuid()).releases == Releases((), (), 5, 2 << 30, 600.0)


def test_all_of_it_is_read(tmp_path: Path):
    path = written(
        tmp_path,
        'build = [["make"], ["bin/assets", "{release}"]]',
        'shared = ["storage", "./tmp/pids/"]',
        'keep = 0\nmax_size = "512M"\nunpack_timeout = "90s"',
    )
    assert load(path, uid=os.geteuid()).releases == Releases(
        (("make",), ("bin/assets", "{release}")), ("storage", "tmp/pids"), 0, 512 << 20, 90.0
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            'build = ["make", "all"]',
            "releases.build: a list of commands is needed, not one command",
        ),
        ("build = [[]]", "there is no program in it"),
        ('build = ["make all"]', 'did you mean [["make all"]]'),
        ('build = [["make", "{port}"]]', "{port} is no placeholder here"),
        ('build = "make"', "is not a list"),
        ('shared = "storage"', "is not a list"),
        ('shared = ["/storage"]', "is no path in a release"),
        ('shared = ["../storage"]', "is no path in a release"),
        ('shared = ["a/./b"]', "is no path in a release"),
        ('shared = ["a", "a"]', "is there twice"),
        ('shared = ["a/b", "a"]', '"a/b" is in "a", which is shared as a whole'),
        ('shared = [""]', "is no path in a release"),
        ("keep = -1", "is out of range"),
        ("keep = true", "is not a whole number"),
        ('max_size = "2 GB"', "is not a size"),
        ("unpack_timeout = 600", "has no unit"),
        ('unpack_timeout = "0s"', "is out of range"),
        ("kept = 5", "keep"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(tmp_path: Path, line: str, words: str):
    path = written(tmp_path, line)
    (finding,) = check(path, os.geteuid())
    number = VALID.count("\n") + 2
    assert finding.startswith(f"{path}:{number}: releases.")
    assert words in finding
