"""Which samples a view holds, in its order, from a cursor on, looking at no more of the catalog than needed.

A filter leads to blocks of shards that have such samples (table `zone`), a query to hits in the order of ids;
what is left is compared row by row. A shuffled order is computed place by place, so that a deep page costs as
much as the first.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, islice

from g3m.core.browse import View, bounds, condition
from g3m.core.catalog import BLOCK, PLACE_LIMIT, bins_within, place_of, sample_id
from g3m.core.permutation import Permutation, mix
from g3m.core.query import parse

_PROBE = 512
"""So many hits are compared with the filters before those are used to leap over others."""

_DRAWN = 3000
"""A shuffled order of hits is one of so many, from a place on that the seed chooses."""

_TRIES = 10_000
"""So many places of a shuffled order are tried for one page; a page may then be short."""

_HITS_A_BLOCK = 4
"""Comparing so many hits takes as long as reading a block."""

_GAP_BLOCKS = 8
"""Blocks so close are read together."""

Range = tuple[int, int]
"""The first and the last id."""

Look = Callable[[range], list[tuple[int, int]]]
"""Gives (place, id) for those of some places of an order where a sample of the view stands."""


@dataclass(frozen=True, slots=True)
class Page:
    """Ids in the order of the view, and the cursors of the first and the last."""

    ids: list[int]
    has_before: bool
    has_after: bool
    first: int
    last: int


class Walk:
    """One view over one connection, for one request."""

    def __init__(self, db: sqlite3.Connection, view: View) -> None:
        self._db, self._view = db, view
        self._query = parse(view.query) if view.query.strip() else None
        self._condition, self._values = condition(view)
        self._source = "sample"
        self._examined = 0
        if view.host:
            found = db.execute("SELECT id FROM host WHERE name = ?", (view.host,)).fetchone()
            self._condition = " AND ".join(filter(None, (self._condition, "host = ?")))
            self._values = [*self._values, found[0] if found else -1]
            self._source = "sample INDEXED BY sample_host"

    def page(self, limit: int) -> Page:
        """The rows that the view's cursors ask for, at most so many."""
        if self._view.seed is not None:
            return self._shuffled(limit)
        view = self._view
        backward = bool(view.before)
        low, high = (0, view.before - 1) if backward else (view.after + 1, 2**62)
        ids: list[int] = []
        for one in self.ids(low, high, backward=backward, at_once=limit + 1):
            ids.append(one)
            if len(ids) > limit:
                break
        is_more, ids = len(ids) > limit, ids[:limit]
        if backward:
            ids.reverse()
        has_before, has_after = (is_more, True) if backward else (bool(view.after), is_more)
        return Page(ids, has_before, has_after, ids[0] if ids else 0, ids[-1] if ids else 0)

    def ids(
        self, low: int = 0, high: int = 2**62, *, backward: bool = False, at_once: int = 5000
    ) -> Iterator[int]:
        """All ids from `low` to `high`, in order or backwards; `at_once`: how many are likely to be taken."""
        if self._query is not None:
            yield from self._hits(low, high, backward=backward, at_once=at_once)
            return
        order = "DESC" if backward else "ASC"
        more = f" AND {self._condition}" if self._condition else ""
        text = f"SELECT id FROM {self._source} WHERE id BETWEEN ? AND ?{more} ORDER BY id {order}"  # noqa: S608
        for one in self._ranges(low, high, backward=backward):
            for (found,) in self._db.execute(text, (*one, *self._values)):
                yield found

    def count(self, most: int, most_blocks: int) -> tuple[int, bool]:
        """How many samples there are, and whether there may be more than that, having looked at enough."""
        if self._query is None and (known := self._known()) is not None:
            return known, False
        found, blocks = 0, 0
        if self._query is not None:
            for _ in self.ids():
                found += 1
                if found >= most or self._examined > most_blocks * _HITS_A_BLOCK:
                    return found, True
            return found, False
        inner = f"SELECT 1 FROM {self._source} WHERE id BETWEEN ? AND ? AND {self._condition}"  # noqa: S608
        for one in self._ranges(0, 2**62, backward=False):
            for piece in _pieces(one):
                text = f"SELECT count(*) FROM ({inner} LIMIT ?)"  # noqa: S608  # as above
                found += self._db.execute(text, (*piece, *self._values, most - found)).fetchone()[0]
                blocks += (piece[1] - piece[0]) // BLOCK + 1
                if found >= most or (blocks > most_blocks and not self._view.host):
                    return found, True
        return found, False

    def _known(self) -> int | None:
        """How many there are where the catalog has counted them already."""
        if not self._condition:
            return sum(int(samples) for _, _, samples in self._shards)
        charts = list(self._charts())
        if self._view.host or len(charts) != 1 or not self._is_whole(*charts[0]):
            return None
        chart, bins = charts[0]
        marks = ", ".join("?" * len(bins))
        rows = self._db.execute(
            f"SELECT shard, samples FROM zone WHERE chart = ? AND bin IN ({marks})",  # noqa: S608
            (chart, *bins),
        )
        here = {shard for shard, _, _ in self._shards}
        return sum(int(samples) for shard, samples in rows if shard in here)

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

    @cached_property
    def _shards(self) -> list[tuple[int, int, int]]:
        """Id, places and samples of the shards in question, in the order of ids."""
        view = self._view
        return self._db.execute(
            "SELECT shard.id, places, samples FROM shard JOIN dataset ON dataset.id = dataset"
            " WHERE (dataset.name = ? OR ? = '') AND (shard.name = ? OR ? = '') ORDER BY shard.id",
            (view.dataset, view.dataset, view.shard, view.shard),
        ).fetchall()

    def _charts(self) -> Iterator[tuple[str, list[str]]]:
        """The bins of each filter that the zones know."""
        for chart, span in self._view.spans().items():
            yield chart, bins_within(chart, *bounds(chart, span))
        for chart in ("format", "flag"):
            if name := getattr(self._view, chart):
                yield chart, [name]

    @cached_property
    def _masks(self) -> dict[int, int] | None:
        """The blocks of each shard that may hold samples of the view; None: all do."""
        made: dict[int, int] | None = None
        for chart, bins in self._charts():
            marks = ", ".join("?" * len(bins))
            rows = self._db.execute(
                f"SELECT shard, blocks FROM zone WHERE chart = ? AND bin IN ({marks})",  # noqa: S608
                (chart, *bins),
            )
            own: dict[int, int] = {}
            for shard, blocks in rows:
                own[shard] = own.get(shard, 0) | int.from_bytes(blocks, "little")
            made = (
                own
                if made is None
                else {shard: made[shard] & own[shard] for shard in made.keys() & own.keys()}
            )
        return made

    def _ranges(self, low: int, high: int, *, backward: bool) -> Iterator[Range]:
        """Where samples of the view may stand, in order or backwards."""
        shards = reversed(self._shards) if backward else self._shards
        if self._masks is None:
            yield from self._whole(low, high, backward=backward)
            return
        for shard, _, _ in shards:
            if sample_id(shard + 1, 0) <= low or sample_id(shard, 0) > high:
                continue
            found = _runs(self._masks.get(shard, 0))
            for start, end in reversed(list(found)) if backward else found:
                one = max(sample_id(shard, start * BLOCK), low), min(sample_id(shard, end * BLOCK - 1), high)
                if one[0] <= one[1]:
                    yield one

    def _whole(self, low: int, high: int, *, backward: bool) -> Iterator[Range]:
        """The shards in question, those with ids side by side as one."""
        made: list[Range] = []
        for shard, _, _ in self._shards:
            start, end = sample_id(shard, 0), sample_id(shard, PLACE_LIMIT - 1)
            if made and made[-1][1] + 1 == start:
                made[-1] = (made[-1][0], end)
            else:
                made.append((start, end))
        for start, end in reversed(made) if backward else made:
            if start <= high and end >= low:
                yield max(start, low), min(end, high)

    def _hits(self, low: int, high: int, *, backward: bool, at_once: int) -> Iterator[int]:
        """The ids that the query finds and the filters leave."""
        order = "DESC" if backward else "ASC"
        text = f"SELECT rowid FROM found WHERE found MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid {order}"  # noqa: S608
        match = self._query.match if self._query else ""
        if not self._condition:
            for one in self._whole(low, high, backward=backward):
                for (found,) in self._db.execute(text, (match, *one)):
                    yield found
            return
        probe = [one for (one,) in self._db.execute(f"{text} LIMIT {_PROBE}", (match, low, high))]
        yield from self._fitting(probe)
        if len(probe) < _PROBE:
            return
        low, high = (low, probe[-1] - 1) if backward else (probe[-1] + 1, high)
        is_slow = any(term.is_prefix for term in self._query.terms) if self._query else False
        ranges = (
            self._whole(low, high, backward=backward)
            if is_slow
            else self._ranges(low, high, backward=backward)
        )
        for one in ranges:
            cursor = self._db.execute(text, (match, *one))
            while hits := cursor.fetchmany(max(_PROBE, at_once)):
                yield from self._fitting([hit for (hit,) in hits])

    def _fitting(self, ids: Sequence[int]) -> list[int]:
        """Those of some ids, in their order, that the filters leave."""
        masks, here = self._masks, {shard for shard, _, _ in self._shards}
        self._examined += len(ids)
        asked = []
        for one in ids:
            shard, place = place_of(one)
            if shard in here and (masks is None or masks.get(shard, 0) >> place // BLOCK & 1):
                asked.append(one)
        more = f" AND {self._condition}" if self._condition else ""
        left: set[int] = set()
        for start in range(0, len(asked), _PROBE):
            part = asked[start : start + _PROBE]
            marks = ", ".join("?" * len(part))
            text = f"SELECT id FROM sample WHERE id IN ({marks}){more}"  # noqa: S608
            left.update(one for (one,) in self._db.execute(text, (*part, *self._values)))
        return [one for one in asked if one in left]

    def _shuffled(self, limit: int) -> Page:
        view, seed = self._view, self._view.seed or 0
        total, look = self._drawn(seed)
        backward = bool(view.before)
        place = view.before - 2 if backward else view.after
        step = -1 if backward else 1
        found: list[tuple[int, int]] = []
        tries = 0
        while 0 <= place < total and len(found) <= limit and tries < _TRIES:
            count = min(max(4 * limit, 2 * tries), _PROBE, place + 1 if backward else total - place)
            found += look(range(place, place + step * count, step))
            place += step * count
            tries += count
        is_more = len(found) > limit or 0 <= place < total
        found = found[:limit]
        if backward:
            found.reverse()
        ends = (found[0][0] + 1, found[-1][0] + 1) if found else (0, 0)
        if len(found) < limit and is_more:  # a short page: the next goes on where this one stopped
            ends = (place + 2, ends[1]) if backward else (ends[0], place)
        has_before, has_after = (is_more, True) if backward else (bool(view.after), is_more)
        return Page([one for _, one in found], has_before, has_after, *ends)

    def _drawn(self, seed: int) -> tuple[int, Look]:
        """How many places the shuffled order has, and what says which ids stand at some of them."""
        places = _Places(self._shards, self._masks)
        total = places.blocks * BLOCK
        if self._query is None and not self._view.host:
            order = Permutation(total, seed)

            def rows(wanted: range) -> list[tuple[int, int]]:
                numbers = order.take(wanted)
                asked = [places.block(number // BLOCK) + number % BLOCK for number in numbers]
                left = set(self._fitting(asked))
                return [(place, one) for place, one in zip(wanted, asked, strict=True) if one in left]

            return total, rows
        start = places.block(mix(seed) % places.blocks) if places.blocks else 1
        found = list(islice(chain(self.ids(start), self.ids(0, start - 1)), _DRAWN))
        found.sort(key=lambda one: mix(seed, one))
        return len(found), lambda wanted: [(place, found[place]) for place in wanted]


class _Places:
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


def _pieces(one: Range) -> Iterator[Range]:
    """A range cut where shards end."""
    low, high = one
    while low <= high:
        end = min(high, sample_id(place_of(low)[0], PLACE_LIMIT - 1))
        yield low, end
        low = end + 1
