"""What a project's own files say of how it is started and built. Pure."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

READ = (
    "Procfile", "package.json", "pyproject.toml", "requirements.txt", "Gemfile", "config.ru", "go.mod",
    "Cargo.toml", "manage.py", "pom.xml", "build.gradle", "build.gradle.kts",
)  # fmt: skip
"""Files whose content is looked at; of all others only the name counts."""
_SHELL = re.compile(r"[|&;<>()`*?\n]|\$\(")
_PORT = re.compile(r"\$\{?PORT\b(?::-[0-9]+)?\}?")
_VARIABLE = re.compile(r"\$\{?[A-Za-z_]")
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PYTHON = (".venv/bin/python", "-m")
_LOCAL = "127.0.0.1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")


@dataclass(frozen=True, slots=True)
class Project:
    """`command`, `build` and `migrate` are templates of the config. `source`: the file that said so.

    `told`: how it gets its port when the command does not name it. `workers`: name and command.
    """

    kind: str
    source: str
    command: tuple[str, ...] = ()
    build: tuple[tuple[str, ...], ...] = ()
    migrate: tuple[str, ...] = ()
    ready: str = ""
    static: tuple[str, str] | None = None
    workers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()


def project_of(files: Mapping[str, str]) -> Project | None:
    """`files`: the names in the directory, with the content of those in READ. None: nothing is known."""
    made = None
    for look in _LOOKS:
        made = look(files)
        if made is not None:
            break
    if "Procfile" in files:
        return _procfile(files["Procfile"], made) or made
    return made


def command_of(line: str) -> tuple[tuple[str, ...], str]:
    """A line for a shell as a list of words, and what to say about it."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    if not words or _SHELL.search(line) or _ASSIGNED.match(words[0]):
        script = line.replace("{", "{{").replace("}", "}}")
        note = "it needs a shell: its last command should begin with exec, or stop signals go to the shell"
        return ("/bin/sh", "-c", script), note
    filled = tuple(_filled(word) for word in words)
    left = any(_VARIABLE.search(word) for word in filled)
    return filled, "no shell fills in variables: write what $… stands for" if left else ""


def _filled(word: str) -> str:
    parts = _PORT.split(word)
    return "{port}".join(part.replace("{", "{{").replace("}", "}}") for part in parts)


def _procfile(content: str, known: Project | None) -> Project | None:
    lines = dict(re.findall(r"^([A-Za-z0-9_-]+):[ \t]*(\S.*?)[ \t]*$", content, re.MULTILINE))
    if "web" not in lines:
        return None
    command, note = command_of(lines["web"])
    made = known or Project("", "Procfile")
    migrate = command_of(lines["release"])[0] if "release" in lines else made.migrate
    workers = tuple(
        (name, command_of(line)[0])
        for name, line in lines.items()
        if name not in ("web", "release") and _NAME.fullmatch(name)
    )
    return replace(
        made, source="Procfile, web:", command=command, migrate=migrate, workers=workers,
        notes=(note,) if note else (),
    )  # fmt: skip


def _django(files: Mapping[str, str]) -> Project | None:
    if "manage.py" not in files:
        return None
    found = re.search(r"""["']([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.settings""", files["manage.py"])
    package = found[1].partition(".")[0] if found else "PROJECT"
    manage = (".venv/bin/python", "manage.py")
    notes = () if found else ("manage.py names no settings module: PROJECT is to be replaced",)
    return Project(
        "Django",
        "manage.py",
        (*_PYTHON, "gunicorn", f"{package}.wsgi", "--bind", f"{_LOCAL}:{{port}}"),
        (*_pip(files), (*manage, "collectstatic", "--no-input")),
        (*manage, "migrate", "--no-input"),
        static=("/static/", "static"),
        notes=notes,
    )


def _python(files: Mapping[str, str]) -> Project | None:
    source = next((name for name in ("pyproject.toml", "requirements.txt") if name in files), "")
    if not source:
        return None
    said = (files.get("pyproject.toml", "") + files.get("requirements.txt", "")).lower()
    module = next(
        (n.removesuffix(".py") for n in ("main.py", "app.py", "wsgi.py") if n in files), ""
    )
    notes = () if module else ("the module of the app is a guess",)
    bind = ("--bind", f"{_LOCAL}:{{port}}")
    alembic = ((*_PYTHON, "alembic", "upgrade", "head")) if "alembic" in said else ()
    if any(name in said for name in ("fastapi", "starlette", "uvicorn", "litestar")):
        place = ("--host", _LOCAL, "--port", "{port}")
        command: tuple[str, ...] = (*_PYTHON, "uvicorn", f"{module or 'app.main'}:app", *place)
        return Project("ASGI", source, command, _pip(files), alembic, notes=notes)
    if any(name in said for name in ("flask", "gunicorn", "bottle", "pyramid", "falcon")):
        command = (*_PYTHON, "gunicorn", f"{module or 'app'}:app", *bind)
        return Project("WSGI", source, command, _pip(files), alembic, notes=notes)
    return Project("Python", source, build=_pip(files), notes=("how it is started is not known",))


