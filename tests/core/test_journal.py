"""core/journal.py: what a journal's records say of bytes that were used up."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.journal import FORMAT, Claim, Drop, Segment, drop_of, records, remaining, seal

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


CLAIM = {"offset": 5, "length": 10, "crc32": 7, "place": "a"}
PLACE = {"place": "a", "etag": "", "size_bytes": 3, "digests": ["md5:0"]}


def test_reading_ends_at_the_first_line_that_is_wrong() -> None:
    """Torn, with another checksum, no checksum, no JSON or no object: what stands behind such a line is not read."""
    good = seal(CLAIM)
    assert good == b"%08x %s\n" % (zlib.crc32(good[9:-1]), good[9:-1])
    assert json.loads(good[9:]) == CLAIM
    assert seal(dict(reversed(CLAIM.items()))) == good
    array, deep = (b"%08x %s\n" % (zlib.crc32(body), body) for body in (b"[5]", b"[" * 100_000))
    for wrong in (
        good[:-2],
        good[1:],
        b"0" * 8 + good[8:],
        b"",
        b"\n",
        b"zzzzzzzz {}\n",
        array,
        deep,
        good[9:],
        good[:8],
    ):
        assert list(records([good, wrong, good])) == [CLAIM]
    assert list(records([good, good[:-1]])) == [CLAIM, CLAIM]


def left(*found: dict[str, Any], size_bytes: int = 100) -> dict[int, Claim]:
    """The claims that records leave."""
    claims: dict[int, Claim] = {}
    assert list(remaining(found, claims, size_bytes)) == []
    return claims


def test_a_claim_is_taken_whole_or_not_at_all() -> None:
    """Up to the last byte of the file and not beyond; not where another claim lies; behind one it is taken."""
    first = Claim(10, 7, "a", False)
    assert left(CLAIM) == left(CLAIM, size_bytes=15) == {5: first}
    assert left(CLAIM, size_bytes=14) == {}
    for offset, length in ((5, 10), (0, 6), (14, 1), (0, 20), (7, 2)):
        assert left(CLAIM, {**CLAIM, "offset": offset, "length": length}) == {5: first}
    behind = {**CLAIM, "offset": 15, "length": 1, "crc32": 0, "place": "b"}
    assert left(CLAIM, behind, {**CLAIM, "offset": 0, "length": 5}) == {
        5: first, 15: Claim(1, 0, "b", False), 0: Claim(5, 7, "a", False),
    }  # fmt: skip
    assert left({**CLAIM, "offset": 0, "length": 1}) == {0: Claim(1, 7, "a", False)}


def test_what_was_lost_or_forgotten_may_be_claimed_anew() -> None:
    """A loss ends one claim, and forgetting a place ends all of that place and no other."""
    other = {**CLAIM, "offset": 50, "place": "b"}
    again = {**CLAIM, "place": "c"}
    assert left(CLAIM, other, {"lost": 5}, again) == {
        50: Claim(10, 7, "b", False),
        5: Claim(10, 7, "c", False),
    }
    assert left(CLAIM, {"lost": 6}, {"lost": "5"}, {"lost": None}) == {5: Claim(10, 7, "a", False)}
    assert left(CLAIM, other, {**CLAIM, "offset": 20}, {"forget": "a"}, again) == {
        50: Claim(10, 7, "b", False), 5: Claim(10, 7, "c", False),
    }  # fmt: skip
    assert left(CLAIM, {"forget": "x"}, {"forget": 5}) == {5: Claim(10, 7, "a", False)}


@pytest.mark.parametrize(
    "change",
    [{"offset": -1}, {"offset": "5"}, {"offset": 5.0}, {"offset": True}, {"length": 0}, {"length": -1}, {"length": None}, {"length": True},
     {"crc32": None}, {"crc32": "7"}, {"crc32": False}, {"place": None}, {"place": 5}],
)  # fmt: skip
def test_a_claim_that_makes_no_sense_is_passed_over(change: dict[str, Any]) -> None:
    """Numbers that are none, a place that is none, nothing claimed: what comes later counts all the same."""
    assert left({**CLAIM, **change}, {**CLAIM, "offset": 60}) == {60: Claim(10, 7, "a", False)}


@pytest.mark.parametrize(
    "change",
    [{"place": 5}, {"place": None}, {"etag": None}, {"etag": 5}, {"size_bytes": "3"}, {"digests": None}, {"digests": "md5:0"}, {"digests": [5]}],
)  # fmt: skip
def test_what_a_place_announced_is_handed_on(change: dict[str, Any]) -> None:
    """A record about a place comes out as it is, with or without a size; one that makes no sense does not."""
    unknown = {**PLACE, "size_bytes": None, "digests": []}
    claims: dict[int, Claim] = {}
    assert list(remaining([PLACE, {**PLACE, **change}, unknown, CLAIM], claims, 100)) == [PLACE, unknown]
    assert list(claims) == [5]


def test_a_segment_is_written_as_a_claim() -> None:
    """What a segment says of itself is read back as a claim that nobody has proved."""
    assert left(Segment(5, "a", 10, 7).record) == {5: Claim(10, 7, "a", False)}
    assert Segment(5, "a").record == {"offset": 5, "length": 0, "crc32": 0, "place": "a"}


def test_the_smallest_drop() -> None:
    """Nothing kept, nothing dropped, nothing digested is a drop; so is one that keeps all and ends at the front."""
    for drop in (Drop(0, 0, 0, {}), Drop(5, 5, 5, {"md5": "0"})):
        assert drop_of(drop.record) == drop


def test_the_format_of_journals() -> None:
    """Journals of another format are begun anew, so its number is raised on purpose only."""
    assert FORMAT == 2
