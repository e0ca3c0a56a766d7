"""core/spans.py: a set of ranges behaves like the set of its bytes, and keeps itself in order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.spans import Spans

END = 40
spots = st.integers(0, END)
ranges = st.tuples(spots, spots)
changes = st.lists(st.tuples(st.booleans(), ranges), max_size=25)


def _made(moves: list[tuple[bool, tuple[int, int]]]) -> tuple[Spans, set[int]]:
    """The same additions and removals, of ranges and of single bytes."""
    spans, model = Spans(), set[int]()
    for adds, (start, end) in moves:
        if adds:
            spans.add(start, end)
            model |= set(range(start, end))
        else:
            spans.remove(start, end)
            model -= set(range(start, end))
    return spans, model


def _bytes(spans: object) -> set[int]:
    return {byte for start, end in spans for byte in range(start, end)}  # type: ignore[attr-defined]


@given(changes)
def test_ranges_behave_like_their_bytes(moves: list[tuple[bool, tuple[int, int]]]) -> None:
    """However ranges are added and taken out: the same bytes, counted right, in order, and never touching."""
    spans, model = _made(moves)
    found = list(spans)
    assert _bytes(found) == model
    assert spans.size_bytes == len(model)
    assert len(spans) == len(found)
    assert bool(spans) == bool(model)
    assert all(start < end for start, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    assert Spans(found) == spans
    assert Spans(reversed(found)) == spans


@given(changes, ranges)
def test_gaps_and_overlaps_share_a_range_out(
    moves: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]
) -> None:
    """Of any range each byte is in one gap or in one overlap; both come in order, in whole runs."""
    spans, model = _made(moves)
    wanted = set(range(*asked))
    gaps, inside = list(spans.gaps(*asked)), list(spans.within(*asked))
    assert _bytes(gaps) == wanted - model
    assert _bytes(inside) == wanted & model
    assert sum(end - start for start, end in gaps + inside) == len(wanted)
    assert all(before[1] == after[0] for before, after in pairwise(sorted(gaps + inside)))
    for some in (gaps, inside):
        assert some == sorted(some)
        assert all(start < end for start, end in some)
        assert all(before[1] < after[0] for before, after in pairwise(some))


@given(changes, ranges)
def test_covering_means_every_byte(moves: list[tuple[bool, tuple[int, int]]], asked: tuple[int, int]) -> None:
    """A range is covered if no byte of it is missing; an empty one always is."""
    spans, model = _made(moves)
    assert spans.covers(*asked) == (set(range(*asked)) <= model)


@given(changes)
def test_a_copy_is_apart(moves: list[tuple[bool, tuple[int, int]]]) -> None:
    """What is made of a set's ranges does not change with it."""
    spans, model = _made(moves)
    twin = Spans(spans)
    spans.add(0, END)
    spans.remove(3, 7)
    assert _bytes(twin) == model


def test_neighbours_become_one() -> None:
    """A file that is fetched in order is one range, however many pieces it came in."""
    spans = Spans((start, start + 10) for start in range(0, 1000, 10))
    assert list(spans) == [(0, 1000)]
    spans.remove(500, 510)
    assert list(spans) == [(0, 500), (510, 1000)]
    spans.add(500, 510)
    assert list(spans) == [(0, 1000)]


def test_sizes_of_real_files_cost_nothing() -> None:
    """A gap of the size of the world is no more work than a small one."""
    spans = Spans([(2**61, 2**62)])
    assert list(spans.gaps(0, 2**63)) == [(0, 2**61), (2**62, 2**63)]
    assert spans.size_bytes == 2**61
    spans.remove(2**61 + 1, 2**62 - 1)
    assert spans.size_bytes == 2


def test_it_is_compared_by_its_ranges() -> None:
    """Equal ranges make equal sets; it changes, so it is no key; and it can be read in a failure."""
    assert Spans([(0, 1), (1, 2)]) == Spans([(0, 2)])
    assert Spans([(0, 1)]) != Spans([(0, 2)])
    assert Spans() != [(0, 1)]
    assert repr(Spans([(3, 5), (0, 1)])) == "Spans([(0, 1), (3, 5)])"
    with pytest.raises(TypeError):
        hash(Spans())
