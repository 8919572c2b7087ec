from __future__ import annotations

from dataclasses import replace

from reld.core.verdict.hangs import Hangs, begin_hangs, hangs_seen
from reld.core.verdict.sample import Sample, Tally
from reld.store import codec


def second(number, old, new, old_waiting=0, new_waiting=0):
    return Sample(
        number, 25, Tally(old), Tally(new), old_waiting=old_waiting, new_waiting=new_waiting
    )


def seen(*samples, state=None):
    state = begin_hangs() if state is None else state
    for sample in samples:
        state = hangs_seen(state, sample)
    return state


def healthy(seconds, old=75, new=25):
    return [second(i, old, new) for i in range(seconds)]


def test_a_candidate_that_answers_nothing_is_found_in_four_seconds():
    state = seen(*healthy(10))
    # It hangs from second 10 on; a request waits from one second after it came.
    for age in range(4):
        assert not state.worse
        state = hangs_seen(state, second(10 + age, 75, 0, 0, 25 * age))
    assert state.worse


def test_a_second_that_came_in_five_parts_changes_nothing():
    state = seen(*healthy(10))
    for age in range(4):
        for _ in range(4):
            state = hangs_seen(state, Sample(10 + age, 25, Tally(15), Tally()))
        state = hangs_seen(state, second(10 + age, 15, 0, 0, 25 * age))
    assert state.worse


def test_two_measurements_in_a_second_are_not_two_seconds():
    state = seen(*healthy(10))
    for _ in range(9):
        state = hangs_seen(state, second(11, 15, 0, 0, 40))
    assert not state.worse


def test_both_slots_hanging_is_no_verdict_on_the_candidate():
    state = seen(*healthy(10))
    for age in range(30):
        state = hangs_seen(state, second(10 + age, 0, 0, 75 * age, 25 * age))
        assert not state.worse
    assert state.both
    assert not state.alone


def test_long_polls_that_wait_on_both_slots_are_no_verdict():
    state = begin_hangs()
    for number in range(60):
        state = hangs_seen(state, second(number, 6, 2, 300, 100))
        assert not state.worse


def test_the_silence_of_the_old_slot_is_not_its_health():
    state = begin_hangs()
    for number in range(30):
        state = hangs_seen(state, second(number, 0, 0, 0, 10 * number))
        assert not state.worse
    assert state.alone


def test_a_slow_candidate_that_answers_does_not_hang():
    state = seen(*healthy(10))
    for age in range(60):
        state = hangs_seen(state, second(10 + age, 75, 25, 0, 100))
        assert not state.worse


def test_a_pause_of_two_seconds_is_no_hang():
    state = seen(*healthy(10))
    state = seen(second(10, 75, 0), second(11, 75, 0, 0, 25), second(12, 75, 75, 0, 0), state=state)
    for number in range(13, 40):
        state = hangs_seen(state, second(number, 75, 25))
        assert not state.worse


def test_little_traffic_needs_five_requests_and_more_time():
    state = seen(*healthy(20, old=1, new=0))
    found = None
    for age in range(40):
        state = hangs_seen(state, second(20 + age, 1, 0, 0, age // 3))
        if state.worse and found is None:
            found = age
    assert found is not None
    assert 8 <= found <= 20


def test_what_is_not_measured_any_more_is_forgotten():
    state = seen(*healthy(10))
    state = seen(*[second(10 + age, 75, 0, 0, 25 * age) for age in range(4)], state=state)
    assert state.worse
    for number in range(14, 20):
        state = hangs_seen(state, Sample(number, 25, Tally(75), Tally(25)))
    assert not state.worse


def test_the_clause_says_who_waits():
    state = seen(*[second(age, 75, 0, 0, 25 * age) for age in range(5)])
    assert state.clause == (
        "100 requests to {new} wait without an answer, none answered in 3 s; "
        "{old}: none waiting, 225 answered"
    )
    assert begin_hangs().clause == ""


def test_a_clock_that_leaps_or_goes_back_is_survived():
    state = seen(*healthy(10))
    state = seen(second(10_000_000, 75, 25), second(5, 75, 25), second(6, 75, 25), state=state)
    assert not state.worse
    assert len(state.answers) <= 20


def test_the_state_can_be_kept():
    state = seen(*[second(age, 75, 0, 0, 25 * age) for age in range(5)])
    assert codec.loads(Hangs, codec.dumps(state)) == state


def test_late_lines_do_not_make_time_pass():
    state = seen(*healthy(10))
    for _ in range(50):
        state = seen(second(9, 1, 0, 0, 12), second(8, 1, 0, 0, 12), state=state)
    assert state == replace(state, clock=9)
    assert not state.worse
