"""Fuzzing on one command line, with a count.

    python -m tests.fuzz [--inputs N] [--seed S] [--only PART …]

N inputs for each part. Ends with 1 if one of them found a bug.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import time

PARTS = ("config", "log", "state", "sites", "lines", "projects", "strangers", "api")
_MODULES = {"log": "request_log"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="hostile inputs")
    parser.add_argument("--inputs", type=int, default=25_000, metavar="N", help="for each part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    asked = parser.parse_args()
    logging.disable()
    inputs, bugs = 0, 0
    for part in asked.only:
        module = importlib.import_module(f"tests.fuzz.{_MODULES.get(part, part)}")
        began = time.monotonic()
        counted = module.run(asked.inputs, asked.seed)
        print(f"{part:<9} {counted}, {time.monotonic() - began:.0f} s", flush=True)
        for bug in counted.bugs:
            print(f"    {bug[:2000]}", file=sys.stderr)
        inputs, bugs = inputs + counted.inputs, bugs + len(counted.bugs)
    print(f"in all    {inputs} inputs, {bugs} bugs, seed {asked.seed}")
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main())
