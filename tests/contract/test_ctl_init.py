"""`relctl init` before a real nginx and a real app: it tells what to type, and typing that works."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess

import pytest

from relctl import find
from relctl.__main__ import main
from relctl.setup import look
from reld.doctor.gather import site as reading
from tests.apps.running import knobs_app

SITE = """
pid {place}/pid; error_log {place}/error.log;
events {{ }}
http {{
    include {place}/sites/*;
}}
"""
SHOP = """
server {{
    listen unix:{place}/shop.sock;
    server_name www.shop.example.com;
    location / {{
        proxy_pass http://127.0.0.1:{port};
    }}
}}
"""
BLOG = """
server {{ listen unix:{place}/blog.sock; server_name blog.example.com; location / {{ proxy_pass http://127.0.0.1:9; }} }}
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A place for a site and for configs of apps; the site's main config is its `nginx.conf`."""
    (tmp_path / "sites").mkdir()
    (tmp_path / "nginx.conf").write_text(SITE.format(place=tmp_path))
    (tmp_path / "etc").mkdir()
    monkeypatch.setattr(find, "ETC", str(tmp_path / "etc"))
    return tmp_path


@pytest.fixture
def shop(machine):
    with knobs_app("old") as app:
        (machine / "sites" / "shop").write_text(SHOP.format(place=machine, port=app.port))
        yield app


def init(machine, *words):
    return main(["init", *words, "--nginx", str(machine / "nginx.conf")])


def leads(machine):
    found, _ = reading.read((str(machine / "nginx.conf"),))
    return [one.addresses for one in found]


def test_what_it_found_goes_to_stdout_and_what_to_do_to_stderr(machine, shop, capsys):
    assert init(machine, "shop") == 0
    out, err = capsys.readouterr()
    assert out.startswith("# /etc/relctl/shop.toml")
    assert f'address = "127.0.0.1:{shop.port}"' in out
    assert 'host = "www.shop.example.com"' in out
    assert 'path = "/ready"  # guess: it answered just now' in out
    assert '"--port", "{port}"' in out
    assert "pid " in out
    assert f"{machine}/sites/shop:6: http://127.0.0.1:{shop.port} → http://127.0.0.1:80" in err
    assert "sudo systemctl enable --now reld@shop" in err
    assert sorted(os.listdir(machine / "etc")) == []


def test_the_line_that_it_says_leads_the_site_to_the_gate(machine, shop, capsys):
    link = machine / "sites" / "shop"
    link.rename(machine / "available")
    link.symlink_to(machine / "available")
    assert init(machine, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    (edit,) = told["site"]
    command = edit["type"].removeprefix("sudo ")
    subprocess.run(["sh", "-c", command], check=True)
    (listen,) = {line for line in told["config"].splitlines() if line.startswith("listen = ")}
    assert link.is_symlink()
    assert leads(machine) == [(listen.split('"')[1],)]
    assert command.split("'")[2].strip() == str(link)


def test_it_writes_once_and_never_over_anything(machine, shop, capsys):
    assert init(machine, "shop", "--write") == 0
    path = machine / "etc" / "shop.toml"
    written = path.read_text()
    assert written.startswith("# /etc/relctl/shop.toml")
    assert f"{path} is written" in capsys.readouterr().err
    path.write_text("# mine\n")
    assert init(machine, "shop", "--write") == 1
    assert "nothing is ever overwritten" in capsys.readouterr().err
    assert path.read_text() == "# mine\n"
    path.unlink()
    path.symlink_to(machine / "elsewhere")
    assert init(machine, "shop", "--write") == 1
    assert not (machine / "elsewhere").exists()


def test_a_full_disk_leaves_no_half_of_a_config(machine, shop, capsys, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert init(machine, "shop", "--write") == 1
    assert "no space left on device" in capsys.readouterr().err
    assert init(machine, "shop", "--write") == 0


def test_a_path_in_what_is_to_be_typed_is_one_word_of_it(machine, capsys):
    odd = machine / "my shop; reboot"
    odd.mkdir()
    assert init(machine, "web", "--directory", str(odd)) == 0
    (copy,) = (line for line in capsys.readouterr().err.splitlines() if "cp -a" in line)
    assert shlex.split(copy) == ["sudo", "cp", "-a", str(odd), "/srv/web/releases/v1"]


def test_two_apps_behind_one_nginx_are_told_apart(machine, shop, capsys):
    (machine / "sites" / "blog").write_text(BLOG.format(place=machine))
    assert init(machine) == 2
    err = capsys.readouterr().err
    assert f"www.shop.example.com → 127.0.0.1:{shop.port}" in err
    assert "relctl init APP --site " in err
    for wanted in ("www.shop.example.com", str(shop.port)):
        assert init(machine, "--site", wanted, "--json") == 0
        assert f"127.0.0.1:{shop.port}" in json.loads(capsys.readouterr().out)["config"]
    assert init(machine, "--site", "nowhere") == 2
    assert "there is blog.example.com, www.shop.example.com" in capsys.readouterr().err


def test_a_site_that_leads_to_a_gate_already_is_no_app(machine, shop, capsys):
    text = (machine / "sites" / "shop").read_text().replace(f":{shop.port};", ":8085;")
    (machine / "sites" / "shop").write_text(text)
    (machine / "etc" / "shop.toml").write_text('[gate]\nlisten = "127.0.0.1:8085"\n')
    assert init(machine, "--directory", str(machine)) == 0
    assert "[external]" not in capsys.readouterr().out
    assert init(machine, "--site", "www.shop.example.com") == 2
    assert "a gate already is shop's" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ("server {{ listen unix:{place}/a; location / {{ uwsgi_pass unix:/run/u; }} }}", "the gate speaks HTTP"),
        ("map $uri $b {{ default x; }} server {{ listen unix:{place}/a; location / {{ proxy_pass http://$b; }} }}",
         "is known per request"),
        ("server {{ listen unix:{place}/a; root /var/www; }}", "passes requests on"),
    ],
)  # fmt: skip
def test_what_cannot_be_seen_is_said(machine, capsys, site, words):
    (machine / "sites" / "a").write_text(site.format(place=machine))
    assert init(machine, "web", "--directory", str(machine)) == 0
    assert words in capsys.readouterr().err


def test_without_any_nginx_the_project_alone_is_a_beginning(machine, capsys):
    shutil.rmtree(machine / "sites")
    (machine / "nginx.conf").unlink()
    (machine / "package.json").write_text('{"scripts": {"start": "node server.js"}}')
    assert init(machine, "web", "--directory", str(machine)) == 0
    out, err = capsys.readouterr()
    assert 'command = ["node", "server.js"]  # guess: package.json, scripts.start' in out
    assert "the site: cannot read" in err


@pytest.mark.parametrize("words", [("Web",), ("--write",), ("--directory", "/nowhere")])
def test_what_makes_no_sense_is_refused(machine, words):
    assert init(machine, *words) == 2


def test_a_port_that_somebody_listens_on_is_no_gates(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(look, "FIRST", shop.port)
    monkeypatch.setattr(look, "LAST", shop.port)
    assert look._free(str(tmp_path), None)[0] == f"127.0.0.1:{shop.port}"
    assert "all taken" in look._free(str(tmp_path), None)[1]
