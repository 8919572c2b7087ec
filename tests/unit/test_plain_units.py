"""Plain units: what a release is written down as for systemd. (That systemd reads it so: tests/vm.)"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from reld.config import App, Hooks, Liveness, Readiness
from reld.core.model import Color
from reld.errors import PrepareError
from reld.plain_units import command_line, plain_units
from reld.snapshot import Snapshot

APP = App(("bin/serve", "--port", "{port}"), "/srv/web/{release}", user="web", stop_timeout=1.5)


def snapshot(app=APP, directory="/srv/web/v2", env=()):
    return Snapshot("v2", directory, app, Readiness(), Liveness(), (), Hooks(), tuple(env))


def units(ports=(8000,), **changes):
    return plain_units(snapshot(**changes), "web", Color.GREEN, "web", ports)


def with_(**changes):
    return replace(APP, **changes)

    return replace(APP, **changes)


def test_an_app_on_a_socket_that_reld_makes_has_no_unit():
    with pytest.raises(PrepareError, match=r"listens on \{socket\}") as found:
        units(app=with_(command=("bin/serve", "unix:{socket}")))
    assert "put {port} into app.command" in found.value.hint


def test_one_instance_is_one_unit_and_its_environment():
    made = units()
    assert made.names == ("web",)
    secrets, unit = made.files
    assert (secrets.path, secrets.mode) == ("/etc/default/web", 0o600)
    assert (unit.path, unit.mode) == ("/etc/systemd/system/web.service", 0o644)
    for line in (
        "User=web",
        "WorkingDirectory=/srv/web/v2",
        "Environment=PORT=8000",
        "EnvironmentFile=/etc/default/web",
        "ExecStart=/srv/web/v2/bin/serve --port 8000",
        "KillSignal=SIGTERM",
        "TimeoutStopSec=1500ms",
        "Restart=always",
        "WantedBy=multi-user.target",
    ):
        assert line in unit.text.splitlines()
    assert "relctl" not in unit.text.lower()


def test_several_instances_have_a_unit_each_on_ports_that_follow():
    made = units(ports=(8000, 8001), app=with_(command=("bin/serve", "{instance}", "{port}")))
    assert made.names == ("web-8000", "web-8001")
    first, second = (file.text for file in made.files[1:])
    assert "bin/serve 0 8000" in first
    assert "bin/serve 1 8001" in second
    assert "EnvironmentFile=/etc/default/web\n" in second


def test_secrets_are_in_the_environment_only_and_the_port_is_in_the_unit_only():
    secrets, unit = units(env=[("TOKEN", "hunter2"), ("PORT", "99")]).files
    assert 'TOKEN="hunter2"\n' in secrets.text
    assert "hunter2" not in unit.text
    assert not re.search(r"^PORT=", secrets.text, re.MULTILINE)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain-1.2/x:y=z", "plain-1.2/x:y=z"),
        ("two words", '"two words"'),
        ("", '""'),
        ('a"b', '"a\\"b"'),
        ("a\\b", '"a\\\\b"'),
        ("100%", '"100%%"'),
        (";", '";"'),
        ("ta\tb", '"ta\\tb"'),
        ("é€", '"é€"'),
    ],
)
def test_words_are_quoted_as_systemd_reads_them(word, written):
    assert command_line("/bin/x", (word,)) == f"/bin/x {written}"


def test_a_dollar_means_nothing_in_the_whole_line():
    assert command_line("/bin/x", ("$HOME", "a")) == ':/bin/x "$HOME" a'


@pytest.mark.parametrize("word", ["a\nb", "a\rb", "\x00", "\x1b", "\x85", "\udc80"])
def test_what_a_unit_file_cannot_say_is_refused(word):
    for bad in (
        {"app": with_(command=("bin/serve", word))},
        {"directory": f"/srv/{word}"},
    ):
        with pytest.raises(PrepareError, match="cannot write a unit"):
            units(**bad)


@pytest.mark.parametrize("program", ["it's", 'a"b', "a\\b"])
def test_a_program_whose_path_systemd_refuses_is_refused_here(program):
    with pytest.raises(PrepareError, match="the path of its program"):
        units(app=with_(command=(f"./{program}",)))


@pytest.mark.parametrize("directory", ["/srv/web ", "/srv/web\\"])
def test_a_directory_that_ends_in_what_systemd_drops_is_refused(directory):
    with pytest.raises(PrepareError, match="directory"):
        units(directory=directory)


def test_specifiers_in_a_directory_are_plain_characters():
    assert "WorkingDirectory=/srv/100%% $x\n" in units(directory="/srv/100% $x").files[1].text


@pytest.mark.parametrize(
    ("name", "value"), [("A B", "x"), ("ä", "x"), ("A", "\x07"), ("A", "\udc80")]
)
def test_an_environment_that_a_file_cannot_say_is_refused_and_never_shown(name, value):
    with pytest.raises(PrepareError) as caught:
        units(env=[(name, f"hunter2{value}")])
    assert "hunter2" not in caught.value.message


def test_a_value_keeps_its_quotes_dollars_and_lines():
    (secrets, _) = units(env=[("A", 'x"y$z`\\\nnext')]).files
    assert 'A="x\\"y\\$z\\`\\\\\nnext"\n' in secrets.text


def test_limits_are_kept():
    unit = units(app=with_(memory_max=1 << 20, tasks_max=50)).files[1].text
    assert "MemoryMax=1048576\n" in unit
    assert "TasksMax=50\n" in unit


def test_a_stop_timeout_of_nothing_is_not_for_ever():
    assert "TimeoutStopSec=1ms\n" in units(app=with_(stop_timeout=0.0)).files[1].text


def test_nobody_becomes_root():
    with pytest.raises(PrepareError, match=r"app\.user is not set"):
        units(app=with_(user=None))


def test_a_command_that_is_not_in_the_path_is_told():
    with pytest.raises(PrepareError, match="no-such-program is not in"):
        units(app=with_(command=("no-such-program",)))
