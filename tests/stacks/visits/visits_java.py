"""The tea shop's visitors."""

from __future__ import annotations

from load import Browser, Lost


def reader(browser: Browser) -> None:
    browser.get("/").find("tea 0-0 for (250) cents")


def order(browser: Browser, item: str) -> str:
    """Returns the page of the order."""
    return browser.post("/order", {"item": item}).headers["Location"]


def look(browser: Browser, page: str, item: str) -> None:
    answer = browser.get(page)
    if not answer.text.endswith(f": {item}</p>"):
        raise Lost(f"{page} is not {item}, by {answer.release}: {answer.text!r}")


def buyer(browser: Browser) -> None:
    """Orders, and finds the order."""
    look(browser, order(browser, "tea 3-7"), "tea 3-7")


def regular(browser: Browser) -> None:
    """Every release knows an order of long ago."""
    first = order(browser, "tea 1-1")
    while not browser.over:
        look(browser, first, "tea 1-1")
        order(browser, "tea 2-2")


VISITORS = [("reader", 2, reader), ("buyer", 2, buyer), ("regular", 1, regular)]
