"""The shop's visitors: buyers, and those who watch what is ordered over a websocket of Action Cable."""

from __future__ import annotations

import json
import time

from load import Answer, Assets, Browser, Lost
from websocket import Ended, Silent, Websocket

TOKEN = r'name="csrf-token" content="([^"]+)"'
ASSETS = Assets(r'"(/assets/[^"]+)"')
CHANNEL = json.dumps({"channel": "OrdersChannel"})
PATIENCE = 15.0  # seconds for an answer


def reader(browser: Browser) -> None:
    browser.get("/").find(TOKEN)


def log_in(browser: Browser) -> None:
    browser.forget()
    token = browser.get("/").find(TOKEN)
    browser.post("/session", {"authenticity_token": token, "buyer": browser.name})
    home(browser)


def home(browser: Browser) -> Answer:
    page = browser.get("/")
    if f"Hello {browser.name}" not in page.text:
        raise Lost(f"{browser.name} is not logged in, by {page.release}")
    return page


def order(browser: Browser, item: str) -> None:
    """It is on the page at once, and the bills of those before are as the kitchen wrote them."""
    token = home(browser).find(TOKEN)
    browser.post("/orders", {"authenticity_token": token, "item": item})
    page = home(browser)
    if f"<li>{item} " not in page.text:
        raise Lost(f"{item} is not on the page, by {page.release}")
    if "/bill" in page.text:
        browser.get(page.find(r'"(/orders/\d+/bill)"')).find(f" for ({browser.name}), served by v")


def buyer(browser: Browser) -> None:
    """Logs in, orders, logs out."""
    log_in(browser)
    for number in range(20):
        order(browser, f"tea number {number}")
    token = home(browser).find(TOKEN)
    browser.post("/session", {"authenticity_token": token, "_method": "delete"})


def regular(browser: Browser) -> None:
    """Logged in once; every release knows the session."""
    log_in(browser)
    number = 0
    while not browser.over:
        number += 1
        order(browser, f"coffee number {number}")


def assets(browser: Browser) -> None:
    ASSETS.visit(browser, "/")


class Cable:
    """A subscription. `release`: who answered last."""

    def __init__(self, browser: Browser) -> None:
        cookie = f"_shop_session={browser.cookie('_shop_session')}"
        self._socket = Websocket("/cable", cookie, "actioncable-v1-json")
        self._number = 0
        self.release = ""
        self.waits = True
        self._until("type", "welcome")
        self._socket.say(json.dumps({"command": "subscribe", "identifier": CHANNEL}))
        self._until("type", "confirm_subscription")
        self.ask()

    def ask(self) -> None:
        """Raises Ended; Lost for no answer."""
        self.waits = True
        self._number += 1
        asked = json.dumps({"action": "count", "number": self._number})
        said = {"command": "message", "identifier": CHANNEL, "data": asked}
        self._socket.say(json.dumps(said))
        self.release = self._until("number", self._number)["release"]
        self.waits = False

    def listen(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                self._next(left)
            except Silent:
                return

    def close(self) -> None:
        self._socket.close()

    def _until(self, key: str, value: object) -> dict:
        until = time.monotonic() + PATIENCE
        while (left := until - time.monotonic()) > 0:
            try:
                said = self._next(left)
            except Silent:
                break
            if said.get(key) == value:
                return said
        raise Lost(f"websocket: no {key} {value} by {self.release}")

    def _next(self, seconds: float) -> dict:
        said = json.loads(self._socket.hear(seconds))
        if said.get("type") == "disconnect":
            raise Ended(f"disconnect: {said['reason']}")
        inner = said.get("message")
        return inner if isinstance(inner, dict) else said


def watcher(browser: Browser) -> None:
    """Always connected; asks now and then; comes back at once when it was closed."""
    log_in(browser)
    while not browser.over:
        watch(browser)


def watch(browser: Browser) -> None:
    try:
        cable = Cable(browser)
    except Ended as error:
        raise Lost(f"websocket: ended before it had begun: {error}") from error
    browser.note(event="connected", release=cable.release)
    try:
        while not browser.over:
            cable.listen(1.0)
            cable.ask()
    except Ended as error:
        what = {"why": str(error), "unanswered": cable.waits}
        browser.note(event="closed", release=cable.release, **what)
    finally:
        cable.close()


def passer_by(browser: Browser) -> None:
    """One look at the board, by whoever is asked."""
    log_in(browser)
    try:
        cable = Cable(browser)
    except Ended as error:
        raise Lost(f"websocket: ended before it had begun: {error}") from error
    cable.close()


VISITORS = [
    ("reader", 1, reader),
    ("buyer", 1, buyer),
    ("regular", 1, regular),
    ("assets", 1, assets),
    ("watcher", 20, watcher),
    ("passer-by", 1, passer_by),
]
