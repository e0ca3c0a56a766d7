"""core/permutation.py: every number once, each place by itself, and nothing that looks like an order."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.permutation import Permutation, mix

KEYS = st.integers(0, 2**64 - 1)


@given(size=st.integers(0, 3000), key=KEYS)
def test_every_number_once(size: int, key: int) -> None:
    """A permutation of any size holds each number of its range exactly once."""
    assert sorted(Permutation(size, key).take(range(size))) == list(range(size))


@given(size=st.integers(1, 2**40), key=KEYS, data=st.data())
def test_places_by_themselves(size: int, key: int, data: st.DataObject) -> None:
    """What stands at a place does not depend on what else is asked; two places never hold the same number."""
    places = data.draw(st.lists(st.integers(0, size - 1), unique=True, max_size=20))
    permutation = Permutation(size, key)
    found = permutation.take(places)
    assert found == [permutation.take((place,))[0] for place in places]
    assert len(set(found)) == len(found)
    assert all(0 <= number < size for number in found)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
def test_every_order_comes(size: int) -> None:
    """Of a small range every order comes, none much more often than another (chi-square, keys 0 to 11,999)."""
    counts = Counter(tuple(Permutation(size, mix(key)).take(range(size))) for key in range(12_000))
    orders = factorial(size)
    assert len(counts) == orders
    expected = 12_000 / orders
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    # Freedom orders - 1; six standard deviations above its mean.
    assert chi_square < (orders - 1) + 6 * (2 * (orders - 1)) ** 0.5


@pytest.mark.parametrize("size", [1000, 1024, 118_287])
def test_no_order_is_left(size: int) -> None:
    """Neighbours end up far apart, numbers fall evenly over places, and two keys agree no more than chance."""
    places = range(min(size, 20_000))
    found = Permutation(size, mix(1)).take(places)
    apart = [abs(after - before) for before, after in pairwise(found)]
    assert abs(sum(apart) / len(apart) / size - 1 / 3) < 0.02
    tenths = Counter(number * 10 // size for number in found)
    assert all(abs(count / len(found) - 0.1) < 0.02 for count in tenths.values())
    other = Permutation(size, mix(2)).take(places)
    assert sum(one == two for one, two in zip(found, other, strict=True)) < 12


def test_mix_depends_on_all() -> None:
    """Every number, their order and their count change the result, and half of its bits with it."""
    seen = [mix(), mix(0), mix(0, 0), mix(1), mix(0, 1), mix(1, 0), mix(2**64 - 1), mix(-1, 5)]
    assert len(set(seen)) == len(seen)
    changed = [(mix(number, 3) ^ mix(number ^ 1, 3)).bit_count() for number in range(500)]
    assert 30 < sum(changed) / len(changed) < 34
    assert all(0 <= value < 2**64 for value in seen)


def test_the_same_everywhere() -> None:
    """A seed means the same order on every machine and in every later version: these were computed once."""
    assert Permutation(10, mix(0)).take(range(10)) == GOLDEN_ORDER
    assert mix(0, 1, 2) == GOLDEN_MIX


GOLDEN_ORDER = [6, 4, 1, 3, 7, 5, 8, 2, 9, 0]
GOLDEN_MIX = 120165839918338250


@pytest.mark.parametrize(
    ("size", "found"),
    [
        (1, [0]), (2, [0, 1]), (10, [1, 7, 8]), (4095, [205, 261, 2624, 3918]), (4096, [1039, 3499, 3661, 3235]),
        (4097, [4008, 3244, 2768, 2466]), (118_287, [13453, 78844, 94716, 44010, 62311]), (3_000_001, [721303, 2691834, 1077108, 1997752, 887712]),
    ],
)  # fmt: skip
def test_an_order_stays_what_it_was(size: int, found: list[int]) -> None:
    """Training that is resumed with a newer version goes on in the same order: at the places 0, 1, 5, 4000, 100,000."""
    places = [place for place in (0, 1, 5, 4000, 100_000) if place < size]
    assert Permutation(size, mix(size)).take(places) == found


def test_mix_stays_what_it_was() -> None:
    """The hash of no number, of one, of three, and of what is more than 64 bits."""
    assert [mix(), mix(0), mix(1, 2, 3)] == [0, 10451216379200822465, 16239038894714499693]
    assert (mix(-1), mix(2**64)) == (16294208416658607535, mix(0))
