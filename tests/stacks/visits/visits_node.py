"""The board's visitors."""

from __future__ import annotations

import http.client
import json

from load import HOST, Assets, Browser, Lost

TOKEN = r'name="token" value="([\w-]+)"'
STATIC = Assets(r'"(/assets/[^"]+)"')


def reader(browser: Browser) -> None:
    browser.get("/")
    browser.get("/login").find(TOKEN)


def log_in(browser: Browser, name: str) -> str:
    """Returns the page's token."""
    browser.forget()
    token = browser.get("/login").find(TOKEN)
    browser.post("/login", {"token": token, "name": name})
    page = browser.get("/")
    if f"Hello {name}" not in page.text:
        raise Lost(f"{name} is not logged in, by {page.release}")
    return page.find(TOKEN)


def write(browser: Browser, token: str, words: str) -> None:
    browser.post("/posts", {"token": token, "words": words})


def writer(browser: Browser) -> None:
    """Logs in, writes, finds it on the page, logs out."""
    token = log_in(browser, "writer")
    for number in range(10):
        write(browser, token, f"tea {number}")
        browser.get("/").find(f"writer: (tea {number})<")
    browser.post("/logout", {"token": token})
    browser.post("/posts", {"token": token, "words": "too late"}, 403)


def regular(browser: Browser) -> None:
    """Logged in once; every release knows the session."""
    token = log_in(browser, "regular")
    number = 0
    while not browser.over:
        number += 1
        write(browser, token, f"coffee {number}")
        if "Hello regular" not in browser.get("/").text:
            raise Lost("the session is gone")


def static(browser: Browser) -> None:
    STATIC.visit(browser, "/")


def listener(browser: Browser) -> None:
    """Does as an EventSource does, and has heard of every post once and in order at the end."""
    first = last = max((post["id"] for post in browser.get("/posts").json()), default=0)
    browser.hang_up()
    heard: list[int] = []
    streams = 0
    while not browser.over:
        streams += 1
        for number in stream(browser, last):
            heard.append(number)
            last = number
    posted = [post["id"] for post in browser.get(f"/posts?after={first}").json()]
    browser.note(heard=len(heard), streams=streams)
    if heard != posted[: len(heard)] or (posted and not heard):
        missing = sorted(set(posted[: len(heard)]) - set(heard))[:5]
        raise Lost(f"heard {len(heard)} of {len(posted)}; not of {missing}")


def stream(browser: Browser, last: int):
    """Numbers of posts, until the connection ends: that is what it may do at any time."""
    connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=20)
    sent = {"Host": HOST, "Accept": "text/event-stream", "Last-Event-ID": str(last)}
    try:
        connection.request("GET", "/events", headers=sent)
        answer = connection.getresponse()
        if answer.status != 200:
            raise Lost(f"GET /events: {answer.status}: {answer.read()[:100]!r}")
        while not browser.over and (line := answer.readline()):
            if line.startswith(b"data:"):
                yield json.loads(line[5:])["id"]
    except http.client.IncompleteRead:
        pass
    finally:
        connection.close()


VISITORS = [
    ("reader", 1, reader),
    ("writer", 1, writer),
    ("regular", 1, regular),
    ("static", 1, static),
    ("listener", 2, listener),
]
