"""Which samples a view holds, in its order, from a cursor on, looking at no more of the catalog than needed.

A filter leads to blocks of shards that have such samples (adapters/catalog_zones.py), a query to hits in the
order of ids; what is left is compared row by row. A shuffled order is computed place by place, so that a deep
page costs as much as the first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from g3m.adapters.catalog_zones import Places, Zones, pieces
from g3m.core.browse import View, condition
from g3m.core.catalog import place_of
from g3m.core.charts import BLOCK
from g3m.core.permutation import Permutation, mix
from g3m.core.query import matches, parse

_PROBE = 512
"""So many hits are compared with the filters before those are used to leap over others."""

_DRAWN = 3000
"""A shuffled order of hits is one of so many, from a place on that the seed chooses."""

_TRIES = 10_000
"""So many places of a shuffled order are tried for one page; a page may then be short."""

_HITS_A_BLOCK = 4
"""Comparing so many hits takes as long as reading a block."""

_FEW = 4000
"""Where about so many samples fit the filters, their captions are read, and not the hits compared: at 3.65
million samples 60 ms in place of up to 740."""

_FEW_BLOCKS = 4000
"""In no more blocks than this."""

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
        self._zones = Zones(db, view)
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
        for one in self._zones.ranges(low, high, backward=backward):
            for (found,) in self._db.execute(text, (*one, *self._values)):
                yield found

    def count(self, most: int, most_blocks: int) -> tuple[int, bool]:
        """How many samples there are, and whether there may be more than that, having looked at enough."""
        if self._query is None and (known := self._zones.known()) is not None:
            return known, False
        found, blocks = 0, 0
        if self._query is not None:
            for _ in self.ids():
                found += 1
                if found >= most or self._examined > most_blocks * _HITS_A_BLOCK:
                    return found, True
            return found, False
        inner = f"SELECT 1 FROM {self._source} WHERE id BETWEEN ? AND ? AND {self._condition}"  # noqa: S608
        for one in self._zones.ranges(0, 2**62, backward=False):
            for piece in pieces(one):
                text = f"SELECT count(*) FROM ({inner} LIMIT ?)"  # noqa: S608  # as above
                found += self._db.execute(text, (*piece, *self._values, most - found)).fetchone()[0]
                blocks += (piece[1] - piece[0]) // BLOCK + 1
                if found >= most or (blocks > most_blocks and not self._view.host):
                    return found, True
        return found, False

    def _hits(self, low: int, high: int, *, backward: bool, at_once: int) -> Iterator[int]:
        """The ids that the query finds and the filters leave."""
        order = "DESC" if backward else "ASC"
        text = f"SELECT rowid FROM found WHERE found MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid {order}"  # noqa: S608
        match = self._query.match if self._query else ""
        if not self._condition:
            for one in self._zones.whole(low, high, backward=backward):
                for (found,) in self._db.execute(text, (match, *one)):
                    yield found
            return
        probe = [one for (one,) in self._db.execute(f"{text} LIMIT {_PROBE}", (match, low, high))]
        yield from self._fitting(probe)
        if len(probe) < _PROBE:
            return
        low, high = (low, probe[-1] - 1) if backward else (probe[-1] + 1, high)
        if self._is_few():
            yield from self._read(low, high, backward=backward)
            return
        is_slow = any(term.is_prefix for term in self._query.terms) if self._query else False
        ranges = (
            self._zones.whole(low, high, backward=backward)
            if is_slow
            else self._zones.ranges(low, high, backward=backward)
        )
        for one in ranges:
            cursor = self._db.execute(text, (match, *one))
            while hits := cursor.fetchmany(max(_PROBE, at_once)):
                yield from self._fitting([hit for (hit,) in hits])

    def _is_few(self) -> bool:
        """Whether few samples fit the filters."""
        if not self._view.host:
            return self._zones.expected <= _FEW and self._zones.blocks <= _FEW_BLOCKS
        text = f"SELECT count(*) FROM (SELECT 1 FROM {self._source} WHERE host = ? LIMIT {_FEW + 1})"  # noqa: S608
        return bool(self._db.execute(text, self._values[-1:]).fetchone()[0] <= _FEW)

    def _read(self, low: int, high: int, *, backward: bool) -> Iterator[int]:
        """The same by the captions of the samples that the filters leave."""
        order = "DESC" if backward else "ASC"
        text = (
            f"SELECT sample.id, text FROM {self._source} JOIN caption ON caption.id = sample.id"  # noqa: S608
            f" WHERE sample.id BETWEEN ? AND ? AND {self._condition} ORDER BY sample.id {order}"
        )
        ranges = self._zones.whole if self._view.host else self._zones.ranges
        for one in ranges(low, high, backward=backward):
            for found, caption in self._db.execute(text, (*one, *self._values)):
                self._examined += 1
                if self._query and matches(caption, self._query):
                    yield found

    def _fitting(self, ids: Sequence[int]) -> list[int]:
        """Those of some ids, in their order, that the filters leave."""
        masks, here = self._zones.masks, {shard for shard, _, _ in self._zones.shards}
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
        places = Places(self._zones.shards, self._zones.masks)
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
