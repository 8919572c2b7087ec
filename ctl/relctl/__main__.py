"""The entry point: one exception handler for everything that a person must not see raw."""

from __future__ import annotations

import errno
import json
import os
import sys

from relctl import look, quick
from relctl.errors import BUG, DETACHED, FAILED, CtlError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Returns the exit code; never raises."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except CtlError as error:
        return _tell(error, arguments)
    except KeyboardInterrupt:
        return _tell(CtlError("stopped", DETACHED, "interrupted"), arguments)
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO):
            return _deaf(141)  # what a shell shows for a reader that has had enough (SIGPIPE)
        if error.errno != errno.ENOSPC:
            return _tell(_bug(error), arguments)
        return _tell(CtlError("cannot write the answer: the disk is full", FAILED, "output"), [])
    except Exception as error:
        return _tell(_bug(error), arguments)


def entry() -> None:
    """What the script `relctl` calls."""
    sys.exit(main())


def _run(arguments: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        look.prepare(stream)
    call = quick.understood(arguments)
    if call is not None:
        return quick.run(call)
    from relctl import cli

    return cli.run(arguments)


def _tell(error: CtlError, arguments: list[str]) -> int:
    if error.code == "config-invalid" and not error.hint:
        import shlex

        error.hint = (
            "correct it, relctl check tells whether it is right; then again: "
            f"relctl {shlex.join(arguments)}"
        )
    try:
        if "--json" in arguments:
            print(json.dumps(error.as_json()))
            sys.stdout.flush()
        else:
            _flush()
            talk = error.message if error.exit_code == DETACHED else f"relctl: {error.message}"
            print(talk, file=sys.stderr)
            if error.hint:
                print(f"  next: {error.hint}", file=sys.stderr)
            sys.stderr.flush()
    except OSError:
        return _deaf(error.exit_code)
    return error.exit_code


def _flush() -> None:
    """What is data comes before what is talk; whoever left stdout may still read stderr."""
    try:
        sys.stdout.flush()
    except OSError:
        _deaf(0)


def _deaf(code: int) -> int:
    """Nobody listens any more: nothing may be flushed at exit, the interpreter would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return code


def _bug(error: Exception) -> CtlError:
    from relctl import __version__

    trace: TracebackType | None = error.__traceback__
    place = "?"
    while trace is not None:
        place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return CtlError(
        f"a bug in relctl {__version__} at {place}: {what}",
        BUG,
        "bug",
        "report this line with the output of `relctl version`; rollouts go on: relctl status",
    )


if __name__ == "__main__":
    entry()
