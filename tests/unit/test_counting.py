"""What lines of the request log say of both slots."""

from __future__ import annotations

import pytest

from reld.core.verdict.sample import RouteTally, Sample, Tally, bucket
from reld.nginx import counting as counting_module
from reld.nginx import once, shapes, thinning
from reld.nginx.counting import Counting, Seen

OLD, NEW = "127.0.0.1:21001", "127.0.0.1:21002"
AT = 1_753_888_000


def line(
    addresses: str = OLD,
    statuses: str = "200",
    status: int | None = None,
    *,
    at: float = AT + 0.5,
    waited: float = 0.02,
    header: str = "0.020",
    method: str = "GET",
    kind: str = "plain",
    thin: str = "-",
    client: str = "-",
    route: str = "-",
) -> str:
    last = statuses.rsplit(" ", maxsplit=1)[-1]
    final = status if status is not None else last
    return (
        f"{at:.3f}|{waited:.3f}|{header}|{client}|{addresses}|{statuses}|{final}"
        f"|{method}|{kind}|{thin}|7|3|{route}"
    )


def counting(*, sticky: bool = False, **success: tuple[int, ...]) -> Counting:
    return Counting([OLD], [NEW], success, sticky=sticky)


def one(*lines: str, **success: tuple[int, ...]) -> Sample:
    (sample,) = counting(**success).feed(lines).samples
    return sample


def times(*seconds: float) -> tuple[tuple[int, int], ...]:
    return tuple((bucket(s), 1) for s in seconds)


def test_a_request_is_counted_in_the_second_in_which_it_ended():
    found = counting().feed([line(at=AT + 0.999), line(at=AT + 1.0), line(at=AT + 0.2)], 25)
    assert [(s.second, s.share, s.old.requests) for s in found.samples] == [
        (AT, 25, 2),
        (AT + 1, 25, 1),
    ]


def test_only_the_first_attempt_is_a_slots_own():
    sample = one(line(f"{NEW}, {OLD}", "502, 200", header="-, 0.003"))
    assert (sample.old, sample.new) == (Tally(), Tally(1, 1))


def test_users_see_the_last_attempt_and_that_the_first_was_made_good():
    found = counting().feed([line(f"{NEW}, {OLD}", "502, 200")])
    assert found.old == Seen(total=1, attempts=1)
    assert found.new == Seen(saved=1, attempts=1, failures=1)


def test_a_redirect_of_nginxs_own_makes_a_list_too():
    found = counting().feed([line(f"{NEW} : {OLD}", "500 : 500", header="0.001 : 0.002")])
    assert (found.new, found.old) == (
        Seen(attempts=1, failures=1),
        Seen(total=1, errors=1, attempts=1, failures=1),
    )


def test_the_name_of_an_upstream_is_no_attempt():
    found = counting().feed([line(f"{NEW}, green_0", "502, 502", header="-, -")])
    assert found.new == Seen(total=1, errors=1, attempts=1, failures=1)
    assert (found.nonsense, found.unattributed) == (0, 0)


@pytest.mark.parametrize("addresses", ["-", "green_0", "127.0.0.1:9"])
def test_what_no_known_slot_was_asked_is_unattributed(addresses):
    found = counting().feed([line(addresses, "503")])
    assert (found.unattributed, found.samples, found.requests) == (1, (), 1)


@pytest.mark.parametrize("status", ["500", "502", "503", "504", "599"])
def test_5xx_is_a_failure(status):
    assert one(line(NEW, status)).new == Tally(1, 1)


def test_4xx_is_a_refusal_and_is_timed():
    assert one(line(NEW, "404")).new == Tally(1, 0, 1, times(0.02))


def test_an_asset_that_the_other_slot_had_was_not_refused():
    assert one(line(f"{NEW}, {OLD}", "404, 200")).new == Tally(1, 0, 0, times(0.02))


def test_a_client_that_left_early_says_nothing_of_the_slot():
    assert one(line(NEW, "-", 499, header="-", waited=0.999)).new == Tally(1)


def test_a_client_that_left_after_a_long_wait_met_a_slow_slot():
    assert one(line(NEW, "-", 499, header="-", waited=3.2)).new == Tally(1, times=times(3.2))


def test_a_client_that_left_in_the_middle_of_an_answer_has_the_time_of_its_head():
    assert one(line(NEW, "200", 499, waited=6.0)).new == Tally(1, times=times(0.02))


@pytest.mark.parametrize("changes", [{"statuses": "101"}, {"kind": "stream"}])
def test_streams_count_and_are_not_timed(changes):
    assert one(line(NEW, **changes)).new == Tally(1)


def test_the_time_is_that_of_the_first_attempt():
    assert one(line(f"{OLD}, {NEW}", "404, 404", header="0.100, 0.001")).old.times == times(0.1)


@pytest.mark.parametrize(
    ("status", "expected"),
    [("200", (1, 1, 0)), ("302", (1, 0, 0)), ("500", (1, 1, 0)), ("401", (1, 0, 1))],
)
def test_a_route_may_say_what_success_is(status, expected):
    sample = one(line(NEW, status, route="login"), login=(302,))
    assert (sample.new.requests, sample.new.failures, sample.new.refusals) == expected
    assert sample.routes[0].new == Tally(*expected)


