"""The sites of a real nginx: what `nginx -T` says of them, and what reading the files says, are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reld.doctor.gather import site
from tests.rig import environment, wait_for
from tests.site import Site

HEAD = "pid {place}/pid;\nerror_log {place}/error.log;\nevents {{ }}\n"
PLAIN = "server {{ listen unix:{place}/a; server_name shop.example.com; location / {{ proxy_pass http://127.0.0.1:8000; }} }}"
SITES = {
    "one plain site": ({"nginx.conf": HEAD + "http {{ " + PLAIN + " }}"}, [("shop.example.com", ("127.0.0.1:8000",))]),
    "an upstream block with two copies": (
        {"nginx.conf": HEAD + "http {{ include {place}/sites/*; }}",
         "sites/up": "upstream shop {{ server 127.0.0.1:8000; server 127.0.0.1:8001; keepalive 8; }}\n",
         "sites/web": "server {{ listen unix:{place}/a; server_name shop.example.com;\n"
                      "location / {{ proxy_pass http://shop; }} }}\n"},
        [("shop.example.com", ("127.0.0.1:8000", "127.0.0.1:8001"))],
    ),
    "a Unix socket, by a relative include": (
        {"nginx.conf": HEAD + "http {{ include conf.d/*.conf; }}",
         "conf.d/shop.conf": "server {{ listen unix:{place}/a;\n  location / {{ proxy_pass http://unix:/run/shop.sock; }} }}\n"},
        [("the default site", ("unix:/run/shop.sock",))],
    ),
    "two sites, of which one is PHP": (
        {"nginx.conf": HEAD + "http {{ " + PLAIN
         + " server {{ listen unix:{place}/b; server_name blog.example.com;"
           " location ~ \\.php$ {{ fastcgi_pass unix:/run/php.sock; }} }} }}"},
        [("shop.example.com", ("127.0.0.1:8000",)), ("blog.example.com", ())],
    ),
    "static files only": (
        {"nginx.conf": HEAD + "http {{ server {{ listen unix:{place}/a; root /var/www; }} }}"}, [],
    ),
}  # fmt: skip


@pytest.fixture
def lay(tmp_path):
    def laid(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.format(place=tmp_path))
        return str(tmp_path / "nginx.conf")

    return laid


@pytest.mark.parametrize("name", SITES)
def test_a_real_site_is_understood_in_both_ways(lay, name):
    files, wanted = SITES[name]
    main = lay(files)
    read, told = site.read((main,)), site.told(main)
    assert read == told
    found, why_not = read
    assert why_not == ""
    assert [(one.name, one.addresses) for one in found] == wanted


def test_a_broken_config_is_told_by_nginx_and_read_all_the_same(lay):
    main = lay({"nginx.conf": HEAD + "http {{ " + PLAIN + " nonsense on; }}"})
    found, why_not = site.told(main)
    assert found == ()
    assert 'unknown directive "nonsense"' in why_not
    (one,), _ = site.read((main,))
    assert one.addresses == ("127.0.0.1:8000",)


def test_a_config_that_is_not_there_and_one_with_a_lost_include(lay, tmp_path):
    found, why_not = site.read((str(tmp_path / "nginx.conf"),))
    assert (found, "no such file" in why_not) == ((), True)
    main = lay({"nginx.conf": HEAD + "http {{ include {place}/gone; " + PLAIN + " }}"})
    found, why_not = site.read((main,))
    assert (len(found), f"cannot read {tmp_path}/gone" in why_not) == (1, True)


def test_an_nginx_that_runs_is_found_by_its_master(lay):
    with Site(4321) as running:
        assert f"{running.prefix}/nginx.conf" in site.configs()
        found, _ = site.read()
        mine = [one for one in found if one.file.startswith(str(running.prefix))]
        assert [one.addresses for one in mine] == [("127.0.0.1:4321",)] * 3


def test_what_another_user_calls_an_nginx_is_none(lay):
    main = lay({"nginx.conf": HEAD})
    command = ["exec", "-a", f"'nginx: master process nginx -c {main}'", "sleep", "60"]
    user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    with subprocess.Popen(["bash", "-c", " ".join(command)], cwd="/", **user) as running:
        try:
            title = Path(f"/proc/{running.pid}/cmdline")
            wait_for(lambda: title.read_bytes().startswith(b"nginx: master"), 30, "it never runs")
            assert main not in site.configs()
        finally:
            running.kill()


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(lay, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found, why_not = site.read(
        (lay({"nginx.conf": "http {{ include {place}/pipe; " + PLAIN + " }}"}),)
    )
    assert (len(found), why_not) == (1, f"cannot read {tmp_path}/pipe: no regular file")


def test_a_mountain_of_files_is_read_as_far_as_it_is_bearable(lay, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "ALL", 2000)
    main = lay(
        {"nginx.conf": "include {place}/many/*;", **{f"many/{n}": "#" * 900 for n in range(9)}}
    )
    files, _ = site.files_of(main)
    assert sum(map(len, files.values())) == 2000


def test_reld_tells_relctl_what_it_reads(lay):
    files, _ = SITES["an upstream block with two copies"]
    command = [sys.executable, "-m", "reld", "--sites", lay(files)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    told = json.loads(ended.stdout)
    (one,) = told["proxies"]
    assert (told["why_not"], one["upstream"], len(one["servers"])) == ("", "shop", 2)
