"""[rollout] shadow: requests that are mirrored before any user sees the new release."""

from __future__ import annotations

from reld.config import Config
from reld.config_toml import Findings
from reld.core.policy import STOP_FIRST, WARM

KEY = ("rollout", "shadow")


def check(config: Config, findings: Findings) -> None:
    """Findings about a shadow of nobody."""
    if not config.rollout.shadow or findings.about(KEY, ("rollout", "strategy")):
        return
    if config.rollout.strategy == STOP_FIRST:
        what = "means nothing with stop-first, nobody serves that could be mirrored"
        findings.add(KEY, what, f'shadow = 0, or strategy = "{WARM}"')
