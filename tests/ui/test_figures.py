"""ui/figures.py: numbers for people are near the truth, never empty, and never in a unit that hides them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.ui.figures import count_text, duration_text, size_text

UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SECONDS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


@given(st.integers(0, 10**18))
def test_a_size_is_within_a_twentieth_of_a_percent_or_of_a_tenth(size_bytes: int) -> None:
    """What is shown differs from the size by half of its last digit at most, and keeps below a thousand."""
    number, unit = size_text(size_bytes).split(" ")
    step = 1 if unit == "B" else 0.1
    assert abs(float(number) * UNITS[unit] - size_bytes) <= step / 2 * UNITS[unit] * 1.0001
    assert float(number) < 1000 or unit == "TB"
    assert float(number) >= 1 or size_bytes == 0


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (19_336_861_798, "19.3 GB"),
        (3 * 10**15, "3000.0 TB"),
        (None, "?"),
    ],
)
def test_sizes(size_bytes: int | None, text: str) -> None:
    """Decimal units, and a question mark for what nobody knows."""
    assert size_text(size_bytes) == text


@given(st.integers(0, 10**15))
def test_a_count_loses_nothing(count: int) -> None:
    """Without its separators a count is the number."""
    text = count_text(count)
    assert int(text.replace(",", "")) == count
    assert re.fullmatch(r"\d{1,3}(,\d{3})*", text)


def test_an_unknown_count() -> None:
    """A count that nobody knows is a question mark and not a zero."""
    assert (count_text(None), count_text(0)) == ("?", "0")


@given(st.floats(0, 10**8))
def test_a_duration_is_cut_to_its_two_largest_units(seconds: float) -> None:
    """What is shown is at most the duration, and less than one of its smaller unit away."""
    parts = re.findall(r"(\d+) (d|h|min|s)", duration_text(seconds))
    shown = sum(int(number) * SECONDS[unit] for number, unit in parts)
    assert 1 <= len(parts) <= 2
    assert 0 <= seconds - shown < SECONDS[parts[-1][1]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86400, "1 d 0 h"),
        (None, "?"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    """Each unit begins where the one below it is full."""
    assert duration_text(seconds) == text
