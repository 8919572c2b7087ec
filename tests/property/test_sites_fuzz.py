"""Spoiled configs of a site's nginx are read as far as they go. More: tests/fuzz."""

from __future__ import annotations

from tests.fuzz import sites


def test_spoiled_sites_are_read_as_far_as_they_go():
    found = sites.run(1000, seed=1)
    assert found.bugs == ()
    assert found.inputs == 1000
