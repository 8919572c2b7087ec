"""packaging/doc/ci.md: a tag becomes a release, by the workflow's own step, over a real sshd."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stacks.howto import DOCS, Block, HowTo
from tests.vm import machine
from tests.vm.box import Box
from tests.vm.conftest import Installed

pytestmark = pytest.mark.timeout(300)

HOST = "www.example.com"
PERSON = "deploy"
# Who has the secret: what the box's own keys are called has nothing to do with it.
_SSH = """\
#!/bin/sh
exec {real} -F {config} "$@"
"""


class Ci:
    """A runner: the tree at a tag, an empty home, the workflow's variables, and the way to the VM."""

    def __init__(self, place: Path, vm: Box, workflow: str, secrets: dict[str, str]) -> None:
        self.tree = place / "checkout"
        self.tree.mkdir()
        programs = place / "bin"
        programs.mkdir()
        # Key, user and known_hosts are the script's business; only the wire is ours.
        wire = [
            line
            for line in vm._ssh._config.read_text().splitlines()
            if line.split()[0] in ("HostName", "ProxyCommand", "ProxyUseFdpass")
        ]
        (place / "config").write_text("\n".join(["Host *", *wire, f"HostKeyAlias {HOST}", ""]))
        (programs / "ssh").write_text(
            _SSH.format(real=shutil.which("ssh"), config=shlex.quote(str(place / "config")))
        )
        (programs / "ssh").chmod(0o755)
        (self.command,) = re.findall(r"^ +- run: (.+)$", workflow, re.MULTILINE)
        names = re.findall(r"^ {10}(\w+): (.+)$", workflow, re.MULTILINE)
        self.variables = {
            name: re.sub(r"\$\{\{ secrets\.(\w+) \}\}", lambda found: secrets[found[1]], said)
            for name, said in names
        } | {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(place), "CI": "true"}
        assert {"RELEASE_HOST", "RELEASE_HOST_KEY", "RELEASE_KEY"} < set(self.variables)

    def job(self, tag: str, attempt: int = 1) -> subprocess.CompletedProcess[str]:
        """What a push of the tag does."""
        return subprocess.run(
            ["/bin/bash", "-e", "-c", self.command],
            cwd=self.tree, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=180, check=False,
            env={**self.variables, "GITHUB_REF_NAME": tag, "GITHUB_RUN_ATTEMPT": str(attempt)},
        )  # fmt: skip


@pytest.fixture(scope="module")
def vm(installed: Installed) -> Iterator[Box]:
    with Box(installed.layers) as one:
        one.boot()
        one.sh("systemctl enable --quiet --now reld@web && chown web: /srv/web/releases")
        one.sh("relctl switch v1 2>&1")
        one.sh(f"useradd -m -s /bin/bash -G relctl {PERSON}")
        one.write("/etc/sudoers.d/person", f"{PERSON} ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        yield one


@pytest.fixture(scope="module")
def ci(vm: Box, tmp_path_factory: pytest.TempPathFactory) -> Ci:
    told = HowTo(DOCS / "ci.md")
    made, shown = (b.text for b in told.section("The VM, once"))
    typed(vm, made)
    said = typed(vm, shown)
    key, _, host_key = said.partition("-----END OPENSSH PRIVATE KEY-----\n")
    secrets = {
        "RELEASE_KEY": key + "-----END OPENSSH PRIVATE KEY-----",
        "RELEASE_HOST_KEY": host_key.strip(),
    }
    files: dict[str, Block] = {b.place: b for b in told.section("The repository, once")}
    runner = Ci(
        tmp_path_factory.mktemp("ci"), vm, files[".github/workflows/release.yml"].text, secrets
    )
    for name, block in files.items():
        file = runner.tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)
        file.chmod(0o755)
    shutil.copy(Path(__file__).parent / "serve.py", runner.tree)
    assert told.untold == []
    return runner


def typed(vm: Box, script: str) -> str:
    ended = vm.ssh(f"cd && bash -e -c {shlex.quote(script)}", user=PERSON)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_a_tag_is_a_release_and_no_request_is_lost(vm: Box, ci: Ci):
    with machine.Load(vm) as load:
        ended = ci.job("v2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "switch by ci" in ended.stdout
    assert machine.release(vm) == "v2.1"
    assert load.failed == []
    assert ".git" not in vm.sh("ls -a /srv/web/releases/v2.1").split()


def test_a_release_that_goes_back_fails_the_job_and_says_why(vm: Box, ci: Ci):
    before = machine.release(vm)
    (ci.tree / "broken").touch()
    try:
        with machine.Load(vm):
            ended = ci.job("v3")
    finally:
        (ci.tree / "broken").unlink()
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "v3.1 failed" in ended.stdout
    assert machine.release(vm) == before


def test_a_job_that_is_run_again_is_another_release(vm: Box, ci: Ci):
    again = ci.job("v3", attempt=1)
    assert again.returncode == 1
    assert "is there already" in again.stdout + again.stderr
    assert ci.job("v3", attempt=2).returncode == 0
    assert machine.release(vm) == "v3.2"


def test_a_job_talks_to_the_machine_that_it_was_told_or_to_none(ci: Ci):
    known = ci.variables["RELEASE_HOST_KEY"]
    kind, _, key = known.partition(" ")
    ci.variables["RELEASE_HOST_KEY"] = f"{kind} {key[:-8]}{key[-8:][::-1]}"
    try:
        ended = ci.job("v4")
    finally:
        ci.variables["RELEASE_HOST_KEY"] = known
    assert ended.returncode == 255
    assert "Host key verification failed" in ended.stderr


def test_the_secret_opens_nothing_else(vm: Box, ci: Ci, tmp_path: Path):
    key = tmp_path / "key"
    key.write_text(ci.variables["RELEASE_KEY"] + "\n")
    key.chmod(0o600)
    asked = subprocess.run(
        [ci.variables["PATH"].partition(":")[0] + "/ssh", "-i", str(key), "-o", "IdentitiesOnly=yes",
         "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={tmp_path / 'hosts'}",
         f"ci@{HOST}", "cat /etc/relctl/web.env"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, timeout=60,
    )  # fmt: skip
    assert asked.returncode == 2
    assert asked.stdout == ""
