"""Other people's nginx configs, spoiled: read as far as they go, in bounded time, and never told wrong.

Each line that somebody would be told to change is there, and what would be replaced stands in it.
"""

from __future__ import annotations

from random import Random

from relctl.setup.sites import Server, Site, changes
from reld.doctor.directives import dumped, parse
from reld.doctor.facts import GateFacts, SiteFacts
from reld.doctor.rules import nginx
from reld.doctor.sites import Proxy, proxies
from tests.fuzz import counted
from tests.fuzz.counted import tried
from tests.fuzz.mutate import spoiled

MAIN, WEB = "/etc/nginx/nginx.conf", "/etc/nginx/sites-enabled/web"
TOP = b"""user www-data;
events { worker_connections 768; }
http {
    log_format main '$remote_addr "$request" {x}';
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    upstream shop { server 127.0.0.1:8000 weight=2; server unix:/run/shop.sock backup; keepalive 8; }
    include sites-enabled/*;
}
"""
SITE = b"""server {
    listen 443 ssl; listen [::]:443 ssl;
    server_name www.example.com "*.example.com" ~^(?<a>.+)$;
    proxy_read_timeout 2m;
    location / { proxy_set_header Host $host; proxy_pass http://127.0.0.1:8000; }
    location ~ "^/[a-z]{2}/" { if ($x) { proxy_pass http://shop/x$request_uri; } }
    location = /s { proxy_pass http://unix:/run/shop.sock:/s/; }
    location /php { fastcgi_pass unix:/run/php.sock; }
}
"""
GATE = GateFacts(
    "127.0.0.1:8080", "127.0.0.1:1", "relctl-gate@web", "nginx", "1", 1, 1, listens=True
)


def run(inputs: int, seed: int) -> counted.Counted:
    return tried(inputs, seed, one)


def one(chance: Random) -> str:
    """What became of one pair of files."""
    raw = {MAIN: TOP, WEB: SITE}
    spoil = chance.choice((MAIN, WEB))
    raw[spoil] = spoiled(chance, raw[spoil], (TOP, SITE))
    files = {path: content.decode("utf-8", "replace") for path, content in raw.items()}
    found = proxies(parse(files, MAIN))
    for proxy in found:
        _is_there(files, proxy)
    old = ("127.0.0.1:8000", "unix:/run/shop.sock")
    for finding in nginx.findings(GATE, SiteFacts(found, old=old, ports=(21000, 21099))):
        finding.shown()
    dumped("".join(f"# configuration file {path}:\n{text}\n" for path, text in files.items()))
    return f"{min(len(found), 4)} places"


def _is_there(files: dict[str, str], proxy: Proxy) -> None:
    lines = files[proxy.file].split("\n")
    assert 1 <= proxy.line <= len(lines), proxy
    assert proxy.read_timeout >= 0, proxy
    if not proxy.addresses:
        return
    every = (_as_told(proxy),)
    for change in changes(every, every[0], "127.0.0.1:8080"):
        # A directive may go over several lines, and quotes may stand in the middle of a word.
        rest = "\n".join(files[change.file].split("\n")[change.line - 1 :])
        plain = rest.replace("\\", "").replace('"', "").replace("'", "")
        before = change.before.replace("\\", "").replace('"', "").replace("'", "")
        assert before in plain, change


def _as_told(proxy: Proxy) -> Site:
    servers = tuple(Server(s.address, s.file, s.line, s.text) for s in proxy.servers)
    return Site(proxy.name, proxy.names, proxy.location, proxy.file, proxy.line, proxy.text,
                proxy.addresses, proxy.how, proxy.upstream, servers, proxy.read_timeout)  # fmt: skip
