"""Runs as a unit of its own, with the rights that reld has given up: puts plain units there, or removes them.

    python -I place_units.py        (stdin: JSON {"do": "install" | "remove", "files", "names"})

Never imported by reld. It can be run again after any death: what is there already and is ours is taken
as done, and what somebody else wrote is never touched. Answers by JSON {"trouble": text} on stdout;
empty = it is done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Trouble(Exception):
    """The words for people."""


def main() -> None:
    order: dict[str, Any] = json.load(sys.stdin)
    files = [(Path(path), mode, text.encode()) for path, mode, text in order["files"]]
    services = [f"{name}.service" for name in order["names"]]
    try:
        if order["do"] == "install":
            install(files, services)
        else:
            remove(files, services)
    except Trouble as trouble:
        print(json.dumps({"trouble": str(trouble)}))
    except OSError as problem:
        print(json.dumps({"trouble": f"cannot write it: {problem}"}))
    else:
        print(json.dumps({"trouble": ""}))


def install(files: list[tuple[Path, int, bytes]], services: list[str]) -> None:
    for path, mode, content in files:
        put(path, mode, content)
    systemctl("daemon-reload")
    systemctl("enable", "--quiet", *services)
    systemctl("start", *services)


def remove(files: list[tuple[Path, int, bytes]], services: list[str]) -> None:
    """A service whose file is not ours is somebody else's: it is left alone, and said."""
    ours = {path for path, _, content in files if there(path) == content}
    foreign = [str(path) for path, _, _ in files if path not in ours and there(path) is not None]
    names = {path.name for path in ours}
    stopped = [service for service in services if service in names]
    if stopped:
        systemctl("disable", "--quiet", *stopped)
        systemctl("stop", *stopped)
        with suppress(Trouble):  # it knows of none that failed
            systemctl("reset-failed", *stopped)
    for path in ours:
        path.unlink(missing_ok=True)
    for path, _, _ in files:
        spare(path).unlink(missing_ok=True)
    systemctl("daemon-reload")
    if foreign:
        raise Trouble(f"{', '.join(foreign)} was changed by somebody, and is left alone")


def put(path: Path, mode: int, content: bytes) -> None:
    """All of it or nothing, and never over another one's file."""
    found = there(path)
    if found == content:
        path.chmod(mode)
        return
    if found is not None:
        raise Trouble(f"{path} is there already, and not ours")
    new = spare(path)
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)
    except FileExistsError:
        raise Trouble(f"{path} is there already, and not ours") from None
    finally:
        new.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.close(directory)


def spare(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def there(path: Path) -> bytes | None:
    """What is at the path itself; a link, which may lead anywhere, is never ours."""
    if path.is_symlink():
        return b""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def systemctl(*words: str) -> None:
    ended = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        said = (ended.stderr.strip() or ended.stdout.strip()).replace("\n", " ")
        raise Trouble(f"systemctl {words[0]} {' '.join(words[1:])}: {said}")


if __name__ == "__main__":
    main()
