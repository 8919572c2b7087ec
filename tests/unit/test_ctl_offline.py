"""`relctl rollback --offline` on the very lanes that reld lays."""

from __future__ import annotations

import os

import pytest

from relctl import offline
from relctl.errors import CtlError
from reld.nginx import lanes


def lay(runtime, rollout, share):
    lanes.prepare(runtime, rollout, (25, 50))
    lanes.move_now(runtime, rollout, share)


def test_the_newest_rollout_gets_share_zero(tmp_path):
    lay(tmp_path, 9, 50)
    lay(tmp_path, 41, 25)
    assert offline.take_back(str(tmp_path)) == offline.Moved(41, "25")
    assert lanes.share(tmp_path, 41) == 0
    assert lanes.share(tmp_path, 9) == 50


def test_before_the_first_lane_it_ends_the_mirror(tmp_path):
    lay(tmp_path, 41, 0)
    lanes.shadow_on(tmp_path, 41)
    assert offline.take_back(str(tmp_path)) == offline.Moved(41, "0")
    assert not lanes.shadow_is_on(tmp_path, 41)


def test_a_second_time_is_fine(tmp_path):
    lay(tmp_path, 41, 25)
    offline.take_back(str(tmp_path))
    assert offline.take_back(str(tmp_path)).before == "0"


def test_reld_moves_the_lanes_on_from_there(tmp_path):
    lay(tmp_path, 41, 25)
    offline.take_back(str(tmp_path))
    lanes.move_now(tmp_path, 41, 50)
    lanes.move_now(tmp_path, 41, 0)
    assert lanes.share(tmp_path, 41) == 0


def test_a_missing_directory_of_share_zero_is_made(tmp_path):
    lay(tmp_path, 41, 25)
    home = lanes.directory(tmp_path, 41)
    (home / "back").unlink()
    (home / "000").rmdir()
    offline.take_back(str(tmp_path))
    assert os.listdir(home / "current") == []


@pytest.mark.parametrize("make", [None, "lanes"])
def test_without_lanes_it_fails_with_the_reason(tmp_path, make):
    if make:
        (tmp_path / make).mkdir()
    with pytest.raises(CtlError) as caught:
        offline.take_back(str(tmp_path))
    assert caught.value.exit_code == 1
    assert str(tmp_path) in caught.value.message


def test_lanes_of_somebody_else_are_not_permitted(tmp_path, monkeypatch):
    lay(tmp_path, 41, 25)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(CtlError) as caught:
        offline.take_back(str(tmp_path))
    assert caught.value.exit_code == 4
    assert "sudo" in caught.value.hint
