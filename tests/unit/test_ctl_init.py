"""`relctl init`: what is found becomes a config that reld's own reader takes, whatever the project is."""

from __future__ import annotations

import json
import tomllib

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from relctl.setup import look
from relctl.setup.draft import draft
from relctl.setup.project import command_of, project_of
from relctl.setup.running import Today, exec_start
from relctl.setup.seen import Seen
from relctl.setup.sites import Server, Site, changes
from reld import config_file
from reld.config import fill
from reld.errors import ConfigError

GUESTS = frozenset({"games"})
"""Users that every Debian has, and that may run an app."""
UNIT = Today(
    address="127.0.0.1:8000",
    port=8000,
    pid=7,
    unit="shop.service",
    command=("/srv/shop/current/bin/gunicorn", "-b", "127.0.0.1:8000", "-w", "2", "shop.wsgi"),
    user="games",
    directory="/srv/shop/current",
    listens=True,
)


def seen(**changes):
    return Seen(**{"app": "shop", "owner": "games", "accounts": GUESTS, **changes})


def loaded(tmp_path, made):
    """As reld reads it when it is root."""
    path = tmp_path / "shop.toml"
    path.write_text(made.text, encoding="utf-8")
    path.chmod(0o644)
    return config_file.load(path, uid=0, neighbours=[])


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    """The file of a test belongs to who runs the test."""
    monkeypatch.setattr(config_file, "_only_its_owner_writes", lambda *_: None)


