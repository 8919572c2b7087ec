"""How a rollout is shown: a live view on a terminal, lines in a pipe, objects for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from relctl import plan
from relctl.receipt import lines
from relctl.status import headline, running
from relctl.text import clean


class View(Protocol):
    """One way to show what happens. stdout is data; `notice` is talk and goes to stderr.

    `query`: what it wants of /v1/events beyond the usual. `silence`: seconds after which reld counts
    as away; None: the usual.
    """

    query: str
    silence: float | None

    def event(self, event: dict[str, Any]) -> None: ...

    def notice(self, text: str) -> None: ...

    def away(self, text: str, seconds: float) -> None:
        """Nothing was heard of reld for `seconds`; 0 when that begins. `text` says so."""
        ...

    def back(self) -> None:
        """It is heard again."""
        ...

    def end(self, receipt: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def view(as_json: bool) -> View:
    """The view that fits stdout."""
    if as_json:
        return Objects()
    if sys.stdout.isatty():
        from relctl.screen.painter import usable

        if usable():
            from relctl.live import Screen

            return Screen()
    return Lines()


class Objects:
    """NDJSON: what reld sends, the receipt alone as the last object."""

    query = ""
    silence: float | None = None

    def event(self, event: dict[str, Any]) -> None:
        self._print(event)

    def notice(self, text: str) -> None:
        pass

    def away(self, text: str, seconds: float) -> None:
        pass

    def back(self) -> None:
        pass

    def end(self, receipt: dict[str, Any]) -> None:
        self._print(receipt)

    def close(self) -> None:
        pass

    def _print(self, value: dict[str, Any]) -> None:
        print(json.dumps(value), flush=True)


class Lines:
    """One line per event with its time, for logs and CI."""

    query = ""
    silence: float | None = None

    def __init__(self) -> None:
        self._begun = False

    def event(self, event: dict[str, Any]) -> None:
        begun, self._begun = self._begun, True
        if event.get("event") == "status" and not begun:
            self._present(event)
        if event.get("event") in ("status", "progress"):
            return
        name = clean(event.get("event") or "event")
        self._print(event.get("time"), clean(event.get("text") or name))
        for line in plan.watch(event):
            self._print(event.get("time"), line)

    def notice(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def away(self, text: str, seconds: float) -> None:
        if seconds == 0.0:
            self.notice(text)

    def back(self) -> None:
        pass

    def end(self, receipt: dict[str, Any]) -> None:
        print("\n".join(lines(receipt)), flush=True)

    def close(self) -> None:
        pass

    def _present(self, event: dict[str, Any]) -> None:
        """Who begins to watch is told what is so, before anything happens."""
        status, number = event.get("status"), event.get("rollout")
        if not isinstance(status, dict):
            return
        rollout = running(status)
        if number is None or (rollout is not None and rollout.get("id") == number):
            self._print(event.get("time"), headline(status))

    def _print(self, moment: Any, text: str) -> None:
        if not isinstance(moment, str):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(f"{clean(moment)} {text}", flush=True)
