"""The visitors of an API of notes."""

from __future__ import annotations

from load import Browser, Lost

PASSWORD = "correct horse battery staple"


def reader(browser: Browser) -> None:
    for note in browser.get("/notes").json()[:5]:
        browser.get(f"/notes/{note['id']}")


def log_in(browser: Browser, name: str) -> None:
    browser.headers.clear()
    token = browser.send("POST", "/login", {"name": name, "password": PASSWORD}).json()["token"]
    browser.headers["Authorization"] = f"Bearer {token}"


def write(browser: Browser, words: str) -> None:
    """What was written is there at once, whichever process answers."""
    number = browser.send("POST", "/notes", {"words": words}, 201).json()["id"]
    found = browser.get(f"/notes/{number}").json()
    if found["words"] != words:
        raise Lost(f"note {number} is {found}")


def writer(browser: Browser) -> None:
    browser.headers.clear()
    browser.send("POST", "/notes", {"words": "without a token"}, 422, 401)
    log_in(browser, "writer")
    for number in range(20):
        write(browser, f"tea number {number}")


def regular(browser: Browser) -> None:
    """Logged in once; every release knows the token."""
    log_in(browser, "regular")
    number = 0
    while not browser.over:
        number += 1
        write(browser, f"coffee {number}")


VISITORS = [("reader", 2, reader), ("writer", 2, writer), ("regular", 1, regular)]
