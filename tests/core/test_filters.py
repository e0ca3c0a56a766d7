"""core/gathering.py, the filters: what a header's width and height decide before anything is decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.gathering import Filters
from g3m.core.outcomes import REASONS

SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("filters", "size", "reason"),
    [
        (Filters(), (1, 20_000), ""),
        (Filters(least_side=200), (200, 200), ""),
        (Filters(least_side=200), (199, 4000), "too_small"),
        (Filters(least_side=200), (4000, 199), "too_small"),
        (Filters(most_aspect=3.0), (600, 200), ""),
        (Filters(most_aspect=3.0), (601, 200), "aspect"),
        (Filters(most_aspect=3.0), (200, 601), "aspect"),
        (Filters(most_aspect=1.0), (300, 300), ""),
        (Filters(least_side=200, most_aspect=3.0), (100, 900), "too_small"),
        (Filters(least_side=200, most_aspect=3.0), (0, 0), ""),
        (Filters(least_side=200), (0, 300), ""),
    ],
)
def test_the_bound_itself_is_allowed(filters: Filters, size: tuple[int, int], reason: str) -> None:
    """What has exactly the asked size or ratio stays, and a size that no header states is no reason."""
    assert filters.refuse(*size) == reason


@given(SIDES, SIDES, st.integers(0, 2000), st.floats(1, 50))
def test_turning_a_picture_changes_nothing(width: int, height: int, side: int, aspect: float) -> None:
    """A picture on its side gets the same answer, and every answer is a code that the tables know."""
    filters = Filters(least_side=side, most_aspect=aspect)
    found = filters.refuse(width, height)
    assert found == filters.refuse(height, width)
    assert not found or found in REASONS


@given(SIDES, SIDES)
def test_no_limit_refuses_nothing(width: int, height: int) -> None:
    """The defaults let everything through."""
    assert Filters().refuse(width, height) == ""
