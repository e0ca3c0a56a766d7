"""Where samples of a view may stand: the blocks of shards that have such samples, by the table `zone`.

What stands there is compared row by row in adapters/catalog_walk.py.
"""

from __future__ import annotations

import math
import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate

from g3m.core.browse import View, bounds
from g3m.core.catalog import PLACE_LIMIT, place_of, sample_id
from g3m.core.charts import BLOCK, bins_within

_GAP_BLOCKS = 8
"""Blocks so close are read together."""

Range = tuple[int, int]
"""The first and the last id."""


class Zones:
    """The shards and blocks in question for one view; the host counts nothing here."""

    def __init__(self, db: sqlite3.Connection, view: View) -> None:
        self._db, self._view = db, view

    @cached_property
    def shards(self) -> list[tuple[int, int, int]]:
        """Id, places and samples of the shards in question, in the order of ids."""
        view = self._view
        return self._db.execute(
            "SELECT shard.id, places, samples FROM shard JOIN dataset ON dataset.id = dataset"
            " WHERE (dataset.name = ? OR ? = '') AND (shard.name = ? OR ? = '') ORDER BY shard.id",
            (view.dataset, view.dataset, view.shard, view.shard),
        ).fetchall()

    @property
    def masks(self) -> dict[int, int] | None:
        """The blocks of each shard that may hold samples of the view; None: all do."""
        return self._found[0]

    @cached_property
    def blocks(self) -> int:
        """How many blocks may hold samples of the view."""
        if self.masks is None:
            return sum(-(-places // BLOCK) for _, places, _ in self.shards)
        return sum(bits.bit_count() for bits in self.masks.values())

    @cached_property
    def expected(self) -> float:
        """How many samples fit if no filter favours what another does; of one filter, what its bins count."""
        everything = self._everything
        return everything * math.prod(samples / everything for samples in self._found[1]) if everything else 0

    @cached_property
    def _everything(self) -> int:
        return sum(int(samples) for _, _, samples in self.shards)

    @cached_property
    def _found(self) -> tuple[dict[int, int] | None, list[int]]:
        """The masks, and how many samples each filter has in its bins."""
        here = {shard for shard, _, _ in self.shards}
        masks: dict[int, int] | None = None
        counts = []
        for chart, bins in self._charts():
            marks = ", ".join("?" * len(bins))
            rows = self._db.execute(
                f"SELECT shard, samples, blocks FROM zone WHERE chart = ? AND bin IN ({marks})",  # noqa: S608
                (chart, *bins),
            )
            own: dict[int, int] = {}
            counts.append(0)
            for shard, samples, blocks in rows:
                if shard in here:
                    own[shard] = own.get(shard, 0) | int.from_bytes(blocks, "little")
                    counts[-1] += int(samples)
            masks = (
                own
                if masks is None
                else {shard: masks[shard] & own[shard] for shard in masks.keys() & own.keys()}
            )
        return masks, counts

    def known(self) -> int | None:
        """How many samples a view without words has, where the catalog has counted them already."""
        charts = list(self._charts())
        if self._view.host or len(charts) > 1 or (charts and not self._is_whole(*charts[0])):
            return None
        return sum(self._found[1]) if charts else self._everything

    def _is_whole(self, chart: str, bins: Sequence[str]) -> bool:
        """Whether the filter of a chart takes all of its bins, so that counts of bins are its count."""
        span = self._view.spans().get(chart)
        if span is None:
            return True
        low, high = bounds(chart, span)
        wider = {
            *(bins_within(chart, low - 1, high) if low else ()),
            *(bins_within(chart, low, high + 1) if high is not None else ()),
        }
        outer = int(bool(low)) + int(high is not None)
        return len(wider - set(bins)) == outer

    def _charts(self) -> Iterator[tuple[str, list[str]]]:
        """The bins of each filter that the zones know."""
        for chart, span in self._view.spans().items():
            yield chart, bins_within(chart, *bounds(chart, span))
        for chart in ("format", "flag"):
            if name := getattr(self._view, chart):
                yield chart, [name]

    def ranges(self, low: int, high: int, *, backward: bool) -> Iterator[Range]:
        """Where samples of the view may stand, in order or backwards."""
        shards = reversed(self.shards) if backward else self.shards
        if self.masks is None:
            yield from self.whole(low, high, backward=backward)
            return
        for shard, _, _ in shards:
            if sample_id(shard + 1, 0) <= low or sample_id(shard, 0) > high:
                continue
            found = _runs(self.masks.get(shard, 0))
            for start, end in reversed(list(found)) if backward else found:
                one = max(sample_id(shard, start * BLOCK), low), min(sample_id(shard, end * BLOCK - 1), high)
                if one[0] <= one[1]:
                    yield one

    def whole(self, low: int, high: int, *, backward: bool) -> Iterator[Range]:
        """The shards in question, those with ids side by side as one."""
        made: list[Range] = []
        for shard, _, _ in self.shards:
            start, end = sample_id(shard, 0), sample_id(shard, PLACE_LIMIT - 1)
            if made and made[-1][1] + 1 == start:
                made[-1] = (made[-1][0], end)
            else:
                made.append((start, end))
        for start, end in reversed(made) if backward else made:
            if start <= high and end >= low:
                yield max(start, low), min(end, high)


class Places:
    """The blocks that may hold samples of a view, by number."""

    def __init__(self, shards: Sequence[tuple[int, int, int]], masks: dict[int, int] | None) -> None:
        self._masks: list[tuple[int, int]] = []
        for shard, places, _ in shards:
            all_blocks = (1 << -(-places // BLOCK)) - 1
            self._masks.append((shard, all_blocks if masks is None else masks.get(shard, 0)))
        self._ends = list(accumulate(bits.bit_count() for _, bits in self._masks))
        self._lists: dict[int, list[int]] = {}
        self.blocks = self._ends[-1] if self._ends else 0

    def block(self, number: int) -> int:
        """The first id of the block with this number."""
        at = bisect_right(self._ends, number)
        shard, bits = self._masks[at]
        if shard not in self._lists:
            self._lists[shard] = [place for place in range(bits.bit_length()) if bits >> place & 1]
        before = self._ends[at - 1] if at else 0
        return sample_id(shard, self._lists[shard][number - before] * BLOCK)


def _runs(bits: int) -> Iterator[Range]:
    """Where bits are set: first, and first behind; those with little between them as one."""
    start, end, at = -1, -1, 0
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        at += zeros
        ones = (~bits & (bits + 1)).bit_length() - 1
        if start < 0:
            start = at
        elif at - end > _GAP_BLOCKS:
            yield start, end
            start = at
        bits >>= ones
        at += ones
        end = at
    if start >= 0:
        yield start, end


def pieces(one: Range) -> Iterator[Range]:
    """A range cut where shards end."""
    low, high = one
    while low <= high:
        end = min(high, sample_id(place_of(low)[0], PLACE_LIMIT - 1))
        yield low, end
        low = end + 1
