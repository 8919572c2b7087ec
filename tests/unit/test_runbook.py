"""The team's page: for three teams as kept text, and no command on it that relctl does not know.

After a change that is meant: `RELCTL_KEEP_RUNBOOKS=1 pytest tests/unit/test_runbook.py`, and read them.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import click
import pytest

from relctl import cli
from reld import config_file
from reld.core.model import Good, Kind, Phase
from reld.errors import ConfigError
from reld.runbook.book import Book
from reld.runbook.facts import Facts
from reld.runbook.page import page
from reld.runbook.words import span
from tests.unit.core_driver import POLICY, steady

KEPT = Path(__file__).parent / "runbooks"
TINY = """[app]
command = ["bin/serve", "--port", "{port}"]
directory = "/srv/web/releases/{release}"
[readiness]
path = "/ready"
"""
RICH = """[app]
command = ["bin/serve", "--port", "{port}"]
directory = "/srv/shop/releases/{release}"
instances = 4
[readiness]
path = "/ready"
[[smoke]]
name = "login"
path = "/login"
within = "800ms"
[rollout]
steps = [5, "approve", 25, 50, 95, 100, "approve"]
shadow = "5%"
surge = 1
side_by_side = true
[verdict]
max_error_rate = "5%"
max_p95 = "800ms"
on_unproven = "hold"
[[route]]
name = "checkout"
match = "^/checkout"
[hooks]
before_start = ["bin/migrate", "expand"]
contract = ["bin/migrate", "contract"]
[releases]
follow = "/srv/shop/current"
[access]
operators = ["@relctl", "tom"]
viewers = ["@staff"]
approvers = ["anna"]
"""
STOP_FIRST = TINY + '[rollout]\nstrategy = "stop-first"\nside_by_side = false\n'
REHEARSAL = {
    "release": "v1",
    "at": "2026-11-20T10:00:00.000Z",
    "outcome": "done",
    "seconds_to_ready": 3.2,
    "seconds_to_roll_back": 0.08,
    "longest_request": 4.0,
    "lost": 0,
    "advice": ['drain = "10s" would do'],
}


def facts(tmp_path, text: str, name: str = "web", **more) -> Facts:
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    config = replace(config_file.load(path, uid=1000), path=Path(f"/etc/relctl/{name}.toml"))
    return Facts(
        config=config,
        state=more.pop("state", steady().state),
        state_directory=f"/var/lib/relctl/{name}",
        socket=f"/run/relctl/{name}/control.sock",
        **more,
    )


def tiny(tmp_path) -> Facts:
    return facts(tmp_path, TINY, members={"@relctl": ()}, gate_unit="relctl-gate@web.service")


def rich(tmp_path) -> Facts:
    good = (Good("v0", 1), Good("v1", 2))
    return facts(
        tmp_path,
        RICH,
        "shop",
        state=replace(steady().state, good=good),
        rate=12.5,
        members={"@relctl": ("ben", "eva"), "@staff": ("kim",)},
        rehearsal=REHEARSAL,
        gate_unit="relctl-gate@shop.service",
    )


def stop_first(tmp_path) -> Facts:
    return facts(tmp_path, STOP_FIRST, state=replace(steady().state, away=7.5), rate=0.2)


TEAMS = {"tiny": tiny, "rich": rich, "stop-first": stop_first}


@pytest.fixture(params=TEAMS)
def team(request):
    return request.param


def test_the_page_is_the_one_that_was_read(tmp_path, team):
    made = page(TEAMS[team](tmp_path))
    kept = KEPT / f"{team}.md"
    if os.environ.get("RELCTL_KEEP_RUNBOOKS"):
        kept.write_text(made)
    assert made == kept.read_text()


def commands(markdown: str) -> list[list[str]]:
    """What the page tells to type, as relctl gets it."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", markdown, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```sh\n.*?^ *```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`]+)`", rest)
    found = []
    for line in lines:
        words = shlex.split(line)
        if "relctl" in words and words[0] in ("relctl", "sudo", "ssh"):
            found.append(["7" if w == "ID" else w for w in words[words.index("relctl") + 1 :]])
    return found


def test_relctl_understands_every_command_on_it(tmp_path, team):
    assert cli.run(["--help"]) == 0  # registers every command
    told = commands(page(TEAMS[team](tmp_path)))
    assert len(told) > 20
    for option, _app, name, *words in told:
        assert option == "--app"
        with click.Context(cli.relctl, **cli.relctl.context_settings) as context:
            context.obj = cli.Call(None, None, as_json=False)
            try:
                cli.relctl.commands[name].make_context(name, words, parent=context)
            except click.ClickException as error:
                pytest.fail(f"relctl {name} {' '.join(words)}: {error.format_message()}")


def test_every_line_is_text_that_cannot_break_the_page(tmp_path):
    evil = TINY.replace('"bin/serve"', '"bin/`rm`|x"')
    made = page(facts(tmp_path, evil))
    assert "bin/'rm'" in made
    assert "`rm`" not in made


def test_a_running_rollout_and_an_error_in_the_config_are_told_first(tmp_path):
    driver = steady().begin(Kind.SWITCH, "v2", POLICY).to(Phase.SHIFTING)
    wrong = "/etc/relctl/web.toml:3: app.usr: there is no such key"
    made = page(facts(tmp_path, TINY, state=driver.state, wrong=wrong))
    head = made.partition("## Release")[0]
    assert f"Rollout {driver.rollout.id} to v2 is shifting." in head
    assert "web.toml:3" in head


def test_a_team_without_anything_live_gets_a_page_too(tmp_path):
    empty = replace(steady().state, gate=type(steady().state.gate)(), blue=None, green=None)
    assert "**Nothing is live**" in page(facts(tmp_path, TINY, state=empty))


async def test_a_config_with_an_error_still_gives_the_page_of_the_one_in_use(tmp_path):
    used = tiny(tmp_path)

    def broken():
        raise ConfigError(("/etc/relctl/web.toml:1: file: is wrong",))

    book = Book(
        lambda: used.state,
        lambda: used.config,
        broken,
        lambda: None,
        Path("/var/lib/relctl/web"),
        Path("/run/relctl/web/control.sock"),
        None,
    )
    made = await book.page(None)
    assert "no switch will begin:** /etc/relctl/web.toml:1: file: is wrong" in made
    assert "# Releases of web" in made


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.08, "0.08 s"), (7.5, "7.5 s"), (30, "30 s"), (90, "1 min 30 s"), (7200, "2 h")],
)
def test_spans(seconds, said):
    assert span(seconds) == said
