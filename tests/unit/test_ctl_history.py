"""The table of the rollouts on terminals of several widths."""

from __future__ import annotations

import pytest

from relctl import history
from relctl.look import Look
from tests.fakes import api

LONG = "v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %); by chance once in 52000 releases"
FOUND = [
    api.receipt("rolled_back", reason=f"{LONG}\nmore"),
    api.receipt(id=41, kind="rehearsal"),
    api.receipt(None, id=40, ended=None),
]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_no_line_is_wider_than_the_terminal(width, unicode):
    shown = history.fitted(FOUND, width, Look(unicode=unicode))
    assert max(map(len, shown)) <= width
    if not unicode:
        assert all(line.isascii() for line in shown)


def test_at_80_columns_a_long_reason_gets_a_line_of_its_own_and_is_cut():
    head, row, reason, *others = history.fitted(FOUND, 80, Look())
    assert "v1 → v2    rolled back  " in row
    assert "15 min  " in row
    assert reason.startswith("    v2 failed 7 of 140 requests (5.0 %), v1 3 of 2660 (0.1 %);")
    assert reason.endswith("…")
    assert len(others) == 2  # those without a reason have none
    assert "REASON" not in head


def test_a_wide_terminal_has_the_reason_beside_the_rest():
    _, row, *_ = history.fitted(FOUND, 120, Look())
    assert "v2 failed 7 of 140 requests" in row
    assert row.endswith("…")
    _, row, *_ = history.fitted(FOUND, 220, Look())
    assert row.endswith(LONG)


def test_what_is_cut_for_a_terminal_of_ascii_ends_with_dots():
    reason = history.fitted(FOUND, 80, Look(unicode=False))[2]
    assert reason.endswith("...")


def test_in_a_pipe_nothing_is_cut():
    assert history.plain(FOUND)[1].endswith(LONG)
