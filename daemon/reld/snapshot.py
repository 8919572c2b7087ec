"""What a release was started with: crash restart, reboot and rollback use this, not today's config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reld.completeness import refuse_incomplete
from reld.config import App, Config, Hooks, Liveness, Readiness, Smoke, Worker, fill
from reld.core.addresses import leased, socket_path
from reld.errors import PrepareError
from reld.origin import Origin, origin_of, replaced
from reld.processes.environment import DEFAULT_PATH, MARKER
from reld.processes.identity import boot_id


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Settings of one release. `env` is secret: it holds what the env file said."""

    release: str
    directory: str  # the real path
    app: App
    readiness: Readiness
    liveness: Liveness
    smoke: tuple[Smoke, ...]
    hooks: Hooks
    env: tuple[tuple[str, str], ...]
    workers: tuple[Worker, ...] = ()
    origin: Origin | None = None

    def command_of(self, worker: str) -> tuple[str, ...]:
        """The template of a worker's command, or of an instance's where it is none ("")."""
        if not worker:
            return self.app.command
        return next((w.command for w in self.workers if w.name == worker), ())


def take(config: Config, release: str) -> Snapshot:
    """Read everything that the release needs from the disk, now.

    Raises PrepareError where the directory or the env file is not there, or the release is not complete.
    """
    directory = Path(fill(config.app.directory, {"release": release}))
    if not directory.is_dir():
        raise PrepareError(
            f"release {release} is not there: {directory} is no directory",
            f"put the release at {directory}, then: relctl switch {release}",
        )
    refuse_incomplete(release, directory, config.app, config.worker)
    return Snapshot(
        release=release,
        directory=str(directory.resolve()),
        app=config.app,
        readiness=config.readiness,
        liveness=config.liveness,
        smoke=config.smoke,
        hooks=config.hooks,
        env=configured_environment(config),
        workers=config.worker,
        origin=origin_of(str(directory.resolve()), boot_id()),
    )


def configured_environment(config: Config) -> tuple[tuple[str, str], ...]:
    """The env file as it is now, then app.env. Raises PrepareError."""
    env = dict(read_env(config.app.env_file)) if config.app.env_file else {}
    env.update(config.app.env)
    return tuple(env.items())


def was_replaced(snapshot: Snapshot) -> bool:
    """Whether its path leads to another directory than when it was taken. Blocks."""
    return replaced(snapshot.origin, origin_of(snapshot.directory, boot_id()))


def refuse_gone(snapshot: Snapshot) -> None:
    """Blocks.

    Raises PrepareError where what was good is not there any more, or is another directory: nobody has seen
    that one work.
    """
    directory = Path(snapshot.directory)
    refuse_no_directory(snapshot)
    refuse_incomplete(snapshot.release, directory, snapshot.app, snapshot.workers)
    refuse_replaced(snapshot)


def refuse_no_directory(snapshot: Snapshot) -> None:
    """Blocks. Raises PrepareError."""
    if not Path(snapshot.directory).is_dir():
        raise PrepareError(
            f"release {snapshot.release} is not there any more: {snapshot.directory}"
        )


def refuse_replaced(snapshot: Snapshot) -> None:
    """Blocks. Raises PrepareError."""
    if was_replaced(snapshot):
        release, directory = snapshot.release, snapshot.directory
        raise PrepareError(
            f"release {release} was replaced since it was good: {directory} is another directory now",
            f"relctl switch {release} proves it anew, relctl rollback {release} --force does not",
        )


def read_env(path: str) -> tuple[tuple[str, str], ...]:
    """`NAME=value` lines as in systemd's EnvironmentFile: # comments, optional quotes, no expansion.

    Raises PrepareError with file and line; values are never part of a message.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PrepareError(f"cannot read app.env_file: {error}") from error
    found = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().removeprefix("export ")
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name.isidentifier() or "\0" in value:
            raise PrepareError(f"{path}:{number}: expected NAME=value")
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found.append((name, value))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Seat:
    """One instance's or worker's own part of its settings.

    `worker` and `near`: see `core.model.Instance`. `active`: the file that is there while the slot is
    live, "" = there is none to look at.
    """

    app: str
    slot: str
    index: int
    number: int
    address: str
    boot: str
    worker: str = ""
    near: str = ""
    active: str = ""

    @property
    def port(self) -> str:
        """Empty for a worker; that of an instance with a socket is in the socket's path alone."""
        return leased(self.address)

    @property
    def socket(self) -> str:
        """The path of its Unix socket; "" = it listens on its port."""
        return socket_path(self.address)

    @property
    def marker(self) -> str:
        # With the port, which one process of the machine has at a time: another reld may look after
        # an app of the same name and count its instances as we do, and must not kill ours by this.
        port = self.port or leased(self.near)
        return f"{self.app}.{self.boot[:8]}.{self.number}.{port}"


def placeholders(snapshot: Snapshot, seat: Seat) -> dict[str, str]:
    return {
        "port": seat.port,
        "socket": seat.socket,
        "slot": seat.slot,
        "release": snapshot.release,
        "instance": str(seat.index),
        "directory": snapshot.directory,
    }


def environment(snapshot: Snapshot, base: Mapping[str, str], seat: Seat) -> dict[str, str]:
    """The complete environment of one instance or worker."""
    own = {"PORT": seat.port}
    if seat.worker:
        own = {"RELCTL_WORKER": seat.worker}
    elif seat.socket:
        own = {"SOCKET": seat.socket}  # RELCTL_SOCKET is reld's own, for whoever calls relctl
    if seat.active:
        own["RELCTL_ACTIVE_FILE"] = seat.active
    return {
        **release_environment(snapshot, base),
        **own,
        "RELCTL_APP": seat.app,
        "RELCTL_SLOT": seat.slot,
        MARKER: seat.marker,
    }


def release_environment(snapshot: Snapshot, base: Mapping[str, str]) -> dict[str, str]:
    """What every process of a release sees: hooks and smoke commands too."""
    return {
        "PATH": DEFAULT_PATH,
        **base,
        **dict(snapshot.env),
        "RELCTL_RELEASE": snapshot.release,
    }
