"""A how-to, followed on a booted machine: what is typed, where, and what visitors see meanwhile."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.stacks import howto
from tests.stacks.howto import Block, HowTo
from tests.stacks.laptop import Failed, Laptop
from tests.stacks.supplies import APPS
from tests.vm import machine, roots
from tests.vm.box import Box

HERE = Path(__file__).parent
PERSON = "deploy"
# A how-to shows the defaults, which are for real traffic; nobody waits for minutes here.
HURRY = "--steps 20,50,100 --step-time 1s --step-requests 0 --bake 1s --drain 1s"
CONFIG = "/etc/relctl/web.toml"
DRAIN = 'drain = "1s"\n'  # a rollback has no --drain
NEXT = "The next release"
_MANY = (
    "lost",
    "errors",
    "turned_away",
    "noted",
)  # of load.py's report: for a summary, only how many
_SWITCH = re.compile(r"(relctl switch \S+)")


@dataclass(frozen=True)
class Stack:
    """`name` is that of packaging/doc/NAME.md, apps/NAME, visits/visits_NAME.py and roots' recipe.

    `layers`: what the box is given for the network that it has not, for a suite.
    `user`: whom the how-to runs the app as.
    """

    name: str
    layers: Callable[[str], list[Path]] = lambda _: []
    hurry: str = HURRY
    user: str = "web"


@dataclass
class Typed:
    """When it began and ended: seconds since 1970."""

    what: str
    began: float
    ended: float = 0.0
    said: str = ""


class Story:
    """One box, one how-to. Everything that was typed is in `typed`, in order."""

    def __init__(self, stack: Stack, suite: str, deb: Path, place: Path) -> None:
        self.stack = stack
        self.howto = HowTo(howto.DOCS / f"{stack.name}.md")
        self.typed: list[Typed] = []
        self.box = Box([*stack.layers(suite), roots.build(roots.stack(stack.name, suite))], "4G")
        try:
            self.box.boot()
            self._prepare(deb)
            self.laptop = Laptop(place, APPS / stack.name, self.box, PERSON)
        except BaseException:
            self.box.close()
            raise

    def _prepare(self, deb: Path) -> None:
        """A server with nginx as somebody rents it: a person who may sudo, and the package's file."""
        box = self.box
        box.sh(f"useradd --create-home --shell /bin/bash {PERSON}; rm /etc/nginx/sites-enabled/*")
        box.write("/etc/apt/apt.conf.d/90yes", 'APT::Get::Assume-Yes "true";\n')
        box.write(
            "/etc/sudoers.d/person",
            f"{PERSON} ALL=(ALL) NOPASSWD: ALL\nDefaults env_keep += DEBIAN_FRONTEND\n", 0o440,
        )  # fmt: skip
        box.put(deb, f"/home/{PERSON}/{deb.name}")
        visits = HERE / f"visits/visits_{self.stack.name}.py"
        for file in (HERE / "load.py", HERE / "websocket.py", visits):
            box.put(file, f"/srv/load/{file.name}")

    def follow(self, title: str, *, meanwhile: Callable[[], None] | None = None) -> str:
        """All blocks of a section; what they said. `meanwhile` is done while its last one runs."""
        blocks = self.howto.section(title)
        said = []
        for number, block in enumerate(blocks, 1):
            try:
                doing = meanwhile if number == len(blocks) else None
                said.append(self._do(block, block.text, 0, doing))
            except Failed as error:
                raise Failed(f"{self.howto.path.name}:{block.line}: {error}") from error
        return "\n".join(said)

    def ship(
        self, release: str, *, ends: int = 0, meanwhile: Callable[[], None] | None = None
    ) -> str:
        """What the laptop has now, as the how-to ships any release. `ends`: with this exit status."""
        (block,) = (b for b in self.howto.section(NEXT) if b.typed)
        (named,) = set(re.findall(r"relctl switch (\S+)", block.text))
        return self._do(block, block.text.replace(named, release), ends, meanwhile)

    def _do(self, block: Block, text: str, ends: int, meanwhile: Callable[[], None] | None) -> str:
        if block.typed:
            entry = Typed(text, time.time())
            self.typed.append(entry)
            text = _SWITCH.sub(rf"\1 {self.stack.hurry}", text)
            try:
                if block.place == "laptop":
                    entry.said = self.laptop.type(text, ends=ends, meanwhile=meanwhile)
                else:
                    entry.said = self._type_there(text)
            finally:
                entry.ended = time.time()
            return entry.said
        if block.language == "diff":
            self.laptop.patch(text)
        elif block.place == CONFIG:
            self.box.write(block.place, _hurried(text))
        elif block.place.startswith("/"):
            self.box.write(block.place, text)
        elif block.append:
            self.laptop.append(block.place, text)
        else:
            self.laptop.write(block.place, text)
        return ""

    def _type_there(self, script: str) -> str:
        self.box.write("/tmp/typed", "export DEBIAN_FRONTEND=noninteractive\n" + script)
        ended = self.box.ssh("bash -e /tmp/typed </dev/null", user=PERSON, timeout=300)
        self.box.hang_up()  # the groups that it gave count from the next login on
        if ended.returncode != 0:
            raise Failed(f"{script}\nended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
        return ended.stdout + ended.stderr

    def kill_reld(self) -> None:
        """kill -9, as soon as the rollout that runs has moved some traffic."""
        machine.until("traffic to move", lambda: machine.percent(self.box), 90)
        before = self.box.sh("systemctl show -P MainPID reld@web")
        self.box.sh("systemctl kill --signal=KILL --kill-whom=main reld@web")
        now = machine.until("reld", lambda: self._reld() not in ("0", before.strip()))
        assert now

    def _reld(self) -> str:
        return self.box.sh("systemctl show -P MainPID reld@web").strip()

    def window(self, *words: str) -> tuple[float, float]:
        """From when to when this was typed last; seconds since 1970."""
        found = [t for t in self.typed if all(word in t.what for word in words)]
        return found[-1].began, found[-1].ended

    def close(self) -> None:
        """What was typed and said is for whoever reads pytest's output."""
        for one in self.typed:
            print(f"{one.what}-> {one.ended - one.began:.1f} s\n{one.said}")
        self.box.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _hurried(config: str) -> str:
    header = "[rollout]\n"
    if header in config:
        return config.replace(header, header + DRAIN)
    return f"{config}\n{header}{DRAIN}"


@dataclass
class Load:
    """Visitors in the box, from `with` to its end; then `said` is load.py's report."""

    story: Story
    said: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        box, visits = self.story.box, f"visits_{self.story.stack.name}"
        self._running: subprocess.Popen[str] = box.start(
            "--unit=load", "--property=WorkingDirectory=/srv/load",
            "/usr/bin/python3", "-c", "import load; load.main()", visits, "600",
        )  # fmt: skip
        machine.until("the load", lambda: box.run("systemctl", "is-active", "load").returncode == 0)
        time.sleep(1)
        return self

    def __exit__(self, *_: object) -> None:
        self.story.box.run("systemctl", "kill", "--signal=TERM", "load.service")
        said, wrong = self._running.communicate(timeout=90)
        assert said, wrong
        self.said = json.loads(said)

    @property
    def lost(self) -> list[str]:
        return [what for _, what in self.said["lost"]]

    @property
    def summary(self) -> str:
        said = {**self.said, **{of: len(self.said[of]) for of in _MANY}}
        return json.dumps(said)

    def errors(self, *, outside: tuple[float, float] = (0.0, 0.0)) -> list[str]:
        """The app's own 500s, but for those within a time."""
        began, ended = outside
        return [what for at, what in self.said["errors"] if not began <= at <= ended]

    @property
    def releases(self) -> set[str]:
        """Those that have answered 200."""
        return {who.split()[0] for who in self.said["answers"] if who.endswith(" 200")}
