"""The servers that people really run: gunicorn and uvicorn, switched and stopped by their own habits."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import pytest

from tests.load import Load, Mix
from tests.rig import ROOT, Rig

BIN = Path(sys.executable).parent
SERVERS = {
    "gunicorn": f'["{BIN}/gunicorn", "--bind", "127.0.0.1:{{port}}", "--workers", "2", "wsgi:application"]',
    "uvicorn": f'["{BIN}/uvicorn", "--host", "127.0.0.1", "--port", "{{port}}", "asgi:application"]',
}


def with_server(name: str) -> Rig:
    return Rig(command=SERVERS[name], user=BIN.owner())  # the venv may be its owner's alone


@pytest.mark.parametrize("server", sorted(SERVERS))
async def test_a_release_of_a_real_server_is_switched_and_rolled_back_under_load(server):
    rig = with_server(server)
    for release in ("v1", "v2"):
        (rig.releases / release).mkdir()
        for app in ("wsgi.py", "asgi.py"):
            shutil.copy(ROOT / "tests" / "apps" / app, rig.releases / release)
    with rig:
        assert rig.relctl("switch", "v1").code == 0
        mix = Mix(keepalive=0, oneshot=6, http2=0, websockets=0, uploads=0, think=0.02)
        async with Load("127.0.0.1", rig.listen, mix=mix) as load:
            await load.wait_for(50)
            switched = await asyncio.to_thread(rig.relctl, "switch", "v2", "--json")
            assert switched.code == 0, switched.text
            back = await asyncio.to_thread(rig.relctl, "rollback", "--json")
            assert back.code == 0, back.text
            summary = await load.stop()
        assert summary.whole.failed == []
        assert switched.json["requests"]["green"]["total"] > 0
        assert switched.json["requests"]["green"]["errors"] == 0
        assert rig.status()["release"] == "v1"
