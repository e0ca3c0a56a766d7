"""Which of millions of pictures are alike, from their digests and hashes alone; in numpy.

Exact are pictures of one digest; near those whose hashes are within the limits of core/alike.py. To compare
all with all would take days. So the 64 bits of `rows` are dealt into four bands of sixteen: where seven bits
differ at most, one of the bands differs in no more than one. Each picture is compared with those whose band
is the same or one bit away, some thousandth of all. A band takes its bits from all over the picture, because
neighbouring bits agree too often. With evenly spread bits 3.65 million pictures take some 15 seconds, and 41
thousand against them 5.

Memory: 40 bytes a picture, three times that while sorting, and a bounded number of pairs. Pictures of one
digest, and of one hash, are tied to the first of them, never each to each. Where more than CROWD different
hashes have one band, each is compared with its neighbours among them only, and `is_crowded` says so.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from g3m.core.alike import BOTH_LIMIT, ROWS_LIMIT

CROWD = 1024
"""More different hashes with one band are not all compared with one another."""

NEIGHBOURS = 64
"""With how many of the next each of a crowd is compared."""

LINKS = 8
"""Of so many near pictures a picture's nearest are kept."""

BLOCK = 2**22
"""Comparisons made at once: 32 MB."""

COMPARED_LIMIT = 2**28
"""More comparisons of one band of one set with one of another are not made; where bits are evenly spread,
41 thousand pictures against 3.65 million have some thousand."""

