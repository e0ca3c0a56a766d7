"""What makes two pictures alike: hashes of brightness (dHash), how far two are apart, and what a leak is.

A picture is squeezed to 9 x 8 grey levels, and each of 64 bits says whether a level is brighter than its
left neighbour (`rows`); squeezed to 8 x 9, whether one is brighter than its upper neighbour (`columns`).
Both are kept as signed 64-bit numbers, as SQLite keeps numbers. Both 0: there is no hash, because the picture
does not decode or is flat, and flat pictures would all be alike.

Measured with 239 photographs of COCO, about 640 x 480, by bench/alike.py. Of the copies, all of JPEG quality
50 to 90: how many have hashes as near as the limits below say, how many of all the second comparison
confirms, and how much the grey pictures correlate of the one in a hundred that is least like the original:

    JPEG again                                    99.6 %   99.6 %    1.00
    scaled to 50 to 90 %                          99.8 %   99.8 %    1.00
    scaled, brightness and contrast +- 10 %       99.8 %   99.8 %    1.00
    2 % cut off on each side, scaled              95 %     95 %      0.93
    3 % cut off on each side                      73 %     71 %      0.86
    5 % cut off on each side                      19 %     14 %      0.63
    2 to 5 % cut off on one side                  84 %     83 %      0.86
    mirrored: another picture                     none     none

Of lossless pictures the hashes are those of the ImageHash package (4.3), bit for bit; of JPEGs, which are
decoded at an eighth of their size, 0.7 of the 128 bits differ from those on average.

Of the 28441 pairs of different ones the nearest differ in 26 of the 128 bits, and none correlates by more
than 0.82. Of 5e9 pairs of drawn pictures with the spectrum of photographs (amplitude 1/f and 1/f to the 1.3)
none were near by hash. Of as many very smooth ones (1/f squared, like clouds and studio backgrounds) 68 were,
and the second comparison refuted 64 of them.

So what is found is the same photograph, encoded or scaled anew. What is cut, mirrored or painted over is
mostly not found, and pictures of one simple, soft layout can be near without being the same: so `near` is
confirmed by the second comparison, and its pairs are listed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

ROWS_LIMIT = 7
"""Of the 64 bits of `rows`, so many may differ."""

BOTH_LIMIT = 16
"""Of all 128 bits, so many may differ."""

CORRELATION = 0.9
"""So much two small grey pictures must correlate for a near pair to be confirmed."""

FLAT_BITS = 4
"""Where no more bits than this stand against the others, in both hashes, there is one tone or one slope."""

SAME_BYTES = 0
"""The distance of two pictures of the same bytes; hashes that differ in n bits have the distance n + 1."""

Why = Literal["exact", "near", "unsure"]

WHY: tuple[Why, ...] = ("exact", "near", "unsure")
"""The same bytes; alike by hash and by the second comparison; alike by hash, not compared a second time."""

_LOW = 2**64 - 1


def pack_rows(levels: bytes) -> int:
    """The hash of 9 x 8 grey levels, row by row: is each brighter than the one to its left?"""
    bits = 0
    for row in range(8):
        for column in range(8):
            place = row * 9 + column
            bits = bits << 1 | (levels[place + 1] > levels[place])
    return signed(bits)


def pack_columns(levels: bytes) -> int:
    """The hash of 8 x 9 grey levels, row by row: is each brighter than the one above it?"""
    bits = 0
    for place in range(64):
        bits = bits << 1 | (levels[place + 8] > levels[place])
    return signed(bits)


def signed(bits: int) -> int:
    """64 bits as a signed number.

    >>> signed(2**64 - 1), signed(5)
    (-1, 5)
    """
    return bits - 2**64 if bits >= 2**63 else bits


def hamming(one: int, other: int) -> int:
    """In how many of 64 bits two hashes differ.

    >>> hamming(-1, 0)
    64
    """
    return ((one ^ other) & _LOW).bit_count()


def is_flat(rows: int, columns: int) -> bool:
    """Whether hashes say too little to be compared.

    >>> is_flat(0, -1), is_flat(0, 0x1F)
    (True, False)
    """
    return all(min(hamming(half, 0), hamming(half, -1)) <= FLAT_BITS for half in (rows, columns))


def correlation(one: bytes, other: bytes) -> float:
    """How much two grey pictures of one size vary together: 1.0 the same but for brightness and contrast.

    0.0 where one of them does not vary.

    >>> correlation(bytes([1, 2, 3]), bytes([10, 20, 30])), correlation(b"aa", b"ab")
    (1.0, 0.0)
    """
    count = len(one)
    sum_one, sum_other = sum(one), sum(other)
    both = count * sum(map(int.__mul__, one, other)) - sum_one * sum_other
    square_one = count * sum(map(int.__mul__, one, one)) - sum_one**2
    square_other = count * sum(map(int.__mul__, other, other)) - sum_other**2
    if not square_one or not square_other:
        return 0.0
    return both / math.sqrt(square_one * square_other)


def judged(candidates: Sequence[tuple[int, float | None]]) -> tuple[int, Why] | None:
    """Which of several (bits, correlation) a picture is the same as, and how sure that is; None: no one.

    A candidate that was not compared a second time counts only where none is confirmed.

    >>> judged([(3, 0.2), (5, 0.97)]), judged([(3, 0.2), (5, None)]), judged([(3, 0.2)])
    ((1, 'near'), (1, 'unsure'), None)
    """
    confirmed = [
        place for place, (_, value) in enumerate(candidates) if value is not None and value >= CORRELATION
    ]
    if confirmed:
        return min(confirmed, key=lambda place: candidates[place][0]), "near"
    open_ones = [place for place, (_, value) in enumerate(candidates) if value is None]
    return (min(open_ones, key=lambda place: candidates[place][0]), "unsure") if open_ones else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A sample whose picture is also in the evaluation set, and which it is there (`like_...`).

    `bits` of 128 differ between the hashes. `correlation` is that of the second comparison, None if there
    was none.
    """

    dataset: str
    number: int
    key: str
    like_number: int
    like_key: str
    why: Why
    bits: int = 0
    correlation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A dataset that was searched: its samples, of how many the picture was looked at, what was found."""

    dataset: str
    samples: int
    looked: int
    exact: int = 0
    near: int = 0
    unsure: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """Which samples of other datasets have a picture of the evaluation set.

    `samples` and `looked` are those of the evaluation set, `hit` how many of its samples are found elsewhere.
    `refuted`: alike by hash, and the second comparison said no. `is_cut`: the counts are of all, `pairs` has
    the first of them. `is_crowded`: too many pictures have nearly one hash to compare them all.
    """

    evaluation: str
    samples: int
    looked: int
    hit: int = 0
    datasets: tuple[Searched, ...] = ()
    pairs: tuple[Leak, ...] = field(default=(), repr=False)
    refuted: int = 0
    is_cut: bool = False
    is_crowded: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every picture of every dataset was looked at."""
        searched = all(one.looked >= one.samples for one in self.datasets)
        return self.looked >= self.samples and searched and not self.is_crowded

    def exclusion(self) -> Iterator[str]:
        """The lines of an exclusion file: what is exactly or nearly in the evaluation set.

        `unsure` is among them, marked so: to leave out too much costs a sample, too little a result.
        """
        for leak in self.pairs:
            like = f"{self.evaluation}/{leak.like_key}"
            line = {"dataset": leak.dataset, "key": leak.key, "why": leak.why, "like": like}
            yield json.dumps(line, ensure_ascii=True) + "\n"
