"""Charts as values: where each bar stands in a drawing, which a template then writes as SVG.

Pure: counts in, coordinates out. Colours are the style sheet's and links are given; nothing here is HTML.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 480, 172
"""The drawing of columns in its own units; it scales to the room there is."""

LEFT, RIGHT, TOP, BOTTOM = 46, 4, 10, 22
GAP = 2
SHORTEST = 1.5
"""A bar that stands for at least one sample can be seen."""

LABEL_ROOM = 52
"""Labels below the columns keep so much distance."""


@dataclass(frozen=True, slots=True)
class Bar:
    """What a bar stands for: its name, how many samples, and the page that shows them (None: no page)."""

    label: str
    count: int
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A bar as drawn, and the room around it that can be clicked; `label` is empty where there is none."""

    bar: Bar
    x: float
    width: float
    y: float
    height: float
    label: str
    middle: float


@dataclass(frozen=True, slots=True)
class Line:
    """A level of the scale: its height in the drawing and the count it stands for."""

    y: float
    count: int


@dataclass(frozen=True, slots=True)
class Columns:
    """A chart of upright bars, in units of its `width` by `height` drawing."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    is_log: bool
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    base: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Row:
    """A lying bar: its length in hundredths of the longest."""

    bar: Bar
    length: float


def share(count: int, most: int, *, is_log: bool = False) -> float:
    """How far a count reaches towards the largest, from 0 to 1; the scale of logs begins below one.

    >>> share(50, 100), share(0, 0), round(share(9, 99, is_log=True), 2)
    (0.5, 0.0, 0.5)
    """
    if most <= 0 or count <= 0:
        return 0.0
    return math.log10(1 + count) / math.log10(1 + most) if is_log else count / most


def columns(bars: Sequence[Bar], *, is_log: bool = False) -> Columns:
    """Upright bars side by side, in the order given."""
    most = max((bar.count for bar in bars), default=0)
    top = most if is_log else _round_up(most)
    room, base = (WIDTH - LEFT - RIGHT) / max(len(bars), 1), HEIGHT - BOTTOM
    every = max(1, math.ceil(LABEL_ROOM / room))
    drawn = []
    for place, bar in enumerate(bars):
        height = share(bar.count, top, is_log=is_log) * (base - TOP)
        height = max(height, SHORTEST) if bar.count else 0.0
        x = LEFT + place * room
        gap = min(GAP, room / 4)
        label = bar.label if place % every == 0 else ""
        drawn.append(
            Column(
                bar,
                _short(x),
                _short(room - gap),
                _short(base - height),
                _short(height),
                label,
                _short(x + room / 2),
            )
        )
    return Columns(tuple(drawn), _levels(top, base, is_log=is_log), is_log)


def rows(bars: Sequence[Bar], *, is_log: bool = False) -> tuple[Row, ...]:
    """Lying bars, one below the other, in the order given."""
    most = max((bar.count for bar in bars), default=0)
    return tuple(Row(bar, _short(100 * share(bar.count, most, is_log=is_log))) for bar in bars)


def spark(values: Sequence[float], width: int = 240, height: int = 40) -> str:
    """The points of a line through some values, for an SVG `polyline`; empty for fewer than two.

    >>> spark([0, 5, 10], 20, 10)
    '0,9 10,5 20,1'
    """
    if len(values) < 2:
        return ""
    most = max(values) or 1
    step = width / (len(values) - 1)
    room = height - 2
    return " ".join(
        f"{_text(place * step)},{_text(1 + room * (1 - value / most))}" for place, value in enumerate(values)
    )


def _round_up(count: int) -> int:
    """A round number above, and not far above."""
    if count <= 0:
        return 1
    power = int(10 ** (len(str(count)) - 1))
    steps = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
    return next(power * step // 10 for step in steps if power * step >= 10 * count and power * step % 10 == 0)


def _levels(top: int, base: int, *, is_log: bool) -> tuple[Line, ...]:
    if is_log:
        counts = [int(10**power) for power in range(len(str(max(top, 1))))]
        every = max(1, math.ceil(len(counts) / 4))
        counts = counts[::every]
    else:
        counts = sorted({top // 2, top}) if top > 1 else [top]
    return tuple(
        Line(_short(base - share(count, top, is_log=is_log) * (base - TOP)), count)
        for count in counts
        if count
    )


def _short(value: float) -> float:
    return round(value, 2)


def _text(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
