"""A config file that is right, where it lies, and the ports it shares with its neighbours."""

from __future__ import annotations

import os
import pwd
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from reld.config import (
    Access,
    External,
    Gate,
    Hooks,
    Liveness,
    PortRange,
    Readiness,
    Rollout,
    Route,
    Smoke,
    Verdict,
    fill,
    policy,
)
from reld.config_file import check, load
from reld.errors import ConfigError

NOBODY = pwd.getpwnam("nobody").pw_uid

APP = """\
[app]
command = ["bin/serve", "--port", "{port}"]
directory = "/srv/web/releases/{release}"
user = "nobody"
"""
SMALL = f'{APP}[readiness]\npath = "/ready"\n'
FULL = """\
[app]
command   = ["bin/serve", "--port", "{port}"]
directory = "/srv/web/releases/{release}"
user      = "nobody"
host      = "www.example.com"
instances = 2
env_file  = "/etc/relctl/web.env"
env       = { LANG = "C.UTF-8" }
stop_signal = "SIGINT"
stop_timeout = "31s"
[ports]
range = "22000-22099"
[readiness]
tcp = true
interval = "300ms"
timeout = "3s"
successes = 3
deadline = "1m1s"
[liveness]
path = "/live"
interval = "6s"
timeout = "3s"
failures = 4
[[smoke]]
name = "login"
method = "POST"
path = "/login"
body = "user=probe"
headers = { Content-Type = "application/x-www-form-urlencoded" }
status = [200, 302]
contains = "Welcome"
within = "800ms"
times = 5
warm = 2
[[smoke]]
name = "script"
command = ["bin/smoke", "{port}"]
[rollout]
steps = [1, 100]
step_time = "2m"
step_requests = 301
step_max = "11m"
bake = "1h30m"
drain = "31s"
drain_max = "6m"
shadow = "5%"
side_by_side = true
[verdict]
false_alarm = "1/500"
max_error_rate = "5%"
max_p95 = "800ms"
warmup = "2m"
on_unproven = "hold"
shield = false
[[route]]
name = "checkout"
match = "^/checkout"
success = [302, 303]
[gate]
listen = "localhost:8081"
status = "127.0.0.1:22098"
keepalive = 0
timeout = "61s"
split = "client"
assets = ["/assets/"]
[external]
address = "127.0.0.1:8000"
unit = "myapp.service"
[hooks]
before_start = ["bin/migrate", "expand"]
contract = ["bin/migrate", "contract"]
timeout = "16m"
[access]
operators = ["anna"]
viewers = ["@staff"]
approvers = ["@ops"]
"""


def write(folder: Path, text: str = SMALL, name: str = "web.toml") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o644)
    return path


def test_every_key_of_the_file_arrives(tmp_path):
    config = load(write(tmp_path, FULL), uid=0)
    assert config.name == "web"
    assert config.app.env == (("LANG", "C.UTF-8"),)
    assert (config.app.user, config.app.host, config.app.instances) == (
        "nobody", "www.example.com", 2
    )  # fmt: skip
    assert (config.app.stop_signal, config.app.stop_timeout) == ("SIGINT", 31.0)
    assert config.ports.range == PortRange(22000, 22099)
    assert config.readiness == Readiness(
        tcp=True, interval=0.3, timeout=3.0, successes=3, deadline=61.0
    )
    assert config.liveness == Liveness("/live", 6.0, 3.0, 4)
    login, script = config.smoke
    assert login == Smoke(
        "login", "/login", (), "POST", "user=probe",
        (("Content-Type", "application/x-www-form-urlencoded"),), (200, 302), "Welcome", 0.8, 5, 2,
    )  # fmt: skip
    assert script == Smoke("script", command=("bin/smoke", "{port}"))
    assert config.rollout == Rollout(
        (1, 100), 120.0, 301, 660.0, 5400.0, 31.0, 360.0, shadow=0.05, side_by_side=True
    )
    assert config.verdict == Verdict(0.002, 0.05, 0.8, 120.0, "hold", shield=False)
    assert config.route == (Route("checkout", "^/checkout", (302, 303)),)
    assert config.gate == Gate(
        "127.0.0.1:8081", "127.0.0.1:22098", 0, 61.0, "client", ("/assets/",)
    )
    assert config.external == External("127.0.0.1:8000", "myapp.service")
    assert config.hooks == Hooks(
        before_start=("bin/migrate", "expand"), contract=("bin/migrate", "contract"), timeout=960.0
    )
    assert config.access == Access(("anna",), ("@staff",), ("@ops",))


