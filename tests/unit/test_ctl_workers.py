"""What relctl says of workers, to people."""

from __future__ import annotations

from typing import Any

from relctl import receipt, status
from relctl.text import NONE


def slot(**more: Any) -> dict[str, Any]:
    instance = {"pid": 41, "port": 21001, "state": "ready", "restarts": 0}
    return {"state": "live", "release": "v1", "percent": 100, "instances": [instance], **more}


def shown(**more: Any) -> list[str]:
    found = {"app": "web", "live": "blue", "release": "v1", "slots": {"blue": slot(**more)}}
    return status.lines(found)


def test_status_has_a_line_for_each_worker_below_the_instances_of_its_slot() -> None:
    workers = [
        {"name": "queue", "index": 0, "pid": 51, "state": "running", "restarts": 0},
        {"name": "queue", "index": 1, "pid": None, "state": "wanted", "restarts": 3},
    ]
    lines = shown(workers=workers)
    at = next(n for n, line in enumerate(lines) if line.startswith("blue"))
    assert lines[at + 1].split() == ["queue:", "running", "51", NONE, "0"]
    assert lines[at + 2].split() == ["queue", "1:", "wanted", NONE, NONE, "3"]


def test_a_status_of_an_older_reld_has_none() -> None:
    assert shown() == shown(workers=[])


def test_a_receipt_says_in_which_order_they_moved() -> None:
    moves = [
        {"worker": "cron", "release": "v1", "what": "stopped", "at": "2026-11-23T20:00:00Z"},
        {"worker": "cron", "release": "v2", "what": "started", "at": "2026-11-23T20:00:01Z"},
    ]
    told = dict(receipt._pairs({"id": 2, "workers": moves}, None))
    assert told["workers"] == "cron of v1 stopped, cron of v2 started"
    assert dict(receipt._pairs({"id": 2}, None))["workers"] == ""
