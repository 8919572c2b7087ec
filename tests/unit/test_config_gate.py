"""`[gate] static`: what it may say, and what is refused with its line."""

from __future__ import annotations

import pytest

from reld import config_file
from reld.config import Static
from reld.errors import ConfigError

HEAD = """\
[app]
command = ["bin/serve", "{port}"]
directory = "/srv/web/releases/{release}"
user = "nobody"
[readiness]
tcp = true
[gate]
"""
UID = 0


def load(tmp_path, gate, head=HEAD):
    path = tmp_path / "web.toml"
    path.write_text(head + gate)
    path.chmod(0o644)
    return config_file.load(path, uid=path.stat().st_uid).gate


def refused(tmp_path, gate, head=HEAD):
    with pytest.raises(ConfigError) as found:
        load(tmp_path, gate, head)
    (only,) = found.value.findings
    return only


def test_static_is_a_list_of_prefixes_and_directories(tmp_path):
    gate = load(
        tmp_path,
        'static = [{ url = "/assets/", dir = "public/assets/", cache = "365d" },'
        ' { url = "/_next/static/", dir = ".next/static" }]',
    )
    assert gate.static == (
        Static("/assets/", "public/assets", 365 * 86400.0),
        Static("/_next/static/", ".next/static"),
    )


@pytest.mark.parametrize(
    ("static", "words"),
    [
        ('"/assets/"', "is not a list"),
        ('["/assets/"]', "is not a table"),
        ('[{ url = "/a/" }]', "dir is missing"),
        ('[{ dir = "public" }]', "url is missing"),
        ('[{ url = "/a/", dir = "a", cach = "1d" }]', "did you mean cache?"),
        ('[{ url = "/a/", dir = "a", cache = 5 }]', "has no unit"),
        ('[{ url = "/a/", dir = "a" }, { url = "/a/", dir = "b" }]', "is there twice"),
        *((f'[{{ url = "{bad}", dir = "a" }}]', "is not possible here")
          for bad in ("/", "/a", "a/", "//a/", "/a/../b/", "/a b/", "/a;/", "/$host/", "/é/")),
        *((f'[{{ url = "/a/", dir = "{bad}" }}]', "is not possible here")
          for bad in ("", "/etc", "../x", "a/../../x", "a b", "a;b", "$host", "a//b", "{x}")),
    ],
)  # fmt: skip
def test_what_is_no_static_directory_is_refused_with_its_line(tmp_path, static, words):
    text = refused(tmp_path, f"static = {static}\n")
    assert "web.toml:8: gate.static: " in text
    assert words in text


def test_static_needs_release_directories_that_nginx_text_can_name(tmp_path):
    head = HEAD.replace("/srv/web", "/srv/my web")
    text = refused(tmp_path, 'static = [{ url = "/a/", dir = "a" }]\n', head)
    assert 'gate.static: "/srv/my web/releases/{release}" cannot be named' in text


ON_A_SOCKET = HEAD.replace('"{port}"', '"unix:{socket}"')


def test_an_app_may_listen_on_a_socket_and_its_probes_are_told_where(tmp_path):
    smoke = '[[smoke]]\nname = "a"\ncommand = ["bin/smoke", "{socket}"]\n'
    load(tmp_path, smoke, ON_A_SOCKET)


@pytest.mark.parametrize(
    ("head", "rest", "finding"),
    [
        (
            HEAD.replace('"{port}"', '"{port}", "{socket}"'),
            "",
            "2: app.command: has both {port} and {socket}; expected one place",
        ),
        (
            ON_A_SOCKET.replace("tcp = true", 'command = ["bin/ready", "{port}"]'),
            "",
            "6: readiness.command: there is no {port}: the app listens on {socket}",
        ),
        (
            HEAD,
            '[[smoke]]\nname = "a"\ncommand = ["bin/smoke", "{socket}"]\n',
            "10: smoke.command: there is no {socket}: the app listens on {port}",
        ),
        (
            ON_A_SOCKET.replace("[readiness]", 'env = { SOCKET = "a" }\n[readiness]'),
            "",
            "5: app.env: SOCKET is set by reld",
        ),
    ],
)
def test_one_place_to_listen_is_all_that_an_app_has(tmp_path, head, rest, finding):
    assert f"web.toml:{finding}" in refused(tmp_path, rest, head)
