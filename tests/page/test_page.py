"""The dashboard in a browser, while a real reld rolls out under load."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.page.chromium import Chromium, Page
from tests.page.conftest import VIEWER, Bridge
from tests.rig import Rig

AUDIT = (Path(__file__).parent / "audit.js").read_text()
LIVE = "document.querySelector('#link').dataset.state === 'live'"
WATCHED = """
    window.seen = new Set();
    new MutationObserver(() => {
        const now = document.querySelector('#phases li[aria-current] .name');
        if (now) window.seen.add(now.textContent);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
"""
SHARE = "[...document.querySelectorAll('.part')].map((part) => part.querySelector('b').textContent)"


@contextlib.contextmanager
def opened(chromium: Chromium, address: str, **looks: Any) -> Iterator[Page]:
    """The page, with data; at the end it has not complained, and has asked nobody else."""
    page = chromium.page(address, **looks)
    try:
        page.until(LIVE)
        yield page
        assert not page.errors
        assert [url for url in page.asked if not url.startswith((address, "data:"))] == []
    finally:
        page.send("Page.close")


@contextlib.contextmanager
def switching(rig: Rig, release: str = "v2", *options: str) -> Iterator[int]:
    """A rollout that stays at 25 %; it is over at the end."""
    begun = rig.relctl("switch", release, "--no-wait", "--json", *options)
    assert begun.code == 0, begun.text
    number = int(begun.json["id"])
    rig.wait_share(25)
    try:
        yield number
    finally:
        rig.relctl("abort", str(number))
        rig.wait_idle()


def pictured(page: Page, pictures: Path, state: str) -> None:
    for width in (390, 1280):
        for dark in (False, True):
            page.look(width=width, dark=dark)
            page.picture(pictures / f"{state}-{width}-{'dark' if dark else 'light'}.png")
    page.look(width=1280)


def test_a_switch_is_seen_live_promoted_and_aborted_by_its_buttons(
    rig: Rig, chromium: Chromium, address: str, pictures: Path
) -> None:
    with opened(chromium, address) as page:
        page.until("document.querySelector('.line').getAttribute('d').length > 40")
        pictured(page, pictures, "steady")
        page.run(WATCHED)
        assert page.run(f"{SHARE}")[0] == "100 %"
        number = int(rig.relctl("switch", "v2", "--no-wait", "--json").json["id"])
        page.until(f"{SHARE}.join() === '75 %,25 %'")
        assert {"starting", "shifting"} <= set(page.run("[...window.seen]"))
        assert page.text("#now-title").lower() == "switch v1 → v2"
        assert page.text("#steps [aria-current]").startswith("25 %")
        assert page.run("document.querySelectorAll('.meter[role=meter]').length") == 2
        page.until("document.querySelectorAll('#slot-green .numbers dd')[0].textContent !== '–'")
        assert f"relctl abort {number}" in page.text("#next")
        page.until("document.querySelector('.line[data-slot=green]').getAttribute('d').length > 60")
        pictured(page, pictures, "shifting")

        page.click("#acts button:nth-child(2)")
        page.says("#dialog-text", "25 % → 60 %")
        page.click("#dialog-yes")
        page.until(f"{SHARE}.join() === '40 %,60 %'")

        page.click("#acts button:nth-child(3)")
        page.says("#dialog-title", f"Abort rollout {number}?")
        page.says("#dialog-text", "Every request goes to v1 at once (v2 has 60 % now)")
        assert page.run("document.activeElement.id") == "dialog-no"
        page.click("#reason")
        page.write("the checkout looks odd")
        assert page.text("#dialog-typed").endswith("--reason 'the checkout looks odd'")
        page.picture(pictures / "dialog-1280-light.png")
        page.click("#dialog-yes")
        page.until(
            f"document.querySelector('details[data-number=\"{number}\"] .chip')?.textContent === 'aborted'"
        )
        page.says("#now-outcome", "aborted")
        page.until(f"{SHARE}[0] === '100 %'")
        page.says("#events", "v1 serves")
    assert rig.receipt(number)["outcome"] == "aborted"
    assert "the checkout looks odd" in rig.receipt(number)["reason"]


def test_a_release_that_went_back_by_itself_says_why_in_place(
    rig: Rig, chromium: Chromium, address: str, pictures: Path
) -> None:
    with opened(chromium, address) as page:
        ended = rig.relctl("switch", "v3", "--json")
        assert ended.code == 3, ended.text
        number = ended.json["id"]
        page.says("#now-kicker", f"After rollout {number}")
        page.says("#now-about", "v3 was rolled back at 25 %")
        page.says("#evidence-title", "v3")
        page.until(f"!!document.querySelector('details[data-number=\"{number}\"]')")
        page.run(f"document.querySelector('details[data-number=\"{number}\"] summary').focus()")
        page.key("Enter", 13, "\r")
        page.says(f'details[data-number="{number}"] .facts', "verdict")
        assert ended.json["reason"] in page.text(f'details[data-number="{number}"]')
        pictured(page, pictures, "after-rollback")
        page.click("#acts button")
        page.says("#dialog-title", "Roll back?")
        page.says(
            "#dialog-text", f"rollout {number} (v3) ended already, rolled back"
        )  # as reld says
        assert page.run("document.querySelector('#dialog-yes').disabled")
        page.click("#dialog-no")


def test_it_follows_through_a_restart_of_reld_and_says_so(
    rig: Rig, chromium: Chromium, address: str
) -> None:
    page = chromium.page(address)
    page.until(LIVE)
    token = page.run("document.querySelector('meta[name=relctl-token]').content")
    with switching(rig) as number:
        page.says("#now-title", "v2")
        rig.kill_reld()
        page.says("#link-text", "reld does not answer")
        assert page.run("document.body.hasAttribute('data-stale')")
        rig.start_reld()
        rig.socket.chmod(0o666)
        page.until(LIVE)
        page.says("#events", "reld was restarted")
        old = {"Content-Type": "application/json", "X-Relctl-Token": token}
        refused = page.run(
            f"fetch('/v1/rollouts/{number}/pause', {{method: 'POST', headers: {old}, body: '{{}}'}})"
            ".then((answer) => answer.status)"
        )
        assert refused == 403
        assert not rig.status()["rollout"]["paused"]
        page.click("#acts button")
        page.says("#dialog-title", "Pause")
        page.click("#dialog-yes")
        page.says("#banners", "Paused")
        page.says("#acts", "Resume")
    page.send("Page.close")


def test_it_can_be_read_at_any_width_in_the_dark_and_by_ear(
    rig: Rig, chromium: Chromium, address: str
) -> None:
    note = "nobody-breaks-this-" * 12
    with opened(chromium, address) as page, switching(rig, "v2", "--note", note):
        page.says("#now-about", note)
        page.until("document.querySelectorAll('details').length > 0")
        page.click("details summary")
        page.until("!!document.querySelector('details .facts')")
        for dialog in (False, True):
            if dialog:
                page.click("#acts button")
                page.until("document.querySelector('#dialog').open")
            for width in (320, 360, 390, 640, 641, 901, 1280, 1920):
                page.look(width=width)
                assert page.run("document.documentElement.scrollWidth") <= width, width
            for dark in (True, False):
                page.look(width=1280, dark=dark)
                assert page.run(AUDIT) == []
            assert unnamed_of(page) == []
        page.key("Escape", 27)
        page.until("!document.querySelector('#dialog').open")
        roles = {node["role"]["value"] for node in page.tree() if not node.get("ignored")}
        assert {"banner", "main", "heading", "status", "meter", "list"} <= roles


def unnamed_of(page: Page) -> list[str]:
    """What the keyboard reaches and a screen reader has no words for."""
    found = []
    for node in page.tree():
        role = node.get("role", {}).get("value", "")
        reached = any(p["name"] == "focusable" for p in node.get("properties", []))
        structural = role in ("RootWebArea", "main", "generic", "none", "")
        if reached and not structural and not node.get("name", {}).get("value", "").strip():
            found.append(role)
    return found


def test_the_keyboard_reaches_everything_and_reads_the_charts(
    rig: Rig, chromium: Chromium, address: str
) -> None:
    with opened(chromium, address) as page:
        page.until("document.querySelector('.line').getAttribute('d').length > 30")
        page.key("Tab", 9)
        assert page.run("document.activeElement.className") == "skip"
        reached = set()
        for _ in range(60):
            page.key("Tab", 9)
            at = page.run(
                "document.activeElement.id || document.activeElement.className || document.activeElement.name || document.activeElement.tagName"
            )
            reached.add(at)
            outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none" or at in ("percentile", "BODY", "main"), at
        assert {"copy", "plot", "percentile", "events"} <= reached, reached
        page.run("document.querySelector('.plot').focus()")
        page.key("ArrowLeft", 37)
        assert "blue" in page.text(".plot .tip")
        assert "between" in page.run("document.querySelector('.plot').getAttribute('aria-label')")


def test_what_people_write_is_only_ever_text(rig: Rig, chromium: Chromium, address: str) -> None:
    note = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
    with opened(chromium, address) as page, switching(rig, "v2", "--note", note) as number:
        page.says("#now-about", note)
        assert page.run("document.querySelectorAll('main img, main script').length") == 0
        rig.relctl("abort", str(number), "--reason", note)
        page.says(f'details[data-number="{number}"] .chip', "aborted")
        page.says("#now-about", "aborted")
        assert page.run("document.querySelectorAll('main img, main script').length") == 0


def test_a_viewer_sees_everything_and_no_button(
    rig: Rig, chromium: Chromium, bridge: Bridge
) -> None:
    address = bridge(VIEWER)
    with opened(chromium, address) as page:
        page.says("#now-title", "v1 serves every request")
        page.says("#who", VIEWER)
        assert page.run("document.querySelector('meta[name=relctl-token]').content") == ""
        assert page.run("document.querySelectorAll('#acts button').length") == 0


class Evil(BaseHTTPRequestHandler):
    """A page of somebody else's."""

    page = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.page.encode())

    def log_message(self, *args: object) -> None:
        pass


def test_pages_of_others_in_the_same_browser_read_and_change_nothing(
    rig: Rig, chromium: Chromium, address: str
) -> None:
    port = urlsplit(address).port
    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with switching(rig) as number:
            at = f"{address}v1/rollouts/{number}"
            Evil.page = f"""<!doctype html><form method=post enctype=text/plain action="{at}/abort">
                <input name='{{"reason":"' value='"}}'></form><script>
                const json = {{"Content-Type": "application/json"}};
                window.done = Promise.allSettled([
                    fetch("{at}/abort", {{method: "POST", body: "{{}}"}}),
                    fetch("{at}/abort", {{method: "POST", mode: "no-cors", body: "{{}}"}}),
                    fetch("{at}/abort", {{method: "POST", mode: "no-cors", body: new Blob(["{{}}"])}}),
                    fetch("{at}/abort", {{method: "POST", headers: json, body: "{{}}"}}),
                    fetch("{address}v1/status").then((answer) => answer.text()),
                ]).then((all) => all.map((one) => one.status + (one.value?.type ?? "")));
                </script>"""
            evil = chromium.page(f"http://evil.example:{server.server_port}/")
            # Only what the browser hides from the page ever gets as far as an answer.
            assert set(evil.run("window.done")) <= {"rejected", "fulfilledopaque"}
            evil.run("document.forms[0].submit()")
            evil.until(f"location.port === '{port}'")
            assert "foreign-page" in evil.text("body")
            # The name of their server is suddenly ours.
            for name in ("evil.example", "x"):
                rebound = chromium.page(f"http://{name}:{port}/")
                assert "DNS rebinding" in rebound.text("body")
                assert "foreign-page" in rebound.run("fetch('/v1/logs').then((a) => a.text())")
            assert rig.status()["rollout"]["id"] == number
            assert rig.status()["rollout"]["percent"] == 25
    finally:
        server.shutdown()
        server.server_close()
