"""All that `relctl init` found, before it makes anything of it."""

from __future__ import annotations

from dataclasses import dataclass

from relctl.setup.project import Project
from relctl.setup.running import Today


@dataclass(frozen=True, slots=True)
class Seen:
    """All that `relctl init` found. `app`: the name. `owner`: of the project's directory.

    `host` and `where`: the site's server_name and file. `copies`: servers of its upstream block.
    `ready`: a path that answered 2xx just now. `listen`: a free address for the gate; `why_listen`: why
    not the usual one. `accounts`: names of users that this machine has.
    """

    app: str
    today: Today | None = None
    project: Project | None = None
    directory: str = ""
    owner: str = ""
    host: str = ""
    where: str = ""
    copies: int = 1
    ready: str = ""
    listen: str = "127.0.0.1:8080"
    why_listen: str = ""
    current: str = ""
    """Where the link that is the project's directory leads, "" = it is no link."""
    accounts: frozenset[str] = frozenset()

    @property
    def source(self) -> str:
        """Who runs it, for people."""
        if self.today is None:
            return "nothing"
        return self.today.unit or f"pid {self.today.pid}"

    @property
    def root(self) -> str:
        """The directory of the code as it runs today."""
        ran = self.today.directory if self.today is not None else ""
        return self.directory or (ran if ran not in ("/", "") else "")
