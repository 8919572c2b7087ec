"""Which reld is meant: `--socket`, `--app`, RELCTL_SOCKET, RELCTL_APP, or the only one there is."""

from __future__ import annotations

import os

from relctl.errors import UnreachableError, UsageError

RUN = "/run/relctl"
ETC = "/etc/relctl"
SOCKET = "control.sock"
APP_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def socket_path(socket: str | None, app: str | None) -> str:
    """Path of the control socket. What is typed beats what is in the environment.

    Raises:
        UsageError: several apps and none named, or a name that no app can have.
        UnreachableError: no app on this machine.
    """
    named = _named(socket, app)
    if named is not None:
        return named
    return os.path.join(RUN, _only_app(SOCKET), SOCKET)


def runtime_directory(socket: str | None, app: str | None) -> str:
    """The directory beside the socket, also where reld is dead and its socket is gone."""
    named = _named(socket, app)
    if named is not None:
        return os.path.dirname(os.path.abspath(named))
    return os.path.join(RUN, _only_app("lanes"))


def apps() -> list[str]:
    """Every app with a control socket, by name."""
    return [app for app in _names(RUN) if _exists(os.path.join(RUN, app, SOCKET))]


def app_of(path: str) -> str:
    """The app's name as its runtime directory has it."""
    return os.path.basename(os.path.dirname(os.path.abspath(path)))


def _named(socket: str | None, app: str | None) -> str | None:
    if socket:
        return socket
    if app:
        return _socket_of(app)
    if os.environ.get("RELCTL_SOCKET"):
        return os.environ["RELCTL_SOCKET"]
    if os.environ.get("RELCTL_APP"):
        return _socket_of(os.environ["RELCTL_APP"])
    return None


def _socket_of(app: str) -> str:
    if not (app[0].isalpha() and APP_CHARACTERS.issuperset(app)):
        raise UsageError(
            f"cannot look for app {app!r}: a name is lower-case letters, digits and dashes",
            "ls /etc/relctl",
        )
    return os.path.join(RUN, app, SOCKET)


def _only_app(marker: str) -> str:
    apps = [app for app in _names(RUN) if _exists(os.path.join(RUN, app, marker))]
    if len(apps) == 1:
        return apps[0]
    if apps:
        raise UsageError(
            f"cannot tell which app is meant: there are {', '.join(apps)}",
            f"relctl … --app {apps[0]}, or export RELCTL_APP={apps[0]}",
        )
    configured = [name[:-5] for name in _names(ETC) if name.endswith(".toml")]
    if not configured:
        raise UnreachableError(
            f"no app on this machine: {ETC} has no config", "sudo relctl init APP --write"
        )
    unit = f"reld@{configured[0] if len(configured) == 1 else 'APP'}"
    several = f"   (APP: {', '.join(configured)})" if len(configured) > 1 else ""
    raise UnreachableError(
        f"cannot reach reld: there is no {RUN}/*/{marker}, so no {unit} runs",
        f"sudo systemctl start {unit}{several}",
    )


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except PermissionError:
        return True  # there, but not for us: connecting says so better than "no app"
    except OSError:
        return False
    return True
