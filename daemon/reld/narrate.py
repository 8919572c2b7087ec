"""What changed between two states, in words that people read in `switch`, `watch` and the log. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reld.core.model import HookState, InstanceState, Kind, Phase, Rollout, State


@dataclass(frozen=True, slots=True)
class News:
    event: str
    text: str
    rollout: int | None


def narrate(before: State, after: State) -> list[News]:
    """In the order in which people want to hear it."""
    running = after.rollout or before.rollout
    number = running.id if running is not None else None
    news = [News("instance", text, number) for text in _instances(before, after)]
    if after.rollout is not None:
        old = before.rollout if before.rollout and before.rollout.id == number else None
        news += [News(e, t, number) for e, t in _rollout(old, after.rollout)]
    if before.gate.verified != after.gate.verified:
        generation = after.gate.verified.generation
        news.append(News("gate", f"the gate serves generation {generation}", number))
    if after.gate.trouble != before.gate.trouble and after.gate.trouble:
        news.append(News("gate", f"the gate: {after.gate.trouble}", number))
    if after.lanes_trouble != before.lanes_trouble and after.lanes_trouble:
        news.append(News("degraded", after.lanes_trouble, number))
    if after.store_trouble != before.store_trouble:
        text = after.store_trouble or "the state can be saved again"
        news.append(News("degraded", text, number))
    return news


def _instances(before: State, after: State) -> list[str]:
    old = {i.number: i for s in before.slots for i in s.instances}
    texts = []
    for slot in after.slots:
        of = f"{slot.release} ({slot.color})"
        for instance in slot.instances:
            had = old.get(instance.number)
            if had is not None and had.state is instance.state:
                continue
            name = f"instance {instance.index} of {of}"
            pid = f", pid {instance.identity.pid}" if instance.identity else ""
            match instance.state:
                case InstanceState.STARTING:
                    where = instance.address.removeprefix("127.0.0.1:")
                    texts.append(f"{name} started on port {where}{pid}")
                case InstanceState.READY:
                    texts.append(f"{name} is ready")
                case InstanceState.UNREADY:
                    texts.append(f"{name} is not ready any more: {_line(instance.detail)}")
                case InstanceState.KILLING if instance.exit is not None and not instance.started_at:
                    texts.append(f"{name} could not be started")
                case InstanceState.KILLING if instance.exit is not None:
                    texts.append(f"{name} exited: {instance.exit}")
                case InstanceState.KILLING:
                    texts.append(f"{name} is killed: stop_timeout is over")
                case InstanceState.STOPPING:
                    texts.append(f"{name} is being stopped")
                case _:
                    pass
    return texts


def _rollout(old: Rollout | None, new: Rollout) -> list[tuple[str, str]]:
    news: list[tuple[str, str]] = []
    if old is None or old.phase is not new.phase:
        news.append(("phase", _phase(new)))
    if new.share != (old.share if old is not None else 0) and new.share:
        news.append(("step", f"{new.to} has {new.share} % of the traffic"))
    if new.share == 0 and old is not None and old.share:
        news.append(("step", f"{new.from_} has all the traffic again"))
    if new.waiting and (old is None or old.waiting != new.waiting):
        news.append(("waiting", f"waiting: {new.waiting}"))
    had = {(h.name, h.attempt): h.state for h in old.hooks} if old is not None else {}
    for hook in new.hooks:
        if had.get((hook.name, hook.attempt)) is hook.state:
            continue
        match hook.state:
            case HookState.RUNNING:
                news.append(("hook", f"hook {hook.name} runs"))
            case HookState.DONE:
                news.append(("hook", f"hook {hook.name} is done"))
            case HookState.FAILED:
                news.append(("hook", f"hook {hook.name} failed: {_line(hook.detail)}"))
    return news


def _phase(rollout: Rollout) -> str:
    to, from_, policy = rollout.to, rollout.from_ or "nothing", rollout.policy
    match rollout.phase:
        case Phase.PREPARING:
            return f"preparing {to}"
        case Phase.STARTING:
            return f"starting {policy.slot.instances} × {to} beside {from_}"
        case Phase.PROVING:
            return f"{to} is ready: proving it before any user sees it"
        case Phase.ADMITTING:
            return f"admitting {to} to the gate at 0 %"
        case Phase.SHIFTING:
            return f"shifting traffic from {from_} to {to}"
        case Phase.BAKING:
            return f"baking: all traffic on {to}, {from_} stays warm for {policy.bake:g} s"
        case Phase.COMMITTING if rollout.kind is Kind.STOP:
            return f"taking {from_} out of the gate"
        case Phase.COMMITTING:
            return f"committing to {to}"
        case Phase.REVERTING:
            return f"going back to {from_}: {_line(rollout.reason)}"
        case Phase.DRAINING:
            return f"draining: at least {policy.drain:g} s"
        case Phase.STOPPING:
            why = f": {_line(rollout.reason)}" if rollout.outcome and rollout.reason else ""
            return f"stopping the slot that left{why}"
        case Phase.FINISHING:
            return "finishing"


def _line(text: str) -> str:
    return text.partition("\n")[0]
