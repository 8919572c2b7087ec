"""`relctl status`: what runs, what goes on, and what to type next."""

from __future__ import annotations

from relctl import measured, shadow
from relctl.text import NONE, clean, duration, labelled, local, table, way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def trouble(status: dict[str, Any]) -> str | None:
    """Why `status --check` is not content; None = it is."""
    if status.get("degraded"):
        return clean(status["degraded"])
    if not status.get("live"):
        return "nothing is live"
    instances = (slots(status).get(status["live"]) or {}).get("instances") or []
    if instances and not any(instance.get("state") == "ready" for instance in instances):
        return f"no instance of the live slot ({clean(status['live'])}) is ready"
    return None


def running(status: dict[str, Any]) -> dict[str, Any] | None:
    """The rollout that goes on; reld may show one that has just ended, too."""
    rollout = status.get("rollout")
    if not isinstance(rollout, dict) or rollout.get("outcome"):
        return None
    return rollout


def slots(status: dict[str, Any]) -> dict[str, Any]:
    found = status.get("slots")
    return found if isinstance(found, dict) else {}


def lines(status: dict[str, Any]) -> list[str]:
    live = status.get("live")
    release = status.get("release")
    rollout = status.get("rollout")
    shown = f"{clean(release)} ({clean(live)})" if live else "nothing: the gate answers 503"
    head = labelled(
        (
            ("app", clean(status.get("app") or NONE)),
            ("live", shown),
            ("rollout", _rollout(rollout) if rollout else "none"),
            ("on duty", clean(rollout.get("on_duty") or "") if rollout else ""),
            ("waiting", clean(rollout.get("waiting") or "") if rollout else ""),
            ("verdict", _verdict(rollout) if rollout else ""),
            ("shadow", shadow.line(rollout.get("shadow")) if rollout else ""),
            ("skipped", _skipped(rollout) if rollout else ""),
            ("warm", clean(rollout.get("warm") or "") if rollout else ""),
            ("degraded", clean(status.get("degraded") or "")),
            ("config", clean(status.get("config") or "")),
            ("follow", _follow(status.get("follow"))),
            ("maintenance", closed(status.get("maintenance"))),
            ("rehearsal", _rehearsal(status.get("rehearsal"))),
        )
    )
    traffic = measured.lines(slots(status))
    if traffic:
        traffic = ["", *traffic]
    return [*head, "", *_slots(status), *traffic, "", f"next: {next_words(status)}"]


def _follow(follow: Any) -> str:
    """The link that says which release is to be live, and where it is not so."""
    if not isinstance(follow, dict):
        return ""
    said = f"{clean(follow.get('link'))}: {clean(follow.get('state'))}"
    return f"{said}, {clean(follow['why'])}" if follow.get("why") else said


def _rehearsal(found: Any) -> str:
    if not found:
        return ""
    from relctl import rehearsed

    return rehearsed.line(found)


def closed(maintenance: Any) -> str:
    """One line of a status's "maintenance"; empty = there is none."""
    if not isinstance(maintenance, dict):
        return ""
    parts = ["on"]
    if maintenance.get("since"):
        parts.append(f"since {local(maintenance['since'])}")
    if maintenance.get("by"):
        parts.append(f"by {clean(maintenance['by'])}")
    said = " ".join(parts)
    if maintenance.get("reason"):
        said += f": {clean(maintenance['reason'])}"
    allowed = [clean(one) for one in maintenance.get("allow") or []]
    if allowed:
        said += f"; open to {', '.join(allowed)}"
    if isinstance(hold := maintenance.get("hold"), int | float) and hold:
        said += f"; requests wait, for {hold:g} s at most"
    return said if maintenance.get("in_effect", True) else f"{said}; the gate does not obey yet"


def against(evidence: Any) -> str:
    """How much there is against the candidate, in percent of what a verdict needs."""
    errors, slowness = (float(evidence.get(k) or 0.0) for k in ("errors", "slowness"))
    most = max(errors, slowness)
    if most < 0.005:
        return "0 %"
    return f"{most:.0%} ({'errors' if errors >= slowness else 'slowness'})".replace("%", " %")


def _rollout(rollout: dict[str, Any]) -> str:
    parts = [clean(rollout.get("outcome") or rollout.get("phase") or NONE)]
    if rollout.get("percent") is not None:
        parts.append(f"{rollout['percent']} %")
    if rollout.get("paused"):
        parts.append("paused")
    if rollout.get("phase") == "draining" and rollout.get("streams"):
        parts.append(f"{clean(rollout['streams'])} websockets left")
    if rollout.get("eta") is not None:
        parts.append(f"about {duration(float(rollout['eta']))} left")
    if rollout.get("turned_away"):
        parts.append(f"{clean(rollout['turned_away'])} turned away with a 503")
    if rollout.get("reason"):
        parts.append(clean(rollout["reason"]))
    who = f" by {clean(rollout['actor'])}" if rollout.get("actor") else ""
    kind = clean(rollout.get("kind") or "rollout")
    moves = way(rollout.get("from"), rollout.get("to"))
    return f"{rollout.get('id')} {kind} {moves}{who}: {', '.join(parts)}"


