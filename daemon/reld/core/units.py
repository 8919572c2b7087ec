"""What the plain units of an eject are called."""

from __future__ import annotations


def plain_name(unit: str, port: int, instances: int) -> str:
    """Without ".service". One instance has the name alone; of several each has its port in it."""
    return unit if instances == 1 else f"{unit}-{port}"


def may_be_called(unit: str, app: str) -> bool:
    """Whether an operator, who is not root, may give the app's plain unit this name.

    Any other could be that of a unit which is not installed yet, or which systemd knows by its name
    (syslog.service), or of a file that other programs read (/etc/default/locale).
    """
    return unit == app or unit.startswith(f"{app}-")
