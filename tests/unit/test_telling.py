"""Who is told what, in which order and how often; and that no name or error has a secret in it."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from reld.alerts import Alert, Raised
from reld.config import Notify
from reld.core.model import Kind, Phase, Rollout, State
from reld.core.policy import Policy
from reld.metrics.facts import Disk
from reld.narrate import News
from reld.telling.courier import Limits
from reld.telling.ledger import Ledger
from reld.telling.message import LEVELS, Message, collapsed, slack
from reld.telling.rounds import Rounds, nearly_full
from reld.telling.target import NotTold, key_of, name_of
from reld.telling.teller import Means, Teller
from reld.telling.waiting import ENDS, MOST, PER_MINUTE, Waiting

ROLLOUT = Rollout(7, Kind.SWITCH, Phase.SHIFTING, 5.0, 1.0, Policy(), from_="v1", to="v2")
HOOK = Notify(url="https://hooks.example.com/T0/B0/s3cret?token=s3cret", on=("start", "end"))
PAGER = Notify(command=("/bin/pager", "--key", "s3cret"), on=("trouble", "step", "verdict"))
RECEIPT = {
    "id": 7, "kind": "switch", "from": "v1", "to": "v2", "actor": "anna", "outcome": "done",
    "started": "2026-01-01T00:00:00.000Z", "summary": "v2 serves: 5 requests, 0 errors",
    "evidence": {"log": ["what the app wrote"], "excerpt": ["what the app wrote"], "verdict": "fine"},
    "reason": "v2 exited (exit code 1): boom\nits last lines:\n  what the app wrote",
    "new_lines": {"kinds": 1, "lines": 2, "top": [{"text": "what the app wrote", "count": 2}]},
    "hooks": [{"name": "on_rollback", "detail": "exit code 4\nwhat the app wrote"}],
}  # fmt: skip
FAST = Limits(0.001, 0.002, 10.0, 1000)


def message(text="hello", event="step", level="info", **rest):
    return Message(event, event, level, text, "now", "web", "vm", text, **rest)


class Target:
    """Fails as often as it is told to."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.got = []
        self.event = asyncio.Event()

    async def tell(self, message):
        if self.failures:
            raise self.failures.pop(0)
        self.got.append(message)
        self.event.set()
        return "fine"

    async def until(self, count):
        async with asyncio.timeout(30):
            while len(self.got) < count:
                self.event.clear()
                await self.event.wait()
        return self.got


def teller(tmp_path, targets, limits=FAST, newest=0):
    wanted = list(targets)
    made = Teller(
        Means(
            "web",
            lambda: tuple(wanted),
            lambda notify: targets[notify],
            Ledger(tmp_path / "told.json"),
            lambda: "now",
            limits,
        ),
        newest,
    )
    return made, wanted


# in which order, and how much


def test_a_few_messages_come_as_they_are():
    waiting = Waiting()
    for number in range(3):
        waiting.put(message(str(number)))
    assert [waiting.take(0.0).text for _ in range(3)] == ["0", "1", "2"]
    assert len(waiting) == 0


def test_what_is_too_much_for_a_minute_waits_and_is_told_as_one():
    waiting = Waiting()
    for number in range(PER_MINUTE):
        waiting.put(message(str(number)))
        assert waiting.pause(float(number)) == 0.0
        waiting.take(float(number))
    waiting.put(message("a"))
    assert waiting.pause(30.0) == 30.0
    waiting.put(message("b", level="error"))
    waiting.put(message("end", "end"))
    waiting.put(message("c"))
    assert waiting.pause(60.0) == 0.0
    assert waiting.take(60.0).text == "end"
    last = waiting.take(60.0)
    assert (last.text, last.level, last.stands_for) == ("3 messages, the last: c", "error", 3)


def test_memory_is_bounded_whatever_happens_and_the_newest_ends_stay():
    waiting = Waiting()
    for number in range(10 * MOST):
        waiting.put(message(f"step {number}"))
        waiting.put(message(f"end {number}", "end"))
    assert len(waiting) <= MOST
    assert waiting.dropped > 0
    texts = [waiting.take(0.0).text for _ in range(len(waiting))]
    ends = [text for text in texts if text.startswith("end")]
    assert ends[-1] == f"end {10 * MOST - 1}"
    assert len(ends) >= ENDS


def test_many_of_many_are_counted_right():
    first = collapsed([message("a"), message("b")])
    both = collapsed([first, collapsed([message("c"), message("d")])])
    assert (both.text, both.stands_for) == ("4 messages, the last: d", 4)


def test_slack_gets_one_line_that_mentions_nobody():
    text = slack(message("v2 <!channel> & <@U1> failed", level="error"))
    assert text == "[error] *web* on vm: v2 &lt;!channel&gt; &amp; &lt;@U1&gt; failed"
    assert json.loads(message().body("slack")) == {"text": "*web* on vm: hello"}


