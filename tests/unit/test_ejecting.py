"""Eject in words: where it goes, and what is left to type."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reld import ejecting
from reld.api.requests import Options, rollout_request
from reld.config import App, Config, External, PortRange, Ports, Readiness
from reld.core.model import Kind, Phase, Rollout, State
from reld.core.policy import Policy
from reld.errors import BadRequest, PrepareError
from reld.host.eject import Eject, check_names
from reld.host.snapshots import Snapshots
from reld.plain_units import File, PlainUnits

CONFIG = Config(
    "web", Path("/web.toml"), App(("x",), "/{release}"), Ports(PortRange(1, 2)), Readiness()
)
EJECTED = Rollout(
    7, Kind.EJECT, Phase.FINISHING, 0.0, 0.0, Policy(), to="v2", unit="web", port=8000,
    addresses=("127.0.0.1:8000",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("external", "port"),
    [(None, 8000), (External("127.0.0.1:3000"), 3000), (External("unix:/run/x"), 8000)],
)
def test_it_goes_back_to_where_the_app_was(external, port):
    where = ejecting.where(Kind.EJECT, Options(), replace(CONFIG, external=external))
    assert where == {"unit": "web", "port": port}


def test_a_person_may_say_where():
    where = ejecting.where(Kind.EJECT, Options(port=9000, unit="shop"), CONFIG)
    assert where == {"unit": "shop", "port": 9000}
    assert ejecting.where(Kind.SWITCH, Options(), CONFIG) == {}


def test_the_line_to_change_and_the_commands_that_end_it_are_told():
    told = "\n".join(ejecting.done_lines("web", "127.0.0.1:8080", EJECTED))
    assert "proxy_pass http://127.0.0.1:8080 -> http://127.0.0.1:8000" in told
    assert "systemctl disable --now reld@web.socket reld@web relctl-gate@web" in told
    assert "apt remove relctl" in told


@pytest.mark.parametrize("unit", ["locale", "syslog", "relctl-web-r8-blue-12", "website", "web."])
def test_an_operator_may_not_take_a_name_of_anybody_else(unit):
    with pytest.raises(PrepareError, match=f"cannot eject to {unit}.service: web's unit is called"):
        check_names("web", unit, PlainUnits((), ()))


@pytest.mark.parametrize("unit", ["web", "web-plain"])
def test_a_name_of_the_app_is_free_to_take(unit):
    check_names("web", unit, PlainUnits((), ()))


def test_a_port_of_another_app_is_refused():
    eject = Eject(State, Snapshots(None, CONFIG), {9090: "shop"}.get)
    with pytest.raises(PrepareError, match="port 9090: it is of the app shop"):
        eject._check_ports((9090,))


def test_what_is_there_already_is_found_before_anything_begins(tmp_path):
    there = tmp_path / "web.service"
    there.touch()
    units = PlainUnits(("web",), (File(str(there), 0o644, "x"),))
    eject = Eject(lambda: State("web", "boot"), Snapshots(None, CONFIG), lambda _: "")
    with pytest.raises(
        PrepareError, match=f"cannot eject to {there}: it is there already"
    ) as found:
        eject.check("web", units, ())
    assert found.value.hint == "relctl eject --unit web-NAME"


def test_several_units_need_an_upstream():
    two = replace(EJECTED, addresses=("127.0.0.1:8000", "127.0.0.1:8001"))
    told = "\n".join(ejecting.done_lines("web", "127.0.0.1:8080", two))
    assert "upstream web { server 127.0.0.1:8000; server 127.0.0.1:8001; }" in told
    assert "proxy_pass http://127.0.0.1:8080 -> http://web" in told


@pytest.mark.parametrize(
    "options",
    [{"port": 0}, {"port": 70000}, {"port": "8000"}, {"port": True}, {"unit": "a b"},
     {"unit": "../x"}, {"unit": "A"}, {"unit": "-x"}, {"unit": "x%n"}],
)  # fmt: skip
def test_a_port_or_a_unit_that_is_none_is_refused(options):
    with pytest.raises(BadRequest):
        rollout_request({"kind": "eject", "options": options})


def test_a_unit_may_be_said_with_its_ending_and_belongs_to_eject_alone():
    request = rollout_request({"kind": "eject", "options": {"unit": "web.service", "port": 80}})
    assert (request.options.unit, request.options.port) == ("web", 80)
    with pytest.raises(BadRequest, match="options of eject"):
        rollout_request({"kind": "restart", "options": {"port": 80}})
