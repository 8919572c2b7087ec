"""What a release is started with: the env file, and the name that every process of an instance bears."""

from __future__ import annotations

import pytest

from reld.errors import PrepareError
from reld.snapshot import Seat, read_env

SEAT = Seat("web", "blue", 0, 7, "127.0.0.1:21003", "3f2a9c51-boot")


def written(tmp_path, text):
    path = tmp_path / "web.env"
    path.write_text(text)
    return str(path)


def test_an_env_file_is_read_as_systemd_reads_it(tmp_path):
    text = "# secret\n\nA=1\nexport B='two words'\nC=\"x=y\"\n; no\nD=\n"
    assert read_env(written(tmp_path, text)) == (
        ("A", "1"),
        ("B", "two words"),
        ("C", "x=y"),
        ("D", ""),
    )


@pytest.mark.parametrize("line", ["no equals sign", "1A=x", "A B=x", "=x"])
def test_a_bad_line_is_named_by_its_number_and_never_shown(tmp_path, line):
    with pytest.raises(PrepareError) as caught:
        read_env(written(tmp_path, f"OK=1\n{line} hunter2\n"))
    assert ":2: expected NAME=value" in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_missing_env_file_is_named(tmp_path):
    with pytest.raises(PrepareError, match=r"cannot read app\.env_file"):
        read_env(str(tmp_path / "missing.env"))


@pytest.mark.parametrize(
    "other",
    [
        Seat("web", "blue", 0, 8, "127.0.0.1:21003", "3f2a9c51-boot"),
        Seat("web", "blue", 0, 7, "127.0.0.1:31003", "3f2a9c51-boot"),
        Seat("shop", "blue", 0, 7, "127.0.0.1:21003", "3f2a9c51-boot"),
        Seat("web", "blue", 0, 7, "127.0.0.1:21003", "99999999-boot"),
    ],
    ids=["another instance", "another reld's app of this name", "another app", "another boot"],
)
def test_no_two_instances_of_a_machine_bear_the_same_marker(other):
    """What bears it is killed with the instance: a marker that two share kills a stranger."""
    assert SEAT.marker != other.marker
