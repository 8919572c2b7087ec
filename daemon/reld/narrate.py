"""What changed between two states, in words that people read in `switch`, `watch` and the log. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reld.core import agreement, exchange, rehearsal_words, shadow_words
from reld.core.addresses import socket_path
from reld.core.model import HookState, Instance, InstanceState, Kind, Phase, Rollout, Slot, State
from reld.core.verdict.finding import Finding, Verdict


@dataclass(frozen=True, slots=True)
class News:
    """`slot` and `release`: what it is about, "" = no one of them."""

    event: str
    text: str
    rollout: int | None
    slot: str = ""
    release: str = ""


def narrate(before: State, after: State) -> list[News]:
    """In the order in which people want to hear it."""
    running = after.rollout or before.rollout
    number = running.id if running is not None else None
    news = [
        News("instance", text, number, slot.color, slot.release)
        for slot, text in _instances(before, after)
    ]
    if after.rollout is not None:
        old = before.rollout if before.rollout and before.rollout.id == number else None
        to, slot = after.rollout.to, after.rollout.candidate or ""
        news += [News(e, t, number, slot, to) for e, t in _rollout(old, after.rollout)]
    warm = exchange.warm_now(after)
    if warm and _bakes(after) and not _bakes(before):
        news.append(News("warm", warm, number))
    if before.gate.verified != after.gate.verified:
        generation = after.gate.verified.generation
        news.append(News("gate", f"the gate serves generation {generation}", number))
    if after.gate.trouble != before.gate.trouble and after.gate.trouble:
        news.append(News("gate", f"the gate: {after.gate.trouble}", number))
    if after.maintenance != before.maintenance:
        news.append(News("maintenance", _maintenance(after), number))
    if after.lanes_trouble != before.lanes_trouble and after.lanes_trouble:
        news.append(News("degraded", after.lanes_trouble, number))
    if after.store_trouble != before.store_trouble:
        text = after.store_trouble or "the state can be saved again"
        news.append(News("degraded", text, number))
    return news


def _bakes(state: State) -> bool:
    return state.rollout is not None and state.rollout.phase is Phase.BAKING


def _maintenance(after: State) -> str:
    now = after.maintenance
    if now is None:
        return "the maintenance is over"
    by = f" by {now.actor}" if now.actor else ""
    what = f"requests wait for up to {now.closed.hold:g} s" if now.closed.hold else "maintenance"
    return f"{what}{by}" + (f": {now.reason}" if now.reason else "")


def _instances(before: State, after: State) -> list[tuple[Slot, str]]:
    old = {i.number: i for s in before.slots for i in s.processes}
    told: list[tuple[Slot, str]] = []
    for slot in after.slots:
        of = f"{slot.release} ({slot.color})"
        for instance in slot.processes:
            had = old.get(instance.number)
            if had is not None and had.state is instance.state:
                continue
            name = f"{_which(slot, instance)} of {of}"
            pid = f", pid {instance.identity.pid}" if instance.identity else ""
            texts: list[str] = []
            match instance.state:
                case InstanceState.STARTING if instance.worker:
                    texts.append(f"{name} started{pid}")
                case InstanceState.READY if instance.worker:
                    texts.append(f"{name} runs")
                case InstanceState.STARTING:
                    texts.append(f"{name} started on {_place(instance.address)}{pid}")
                case InstanceState.READY:
                    texts.append(f"{name} is ready")
                case InstanceState.PARKED if had is not None:
                    texts.append(f"{name} is parked: its place is another release's now")
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
            told += [(slot, text) for text in texts]
    return told


def _place(address: str) -> str:
    return socket_path(address) or f"port {address.removeprefix('127.0.0.1:')}"


def _which(slot: Slot, process: Instance) -> str:
    if not process.worker:
        return f"instance {process.index}"
    many = slot.policy.worker(process.worker).instances > 1
    return f"worker {process.worker}" + (f" {process.index}" if many else "")


def _rollout(old: Rollout | None, new: Rollout) -> list[tuple[str, str]]:
    news: list[tuple[str, str]] = []
    if old is None or old.phase is not new.phase:
        news.append(("phase", _phase(new)))
    skipped = new.skipped[len(old.skipped) if old is not None else 0 :]
    if new.warning and not (old is not None and old.warning):
        news.append(("warning", f"warning: {new.warning}"))
    if skipped:
        news.append(("step", _skipped(skipped, new.watch.rate)))
    if new.share != (old.share if old is not None else 0) and new.share:
        news.append(("step", f"{rehearsal_words.who(new)} has {new.share} % of the traffic"))
    if new.share == 0 and old is not None and old.share:
        news.append(("step", f"{new.from_} has all the traffic again"))
    news += shadow_words.news(old, new)
    news += _verdict(old, new)
    waits = new.waiting and (old is None or old.waiting != new.waiting)
    finding = new.watch.finding
    if waits and new.waiting not in (finding.sentence, finding.hold):
        news.append(("waiting", f"waiting: {new.waiting}"))
    news += _agreed(new, len(old.agreed) if old is not None else 0)
    if new.approved_by and not (old is not None and old.approved_by):
        said = f": {new.approval_note}" if new.approval_note else ""
        news.append(("approval", f"approved by {new.approved_by}{said}"))
    if new.unshielded is not (old is not None and old.unshielded):
        off = "the shield is off: while both slots suffer a second try only adds to the load"
        news.append(("shield", off if new.unshielded else "the shield is on again"))
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


def _agreed(rollout: Rollout, known: int) -> list[tuple[str, str]]:
    return [
        (
            "approval",
            f"{one.by} agreed {agreement.place(one.after)}" + (f": {one.note}" if one.note else ""),
        )
        for one in rollout.agreed[known:]
    ]


def _verdict(old: Rollout | None, new: Rollout) -> list[tuple[str, str]]:
    """What the watch says now that it did not say before; what waits for it is not told again."""
    before = old.watch.finding if old is not None else Finding()
    finding = new.watch.finding
    news = []
    told = finding.sentence and finding.sentence in new.reason  # with the way back
    if finding.verdict is not before.verdict and not told:
        text = _over(before, new) if finding.verdict is Verdict.FINE else _found(finding, new)
        news.append(("verdict", text))
    asked = new.waiting.startswith(f"{finding.hold}: ")  # the wait says more: what to type
    if finding.hold and not before.hold and not asked:
        news.append(("verdict", f"the share stays as it is: {finding.hold}"))
    return news


def _found(finding: Finding, rollout: Rollout) -> str:
    if finding.verdict is Verdict.WORSE and not rollout.policy.verdict.act:
        return f"{finding.sentence}; only observed, it does not act"
    return finding.sentence or str(finding.verdict)


def _over(before: Finding, rollout: Rollout) -> str:
    match before.verdict:
        case Verdict.ENVIRONMENT:
            return "the slots do not suffer together any more: the watch goes on"
        case Verdict.BLIND:
            return "the gate's request log can be trusted again: the watch goes on"
        case _:
            return f"nothing is known against {rollout.to} any more: the watch goes on"


def _skipped(steps: tuple[int, ...], rate: float | None) -> str:
    named = ", ".join(f"{step} %" for step in steps)
    if rate is None:
        return f"skipped {named}"
    few = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
    return f"skipped {named}: at {few} req/s they could not show anything"


def _one_at_a_time(rollout: Rollout) -> str:
    """What only a stop-first rollout says; empty = the usual."""
    to, from_, policy = rollout.to, rollout.from_, rollout.policy
    leaves = to if rollout.leaving is rollout.candidate else from_
    match rollout.phase:
        case Phase.DRAINING:
            return f"the gate answers 503, {leaves} ends what it has begun"
        case Phase.STOPPING if rollout.outcome is None:
            return f"stopping {from_}: {to} does not fit beside it"
        case Phase.STARTING:
            return f"starting {policy.slot.instances} × {to}, users get 503 meanwhile"
        case Phase.REVERTING:
            return f"starting {from_} again: {_line(rollout.reason)}"
        case _:
            return ""


def _phase(rollout: Rollout) -> str:
    to, from_, policy = rollout.to, rollout.from_ or "nothing", rollout.policy
    if rollout.kind is Kind.EJECT:
        to = f"{to} as plain units ({rollout.unit})"
    if told := rehearsal_words.phase(rollout):
        return told
    if rollout.stop_first and (told := _one_at_a_time(rollout)):
        return told
    match rollout.phase:
        case Phase.PREPARING:
            return f"preparing {to}" + (f"; {rollout.on_duty} watches" if rollout.on_duty else "")
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
        case Phase.RETURNING:
            few = f"{from_} gets its instances back first, and the traffic with them"
            return f"going back, {few}: {_line(rollout.reason)}"
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
