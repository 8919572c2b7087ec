"""A headless Chromium, driven through its DevTools protocol; blocking, so that tests read top down.

    with Chromium() as chromium:
        page = chromium.page(url, width=390, dark=True)
        page.until("document.title.startsWith('v1')")
        page.click("#acts button")

Everything of it is in a temporary directory, and nothing of it is left at the end.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

WITHIN = 20.0
"""Seconds for something to become so."""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-port=0",
    # Names that an attacker owns, and that come to mean this machine.
    "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP x 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


class Chromium:
    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="relctl-chromium-"))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[str, Page] = {}
        self._words: asyncio.StreamReader | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        log = (self._home / "log").open("wb")
        with log:
            self._process = subprocess.Popen(
                ["chromium", *_FLAGS, f"--user-data-dir={self._home / 'profile'}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self._home)},
                start_new_session=True,
            )
        self.do(self._connect(self._address()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(Exception):
            self.do(self._close())
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def page(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """A new tab, once its document is there."""
        made = Page(self)
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        made.session = attached["sessionId"]
        self._pages[made.session] = made
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            made.send(f"{domain}.enable")
        made.look(width=width, height=height, dark=dark)
        made.send("Page.navigate", {"url": url})
        made.until("location.href !== 'about:blank' && document.readyState === 'complete'")
        return made

    def send(self, method: str, params: dict[str, Any] | None = None, session: str = "") -> Any:
        return self.do(self._send(method, params or {}, session))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _address(self) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            found = re.search(r"listening on (ws://\S+)", (self._home / "log").read_text())
            if found:
                return found[1]
            time.sleep(0.05)
        raise AssertionError(f"Chromium does not start: {(self._home / 'log').read_text()}")

    async def _connect(self, address: str) -> None:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(address, max_msg_size=0, compress=0)
        self._reading = asyncio.create_task(self._read())

    async def _close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._socket.close()
        await self._http.close()

    async def _send(self, method: str, params: dict[str, Any], session: str) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": params}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(30):
            return await answer

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            answer = self._waiting.pop(told.get("id"), None)
            if answer is not None and not answer.done():
                if "error" in told:
                    answer.set_exception(AssertionError(told["error"]["message"]))
                else:
                    answer.set_result(told["result"])
            elif told.get("sessionId") in self._pages:
                self._pages[told["sessionId"]].heard(told["method"], told["params"])


class Page:
    """A tab. `errors`: what its console complained of; `asked`: the addresses that it asked for."""

    def __init__(self, chromium: Chromium) -> None:
        self._chromium = chromium
        self.session = ""
        self.errors: list[str] = []
        self.asked: list[str] = []

    def heard(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(f"{details.get('text')} {details.get('exception', {})}")
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.errors.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])

    def send(self, method: str, params: dict[str, Any] | None = None) -> Any:
        return self._chromium.send(method, params, self.session)

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """So wide (CSS pixels), and what its user likes."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", size)
        liked = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.send("Emulation.setEmulatedMedia", {"features": [liked, still]})

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is awaited."""
        given = {"expression": script, "returnByValue": True, "awaitPromise": True}
        done = self.send("Runtime.evaluate", given)
        assert "exceptionDetails" not in done, (script, done["exceptionDetails"])
        return done["result"].get("value")

    def until(self, script: str, within: float = WITHIN) -> Any:
        """The first value of the expression that is true."""
        deadline = time.monotonic() + within
        while True:
            try:
                found = self.run(script)
            except AssertionError:
                found = None  # the document is being replaced
            if found:
                return found
            if time.monotonic() > deadline:
                shown = self.run("document.body.innerText")
                raise AssertionError(f"never so: {script}; the page says: {shown}; {self.errors}")
            time.sleep(0.04)

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def says(self, selector: str, words: str, within: float = WITHIN) -> None:
        """Until the element's text has the words."""
        found = f"document.querySelector({json.dumps(selector)})?.textContent"
        self.until(f"({found} ?? '').includes({json.dumps(words)})", within)

    def click(self, selector: str) -> None:
        """With the mouse, as soon as nothing (a dialog that is about to close) lies over it."""
        at = self.until(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            " if (!found || found.disabled) return null;"
            " found.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const box = found.getBoundingClientRect();"
            " const at = [box.x + box.width / 2, box.y + box.height / 2];"
            " return box.width && found.contains(document.elementFromPoint(...at)) ? at : null; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent",
                {"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1},
            )

    def key(self, name: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            given = {"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code}
            self.send("Input.dispatchKeyEvent", given | ({"text": text} if text else {}))

    def write(self, text: str) -> None:
        self.send("Input.insertText", {"text": text})

    def tree(self) -> list[dict[str, Any]]:
        """What a screen reader gets."""
        return list(self.send("Accessibility.getFullAXTree")["nodes"])

    def picture(self, path: Path) -> None:
        """All of it, also what one would have to scroll to."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        given = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", given)["data"]))