def test_the_smallest_file_gets_every_default(tmp_path):
    config = load(write(tmp_path), uid=0)
    assert config.ports.range == PortRange(21000, 21099)
    assert config.gate == Gate(status="127.0.0.1:21099")
    assert config.readiness == Readiness(path="/ready")
    assert (config.liveness, config.smoke, config.rollout) == (Liveness(), (), Rollout())
    assert (config.verdict, config.route, config.external) == (Verdict(), (), None)
    assert (config.hooks, config.access) == (Hooks(), Access())


def test_a_config_is_frozen_all_the_way_down(tmp_path):
    config = load(write(tmp_path, FULL), uid=0)
    hash(config)
    for field in fields(config):
        value = getattr(config, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            assert not is_dataclass(item) or item.__dataclass_params__.frozen


def test_the_policy_of_a_rollout_is_copied_from_the_config(tmp_path):
    made = policy(load(write(tmp_path, FULL), uid=0))
    assert (made.slot.instances, made.slot.ready_successes, made.slot.ready_deadline) == (2, 3, 61)
    assert (made.slot.live_failures, made.slot.stop_timeout) == (4, 31)
    assert (made.steps, made.step_time, made.step_max, made.bake) == ((1, 100), 120, 660, 5400)
    assert (made.drain, made.drain_max, made.on_unproven) == (31, 360, "hold")
    assert made.hooks == ("before_start", "contract")
    assert (made.prepare_deadline, made.hook_timeout) == (60, 960)
    assert made.smoke_deadline == pytest.approx(7 * 0.8 + 10 + 10)


def test_placeholders_are_filled_and_doubled_braces_are_literal():
    assert fill("{{{port}}}-{slot}", {"port": "1", "slot": "blue"}) == "{1}-blue"
    with pytest.raises(ValueError, match="unknown placeholder"):
        fill("{x}", {})


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o622])
def test_root_refuses_a_file_that_others_can_write(tmp_path, mode):
    path = write(tmp_path)
    path.chmod(mode)
    assert check(path, 0) == [
        (
            f"{path}:1: file: others than its owner can write it (mode {mode:04o});"
            " expected 0644 or less: chmod go-w FILE"
        )
    ]


def test_root_refuses_a_file_of_somebody_else(tmp_path):
    path = write(tmp_path)
    os.chown(path, NOBODY, -1)
    assert check(path, 0) == [
        (
            f"{path}:1: file: it belongs to uid {NOBODY}, who could run anything as root;"
            " expected root as its owner: chown root FILE"
        )
    ]


def test_without_root_no_user_is_needed_and_no_other_is_possible(tmp_path):
    assert not check(write(tmp_path, SMALL.replace('user = "nobody"\n', "")), NOBODY)
    assert not check(write(tmp_path), NOBODY)
    path = write(tmp_path, SMALL.replace("nobody", "daemon"))
    assert check(path, NOBODY) == [
        (
            f"{path}:4: app.user: reld runs with uid {NOBODY} and cannot start anything as daemon;"
            " expected no user at all, or reld as root"
        )
    ]


@pytest.mark.parametrize("name", ["Web.toml", "1web.toml", "a b.toml", "web_1.toml"])
def test_the_name_of_the_file_must_be_a_name_for_the_app(tmp_path, name):
    path = write(tmp_path, name=name)
    assert check(path, 0) == [
        (
            f'{path}:1: file: "{path.stem}" cannot be the name of an app;'
            " expected [a-z][a-z0-9-]*, such as web.toml"
        )
    ]


def test_what_cannot_be_read_is_a_finding_too(tmp_path):
    missing, folder, fifo = (tmp_path / name for name in ("no.toml", "dir.toml", "fifo.toml"))
    folder.mkdir()
    os.mkfifo(fifo)
    large = write(tmp_path, "#" * (1 << 20) + "#", "large.toml")
    reasons = {
        missing: "No such file or directory",
        folder: "it is not a regular file",
        fifo: "it is not a regular file",
        large: "it is larger than 1 MiB",
    }
    for path, reason in reasons.items():
        assert check(path, 0) == [f"{path}:1: file: cannot read it: {reason}"]