def test_a_json_body_has_every_key():
    told = json.loads(message().body("json"))
    assert set(told) == {
        "event", "what", "level", "text", "time", "app", "host", "id", "rollout", "receipt",
        "stands_for",
    }  # fmt: skip


# who


def test_names_say_where_it_goes_and_nothing_else():
    assert name_of(HOOK) == "https://hooks.example.com/..."
    assert name_of(PAGER) == "/bin/pager"
    assert "s3cret" not in repr(HOOK) + repr(PAGER) + key_of(HOOK) + key_of(PAGER)


async def test_each_target_is_told_what_it_wants_to_hear(tmp_path):
    hook, pager = Target(), Target()
    made, _ = teller(tmp_path, {HOOK: hook, PAGER: pager})
    state = State("web", "boot", rollout=ROLLOUT)
    news = [News("step", "v2 has 5 %", 7), News("phase", "shifting", 7), News("verdict", "bad", 7)]
    alarms = [
        Raised(Alert.BEGAN, "rollout 7 began", ROLLOUT),
        Raised(Alert.DEGRADED, "degraded: no\ngate"),
        Raised(Alert.DONE, "told by its receipt", ROLLOUT),
    ]
    made.hear(state, news, alarms)
    made.ended(RECEIPT)
    assert [m.text for m in await hook.until(2)] == [
        "rollout 7 began",
        "rollout 7: v2 serves: 5 requests, 0 errors",
    ]
    start, end = hook.got
    assert (start.rollout["to"], start.receipt) == ("v2", None)
    assert (end.rollout["id"], end.receipt["outcome"], end.what) == (7, "done", "done")
    assert "what the app wrote" not in end.body("json").decode()
    assert (end.receipt["reason"], end.receipt["new_lines"]) == (
        "v2 exited (exit code 1): boom",
        {"kinds": 1, "lines": 2},
    )
    assert end.receipt["hooks"] == [{"name": "on_rollback", "detail": "exit code 4"}]
    assert [m.text for m in await pager.until(3)] == ["degraded: no gate", "v2 has 5 %", "bad"]
    assert {m.level for m in (*hook.got, *pager.got)} <= set(LEVELS)
    await made.finish()


async def test_nobody_to_tell_costs_nothing(tmp_path):
    made, _ = teller(tmp_path, {})
    made.hear(State("web", "boot"), None, None)
    await made.finish()
    assert list(tmp_path.iterdir()) == []


async def test_an_edit_of_the_config_ends_one_target_and_begins_another(tmp_path):
    hook, pager = Target(*[NotTold("no")] * 10_000), Target()
    made, wanted = teller(tmp_path, {HOOK: hook, PAGER: pager})
    wanted.remove(PAGER)
    made.alarm(Raised(Alert.BEGAN, "began"))
    assert [t["target"] for t in made.shown()] == ["https://hooks.example.com/..."]
    wanted[:] = [PAGER]
    made.alarm(Raised(Alert.DISK_FULL, "full"))
    assert (await pager.until(1))[0].text == "full"
    assert [t["target"] for t in made.shown()] == ["/bin/pager"]
    wanted[:] = []
    made.hear(State("web", "boot"), [], [Raised(Alert.DISK_FREE, "free")])
    assert made.shown() == []
    await made.finish()
    assert len(pager.got) == 1


async def test_what_waits_for_a_target_is_told_as_the_edited_config_says(tmp_path):
    before, after = Target(*[NotTold("no answer")] * 1000), Target()
    mended = replace(HOOK, headers=(("Authorization", "Bearer s3cret"),))
    made, wanted = teller(tmp_path, {HOOK: before, mended: after})
    wanted[:] = [HOOK]
    made.ended(RECEIPT)
    wanted[:] = [mended]
    made.alarm(Raised(Alert.BEGAN, "rollout 8 began", ROLLOUT))
    assert [m.event for m in await after.until(2)] == ["end", "start"]
    assert [(t["told"], t["lost"]) for t in made.shown()] == [(2, 0)]
    await made.finish()


async def test_two_targets_of_one_host_have_names_of_their_own(tmp_path):
    other = Notify(url="https://hooks.example.com/other", on=("end",))
    made, _ = teller(tmp_path, {HOOK: Target(), other: Target()})
    names = [t["target"] for t in made.shown()]
    assert names == ["https://hooks.example.com/...", "https://hooks.example.com/... (2)"]
    await made.finish()


# again and again


async def test_what_fails_is_told_again_in_order_and_logged_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, "reld.telling")
    hook = Target(*[NotTold("cannot connect: Connection refused")] * 5)
    made, _ = teller(tmp_path, {HOOK: hook})
    for number in (1, 2, 3):
        made.ended({**RECEIPT, "id": number})
    assert [m.number for m in await hook.until(3)] == [1, 2, 3]
    assert caplog.text.count("cannot tell https://hooks.example.com/...") == 1
    assert caplog.text.count("can be told again") == 1
    assert "s3cret" not in caplog.text
    await made.finish()


