"""Where a release is: the template with the name anywhere in it, and which of them unpack made."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from reld.completeness import refuse_incomplete
from reld.config import App
from reld.errors import PrepareError, Refused
from reld.origin import Origin, origin_of, replaced
from reld.release_list import directories, unfinished
from reld.release_place import Place, interrupted, place_of, unpacked
from reld.unpack.claim import Claim, left
from reld.unpack.trees import opened


@pytest.mark.parametrize(
    ("template", "place", "shared"),
    [
        ("/srv/web/releases/{release}", Place("/srv/web/releases", "v2", ""), "/srv/web/shared"),
        ("/srv/web/releases/{release}/", Place("/srv/web/releases", "v2", ""), "/srv/web/shared"),
        ("/srv/web/{release}/app/x", Place("/srv/web", "v2", "app/x"), "/srv/shared"),
        ("/srv/web/web-{release}.d", Place("/srv/web", "web-v2.d", ""), "/srv/shared"),
        ("/srv/{{a}}/{release}", Place("/srv/{a}", "v2", ""), "/srv/shared"),
        ("/{release}", Place("/", "v2", ""), "/shared"),
    ],
)
def test_a_template_says_where_a_release_is(template, place, shared):
    assert place_of(template, "v2") == place
    assert place.shared == shared


@pytest.mark.parametrize("template", ["/srv/{release}/{release}", "/srv/{release}-{release}"])
def test_a_release_that_is_named_twice_is_refused(template):
    with pytest.raises(Refused, match="more than once"):
        place_of(template, "v2")
    assert unpacked(template) == []
    assert not interrupted(template)


def test_only_what_has_a_marker_was_unpacked(tmp_path: Path):
    for name in ("web-v1", "web-v2", "web-", "other", ".web-v3.~0a1b2c3d"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".relctl").write_text("{}")
        os.utime(tmp_path / name / ".relctl", (7, 7))
    (tmp_path / "web-hand").mkdir()
    (tmp_path / "web-link").mkdir()
    (tmp_path / "web-link/.relctl").symlink_to("../web-v1/.relctl")
    found = unpacked(f"{tmp_path}/web-{{release}}")
    assert sorted((one.release, one.at) for one in found) == [("v1", 7.0), ("v2", 7.0)]
    assert interrupted(f"{tmp_path}/web-{{release}}")


def test_a_directory_of_releases_that_is_not_there_has_none():
    assert unpacked("/nowhere/at-all/{release}") == []
    assert not interrupted("/nowhere/at-all/{release}")


# which directory it was


def test_the_same_directory_is_the_same_whatever_is_written_into_it(tmp_path: Path):
    before = origin_of(str(tmp_path), "boot")
    (tmp_path / "file").touch()
    assert not replaced(before, origin_of(str(tmp_path), "boot"))
    assert not replaced(before, origin_of(str(tmp_path), "a later boot"))


def test_another_directory_of_that_name_is_another_also_with_its_inode(tmp_path: Path):
    (tmp_path / "v1").mkdir()
    before = origin_of(str(tmp_path / "v1"), "boot")
    (tmp_path / "v1").rmdir()
    (tmp_path / "v1").mkdir()
    assert replaced(before, origin_of(str(tmp_path / "v1"), "boot"))


@pytest.mark.parametrize(
    ("then", "now", "another"),
    [
        (None, Origin(1, 2, 3, "a"), False),
        (Origin(1, 2, 3, "a"), None, False),
        (Origin(1, 2, 3, "a"), Origin(9, 2, 3, "a"), True),
        (Origin(1, 2, 3, "a"), Origin(9, 2, 3, "b"), False),
        (Origin(1, 2, 3, "a"), Origin(1, 9, 3, "b"), True),
        (Origin(1, 2, 3, "a"), Origin(1, 2, 9, "b"), True),
        (Origin(1, 2, None, "a"), Origin(1, 2, 9, "a"), False),
    ],
)
def test_only_what_is_sure_makes_it_another(then, now, another):
    assert replaced(then, now) is another


# whether it is whole


def app(*command: str, user: str | None = None) -> App:
    return App(command, "/srv/{release}", user)


def test_a_whole_release_is_taken(tmp_path: Path):
    (tmp_path / "serve").touch()
    for command in ("./serve", "{directory}/serve", "/bin/sh", "python3", "bin/{port}"):
        refuse_incomplete("v1", tmp_path, app(command))


@pytest.mark.parametrize("command", ["bin/serve", "{directory}/serve", "/no/such/program"])
def test_a_missing_program_is_named(tmp_path: Path, command: str):
    with pytest.raises(PrepareError, match=r"app\.command needs"):
        refuse_incomplete("v1", tmp_path, app(command))


def test_a_copy_that_goes_on_says_so(tmp_path: Path):
    (tmp_path / ".relctl-incomplete").touch()
    with pytest.raises(PrepareError, match="v1 is not complete") as refused:
        refuse_incomplete("v1", tmp_path, app("python3"))
    assert "rm " in refused.value.hint


def test_one_that_unpack_left_or_builds_says_what_to_do(tmp_path: Path):
    top = tmp_path / "v1"
    (top / "app").mkdir(parents=True)
    Claim("v1", top.stat().st_ino).write(str(top))
    (top / ".relctl").touch()
    template = f"{tmp_path}/{{release}}/app"
    built = App(("python3",), template)
    with pytest.raises(PrepareError, match="left by an unpack that was killed") as refused:
        refuse_incomplete("v1", top / "app", built)
    assert refused.value.hint.startswith("relctl unpack v1 again")
    with opened(str(top)) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PrepareError, match="unpack is building it"):
            refuse_incomplete("v1", top / "app", built)
        assert unfinished(template) == {"v1": "being built"}
    assert unfinished(template) == {"v1": "incomplete"}
    assert unpacked(template) == directories(template) == []
    assert interrupted(template)


@pytest.mark.parametrize(
    "said", ["", "[]", "{}", "7", '{"unpack": "v1", "inode": 1, "moved": []}', "[" * 100_000]
)
def test_a_marker_that_says_something_else_is_a_persons(tmp_path: Path, said: str):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1/.relctl-incomplete").write_text(said)
    assert left(str(tmp_path), "v1") is None
    assert unfinished(f"{tmp_path}/{{release}}") == {"v1": "incomplete"}


def test_a_directory_that_is_closed_to_the_user_is_refused(tmp_path: Path):
    tmp_path.chmod(0o700)
    with pytest.raises(PrepareError, match="closed to user nobody"):
        refuse_incomplete("v1", tmp_path, app("python3", user="nobody"))
    tmp_path.chmod(0o711)
    refuse_incomplete("v1", tmp_path, app("python3", user="nobody"))


def test_a_link_to_a_release_is_none_that_may_be_pruned(tmp_path: Path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / ".relctl").touch()
    (tmp_path / "current").symlink_to("v1")
    assert [one.release for one in unpacked(f"{tmp_path}/{{release}}")] == ["v1"]
