"""What of reld's own environment its children must not see."""

from __future__ import annotations

from collections.abc import Mapping

MARKER = "RELCTL_INSTANCE"
"""Names the instance in its environment: the last means to find a process that hid itself."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_OURS = frozenset(
    {
        "NOTIFY_SOCKET",  # or the app tells systemd that *reld* is ready, or stops
        "MAINPID",
        "MANAGERPID",
        "SYSTEMD_EXEC_PID",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "FDSTORE",
        "MEMORY_PRESSURE_WATCH",
        "MEMORY_PRESSURE_WRITE",
        "STATE_DIRECTORY",
        "RUNTIME_DIRECTORY",
        "LOGS_DIRECTORY",
        "CACHE_DIRECTORY",
        "CONFIGURATION_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
        "VIRTUAL_ENV",
        MARKER,
    }
)
_OURS_BY_START = ("LISTEN_", "WATCHDOG_", "PYTHON", "RELCTL_", "RELD_")


def clean_environment(base: Mapping[str, str]) -> dict[str, str]:
    """A copy of reld's environment without what systemd, Python or a person meant for reld alone."""
    return {
        name: value
        for name, value in base.items()
        if name not in _OURS and not name.startswith(_OURS_BY_START)
    }
