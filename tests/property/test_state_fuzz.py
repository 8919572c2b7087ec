"""What was kept is read as it was, or refused. More: tests/fuzz."""

from __future__ import annotations

from tests.fuzz import state


def test_spoiled_states_snapshots_copies_and_databases_are_whole_or_refused():
    found = state.run(1000, seed=1)
    assert found.bugs == ()
    assert found.inputs == 1000
    assert found.answers["taken"] > 0
