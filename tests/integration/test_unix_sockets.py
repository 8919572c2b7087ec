"""Apps that listen on {socket}: switched, rolled back and killed under load, with a umask that shuts all out."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reld.nginx.connections import count
from tests.load import Load, Mix
from tests.load.visitors import Visitors
from tests.rig import ROOT, Rig, fast, wait_for

BIN = Path(sys.executable).parent
GUNICORN = (
    f'["{BIN}/gunicorn", "--bind", "unix:{{socket}}", "--umask", "077", "--workers", "2",'
    ' "wsgi:application"]'
)
KNOBS = '["/usr/bin/python3", "knobs.py", "--bind", "unix:{socket}"]'
AT_ONCE = fast(steps=[100], step_time="0s", bake="0s", drain="0s")


def sockets(rig):
    return sorted((rig.runtime / "sockets").glob("*/app.sock"))


async def test_a_server_on_a_unix_socket_is_switched_and_rolled_back_under_load():
    rig = Rig(command=GUNICORN, user=BIN.owner())
    for release in ("v1", "v2"):
        (rig.releases / release).mkdir()
        shutil.copy(ROOT / "tests/apps/wsgi.py", rig.releases / release)
    with rig:
        assert rig.relctl("switch", "v1").code == 0
        mix = Mix(keepalive=0, oneshot=6, http2=0, websockets=0, uploads=0, think=0.02)
        async with Load("127.0.0.1", rig.listen, mix=mix) as load:
            await load.wait_for(50)
            switched = await asyncio.to_thread(rig.relctl, "switch", "v2", "--json")
            assert switched.code == 0, switched.text
            # A reld that is killed takes the socket up where it is.
            await asyncio.to_thread(rig.kill_reld)
            await asyncio.to_thread(rig.start_reld)
            back = await asyncio.to_thread(rig.relctl, "rollback", "--json")
            assert back.code == 0, back.text
            summary = await load.stop()
        assert summary.whole.failed == []
        requests = switched.json["requests"]
        assert requests["green"]["total"] > 0
        assert (requests["green"]["errors"], switched.json["drain"]["cut"]) == (0, 0)
        (instance,) = rig.status()["slots"]["blue"]["instances"]
        assert (instance["port"], rig.status()["release"]) == (None, "v1")
        path = Path(instance["socket"])
        assert path in sockets(rig)
        place = path.parent.stat()
        assert (stat.S_IMODE(place.st_mode), place.st_uid) == (0o750, BIN.stat().st_uid)


def test_a_killed_instance_is_back_on_its_socket_and_no_visitor_notices():
    with Rig(command=KNOBS, instances=2, rest=AT_ONCE) as rig:
        rig.release("v1")
        assert rig.relctl("switch", "v1").code == 0
        before = rig.status()["slots"]["blue"]["instances"]
        with Visitors(rig.listen, rate=100.0, posts=0.0) as visitors:
            visitors.wait_for(20)
            os.kill(before[0]["pid"], signal.SIGKILL)
            now = rig.wait_status(
                lambda s: (
                    s["slots"]["blue"]["instances"][0]["pid"] != before[0]["pid"]
                    and s["slots"]["blue"]["instances"][0]["state"] == "ready"
                )
            )["slots"]["blue"]["instances"]
            visitors.wait_for(20)
            seen = visitors.end()
        assert seen.failed == [], seen.text
        assert [i["socket"] for i in now] == [i["socket"] for i in before]
        assert sockets(rig) == sorted(Path(i["socket"]) for i in now)


def test_an_app_moves_from_its_port_to_a_socket_and_back():
    with Rig(rest=AT_ONCE) as rig:
        for release in ("v1", "v2"):
            rig.release(release)
        assert rig.relctl("switch", "v1").code == 0
        ports = '"knobs.py", "--port", "{port}"'
        text = rig.config.read_text()
        assert ports in text
        rig.config.write_text(text.replace(ports, '"knobs.py", "--bind", "unix:{socket}"'))
        moved = rig.relctl("switch", "v2")
        assert moved.code == 0, moved.text
        (new,) = rig.status()["slots"]["green"]["instances"]
        assert (new["port"], rig.get()[0]) == (None, 200)
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(rig.get, "/slow?seconds=3")
            wait_for(lambda: count([f"unix:{new['socket']}"]) == 1, 5, "it was not asked")
            back = rig.relctl("rollback", "--json")
            assert back.code == 0, back.text
            # Nothing but its connection kept the drain waiting.
            assert (slow.result()[0], back.json["drain"]["cut"]) == (200, 0)
        (old,) = rig.status()["slots"]["blue"]["instances"]
        assert (old["socket"], rig.get()[0]) == (None, 200)


def test_an_app_that_listens_elsewhere_is_told_how_to_listen_on_its_socket():
    command = '["/usr/bin/python3", "-m", "http.server", "0", "--directory", "{socket}"]'
    with Rig(command=command, readiness='path = "/ready"\ndeadline = "800ms"\n') as rig:
        rig.release("v1")
        failed = rig.relctl("switch", "v1")
        assert failed.code == 1
        assert "there is no socket at unix:" in failed.text
        assert "pass {socket} in app.command" in failed.text
