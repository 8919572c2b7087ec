"""What the plain units of an eject are called."""

from __future__ import annotations


def plain_name(unit: str, port: int, instances: int) -> str:
    """Without ".service". One instance has the name alone; of several each has its port in it."""
    return unit if instances == 1 else f"{unit}-{port}"