def test_a_client_that_left_is_no_failure_of_a_route_with_success():
    assert one(line(NEW, "-", 499, header="-", route="login"), login=(302,)).new == Tally(1)


def test_a_login_that_answers_200_is_an_error_to_users_too():
    assert counting(login=(302,)).feed([line(NEW, "200", route="login")]).new.errors == 1


def test_routes_have_both_slots_and_say_where_the_candidate_failed():
    sample = one(
        line(OLD, "500", route="checkout"),
        line(NEW, "500", route="checkout", method="POST"),
        line(NEW, "200", route="checkout"),
        line(NEW, "500"),
    )
    assert sample.routes == (RouteTally("checkout", Tally(1, 1), Tally(2, 1)),)
    assert sample.failed_at == (("GET", 1), ("checkout (POST)", 1))


def test_a_kept_line_stands_for_ten_and_is_timed_once():
    found = counting().feed(
        [line(thin="k"), line(NEW, thin="t"), line(NEW, thin="d"), line(OLD, "500", thin="d")]
    )
    (sample,) = found.samples
    assert sample.old == Tally(11, 1, 0, times(0.02))
    assert sample.new == Tally(2, 0, 0, times(0.02))
    assert (found.old.total, found.lines, found.requests) == (11, 4, 13)


def test_a_beat_is_no_request():
    found = counting().feed([f"{AT}.100|-|41|-|beat", line(), f"{AT}.300|-|42|-|beat"])
    assert (found.beat, found.lines, found.nonsense, len(found.samples)) == (42, 1, 0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "|",
        line()[:-9],
        f"17{line()}",
        f"{line()}{line()}",
        line(statuses="200, 200"),
        line(header="0.0x1"),
        line(statuses="OK"),
        line(thin="z"),
        line(at=17.5),
    ],
)
def test_a_line_that_makes_no_sense_is_counted(text):
    found = counting().feed([text, line()])
    assert found.nonsense == 1
    assert found.old.total >= 1


def test_the_example_of_nonsense_can_be_printed():
    found = counting().feed(["\x1b[2J\ud800" + "é" * 1000])
    assert found.example.startswith("?[2J??")
    assert len(found.example) <= 160


def test_a_client_counts_once_in_ten_seconds_by_slot_and_outcome():
    count, who = counting(sticky=True), "a" * 32
    lines = [line(NEW, s, at=AT + t, client=who) for t in range(20) for s in ("200", "404")]
    lines += [line(OLD, at=AT + 20, client=who), line(NEW, at=AT + 20, client="b" * 32)]
    found = count.feed(lines)
    total = [sum(getattr(s, slot).requests for s in found.samples) for slot in ("old", "new")]
    assert total == [1, 5]
    assert found.new.total == 41


def test_a_failing_client_counts_once_in_a_step():
    count = counting(sticky=True)

    def failures(since: int) -> int:
        lines = [line(NEW, "500", at=AT + since + t, client="a" * 32) for t in range(60)]
        return sum(s.new.failures for s in count.feed(lines).samples)

    assert failures(0) == 1
    assert failures(60) == 0
    count.step_begun()
    assert failures(120) == 1


def test_clients_are_not_forgotten_from_one_call_to_the_next():
    count = counting(sticky=True)
    fed = [count.feed([line(at=AT + t, client="a" * 32)]) for t in range(9)]
    assert [bool(f.samples) for f in fed] == [True] + [False] * 8


def test_what_is_remembered_of_clients_is_bounded(monkeypatch):
    monkeypatch.setattr(once, "MOST", 100)
    limited = once.Once()
    for number in range(1000):
        assert limited.counts((str(number), 0), AT, failing=True)
    assert len(limited._recent) + len(limited._before) + len(limited._failed) <= 300


def test_a_clock_that_was_set_back_does_not_silence_a_client():
    limited = once.Once()
    assert limited.counts(("a", 0), AT, failing=False)
    assert limited.counts(("a", 0), AT - 3600, failing=False)


def test_nothing_grows_with_what_clients_invent(monkeypatch):
    monkeypatch.setattr(shapes, "MOST", 100)
    monkeypatch.setattr(counting_module, "KNOWN_TIMES", 100)
    count = counting()
    count.feed(line(method=f"M{n}", header=f"{n / 1000:.3f}") for n in range(1000))
    assert len(count._shapes._known) <= 100
    assert len(count._times) <= 100


def test_thinning_has_a_wide_gap_between_on_and_off():
    assert not thinning.wanted(False, 10_000)
    assert thinning.wanted(False, 10_001)
    assert thinning.wanted(True, 5_001)
    assert not thinning.wanted(True, 5_000)


def test_thinning_is_a_file(tmp_path):
    flag = tmp_path / "thin"
    thinning.on(flag)
    assert thinning.is_on(flag)
    thinning.off(flag)
    thinning.off(flag)
    assert not thinning.is_on(flag)


def test_whom_the_gate_turns_away_is_counted_apart():
    own = line("-", "-", 503, header="-")
    found = counting().feed([own, own, line(OLD, "503"), line(OLD, "-", 503), line("-", "-", 404)])
    assert (found.turned_away, found.requests) == (2, 5)
    assert found.nonsense == 0


def test_nobody_is_turned_away_whose_slots_could_not_be_reached():
    assert counting().feed([line("blue_0", "502", 502), line("blue_0", "-", 503)]).turned_away == 0
