"""How a rollout is shown: a live line on a terminal, lines in a pipe, objects for programs."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Protocol

from relctl import plan
from relctl.live import Screen
from relctl.receipt import lines
from relctl.text import clean


class View(Protocol):
    """One way to show what happens. stdout is data; `notice` is talk and goes to stderr."""

    def event(self, event: dict[str, Any]) -> None: ...

    def notice(self, text: str) -> None: ...

    def end(self, receipt: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


def view(as_json: bool) -> View:
    """The view that fits stdout."""
    if as_json:
        return Objects()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        return Screen()
    return Lines()


class Objects:
    """NDJSON: what reld sends, the receipt alone as the last object."""

    def event(self, event: dict[str, Any]) -> None:
        self._print(event)

    def notice(self, text: str) -> None:
        pass

    def end(self, receipt: dict[str, Any]) -> None:
        self._print(receipt)

    def close(self) -> None:
        pass

    def _print(self, value: dict[str, Any]) -> None:
        print(json.dumps(value), flush=True)


class Lines:
    """One line per event with its time, for logs and CI."""

    def event(self, event: dict[str, Any]) -> None:
        if event.get("event") in ("status", "progress"):
            return
        name = clean(event.get("event") or "event")
        self._print(event.get("time"), clean(event.get("text") or name))
        for line in plan.watch(event):
            self._print(event.get("time"), line)

    def notice(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def end(self, receipt: dict[str, Any]) -> None:
        print("\n".join(lines(receipt)), flush=True)

    def close(self) -> None:
        pass

    def _print(self, moment: Any, text: str) -> None:
        if not isinstance(moment, str):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(f"{clean(moment)} {text}", flush=True)
