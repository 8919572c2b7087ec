"""Ask once, and say in one line what came back. Never raises, except when it is cancelled."""

from __future__ import annotations

import asyncio
import errno
import os

from reld.errors import LaunchError
from reld.probes.http import Answer, HttpTrouble, ask, connection
from reld.probes.spec import BODY_SHOWN, ExecProbe, HttpProbe, Probe, Result, TcpProbe
from reld.processes.launch import DIRECT
from reld.processes.logs import printable
from reld.processes.run import run
from reld.processes.spec import Launcher

_SCARCE = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOBUFS,
    errno.EADDRNOTAVAIL,
    errno.EAGAIN,
)


async def probe(spec: Probe, address: str, launcher: Launcher = DIRECT) -> Result:
    """Ask the app at `address` ("127.0.0.1:PORT" or "unix:/path"); a command knows its own way."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    what, asked = describe(spec), True
    try:
        async with asyncio.timeout(_limit(spec)):
            match spec:
                case HttpProbe():
                    answer = await ask(
                        address, spec.method, spec.path, _headers(spec), spec.body.encode()
                    )
                    return _judge(spec, answer, loop.time() - began)
                case TcpProbe():
                    async with connection(address):
                        return Result(True, f"{what}: accepted", loop.time() - began)
                case ExecProbe():
                    return await _run(spec, launcher, what, began)
    except TimeoutError:
        why = f"no answer within {seconds(_limit(spec))}"
    except HttpTrouble as trouble:
        why = str(trouble)
    except LaunchError as failed:
        why = failed.message + (f" ({failed.hint})" if failed.hint else "")
        asked = not _ours(failed.__cause__)
    except ConnectionRefusedError:
        why = f"connection refused at {address}: nothing listens there"
    except FileNotFoundError:
        why = f"there is no socket at {address}"
    except OSError as problem:
        why = f"{_errno_text(problem)} at {address}"
        asked = not _ours(problem)
    except Exception as bug:  # a probe must never end what watches an app
        why = f"the probe itself failed: {bug!r}"
    return Result(False, f"{what}: {why}", loop.time() - began, asked=asked)


def _ours(problem: BaseException | None) -> bool:
    """What this machine or our own limits lack says nothing of the app."""
    return isinstance(problem, OSError) and problem.errno in _SCARCE


def describe(spec: Probe) -> str:
    """How a probe is called in messages."""
    match spec:
        case HttpProbe():
            return f"{spec.method} {spec.path}"
        case TcpProbe():
            return "connect"
        case ExecProbe():
            return spec.argv[0] if spec.argv else "empty command"


def seconds(value: float) -> str:
    """A duration for people: "800 ms", "1.2 s"."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{round(value, 1):g} s"


def _limit(spec: Probe) -> float:
    # A command has its own limit, and its whole tree has to be ended after it.
    return spec.timeout + 15 if isinstance(spec, ExecProbe) else spec.timeout


def _headers(spec: HttpProbe) -> tuple[tuple[str, str], ...]:
    given = {name.lower() for name, _ in spec.headers}
    standard = (
        ("Host", spec.host),
        ("User-Agent", "relctl"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("X-Forwarded-Proto", "https"),
    )
    framing = {"content-length", "connection", "transfer-encoding"}
    own = tuple((n, v) for n, v in spec.headers if n.lower() not in framing)
    return (*((n, v) for n, v in standard if n.lower() not in given), *own)


def _judge(spec: HttpProbe, answer: Answer, took: float) -> Result:
    what = describe(spec)
    shown = f"{answer.status} {printable(answer.reason.encode())}".strip()
    wanted = spec.status or range(200, 300)
    body = answer.body.decode("utf-8", "replace")
    ok, detail = True, f"{what}: {shown}"
    if answer.status not in wanted:
        ok, detail = False, f"{what}: {shown}, wanted {_statuses(spec)}"
    elif spec.contains and spec.contains not in body:
        ok, detail = False, f"{what}: {shown}, but {spec.contains!r} is not in the answer"
    location = printable(answer.headers.get("location", "").encode())
    return Result(ok, detail, took, answer.status, shorten(answer.body), location)


def _statuses(spec: HttpProbe) -> str:
    return " or ".join(map(str, spec.status)) if spec.status else "200–299"


async def _run(spec: ExecProbe, launcher: Launcher, what: str, began: float) -> Result:
    loop = asyncio.get_running_loop()
    env = dict(spec.env)
    ended = await run(spec.argv, spec.directory, env, spec.user, spec.timeout, launcher=launcher)
    took = loop.time() - began
    said = shorten(ended.output_tail.encode())
    if ended.ok:
        return Result(True, f"{what}: exit code 0", took, body=said)
    how = f"not over after {seconds(spec.timeout)}" if ended.timed_out else str(ended.exit)
    return Result(False, f"{what}: {how}" + (f": {said}" if said else ""), took, body=said)


def shorten(raw: bytes) -> str:
    """The first 200 characters, in one printable line."""
    return " ".join(printable(raw[: 8 * BODY_SHOWN].replace(b"\n", b" ")).split())[:BODY_SHOWN]


def _errno_text(problem: OSError) -> str:
    # asyncio wraps the system's words into its own; several addresses even lose the number.
    if problem.errno is None or problem.errno < 0:
        return str(problem) or "no connection"
    return os.strerror(problem.errno).lower()
