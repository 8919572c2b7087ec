"""The filters that write what the Ansible role puts on a machine: reld reads back what was meant."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from reld.snapshot import read_env

FILTERS = Path(__file__).parents[2] / "packaging/ansible/plugins/filter"
CONFIG = {
    "app": {
        "command": ["bin/serve", "--port", "{port}"],
        "directory": "/srv/web/releases/{release}",
        "instances": 2,
        "env": {"LANG": "C.UTF-8"},
    },
    "smoke": [
        {"name": "login", "status": [200, 302], "headers": {"X-A": "b"}, "body": 'say "hi"\n'},
        {"name": "slow", "within": "800ms"},
    ],
    "rollout": {"steps": [5, "approve", 100], "side_by_side": True},
}
WRITTEN = r"""[app]
command = ["bin/serve", "--port", "{port}"]
directory = "/srv/web/releases/{release}"
instances = 2
env = { LANG = "C.UTF-8" }

[[smoke]]
name = "login"
status = [200, 302]
headers = { X-A = "b" }
body = "say \"hi\"\n"

[[smoke]]
name = "slow"
within = "800ms"

[rollout]
steps = [5, "approve", 100]
side_by_side = true
"""
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def _filter(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FILTERS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FilterModule().filters()[name]


toml, env_file = _filter("toml"), _filter("env_file")


def test_a_config_is_written_as_a_person_would():
    assert toml(CONFIG) == WRITTEN


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_what_was_written_is_read_as_it_was(config: dict[str, Any]):
    assert tomllib.loads(toml(config)) == config


def test_what_does_not_fit_on_a_line_gets_lines_of_its_own():
    config = {
        "app": {
            "command": ["word" * 10] * 3,
            "env": {f"NAME{n}": "value" * 3 for n in range(6)},
            "user": "web",
        },
        "gate": {"static": [{"url": f"/{n}/", "dir": "d" * 50} for n in range(3)], "keepalive": 1},
    }
    assert tomllib.loads(toml(config)) == config
    assert max(map(len, toml(config).splitlines())) < 100
    assert "[app.env]\nNAME0 = " in toml(config)
    assert '[[gate.static]]\nurl = "/0/"' in toml(config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"app": {"user": None}}, "app.user is empty (null); leave the key out"),
        ({"app": {"x": float("nan")}}, "app.x is of the type float; write it as text, in quotes"),
        ({"smoke": [{"name": {1}}]}, "smoke.name is of the type set"),
        ({"app": {"user": "\ud800"}}, "app.user is no UTF-8 text"),
        ("[app]", "expected a mapping, got of the type str"),
    ],
)
def test_what_toml_has_no_words_for_is_refused_with_its_key(config: Any, said: str):
    with pytest.raises(AnsibleFilterError) as refused:
        toml(config)
    assert said in str(refused.value)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True),
        TEXT.filter(lambda text: len(f"{text}.".splitlines()) == 1 and "\0" not in text),
        max_size=4,
    )
)
def test_an_env_file_says_what_was_meant(tmp_path_factory: Any, variables: dict[str, str]):
    file = tmp_path_factory.mktemp("env") / "web.env"
    file.write_text(env_file(variables), "utf-8", newline="")
    assert dict(read_env(str(file))) == variables


def test_the_text_of_an_env_file_stays_as_it_is():
    assert env_file("# mine\nA=b") == "# mine\nA=b\n"


@pytest.mark.parametrize("wrong", [{"A-B": "c"}, {"A": True}, {"A": None}, {"A": "secret\nB=c"}])
def test_what_an_env_file_cannot_hold_is_refused_without_its_value(wrong: dict[str, Any]):
    with pytest.raises(AnsibleFilterError) as refused:
        env_file(wrong)
    assert "cannot write an env file: " in str(refused.value)
    assert "secret" not in str(refused.value)
