"""Text exposition for Prometheus, by hand: small, and without a client library."""

from __future__ import annotations

from reld import __version__
from reld.api.service import Vitals
from reld.api.status import degraded, share, slot_word
from reld.core.model import Color, Phase, Rollout, State
from reld.core.verdict.finding import Verdict

CONTENT_TYPE = "text/plain; version=0.0.4"


def metrics(state: State, vitals: Vitals) -> str:
    """One sample a line. Every name begins with `reld_`."""
    app = {"app": state.app}
    out = _Page()
    out.family("reld_up", "gauge", "1 while reld answers.")
    out.sample("reld_up", 1, **app, version=__version__)
    out.family("reld_degraded", "gauge", "1 while something needs attention.")
    out.sample("reld_degraded", int(degraded(state, vitals.damage) is not None), **app)
    out.family("reld_live_info", "gauge", "The slot and release that are live.")
    default = state.gate.verified.routing.default
    if default is not None:
        out.sample("reld_live_info", 1, **app, slot=default.color, release=default.release)
    out.family("reld_slot_percent", "gauge", "Share of the requests that the slot gets.")
    for color in Color:
        word = slot_word(state, color)
        out.sample("reld_slot_percent", share(state, color), **app, slot=color, state=word)
    out.family("reld_slot_requests_per_second", "gauge", "Requests that the slot gets lately.")
    for color in Color:
        rate = vitals.slot(color).rate
        if rate is not None:
            out.sample("reld_slot_requests_per_second", rate, **app, slot=color)
    rollout = state.rollout
    out.family("reld_rollout_phase", "gauge", "1 for the phase of the running rollout.")
    for phase in Phase:
        here = int(rollout is not None and rollout.phase is phase)
        out.sample("reld_rollout_phase", here, **app, phase=phase)
    if rollout is not None:
        _rollout(out, rollout, app)
    out.family("reld_gate_generation", "gauge", "Generation of the verified gate config.")
    out.sample("reld_gate_generation", state.gate.verified.generation, **app)
    return out.text()


def _rollout(out: _Page, rollout: Rollout, app: dict[str, str]) -> None:
    # Gauges: they begin again at 0 with every rollout.
    counted = ((Color.BLUE, rollout.blue), (Color.GREEN, rollout.green))
    out.family("reld_rollout_requests", "gauge", "Requests since the rollout began.")
    for color, counts in counted:
        fine = counts.total - counts.errors
        out.sample("reld_rollout_requests", fine, **app, slot=color, result="ok")
        out.sample("reld_rollout_requests", counts.errors, **app, slot=color, result="error")
    out.family("reld_rollout_failures", "gauge", "First attempts that failed.")
    for color, counts in counted:
        out.sample("reld_rollout_failures", counts.failures, **app, slot=color)
    out.family("reld_rollout_saved", "gauge", "Failed attempts that the other slot made good.")
    for color, counts in counted:
        out.sample("reld_rollout_saved", counts.saved, **app, slot=color)
    out.family("reld_rollout_turned_away", "gauge", "Requests that got the announced 503.")
    out.sample("reld_rollout_turned_away", rollout.turned_away, **app)
    finding = rollout.watch.finding
    out.family("reld_rollout_verdict", "gauge", "1 for the verdict on the candidate.")
    for verdict in Verdict:
        out.sample("reld_rollout_verdict", int(finding.verdict is verdict), **app, verdict=verdict)
    out.family("reld_rollout_evidence", "gauge", "Evidence against it; 1 is a verdict.")
    out.sample("reld_rollout_evidence", round(finding.errors, 4), **app, kind="errors")
    out.sample("reld_rollout_evidence", round(finding.slowness, 4), **app, kind="slowness")


class _Page:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, about: str) -> None:
        self._lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]

    def sample(self, name: str, value: float, **labels: str) -> None:
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self._lines.append(f"{name}{{{shown}}} {value}")

    def text(self) -> str:
        return "\n".join([*self._lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
