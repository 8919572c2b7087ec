"""[rollout] surge: how many processes more than usual may run while two releases change places."""

from __future__ import annotations

from reld.config import Config
from reld.config_toml import Findings
from reld.core.policy import STOP_FIRST, WARM

KEY = ("rollout", "surge")


def check(config: Config, findings: Findings) -> None:
    """Findings about a surge that there is no room for, or no sense in."""
    surge, count = config.rollout.surge, config.app.instances
    if not surge or findings.about(KEY, ("rollout", "strategy"), ("app", "instances")):
        return
    if config.rollout.strategy == STOP_FIRST:
        what = "a surge needs room for more processes, and stop-first stops the old ones before"
        findings.add(KEY, what, f'surge = 0, or strategy = "{WARM}"')
    elif surge > count:
        expected = f"at most {count}: then all of them run beside the old ones"
        findings.add(KEY, f"{surge} is more than instances = {count}", expected)
