"""What would do harm, or nothing, is refused before anything is done: by ansible-playbook itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collection import PLUGINS
from tests.rig import environment

INVENTORY = """\
[vms]
vm1 ansible_connection=local
[others]
db1 ansible_connection=local
"""
ROLE = """\
- hosts: vms
  gather_facts: false
  roles: [relctl.relctl.vm]
  vars: {relctl_app: web, relctl_deb: relctl_0.1.0_all.deb, relctl_config: {}}
"""
TWO_KEYS = "ssh-ed25519 AAAA= ci\nssh-ed25519 AAAB= shell\n"


def refused(place: Path, playbook: str, *words: str) -> str:
    """What is said by a play that may not begin."""
    (place / "ansible_collections" / "relctl").mkdir(parents=True)
    (place / "ansible_collections" / "relctl" / "relctl").symlink_to(PLUGINS.parent)
    (place / "hosts.ini").write_text(INVENTORY)
    (place / "role.yml").write_text(ROLE)
    played = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), playbook, "-i", "hosts.ini", *words],
        cwd=place,
        env=environment() | {"HOME": str(place), "ANSIBLE_COLLECTIONS_PATH": str(place)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    assert played.returncode == 2, played.stdout + played.stderr
    assert "changed=1" not in played.stdout
    return played.stdout


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("release", ("-e", "release=v2", "--limit", "db1"), "there is no VM in 'vms' and --limit"),
        ("release", ("-e", '{"release": 1.10}'), "release is a number for YAML"),
        ("rollback", ("-e", '{"bad": 1.10}'), "bad and to must be text"),
    ],
)
def test_a_play_that_would_do_nothing_or_something_else_says_so(tmp_path, name, words, sentence):
    assert f"cannot begin: {sentence}" in refused(tmp_path, f"relctl.relctl.{name}", *words)


def test_a_second_key_would_have_a_shell(tmp_path):
    given = json.dumps({"relctl_ci_key": TWO_KEYS, "ansible_become": False})
    said = refused(tmp_path, "role.yml", "--check", "-e", given)
    assert "cannot begin: relctl_ci_key is not one public key on one line" in said
