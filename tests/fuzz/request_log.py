"""The request log: whatever is in it, nothing is counted that a slot's own address did not get.

Two ways in: lines straight into the counting, beside a second and slower reading of each line; and
bytes in a file that is cut, emptied, rotated and written to while it is read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from reld.core.verdict.sample import LAST_BUCKET
from reld.host.checkpoint import Checkpoint, Checkpoints
from reld.nginx import once, shapes
from reld.nginx.counting import KNOWN_TIMES, Counted, Counting
from reld.nginx.requests import CHUNK, Position, Tail
from reld.store import codec
from tests.fuzz import counted
from tests.fuzz.counted import tried
from tests.fuzz.mutate import DICTIONARY, spoiled, spoiled_json

OLD, NEW = ("127.0.0.1:21001", "127.0.0.1:21002"), ("127.0.0.1:21003", "unix:/run/web.sock")
EARLIER = ("127.0.0.1:21007", "127.0.0.1:2100", "127.0.0.1:210011", "unix:/run/web.sock2")
GOOD = (
    "1764000000.123|0.012|0.011|-|127.0.0.1:21001|200|200|GET|plain|-|7|12|-",
    "1764000000.125|0.012|0.011|-|127.0.0.1:21003|500|500|POST|plain|-|7|12|checkout",
    "1764000001.001|1.502|-|-|127.0.0.1:21003|-|499|GET|plain|-|7|12|-",
    "1764000001.125|0.012|-, 0.011|-|127.0.0.1:21003, 127.0.0.1:21001|502, 200|200|GET|plain|-|7|12|-",
    "1764000001.625|0.012|0.002 : 0.010|-|127.0.0.1:21003 : 127.0.0.1:21001|404 : 200|200|GET|plain|-|7|12|-",
    "1764000002.000|0.000|-, -|-|127.0.0.1:21002, blue_0|502, 502|502|GET|plain|-|7|12|-",
    "1764000002.000|3600.01|0.001|-|unix:/run/web.sock|101|101|GET|stream|-|7|12|-",
    "1764000003.500|0.002|0.001|0123456789abcdef0123456789abcdef|127.0.0.1:21003|200|200|GET|plain|k|7|12|a",
    "1764000003.501|0.002|0.001|fedcba9876543210fedcba9876543210|127.0.0.1:21001|200|200|GET|plain|t|7|12|-",
    "1764000003.502|0.002|0.001|-|127.0.0.1:21001|500|500|HEAD|plain|d|7|12|a",
    "1764000003.502|0.000|-|-|-|-|503|GET|plain|-|-|3|-",
    "1764000004.000|-|17|-|beat",
)  # fmt: skip
EARLIER_LINES = tuple(
    f"1763999999.000|0.010|0.010|-|{address}|500|500|GET|plain|-|6|11|-" for address in EARLIER
)
NUMBERS = (
    "0", "-1", "99999999999999999999", "1e9", "nan", "inf", "-inf", "-", "", "٣", "0x1", "1_000",
    "+5", " 5", "5 ", "1.7976931348623157e309", "-0", "²", "599", "1000", "1763999999", "9999999999",
)  # fmt: skip
SUCCESS = {"checkout": (302,), "a": (200, 204)}
_ATTEMPTS = re.compile(r", | : ")
MOST_WEIGHT = 10
"""Requests that a line may stand for."""


def run(inputs: int, seed: int) -> counted.Counted:
    """Three quarters are batches of lines, the others files."""
    files = inputs // 4
    known = Counting(OLD, NEW, SUCCESS), Counting(OLD, NEW, SUCCESS, sticky=True)
    place = Path(tempfile.mkdtemp(prefix="relctl-fuzz.", dir=_memory()))
    try:
        found = tried(inputs - files, seed, lambda r: lines(r, r.choice(known)))
        for counting in known:
            _bounded(counting)
        return found + tried(files, seed + 1, _file_in(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _line(chance: Random) -> str:
    line = chance.choice((*GOOD, *EARLIER_LINES))
    fields = line.split("|")
    for _ in range(chance.choice((0, 0, 1, 1, 2, 4))):
        at = chance.randrange(len(fields))
        match chance.randrange(8):
            case 0:
                fields[at] = chance.choice(NUMBERS)
            case 1:
                fields[at] = chance.choice((*OLD, *NEW, *EARLIER, "blue_0", "-", ""))
            case 2:
                fields[at] = ", ".join(chance.choices((*OLD, *EARLIER, *NUMBERS), k=3))
            case 3:
                del fields[at:]
                fields.append("")
            case 4:
                fields.insert(at, fields[at])
            case 5:
                fields[at] = fields[at] * chance.choice((2, 400))
            case 6:
                fields[at] = chance.choice(DICTIONARY).decode("ascii", "replace")
            case _:
                fields[at] = chance.choice(GOOD).split("|")[min(at, 4)]
    return "|".join(fields).replace("\n", " ")


def lines(chance: Random, counting: Counting) -> str:
    """A batch of lines. Raises AssertionError where more is counted than its lines can say."""
    batch = [_line(chance) for _ in range(chance.choice((1, 2, 5, 40)))]
    if chance.random() < 0.3:
        raw = spoiled(chance, "\n".join(batch).encode("utf-8", "replace"))
        batch = raw.decode("ascii", "replace").split("\n")
    found = counting.feed(batch, chance.choice((0, 5, 100)))
    _check(found, batch)
    if chance.random() < 0.05:
        counting.step_begun()
    if found.nonsense and not found.lines:
        return "only nonsense"
    return "some nonsense" if found.nonsense else "counted"


def _check(found: Counted, batch: list[str]) -> None:
    can = [_slots_of(line) for line in batch]
    for side, name in enumerate(("old", "new")):
        most = sum(weight for slots, weight in can if slots[:1] == [side])
        tallies = [getattr(sample, name) for sample in found.samples]
        requests = sum(tally.requests for tally in tallies)
        assert requests <= most, f"{name}: {requests} of {most} from {batch!r}"
        for tally in tallies:
            assert 0 <= tally.failures <= tally.requests
            assert 0 <= tally.refusals <= tally.requests
            assert tally.timed <= tally.requests
            assert all(0 <= bucket <= LAST_BUCKET and n > 0 for bucket, n in tally.times)
        seen = getattr(found, name)
        assert seen.total <= sum(weight for slots, weight in can if side in slots)
        assert 0 <= seen.failures <= seen.attempts
        assert seen.errors <= seen.total
    assert found.lines <= len(batch)
    assert 0 <= found.requests <= found.lines * MOST_WEIGHT
    assert len(found.example) <= 200
    assert found.example.isprintable()
    seconds = [sample.second for sample in found.samples]
    assert seconds == sorted(set(seconds))
    assert all(1_000_000_000 <= second <= 9_999_999_999 for second in seconds), seconds
    for sample in found.samples:  # what it says can be kept, and read again
        assert codec.loads(type(sample), codec.dumps(sample)) == sample


def _slots_of(line: str) -> tuple[list[int | None], int]:
    """Of each attempt, read again in the plainest way; and how many requests that may be."""
    fields = line.split("|")
    if len(fields) != 13 or not re.fullmatch(r"[1-9][0-9]{9}.{4}", fields[0]):
        return [], 0
    addresses = [a for a in _ATTEMPTS.split(fields[4]) if ":" in a]
    slots = [0 if a in OLD else 1 if a in NEW else None for a in addresses]
    return slots, MOST_WEIGHT if fields[9] == "k" else 1


def _bounded(counting: Counting) -> None:
    assert len(counting._shapes._known) <= shapes.MOST
    assert len(counting._times) <= KNOWN_TIMES
    if counting._once is not None:
        assert len(counting._once._failed) <= once.MOST
        assert len(counting._once._recent) + len(counting._once._before) <= 2 * once.MOST


def _file_in(place: Path) -> Callable[[Random], str]:
    log, old = place / "requests.log", place / "requests.log.old"

    def one(chance: Random) -> str:
        for path in (log, old, place / "watch.json"):
            path.unlink(missing_ok=True)
        if chance.random() < 0.1:
            return _checkpoint(chance, place)
        written, read = _written(chance, log), 0
        tail = Tail(log, _position(chance, log.stat().st_ino))
        counting = Counting(OLD, NEW, SUCCESS)
        honest = tail.position == Position()
        for _ in range(chance.randrange(1, 8)):
            written += _written(chance, log)
            match chance.randrange(8):
                case 0:
                    tail.rotate()
                case 1:
                    tail.retire(())
                case 2 if log.exists():
                    os.truncate(log, chance.randrange(log.stat().st_size + 1))
                    honest = False
                case 3:
                    log.unlink(missing_ok=True)
                    honest = False
                case 4:  # reld was killed, and goes on
                    tail = Tail(log, tail.position)
                case _:
                    pass
            found = tail.read_raw(chance.choice((CHUNK, CHUNK, 100, 4000)))
            read += len(found)
            _check(counting.feed(found), found)
        for _ in range(4):
            found = tail.read_raw()
            read += len(found)
            _check(counting.feed(found), found)
        # Cut files may be read again; else every line is met at most once.
        assert not honest or read <= written, f"{read} lines read of {written}"
        assert len(tail.read_raw()) == 0 or not honest
        return "file read"

    return one


def _position(chance: Random, inode: int) -> Position:
    """Nothing was read, or what a spoiled checkpoint says."""
    if chance.random() < 0.7:
        return Position()
    return Position(*(chance.choice((0, 1, 77, -1, inode, 2**40, 2**70)) for _ in range(4)))


def _written(chance: Random, log: Path) -> int:
    """Appends something; how many lines that ends."""
    data = "\n".join(_line(chance) for _ in range(chance.randrange(30))).encode("utf-8", "replace")
    match chance.randrange(7):
        case 0:
            data = spoiled(chance, data)
        case 1:
            data = chance.randbytes(chance.choice((1, 300, 20_000)))
        case 2:
            data += b"\n" + b"x" * chance.choice((100, 70_000)) + b"\n"
        case 3:
            data = data[: chance.randrange(len(data) + 1)]
        case _:
            data += b"\n"
    with log.open("ab") as file:
        file.write(data)
    return data.count(b"\n")


def _checkpoint(chance: Random, place: Path) -> str:
    """The sensor's own record: a damaged one is as good as none."""
    checkpoints = Checkpoints(place)
    whole = Checkpoint(Position(3, 99, 2, 7), ((3, 5), (60, 1)))
    text = codec.dumps(whole)
    if chance.random() < 0.5:
        text = json.dumps(spoiled_json(chance, json.loads(text)))
    else:
        text = spoiled(chance, text.encode()).decode("utf-8", "surrogateescape")
    (place / "watch.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = checkpoints.load()
    assert isinstance(found, Checkpoint)
    Tail(place / "requests.log", found.position).read_raw()
    return "checkpoint read" if found != Checkpoint() else "checkpoint left"
