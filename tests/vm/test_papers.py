"""Man pages and completions: they say what the program knows, and all of it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import click
import pytest

from relctl import cli, errors
from reld import config
from reld.config_file import _TABLES
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(400)

PAGES = Path(__file__).parents[2] / "packaging/man"
NAMES = ("relctl.1", "reld.8", "relctl.toml.5")


def _commands() -> dict[str, click.Command]:
    cli.run(["--help"])  # registers every command
    return cli.relctl.commands


@pytest.mark.parametrize("name", NAMES)
def test_man_pages_render_without_a_warning(name: str):
    shown = subprocess.run(
        ["man", "--warnings", "--local-file", PAGES / name],
        env={"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stderr == ""
    assert len(shown.stdout.splitlines()) > 50


def test_the_manual_has_every_command_and_every_option():
    page = (PAGES / "relctl.1").read_text()
    for name, command in _commands().items():
        assert re.search(rf"Cm {name}\b", page), name
        for option in command.params:
            for word in option.opts if isinstance(option, click.Option) else ():
                assert re.search(
                    rf"Fl (\w , )?{re.escape(word[1:])}\b|, {re.escape(word[1:])}\b", page
                ), f"{name} {word}"


def test_the_manual_has_every_exit_code():
    page = (PAGES / "relctl.1").read_text().partition("EXIT STATUS")[2]
    listed = {int(code) for code in re.findall(r"^\.It (\d+)$", page, re.MULTILINE)}
    known = {v for name, v in vars(errors).items() if name.isupper() and type(v) is int}
    assert listed == known | {8}  # 8 comes from reld


def test_the_manual_has_every_key_of_the_config_and_no_other():
    page = (PAGES / "relctl.toml.5").read_text()
    for name, table in _TABLES.items():
        section = re.search(
            rf"^\.Ss \[+{name}\]+\n(.*?)(?=^\.S[sh] )", page, re.MULTILINE | re.DOTALL
        )
        assert section, name
        assert set(re.findall(r"^\.It Cm (\w+)", section[1], re.MULTILINE)) == set(table.keys), name


def test_the_manual_names_the_defaults():
    page = (PAGES / "relctl.toml.5").read_text()
    units = {0.2: "200ms", 60.0: "(60s|1m)", 600.0: "10m", 300.0: "5m", 900.0: "15m"}
    for name in ("app", "readiness", "liveness", "rollout", "verdict", "gate", "hooks"):
        section = re.search(
            rf"^\.Ss \[+{name}\]+\n(.*?)(?=^\.S[sh] )", page, re.MULTILINE | re.DOTALL
        )
        assert section
        table = getattr(config, name.capitalize())
        for field in dataclasses.fields(table):
            if type(field.default) is not float or field.name in ("false_alarm", "shadow"):
                continue
            text = section[1].partition(f".It Cm {field.name}\n")[2].partition("\n.It")[0]
            wanted = units.get(field.default, f"{field.default:g}s")
            assert re.search(rf"[Dd]efault {wanted}\b", text), f"{name}.{field.name}"


def test_bash_completes_commands_options_releases_apps_and_rollouts(serving: Box):
    assert {"switch", "status", "deploy"} <= _bash(serving, "relctl ")
    assert _bash(serving, "relctl sw") == {"switch"}
    assert {"--steps", "--bake", "--json"} <= _bash(serving, "relctl switch --")
    assert _bash(serving, "relctl switch ") == {"v1", "v2", "v3"}
    assert _bash(serving, "relctl --app web rollback v") == {"v1", "v2", "v3"}
    assert _bash(serving, "relctl --app ") == {"web"}
    assert _bash(serving, "relctl show ") == {"1"}
    assert _bash(serving, "relctl logs ") == {"blue", "green"}
    assert _bash(serving, "relctl switch v2 --bake ") == set()


def test_zsh_completes_commands_and_releases(serving: Box):
    said = _zsh(serving, "relctl switch ")
    assert {"v1", "v2", "v3"} <= set(said.split())
    assert "switch" in _zsh(serving, "relctl s")


def test_fish_completes_commands_and_releases(serving: Box):
    assert {"v1", "v2", "v3"} <= _fish(serving, "relctl switch ")
    assert "switch" in _fish(serving, "relctl sw")
    assert "web" in _fish(serving, "relctl --app ")
    assert _fish(serving, "relctl logs ") == {"blue", "green"}


def test_man_finds_the_pages(box: Box):
    for page in ("1 relctl", "8 reld", "5 relctl.toml"):
        assert "relctl" in box.sh(f"MANPAGER=cat man {page} 2>&1")


def _bash(box: Box, line: str) -> set[str]:
    words = line.split(" ")
    script = (
        ". /usr/share/bash-completion/completions/relctl; "
        f"COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; "
        "_relctl; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    return {word for word in box.sh(script).splitlines() if word}


def _fish(box: Box, line: str) -> set[str]:
    said = box.sh(f"HOME=/tmp fish -c 'complete -C \"{line}\"'")
    return {row.split("\t")[0] for row in said.splitlines()}


def _zsh(box: Box, line: str) -> str:
    """A real zsh at a pseudo terminal: its completion works nowhere else."""
    driver = f"""
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(HOME='/tmp', TERM='dumb', PS1='')
    os.execv('/usr/bin/zsh', ['zsh', '-f', '-i'])
def read(seconds):
    end, said = time.time() + seconds, b''
    while time.time() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try: said += os.read(fd, 65536)
            except OSError: break
    return said
os.write(fd, b'autoload -U compinit; compinit -u -D; setopt nolistbeep; LISTMAX=1000\\n')
read(2)
os.write(fd, {line!r}.encode() + b'\\t\\t')
sys.stdout.write(read(3).decode(errors='replace'))
"""
    return box.sh(f"/usr/bin/python3 - <<'END'\n{driver}\nEND")