PROJECTS = {
    "procfile": ({"Procfile": "web: bundle exec puma -p $PORT\nrelease: bin/rails db:migrate\nworker: bin/jobs\n",
                  "Gemfile": 'gem "rails"\n'},
                 ("bundle", "exec", "puma", "-p", "{port}")),
    "procfile for a shell": ({"Procfile": "web: cd app && exec node server.js -p ${PORT:-5000}"},
                             ("/bin/sh", "-c", "cd app && exec node server.js -p ${{PORT:-5000}}")),
    "django": ({"manage.py": 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")', "requirements.txt": ""},
               (".venv/bin/python", "-m", "gunicorn", "shop.wsgi", "--bind", "127.0.0.1:{port}")),
    "fastapi": ({"pyproject.toml": '[project]\ndependencies = ["fastapi", "alembic"]', "main.py": ""},
                (".venv/bin/python", "-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", "{port}")),
    "flask": ({"requirements.txt": "Flask==3\n", "app.py": ""},
              (".venv/bin/python", "-m", "gunicorn", "app:app", "--bind", "127.0.0.1:{port}")),
    "some python": ({"requirements.txt": "numpy\n"}, ("bin/serve", "--port", "{port}")),
    "rails": ({"Gemfile": 'source "x"\ngem "rails", "~> 7"\n', "config.ru": ""},
              ("bundle", "exec", "puma", "--bind", "tcp://127.0.0.1:{port}")),
    "rack": ({"config.ru": "run App"}, ("bundle", "exec", "puma", "--bind", "tcp://127.0.0.1:{port}")),
    "node": ({"package.json": '{"scripts": {"start": "node server.js", "build": "x"}}', "package-lock.json": ""},
             ("node", "server.js")),
    "next": ({"package.json": '{"dependencies": {"next": "15"}, "scripts": {"start": "next start"}}'},
             ("node_modules/.bin/next", "start", "-p", "{port}", "-H", "127.0.0.1")),
    "vite": ({"package.json": '{"scripts": {"start": "vite preview --port $PORT"}}'},
             ("node_modules/.bin/vite", "preview", "--port", "{port}")),
    "node without a start": ({"package.json": '{"main": "index.js"}'}, ("node", "index.js")),
    "go": ({"go.mod": "module example.com/acme/shop-api\n\ngo 1.22\n"}, ("bin/shop-api",)),
    "rust": ({"Cargo.toml": '[package]\nname = "shopd"\n'}, ("target/release/shopd",)),
    "java": ({"pom.xml": "<a>spring-boot-starter-actuator</a>"},
             ("java", "-jar", "app.jar", "--server.port={port}", "--server.address=127.0.0.1")),
    "broken files": ({"package.json": "{", "Cargo.toml": "[", "Procfile": "\x00"}, ("node", "server.js")),
    "nothing": ({}, ("bin/serve", "--port", "{port}")),
}  # fmt: skip


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_becomes_a_config_that_loads(tmp_path, name):
    files, command = PROJECTS[name]
    made = draft(seen(project=project_of(files), directory="/home/dev/shop"))
    config = loaded(tmp_path, made)
    assert config.app.command == command
    assert config.app.user == "games"


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_only_a_suggestion_loads_too_once_its_comment_sign_is_gone(tmp_path, name):
    files, _ = PROJECTS[name]
    text = draft(seen(project=project_of(files))).text
    tables, _, rest = text.partition("# A ")
    suggested = [line.removeprefix("# ") for line in rest.splitlines()[1:] if line.startswith("# ")]
    # "into the table above": the gate's own is there already.
    suggested = [line for line in suggested if not line.startswith("[gate]")]
    static = [line for line in suggested if line.startswith("static")]
    later = [line for line in suggested if line not in static]
    path = tmp_path / "shop.toml"
    path.write_text("\n".join([tables, *static, *later]))
    config_file.load(path, uid=0, neighbours=[])


def test_what_runs_today_is_taken_as_it_runs(tmp_path):
    made = draft(
        seen(
            today=UNIT,
            host="shop.example.com",
            where="/etc/nginx/sites-enabled/shop",
            ready="/ready",
            current="/srv/shop/releases/2024-01-01",
            copies=2,
        )
    )
    config = loaded(tmp_path, made)
    assert config.app.command == ("bin/gunicorn", "-b", "127.0.0.1:{port}", "-w", "2", "shop.wsgi")
    assert config.app.directory == "/srv/shop/releases/{release}"
    assert (config.app.user, config.app.host, config.app.instances) == (
        "games",
        "shop.example.com",
        2,
    )
    assert config.readiness.path == "/ready"
    assert config.external is not None
    assert (config.external.address, config.external.unit) == ("127.0.0.1:8000", "shop.service")
    assert made.unknown == ()
    assert "ExecStart of shop.service" in made.text


def variant(**changes):
    fields = {name: getattr(UNIT, name) for name in UNIT.__slots__}
    return Today(**{**fields, **changes})


@pytest.mark.parametrize(
    ("today", "command", "unknown"),
    [
        (variant(command=("/usr/bin/node", "/srv/shop/current/server.js")),
         ("/usr/bin/node", "{directory}/server.js"), "how the app is told its port"),
        (variant(command=("/usr/bin/x", "--listen=0.0.0.0:8000", "--id", "18000")),
         ("/usr/bin/x", "--listen=0.0.0.0:{port}", "--id", "18000"), "listens on every address"),
        (variant(command=("/usr/bin/x", "${PORT}", "{json}")), ("/usr/bin/x", "{port}", "{{json}}"), ""),
        (variant(address="unix:/run/shop.sock", port=0, command=("/usr/bin/x", "--uds", "/run/shop.sock")),
         ("/usr/bin/x", "--uds", "{socket}"), ""),
    ],
)  # fmt: skip
def test_where_the_command_says_its_port(tmp_path, today, command, unknown):
    made = draft(seen(today=today, ready="/ready"))
    assert loaded(tmp_path, made).app.command == command
    assert (unknown in " ".join(made.unknown)) if unknown else made.unknown == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"listens": False, "pid": 0}, "nobody listens at 127.0.0.1:8000 now"),
        ({"pid": 0, "command": (), "unit": ""}, "sudo relctl init sees that"),
    ],
)
def test_what_is_behind_the_address_and_cannot_be_seen_is_said(tmp_path, changes, words):
    made = draft(seen(today=variant(**changes)))
    assert words in " ".join(made.unknown)
    assert (loaded(tmp_path, made).external is None) == ("nobody" in words)


def test_the_environment_of_a_unit_without_its_secrets(tmp_path):
    today = variant(
        env_files=("/etc/shop.env", "/etc/more.env"),
        environment=(
            ("LANG", "C.UTF-8"), ("PORT", "8000"), ("DATABASE_URL", "postgres://u:pw@h/d"), ("RELCTL_X", "1"),
            ("MAIN_DB", "postgres://u:pw@h/e"),
        ),
    )  # fmt: skip
    made = draft(seen(today=today))
    config = loaded(tmp_path, made)
    assert (config.app.env_file, config.app.env) == ("/etc/shop.env", (("LANG", "C.UTF-8"),))
    assert "postgres://" not in made.text
    assert "put DATABASE_URL, MAIN_DB into env_file" in " ".join(made.unknown)
    assert "/etc/more.env" in made.text


@pytest.mark.parametrize("user", ["www-data", "root", ""])
def test_a_user_who_must_not_run_it_is_replaced_by_one_that_is_to_be_made(tmp_path, user):
    made = draft(seen(today=variant(user=user), owner="root"))
    assert made.user == "shop"
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, made)
    (only,) = refused.value.findings
    assert "there is no user shop" in only
    assert "adduser --system --group shop" in made.text


