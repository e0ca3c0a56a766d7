"""Charts: where the bars stand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.ui.web.charts import BOTTOM, HEIGHT, LEFT, WIDTH, Bar, columns, rows, share, spark

BARS = st.lists(st.builds(Bar, st.text(max_size=5), st.integers(0, 10**10)), max_size=60)


@given(BARS, st.booleans())
def test_every_column_stands_inside_of_the_drawing_and_none_overlaps(bars: list[Bar], is_log: bool) -> None:
    """Whatever the counts are, nothing leaves the drawing, and columns stand side by side in order."""
    chart = columns(bars, is_log=is_log)
    end = LEFT - 0.01
    for column in chart.columns:
        assert end <= column.x and column.x + column.width <= WIDTH
        assert 0 <= column.y <= column.y + column.height <= HEIGHT - BOTTOM + 0.01
        end = column.x + column.width
    assert [column.bar for column in chart.columns] == bars


@given(BARS, st.booleans())
def test_one_sample_can_be_seen_and_none_has_no_bar(bars: list[Bar], is_log: bool) -> None:
    """A bar is as high as its count is large, never invisible, and there is none for nothing."""
    for column in columns(bars, is_log=is_log).columns:
        assert (column.height > 0) == (column.bar.count > 0)


@pytest.mark.parametrize("is_log", [False, True])
def test_more_samples_are_a_higher_bar(is_log: bool) -> None:
    """Order of counts is order of heights, on both scales."""
    heights = [
        column.height
        for column in columns([Bar("", n) for n in (100, 500, 2000, 5000)], is_log=is_log).columns
    ]
    assert heights == sorted(heights) and len(set(heights)) == 4


def test_the_linear_scale_is_honest() -> None:
    """Twice as many samples are twice the height, and the scale begins at nothing."""
    one, two = columns([Bar("a", 40), Bar("b", 80)]).columns
    assert two.height == pytest.approx(2 * one.height, abs=0.02)


def test_levels_stand_where_a_bar_of_that_count_would_end() -> None:
    """The lines of the scale agree with the bars."""
    for is_log in (False, True):
        chart = columns([Bar("a", 100), Bar("b", 10), Bar("c", 50)], is_log=is_log)
        tops = {column.bar.count: column.y for column in chart.columns}
        for line in chart.lines:
            if line.count in tops:
                assert line.y == pytest.approx(tops[line.count], abs=0.02)
        assert {line.count for line in chart.lines} & set(tops)


def test_labels_keep_their_distance() -> None:
    """Fifty columns do not write fifty labels over one another."""
    labels = [
        column.middle for column in columns([Bar(str(n), n) for n in range(50)]).columns if column.label
    ]
    assert len(labels) > 3
    assert min(later - early for early, later in pairwise(labels)) >= 40


def test_no_bars_make_an_empty_chart() -> None:
    """Nothing to draw is no error."""
    assert columns([]).columns == () and rows([]) == ()


def test_rows_are_parts_of_the_longest() -> None:
    """Lying bars are in hundredths, the longest is a hundred."""
    assert [row.length for row in rows([Bar("a", 200), Bar("b", 50), Bar("c", 0)])] == [100, 25, 0]


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.booleans())
def test_a_share_is_between_nothing_and_all(count: int, more: int, is_log: bool) -> None:
    """No count is below nothing or above the most."""
    assert 0 <= share(count, count + more, is_log=is_log) <= 1


@given(st.lists(st.floats(0, 1e12), max_size=50))
def test_a_line_of_speeds_stays_in_its_box(values: list[float]) -> None:
    """Every point of a spark lies within 240 by 40."""
    points = [tuple(map(float, point.split(","))) for point in spark(values).split()]
    assert len(points) == (len(values) if len(values) > 1 else 0)
    assert all(0 <= x <= 240 and 0 <= y <= 40 for x, y in points)
