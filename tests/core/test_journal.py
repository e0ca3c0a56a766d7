"""core/journal.py: what a journal's records say of bytes that were used up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.journal import Claim, Drop, drop_of, records, remaining, seal

GOOD = Drop(100, 10, 150, {"sha256": "00ff"})


@given(st.lists(st.integers(0, 10**12), min_size=3, max_size=3), st.dictionaries(st.text(), st.text()))
def test_a_drop_is_read_as_it_was_written(numbers: list[int], states: dict[str, str]) -> None:
    """Through its line and back, for any offsets in their order."""
    kept, end, front = sorted(numbers)
    drop = Drop(end, kept, front, states)
    assert [drop_of(record) for record in records([seal(drop.record)])] == [drop]


@pytest.mark.parametrize(
    "change",
    [
        {"dropped": None},
        {"dropped": "100"},
        {"dropped": 1.5},
        {"dropped": 151},
        {"dropped": 9},
        {"kept": -1},
        {"kept": 101},
        {"kept": None},
        {"front": 99},
        {"front": "150"},
        {"states": None},
        {"states": ["00ff"]},
        {"states": "00ff"},
    ],
)
def test_a_record_that_makes_no_sense_is_no_drop(change: dict[str, Any]) -> None:
    """Missing or mistyped numbers, an end behind the front or before what is kept, states that are none."""
    assert drop_of(GOOD.record) == GOOD
    assert drop_of({**GOOD.record, **change}) is None


def test_other_records_are_no_drops() -> None:
    """A claim, a loss, a place and an empty record tell of none."""
    for record in (
        {"offset": 0, "length": 5, "crc32": 1, "place": "a"},
        {"lost": 3},
        {"place": "a", "etag": "", "size_bytes": 3, "digests": []},
        {},
    ):
        assert drop_of(record) is None


def test_a_drop_takes_no_claim_and_gives_none() -> None:
    """`remaining` passes it over: what it means for the claims is decided by who can go on with the digest."""
    claims: dict[int, Claim] = {}
    claim = {"offset": 0, "length": 200, "crc32": 1, "place": "a"}
    assert list(remaining([claim, GOOD.record], claims, 200)) == []
    assert claims == {0: Claim(200, 1, "a", False)}
