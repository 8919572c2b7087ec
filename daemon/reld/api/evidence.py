"""What the watch of a rollout found, as objects of a status and of a receipt. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from reld.core.model import Counts, Rollout


def evidence(rollout: Rollout) -> dict[str, Any]:
    """The verdict and what it rests on.

    "errors" and "slowness": 0 … 1 of what a verdict needs. "odds": by chance once in so many
    releases, 0 without a verdict. "observed": what a verdict that may not act would have gone
    back for. "share": percent that the candidate had when it went back, 0 if it did not.
    """
    finding = rollout.watch.finding
    return {
        "verdict": str(finding.verdict),
        "sentence": finding.sentence,
        "known": finding.known,
        "errors": round(finding.errors, 4),
        "slowness": round(finding.slowness, 4),
        "odds": finding.odds,
        "observed": rollout.observed,
        "share": rollout.turned_at,
    }


def requests(counts: Counts) -> dict[str, int]:
    """What one slot was asked.

    "errors" reached a user; "failures" are first attempts that failed, "saved" those of them that
    the other slot made good.
    """
    return {
        "total": counts.total,
        "errors": counts.errors,
        "failures": counts.failures,
        "saved": counts.saved,
    }


def judged_by(rollout: Rollout) -> dict[str, Any]:
    """The settings of the verdict: fractions of 1, and seconds."""
    settings = asdict(rollout.policy.verdict)
    return {**settings, "routes": list(settings["routes"])}
