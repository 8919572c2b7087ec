"""Every command on a bad night: mistyped, without reld, without the right to ask, before an older reld.

Each says what, why, and what to type next; none sends a thing it should not, and none shows a traceback.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil

import pytest

import relctl
from relctl import cli
from relctl.__main__ import main
from tests.fakes.api import fake_reld

ASKING = {
    "abort": "abort 42",
    "approve": "approve 42",
    "audit": "audit",
    "check": "check",
    "contract": "contract",
    "deploy": "deploy v2",
    "eject": "eject --port 8000",
    "history": "history",
    "logs": "logs",
    "maintenance": "maintenance off",
    "mend": "mend",
    "notify": "notify --test",
    "pause": "pause 42",
    "plan": "plan v2",
    "promote": "promote 42",
    "rehearse": "rehearse",
    "releases": "releases",
    "replay": "replay 42",
    "restart": "restart",
    "resume": "resume 42",
    "rollback": "rollback",
    "run": "run -- true",
    "runbook": "runbook",
    "show": "show 42",
    "start": "start",
    "status": "status",
    "stop": "stop",
    "switch": "switch v2",
    "unpack": "unpack v2 release.tar",
    "watch": "watch",
}
"""Commands that ask reld, each as it may be typed."""

ALONE = {"apps", "init", "version"}
"""Commands that are of use without any reld."""

DIAGNOSES = {"check"}
"""Whose answer a missing reld is."""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RELCTL_APP", raising=False)
    monkeypatch.delenv("RELCTL_SOCKET", raising=False)
    tmp_path.chmod(0o755)
    (tmp_path / "release.tar").write_bytes(
        b"\0" * 10240
    )  # the end of an archive, and nothing before


@pytest.fixture
def reld(monkeypatch):
    with fake_reld() as fake:
        monkeypatch.setenv("RELCTL_SOCKET", fake.path)
        yield fake


def told(capsys, *, as_json):
    """What a person or a program is told of an error, after a look at its form."""
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    if as_json:
        (only,) = said.out.splitlines()
        error = json.loads(only)["error"]
        return error["message"], error["hint"]
    assert said.out == ""
    first, *rest = said.err.splitlines()
    assert first.startswith("relctl: ")
    return first, "\n".join(rest)


def test_every_command_is_here(capsys):
    assert main(["--help"]) == 0
    assert {*ASKING, *ALONE} == set(cli.relctl.commands)


forms = pytest.mark.parametrize("as_json", [False, True], ids=["people", "json"])
asking = pytest.mark.parametrize("line", ASKING.values(), ids=ASKING)
all_commands = pytest.mark.parametrize("name", sorted({*ASKING, *ALONE}))


@forms
@all_commands
def test_an_option_that_does_not_exist_is_2_and_names_the_help(reld, capsys, name, as_json):
    assert main([name, "--nonsense", *(["--json"] if as_json else [])]) == 2
    message, hint = told(capsys, as_json=as_json)
    assert "--nonsense" in message or "argument" in message
    assert f"relctl {name} --help" in hint
    assert reld.requests == []


@forms
@pytest.mark.parametrize("line", [ASKING[name] for name in ASKING if name not in ("run", "init")])
def test_a_word_too_many_is_2_and_nothing_is_asked(reld, capsys, line, as_json):
    assert main([*line.split(), "one", "more", "word", *(["--json"] if as_json else [])]) == 2
    told(capsys, as_json=as_json)
    assert reld.requests == []


@forms
@asking
def test_without_reld_it_is_5_with_the_unit_and_the_command_that_starts_it(
    capsys, tmp_path, line, as_json
):
    if line in DIAGNOSES:
        return
    path = str(tmp_path / "web/control.sock")
    arguments = line.split()
    asked = [arguments[0], "--socket", path, *(["--json"] if as_json else []), *arguments[1:]]
    assert main(asked) == 5
    message, hint = told(capsys, as_json=as_json)
    assert "reld@web" in message
    assert path in message
    assert "systemctl" in hint


@asking
def test_without_the_right_to_ask_it_is_4_with_the_group_and_how_to_join_it(reld, capsys, line):
    if line in DIAGNOSES:
        return
    main(["--help"])
    for module in pkgutil.iter_modules(relctl.__path__, "relctl."):
        if module.name != "relctl.__main__":  # the other user may not be able to read our Python
            importlib.import_module(module.name)
    for name in ("getpass", "grp", "pwd"):
        importlib.import_module(name)
    capsys.readouterr()
    os.chmod(reld.directory, 0o700)
    os.chmod(reld.path, 0o000)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        code = main(line.split())
    finally:
        if was_root:
            os.seteuid(0)
    assert code == 4
    message, hint = told(capsys, as_json=False)
    assert "permission denied" in message
    assert "group" in message
    assert "sudo" in hint


@forms
@asking
def test_before_an_older_reld_it_says_so_and_how_to_renew_it(reld, capsys, line, as_json):
    for verb in ("GET", "POST"):
        reld.unknown(verb)
    assert main([*line.split()[:1], *(["--json"] if as_json else []), *line.split()[1:]]) in (1, 2)
    message, hint = told(capsys, as_json=as_json)
    assert "9.9" in message
    assert "relctl is" in message
    assert "sudo systemctl restart reld@web" in hint
