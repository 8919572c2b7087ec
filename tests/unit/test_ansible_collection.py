"""The collection keeps up with the project that it belongs to."""

from __future__ import annotations

import ast
import tomllib
from typing import Any

import click
import pytest
import yaml

from relctl import cli, rehearse
from tests.collection import PLUGINS
from tests.rig import ROOT

COLLECTION = PLUGINS.parent
EVERYWHERE = {"json", "socket", "app", "no-wait", "dry-run"}
"""Options that a module has no parameter for: it answers, waits, and has Ansible's check mode."""
LEFT_OUT = {
    "switch": {"until", "on-disconnect"},  # a task stays to the end, and its loss means nothing
    "rollback": {"offline"},  # needs root, and a person who looks
    "rehearse": set[str](),
}
OF_ITS_OWN = {"switch": {"release"}, "rollback": {"release", "from"}, "rehearse": set[str]()}


def documented(name: str) -> dict[str, Any]:
    tree = ast.parse((PLUGINS / "modules" / f"{name}.py").read_text())
    texts = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    return dict(yaml.safe_load(texts["DOCUMENTATION"]))


def staying() -> set[str]:
    tree = ast.parse((PLUGINS / "doc_fragments" / "rollout.py").read_text())
    fragment = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    texts = [node.value.value for node in fragment.body if isinstance(node, ast.Assign)]
    return {name for text in texts for name in yaml.safe_load(text)["options"]}


def test_it_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"] == project["version"]


def test_it_needs_no_other_collection() -> None:
    assert yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["dependencies"] == {}


@pytest.mark.parametrize("name", ["switch", "rollback", "rehearse"])
def test_a_module_has_every_option_of_its_command_but_those_left_out_on_purpose(name: str) -> None:
    assert rehearse  # registers its command
    options = [p for p in cli.relctl.commands[name].params if isinstance(p, click.Option)]
    long = {max(option.opts, key=len).removeprefix("--") for option in options}
    wanted = {o.replace("-", "_") for o in long - EVERYWHERE - LEFT_OUT[name]}
    given = set(documented(name)["options"]) | staying()
    assert given - {"app"} - OF_ITS_OWN[name] == wanted


@pytest.mark.parametrize("ignored", sorted(COLLECTION.glob("tests/sanity/ignore-*.txt")))
def test_sanity_ignores_the_licence_of_every_module_and_nothing_else(ignored: Any) -> None:
    lines = [line.partition("#")[0].split() for line in ignored.read_text().splitlines()]
    modules = sorted(path.name for path in PLUGINS.glob("modules/*.py"))
    rule = "validate-modules:missing-gplv3-license"
    assert lines == [[f"plugins/modules/{name}", rule] for name in modules]
