"""The Ansible collection of packaging/ansible, as Ansible finds it and as its modules are run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tests.rig import ROOT, Rig, environment

PLUGINS = ROOT / "packaging" / "ansible" / "plugins"


def part(name: str) -> ModuleType:
    """A Python file of the collection that needs no other one: `module_utils/answers`."""
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), PLUGINS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks there
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Task:
    """What a module ended with."""

    code: int
    result: dict[str, Any]
    err: str

    def __getitem__(self, key: str) -> Any:
        return self.result[key]

    @property
    def failed(self) -> bool:
        assert self.code == int(bool(self.result.get("failed"))), self
        return self.code != 0


class Modules:
    """Runs modules as Ansible does: arguments as JSON on stdin, the result on stdout."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        place = rig.home / "collections" / "ansible_collections" / "relctl"
        place.mkdir(parents=True)
        (place / "relctl").symlink_to(PLUGINS.parent)
        self.programs = rig.home / "bin"
        self.programs.mkdir()
        self.install(f'exec {sys.executable} -m relctl "$@"')
        given = environment()
        self._environment = given | {
            "PATH": str(self.programs),
            "PYTHONPATH": f"{given['PYTHONPATH']}:{place.parent.parent}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "RELCTL_SOCKET": str(rig.socket),
        }

    def install(self, script: str) -> None:
        """A relctl that the modules find first."""
        (self.programs / "relctl").write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / "relctl").chmod(0o755)

    def run(self, name: str, *, check: bool = False, diff: bool = False, **given: Any) -> Task:
        """`from_` is given for `from`."""
        return ended(self.begin(name, check=check, diff=diff, **given))

    def begin(
        self, name: str, *, check: bool = False, diff: bool = False, **given: Any
    ) -> subprocess.Popen[str]:
        arguments = {key.rstrip("_"): value for key, value in given.items()}
        modes = {"_ansible_check_mode": check, "_ansible_diff": diff}
        process = subprocess.Popen(
            [sys.executable, "-m", f"ansible_collections.relctl.relctl.plugins.modules.{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments | modes}))
        process.stdin.close()
        process.stdin = None
        return process


def ended(process: subprocess.Popen[str]) -> Task:
    out, err = process.communicate(timeout=60)
    assert out.startswith(("{", "\n{")), out + err
    return Task(process.returncode, json.loads(out), err)
