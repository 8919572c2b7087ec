"""Evidence in words: plain, short, with numbers that are not more exact than what they rest on.

Sentences name the releases as `{new}` and `{old}`, because the detector does not know their names;
`named` fills them in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from reld.core.verdict.sample import Tally

NEW = "{new}"
OLD = "{old}"


def named(text: str, new: str, old: str) -> str:
    """The text with the names of both releases filled in; other braces stay as they are."""
    return OLD.join(part.replace(NEW, new) for part in text.split(OLD)).replace(OLD, old)


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun: "1 request", "2 requests"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def percent(fraction: float) -> str:
    """A fraction of 1 as "12 %", "5.0 %", "0.003 %"; "0 %" and "100 %" mean exactly that."""
    value = fraction * 100
    if value <= 0:
        return "0 %"
    if value >= 100:
        return "100 %"
    if value > 99.5:
        return f"{_below_hundred(value)} %"
    if value >= 9.95:
        return f"{value:.0f} %"
    if value >= 0.095:
        return f"{value:.1f} %"
    return f"{_digits(value)} %"


def span(seconds: float) -> str:
    """A time: "180 ms", "2.4 s", "40 s", "12 min", "3 h"."""
    if seconds < 0.9995:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def amount(number: float) -> str:
    """A number with two digits that count: "5300", "0.25", "20"."""
    if number <= 0:
        return "0"
    step = 10.0 ** (math.floor(math.log10(number)) - 1)
    rounded = round(number / step) * step
    return f"{rounded:.0f}" if rounded >= 9.95 else f"{rounded:.2g}"


def chance(odds: float) -> str:
    """How often chance alone does this, `odds` = once in so many releases."""
    return f"by chance once in {amount(max(1.0, odds))} releases"


def failed(new: Tally, old: Tally) -> str:
    """What both failed of what they were dealt: "v2 failed 7 of 140 requests (5.0 %), v1 3 of …"."""
    return f"{NEW} failed {_of(new)}, {OLD} {_of(old, short=True)}"


def place(failed_at: Iterable[tuple[str, int]], failures: int) -> str:
    """Where most of the failures were: "6 of 7 on checkout (POST)"; empty when spread or unknown."""
    where, most = max(failed_at, key=lambda item: item[1], default=("", 0))
    if not where or failures <= 0 or most * 2 < failures:
        return ""
    most = min(most, failures)
    return f"all on {where}" if most == failures else f"{most} of {failures} on {where}"


def sentence(clause: str, odds: float, failed_at: str = "") -> str:
    """One verdict: what was seen, how often that is chance (0 = not said), where it was."""
    parts = (clause, chance(odds) if odds > 0 else "", failed_at)
    return "; ".join(part for part in parts if part)


def known(requests: int, failures: int) -> str:
    """What can be said for a release that is not proven worse, with 95 % confidence."""
    if requests <= 0:
        return "no request yet: nothing is known"
    bound = upper_bound(failures, requests)
    seen = "no failure" if failures <= 0 else counted(failures, "failure")
    if bound >= 1:
        return f"{seen} in {counted(requests, 'request')}: too few to say anything"
    return (
        f"{seen} in {counted(requests, 'request')}: "
        f"error rate below {percent(bound)} with 95 % confidence"
    )


_FEW = 50
_HALVINGS = 30


def upper_bound(failures: int, requests: int, doubt: float = 0.05) -> float:
    """The error rate that so few failures rule out: chance of them there is `doubt`.

    Exact one-sided bound for a binomial count (Clopper and Pearson 1934). Without failures that is
    1 - doubt^(1/n), nearly 3/n for 5 % (the "rule of three").
    """
    if requests <= 0 or failures >= requests:
        return 1.0
    if failures <= 0:
        return float(1 - doubt ** (1 / requests))
    low, high = failures / requests, 1.0
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        if at_most(failures, requests, rate) > doubt:
            low = rate
        else:
            high = rate
    return high


def at_most(failures: int, requests: int, rate: float) -> float:
    """The chance of that many failures or fewer; many failures by the normal law, which is off by a
    few per cent of the chance there, and needs no sum: this is asked several times a second.
    """
    if failures > _FEW:
        spread = math.sqrt(requests * rate * (1 - rate)) or 1e-9
        return math.erfc(-(failures + 0.5 - requests * rate) / spread / math.sqrt(2)) / 2
    if rate >= 1:
        return 0.0
    term = requests * math.log1p(-rate)
    ratio = math.log(rate) - math.log1p(-rate)
    total = math.exp(term)
    for number in range(1, failures + 1):
        term += ratio + math.log(requests - number + 1) - math.log(number)
        total += math.exp(term)
    return min(1.0, total)


def _of(tally: Tally, *, short: bool = False) -> str:
    failures, requests = tally.failures, tally.requests
    if requests <= 0:
        return "had no requests"
    some = "none" if failures == 0 else "all" if failures == requests else str(failures)
    noun = "" if short else " request" if requests == 1 else " requests"
    rate = f" ({percent(failures / requests)})" if 0 < failures < requests else ""
    return f"{some} of {requests}{noun}{rate}"


def _digits(value: float) -> str:
    """One digit that counts of a small number, never in the form 1e-05."""
    places = -math.floor(math.log10(value))
    rounded = round(value, places)
    return (
        f"{rounded:.{places}f}" if rounded < 10.0 ** (1 - places) else f"{rounded:.{places - 1}f}"
    )


def _below_hundred(value: float) -> str:
    """Never rounds up to 100: one failure less than all is a different thing."""
    for places in (1, 2, 3):
        text = f"{value:.{places}f}"
        if not text.startswith("100"):
            return text
    return "99.999"
