"""Say in one sentence why a command did not start, and what to do about it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from reld.errors import LaunchError


def launch_error(
    argv: tuple[str, ...], directory: Path, search_path: str, user: str | None, said: bytes
) -> LaunchError:
    """Turn what the trampoline answered into an error. Looks at files: call it in a thread."""
    command = argv[0]
    start = f"cannot start {command}"
    if b"\0" not in said:
        return LaunchError(
            f"{start}: its launcher ended before the command was run",
            "look at the end of the release's log",
        )
    stage, number_text, raw_path = said.removeprefix(b"!").split(b"\0", 2)
    number = int(number_text)
    path = os.fsdecode(raw_path)
    who = f"user {user}" if user else "this user"
    reason = os.strerror(number)
    if stage == b"user":
        return LaunchError(
            f"{start}: cannot become {who}: {reason}", "reld needs CAP_SETUID and CAP_SETGID for it"
        )
    if stage == b"terminal":
        return LaunchError(f"{start}: its terminal is another session's: {reason}")
    if stage == b"directory":
        if number == errno.ENOENT:
            return LaunchError(
                f"{start}: the directory {path} does not exist",
                "put the release there, or correct app.directory",
            )
        return LaunchError(
            f"{start}: cannot enter the directory {path}: {reason}",
            f"every directory on the way needs the right to enter (x) for {who}",
        )
    if number == errno.ENOENT and not os.path.lexists(path):
        return _not_found(start, command, directory, search_path)
    if number == errno.ENOENT:
        return _no_interpreter(start, path)
    if number == errno.ENOEXEC:
        return LaunchError(
            f"{start}: {path} is no program that this machine can run ({reason})",
            "a script needs a first line such as #!/bin/sh; a binary has to be built for this machine",
        )
    if number == errno.EACCES:
        return LaunchError(
            f"{start}: {who} may not run {path}",
            f"chmod +x {path}, and see that no directory on the way is closed (namei -l {path})",
        )
    if number == errno.E2BIG:
        return LaunchError(f"{start}: arguments and environment are too long", "shorten app.env")
    return LaunchError(f"{start}: {path}: {reason}")


def _not_found(start: str, command: str, directory: Path, search_path: str) -> LaunchError:
    if "/" in command:
        path = directory / command
        return LaunchError(
            f"{start}: {path} does not exist",
            "correct app.command, or put the file into the release",
        )
    hint = "give the full path, or set PATH in app.env"
    for place in ("bin", "venv/bin", ".venv/bin", "node_modules/.bin"):
        if (directory / place / command).exists():
            hint = f'the release has {place}/{command}: write "{place}/{command}" in app.command'
            break
    return LaunchError(f"{start}: command not found in PATH={search_path}", hint)


def _no_interpreter(start: str, path: str) -> LaunchError:
    first = b""
    try:
        with Path(path).open("rb") as file:
            first = file.readline(256)
    except OSError:
        return LaunchError(f"{start}: {path} is a link to nothing", "correct the link")
    if first.startswith(b"#!"):
        interpreter = first[2:].strip().decode("utf-8", "replace")
        return LaunchError(
            f"{start}: {path} wants to be run by {interpreter!r}, which does not exist",
            "correct the script's first line (Windows line ends also do this), or install it",
        )
    return LaunchError(
        f"{start}: {path} needs a loader that this machine does not have",
        "build the release for this machine",
    )
