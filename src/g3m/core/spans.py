"""A set of byte ranges of one file: what is written, what is promised, and the gaps between.

Ranges are half-open, `start <= byte < end`; neighbours are joined, so a file that is fetched in order
is one range however many pieces it came in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]


class Spans:
    """Disjoint ranges in order. All methods take time in the number of ranges, never of bytes."""

    __slots__ = ("_ends", "_starts", "size_bytes")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.size_bytes = 0
        for start, end in spans:
            self.add(start, end)

    def __iter__(self) -> Iterator[Span]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Spans({list(self)})"

    def add(self, start: int, end: int) -> None:
        """Add a range; what was there already stays."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        for number in range(first, last):
            self.size_bytes -= self._ends[number] - self._starts[number]
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        self.size_bytes += end - start

    def remove(self, start: int, end: int) -> None:
        """Take a range out, wherever it was in."""
        if start >= end:
            return
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        kept: list[Span] = []
        for number in range(first, last):
            begin, stop = self._starts[number], self._ends[number]
            self.size_bytes -= stop - begin
            kept += [(begin, start)] if begin < start else []
            kept += [(end, stop)] if stop > end else []
        self._starts[first:last] = [begin for begin, _ in kept]
        self._ends[first:last] = [stop for _, stop in kept]
        self.size_bytes += sum(stop - begin for begin, stop in kept)

    def covers(self, start: int, end: int) -> bool:
        """Whether every byte of a range is in; an empty range always is."""
        if start >= end:
            return True
        number = bisect_right(self._starts, start) - 1
        return number >= 0 and self._ends[number] >= end

    def within(self, start: int, end: int) -> Iterator[Span]:
        """The parts of a range that are in, in order."""
        for gap_start, gap_end in [*self.gaps(start, end), (end, end)]:
            if start < gap_start:
                yield start, gap_start
            start = gap_end

    def gaps(self, start: int, end: int) -> Iterator[Span]:
        """The free ranges between `start` and `end`, in order."""
        number = max(bisect_right(self._starts, start) - 1, 0)
        while start < end and number < len(self._starts):
            begin, stop = self._starts[number], self._ends[number]
            if begin >= end:
                break
            if begin > start:
                yield start, begin
            start = max(start, stop)
            number += 1
        if start < end:
            yield start, end
