"""The catalog of all samples below a root: an index that can be made again from the shards at any time.

Here: what is asked of it, from several threads. How a view is walked is in adapters/catalog_walk.py, how a
shard is written in adapters/catalog_write.py and taken out in adapters/catalog_erase.py, what is alike in
adapters/catalog_alike.py, and the tables are in adapters/catalog_file.py.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import final

from g3m.adapters import catalog_alike, catalog_erase, catalog_write
from g3m.adapters.catalog_file import FILE, connect, create, discard, errors, need_full_text
from g3m.adapters.catalog_rows import (
    DatasetRow,
    Rows,
    ShardRow,
    Total,
    dataset_rows,
    row_at,
    rows_of,
    rows_with,
    shard_rows,
)
from g3m.adapters.catalog_sql import Answer, ask
from g3m.adapters.catalog_walk import Walk
from g3m.adapters.catalog_write import ShardFacts
from g3m.core.browse import View
from g3m.core.catalog import Entry, Shown
from g3m.core.charts import bin_order
from g3m.core.errors import Bilingual, Locked, NoSpace, StorageError, UnknownCatalog, UnknownDataset
from g3m.core.recipe import suggest

__all__ = [
    "FILE",
    "Answer",
    "Catalog",
    "DatasetRow",
    "Rows",
    "ShardFacts",
    "ShardRow",
    "Total",
    "open_catalog",
]

_STREAMED = 2000
_COUNTED_BLOCKS = 10_000
_KEPT_CONNECTIONS = 8
_HINT_NAMES: Bilingual = (
    "`g3m index` brings the catalog up to date; `g3m list` shows what is here",
    "运行 `g3m index` 可更新样本目录；`g3m list` 会列出已有的数据集",
)


def open_catalog(path: Path, *, writing: bool = False) -> Catalog:
    """The catalog at a path; UnknownCatalog if there is none that can be read.

    `writing` makes an empty one where there is none, also in place of a damaged one and of another format;
    NoFullText where SQLite lacks FTS5.
    """
    if writing:
        need_full_text(path)
        before = _state(path)
        try:
            connect(path, writing=True).close()
        except UnknownCatalog:
            # An empty one is about to be made by somebody else, or is left of one who was killed.
            if before is not None and before.st_size and _state(path) == before:
                discard(path)
            create(path)
    return Catalog(path, writing=writing)


@final
class Catalog:
    """Reads from any number of threads; `put` and what else writes, one at a time."""

    def __init__(self, path: Path, *, writing: bool = False) -> None:
        self.path = path
        self._writing = writing
        self._idle: list[tuple[tuple[int, int] | None, sqlite3.Connection]] = []
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._closed = False
        with self._connection():
            pass

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close what is not in use; what is, closes when it is done. May be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def browse(self, view: View, limit: int = 60) -> Rows:
        """A page of a view. BadQuery if its words mean nothing."""
        with self._connection() as db:
            page = Walk(db, view).page(limit)
            return Rows(rows_of(db, page.ids), page.has_before, page.has_after, page.first, page.last)

    def count(self, view: View, most: int = 10_000) -> Total:
        """How many samples a view has, counted up to `most`, and not longer than a page may take."""
        with self._connection() as db:
            return Total(*Walk(db, replace(view, after=0, before=0, seed=None)).count(most, _COUNTED_BLOCKS))

    def keys(self, view: View) -> Iterator[tuple[str, str]]:
        """Dataset and key of every sample of a view, in the order of ids; nothing stays locked meanwhile."""
        at = 0
        while True:
            with self._connection() as db:
                page = Walk(db, replace(view, after=at, before=0, seed=None)).page(_STREAMED)
                found = [(row.dataset, row.key) for row in rows_of(db, page.ids)]
            yield from found
            if not page.has_after:
                return
            at = page.last

    def row(self, dataset: str, number: int) -> Shown | None:
        """The sample with a number in its dataset; None if it is not there (any more)."""
        with self._connection() as db:
            return row_at(db, dataset, number)

    def rows(self, ids: Iterable[int]) -> tuple[Shown, ...]:
        """The samples with these ids, in the order asked; those that are not there are left out."""
        with self._connection() as db:
            return rows_of(db, list(ids))

    def locate(self, dataset: str, key: str) -> tuple[Shown, ...]:
        """The samples with a key, in one dataset or ("") all; goes through all their rows."""
        with self._connection() as db:
            return rows_with(db, dataset, key)

    def datasets(self) -> tuple[DatasetRow, ...]:
        """What the catalog holds, by name."""
        with self._connection() as db:
            return dataset_rows(db)

    def named(self, names: Iterable[str]) -> dict[str, DatasetRow]:
        """All datasets by name, those of these names among them; else UnknownDataset."""
        rows = {row.name: row for row in self.datasets()}
        for name in names:
            if name not in rows:
                words = f"{name!r} is not in the catalog; it has: {', '.join(rows)}"
                raise UnknownDataset(words + suggest(name, list(rows)), hint=_HINT_NAMES)
        return rows

    def shards(self, dataset: str = "") -> tuple[ShardRow, ...]:
        """The shards of a dataset, or of all, in their order."""
        with self._connection() as db:
            return shard_rows(db, dataset)

    def tallies(self, dataset: str = "") -> dict[str, list[tuple[str, int]]]:
        """For each chart its bins with how many samples are in them, in the order in which they are shown."""
        with self._connection() as db:
            rows = db.execute(
                "SELECT chart, bin, sum(samples) FROM tally JOIN dataset ON dataset.id = dataset"
                " WHERE dataset.name = ? OR ? = '' GROUP BY chart, bin",
                (dataset, dataset),
            ).fetchall()
        made: dict[str, list[tuple[str, int]]] = {}
        for chart, name, samples in rows:
            made.setdefault(chart, []).append((name, samples))
        for chart, bins in made.items():
            bins.sort(key=lambda one: bin_order(chart, *one))
        return made

    def looks(self, dataset: str = "") -> Iterator[tuple[int, bytes, int, int]]:
        """Id, digest and both hashes of every picture that was looked at, in the order of ids."""
        shards = [one.id for one in self.shards(dataset)]
        for shard in sorted(shards):
            with self._connection() as db:
                rows = catalog_alike.looks_of(db, shard)
            yield from rows

    def generations(self) -> tuple[int, int]:
        """How often what is alike may have changed, and at which count the pairs were made."""
        with self._connection() as db:
            return catalog_alike.generations(db)

    def is_alike_current(self) -> bool:
        """Whether the pairs are of the pictures as they were last looked at."""
        looks, pairs = self.generations()
        return looks == pairs

    def alike_counts(self, datasets: Collection[str]) -> tuple[int, int]:
        """How many samples of some datasets have the bytes of an earlier picture, or are near one."""
        with self._connection() as db:
            return catalog_alike.counts(db, datasets)

    def alike_of(self, one: int) -> list[tuple[Shown, int]]:
        """The samples that look like the one with this id, the most alike first."""
        with self._connection() as db:
            return catalog_alike.alike_of(db, one)

    def pairs(
        self, dataset: str = "", after: int = 0, limit: int = 60
    ) -> list[tuple[int, Shown, Shown, int]]:
        """Pairs of samples that look alike, at least one of them in the dataset, behind a cursor."""
        with self._connection() as db:
            return catalog_alike.pairs_of(db, dataset, after, limit)

    def sql(self, text: str, limit: int = 1000, seconds: float = 10.0) -> Answer:
        """What one SELECT gives, so many rows at most, within so many seconds; else UsageError."""
        with self._connection(fresh=True) as db:
            return ask(db, text, limit, seconds)

    def put(self, facts: ShardFacts, entries: Sequence[Entry | None], *, looked: bool = False) -> int:
        """Write a shard in place of what was known of it; None for a sample left out. Gives its id."""
        with self._write() as db:
            shard = catalog_write.put(db, facts, entries)
            if looked:
                catalog_write.looked(db, shard, facts.stamp, entries)
            return shard

    def renumber(self, facts: ShardFacts) -> None:
        """Change the number and first sample of a shard whose rows stay as they are."""
        with self._write() as db:
            catalog_write.renumber(db, facts)

    def clear(self) -> None:
        """Remove all that is in it."""
        with self._write() as db:
            catalog_erase.clear(db)

    def forget(self, dataset: str, shard: str = "") -> int:
        """Remove a shard, or a whole dataset; gives how many shards that were."""
        with self._write() as db:
            return catalog_erase.forget(db, dataset, shard)

    def looked(self, shard: int, stamp: str, entries: Sequence[Entry | None]) -> bool:
        """Write what decoding the pictures of a shard gave, by place; False if its rows are others by now."""
        with self._write() as db:
            return catalog_write.looked(db, shard, stamp, entries)

    def drop(self, dataset: str, keys: Collection[str]) -> int:
        """Remove the samples of a dataset with these keys without a trace; gives how many those were."""
        with self._write() as db:
            return catalog_erase.drop(db, dataset, keys)

    def scrub(self) -> None:
        """Let no word of a removed caption stand in the file; takes seconds for millions."""
        with self._write() as db:
            catalog_erase.scrub(db)

    def put_alike(self, pairs: Iterable[tuple[int, int, int]], generation: int) -> None:
        """Replace the pairs by (one, other, distance), one < other; `generation` is of before `looks`."""
        with self._write() as db:
            catalog_alike.put_alike(db, pairs, generation)

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        if not self._writing:
            raise ValueError("the catalog was opened for reading")
        with self._write_lock, self._connection() as db:
            yield db

    @contextmanager
    def _connection(self, *, fresh: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection for one request, to the file that is there now; errors of SQLite as ours."""
        file = _identity(self.path)
        with self._lock:
            if self._closed:
                raise ValueError("the catalog is closed")
            stale = [db for made, db in self._idle if made != file]
            self._idle = [(made, db) for made, db in self._idle if made == file]
            db = self._idle.pop()[1] if self._idle and not fresh else None
        for old in stale:  # the catalog was made anew
            old.close()
        if db is None:
            db = connect(self.path, writing=self._writing)
        kept = False
        try:
            with errors(self.path):
                yield db
        except StorageError as error:
            if _identity(self.path) == file or isinstance(error, NoSpace):
                raise
            raise Locked(f"{self.path}: was made anew by another process meanwhile") from None
        else:
            with self._lock:
                kept = not (fresh or self._closed or len(self._idle) >= _KEPT_CONNECTIONS)
                if kept:
                    self._idle.append((file, db))
        finally:
            if not kept:
                with suppress(sqlite3.Error):
                    db.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file that is; None where there is none."""
    found = _state(path)
    return None if found is None else (found.st_dev, found.st_ino)


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
