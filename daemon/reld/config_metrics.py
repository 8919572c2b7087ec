"""Reader of `[metrics]`: the file that node_exporter reads."""

from __future__ import annotations

import re
from typing import Any

from reld.config_values import WrongError, absolute, show

_EXPECTED = 'an absolute path that ends in .prom, such as "/var/lib/prometheus/node-exporter/relctl-web.prom"'


def textfile(value: Any) -> str:
    """node_exporter reads only what ends in .prom."""
    path = absolute(value)
    if not re.search(r"[^/]\.prom\Z", path) or ".." in path.split("/"):
        raise WrongError(f"{show(value)} is no file that node_exporter reads", _EXPECTED)
    return path
