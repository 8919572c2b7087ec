"""The API: raw bytes against a real server on a real Unix socket, in a process of its own.

    python -m tests.fuzz.api --inputs N [--seed S]

Whatever comes in: no 500, no traceback (answered or logged), nothing of what is outside the logs, no
descriptor and no memory that stays, and an answer to `status` after each batch. Some of it comes from
a user who may do nothing, and must learn nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from tests.contract.api_support import user
from tests.fuzz import api_inputs
from tests.fuzz.counted import MOST_SHOWN, Counted

ROOT = Path(__file__).parents[2]
NOTHING = Path(os.devnull)
BATCH = 500
AT_ONCE = 24
STRANGER = 54003
PATIENCE = 0.15
"""Seconds for an answer to what may not be a complete request."""
GROWTH = 24 << 20
"""Bytes that the server may grow by after the first batches."""
WARM = 4
"""Batches until its caches are full."""
BAD_WORDS = (b"Traceback", b'File "', api_inputs.SECRET.encode())


class Target:
    """The server, as seen from outside."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "control.sock"
        self.log = directory / "log"
        (directory / "state").mkdir()
        (directory / "state" / "secret.log").write_text(api_inputs.SECRET)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.api_server", str(directory)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'daemon'}"},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError(self.log.read_text())

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def memory(self) -> int:
        """Bytes."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def run(inputs: int, seed: int) -> Counted:
    """Raises nothing: what goes wrong is a bug in the answer."""
    directory = Path(tempfile.mkdtemp(prefix="relctl-fuzz-"))
    directory.chmod(0o755)
    target = Target(directory)
    try:
        return asyncio.run(_run(target, inputs, seed))
    finally:
        target.close()
        shutil.rmtree(directory)


async def _run(target: Target, inputs: int, seed: int) -> Counted:
    answers: Counter[str] = Counter()
    bugs: list[str] = []
    descriptors, memory = target.descriptors, 0
    for first in range(0, inputs, BATCH):
        numbers = iter(range(first, min(first + BATCH, inputs)))
        await asyncio.gather(*(_some(target, numbers, seed, answers, bugs) for _ in range(AT_ONCE)))
        bugs += await _health(target, first + BATCH)
        if first == min(WARM * BATCH, (inputs - 1) // BATCH * BATCH):
            memory = target.memory
        if len(bugs) >= MOST_SHOWN or target.process.poll() is not None:
            break
    if target.process.poll() is None:
        bugs += await _leaks(target, descriptors, memory)
    bugs += _logged(target.log)
    return Counted(sum(answers.values()), dict(answers), tuple(bugs[:MOST_SHOWN]))


async def _some(
    target: Target, numbers: Any, seed: int, answers: Counter[str], bugs: list[str]
) -> None:
    for number in numbers:
        chance = Random(f"api {seed}.{number}")
        made = api_inputs.made(chance)
        stranger = chance.random() < 0.1
        try:
            answer = await _asked(target.path, made, STRANGER if stranger else 0, chance)
        except OSError as error:
            answers[f"not connected: {error.strerror}"] += 1
            continue
        word = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else "no answer"
        answers[f"{word} to a stranger" if stranger else word] += 1
        wrong = _wrong(answer, word, stranger=stranger)
        if wrong:
            bugs.append(f"seed {seed}, input {number}: {wrong}: {made.data[:300]!r}")


async def _asked(path: Path, made: api_inputs.Input, uid: int, chance: Random) -> bytes:
    """The answer, or what of it came in time."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    with user(uid):
        sock.connect(str(path))
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    try:
        with contextlib.suppress(OSError, TimeoutError):
            for piece in _pieces(made.data, chance):
                writer.write(piece)
                await asyncio.sleep(0)
            if made.leaves:
                return b""
            async with asyncio.timeout(PATIENCE if made.doubtful else 5.0):
                if not made.hands:
                    return await reader.read(1 << 20) + await _rest(reader)
                first = b""
                if chance.random() < 0.8:
                    first = await reader.read(1 << 20)
                with NOTHING.open("r+b") as nothing:
                    socket.send_fds(sock, [b"d"], [nothing.fileno()] * made.hands)
                if not first.startswith(b"HTTP/1.1 100 "):
                    return first + await _rest(reader)
                return await reader.read(1 << 20) + await _rest(reader)
        return b""
    finally:
        writer.transport.abort()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.002):
            return await reader.read(1 << 20)
    return b""


def _pieces(data: bytes, chance: Random) -> list[bytes]:
    if chance.random() < 0.7 or not data:
        return [data]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((1, 2, 5))))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _wrong(answer: bytes, word: str, *, stranger: bool) -> str:
    if word.startswith("5") and word != "503":
        return f"answered {answer[:200]!r}"
    if stranger and word not in ("no answer", "400", "403", "503"):
        return f"a stranger is answered {word}"
    for bad in BAD_WORDS:
        if bad in answer:
            return f"the answer holds {bad!r}"
    head, _, body = answer.partition(b"\r\n\r\n")
    length = next(
        (int(x[15:]) for x in head.lower().split(b"\r\n") if x[:15] == b"content-length:"), 0
    )
    if word[:1] == "4" and length and len(body) >= length:
        try:
            error = json.loads(body[:length])["error"]
        except (ValueError, KeyError, TypeError):
            return f"an error without its body: {answer[:300]!r}"
        if set(error) != {"code", "exit", "message", "hint"} or len(error["message"]) > 2000:
            return f"an error that is none: {error}"
    return ""


async def _health(target: Target, number: int) -> list[str]:
    """It still lives, and answers at once."""
    if target.process.poll() is not None:
        return [f"the server ended ({target.process.returncode}) before input {number}"]
    began = time.monotonic()
    made = api_inputs.Input(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", doubtful=False)
    try:
        answer = await _asked(target.path, made, 0, Random(0))
    except OSError as error:
        return [f"no status after input {number}: {error}"]
    took = time.monotonic() - began
    if not answer.startswith(b"HTTP/1.1 200 "):
        return [f"no status after input {number} ({took:.1f} s): {answer[:200]!r}"]
    return []


async def _leaks(target: Target, descriptors: int, memory: int) -> list[str]:
    until = time.monotonic() + 10
    while target.descriptors > descriptors + 8 and time.monotonic() < until:
        await asyncio.sleep(0.1)
    found = []
    if target.descriptors > descriptors + 8:
        found.append(f"{descriptors} descriptors became {target.descriptors}")
    grown = target.memory - memory
    print(
        f"descriptors {descriptors} → {target.descriptors}, memory {memory >> 20} → "
        f"{target.memory >> 20} MiB",
        file=sys.stderr,
    )
    if grown > GROWTH:
        found.append(f"it grew by {grown >> 20} MiB")
    return found


def _logged(path: Path) -> list[str]:
    text = path.read_text("utf-8", "replace")
    bad = ("Traceback", "ERROR", "CRITICAL", "never retrieved", "Exception")
    lines = text.splitlines()
    return [
        f"the log says: {' | '.join(lines[max(0, at - 2) : at + 12])}"
        for at, line in enumerate(lines)
        if any(word in line for word in bad)
    ][:3]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.api")
    parser.add_argument("--inputs", type=int, default=30_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    counted = run(asked.inputs, asked.seed)
    print(f"api {counted}, {time.monotonic() - began:.0f} s")
    for bug in counted.bugs:
        print(f"    {bug[:3000]}", file=sys.stderr)
    return 1 if counted.bugs else 0


if __name__ == "__main__":
    sys.exit(main())
