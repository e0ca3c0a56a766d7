"""Numbers for people: sizes, counts, durations, and tables of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_UNITS = ("kB", "MB", "GB", "TB")


def size_text(size_bytes: float | None) -> str:
    """A size in decimal units, as disks are sold and links are rated.

    >>> size_text(815585330), size_text(999), size_text(None)
    ('815.6 MB', '999 B', '?')
    """
    if size_bytes is None:
        return "?"
    if size_bytes < 1000:
        return f"{size_bytes:.0f} B"
    value, unit = size_bytes / 1000, 0
    while value >= 999.95 and unit + 1 < len(_UNITS):
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}"


def count_text(count: int | None) -> str:
    """A count with separators.

    >>> count_text(2905954)
    '2,905,954'
    """
    return "?" if count is None else f"{count:,}"


def duration_text(seconds: float | None) -> str:
    """A duration in its two largest units.

    >>> duration_text(33600), duration_text(75.2), duration_text(3), duration_text(None)
    ('9 h 20 min', '1 min 15 s', '3 s', '?')
    """
    if seconds is None:
        return "?"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> Iterator[str]:
    """Lines of a table with columns as wide as needed; columns numbered in `right` are right-aligned."""
    widths = [max(len(str(row[n])) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
