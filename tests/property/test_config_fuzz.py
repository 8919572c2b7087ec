"""Whatever the bytes are: a config, or findings of one line each. Never a traceback."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reld.config import Config
from reld.config_file import load
from reld.config_toml import parse
from reld.errors import ConfigError
from tests.fuzz import config as fuzz_config

VALID = """\
[app]
command = ["bin/serve", "--port", "{port}"]
directory = "/srv/web/releases/{release}"
user = "nobody"
env = { LANG = "C.UTF-8" }
stop_signal = "SIGTERM"
instances = 2
[ports]
range = "21000-21099"
[readiness]
path = "/ready"
interval = "200ms"
[[smoke]]
name = "login"
path = "/login"
headers = { Accept = "text/html" }
status = [200, 302]
within = "800ms"
[rollout]
steps = [5, 25, 50, 95, 100]
bake = "10m"
[verdict]
false_alarm = "1/1000"
max_error_rate = "5%"
shield = true
[[route]]
name = "checkout"
match = "^/checkout"
[gate]
listen = "127.0.0.1:8080"
assets = ["/assets/"]
[external]
address = "127.0.0.1:8000"
[hooks]
contract = ["bin/migrate", "{release}"]
[access]
operators = ["@relctl"]
"""
LINES = VALID.splitlines()
KEYS = [number for number, line in enumerate(LINES) if "=" in line]
HEADERS = [number for number, line in enumerate(LINES) if line.startswith("[")]
VALUES = st.sampled_from(
    [
        "0", "-1", "5", "1e400", "nan", "inf", "true", "[]", "{}", '""', "''", "[[]]", "[{}]",
        "2026-01-01", "12:00:00", '"\\u0000"', '"\\n"', '"{"', '"}"', '"{}"', '"127.0.0.1:99999"',
        '"unix:"', '"1/0"', '"0%"', '"h"', '"999999999d"', '"٣s"', '"["', '"(?P<a>"', '"a{9999}"',
        '"65535-65535"', "[1, 1.5, true]", '{ "" = "" }', '{ a.b = "c" }', '["", 1, [2]]',
        '"' + "(" * 199 + '"', '"' + "9" * 400 + '"', "9" * 400, '"[z-a]"', '"a**"', '"[[a]"',
    ]
)  # fmt: skip


def answer(content: bytes) -> Config | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "web.toml"
        path.write_bytes(content)
        path.chmod(0o644)
        findings: tuple[str, ...] = ()
        config = None
        try:
            config = load(path, uid=0)
        except ConfigError as error:
            findings = error.findings
    assert (config is None) == bool(findings)
    for finding in findings:
        assert finding.isprintable()
        assert re.match(rf"{re.escape(str(path))}:[1-9][0-9]*: [^ ].*: .+", finding)
    return config


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(content):
    assert answer(content) is None


@given(st.text(max_size=200))
def test_any_text_is_answered(text):
    assert answer(text.encode("utf-8", "surrogatepass")) is None


@given(st.data())
@settings(max_examples=300)
def test_a_file_with_some_bytes_changed_is_answered(data):
    content = bytearray(VALID.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 4))
        content[at : at + length] = data.draw(st.binary(max_size=4))
    answer(bytes(content))


@given(st.lists(st.tuples(st.sampled_from(KEYS), VALUES), min_size=1, max_size=4))
@settings(max_examples=400)
def test_a_file_with_odd_values_is_answered(changes):
    lines = list(LINES)
    for number, value in changes:
        lines[number] = f"{lines[number].partition('=')[0]}= {value}"
    answer("\n".join(lines).encode())


@given(st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), min_size=1, max_size=2))
def test_a_file_with_values_instead_of_tables_is_answered(changes):
    lines = list(LINES)
    for number, value in changes:
        name = lines[number].strip("[]")
        following = [n for n in HEADERS if n > number]
        end = following[0] if following else len(LINES)
        lines[number:end] = [""] * (end - number)
        lines[0] = f"{name} = {value}\n{lines[0]}"
    answer("\n".join(lines).encode())


@given(st.permutations(range(len(LINES))))
def test_a_file_with_its_lines_shuffled_is_answered(order):
    answer("\n".join(LINES[number] for number in order).encode())


@given(st.lists(st.sampled_from(["", "# [x]", "#='\"", "  ", "\t# ["]), max_size=60))
def test_blank_lines_and_comments_move_keys_and_nothing_else(padding):
    lines: list[str] = []
    where = {}
    for number, line in enumerate(LINES):
        lines += padding[number : number + 1]
        lines.append(line)
        where[line] = len(lines)
    document = parse("\n".join(lines).encode())
    assert document.line(("ports", "range")) == where['range = "21000-21099"']
    assert document.line(("smoke", 0, "within")) == where['within = "800ms"']
    assert document.line(("access", "operators")) == where['operators = ["@relctl"]']


def test_the_file_that_the_others_are_made_of_is_right():
    assert answer(VALID.encode()) is not None


def test_what_is_taken_makes_a_gate_config_of_the_same_form_that_nginx_takes():
    found = fuzz_config.run(1000, seed=1)
    assert found.bugs == ()
    assert found.answers["taken"] > 20


@pytest.mark.parametrize(
    "line",
    [
        '[gate]\nassets = ["/"]',
        '[gate]\nassets = ["//"]',
        '[gate]\nassets = ["/%20/"]',
        '[gate]\nassets = ["/a/../b"]',
        '[gate]\nassets = ["/a/", "/a/"]',
        '[gate]\ntimeout = "25h"',
        '[external]\naddress = "example.org:80"',
        '[external]\naddress = "999.0.0.1:80"',
        '[external]\naddress = "unix:/run/../x"',
    ],
)
def test_what_the_gate_could_not_say_is_refused_in_the_config(line):
    assert answer(f"{fuzz_config.SMALL.partition('[gate]')[0]}{line}\n".encode()) is None


def test_more_instances_than_the_gate_can_name_are_refused():
    assert answer(VALID.replace("instances = 2", "instances = 101").encode()) is None
