"""Files of plain units are put there whole, again after any death, and never over another one's."""

from __future__ import annotations

import pytest

from reld.host import place_units
from reld.host.place_units import Trouble, install, put, remove


@pytest.fixture
def said(monkeypatch):
    words: list[tuple[str, ...]] = []
    monkeypatch.setattr(place_units, "systemctl", lambda *w: words.append(w))
    return words


def files(tmp_path):
    return [
        (tmp_path / "web", 0o600, b"SECRET=1\n"),
        (tmp_path / "web.service", 0o644, b"[Unit]\n"),
    ]


def test_installing_writes_enables_and_starts(tmp_path, said):
    install(files(tmp_path), ["web.service"])
    assert (tmp_path / "web").stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["web", "web.service"]
    assert [w[0] for w in said] == ["daemon-reload", "enable", "start"]


def test_installing_again_after_any_death_is_the_same(tmp_path, said):
    (tmp_path / ".web.service.new").write_bytes(b"[Un")
    install(files(tmp_path), ["web.service"])
    install(files(tmp_path), ["web.service"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["web", "web.service"]


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_is_there_and_not_ours_stays_as_it_is(tmp_path, kind):
    path, other = tmp_path / "web.service", tmp_path / "other"
    if kind == "file":
        path.write_text("theirs")
    else:
        path.symlink_to(other)
    if kind == "link":
        other.write_text("theirs")
    with pytest.raises(Trouble, match="is there already, and not ours"):
        put(path, 0o644, b"ours")
    assert path.is_symlink() or path.read_text() == "theirs"
    assert kind != "dangling" or not other.exists()


def test_removing_takes_what_is_ours_and_leaves_what_was_changed(tmp_path, said):
    install(files(tmp_path), ["web.service"])
    (tmp_path / "web").write_text("SECRET=2\n")
    said.clear()
    with pytest.raises(Trouble, match="was changed by somebody, and is left alone"):
        remove(files(tmp_path), ["web.service"])
    assert [p.name for p in tmp_path.iterdir()] == ["web"]
    assert said[0] == ("disable", "--quiet", "web.service")
    assert said[1] == ("stop", "web.service")


def test_a_service_of_somebody_else_is_never_stopped(tmp_path, said):
    (tmp_path / "web.service").write_text("theirs")
    with pytest.raises(Trouble):
        remove(files(tmp_path), ["web.service"])
    assert [w[0] for w in said] == ["daemon-reload"]


def test_removing_what_was_never_there_is_done(tmp_path, said):
    remove(files(tmp_path), ["web.service"])
    assert [w[0] for w in said] == ["daemon-reload"]
