"""Imports point inwards: the core knows nobody, the command line knows nothing of the daemon."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAEMON = ROOT / "daemon"
RELD = DAEMON / "reld"
RELCTL = ROOT / "ctl" / "relctl"

EDGES = {
    "core": ("reld.core",),
    "processes": ("reld.core.model", "reld.errors", "reld.processes"),
    # Facts in, findings out; who gathers them is elsewhere in the doctor.
    "doctor/directives.py": (),
    "doctor/sites.py": ("reld.doctor.directives",),
    "doctor/finding.py": (),
    "doctor/facts.py": ("reld.doctor.sites",),
    "doctor/rules": ("reld.doctor.facts", "reld.doctor.finding", "reld.doctor.sites"),
    # The sensor speaks in the detector's samples.
    "nginx": (
        "reld.core.addresses",
        "reld.core.model",
        "reld.core.verdict.sample",
        "reld.durable",
        "reld.errors",
        "reld.nginx",
    ),
    "probes": (
        "reld.core.model",
        "reld.errors",
        "reld.probes",
        "reld.processes.logs",  # the last lines of the app belong to why a probe failed
        # A probe may be a command, and somebody has to start that.
        "reld.processes.launch",
        "reld.processes.run",
        "reld.processes.spec",
    ),
    "store": ("reld.core.model", "reld.durable", "reld.errors", "reld.store"),
    "api": (
        "reld.core.addresses",
        "reld.core.agreement",
        "reld.core.exchange",
        "reld.core.model",
        "reld.core.offers",
        "reld.core.policy",
        "reld.core.rehearsal_result",
        "reld.core.rehearsal_words",
        "reld.core.rehearsed",
        "reld.core.verdict.finding",
        "reld.core.verdict.settings",
        "reld.core.verdict.words",
        "reld.core.workers",
        "reld.errors",
        "reld.newlines.news",
        "reld.store.rows",
        "reld.api",
        "reld",
    ),
    "errors.py": (),
    "config.py": ("reld.core.policy", "reld.core.verdict.settings"),
    "config_toml.py": ("reld.errors",),
    "config_values.py": ("reld.config", "reld.config_toml", "reld.errors"),
    "config_gate.py": ("reld.config", "reld.config_toml", "reld.config_values"),
    "config_metrics.py": ("reld.config_values",),
    "config_notify.py": ("reld.config", "reld.config_toml", "reld.config_values"),
    "config_shadow.py": ("reld.config", "reld.config_toml", "reld.core.policy"),
    "config_surge.py": ("reld.config", "reld.config_toml", "reld.core.policy"),
    "config_releases.py": ("reld.config", "reld.config_toml", "reld.config_values"),
    "config_steps.py": ("reld.config", "reld.config_values", "reld.core.agreement"),
    # What it refuses is what the gate could not show.
    "config_streams.py": (
        "reld.config",
        "reld.config_toml",
        "reld.config_values",
        "reld.core.policy",
        "reld.errors",
        "reld.nginx.pages",
        "reld.nginx",
    ),
    "newlines": ("reld.newlines",),
    "unpack": ("reld.unpack",),
    "config_file.py": (
        "reld.config",
        "reld.config_gate",
        "reld.config_metrics",
        "reld.config_notify",
        "reld.config_releases",
        "reld.config_shadow",
        "reld.config_steps",
        "reld.config_streams",
        "reld.config_surge",
        "reld.config_toml",
        "reld.config_values",
        "reld.core.policy",
        "reld.errors",
    ),
    "metrics": (
        "reld.alerts",
        "reld.api.service",
        "reld.api.status",
        "reld.aside",
        "reld.core.model",
        "reld.core.verdict.finding",
        "reld.errors",
        "reld.metrics",
        "reld",
    ),
    # One idea of what happened: the journal's.
    "telling": (
        "reld.alerts",
        "reld.config",
        "reld.core.model",
        "reld.durable",
        "reld.errors",
        "reld.metrics.facts",
        "reld.metrics.scrape",
        "reld.narrate",
        "reld.processes",
        "reld.telling",
        "reld",
    ),
    "planning": (
        "reld.config",
        "reld.core",
        "reld.errors",
        "reld.outlook",
        "reld.planning",
        "reld.snapshot",
        "reld",
    ),
    "engine.py": ("reld.core", "reld.errors", "reld.failpoints"),
    "failpoints.py": (),
    "durable.py": (),
    "narrate.py": (
        "reld.core.addresses",
        "reld.core.agreement",
        "reld.core.exchange",
        "reld.core.model",
        "reld.core.rehearsal_words",
        "reld.core.shadow_words",
        "reld.core.verdict.finding",
    ),
}
"""What each part may import of reld; `from reld import x` counts as `reld.x`."""

PURE = {"__future__", "collections", "dataclasses", "enum", "typing", "math", "itertools"}


def sources(where):
    return [where] if where.suffix == ".py" else sorted(where.rglob("*.py"))


def imports(path):
    """Every module that a file imports, with `from package import module` spelled out."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield _module(f"{node.module}.{alias.name}", node.module or "")


def _module(longer, shorter):
    at = (DAEMON if longer.startswith("reld.") else ROOT / "ctl") / Path(*longer.split("."))
    return longer if at.is_dir() or at.with_suffix(".py").exists() else shorter


def inside(module, allowed):
    return any(module == a or module.startswith(f"{a}.") for a in allowed if a != "reld") or (
        module == "reld" and "reld" in allowed
    )


@pytest.mark.parametrize("part", EDGES)
def test_imports_point_inwards(part):
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(RELD / part)
        for module in imports(path)
        if module.split(".")[0] in {"reld", "relctl"} and not inside(module, EDGES[part])
    ]
    assert wrong == []


def test_the_core_is_pure():
    """No clock, no disk, no network, no chance: not even within reach."""
    outside = {
        f"{path.name}: {module}"
        for path in sources(RELD / "core")
        for module in imports(path)
        if module.split(".")[0] not in PURE | {"reld"}
    }
    assert outside == set()


def test_the_command_line_needs_nothing_but_click():
    outside = {
        f"{path.name}: {module}"
        for path in sources(RELCTL)
        for module in imports(path)
        if module.split(".")[0] not in sys.stdlib_module_names | {"relctl", "click"}
    }
    assert outside == set()


def test_nothing_but_the_top_imports_the_engine():
    users = {
        str(path.relative_to(RELD))
        for path in sources(RELD)
        if any(module == "reld.engine" for module in imports(path))
    }
    assert all(u in {"daemon.py", "service.py"} or u.startswith("host/") for u in users), users
