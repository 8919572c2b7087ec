"""`reld CONFIG [--check] [--state-dir D] [--runtime-dir D] [--launcher auto|systemd|direct]`"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from reld import __version__, config_file, journal
from reld.errors import RelctlError
from reld.leases import Leases


def main() -> int:
    if sys.argv[1:2] == ["--gate"]:  # said by the gate's unit only
        from reld.nginx import handover

        return handover.main(sys.argv[2:])
    if sys.argv[1:2] == ["--sites"]:  # said by `relctl init` only
        from reld.doctor.gather import site

        return site.main(sys.argv[2:])
    arguments = _arguments()
    path: Path = arguments.config
    state = arguments.state_dir or _directory("STATE_DIRECTORY", "/var/lib/relctl", path.stem)
    leases = Leases(state, path.stem)
    if arguments.check:
        findings = config_file.check(path, os.geteuid(), leases.kept())
        print("\n".join(findings) if findings else f"{path}: fine")
        return 8 if findings else 0
    in_journal = journal.set_up(path.stem, os.environ)
    with _without_the_cpp_library():
        from reld.daemon import Places, serve

    try:
        config = config_file.load(path, uid=os.geteuid(), kept=leases.kept())
        runtime = arguments.runtime_dir or _directory(
            "RUNTIME_DIRECTORY", "/run/relctl", config.name
        )
        places = Places(state.absolute(), runtime.absolute())
        asyncio.run(serve(config, places, arguments.launcher))
    except RelctlError as error:
        if in_journal:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            logging.getLogger("reld").critical("%s%s", error.message, hint)
        else:
            print(f"reld: {error.message}", file=sys.stderr)
            if error.hint:
                print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


@contextlib.contextmanager
def _without_the_cpp_library() -> Iterator[None]:
    """The frozenlist of aiohttp loads libstdc++ for lists of a few handlers: 1 MB for nothing."""
    name = "FROZENLIST_NO_EXTENSIONS"
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]  # it is none of the app's business


def _directory(variable: str, root: str, app: str) -> Path:
    given = os.environ.get(variable, "").partition(":")[0]
    return Path(given) if given else Path(root) / app


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="reld", description="Looks after one app in two slots.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="/etc/relctl/APP.toml")
    parser.add_argument("--check", action="store_true", help="tell all that is wrong with it")
    parser.add_argument("--state-dir", type=Path, metavar="D", help="/var/lib/relctl/APP")
    parser.add_argument("--runtime-dir", type=Path, metavar="D", help="/run/relctl/APP, on tmpfs")
    parser.add_argument(
        "--launcher",
        choices=("auto", "systemd", "direct"),
        default="auto",
        help="who keeps the app: systemd (the default where reld is root and systemd is there) or reld",
    )
    parser.add_argument("--version", action="version", version=f"reld {__version__}")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
