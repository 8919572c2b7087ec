from __future__ import annotations

import os

import pytest

from relctl import offline
from relctl.errors import CtlError


def lay(runtime, rollout, shares, current):
    directory = runtime / "lanes" / str(rollout)
    for share in shares:
        (directory / str(share)).mkdir(parents=True)
        for lane in range(share):
            (directory / str(share) / str(lane)).touch()
    (directory / "current").symlink_to(str(current))
    return directory


def test_the_newest_rollout_gets_share_zero_by_one_rename(tmp_path):
    old = lay(tmp_path, 9, [0, 50], 50)
    new = lay(tmp_path, 41, [0, 25], 25)
    assert offline.take_back(str(tmp_path)) == offline.Moved(41, "25")
    assert os.readlink(new / "current") == "0"
    assert not (new / "current" / "0").exists()
    assert os.readlink(old / "current") == "50"
    assert sorted(os.listdir(new)) == ["0", "25", "current"]


def test_a_second_time_is_fine(tmp_path):
    lay(tmp_path, 41, [0, 25], 25)
    offline.take_back(str(tmp_path))
    assert offline.take_back(str(tmp_path)).before == "0"


def test_a_missing_directory_of_share_zero_is_made(tmp_path):
    new = lay(tmp_path, 41, [25], 25)
    offline.take_back(str(tmp_path))
    assert os.listdir(new / "current") == []


@pytest.mark.parametrize("make", [None, "lanes"])
def test_without_lanes_it_fails_with_the_reason(tmp_path, make):
    if make:
        (tmp_path / make).mkdir()
    with pytest.raises(CtlError) as caught:
        offline.take_back(str(tmp_path))
    assert caught.value.exit_code == 1
    assert str(tmp_path) in caught.value.message


def test_lanes_of_somebody_else_are_not_permitted(tmp_path, monkeypatch):
    lay(tmp_path, 41, [0, 25], 25)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "symlink", refuse)
    with pytest.raises(CtlError) as caught:
        offline.take_back(str(tmp_path))
    assert caught.value.exit_code == 4
    assert "sudo" in caught.value.hint
