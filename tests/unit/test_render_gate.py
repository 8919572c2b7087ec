"""The gate's config as text: what it names, and what it never lets in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from reld.core.model import Color, Routing, Target
from reld.errors import GateError
from reld.nginx.clients import cookie_name
from reld.nginx.mark import read_back, settings_of
from reld.nginx.render import render
from reld.nginx.settings import GateSettings, Route, Static

SETTINGS = GateSettings(
    app="web-shop",
    listen="127.0.0.1:8080",
    status="[::1]:21099",
    runtime=Path("/run/relctl/web-shop"),
    state=Path("/var/lib/relctl/web-shop"),
    boot="0b0e7a52-63f9-4f1c-b0b5-2f0a2f0f5e11",
)
BLUE = Target(Color.BLUE, "v1", ("127.0.0.1:21001", "127.0.0.1:21002"))
GREEN = Target(Color.GREEN, "v2", ("unix:/srv/app.sock",))
EVIL = ["a;b", "a b", "a\nb", "a{b}", "$host", "a#b", '"', "'", "../x", "", "a\\b", "é"]


@pytest.mark.parametrize(
    "routing",
    [
        Routing(),
        Routing(BLUE),
        Routing(GREEN, None, 3),
        Routing(BLUE, GREEN, 7),
        Routing(GREEN, BLUE, 1),
    ],
)
def test_every_routing_can_be_read_back_from_its_config(routing):
    assert read_back(render(SETTINGS, 42, routing)) == (42, routing)


def test_a_config_tells_whether_it_was_made_from_these_settings():
    text = render(SETTINGS, 42, Routing(BLUE))
    assert settings_of(text) == SETTINGS.fingerprint
    other = dataclasses.replace(SETTINGS, timeout=41.0)
    assert settings_of(text) != other.fingerprint
    rebooted = dataclasses.replace(SETTINGS, boot="another", descriptors=77)
    assert settings_of(text) == rebooted.fingerprint


def test_a_config_of_an_older_reld_does_not_tell():
    text = render(SETTINGS, 42, Routing(BLUE))
    assert settings_of("\n".join(text.split("\n")[:1])) is None


@pytest.mark.parametrize("text", ["", "user root;\n", "# relctl: {}", "# relctl: [1]\n"])
def test_a_config_that_is_not_ours_cannot_be_read_back(text):
    with pytest.raises(GateError, match="cannot read the gate config back"):
        read_back(text)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("name", ["app", "listen", "status", "boot", "user"])
def test_no_evil_setting_becomes_nginx_text(name, evil):
    with pytest.raises(GateError, match="does not fit"):
        render(dataclasses.replace(SETTINGS, **{name: evil}), 1, Routing(BLUE))


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("name", ["runtime", "state"])
def test_no_evil_path_becomes_nginx_text(name, evil):
    with pytest.raises(GateError, match="does not fit"):
        render(dataclasses.replace(SETTINGS, **{name: Path(f"/run/{evil}/./x/..")}), 1, Routing())


@pytest.mark.parametrize("evil", [*(f"/{e}" for e in EVIL), "assets/", "/", "/a//b"])
def test_no_evil_asset_prefix_becomes_nginx_text(evil):
    with pytest.raises(GateError, match=r"gate\.assets"):
        render(dataclasses.replace(SETTINGS, assets=(evil,)), 1, Routing())


@pytest.mark.parametrize("evil", [*(f"/{e}/" for e in EVIL), "assets/", "/assets", "/a//b/"])
def test_no_evil_prefix_of_files_becomes_nginx_text(evil):
    with pytest.raises(GateError, match=r"gate\.static url"):
        render(dataclasses.replace(SETTINGS, static=(Static(evil, "public"),)), 1, Routing())


@pytest.mark.parametrize("evil", [*EVIL, "/etc", "a/../b"])
def test_no_evil_directory_of_files_becomes_nginx_text(evil):
    with pytest.raises(GateError, match=r"gate\.static dir"):
        render(dataclasses.replace(SETTINGS, static=(Static("/a/", evil),)), 1, Routing())


@pytest.mark.parametrize("evil", [*(f"/srv/{e}" for e in EVIL if e), "", "srv", "/srv/../x"])
def test_no_evil_release_directory_becomes_nginx_text(evil):
    with pytest.raises(GateError, match="release directory does not fit"):
        render(SETTINGS, 1, Routing(BLUE), (evil,))


@pytest.mark.parametrize("evil", EVIL)
def test_no_evil_route_name_becomes_nginx_text(evil):
    with pytest.raises(GateError, match=r"route\.name"):
        render(dataclasses.replace(SETTINGS, routes=(Route(evil, "^/"),)), 1, Routing())


@pytest.mark.parametrize(
    "evil", ["", "*/x", "/\n", "/é", "(?<slot>x)", "(?P<slot>x)", "(?'slot'x)", "x" * 201]
)
def test_no_evil_regex_becomes_nginx_text(evil):
    with pytest.raises(GateError, match=r"route\.match"):
        render(dataclasses.replace(SETTINGS, routes=(Route("a", evil),)), 1, Routing())


def test_a_regex_is_quoted():
    text = render(dataclasses.replace(SETTINGS, routes=(Route("a", '^/\\d"\\\\;'),)), 1, Routing())
    assert '"~^/\\\\d\\"\\\\\\\\;" a;' in text


def test_only_healthy_lines_of_the_live_slot_are_ever_left_out():
    settings = dataclasses.replace(SETTINGS, routes=(Route("login", "^/login", (302,)),))
    text = render(settings, 1, Routing(GREEN, BLUE, 7))
    assert '"~^green [1-3][0-9][0-9] [1-3][0-9][0-9] -$" 1;' in text
    assert '"~^/login" by-status;' in text
    assert "if=$logged" not in render(settings, 1, Routing())


@pytest.mark.parametrize(
    "evil", [*EVIL, "127.0.0.1:0", "127.0.0.1:65536", "unix:/a;b", "unix:a", "h:1"]
)
def test_no_evil_address_becomes_nginx_text(evil):
    with pytest.raises(GateError, match="address does not fit"):
        render(SETTINGS, 1, Routing(Target(Color.BLUE, "v1", (evil,))))


@pytest.mark.parametrize("evil", [e for e in EVIL if e != "../x"] + ["a/b", "x" * 65])
def test_no_evil_release_becomes_nginx_text(evil):
    with pytest.raises(GateError, match="release does not fit"):
        render(SETTINGS, 1, Routing(Target(Color.BLUE, evil, ("127.0.0.1:1",))))


@pytest.mark.parametrize(
    "change", [{"timeout": 0.0}, {"keepalive": -1}, {"workers": 0}, {"split": "x"}]
)
def test_no_number_outside_its_range_becomes_nginx_text(change):
    with pytest.raises(GateError, match="does not fit"):
        render(dataclasses.replace(SETTINGS, **change), 1, Routing())


@pytest.mark.parametrize(
    "routing",
    [
        Routing(None, GREEN, 7),
        Routing(BLUE, GREEN),
        Routing(BLUE, GREEN, 0),
        Routing(BLUE, dataclasses.replace(GREEN, color=Color.BLUE), 7),
    ],
)
def test_a_routing_that_makes_no_sense_is_refused(routing):
    with pytest.raises(GateError, match="cannot write a gate config"):
        render(SETTINGS, 1, routing)


def test_each_instance_has_an_upstream_with_the_other_slot_behind_it():
    text = " ".join(render(SETTINGS, 1, Routing(BLUE, GREEN, 7)).split())
    behind = "max_fails=0; server unix:/srv/app.sock max_fails=0 backup;"
    assert f"upstream blue_0 {{ server 127.0.0.1:21001 {behind}" in text
    assert f"upstream blue_1 {{ server 127.0.0.1:21002 {behind}" in text
    assert "upstream green_0_alone { server unix:/srv/app.sock max_fails=0; }" in text


def test_the_shield_is_for_the_candidate_only_and_only_when_it_is_wanted():
    text = render(SETTINGS, 1, Routing(BLUE, GREEN, 7))
    assert text.count("http_500") == 2
    assert "http_500" not in render(SETTINGS, 1, Routing(BLUE))
    off = dataclasses.replace(SETTINGS, shield=False)
    assert "http_500" not in render(off, 1, Routing(BLUE, GREEN, 7))


def test_without_upstream_keepalive_the_app_is_told_to_close():
    text = render(dataclasses.replace(SETTINGS, keepalive=0), 1, Routing(BLUE))
    assert "keepalive_timeout 1s" not in text
    assert "$connection_to_app { '' close;" in text


def test_every_state_closes_client_connections():
    for routing in (Routing(), Routing(BLUE), Routing(BLUE, GREEN, 7)):
        assert render(SETTINGS, 1, routing).count("keepalive_timeout 0;") == 2


def test_the_lane_cookie_has_a_name_that_nginx_can_say():
    assert cookie_name("web-shop") == "relctl_web_shop"
