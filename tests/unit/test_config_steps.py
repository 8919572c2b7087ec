"""[rollout] steps with people between them, and [releases] follow: read, or refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from reld import config, config_file
from reld.errors import ConfigError

CONFIG = """[app]
command = ["bin/serve"]
directory = "/srv/web/releases/{release}"
[readiness]
tcp = true
"""


def load(tmp_path: Path, more: str) -> config.Config:
    path = tmp_path / "web.toml"
    path.write_text(CONFIG + more)
    return config_file.load(path, uid=1000)


def refusal(tmp_path: Path, more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, more)
    (finding,) = caught.value.findings
    return finding


@pytest.mark.parametrize(
    ("steps", "shares", "gates"),
    [
        ("[5, 25, 100]", (5, 25, 100), ()),
        ('[5, "approve", 25, 100]', (5, 25, 100), (5,)),
        ('["approve", 100, "approve"]', (100,), (0, 100)),
    ],
)
def test_steps_and_where_a_person_must_agree(tmp_path, steps, shares, gates):
    policy = config.policy(load(tmp_path, f"[rollout]\nsteps = {steps}\n"))
    assert (policy.steps, policy.approve_after) == (shares, gates)


def test_without_steps_nobody_is_asked(tmp_path):
    assert config.policy(load(tmp_path, '[rollout]\nbake = "1m"\n')).approve_after == ()


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ('[5, "approve", "approve", 100]', "twice in a row"),
        ('[5, "aprove", 100]', 'did you mean "approve"?'),
        ('[5, "stop", 100]', "is no step"),
        ('["approve"]', "does not end in 100"),
        ('[5, "5%", 100]', "is not a whole number"),
        ("[50, 5, 100]", "does not rise"),
    ],
)
def test_steps_that_make_no_sense(tmp_path, steps, why):
    finding = refusal(tmp_path, f"[rollout]\nsteps = {steps}\n")
    assert "web.toml:7: rollout.steps: " in finding
    assert why in finding


def test_a_link_to_follow(tmp_path):
    found = load(tmp_path, '[releases]\nfollow = "/srv/web/current"\n')
    assert found.releases.follow == "/srv/web/current"


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ('"current"', "not an absolute path"),
        ('"/srv/../x"', "no plain path"),
        ('"/srv/web/current/"', "no plain path"),
        ('"/srv/web/releases"', "is where the releases are"),
        ('"/srv"', "is where the releases are"),
        ("7", "is not text"),
    ],
)
def test_what_is_no_link_to_follow(tmp_path, link, why):
    finding = refusal(tmp_path, f"[releases]\nfollow = {link}\n")
    assert "web.toml:7: releases.follow: " in finding
    assert why in finding