ODD = st.text(max_size=30) | st.sampled_from(
    ["/srv/{release}", "/a/../b", '/srv/"x"', "/srv/\udcff", "/", "{port}", "~^(?<x>a)$", "*.example.com", "a\nb"]
)  # fmt: skip


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150
)
@given(
    st.tuples(ODD, ODD, ODD, ODD, ODD), st.lists(ODD, max_size=4), st.dictionaries(ODD, ODD, max_size=3),
    st.sampled_from([0, 8000]), st.dictionaries(st.sampled_from(look.projects.READ), ODD, max_size=3),
)  # fmt: skip
def test_odd_names_never_make_a_config_that_does_not_load(tmp_path, odd, words, env, port, files):
    directory, host, unit, current, ready = odd
    today = variant(
        port=port,
        address="127.0.0.1:8000" if port else f"unix:{directory}",
        command=tuple(words),
        directory=directory,
        unit=unit,
        env_files=(current,),
        environment=tuple(env.items()),
    )
    ready = ready if ready.startswith("/") and ready.isascii() and ready.isprintable() else ""
    made = draft(
        seen(
            today=today,
            directory=directory,
            host=host,
            where=unit,
            current=current,
            ready=ready.replace(" ", ""),
            project=project_of(files),
        )
    )
    config = loaded(tmp_path, made)
    fill(config.app.directory, {"release": "v1"})


def test_a_line_for_a_shell_and_one_that_needs_none():
    assert command_of("bin/serve --port $PORT --name 'a b'") == (
        ("bin/serve", "--port", "{port}", "--name", "a b"),
        "",
    )
    assert command_of("X=1 bin/serve")[0][:2] == ("/bin/sh", "-c")
    assert "no shell fills in" in command_of("bin/serve $HOME")[1]
    assert command_of("it's")[0][0] == "/bin/sh"


def test_the_last_exec_start_of_a_unit_counts():
    unit = "[Service]\nExecStart=/bin/old\nExecStart=\nExecStart=-/usr/bin/x --a 'b c' \\\n   --d\n"
    assert exec_start(unit) == ("/usr/bin/x", "--a", "b c", "--d")
    assert exec_start("[Service]\n") == ()


def test_a_gate_gets_a_port_that_no_other_gate_has(tmp_path, monkeypatch):
    monkeypatch.setattr(look.running, "listening", lambda: frozenset({8081}))
    (tmp_path / "blog.toml").write_text("[app]\n")
    (tmp_path / "broken.toml").write_text("[")
    assert look._free(str(tmp_path), None) == (
        "127.0.0.1:8082",
        "guess: a free port; 8080 is the gate of blog",
    )
    assert look._free(str(tmp_path / "nowhere"), None) == ("127.0.0.1:8080", "")


def site(text, *addresses, line=3, servers=(), file="/etc/nginx/web"):
    return Site(
        "shop", ("shop",), "/", file, line, text, addresses, "proxy_pass", "", servers, 60.0
    )


def test_the_lines_of_the_site_that_change():
    plain = site("http://127.0.0.1:8000/", "127.0.0.1:8000")
    other = site("http://127.0.0.1:9000", "127.0.0.1:9000", line=9)
    (change,) = changes((plain, other, plain), plain, "127.0.0.1:8080")
    assert change.command == (
        "sudo sed -i --follow-symlinks '3s|http://127.0.0.1:8000|http://127.0.0.1:8080|' /etc/nginx/web"
    )
    socket = site("http://unix:/run/s.sock:/x", "unix:/run/s.sock")
    (change,) = changes((socket,), socket, "127.0.0.1:8080")
    assert (change.before, change.after) == ("http://unix:/run/s.sock:", "http://127.0.0.1:8080")
    odd = site("http://[::1]:8000", "[::1]:8000", file="/etc/x y")
    (change,) = changes((odd,), odd, "127.0.0.1:8080")
    assert change.command.endswith("'3s|http://\\[::1\\]:8000|http://127.0.0.1:8080|' '/etc/x y'")
    servers = tuple(
        Server(f"127.0.0.1:800{n}", "/etc/nginx/up", 5 + n, f"127.0.0.1:800{n}") for n in range(3)
    )
    block = site("http://up", *(s.address for s in servers), servers=servers)
    (change,) = changes((block,), block, "127.0.0.1:8080")
    assert change.command.endswith("'5s|127.0.0.1:8000|127.0.0.1:8080|; 6d; 7d' /etc/nginx/up")


def test_every_guess_is_marked_and_says_where_it_is_from():
    files, _ = PROJECTS["django"]
    made = draft(seen(project=project_of(files), directory="/home/dev/shop"))
    keys = [line for line in made.text.splitlines() if " = " in line and not line.startswith("#")]
    assert all("  # " in line for line in keys), made.text
    assert "# guess: manage.py" in made.text
    assert json.dumps(tomllib.loads(made.text))