_BANDS = 4
_DENSE = 4 * LINKS
_WAITING = 2**21
_KEYS_AT_ONCE = 512
_BITS = sorted(range(64), key=lambda bit: ((3 * (bit // 8) + bit % 8) % 8, bit))
"""The bits of `rows` in the order in which the bands take them: each has two diagonals of the picture."""

_MASKS = [sum(1 << bit for bit in _BITS[band * 16 : band * 16 + 16]) for band in range(_BANDS)]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures in the order of their ids: id, digest (its first 16 bytes) and hash of each."""

    ids: Any
    digests: Any
    rows: Any
    columns: Any

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Places of pictures (the first, the other), and in how many bits of 128 their hashes differ."""

    ones: Any
    others: Any
    bits: Any
    is_crowded: bool = False

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.ones.tolist(), self.others.tolist(), self.bits.tolist(), strict=True)

    def __len__(self) -> int:
        return len(self.ones)


def pictures(looks: Iterable[tuple[int, bytes, int, int]]) -> Pictures:
    """Pictures from (id, digest, rows, columns) in the order of ids."""
    import numpy

    ids, digests, halves = array("q"), bytearray(), array("q")
    for one, digest, rows, columns in looks:
        ids.append(one)
        digests += digest[:16].ljust(16, b"\0")
        halves.append(rows)
        halves.append(columns)
    both = numpy.frombuffer(halves, numpy.int64).view(numpy.uint64).reshape(-1, 2)
    return Pictures(
        numpy.frombuffer(ids, numpy.int64),
        numpy.frombuffer(digests, numpy.uint64).reshape(-1, 2),
        both[:, 0].copy(),
        both[:, 1].copy(),
    )


def exact(found: Pictures) -> Pairs:
    """Every picture whose digest an earlier one has, with the first that has it."""
    import numpy

    first = _first_of(found.digests[:, 0], found.digests[:, 1])
    others = numpy.flatnonzero(~_is_first(first) & found.digests.any(axis=1))
    return Pairs(first[others], others, numpy.zeros(len(others), numpy.int64))


def near(found: Pictures) -> Generator[float, None, Pairs]:
    """Pairs of pictures that are alike and not of one digest; yields how much is done, 0 to 1.

    Of the pictures of one digest the first stands for all, and so of those of one hash, which are tied to it.
    """
    import numpy

    places = numpy.flatnonzero((found.rows | found.columns) != 0)
    places = places[_is_first(_first_of(found.digests[places, 0], found.digests[places, 1]))]
    first = _first_of(found.rows[places], found.columns[places])
    tied, heads = numpy.flatnonzero(~_is_first(first)), places[_is_first(first)]
    search = _Search((found.rows[heads], found.columns[heads]))
    yield from search.run()
    ones, others, bits = search.nearest()
    return Pairs(
        numpy.concatenate([places[first[tied]], heads[ones]]),
        numpy.concatenate([places[tied], heads[others]]),
        numpy.concatenate([numpy.zeros(len(tied), numpy.int64), bits]),
        search.is_crowded,
    )


def exact_to(found: Pictures, wanted: Pictures) -> Pairs:
    """For every picture with a digest of `wanted`: the first such place there, and its own."""
    import numpy

    count = len(wanted)
    joined = numpy.concatenate([wanted.digests, found.digests])
    first = _first_of(joined[:, 0], joined[:, 1])[count:]
    others = numpy.flatnonzero((first < count) & found.digests.any(axis=1))
    return Pairs(first[others], others, numpy.zeros(len(others), numpy.int64))


def near_to(found: Pictures, wanted: Pictures) -> Generator[float, None, Pairs]:
    """For every picture the nearest LINKS of `wanted` that it is alike to: the place there, and its own.

    Yields how much is done. What is of one digest is among them, if it has a hash.
    """
    import numpy

    mine, places, numbers = _distinct(found)
    there, _, _ = _distinct(wanted)
    search = _Search((wanted.rows[there], wanted.columns[there]), (found.rows[mine], found.columns[mine]))
    yield from search.run()
    ones, others, bits = search.nearest()
    # One hash may be that of several pictures here: all of them are alike to what it is alike to.
    order = numpy.argsort(numbers, kind="stable")
    starts = numpy.searchsorted(numbers[order], others, "left")
    counts = numpy.searchsorted(numbers[order], others, "right") - starts
    each = numpy.arange(counts.sum()) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
    mates = places[order[numpy.repeat(starts, counts) + each]]
    ones, bits = numpy.repeat(there[ones], counts), numpy.repeat(bits, counts)
    order = numpy.argsort(mates, kind="stable")  # the nearest stay first
    return Pairs(ones[order], mates[order], bits[order], search.is_crowded)


def _distinct(found: Pictures) -> tuple[Any, Any, Any]:
    """The first place of each hash; all places that have one; and which of the first has the hash of each."""
    import numpy

    places = numpy.flatnonzero((found.rows | found.columns) != 0)
    first = _first_of(found.rows[places], found.columns[places])
    heads = numpy.flatnonzero(_is_first(first))
    return places[heads], places, numpy.searchsorted(heads, first)


def _first_of(high: Any, low: Any) -> Any:
    """For every place the first place with the same two numbers."""
    import numpy

    order = numpy.lexsort((low, high))  # stable: of equal ones, the first stays first
    changed: Any = numpy.ones(len(order), bool)
    changed[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    starts = numpy.flatnonzero(changed)
    first: Any = numpy.empty(len(order), numpy.int64)
    first[order] = order[numpy.repeat(starts, numpy.diff(numpy.append(starts, len(order))))]
    return first


def _is_first(first: Any) -> Any:
    import numpy

    return first == numpy.arange(len(first))


class _Search:
    """Pairs of near hashes, (rows, columns) each: within one set, or between two."""

    def __init__(self, mine: tuple[Any, Any], theirs: tuple[Any, Any] | None = None) -> None:
        import numpy

        self._mine, self._theirs = mine, theirs or mine
        self._within = theirs is None
        self._kept: Any = numpy.zeros((0, 3), numpy.int64)
        self._new: list[Any] = []
        self._waiting = 0
        self.is_crowded = False
        self._count = getattr(numpy, "bitwise_count", None) or _bitwise_count

    def run(self) -> Iterator[float]:
        """Compare; yields how much is done, 0 to 1."""
        for band in range(_BANDS):
            mine = _Sorted(self._mine[0], band)
            theirs = mine if self._within else _Sorted(self._theirs[0], band)
            for number, key in enumerate(mine.keys):
                if number % _KEYS_AT_ONCE == 0:
                    yield (band + number / len(mine.keys)) / _BANDS
                self._bucket(key, mine, theirs)
        self._settle()

    def nearest(self) -> tuple[Any, Any, Any]:
        """Place here, place there, and bits of every pair; no more than LINKS of a place there."""
        return self._kept[:, 0], self._kept[:, 1], self._kept[:, 2]

    def _bucket(self, key: int, mine: _Sorted, theirs: _Sorted) -> None:
        """Compare the hashes of one band with those whose band is the same or differs in one bit."""
        low, high = mine.bounds(key)
        if self._within:
            # Each pair of bands once: the bucket itself, and those behind it.
            keys = [other for bit in range(16) if (other := key ^ 1 << bit) > key]
            if high - low > CROWD:
                self._crowd(mine, low, high)
            else:
                keys.append(key)
        else:
            keys = [key, *(key ^ 1 << bit for bit in range(16))]
        parts, limit = [], (CROWD**2 if self._within else COMPARED_LIMIT)
        for other in keys:
            start, end = theirs.bounds(other)
            if (end - start) * (high - low) > limit:
                self.is_crowded = True
            elif start < end:
                parts.append((start, end))
        if parts:
            self._compare(mine, (low, high), theirs, parts)

    def _crowd(self, mine: _Sorted, low: int, high: int) -> None:
        """Of a crowd, compare each with the next few; sorted, they begin alike."""
        self.is_crowded = True
        for start in range(low, high, NEIGHBOURS):
            end = min(start + NEIGHBOURS, high)
            self._compare(mine, (start, end), mine, [(start, min(end + NEIGHBOURS, high))])

    def _compare(
        self, mine: _Sorted, bounds: tuple[int, int], theirs: _Sorted, parts: Sequence[tuple[int, int]]
    ) -> None:
        """Compare all between the bounds with all of the parts; of each of these, the nearest count."""
        import numpy

        some = mine.rows[bounds[0] : bounds[1]]
        rows = numpy.concatenate([theirs.rows[start:end] for start, end in parts])
        step = max(1, BLOCK // len(some))
        for low in range(0, len(rows), step):
            part = rows[low : low + step]
            bits = self._count(part[:, None] ^ some)
            hits = numpy.flatnonzero(bits <= ROWS_LIMIT)
            if not len(hits):
                continue
            if len(some) > _DENSE and len(hits) > _DENSE * len(part):
                nearest = numpy.argpartition(bits, _DENSE, axis=1)[:, :_DENSE]
                hits = (nearest + numpy.arange(len(part))[:, None] * len(some)).ravel()
                hits = hits[bits.ravel()[hits] <= ROWS_LIMIT]
            there, here = numpy.divmod(hits, len(some))
            places = numpy.concatenate([numpy.arange(start, end) for start, end in parts])[low + there]
            self._take(mine, bounds[0] + here, theirs, places)

    def _take(self, mine: _Sorted, here: Any, theirs: _Sorted, there: Any) -> None:
        """Pairs whose `rows` are near enough: kept if both hashes together are, and if they are new."""
        import numpy

        if self._within:
            once = here < there  # in one bucket each pair comes twice
            here, there = here[once], there[once]
            if not len(here):
                return
        apart = mine.rows[here] ^ theirs.rows[there]
        new: Any = numpy.ones(len(here), bool)
        if not self.is_crowded:
            for band in range(mine.band):  # what has met in a band before was compared there
                new &= self._count(apart & numpy.uint64(_MASKS[band])) > 1
        ones, others = mine.order[here[new]], theirs.order[there[new]]
        bits = self._count(apart[new]).astype(numpy.int64)
        bits += self._count(self._mine[1][ones] ^ self._theirs[1][others])
        good = bits <= BOTH_LIMIT
        ones, others = ones[good], others[good]
        if self._within:
            ones, others = numpy.minimum(ones, others), numpy.maximum(ones, others)
        self._new.append(numpy.stack([ones, others, bits[good]], axis=1))
        self._waiting += len(ones)
        if self._waiting > _WAITING:
            self._settle()

    def _settle(self) -> None:
        """Each pair once, and of each place there the nearest."""
        import numpy

        rows = numpy.concatenate([self._kept, *self._new])
        rows = rows[numpy.lexsort((rows[:, 0], rows[:, 2], rows[:, 1]))]
        is_new: Any = numpy.ones(len(rows), bool)
        is_new[1:] = (rows[1:] != rows[:-1]).any(axis=1)
        rows = rows[is_new]
        starts = numpy.searchsorted(rows[:, 1], rows[:, 1], "left")
        self._kept = rows[numpy.arange(len(rows)) - starts < LINKS]
        self._new, self._waiting = [], 0


class _Sorted:
    """Hashes sorted by one band."""

    def __init__(self, rows: Any, band: int) -> None:
        import numpy

        keys: Any = numpy.zeros(len(rows), numpy.uint16)
        for bit in _BITS[band * 16 : band * 16 + 16]:
            keys = keys << numpy.uint16(1) | (rows >> numpy.uint64(bit) & numpy.uint64(1)).astype(
                numpy.uint16
            )
        self.band = band
        self.order = numpy.lexsort((rows, keys))
        self.rows = rows[self.order]
        counts = numpy.bincount(keys, minlength=2**16)
        self._starts = [0, *numpy.cumsum(counts).tolist()]
        self.keys: list[int] = numpy.flatnonzero(counts).tolist()

    def bounds(self, key: int) -> tuple[int, int]:
        """Where the hashes of a band begin and end."""
        return self._starts[key], self._starts[key + 1]


def _bitwise_count(numbers: Any) -> Any:
    """How many bits of each unsigned 64-bit number are set, for a numpy older than 2.0."""
    import numpy

    table = numpy.array([value.bit_count() for value in range(256)], numpy.uint8)
    octets = numpy.ascontiguousarray(numbers).view(numpy.uint8).reshape(*numbers.shape, 8)
    return table[octets].sum(axis=-1, dtype=numpy.uint8)