def _verdict(rollout: dict[str, Any]) -> str:
    evidence = rollout.get("evidence")
    if not isinstance(evidence, dict) or not rollout.get("percent"):
        return ""
    parts = [clean(rollout.get("verdict") or evidence.get("verdict") or NONE)]
    said = evidence.get("sentence") or evidence.get("known")
    if said:
        parts.append(clean(said))
    return ": ".join(parts) + f"; evidence {against(evidence)}"


def _skipped(rollout: dict[str, Any]) -> str:
    steps = ", ".join(f"{clean(step)} %" for step in rollout.get("skipped") or [])
    return f"{steps}: too few requests to show anything" if steps else ""


def _slots(status: dict[str, Any]) -> list[str]:
    rows: list[list[object]] = []
    for color, found in slots(status).items():
        slot = found or {}
        share = f"{slot['percent']} %" if slot.get("percent") is not None else NONE
        first: list[object] = [
            color,
            slot.get("release") or NONE,
            slot.get("state") or "empty",
            share,
        ]
        for instance in slot.get("instances") or [{}]:
            rows.append(
                [
                    *first,
                    _instance(instance),
                    instance.get("pid") or NONE,
                    instance.get("port") or ("socket" if instance.get("socket") else NONE),
                    NONE if instance.get("restarts") is None else instance["restarts"],
                ]
            )
            first = ["", "", "", ""]
        rows += [_worker(worker) for worker in slot.get("workers") or []]
    head = ("SLOT", "RELEASE", "STATE", "SHARE", "INSTANCE", "PID", "PORT", "RESTARTS")
    return table(head, rows)


def _worker(worker: dict[str, Any]) -> list[object]:
    which = f"{worker.get('name') or NONE} {worker.get('index') or ''}".rstrip()
    state = f"{clean(which)}: {clean(worker.get('state') or NONE)}"
    return ["", "", "", "", state, worker.get("pid") or NONE, NONE, worker.get("restarts", NONE)]


def _instance(instance: dict[str, Any]) -> str:
    """Adopted: an earlier reld started it, this one took it over as it was."""
    state = clean(instance.get("state") or NONE)
    return f"{state}, adopted" if instance.get("adopted") else state


def can(status: dict[str, Any], command: str) -> bool:
    """Whether reld would not refuse it now; an older reld does not say, and is asked by typing it."""
    known = status.get("can")
    return command in known if isinstance(known, list) else True


def next_words(status: dict[str, Any]) -> str:
    """What to type now: nothing that would be refused."""
    rollout = running(status)
    if rollout is not None:
        number = rollout.get("id")
        abort = [f"relctl abort {number}"] if can(status, "abort") else []
        if rollout.get("approval") == "awaited":
            words = [f"relctl approve {number} (another person)", *abort]
        elif isinstance(asks := rollout.get("asks"), dict):
            whose = " (an approver)" if asks.get("of") == "approver" else ""
            words = [f"relctl promote {number}{whose}", *abort]
        else:
            steer = "resume" if rollout.get("paused") else "pause"
            steers = [f"relctl {steer}"] if can(status, steer) else []
            words = [f"relctl watch {number}", *steers, *abort]
        return " · ".join(words)
    if status.get("maintenance"):
        return "relctl maintenance off"
    back = ["relctl rollback"] if can(status, "rollback") else []
    if status.get("degraded"):
        logs = ["relctl logs"] if status.get("live") else []
        return " · ".join(["relctl history", *logs, *back])
    if not status.get("live"):
        return "relctl switch RELEASE" + (" · relctl start" if can(status, "start") else "")
    return " · ".join(["relctl switch RELEASE", *back, "relctl history"])


def headline(status: dict[str, Any]) -> str:
    """The present state in one line."""
    rollout = running(status)
    if rollout is not None:
        said = f"rollout {_rollout(rollout)}"
        return f"{said}, waiting: {clean(rollout['waiting'])}" if rollout.get("waiting") else said
    live = status.get("live")
    said = f"{clean(status.get('release'))} ({clean(live)}) is live" if live else "nothing is live"
    return f"{said}; degraded: {clean(status['degraded'])}" if status.get("degraded") else said
