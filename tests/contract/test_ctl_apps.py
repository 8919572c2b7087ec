"""`relctl apps`, with several sockets below one directory."""

from __future__ import annotations

import json
import os

import pytest

from relctl import find
from relctl.__main__ import main
from relctl.text import NONE
from tests.fakes.api import fake_reld, rolling, status


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Two apps that answer, and the socket of one that does not."""
    monkeypatch.setattr(find, "RUN", str(tmp_path))
    with fake_reld("web") as web, fake_reld("blog") as blog:
        for fake in (web, blog):
            os.symlink(fake.directory, tmp_path / os.path.basename(fake.directory))
        web.status = status(app="web")
        blog.status = rolling("shifting", 25)
        yield tmp_path


def test_every_app_has_its_line(machine, capsys):
    assert main(["apps"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["APP", "blog", "web"]
    assert "v1 → v2 shifting 25 %" in said[1]
    assert said[2].split() == ["web", "v1", "blue", NONE, "fine"]


def test_an_app_that_does_not_answer_hides_no_other(machine, capsys):
    (machine / "gone").mkdir()
    (machine / "gone" / "control.sock").touch()
    assert main(["apps"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["APP", "blog", "gone", "web"]
    assert "cannot reach" in said[2]
    assert main(["apps", "--check"]) == 3


def test_a_program_gets_the_whole_status_of_each(machine, capsys):
    assert main(["apps", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["apps"]
    assert [app["app"] for app in found] == ["blog", "web"]
    assert found[0]["rollout"]["percent"] == 25


def test_no_app_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(find, "RUN", str(tmp_path))
    assert main(["apps"]) == 0
    assert "no app on this machine" in capsys.readouterr().err
