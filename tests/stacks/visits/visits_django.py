"""The shop's visitors."""

from __future__ import annotations

from load import Assets, Browser, Lost

CSRF = r'name="csrfmiddlewaretoken" value="(\w+)"'
PASSWORD = "correct horse battery staple"
STATIC = Assets(r'"(/static/[^"]+)"')


def reader(browser: Browser) -> None:
    browser.get("/")
    browser.get("/accounts/login/").find(CSRF)


def log_in(browser: Browser, name: str) -> str:
    """Returns the page's CSRF token."""
    browser.forget()
    token = browser.get("/accounts/login/").find(CSRF)
    form = {"csrfmiddlewaretoken": token, "username": name, "password": PASSWORD}
    browser.post("/accounts/login/", form)
    page = browser.get("/")
    if f"Hello {name}" not in page.text:
        raise Lost(f"{name} is not logged in, by {page.release}")
    return page.find(CSRF)


def buyer(browser: Browser) -> None:
    """Logs in, orders, finds the order on the page, logs out."""
    token = log_in(browser, "buyer")
    for number in range(60):  # a password costs half a second of a processor
        order(browser, token, f"tea {number}")
    browser.post("/accounts/logout/", {"csrfmiddlewaretoken": token})
    browser.get("/order", 302)


def regular(browser: Browser) -> None:
    """Logged in once; every release knows the session."""
    token = log_in(browser, "regular")
    number = 0
    while not browser.over:
        number += 1
        order(browser, token, f"coffee {number}")
        if "Hello regular" not in browser.get("/").text:
            raise Lost("the session is gone")


def order(browser: Browser, token: str, item: str) -> None:
    browser.post("/order", {"csrfmiddlewaretoken": token, "item": item})


def static(browser: Browser) -> None:
    STATIC.visit(browser, "/")


VISITORS = [
    ("reader", 1, reader),
    ("buyer", 2, buyer),
    ("regular", 1, regular),
    ("static", 1, static),
]
