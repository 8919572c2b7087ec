"""Visitors at a steady rate: a new connection for each request, sent when its time has come, whatever
became of the ones before it (an open loop). One thread and epoll, so that several hundred a second
leave the cores to what is tested.

    python -m tests.load.visitors PORT [--rate 300] [--posts 0.5] [--timeout 10]

A line on stdin is answered by the number of requests that have ended; the end of stdin stops the
visitors, and after the last answer everything that they saw is one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.load.apart import Apart

_BODY = b"x" * 32
_GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_POST = (
    b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
_RELEASE = b"\r\nX-Release: "
_LATE = 0.5
"""Seconds behind its time table after which it begins a new one: no burst after a pause."""


class Visit(NamedTuple):
    """One request. `began` on the monotonic clock that all processes share, `took` in seconds.

    `status` 0: no full answer came, and `why` says what did. `release`: who answered, "" = nobody.
    """

    began: float
    took: float
    method: str
    status: int
    why: str
    release: str

    @property
    def failed(self) -> bool:
        """As the user sees it."""
        return not 0 < self.status < 500


@dataclass(frozen=True)
class Seen:
    """What the visitors saw, in the order in which it ended."""

    visits: list[Visit]

    @property
    def failed(self) -> list[Visit]:
        return [visit for visit in self.visits if visit.failed]

    def by_release(self, *, errors: bool = False) -> Counter[str]:
        """How many requests (or 5xx) each release answered."""
        return Counter(v.release for v in self.visits if not errors or v.status >= 500)

    @property
    def text(self) -> str:
        whats = Counter((v.release or "nobody", v.method, v.status or v.why) for v in self.visits)
        rows = [f"{of:8} {m:5} {what!s:8} {count:6}" for (of, m, what), count in whats.items()]
        return "\n".join(sorted(rows))


class Visitors(Apart):
    """`with Visitors(port, rate=300) as visitors: visitors.wait_for(100); …; seen = visitors.end()`."""

    def __init__(
        self, port: int, *, rate: float = 300.0, posts: float = 0.5, timeout: float = 10.0
    ) -> None:
        wanted = [f"--rate={rate}", f"--posts={posts}", f"--timeout={timeout}"]
        super().__init__("tests.load.visitors", str(port), *wanted)

    def ended(self) -> int:
        """Requests that have ended so far."""
        return int(self.asked())

    def wait_for(self, requests: int, within: float = 30.0) -> None:
        """Until that many more have ended."""
        deadline = time.monotonic() + within
        goal = self.ended() + requests
        while self.ended() < goal:
            assert time.monotonic() < deadline, "the visitors are not answered"
            time.sleep(0.02)

    def end(self) -> Seen:
        """Stops them; returns after the last answer."""
        return Seen([Visit(*row) for row in self.last()])


@dataclass(slots=True)
class _Open:
    """A connection and what came on it."""

    sock: socket.socket
    began: float
    method: str
    data: bytearray = field(default_factory=bytearray)


class _Crowd:
    def __init__(self, port: int, rate: float, posts: float, timeout: float) -> None:
        self.where = ("127.0.0.1", port)
        self.rate, self.posts, self.timeout = rate, posts, timeout
        self.epoll = select.epoll()
        self.open: dict[int, _Open] = {}
        self.order: deque[tuple[float, int]] = deque()
        self.visits: list[Visit] = []

    def run(self, told: Callable[[], bool]) -> None:
        """Until `told`, which is asked whenever stdin has something, is False."""
        self.epoll.register(0, select.EPOLLIN)
        going, due = True, time.monotonic()
        while going or self.open:
            now = time.monotonic()
            if due < now - _LATE:
                due = now
            while going and due <= now:
                self.begin(now)
                due += random.expovariate(self.rate)
            self.give_up(now)
            wait = max(0.0, due - time.monotonic()) if going else 0.05
            for descriptor, _ in self.epoll.poll(min(wait, 0.05)):
                if descriptor == 0:
                    going = told()
                    if not going:
                        self.epoll.unregister(0)
                else:
                    self.read(descriptor)

    def begin(self, now: float) -> None:
        method, message = ("POST", _POST) if random.random() < self.posts else ("GET", _GET)
        sock = socket.socket()
        one = _Open(sock, now, method)
        try:
            sock.setblocking(False)
            sock.connect_ex(self.where)  # on loopback it is made, or refused, at once
            sock.send(message)
        except OSError as error:
            sock.close()
            self.ended(one, 0, f"connect: {error.strerror}", "")
            return
        self.open[sock.fileno()] = one
        self.order.append((now, sock.fileno()))
        self.epoll.register(sock.fileno(), select.EPOLLIN)

    def read(self, descriptor: int) -> None:
        one = self.open.get(descriptor)
        if one is None:
            return
        try:
            data = one.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(descriptor)
            self.ended(one, 0, f"reset: {error.strerror}", "")
            return
        one.data += data
        if not data:
            self.close(descriptor)
            self.answered(one)

    def answered(self, one: _Open) -> None:
        head, _, body = bytes(one.data).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 ") or len(body) < _length(head):
            self.ended(one, 0, f"eof after {len(one.data)} bytes", "")
            return
        at = head.find(_RELEASE)
        start = at + len(_RELEASE)
        end = head.find(b"\r\n", start)
        release = head[start : end if end >= 0 else None].decode() if at >= 0 else ""
        self.ended(one, int(head[9:12]), "", release)

    def give_up(self, now: float) -> None:
        while self.order and self.order[0][0] < now - self.timeout:
            began, descriptor = self.order.popleft()
            one = self.open.get(descriptor)
            if one is not None and one.began == began:
                self.close(descriptor)
                self.ended(one, 0, "timeout", "")

    def close(self, descriptor: int) -> None:
        self.open.pop(descriptor).sock.close()

    def ended(self, one: _Open, status: int, why: str, release: str) -> None:
        took = time.monotonic() - one.began
        self.visits.append(Visit(one.began, took, one.method, status, why, release))


def _length(head: bytes) -> int:
    at = head.find(b"\r\nContent-Length: ")
    return int(head[at + 18 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.load.visitors")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=300.0, help="requests per second")
    parser.add_argument("--posts", type=float, default=0.5, help="part of them, 0 … 1")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds")
    given = parser.parse_args()
    crowd = _Crowd(given.port, given.rate, given.posts, given.timeout)

    def told() -> bool:
        if not os.read(0, 4096):
            return False
        print(len(crowd.visits), flush=True)
        return True

    crowd.run(told)
    print(json.dumps(crowd.visits))


if __name__ == "__main__":
    main()
