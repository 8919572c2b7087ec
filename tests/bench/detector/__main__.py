"""See the package."""

from __future__ import annotations

import argparse
import sys

from tests.bench.detector import measure
from tests.bench.verdicts import table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.detector")
    parser.add_argument("--runs", type=int, help="of each scenario, at most")
    found = measure(parser.parse_args().runs)
    print(table(found))
    sys.exit(1 if any(line.broken for line in found) else 0)
