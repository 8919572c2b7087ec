"""`relctl logs --new` with a real reld: while the rollout runs, over a kill of reld, and afterwards."""

from __future__ import annotations

from typing import Any

from tests.rig import HELD, Rig

TRACE = """Traceback (most recent call last):
  File "shop.py", line 7, in save
    phone = order["phone"]
KeyError: 'phone'
"""


def said(rig: Rig, release: str, text: str) -> None:
    with (rig.state / "logs" / f"{release}.log").open("a") as log:
        log.write(text)


def found(status: dict[str, Any]) -> list[tuple[str, int]]:
    news = (status["rollout"] or {}).get("new_lines") or {"top": []}
    return [(kind["text"], kind["count"]) for kind in news["top"]]


def test_what_only_the_candidate_writes_is_told_while_it_runs_and_in_its_receipt() -> None:
    with Rig(rest=HELD) as rig:
        rig.live_v1("v2")
        said(rig, "v1", "INFO order 1 saved in 12ms\n" * 3)
        assert rig.relctl("switch", "v2", "--no-wait").code == 0
        rig.wait_share(5)
        said(rig, "v2", "INFO order 2 saved in 7ms\n" + TRACE * 3)
        wanted = [("KeyError: 'phone' (traceback, 1 deep)", 3)]
        rig.wait_status(lambda s: found(s) == wanted)
        rig.kill_reld()
        rig.start_reld()
        rig.wait_status(lambda s: found(s) == wanted)
        shown = rig.relctl("logs", "--new").out
        assert "3      error  KeyError: 'phone' (traceback, 1 deep)" in shown, shown
        rig.relctl("abort")
        rig.wait_idle()
        account = rig.receipt(2)["new_lines"]
        assert account["top"][0] == {"text": wanted[0][0], "count": 3, "level": "error"}
        assert rig.relctl("logs", "--new", "2", "--json").json["new_lines"] == account
        first = rig.relctl("logs", "--new", "1")
        assert "not known" in first.out, first.text
        assert rig.relctl("logs", "--new", "9").code != 0
        assert "cannot use --new together with" in rig.relctl("logs", "green", "--new").text