def test_the_error_holds_all_findings_and_exit_code_8(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "[app]\nx = 1\n"), uid=0)
    assert caught.value.exit_code == 8
    assert len(caught.value.findings) == 5


def neighbour(folder: Path, name: str, ports: str = "", listen: str = "") -> Path:
    text = APP + (f'[ports]\nrange = "{ports}"\n' if ports else "")
    return write(folder, text + (f'[gate]\nlisten = "{listen}"\n' if listen else ""), name)


def test_the_default_range_is_the_next_hundred_that_no_neighbour_has(tmp_path):
    neighbour(tmp_path, "api.toml", "21050-21120", "127.0.0.1:8090")
    neighbour(tmp_path, "shop.toml", "23000-23099", "127.0.0.1:21207")
    assert load(write(tmp_path), uid=0).ports.range == PortRange(21300, 21399)


def test_apps_without_a_range_never_choose_the_same(tmp_path):
    ranges = set()
    for number, name in enumerate(("c", "a", "b")):
        write(tmp_path, f'{SMALL}[gate]\nlisten = "127.0.0.1:{8080 + number}"\n', f"{name}.toml")
    for name in ("a", "b", "c"):
        ranges.add(load(tmp_path / f"{name}.toml", uid=0).ports.range)
    assert ranges == {PortRange(n, n + 99) for n in (21000, 21100, 21200)}


def test_broken_neighbours_do_not_matter(tmp_path):
    (tmp_path / "broken.toml").write_bytes(b"\xff[[[")
    (tmp_path / "Not-An-App.toml").write_text("x = 1\n")
    (tmp_path / "gone.toml").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo.toml")
    neighbour(tmp_path, "odd.toml", "nonsense", "127.0.0.1:8090")
    assert load(write(tmp_path), uid=0).ports.range == PortRange(21100, 21199)


def test_neighbours_can_be_given(tmp_path):
    neighbour(tmp_path, "api.toml", "21000-21099", "127.0.0.1:8090")
    assert load(write(tmp_path), uid=0, neighbours=()).ports.range == PortRange(21000, 21099)


def test_a_range_that_another_app_leases_is_refused(tmp_path):
    neighbour(tmp_path, "api.toml", "21050-21149", "127.0.0.1:8090")
    path = write(tmp_path, f'{SMALL}[ports]\nrange = "21000-21099"\n')
    assert check(path, 0) == [
        (
            f"{path}:8: ports.range: 21000-21099 overlaps 21050-21149 of api (api.toml);"
            ' expected ports of its own; did you mean "21200-21299"?'
        )
    ]


def test_a_range_over_the_gate_of_another_app_is_refused(tmp_path):
    neighbour(tmp_path, "api.toml", "22000-22099", "127.0.0.1:21005")
    path = write(tmp_path, f'{SMALL}[ports]\nrange = "21000-21099"\n')
    assert check(path, 0) == [
        (
            f"{path}:8: ports.range: 21000-21099 holds 127.0.0.1:21005, which api (api.toml) uses;"
            ' expected ports of its own; did you mean "21100-21199"?'
        )
    ]


@pytest.mark.parametrize("listen", ["127.0.0.1:8090", "127.0.0.1:22005"])
def test_a_gate_on_the_ports_of_another_app_is_refused(tmp_path, listen):
    neighbour(tmp_path, "api.toml", "22000-22099", "127.0.0.1:8090")
    path = write(tmp_path, f'{SMALL}[gate]\nlisten = "{listen}"\n')
    assert check(path, 0) == [
        f"{path}:8: gate.listen: {listen} is taken by api (api.toml); expected a free port"
    ]


def test_two_copies_that_do_not_fit_are_a_strategy(tmp_path):
    text = FULL.replace('shadow = "5%"', 'strategy = "stop-first"')
    assert policy(load(write(tmp_path, text), uid=0)).strategy == "stop-first"
    assert policy(load(write(tmp_path, FULL), uid=0)).strategy == "warm"
