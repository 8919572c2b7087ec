"""Load in the box, through its site: browsers that keep their connection and never ask twice.

    python3 -c 'import load; load.main()' VISITS SECONDS

VISITS is a module with `VISITORS`: a name, how many of them, and a function that is called with a Browser
again and again. Until SECONDS are over or SIGTERM; then one JSON object. What a visitor did not expect is
`lost`, but for a 500: that is the app's own word (`errors`), and a 503 that says when to come back
(`turned_away`).
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import json
import re
import signal
import sys
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from http.cookies import SimpleCookie

HOST = "www.example.com"
PAUSE = 0.1  # seconds between two requests of a visitor: enough is left for what is being built
MOST = 500  # of one kind of trouble that are told one by one

over = threading.Event()


class Lost(Exception):
    """This visit has ended as none should."""


class Answer:
    def __init__(self, got: http.client.HTTPResponse, body: bytes) -> None:
        self.status = got.status
        self.headers = got.headers
        self.body = body
        self.release = got.headers.get("X-Release", "-")

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def find(self, pattern: str) -> str:
        """The first group of what the page has. Raises Lost."""
        found = re.search(pattern, self.text)
        if found is None:
            raise Lost(f"no {pattern} in {self.text[:200]!r}")
        return found[1]


class Report:
    """Of all visitors together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.answers: Counter[str] = Counter()
        self.visits: Counter[str] = Counter()
        self.lost: list[tuple[float, str]] = []
        self.errors: list[tuple[float, str]] = []
        self.turned_away: list[float] = []
        self.noted: list[dict[str, object]] = []
        self.slowest = 0.0

    def answered(self, answer: Answer, seconds: float) -> None:
        with self._lock:
            self.answers[f"{answer.release} {answer.status}"] += 1
            self.slowest = max(self.slowest, seconds)

    def note(self, where: list, what: object) -> None:
        with self._lock:
            if len(where) < MOST:
                where.append(what)

    def said(self) -> dict[str, object]:
        return {
            "requests": self.answers.total(),
            "answers": self.answers,
            "visits": self.visits,
            "lost": self.lost,
            "errors": self.errors,
            "turned_away": self.turned_away,
            "noted": self.noted,
            "slowest": round(self.slowest, 3),
        }


class Browser:
    """One visitor: a kept connection and cookies. What it did not expect ends the visit."""

    def __init__(self, name: str, report: Report) -> None:
        self.name = name
        self.headers: dict[str, str] = {}
        self._report = report
        self._connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=30)
        self._cookies: dict[str, str] = {}

    @property
    def over(self) -> bool:
        return over.is_set()

    def get(self, path: str, *expected: int) -> Answer:
        """Raises Lost for another status than `expected` (200)."""
        return self.ask("GET", path, None, {}, expected or (200,))

    def post(self, path: str, form: dict[str, str], *expected: int) -> Answer:
        """As a form of a page; 302 is expected."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode(form).encode()
        return self.ask("POST", path, body, kind, expected or (302,))

    def send(self, method: str, path: str, what: object, *expected: int) -> Answer:
        """JSON, as a client of an API does; 200 is expected."""
        kind = {"Content-Type": "application/json"}
        return self.ask(method, path, json.dumps(what).encode(), kind, expected or (200,))

    def forget(self) -> None:
        """The cookies; the connection stays."""
        self._cookies.clear()

    def hang_up(self) -> None:
        """The next request has a new connection, as after a minute without any."""
        self._connection.close()

    def note(self, **what: object) -> None:
        """Something of this visitor's own that a test wants to know, and when."""
        self._report.noted.append({"who": self.name, "at": time.time(), **what})

    def cookie(self, name: str) -> str:
        return self._cookies.get(name, "")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        expected: tuple[int, ...],
    ) -> Answer:
        over.wait(PAUSE)
        sent = {"Host": HOST, "Referer": f"http://{HOST}{path}", **self.headers, **headers}
        if self._cookies:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self._cookies.items())
        began = time.monotonic()
        try:
            self._connection.request(method, path, body, sent)
            got = self._connection.getresponse()
            answer = Answer(got, got.read())
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Lost(f"{method} {path}: {error!r}") from error
        self._report.answered(answer, time.monotonic() - began)
        for line in got.headers.get_all("Set-Cookie") or ():
            for cookie in SimpleCookie(line).values():
                self._cookies[cookie.key] = cookie.value
        if answer.status not in expected:
            what = f"{self.name}: {method} {path}: {answer.status} by {answer.release}"
            if answer.status == 500:
                self._report.note(self._report.errors, (time.time(), what))
            elif answer.status == 503 and "Retry-After" in answer.headers:
                self._report.note(self._report.turned_away, time.time())
            else:
                raise Lost(f"{what}: {answer.text[:100]!r}")
            raise Unwell
        return answer


class Unwell(Exception):
    """The visit is over, and what it met is in the report already."""


class Assets:
    """What pages have linked to, now and long ago: a tab that is open for hours asks for its own again."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._known: dict[str, str] = {}

    def visit(self, browser: Browser, page: str) -> None:
        found = self._pattern.findall(browser.get(page).text)
        if not found:
            raise Lost(f"{page} links to no asset")
        self._known |= {path: "" for path in found if path not in self._known}
        for path in list(self._known):
            mark = hashlib.sha256(browser.get(path).body).hexdigest()
            if self._known[path] not in ("", mark):
                raise Lost(f"{path} is not what it was")
            self._known[path] = mark


Visit = Callable[[Browser], None]


def visit(name: str, one: Visit, report: Report) -> None:
    browser = Browser(name, report)
    while not over.is_set():
        try:
            one(browser)
            with report._lock:
                report.visits[name] += 1
        except Unwell:
            pass
        except Exception as error:  # a visitor's own mistake must not look like a quiet one
            report.note(report.lost, (time.time(), f"{name}: {error!r}"))
            browser.forget()
            over.wait(0.1)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    report = Report()
    visitors = importlib.import_module(sys.argv[1]).VISITORS
    threads = [
        threading.Thread(target=visit, args=(f"{name} {number}", one, report))
        for name, many, one in visitors
        for number in range(many)
    ]
    for one in threads:
        one.start()
    over.wait(float(sys.argv[2]))
    over.set()
    for one in threads:
        one.join()
    print(json.dumps(report.said()))
