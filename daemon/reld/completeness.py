"""Whether a release is there as a whole, as far as that can be seen before it is started."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from reld.config import App, Worker, fill
from reld.errors import PrepareError, Refused
from reld.release_place import incomplete, place_of

_ACL = "system.posix_acl_access"


def refuse_incomplete(
    release: str, directory: Path, app: App, workers: tuple[Worker, ...] = ()
) -> None:
    """Blocks.

    Raises:
        PrepareError: it says that it is not complete, app.user cannot get in, or the program of
            app.command or of a worker is missing.
    """
    cannot = f"release {release} is not complete"
    _refuse_what_says_so(cannot, release, directory, app)
    if app.user is not None and not _may_enter(directory, app.user):
        raise PrepareError(
            f"release {release} is closed to user {app.user}: {directory}",
            f"chown -R {app.user}: {directory}, or chmod -R a+rX {directory}",
        )
    commands = {"app.command": app.command}
    commands |= {f"the command of worker {worker.name}": worker.command for worker in workers}
    for name, command in commands.items():
        program = _program(command, release, str(directory))
        if program and not os.path.lexists(directory / program):
            raise PrepareError(
                f"{cannot}: {name} needs {program}, which is not in {directory}",
                f"copy the whole release (relctl unpack does), or correct {name}",
            )


def _refuse_what_says_so(cannot: str, release: str, directory: Path, app: App) -> None:
    try:
        top = place_of(app.directory, release).top
    except Refused:  # unpack cannot use such a template, switch can
        top = str(directory)
    found = incomplete(top, str(directory))
    if found is None:
        return
    if not found.by_unpack:
        raise PrepareError(
            f"{cannot}: there is {found.marker}",
            f"when the copy has ended: rm {found.marker}, then relctl switch {release}",
        )
    if found.going_on:
        raise PrepareError(
            f"{cannot}: unpack is building it in {top}",
            f"when relctl unpack has ended: relctl switch {release}",
        )
    raise PrepareError(
        f"{cannot}: {top} was left by an unpack that was killed",
        f"relctl unpack {release} again: what is left is removed first",
    )


def _program(command: tuple[str, ...], release: str, directory: str) -> str:
    """A first word that is a path; "" where it is looked up, or is not known before the start."""
    try:
        first = fill(command[0], {"release": release, "directory": directory})
    except ValueError:
        return ""
    return first if "/" in first else ""


def _may_enter(directory: Path, user: str) -> bool:
    """By owner, group and mode; True where only an ACL or the user database knows more."""
    try:
        found = directory.stat()
        account = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        if account.pw_uid == 0 or _ACL in os.listxattr(directory):
            return True
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
    except (OSError, KeyError):
        return True
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == account.pw_uid:
        return bool(mode & 0o100)
    if found.st_gid in groups:
        return bool(mode & 0o010)
    return bool(mode & 0o001)
