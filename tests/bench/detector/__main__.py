"""See the package."""

from __future__ import annotations

import argparse
import sys

from tests.bench.detector import measure
from tests.bench.verdicts import table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.detector")
    parser.add_argument("--runs", type=int, help="of each scenario, at most")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="scenarios with it in their name"
    )
    arguments = parser.parse_args()
    found = measure(arguments.runs, arguments.only)
    print(table(found))
    sys.exit(1 if any(line.broken for line in found) else 0)
