"""Which instance a client has: shares are fair, and only those move whose instance leaves."""

from __future__ import annotations

from collections import Counter

import pytest

from reld.nginx.clients import BUCKETS, dealt

EIGHT = tuple(f"127.0.0.1:{port}" for port in range(21000, 21008))


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_every_instance_has_about_its_share(count):
    shares = Counter(dealt(EIGHT[:count]))
    assert sum(shares.values()) == BUCKETS
    assert all(0.75 < shares[i] * count / BUCKETS < 1.25 for i in range(count))


@pytest.mark.parametrize("gone", range(4))
def test_only_the_clients_of_an_instance_that_leaves_move(gone):
    before = EIGHT[:4]
    after = before[:gone] + before[gone + 1 :]
    for old, new in zip(dealt(before), dealt(after), strict=True):
        assert old == gone or after[new] == before[old]


def test_the_order_of_the_addresses_does_not_matter():
    there, back = dealt(EIGHT), dealt(EIGHT[::-1])
    assert [EIGHT[i] for i in there] == [EIGHT[::-1][i] for i in back]