def _pip(files: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    what = ("-r", "requirements.txt") if "requirements.txt" in files else (".",)
    return (("python3", "-m", "venv", ".venv"), (".venv/bin/pip", "install", *what))


def _ruby(files: Mapping[str, str]) -> Project | None:
    source = next((name for name in ("Gemfile", "config.ru") if name in files), "")
    if not source:
        return None
    rails = re.search(r"""^\s*gem\s+["']rails["']""", files.get("Gemfile", ""), re.MULTILINE)
    command = ("bundle", "exec", "puma", "--bind", f"tcp://{_LOCAL}:{{port}}")
    build: tuple[tuple[str, ...], ...] = (("bundle", "install"),)
    if not rails:
        return Project("Rack", source, command, build)
    build = (*build, ("bin/rails", "assets:precompile"))
    static = ("/assets/", "public/assets")
    migrate = ("bin/rails", "db:migrate")
    return Project("Rails", source, command, build, migrate, "/up", static)


def _node(files: Mapping[str, str]) -> Project | None:
    if "package.json" not in files:
        return None
    package = _json(files["package.json"])
    scripts, needs = _table(package.get("scripts")), _table(package.get("dependencies"))
    build: list[tuple[str, ...]] = [("npm", "ci" if "package-lock.json" in files else "install")]
    if scripts.get("build"):
        build.append(("npm", "run", "build"))
    start = scripts.get("start")
    source = "package.json"
    notes: tuple[str, ...] = ("whether it listens on the port that PORT names",)
    if "next" in needs:
        command: tuple[str, ...] = ("node_modules/.bin/next", "start", "-p", "{port}", "-H", _LOCAL)
        return Project("Next.js", source, command, tuple(build))
    if isinstance(start, str) and start.strip():
        command, note = command_of(start)
        if command[0] not in ("node", "/bin/sh"):  # npm has these in its PATH
            command = (f"node_modules/.bin/{command[0]}", *command[1:])
        notes = (*notes, note) if note else notes
        return Project("Node", "package.json, scripts.start", command, tuple(build), notes=notes)
    main = package.get("main")
    name = main if isinstance(main, str) and main else "server.js"
    return Project("Node", source, ("node", _filled(name)), tuple(build), notes=notes)


def _go(files: Mapping[str, str]) -> Project | None:
    if "go.mod" not in files:
        return None
    found = re.search(r"^module\s+(\S+)", files["go.mod"], re.MULTILINE)
    name = _named(found[1].rpartition("/")[2] if found else "")
    note = "whether it listens on the port that PORT names"
    return Project("Go", "go.mod", (f"bin/{name}",), (("go", "build", "-o", f"bin/{name}", "."),),
                   notes=(note,))  # fmt: skip


def _rust(files: Mapping[str, str]) -> Project | None:
    if "Cargo.toml" not in files:
        return None
    name = _named(_table(_toml(files["Cargo.toml"]).get("package")).get("name"))
    note = "whether it listens on the port that PORT names"
    return Project("Rust", "Cargo.toml", (f"target/release/{name}",), (("cargo", "build", "--release"),),
                   notes=(note,))  # fmt: skip


def _java(files: Mapping[str, str]) -> Project | None:
    source = next((n for n in ("pom.xml", "build.gradle", "build.gradle.kts") if n in files), "")
    if not source:
        return None
    ready = "/actuator/health/readiness" if "actuator" in files[source] else ""
    command = ("java", "-jar", "app.jar", "--server.port={port}", f"--server.address={_LOCAL}")
    return Project("Java", source, command, ready=ready, notes=("the name of the jar is a guess",))


_LOOKS: tuple[Callable[[Mapping[str, str]], Project | None], ...] = (
    _django, _ruby, _python, _node, _go, _rust, _java,
)  # fmt: skip


def _named(value: Any) -> str:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else "serve"


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _json(content: str) -> dict[str, Any]:
    try:
        return _table(json.loads(content))
    except (ValueError, RecursionError):
        return {}


def _toml(content: str) -> dict[str, Any]:
    try:
        return _table(tomllib.loads(content))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return {}
