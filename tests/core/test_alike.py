"""core/alike.py: what hashes say, what they cannot say, and what a list of leaks is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.alike import (
    BOTH_LIMIT,
    CORRELATION,
    FLAT_BITS,
    ROWS_LIMIT,
    SAME_BYTES,
    Leak,
    Leaks,
    Searched,
    correlation,
    hamming,
    is_flat,
    judged,
    pack_columns,
    pack_rows,
    signed,
)

HASH = st.integers(-(2**63), 2**63 - 1)
GREY = st.binary(min_size=16, max_size=16)


def leak(**changes: object) -> Leak:
    values = {"dataset": "train", "number": 7, "key": "a", "like_number": 1, "like_key": "b", "why": "exact"}
    return Leak(**{**values, **changes})  # type: ignore[arg-type]


def leaks(**changes: object) -> Leaks:
    values: dict[str, object] = {"evaluation": "valid", "samples": 5, "looked": 5}
    return Leaks(**{**values, **changes})  # type: ignore[arg-type]


@given(st.binary(min_size=72, max_size=72))
def test_rows_compare_each_level_with_its_left_neighbour(levels: bytes) -> None:
    """Bit by bit, row by row, the first bit the highest: the plain definition of a dHash."""
    bits = [
        levels[9 * row + column + 1] > levels[9 * row + column] for row in range(8) for column in range(8)
    ]
    assert pack_rows(levels) == signed(int("".join(str(int(bit)) for bit in bits), 2))


@given(st.binary(min_size=72, max_size=72))
def test_columns_compare_each_level_with_its_upper_neighbour(levels: bytes) -> None:
    """The other half of the hash is the same, turned."""
    bits = [
        levels[8 * (row + 1) + column] > levels[8 * row + column] for row in range(8) for column in range(8)
    ]
    assert pack_columns(levels) == signed(int("".join(str(int(bit)) for bit in bits), 2))


@pytest.mark.parametrize(
    ("levels", "rows", "columns"),
    [
        (lambda x, y: 128, 0, 0),
        (lambda x, y: 20 * x, -1, 0),
        (lambda x, y: 200 - 20 * x, 0, 0),
        (lambda x, y: 20 * y, 0, -1),
        (lambda x, y: 10 * (x + y), -1, -1),
    ],
    ids=["plain", "brighter to the right", "darker to the right", "brighter below", "both"],
)
def test_slopes_have_the_hashes_that_one_expects(levels: object, rows: int, columns: int) -> None:
    """A slope is all ones in its direction, and no bits where nothing rises; all of them count as flat."""
    wide = bytes(levels(x, y) for y in range(8) for x in range(9))  # type: ignore[operator]
    high = bytes(levels(x, y) for y in range(9) for x in range(8))  # type: ignore[operator]
    assert (pack_rows(wide), pack_columns(high)) == (rows, columns)
    assert is_flat(rows, columns)


@given(HASH, HASH, HASH)
def test_hamming_is_a_distance(one: int, other: int, third: int) -> None:
    """It is 0 for equal hashes alone, the same both ways, no more than 64, and no detour is shorter."""
    assert hamming(one, one) == 0
    assert hamming(one, other) == hamming(other, one) <= 64
    assert (hamming(one, other) == 0) == (one == other)
    assert hamming(one, third) <= hamming(one, other) + hamming(other, third)


@given(st.integers(0, 2**64 - 1))
def test_a_hash_fits_into_a_column_of_sqlite(bits: int) -> None:
    """Signed, it keeps all its bits."""
    assert -(2**63) <= signed(bits) < 2**63
    assert signed(bits) % 2**64 == bits


@given(st.sets(st.integers(0, 63), max_size=FLAT_BITS), st.booleans(), HASH)
def test_few_bits_are_flat_only_if_both_halves_have_few(places: set[int], turned: bool, other: int) -> None:
    """A picture that varies one way is no flat one."""
    few = sum(1 << place for place in places)
    few = signed(few ^ (2**64 - 1) if turned else few)
    assert is_flat(few, few)
    assert is_flat(few, other) == is_flat(other, few) == is_flat(other, other)


def test_photographs_are_not_flat() -> None:
    """The fewest bits of any measured photograph are thirteen; the limit is far below."""
    assert not is_flat(2**13 - 1, 2**13 - 1)
    assert not is_flat(0, 2 ** (FLAT_BITS + 1) - 1)


@given(GREY, GREY)
def test_correlation_is_what_the_formula_says(one: bytes, other: bytes) -> None:
    """It is 1 with itself, the same both ways, within -1 and 1, and 0 for what does not vary."""
    value = correlation(one, other)
    assert value == correlation(other, one)
    assert -1.0000001 <= value <= 1.0000001
    assert correlation(one, one) == pytest.approx(1.0 if len(set(one)) > 1 else 0.0)
    assert correlation(one, bytes([7]) * 16) == 0.0


@given(st.lists(st.integers(0, 100), min_size=16, max_size=16), st.integers(0, 55))
def test_brightness_and_contrast_do_not_change_a_correlation(levels: list[int], more: int) -> None:
    """A brighter copy with twice the contrast correlates fully, a negative fully the other way."""
    plain, brighter = bytes(levels), bytes(2 * level + more for level in levels)
    if len(set(levels)) > 1:
        assert correlation(plain, brighter) == pytest.approx(1.0)
        assert correlation(plain, bytes(100 - level for level in levels)) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("candidates", "wanted"),
    [
        ([], None),
        ([(0, 0.5)], None),
        ([(0, CORRELATION)], (0, "near")),
        ([(3, 0.5), (9, 0.99), (8, 0.95)], (2, "near")),
        ([(0, None), (5, 0.95)], (1, "near")),
        ([(0, 0.5), (6, None), (4, None)], (2, "unsure")),
    ],
    ids=["none", "refuted", "at the limit", "nearest confirmed", "confirmed beats open", "nearest open"],
)
def test_judged_takes_what_is_confirmed_before_what_is_open(
    candidates: list[tuple[int, float | None]], wanted: tuple[int, str] | None
) -> None:
    """A confirmed candidate counts first, an open one second, a refuted one never."""
    assert judged(candidates) == wanted


def test_an_exclusion_file_names_each_sample_with_its_reason() -> None:
    """One line of JSON for each pair, with what loaders read (dataset, key) and why it stands there."""
    odd = leak(key='q"uote/√\n', why="near", bits=3, correlation=0.97)
    lines = list(leaks(pairs=(leak(), odd)).exclusion())
    assert [json.loads(line) for line in lines] == [
        {"dataset": "train", "key": "a", "why": "exact", "like": "valid/b"},
        {"dataset": "train", "key": 'q"uote/√\n', "why": "near", "like": "valid/b"},
    ]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)


@pytest.mark.parametrize(
    ("changes", "complete"),
    [
        ({}, True),
        ({"datasets": (Searched(dataset="train", samples=3, looked=3),)}, True),
        ({"datasets": (Searched(dataset="train", samples=3, looked=2),)}, False),
        ({"looked": 4}, False),
        ({"is_crowded": True}, False),
    ],
)
def test_an_answer_is_complete_only_if_every_picture_was_looked_at(
    changes: dict[str, object], complete: bool
) -> None:
    """What was not looked at, or not compared, makes an answer say that it does not cover everything."""
    assert leaks(**changes).is_complete is complete


def test_the_limits_leave_room_between_copies_and_different_pictures() -> None:
    """Copies differ in no more bits than allowed, and different photographs were measured to differ in 26."""
    assert ROWS_LIMIT < BOTH_LIMIT < 26
    assert 0.82 < CORRELATION < 0.93


def test_the_limits_of_likeness() -> None:
    """The numbers that the measurements of the module speak of."""
    assert (ROWS_LIMIT, BOTH_LIMIT, CORRELATION, FLAT_BITS, SAME_BYTES) == (7, 16, 0.9, 4, 0)


@pytest.mark.parametrize("bits", [0, 1, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1])
def test_the_ends_of_signed_numbers(bits: int) -> None:
    """From 2**63 on a number of 64 bits is below zero."""
    assert signed(bits) == (bits if bits < 2**63 else bits - 2**64)
    assert -(2**63) <= signed(bits) < 2**63