@pytest.mark.parametrize(
    ("failure", "limits"),
    [(NotTold("404 Not Found", final=True), FAST), (NotTold("no"), Limits(0.001, 0.001, 0.0))],
)
async def test_what_is_given_up_is_counted_and_the_next_one_goes_on(
    tmp_path, failure, limits, caplog
):
    hook = Target(failure)
    made, _ = teller(tmp_path, {HOOK: hook}, limits)
    made.ended({**RECEIPT, "id": 1})
    made.ended({**RECEIPT, "id": 2})
    assert [m.number for m in await hook.until(1)] == [2]
    assert made.shown()[0]["lost"] == 1
    assert "was not told" in caplog.text
    await made.finish()


async def test_a_bug_in_a_target_says_its_kind_and_no_more(tmp_path, caplog):
    hook = Target(KeyError("s3cret"))
    made, _ = teller(tmp_path, {HOOK: hook})
    made.ended(RECEIPT)
    await hook.until(1)
    assert "KeyError" in caplog.text
    assert "s3cret" not in caplog.text
    await made.finish()


async def test_the_end_of_reld_waits_a_moment_and_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("reld.telling.teller.LAST_WORDS", 0.05)

    class Hangs:
        async def tell(self, _):
            await asyncio.Event().wait()

    made, _ = teller(tmp_path, {HOOK: Hangs()})
    made.ended(RECEIPT)
    async with asyncio.timeout(30):
        await made.finish()


async def test_a_test_says_how_each_answered(tmp_path):
    hook, pager = Target(), Target(NotTold("it ended with exit code 1"))
    made, _ = teller(tmp_path, {HOOK: hook, PAGER: pager})
    good, bad = await made.test((HOOK, PAGER))
    assert (good["told"], good["answer"]) == (True, "fine")
    assert (bad["told"], bad["answer"]) == (False, "it ended with exit code 1")
    assert hook.got[0].event == "test"
    await made.finish()


# what a killed reld did not tell any more


async def test_an_end_that_was_not_told_is_told_by_the_next_reld(tmp_path):
    dead = Target(*[NotTold("no")] * 10_000)
    first, _ = teller(tmp_path, {HOOK: dead}, newest=6)
    await first.begin()
    first.ended(RECEIPT)
    hook = Target()
    second, _ = teller(tmp_path, {HOOK: hook}, newest=7)
    await second.begin()
    await second.catch_up(RECEIPT)
    assert (await hook.until(1))[0].number == 7
    await second.finish()
    third, _ = teller(tmp_path, {HOOK: hook}, newest=7)
    await third.begin()
    await third.catch_up(RECEIPT)
    await third.finish()
    assert len(hook.got) == 1
    assert hook.got[0].id == "web-7-end-2026-01-01T00:00:00.000Z"
    await first.finish()


async def test_a_new_target_is_not_told_what_was_before_it(tmp_path):
    hook = Target()
    made, _ = teller(tmp_path, {HOOK: hook}, newest=7)
    await made.begin()
    await made.catch_up(RECEIPT)
    await made.finish()
    assert hook.got == []


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"x": "y", "z": 1.5}', b"[" * 100_000])
def test_a_damaged_ledger_is_an_empty_one(tmp_path, content):
    (tmp_path / "told.json").write_bytes(content)
    ledger = Ledger(tmp_path / "told.json")
    assert ledger.last("x") is None
    ledger.keep(["x"], 3)
    assert Ledger(tmp_path / "told.json").last("x") == 3
    assert (tmp_path / "told.json").stat().st_mode & 0o777 == 0o600


def test_a_ledger_on_a_disk_that_takes_nothing_is_told_once(tmp_path, caplog):
    ledger = Ledger(tmp_path / "missing" / "told.json")
    ledger.note("x", 1)
    ledger.note("x", 2)
    assert ledger.last("x") == 2
    assert caplog.text.count("cannot keep") == 1


# trouble that no state shows


def test_a_silent_feed_and_a_full_disk_are_told_when_they_begin_and_when_they_end():
    told = []
    rounds = Rounds(str, dict, told.append)
    full, free = Disk("state", 1 << 20, 100 << 30), Disk("state", 50 << 30, 100 << 30)
    almost = Disk("state", 2 << 30, 100 << 30)
    rounds.look("the log is silent", [full])
    rounds.look("the log is silent", [full])
    rounds.look("", [almost])
    rounds.look("", [free])
    assert [found.alert for found in told] == [
        Alert.FEED_DEAD,
        Alert.DISK_FULL,
        Alert.FEED_BACK,
        Alert.DISK_FREE,
    ]
    assert told[1].text == "the disk of the state is nearly full: 1 MiB of 102400 MiB are left"


def test_a_small_disk_is_full_by_its_own_measure():
    assert nearly_full(Disk("state", 90 << 20, 2 << 30))
    assert not nearly_full(Disk("state", 200 << 20, 2 << 30))
