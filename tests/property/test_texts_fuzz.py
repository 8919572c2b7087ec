"""Spoiled log lines, projects, headers, addresses and links. More: tests/fuzz."""

from __future__ import annotations

import pytest

from tests.fuzz import lines, projects, strangers


@pytest.mark.parametrize("part", [lines, projects, strangers])
def test_spoiled_texts_of_others_are_read_or_refused(part):
    found = part.run(150, seed=1)
    assert found.bugs == ()
    assert found.inputs == 150
