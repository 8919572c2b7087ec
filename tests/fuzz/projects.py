"""What `relctl init` reads of a project and of a unit, spoiled: whatever it is, the config made of it loads."""

from __future__ import annotations

import json
import tomllib
from random import Random

from relctl.setup.draft import draft
from relctl.setup.look import name_for
from relctl.setup.project import project_of
from relctl.setup.running import Today, exec_start
from relctl.setup.seen import Seen
from tests.fuzz import counted
from tests.fuzz.counted import tried
from tests.fuzz.mutate import spoiled, spoiled_json

FILES = {
    "Procfile": b"web: bundle exec puma -p ${PORT:-3000} -C 'config/p u.rb'\nworker: sidekiq -c 5\n"
                b"release: bin/migrate && x\nclock: A=1 foo $X\n",
    "package.json": b'{"scripts":{"start":"node server.js --port $PORT","build":"tsc"},'
                    b'"dependencies":{"next":"1"},"main":"dist/x.js"}',
    "pyproject.toml": b'[project]\nname = "x"\ndependencies = ["fastapi", "alembic"]\n',
    "requirements.txt": b"flask\nalembic\n", "Gemfile": b"gem 'rails'\n", "config.ru": b"run x",
    "go.mod": b"module example.com/x/shop\n", "Cargo.toml": b'[package]\nname = "shop"\n',
    "manage.py": b'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")',
    "pom.xml": b"<actuator>", "package-lock.json": b"", "main.py": b"",
}  # fmt: skip
UNIT = (
    b"[Service]\nExecStart=\nExecStart=-/usr/bin/env PORT=8000 /srv/x/bin/serve --port 8000 \\\n"
    b"  --name 'a b' ${PORT}\nUser=x\n"
)


def run(inputs: int, seed: int) -> counted.Counted:
    return tried(inputs, seed, one)


def one(chance: Random) -> str:
    """Of which kind the project was."""

    def perhaps(text: bytes) -> str:
        content = spoiled(chance, text, tuple(FILES.values())) if chance.random() < 0.5 else text
        return content.decode("utf-8", "replace")

    names = chance.sample(list(FILES), chance.randrange(1, 6))
    files = {name: perhaps(FILES[name]) for name in names}
    if "package.json" in files and chance.random() < 0.5:
        files["package.json"] = json.dumps(spoiled_json(chance, json.loads(FILES["package.json"])))
    project = project_of(files)
    today = Today(
        perhaps(b"127.0.0.1:8000"), chance.choice((0, 80, 8000)), 7, perhaps(b"shop.service"),
        exec_start(perhaps(UNIT)), perhaps(b"shop"), perhaps(b"/srv/shop/current"),
        (perhaps(b"/etc/x.env"),), (("A", perhaps(b"1")), (perhaps(b"B"), "2")), "SIGINT", True,
    )  # fmt: skip
    seen = Seen(
        name_for(perhaps(b"/srv/shop/current"), today, None), today, project,
        perhaps(b"/srv/shop/current"), perhaps(b"shop"), perhaps(b"www.example.com"),
        perhaps(b"/etc/nginx/sites-enabled/web"), chance.choice((1, 2)),
        current=perhaps(b"/srv/shop/releases/v1"),
    )  # fmt: skip
    made = draft(seen)
    assert made.text.replace("\n", "").isprintable()
    tomllib.loads(made.text)
    return "none" if project is None else project.kind or "Procfile"
