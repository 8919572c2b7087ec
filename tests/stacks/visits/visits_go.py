"""The visitors of the shop in one binary."""

from __future__ import annotations

from load import Assets, Browser, Lost

ASSETS = Assets(r'"(/assets/[^"]+)"')


def reader(browser: Browser) -> None:
    browser.get("/").find('(action="/order")')


def order(browser: Browser, item: str) -> str:
    """Returns the page of the order."""
    return browser.post("/order", {"item": item}).headers["Location"]


def look(browser: Browser, page: str, item: str) -> None:
    answer = browser.get(page)
    if answer.text != f"<p>Order: {item}</p>":
        raise Lost(f"{page} is not {item}, by {answer.release}: {answer.text!r}")


def buyer(browser: Browser) -> None:
    """Orders, and finds the order."""
    look(browser, order(browser, "tea"), "tea")


def regular(browser: Browser) -> None:
    """Every release knows an order of long ago."""
    first = order(browser, "first coffee")
    while not browser.over:
        look(browser, first, "first coffee")
        order(browser, "coffee")


def assets(browser: Browser) -> None:
    ASSETS.visit(browser, "/")


VISITORS = [
    ("reader", 1, reader),
    ("buyer", 2, buyer),
    ("regular", 1, regular),
    ("assets", 1, assets),
]
