"""Each finding of `relctl check`: facts in, what is said and what to type out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reld.doctor import facts as f
from reld.doctor.finding import Area, Level, by_area, size, span, toml_span
from reld.doctor.rules import app, config, host, nginx, permissions, running
from reld.doctor.sites import Proxy, Server

MIB, GIB = 1 << 20, 1 << 30
FINE, LOOK, BAD = Level.OK, Level.WARNING, Level.ERROR


def found(findings, words):
    """The one finding that says so."""
    (one,) = [finding for finding in findings if words in finding.text]
    return one


def calm(findings):
    assert [one for one in findings if one.level is not FINE] == []


def mended(findings):
    """Whatever is not fine names what to type, and what is fine does not."""
    for one in findings:
        assert bool(one.mend) == (one.level is not FINE), one


def room(**changes):
    return replace(f.Room("the state", "/var/lib/relctl/web", 50 * GIB, 100 * GIB, 0.9), **changes)


HOST = f.HostFacts(
    rooms=(room(),),
    memory_available=2 * GIB,
    live_memory=300 * MIB,
    synced=True,
    descriptors=65536,
    machine_files=0.01,
    unit="reld@web",
)


def rooms(**changes):
    return {"rooms": (room(**changes),)}


@pytest.mark.parametrize(
    ("changes", "level", "words", "mend"),
    [
        (rooms(free=400 * MIB), LOOK, "only 400 MiB of 100.0 GiB", "du -xh"),
        (rooms(free=3 * MIB), BAD, "only 3 MiB", "du -xh"),
        (rooms(free=19 * MIB, size=400 * MIB), BAD, "only 19 MiB of 400 MiB", "du -xh"),
        (rooms(free=60 * MIB, size=400 * MIB), LOOK, "only 60 MiB of 400 MiB", "du -xh"),
        (rooms(inodes=0.03), LOOK, "only 3 % of the inodes", "--inodes"),
        (rooms(inodes=0.001), BAD, "no file can be made", "--inodes"),
        ({"live_memory": 3 * GIB}, BAD, "a second copy does not fit", "stop-first"),
        ({"live_memory": 1900 * MIB}, LOOK, "hardly anything beside it", "surge = 1"),
        ({"live_memory": 3 * GIB, "beside": 0.0}, FINE, "needs no second copy", ""),
        ({"live_memory": 3 * GIB, "beside": 0.25}, FINE, "room for two copies", ""),
        ({"synced": False}, LOOK, "nobody keeps the clock in sync", "set-ntp true"),
        ({"moved": 3600.0}, LOOK, "moved forward by 3600 s", "timesync-status"),
        ({"moved": -60.0}, LOOK, "moved back by 60 s", "timesync-status"),
        ({"descriptors": 1024}, LOOK, "1024 open files", "systemctl edit reld@web"),
        ({"descriptors": 1024, "unit": ""}, LOOK, "1024 open files", "ulimit -n"),
        ({"machine_files": 0.95}, BAD, "95 % of the files", "fs.file-max"),
    ],
)
def test_the_host(changes, level, words, mend):
    findings = list(host.findings(replace(HOST, **changes)))
    one = found(findings, words)
    assert (one.area, one.level) == (Area.HOST, level)
    assert mend in one.mend
    mended(findings)


def test_a_good_host_is_fine_and_what_cannot_be_seen_is_not_spoken_of():
    calm(host.findings(HOST))
    assert list(host.findings(f.HostFacts())) == []


RELD = f.ReldFacts("1.0", "reld@web", systemd=True, booted=True, root=True, enabled="enabled")


@pytest.mark.parametrize(
    ("changes", "level", "words", "mend"),
    [
        ({"damage": "page 7"}, BAD, "was damaged: page 7", "relctl mend"),
        ({"store_trouble": "disk full"}, BAD, "cannot be written: disk full", "df -h"),
        ({"degraded": "slot blue is locked"}, BAD, "slot blue is locked", "relctl status"),
        ({"waiting": "rollout 3: not clear yet"}, LOOK, "rollout 3: not clear", "relctl watch"),
        ({"enabled": "disabled"}, LOOK, "reld@web is disabled", "systemctl enable reld@web"),
        ({"systemd": False}, LOOK, "beside a systemd that could", "systemctl enable --now"),
        ({"systemd": False, "booted": False}, FINE, "reld itself keeps", ""),
    ],
)
def test_reld(changes, level, words, mend):
    findings = list(running.findings(replace(RELD, **changes)))
    one = found(findings, words)
    assert (one.area, one.level) == (Area.RELD, level)
    assert mend in one.mend
    mended(findings)


def test_a_good_reld_is_fine():
    calm(running.findings(RELD))


GATE = f.GateFacts(
    listen="127.0.0.1:8080",
    status="127.0.0.1:21099",
    unit="relctl-gate@web",
    binary="/usr/sbin/nginx",
    version="1.22.1",
    wanted=7,
    answers=7,
    listens=True,
)
CONF = "/etc/nginx/sites-enabled/web"


def proxy(*addresses, text="", line=12, **changes):
    made = Proxy(
        ("www.example.com",), ("443",), "/", CONF, line, text or f"http://{addresses[0]}", addresses
    )
    return replace(made, **changes)


LEADS = proxy("127.0.0.1:8080")
SITE = f.SiteFacts((LEADS,), ports=(21000, 21099))


@pytest.mark.parametrize(
    ("changes", "level", "words", "mend"),
    [
        ({"version": ""}, BAD, "cannot be run", "apt install nginx"),
        ({"answers": None}, BAD, "does not answer at 127.0.0.1:21099", "restart relctl-gate@web"),
        ({"answers": 6}, LOOK, "serves generation 6, not 7", "relctl status"),
        ({"listens": False}, BAD, "nobody listens at 127.0.0.1:8080", "restart relctl-gate@web"),
        ({"holder": "python3 (pid 7)"}, BAD, "python3 (pid 7) listens there", "[gate] listen"),
        ({"wanted": 0, "answers": None}, FINE, "no gate so far", ""),
    ],
)
def test_the_gate(changes, level, words, mend):
    findings = list(nginx.findings(replace(GATE, **changes), SITE))
    one = found(findings, words)
    assert (one.area, one.level) == (Area.NGINX, level)
    assert mend in one.mend
    mended(findings)


UPSTREAM = proxy(
    "127.0.0.1:8080", "127.0.0.1:8000", text="http://app", upstream="app",
    servers=(Server("127.0.0.1:8080", CONF, 2, "127.0.0.1:8080"), Server("127.0.0.1:8000", CONF, 3, "127.0.0.1:8000")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("proxies", "old", "level", "words", "mend"),
    [
        ([], (), LOOK, "no site of this machine's nginx leads to the gate", "proxy_pass http://127.0.0.1:8080"),
        ([proxy("127.0.0.1:8000")], ("127.0.0.1:8000",), LOOK, "still goes past the gate, to 127.0.0.1:8000",
         f"sed -i --follow-symlinks '12s|//127.0.0.1:8000|//127.0.0.1:8080|' {CONF}; sudo nginx -t"),
        ([LEADS, proxy("localhost:8000", line=20)], ("127.0.0.1:8000",), LOOK, "still goes past",
         "'20s|//localhost:8000|//127.0.0.1:8080|'"),
        ([proxy("unix:/run/web.sock", text="http://unix:/run/web.sock:/x")], ("unix:/run/web.sock",), LOOK,
         "to unix:/run/web.sock", "'12s|//unix:/run/web.sock:|//127.0.0.1:8080|'"),
        ([UPSTREAM], (), LOOK, "upstream app of www.example.com has 127.0.0.1:8000 beside the gate",
         "server 127.0.0.1:8080"),
        ([proxy("127.0.0.1:21007")], (), BAD, "straight to an instance's port, 127.0.0.1:21007",
         "'12s|//127.0.0.1:21007|//127.0.0.1:8080|'"),
        ([proxy("localhost:8080")], (), LOOK, "nginx takes [::1] too", "'12s|//localhost:8080|//127.0.0.1:8080|'"),
        ([replace(LEADS, read_timeout=30.0)], (), LOOK, "gives up after 30 s", "proxy_read_timeout 65s"),
        ([LEADS], (), FINE, f"www.example.com leads to the gate ({CONF}:12)", ""),
        ([proxy("10.0.0.7:21007")], (), LOOK, "no site of this machine's", "proxy_pass"),
    ],
)  # fmt: skip
def test_the_site(proxies, old, level, words, mend):
    site = replace(SITE, proxies=tuple(proxies), old=old)
    findings = list(nginx.findings(GATE, site))
    one = found(findings, words)
    assert one.level is level
    assert mend in one.mend
    mended(findings)


def test_a_site_that_cannot_be_read_is_no_site_that_leads_nowhere():
    site = f.SiteFacts(why_not="cannot read /etc/nginx/nginx.conf: permission denied")
    one = found(nginx.findings(GATE, site), "cannot tell whether the site leads to the gate")
    assert one.level is LOOK
    assert "permission denied" in one.text


def test_one_line_that_two_sites_include_is_told_once():
    twice = f.SiteFacts((proxy("127.0.0.1:8000"), proxy("127.0.0.1:8000")), old=("127.0.0.1:8000",))
    found(nginx.findings(GATE, twice), "still goes past")


CONFIG = f.ConfigFacts(
    "/etc/relctl/web.toml",
    steps=(5, 100),
    step_requests=300,
    smoke=2,
    rate=10.0,
    longest=1.5,
    pasts=(f.Past(3, "v3", "done", starting=4.0, stopping=0.2),),
)


@pytest.mark.parametrize(
    ("changes", "level", "words", "mend"),
    [
        ({"findings": ("web.toml:3: app.user: is missing", "x")}, BAD, "app.user: is missing (and 1 more)",
         "reld /etc/relctl/web.toml --check"),
        ({"news": "was changed since: takes effect with the next rollout"}, LOOK, "was changed since", "relctl restart"),
        ({"smoke": 0}, LOOK, "there is no [[smoke]]", "[[smoke]]"),
        ({"bake": 0.0}, LOOK, "bake is 0", 'bake = "10m"'),
        ({"rate": 0.1}, LOOK, "at 0.1 requests a second a step sees 60 of the 300", "step_requests = 30"),
        ({"rate": 0.1, "steps": (100,)}, FINE, "2 smoke checks", ""),
        ({"rate": None}, FINE, "2 smoke checks", ""),
        ({"ready_deadline": 5.0}, LOOK, "took 4 s to be ready, and the deadline is 5 s", 'deadline = "8s"'),
        ({"drain_max": 30.0}, LOOK, "drain_max is 30 s, and the gate waits 60 s", 'drain_max = "1m"'),
        ({"longest": 400.0, "drain_max": 300.0}, LOOK, "requests took up to 6 min 40 s", 'drain_max = "10m"'),
        ({"external": "old.service"}, LOOK, "[external] has had its time", "sudo systemctl disable --now old.service"),
        ({"external": ""}, LOOK, "[external] has had its time", "remove [external] from /etc/relctl/web.toml"),
        ({"pasts": (f.Past(9, "v9", "done", cut=4),)}, LOOK, "rollout 9 cut 4 connections", "websockets"),
    ],
)  # fmt: skip
def test_the_config(changes, level, words, mend):
    findings = list(config.findings(replace(CONFIG, **changes)))
    one = found(findings, words)
    assert (one.area, one.level) == (Area.CONFIG, level)
    assert mend in one.mend
    mended(findings)


def test_a_good_config_is_fine_and_a_broken_one_is_all_there_is_to_say():
    calm(config.findings(CONFIG))
    assert len(list(config.findings(replace(CONFIG, findings=("a",), smoke=0)))) == 1


def test_long_connections_that_were_cut_are_no_news_where_the_config_speaks_of_them():
    calm(config.findings(replace(CONFIG, streams=True, pasts=(f.Past(9, "v9", "done", cut=4),))))


def place(what, path, **changes):
    return replace(f.Place(what, path, "web", "web", 0o755), **changes)


RIGHTS = f.RightsFacts(
    "web",
    releases=place("releases", "/srv/web/releases"),
    shared=place("shared", "/srv/web/shared"),
    env_file=place("env_file", "/etc/relctl/web.env", owner="root", group="root", mode=0o600),
    socket=place(
        "socket", "/run/relctl/web/control.sock", owner="root", group="relctl", mode=0o660
    ),
    groups=(("relctl", ("anna",)),),
)


@pytest.mark.parametrize(
    ("which", "changes", "level", "words", "mend"),
    [
        ("releases", {"mode": None}, BAD, "/srv/web/releases, where releases are, is not there",
         "install -d -o web -g web /srv/web/releases"),
        ("releases", {"mode": 0o777}, BAD, "everybody on this machine can put releases", "chmod o-w"),
        ("releases", {"mode": 0o1777}, FINE, "/srv/web/releases is web's", ""),
        ("releases", {"wall": "/srv"}, BAD, "cannot get to /srv/web/releases: /srv is shut", "chmod o+x /srv"),
        ("shared", {"mode": None}, BAD, "which [releases] shared needs", "install -d"),
        ("shared", {"writable": False, "owner": "root"}, LOOK, "cannot write into /srv/web/shared", "chown web:"),
        ("env_file", {"mode": None}, BAD, "no release can start", "install -m 600"),
        ("env_file", {"mode": 0o644}, LOOK, "everybody on this machine can read", "chmod 600"),
        ("env_file", {"mode": 0o660}, BAD, "others than its owner can write", "chmod 600"),
        ("socket", {"mode": None}, BAD, "the control socket, is gone", "restart"),
        ("socket", {"mode": 0o666}, LOOK, "everybody may connect", "chmod 660"),
        ("socket", {}, FINE, "open to root and to group relctl", ""),
    ],
)  # fmt: skip
def test_permissions(which, changes, level, words, mend):
    changed = replace(getattr(RIGHTS, which), **changes)
    findings = list(permissions.findings(replace(RIGHTS, **{which: changed})))
    one = found(findings, words)
    assert (one.area, one.level) == (Area.PERMISSIONS, level)
    assert mend in one.mend
    mended(findings)


def test_who_never_unpacks_may_keep_the_releases_to_root():
    roots = replace(
        RIGHTS, releases=place("releases", "/srv/web/releases", owner="root", writable=False)
    )
    calm(permissions.findings(roots))
    one = found(permissions.findings(replace(roots, unpacks=True)), "relctl unpack")
    assert (one.level, one.mend) == (LOOK, "sudo chown web: /srv/web/releases")


def test_groups_that_are_not_there_and_groups_of_nobody():
    gone = list(permissions.findings(replace(RIGHTS, groups=(("deploy", None),))))
    assert found(gone, "names @deploy").mend == "sudo groupadd --system deploy"
    calm(permissions.findings(replace(RIGHTS, groups=(("relctl", ()),))))
    calm(permissions.findings(RIGHTS))


def asked(path, *times, ok=True, body="ok"):
    return f.Asked(
        path, ok, times or (0.004,), body, f"GET {path}: 200 OK" if ok else f"GET {path}: 503"
    )


APP = f.AppFacts(
    release="v3",
    readiness="/ready",
    liveness="/live",
    ready=asked("/ready"),
    live=asked("/live"),
    nowhere=asked("/nowhere", ok=False, body="not found"),
    instances=(f.InstanceFacts("instance 0", "127.0.0.1"),),
    errors=0.0,
    requests=400,
    growth=0.0,
    memory=100 * MIB,
    pasts=(f.Past(3, "v3", "done", stopping=0.4),),
)
LIED = f.Past(4, "v4", "failed", failed_smoke="login: POST /login: 500")


@pytest.mark.parametrize(
    ("changes", "level", "words", "mend"),
    [
        ({"pasts": (LIED,)}, LOOK, "readiness said yes too early: v4 was ready in rollout 4", "relctl show 4"),
        ({"pasts": (LIED, replace(LIED, id=2, release="v2"))}, LOOK, "as in 1 more", "/ready"),
        ({"errors": 0.4}, BAD, "40 % of 400 requests failed in the last seconds, while readiness says yes", "rollback"),
        ({"errors": 0.07}, LOOK, "7 % of 400 requests", "relctl logs"),
        ({"connects_only": True}, LOOK, "readiness only connects", '[readiness] path = "/ready"'),
        ({"ready": asked("/ready", ok=False)}, LOOK, "readiness says no just now: GET /ready: 503", "relctl status"),
        ({"nowhere": asked("/nowhere")}, LOOK, "/ready says nothing", "catches all"),
        ({"ready": asked("/ready", 0.0004, 0.0005), "peers": ("10.0.0.5:5432",)}, LOOK,
         "answers within 0.5 ms, and the app has connections to 10.0.0.5:5432: does it look at them?", "have /ready ask"),
        ({"ready": asked("/ready", 0.0004, 0.003), "peers": ("10.0.0.5:5432",)}, FINE, "/ready is ready within 3.0 ms", ""),
        ({"liveness": "/ready"}, LOOK, "as readiness does", "[liveness]"),
        ({"live": asked("/live", body='{"Postgres": "up"}')}, LOOK, 'speaks of "Postgres"', "[liveness]"),
        ({"live": asked("/live", 0.2, 0.15)}, LOOK, "takes 150 ms at least", "[liveness]"),
        ({"live": asked("/live", 2.0, 0.01)}, FINE, "liveness asks /live", ""),
        ({"instances": (f.InstanceFacts("instance 0", "0.0.0.0"),)}, LOOK, "listens on 0.0.0.0", "127.0.0.1"),
        ({"instances": (f.InstanceFacts("instance 1", "::"),)}, LOOK, "instance 1 listens on ::", "127.0.0.1"),
        ({"instances": (f.InstanceFacts("instance 0", "", 3, "exit code 1"),)}, LOOK,
         "restarted 3 times since v3 is live (exit code 1)", "relctl logs"),
        ({"growth": 20.0 * MIB}, LOOK, "memory grows by 20 MiB a minute", "memory_max"),
        ({"pasts": (f.Past(3, "v3", "done", stopping=30.2),)}, LOOK, "ignore SIGTERM: in rollout 3", "exec PROGRAM"),
    ],
)  # fmt: skip
def test_the_app(changes, level, words, mend):
    findings = list(app.findings(replace(APP, **changes)))
    one = found(findings, words)
    assert (one.area, one.level) == (Area.APP, level)
    assert mend in one.mend
    mended(findings)


def test_a_good_app_is_fine_and_one_that_does_not_run_is_not_spoken_of():
    calm(app.findings(APP))
    assert list(app.findings(f.AppFacts())) == []


def test_few_requests_say_nothing_of_errors():
    calm(app.findings(replace(APP, errors=1.0, requests=3)))


def test_one_bad_release_is_forgotten_with_the_next_good_one_and_two_are_not():
    good = f.Past(5, "v5", "done")
    calm(app.findings(replace(APP, pasts=(good, LIED))))
    again = replace(APP, pasts=(good, LIED, replace(LIED, id=2)))
    found(app.findings(again), "readiness said yes too early")


def receipt(reason, *phases, **changes):
    spent = [{"phase": name, "seconds": 2.5} for name in phases]
    made = {
        "id": 4,
        "kind": "switch",
        "from": "v3",
        "to": "v4",
        "outcome": "failed",
        "reason": reason,
    }
    return {**made, "phases": spent, "drain": {"seconds": 1.0, "cut": 3}, **changes}


def test_a_receipt_tells_what_the_doctor_wants():
    told = receipt(
        "smoke check failed: login: POST /login: 500\nmore", "starting", "proving", "stopping"
    )
    assert app.past_of(told) == f.Past(
        4, "v4", "failed", "switch", 2.5, 2.5, "login: POST /login: 500", 3
    )
    assert app.past_of(receipt("not ready in time", "starting")).failed_smoke == ""
    bare = app.past_of({"id": 1})
    assert (bare.starting, bare.cut, bare.failed_smoke) == (None, 0, "")


def test_findings_are_sorted_by_area_and_keep_their_order_within():
    mixed = [*app.findings(APP), *running.findings(RELD), *host.findings(HOST)]
    areas = [one.area for one in by_area(mixed)]
    assert areas == sorted(areas, key=list(Area).index)


def test_numbers_for_people():
    assert [size(512 * MIB), size(1.5 * GIB)] == ["512 MiB", "1.5 GiB"]
    assert [span(x) for x in (0.0004, 0.15, 1.25, 60.0, 400.0)] == [
        "0.4 ms", "150 ms", "1.2 s", "60 s", "6 min 40 s",
    ]  # fmt: skip
    assert [toml_span(x) for x in (0.3, 8.0, 60.0, 90.5)] == ["1s", "8s", "1m", "91s"]
