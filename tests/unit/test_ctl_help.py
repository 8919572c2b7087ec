"""`relctl --help` and the completions: short enough to be read, and all of it."""

from __future__ import annotations

import pytest

from relctl import cli


@pytest.fixture
def commands(capsys):
    assert cli.run(["--help"]) == 0  # registers every command, too
    return cli.relctl.commands, capsys.readouterr().out


def test_every_command_is_on_a_line_of_its_own_and_no_line_is_cut(commands):
    known, listed = commands
    rows = listed.partition("Commands:\n")[2].splitlines()
    assert [row.split()[0] for row in rows if row] == sorted(known)
    assert not [row for row in rows if row.endswith("...")]
