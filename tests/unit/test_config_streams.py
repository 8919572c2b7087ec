"""`[gate] websockets` and `unavailable_page`: what they become, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from reld.config import policy
from reld.config_file import check, load
from reld.config_streams import health
from reld.core.policy import StreamPolicy
from tests.unit.test_config_refusals import VALID, write


def given(tmp_path: Path, text: str) -> Path:
    return write(tmp_path, VALID + text)


def test_long_connections_are_cut_unless_the_file_says_otherwise(tmp_path):
    config = load(given(tmp_path, ""), uid=0)
    assert policy(config).streams is None
    assert policy(config).drain_max == 300.0


def test_a_drain_that_nobody_has_set_is_long_enough_for_them(tmp_path):
    config = load(given(tmp_path, '[gate]\nwebsockets = { keep = "10m" }\n'), uid=0)
    assert policy(config).streams == StreamPolicy(600.0, 30.0)
    assert policy(config).drain_max == 630.0
    config = load(given(tmp_path, '[gate]\nwebsockets = { keep = "1m" }\n'), uid=0)
    assert policy(config).drain_max == 300.0


def test_a_drain_that_is_set_has_to_be_long_enough(tmp_path):
    kept = '[gate]\nwebsockets = { keep = "1m", close_over = "20s" }\n[rollout]\n'
    assert check(given(tmp_path, f'{kept}drain_max = "80s"\n'), 0) == []
    path = given(tmp_path, f'{kept}drain_max = "79s"\n')
    (finding,) = check(path, 0)
    assert finding == (
        f"{path}:12: rollout.drain_max: drain_max (79 s) is over before the websockets are closed;"
        " expected at least keep + close_over of gate.websockets (80 s), or no drain_max"
    )


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ('"5m"', '"5m" is not a table'),
        ('{ kep = "5m" }', 'there is no key "kep" in it'),
        ("{ keep = 5 }", "5 has no unit"),
        ('{ close_over = "0" }', "is out of range"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, value, words):
    (finding,) = check(given(tmp_path, f"[gate]\nwebsockets = {value}\n"), 0)
    assert ":10: gate.websockets: " in finding
    assert words in finding


def test_a_page_has_to_be_there_and_small(tmp_path):
    page = tmp_path / "sorry.html"
    path = given(tmp_path, f'[gate]\nunavailable_page = "{page}"\n')
    words = "expected a plain file of at most 256 KiB"
    assert check(path, 0) == [
        f"{path}:10: gate.unavailable_page: cannot read {page}: No such file or directory; {words}"
    ]
    page.write_text("sorry")
    assert check(path, 0) == []
    page.write_text("x" * (256 * 1024 + 1))
    assert check(path, 0) == [
        f"{path}:10: gate.unavailable_page: cannot read {page}: it is larger than 256 KiB; {words}"
    ]
    (finding,) = check(given(tmp_path, '[gate]\nunavailable_page = "sorry.html"\n'), 0)
    assert "is not an absolute path" in finding


def test_the_health_paths_are_as_nginx_sees_them(tmp_path):
    text = VALID.replace('path = "/ready"', 'path = "/re%61dy?deep=1#x"')
    text += '[liveness]\npath = "/ready"\n'
    assert health(load(write(tmp_path, text), uid=0)) == ("/ready",)
    text = VALID.replace('path = "/ready"', 'path = "/r%20y"')
    assert health(load(write(tmp_path, text), uid=0)) == ()
