"""Every refusal, with its line and its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from reld.config_file import check

VALID = """\
[app]
command = ["bin/serve", "--port", "{port}"]
directory = "/srv/web/releases/{release}"
user = "nobody"
[ports]
range = "21000-21099"
[readiness]
path = "/ready"
"""
DIRECTORY = "/srv/web/releases/{release}"
ARGV = 'expected a list of the program and its arguments, such as ["bin/serve", "--port", "{port}"]'
COMMAND = '["bin/serve", "--port", "{port}"]'
DURATION = 'expected a duration such as "30s", "5m", "1h30m" or "200ms"'
TOML = 'expected TOML: key = "text", key = 5, key = ["a", "list"], or a [table]'
REGEX = (
    'expected a regex of the path such as "^/checkout"'
    " (no quotes, blanks, braces, ; or \\\\; $ only at an end)"
)
RELEASE = 'an absolute path with {release} in it, such as "/srv/web/releases/{release}"'
READINESS = 'expected [readiness] with path = "/ready" (or tcp = true, or command = ["bin/ready"])'
RISES = "expected percents that rise to 100, such as [5, 25, 50, 95, 100]"
RANGE = 'expected "FIRST-LAST" between 1024 and 65535, such as "21000-21099"'

REPLACED = [
    (
        COMMAND,
        '"bin/serve --port {port}"',
        (
            f"2: app.command: a string is not taken apart by any shell; {ARGV};"
            ' did you mean ["bin/serve", "--port", "{port}"]?'
        ),
    ),
    (COMMAND, "[]", f"2: app.command: there is no program in it; {ARGV}"),
    ('"--port"', "5", f'2: app.command: 5 is not text; {ARGV}; did you mean "5"?'),
    (
        "{port}",
        "{prot}",
        (
            "2: app.command: {prot} is no placeholder here; expected one of"
            " {port} {socket} {slot} {release} {instance} {directory}; literal braces are {{prot}}"
        ),
    ),
    (
        "{port}",
        "{port",
        (
            '2: app.command: lone { in "{port"; expected'
            " {port} {socket} {slot} {release} {instance} {directory}; a literal brace is {{"
        ),
    ),
    ("{port}", "\\u0000", "2: app.command: has a NUL character; expected text without one"),
    (
        DIRECTORY,
        "/srv/web/current",
        (
            f'3: app.directory: "/srv/web/current" is the same for every release; expected {RELEASE};'
            ' did you mean "/srv/web/{release}"?'
        ),
    ),
    (
        DIRECTORY,
        "srv/{release}",
        f'3: app.directory: "srv/{{release}}" is not an absolute path; expected {RELEASE}',
    ),
    (
        DIRECTORY,
        "/srv/../{release}",
        f'3: app.directory: "/srv/../{{release}}" climbs with ..; expected {RELEASE}',
    ),
    (
        DIRECTORY,
        "/srv/{release}/{port}",
        (
            "3: app.directory: {port} is no placeholder here; expected one of {release};"
            " literal braces are {{port}}"
        ),
    ),
    (
        'user = "nobody"\n',
        "",
        '1: app.user: is missing, and reld runs as root; expected user = "web", a user of its own',
    ),
    (
        '"nobody"',
        '"www-data"',
        (
            "4: app.user: www-data is the user of nginx;"
            " expected a user of its own: nginx's could read and signal the app"
        ),
    ),
    (
        '"nobody"',
        '"relctl-gate"',
        (
            "4: app.user: relctl-gate is the user of nginx;"
            " expected a user of its own: nginx's could read and signal the app"
        ),
    ),
    (
        '"nobody"',
        '"no-such-user"',
        (
            "4: app.user: there is no user no-such-user;"
            " expected a user of this machine: adduser --system --group no-such-user"
        ),
    ),
    (
        '"nobody"',
        '"a b"',
        '4: app.user: "a b" is not possible here; expected the name of a user, such as "web"',
    ),
    ('[readiness]\npath = "/ready"\n', "", f"1: readiness: is missing; {READINESS}"),
    ('path = "/ready"', 'interval = "1s"', f"7: readiness: says nothing to ask; {READINESS}"),
    (
        'path = "/ready"',
        'path = "/ready"\ntcp = true',
        "7: readiness: asks in more than one way; expected one of path, tcp, command",
    ),
    (
        '"/ready"',
        '"ready"',
        (
            '8: readiness.path: "ready" is not possible here;'
            ' expected a path that begins with "/", such as "/ready"'
        ),
    ),
    (
        "21000-21099",
        "21000-21003",
        (
            "6: ports.range: 21000-21003 has 4 ports, too few for instances = 1; expected at least 5:"
            ' two slots, as many that rest, and the gate\'s status; did you mean "21000-21004"?'
        ),
    ),
    (
        "21000-21099",
        "21099-21000",
        f'6: ports.range: "21099-21000" is no range of ports; {RANGE}',
    ),
    (
        '"21000-21099"',
        "21000",
        f'6: ports.range: 21000 is not text; {RANGE}; did you mean "21000"?',
    ),
    ('"nobody"', "nobody", f"4: user: invalid value (TOML); {TOML}"),
    ("[app]", "[app", f"1: syntax: expected ']' at the end of a table declaration (TOML); {TOML}"),
    ("[ports]", "[[ports]]", "5: ports: a list is not a table; expected [ports]"),
]

APP = [
    (
        'stop_signal = "TERM"',
        (
            '5: app.stop_signal: "TERM" is no signal to stop an app with; expected the name of a signal'
            ' that asks to stop, such as SIGTERM, SIGINT or SIGQUIT; did you mean "SIGTERM"?'
        ),
    ),
    (
        'env = { "A-B" = "c" }',
        '5: app.env: "A-B" is no name of a variable; expected letters, digits and _',
    ),
    (
        'env = { PORT = "1" }',
        "5: app.env: PORT is set by reld; expected names other than PORT and RELCTL_…",
    ),
    (
        "env = { A = 4 }",
        '5: app.env: A: 4 is not text; expected text in quotes, such as "web"; did you mean "4"?',
    ),
    (
        'env = { A = "{port}" }',
        (
            "5: app.env: A: {port} is not filled in here; expected placeholders in command only;"
            " PORT and RELCTL_RELEASE are in the environment"
        ),
    ),
    (
        'env_file = "web.env"',
        (
            '5: app.env_file: "web.env" is not an absolute path;'
            ' expected an absolute path, such as "/etc/relctl/web.env"'
        ),
    ),
    (
        'host = "a;b"',
        '5: app.host: "a;b" is not possible here; expected a host name, such as "www.example.com"',
    ),
    (
        "instances = true",
        "5: app.instances: true is not a whole number; expected a whole number from 1 to 100",
    ),
    (
        "instances = 50",
        (
            "7: ports.range: 21000-21099 has 100 ports, too few for instances = 50; expected at least"
            ' 201: two slots, as many that rest, and the gate\'s status; did you mean "21000-21200"?'
        ),
    ),
]

APPENDED = [
    ("[rollout]\nbake = 30", f'10: rollout.bake: 30 has no unit; {DURATION}; did you mean "30s"?'),
    (
        '[rollout]\nbake = "5min"',
        f'10: rollout.bake: "5min" is not a duration; {DURATION}; did you mean "5m"?',
    ),
    ("[rollout]\nbake = true", f"10: rollout.bake: true is not a duration; {DURATION}"),
    (
        '[rollout]\nbake = "366d"',
        '10: rollout.bake: "366d" is out of range; expected 0 s to 365 days',
    ),
    ("[rollout]\nsteps = [5, 50]", f"10: rollout.steps: does not end in 100; {RISES}"),
    ("[rollout]\nsteps = [50, 5, 100]", f"10: rollout.steps: does not rise; {RISES}"),
    (
        "[rollout]\nsteps = [0, 100]",
        "10: rollout.steps: 0 is out of range; expected a whole number from 1 to 100",
    ),
    (
        '[rollout]\nstep_time = "20m"',
        (
            "10: rollout.step_time: step_max (600 s) is shorter than step_time (1200 s);"
            " expected step_time to be at most step_max"
        ),
    ),
    (
        "[verdict]\nmax_error_rate = 5",
        (
            '10: verdict.max_error_rate: 5 is not a share; expected a share such as "5%" or 0.05,'
            ' above 0 and at most "100%"; did you mean "5%"?'
        ),
    ),
    (
        '[verdict]\nfalse_alarm = "1/0"',
        (
            '10: verdict.false_alarm: "1/0" is out of range; expected a share such as "1/1000" or'
            ' 0.001, above 0 and at most "50%"'
        ),
    ),
    (
        '[rollout]\nstrategy = "cold"',
        ('10: rollout.strategy: "cold" is not possible here; expected "warm" or "stop-first"'),
    ),
    (
        '[verdict]\non_unproven = "panic"',
        (
            '10: verdict.on_unproven: "panic" is not possible here;'
            ' expected "promote" or "hold" or "rollback"'
        ),
    ),
    (
        '[verdict]\nshield = "yes"',
        (
            '10: verdict.shield: "yes" is neither true nor false; expected true or false,'
            " without quotes"
        ),
    ),
    (
        '[gate]\nlisten = "0.0.0.0:80"',
        (
            '10: gate.listen: "0.0.0.0:80" can be reached from outside;'
            ' expected a loopback address, such as "127.0.0.1:8080"'
        ),
    ),
    (
        '[gate]\nlisten = "127.0.0.1:21005"',
        (
            "10: gate.listen: 127.0.0.1:21005 is inside [ports] range 21000-21099;"
            " expected a port outside, such as 127.0.0.1:8080"
        ),
    ),
    (
        '[gate]\nstatus = "127.0.0.1:8080"',
        "10: gate.status: 127.0.0.1:8080 is gate.listen too; expected a port of its own",
    ),
    (
        '[external]\naddress = "unix:run"',
        (
            '10: external.address: "unix:run" is no address;'
            ' expected "unix:/run/web.sock" (at most 101 characters, no ..)'
        ),
    ),
    (
        '[external]\nunit = "x.service"',
        '9: external.address: is missing; expected address = "127.0.0.1:8000"',
    ),
    (
        '[external]\naddress = "localhost:8080"',
        (
            "10: external.address: 127.0.0.1:8080 is the gate's own address: it would ask itself;"
            " expected the address of the app that runs today"
        ),
    ),
    (
        '[[route]]\nname = "c"\nmatch = "("',
        (
            '11: route.match: "(" does not compile: missing ), unterminated subpattern at position 0;'
            f" {REGEX}"
        ),
    ),
    (
        '[[route]]\nname = "c d"\nmatch = "^/x$"',
        (
            '10: route.name: "c d" is not possible here;'
            " expected letters, digits, dots, _ and - (at most 64), no blanks"
        ),
    ),
    (
        '[[route]]\nname = "c"\nmatch = "^/x"\nsuccess = []',
        (
            "12: route.success: is empty;"
            " expected a list of status codes from 200 to 399, such as [302]"
        ),
    ),
    (
        '[[route]]\nname = "c"\nmatch = "^/x"\nsuccess = [404]',
        "12: route.success: 404 is out of range; expected a whole number from 200 to 399",
    ),
    ('[route]\nname = "c"', "9: route: a table is not a list of tables; expected [[route]]"),
    (
        '[[worker]]\nname = "cron"',
        '9: worker.command: is missing; expected command = ["bin/worker", "--queue", "mail"]',
    ),
    (
        '[[worker]]\nname = "cron"\ncommand = ["bin/cron", "{port}"]',
        (
            "11: worker.command: {port} is no placeholder here; expected one of"
            " {slot} {release} {instance} {directory}; literal braces are {{port}}"
        ),
    ),
    (
        '[[worker]]\nname = "cron"\ncommand = ["x"]\nhandover = "stop_first"',
        '12: worker.handover: "stop_first" is not possible here; expected "overlap" or "stop-first"',
    ),
    (
        '[[worker]]\nname = "q"\ncommand = ["x"]\n[[worker]]\nname = "q"\ncommand = ["y"]',
        "13: worker.name: q is there already; expected a name of its own for each",
    ),
    (
        '[[smoke]]\nname = "s"',
        '9: smoke: has nothing to ask; expected path = "/login", or command = ["bin/smoke"]',
    ),
    (
        '[[smoke]]\nname = "s"\npath = "/"\n[[smoke]]\nname = "s"\npath = "/"',
        "13: smoke.name: s is there already; expected a name of its own for each",
    ),
    (
        '[[smoke]]\nname = "s"\ncommand = ["x"]\nstatus = [200]',
        (
            "12: smoke.status: means nothing to a command;"
            " expected it only where there is a path: a command judges by its exit code"
        ),
    ),
    (
        '[hooks]\nbefore_start = ["bin/migrate", "{port}"]',
        (
            "10: hooks.before_start: {port} is no placeholder here;"
            " expected one of {release} {directory}; literal braces are {{port}}"
        ),
    ),
    (
        '[access]\noperators = "@relctl"',
        (
            '10: access.operators: "@relctl" is not a list;'
            ' expected a list of users and groups, such as ["@relctl", "anna"]'
        ),
    ),
    (
        "[rollout]\nshadow = 5",
        (
            '10: rollout.shadow: 5 is not a share; expected a share such as "5%" or 0.05, above 0 and'
            ' at most "100%"; did you mean "5%"?'
        ),
    ),
    (
        '[rollout]\nshadow = "120%"',
        (
            '10: rollout.shadow: "120%" is out of range; expected a share such as "5%" or 0.05, above'
            ' 0 and at most "100%"'
        ),
    ),
    (
        '[rollout]\nshadow = "5%"\nstrategy = "stop-first"',
        (
            "10: rollout.shadow: means nothing with stop-first, nobody serves that could be mirrored;"
            ' expected shadow = 0, or strategy = "warm"'
        ),
    ),
    (
        "[rollout]\nsurge = 2",
        (
            "10: rollout.surge: 2 is more than instances = 1;"
            " expected at most 1: then all of them run beside the old ones"
        ),
    ),
    (
        '[rollout]\nsurge = 1\nstrategy = "stop-first"',
        (
            "10: rollout.surge: a surge needs room for more processes, and stop-first stops the old"
            ' ones before; expected surge = 0, or strategy = "warm"'
        ),
    ),
    (
        "[rollout]\nqqq = 1",
        (
            "10: rollout.qqq: there is no such key; expected one of steps, step_time, step_requests,"
            " step_max, bake, drain, drain_max, strategy, surge, shadow, side_by_side"
        ),
    ),
    (
        "[gate]\nkeepalive = " + "9" * 5000,
        "10: syntax: a number too long to read; expected a shorter one",
    ),
]


def write(folder: Path, text: str) -> Path:
    path = folder / "web.toml"
    path.write_text(text)
    path.chmod(0o644)
    return path


@pytest.mark.parametrize(("old", "new", "finding"), REPLACED)
def test_a_wrong_line_is_named_with_what_was_expected(tmp_path, old, new, finding):
    path = write(tmp_path, VALID.replace(old, new))
    assert check(path, 0) == [f"{path}:{finding}"]


@pytest.mark.parametrize(("line", "finding"), APP)
def test_a_wrong_key_of_the_app_is_named(tmp_path, line, finding):
    path = write(tmp_path, VALID.replace("[ports]", f"{line}\n[ports]"))
    assert check(path, 0) == [f"{path}:{finding}"]


@pytest.mark.parametrize(("table", "finding"), APPENDED)
def test_a_wrong_table_is_named(tmp_path, table, finding):
    path = write(tmp_path, f"{VALID}{table}\n")
    assert check(path, 0) == [f"{path}:{finding}"]


@pytest.mark.parametrize(
    ("table", "key", "meant"),
    [
        ("app", "ExecStart", "app.command"),
        ("app", "WorkingDirectory", "app.directory"),
        ("app", "EnvironmentFile", "app.env_file"),
        ("app", "TimeoutStopSec", "app.stop_timeout"),
        ("app", "KillSignal", "app.stop_signal"),
        ("app", "stop_grace_period", "app.stop_timeout"),
        ("app", "replicas", "app.instances"),
        ("app", "deploy_to", "app.directory"),
        ("app", "linked_files", "app.env_file"),
        ("app", "hots", "app.host"),
        ("readiness", "start_period", "readiness.deadline"),
        ("gate", "response_timeout", "gate.timeout"),
        ("rollout", "drain-timeout", "rollout.drain_max"),
        ("rollout", "step-time", "rollout.step_time"),
    ],
)
def test_a_key_from_elsewhere_is_translated(tmp_path, table, key, meant):
    text = VALID.replace(f"[{table}]\n", "") if table not in VALID else VALID
    text = text if f"[{table}]\n" in text else f"{text}[{table}]\n"
    path = write(tmp_path, text.replace(f"[{table}]\n", f'[{table}]\n{key} = "5s"\n'))
    line = path.read_text().split("\n").index(f'{key} = "5s"') + 1
    expected = f"{path}:{line}: {table}.{key}: there is no such key; did you mean {meant}?"
    assert check(path, 0) == [expected]


def test_a_pasted_unit_is_translated_line_by_line(tmp_path):
    path = write(tmp_path, f'{VALID}[Service]\nExecStart = "x"\nUser = "web"\n')
    assert check(path, 0) == [
        f"{path}:9: Service: there is no such table; did you mean app?",
        f"{path}:10: Service.ExecStart: there is no such key; did you mean app.command?",
        f"{path}:11: Service.User: there is no such key; did you mean app.user?",
    ]


def test_healthcheck_is_readiness(tmp_path):
    path = write(tmp_path, f"{VALID}[healthcheck]\n")
    assert check(path, 0) == [
        f"{path}:9: healthcheck: there is no such table; did you mean readiness?"
    ]


def test_all_findings_come_at_once_in_the_order_of_the_lines(tmp_path):
    text = VALID.replace("/ready", "ready").replace("/srv", "srv").replace("user", "usr")
    findings = check(write(tmp_path, text), 0)
    assert [finding.split(": ")[1] for finding in findings] == [
        "app.user", "app.directory", "app.usr", "readiness.path"
    ]  # fmt: skip


EVIL = ["a;b", "a b", 'a\\"b', "a'b", "a{b", "a}b", "a\\nb", "a\\u0007b", "a\\u0000b", "a$b", "ä"]


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize(
    ("key", "table"),
    [
        ("gate.assets", '[gate]\nassets = ["/%s"]'),
        ("gate.listen", '[gate]\nlisten = "%s:80"'),
        ("route.name", '[[route]]\nmatch = "x"\nname = "%s"'),
        ("route.match", '[[route]]\nname = "x"\nmatch = "/%s"'),
        ("external.address", '[external]\naddress = "%s:80"'),
        ("external.address", '[external]\naddress = "unix:/%s"'),
    ],
)
def test_nothing_that_nginx_would_read_as_syntax_gets_in(tmp_path, evil, key, table):
    (finding,) = check(write(tmp_path, f"{VALID}{table % evil}\n"), 0)
    assert f": {key}: " in finding
    assert "\n" not in finding


@pytest.mark.parametrize("evil", EVIL)
def test_no_host_can_hold_nginx_syntax(tmp_path, evil):
    (finding,) = check(write(tmp_path, VALID.replace("[ports]", f'host = "{evil}"\n[ports]')), 0)
    assert ":5: app.host: " in finding


@pytest.mark.parametrize(
    "match", [r"a\\\\b", r"(?P<host>a)", r"\\n", "$host", "${x}", "[[a]", "a++*", r"(?i)x", r"\\$x"]
)
def test_a_regex_that_nginx_reads_differently_is_refused(tmp_path, match):
    table = f'[[route]]\nname = "c"\nmatch = "{match}"\n'
    (finding,) = check(write(tmp_path, VALID + table), 0)
    assert ":11: route.match: " in finding


@pytest.mark.parametrize("match", ["^/checkout$", "^/(a|b$)", r"^/\\d+\\.html$|^/x$", "^/(?:a|b)/"])
def test_a_regex_may_end_in_a_dollar(tmp_path, match):
    assert not check(write(tmp_path, f'{VALID}[[route]]\nname = "c"\nmatch = "{match}"\n'), 0)
