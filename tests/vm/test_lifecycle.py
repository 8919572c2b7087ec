"""An app that runs under a unit somebody wrote by hand moves in, by the README's own commands; and stays."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.vm import machine, roots
from tests.vm.box import Box

pytestmark = pytest.mark.timeout(400)

README = Path(__file__).parents[2] / "README.md"
SECTION = "Your app already runs"
PASTE = 3.0  # seconds that a person needs to copy a line, or the config, out of the README
# So that a test need not wait for minutes of watching: the README's defaults are for real traffic.
HURRY = " --steps 20,50,100 --step-time 2s --step-requests 0 --bake 2s --drain 1s"


@dataclass
class Story:
    """What was typed, how long each took (seconds), and what the users saw meanwhile."""

    box: Box
    load: machine.Load
    waited: dict[str, float] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def type(self, line: str) -> None:
        """As a person with sudo, over ssh."""
        began = self.began[line] = time.time()
        ended = self.box.ssh(line, user="admin")
        self.waited[line] = time.time() - began
        self.said[line] = ended.stdout + ended.stderr
        assert ended.returncode == 0, f"{line}: {self.said[line]}"


@pytest.fixture(scope="module", params=roots.SUITES)
def story(request: pytest.FixtureRequest, deb: Path) -> Iterator[Story]:
    with Box([roots.build(roots.server(request.param))]) as box:
        box.boot()
        machine.apt(box, "install nginx python3")
        machine.add_old_app(box)
        program = "#!/usr/bin/python3\n" + (machine.HERE / "serve.py").read_text()
        for release in machine.RELEASES:
            box.write(f"/srv/web/releases/{release}/bin/serve", program, 0o755)
        box.sh("useradd -m -s /bin/bash admin")
        box.write("/etc/sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n", 0o440)
        machine.add_package(box, deb)
        load = machine.Load(box)
        told = Story(box, load)
        commands, config = _readme(deb)
        with load:
            for line in commands:
                if line.startswith("sudo nano "):
                    box.write("/tmp/pasted", config)
                    line = line.replace("sudo nano", "sudo cp /tmp/pasted", 1)  # noqa: PLW2901
                told.type(line)
        print(
            f"{request.param}: waited {sum(told.waited.values()):.1f} s, {load.said['requests']} "
            f"requests, {len(load.stale)} of them on a connection that the site's reload had closed"
        )
        yield told


def test_it_takes_a_minute_of_typing_and_waiting(story: Story):
    watched = next(line for line in story.waited if "relctl switch" in line)
    assert machine.release(story.box) == "v1"
    pasted = (len(story.waited) + 1) * PASTE
    assert sum(story.waited.values()) + pasted <= 60, story.waited
    assert "rollout 1  done" in story.said[watched]


def test_no_request_is_lost_on_the_way_in(story: Story):
    assert story.load.lost == []
    assert story.load.answers["old"] > 0
    assert story.load.answers["v1"] > 0


def test_the_sites_own_reload_is_all_that_ever_closed_a_kept_connection(story: Story):
    (line,) = (line for line in story.began if "systemctl reload nginx" in line)
    reloaded = story.began[line], story.began[line] + story.waited[line] + 1
    assert [at for at in story.load.stale if not reloaded[0] <= at <= reloaded[1]] == []


def test_the_old_unit_runs_until_a_person_disables_it_and_the_receipt_says_how(story: Story):
    assert story.box.sh("systemctl is-active myapp").strip() == "active"
    (said,) = (said for line, said in story.said.items() if "relctl switch" in line)
    assert "systemctl disable --now myapp.service" in said


def test_without_the_old_unit_and_its_three_lines_the_next_switch_loses_nothing(story: Story):
    with machine.Load(story.box) as load:
        story.type("sudo systemctl disable --now myapp.service")
        story.type("sudo sed -i '/^.external/,$d' /etc/relctl/web.toml")
        story.type("sudo relctl switch v2" + HURRY)
    assert load.failed == []
    assert machine.release(story.box) == "v2"
    assert "external" not in story.box.sh("cat /etc/relctl/web.toml")


def test_an_edit_of_the_config_reaches_the_app_with_the_next_rollout(story: Story):
    before = machine.pids(story.box)
    story.type("sudo sed -i 's/^user .*/&\\ninstances = 2/' /etc/relctl/web.toml")
    story.type("sudo systemctl restart reld@web")
    assert machine.pids(story.box) == before
    story.type("sudo relctl switch v3" + HURRY)
    assert len(machine.pids(story.box)) == 2


def test_a_broken_config_is_refused_with_its_line_and_bars_no_way_back(story: Story):
    story.type("sudo cp /etc/relctl/web.toml /tmp/good.toml")
    story.type("sudo sed -i 's/^instances.*/instances = \"two\"/' /etc/relctl/web.toml")
    refused = story.box.ssh("sudo relctl switch v1" + HURRY, user="admin")
    assert refused.returncode == 8, refused.stderr
    assert re.search(r"web\.toml:\d+", refused.stderr)
    story.type("sudo relctl rollback")
    assert machine.release(story.box) == "v2"
    story.type("sudo cp /tmp/good.toml /etc/relctl/web.toml")


def test_a_reload_of_reld_is_none_of_the_apps_business(story: Story):
    before = machine.pids(story.box)
    with machine.Load(story.box) as load:
        story.box.sh("systemctl kill --signal=HUP --kill-whom=main reld@web; sleep 0.5")
        assert "live     v2" in story.box.sh("relctl status")
    assert load.failed == []
    assert machine.pids(story.box) == before


def _readme(deb: Path) -> tuple[list[str], str]:
    """The section's commands and its config; the package's file is the one of this run."""
    section = README.read_text().partition(f"## {SECTION}")[2].partition("\n## ")[0]
    assert section, f"the README has no section '{SECTION}'"
    typed = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    config = re.search(r"```toml\n(.*?)```", section, re.DOTALL)
    switch = re.search(r"`(sudo relctl switch [^`]*)`", section)
    assert typed
    assert config
    assert switch
    lines = [line.partition("  #")[0].strip() for line in typed[1].splitlines()]
    install = f"sudo DEBIAN_FRONTEND=noninteractive apt-get install -y /srv/{deb.name}"
    assert re.fullmatch(r"sudo (make install|apt install \./\S+\.deb)", lines[0]), lines[0]
    return [install, *lines[1:], switch[1] + HURRY], config[1]
