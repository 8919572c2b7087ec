"""`make test-monitoring`: promtool judges the scrape of a real reld and every query of the dashboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.rig import Rig
from tests.scrape import DASHBOARD, queries, scraped


def main() -> int:
    tool = os.environ["PROMTOOL"]
    with Rig() as rig:
        rig.live_v1("v2")
        for _ in range(50):
            rig.get("/")
        switched = rig.relctl("switch", "v2")
        assert switched.code == 0, switched.text
        page = scraped(rig)
    told = subprocess.run([tool, "check", "metrics"], input=page, capture_output=True, check=False)
    sys.stdout.buffer.write(told.stdout + told.stderr)
    fine = told.returncode == 0 and not told.stderr.strip()
    rules = [
        {"record": f"panel:number_{number}", "expr": query}
        for number, query in enumerate(queries(DASHBOARD))
    ]
    path = Path(tool).with_name("queries.yml")
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run([tool, "check", "rules", path], check=False)
    print(f"{'fine' if fine else 'NOT FINE'}: {len(page.splitlines())} lines of metrics")
    return 0 if fine and checked.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
