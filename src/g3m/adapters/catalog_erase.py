"""Taking out of the catalog: shards, whole datasets, and samples so that nothing of them is left in the file.

What is put into it is in adapters/catalog_write.py.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from g3m.adapters.catalog_rows import bounds_of, entries_of
from g3m.core.catalog import Entry, place_of
from g3m.core.charts import blocks, most_frequent, tally, tally_bins, tally_names
from g3m.core.dropped import stamp_without
from g3m.core.query import spaced

_MERGED_PAGES = 2000
"""So much of the words is merged by one transaction: 8 MB."""


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def forget(db: sqlite3.Connection, dataset: str, name: str = "") -> int:
    """Remove a shard, or all of a dataset; gives how many shards that were."""
    with transaction(db):
        known = db.execute("SELECT id FROM dataset WHERE name = ?", (dataset,)).fetchone()
        if known is None:
            return 0
        shards = db.execute(
            "SELECT id FROM shard WHERE dataset = ? AND (name = ? OR ? = '')", (known[0], name, name)
        ).fetchall()
        for (shard,) in shards:
            erase(db, known[0], shard)
        if db.execute("SELECT 1 FROM shard WHERE dataset = ?", known).fetchone() is None:
            db.execute("DELETE FROM dataset WHERE id = ?", known)
            db.execute("DELETE FROM tally WHERE dataset = ?", known)
        return len(shards)


def clear(db: sqlite3.Connection) -> None:
    """Remove all; others that are at work in the same file find it so at their next look."""
    with transaction(db):
        for table in ("dataset", "shard", "host", "sample", "caption", "look", "zone", "tally", "alike"):
            db.execute(f"DELETE FROM {table}")  # noqa: S608  # names of our own
        db.execute("INSERT INTO found(found) VALUES('delete-all')")
        db.execute("UPDATE generation SET looks = looks + 1, pairs = looks + 1")
    with suppress(sqlite3.OperationalError):  # somebody reads: the room is used again all the same
        db.execute("VACUUM")
    if db.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("the file is damaged")


def drop(db: sqlite3.Connection, dataset: str, keys: Collection[str]) -> int:
    """Remove the samples of a dataset with these keys, so that nothing of them is left in the file.

    A shard at a time, so that others can read and write in between. Each gets the stamp that it has without
    them, so that what is known of its other samples stays.
    """
    wanted, removed = set(keys), 0
    shards = db.execute(
        "SELECT shard.id FROM shard JOIN dataset ON dataset.id = dataset WHERE dataset.name = ?", (dataset,)
    ).fetchall()
    for (shard,) in shards:
        known = db.execute("SELECT key FROM sample WHERE id BETWEEN ? AND ?", bounds_of(shard)).fetchall()
        if any(key in wanted for (key,) in known):
            with transaction(db):
                removed += _drop_of(db, shard, wanted)
    scrub(db)  # also for one that was killed before this
    return removed


def scrub(db: sqlite3.Connection) -> None:
    """Let no word of a removed caption stand in the file; piece by piece, so that others get in between.

    Costs nothing where it was done before.
    Not by the option secure-delete of FTS5: an older SQLite cannot read what that has changed.
    """
    pages = -_MERGED_PAGES  # negative: all that there is becomes one, as by `optimize`
    while True:
        before = db.total_changes
        db.execute("INSERT INTO found(found, rank) VALUES('merge', ?)", (pages,))
        if db.total_changes - before < 2:  # so FTS5 says that nothing was left to do
            return
        pages = _MERGED_PAGES


def _drop_of(db: sqlite3.Connection, shard: int, keys: Collection[str]) -> int:
    known = db.execute("SELECT dataset, places, stamp FROM shard WHERE id = ?", (shard,)).fetchone()
    if known is None:
        return 0
    dataset, places, stamp = known
    rows = list(entries_of(db, shard))
    gone = [(one, entry) for one, entry in rows if entry.key in keys]
    entries = [entry for _, entry in gone]
    _delete(db, [one for one, _ in gone])
    here = {place_of(one)[1] for one, entry in rows if entry.key not in keys}
    stamp = stamp_without(stamp, [place for place in range(places) if place not in here])
    db.execute("UPDATE shard SET samples = ?, stamp = ? WHERE id = ?", (len(here), stamp, shard))
    # Words and hosts are cut to the most frequent of the shard; of all else, what goes is subtracted.
    change = Counter({name: -count for name, count in tally_bins(entries).items()})
    all_names, less = tally_names(entry for _, entry in rows), tally_names(entries)
    change.subtract(most_frequent(all_names))
    for chart, counts in less.items():
        all_names[chart].subtract(counts)
    change.update(most_frequent(all_names))
    add(db, dataset, change)
    # The blocks stay marked: they are where such samples may be.
    db.executemany(
        "UPDATE zone SET samples = samples - ? WHERE chart = ? AND bin = ? AND shard = ?",
        [(count, *name, shard) for name, (count, _) in blocks((0, entry) for entry in entries).items()],
    )
    return len(gone)


def erase(db: sqlite3.Connection, dataset: int, shard: int) -> None:
    """Remove a shard with all that is known of it."""
    before = list(entries_of(db, shard))
    count(db, dataset, [entry for _, entry in before], -1)
    _delete(db, [one for one, _ in before])
    db.execute("DELETE FROM zone WHERE shard = ?", (shard,))
    db.execute("DELETE FROM shard WHERE id = ?", (shard,))


def _delete(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    rows = [(one,) for one in ids]
    for row in rows:
        text = db.execute("SELECT text FROM caption WHERE id = ?", row).fetchone()
        if text is not None:
            if text[0] is None:
                raise TypeError("a caption that is no text")
            # Without a content of its own, the index must be told what it knew.
            db.execute(
                "INSERT INTO found(found, rowid, text) VALUES('delete', ?, ?)", (*row, spaced(text[0]))
            )
    for table, column in (("caption", "id"), ("look", "id"), ("sample", "id"), ("alike", "other")):
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608  # names from here
    if db.executemany("DELETE FROM alike WHERE one = ?", rows).rowcount:
        change_likeness(db)  # several may have been tied to the one that is gone


def change_likeness(db: sqlite3.Connection) -> None:
    """From now on the pairs are of an older state."""
    db.execute("UPDATE generation SET looks = looks + 1")


def count(db: sqlite3.Connection, dataset: int, entries: Collection[Entry], sign: int) -> None:
    """Count the samples of one shard in (1) or out (-1)."""
    add(db, dataset, {name: sign * count for name, count in tally(entries).items()})


def add(db: sqlite3.Connection, dataset: int, change: Mapping[tuple[str, str], int]) -> None:
    """Change how many samples of a dataset are in each (chart, bin)."""
    db.executemany(
        "INSERT INTO tally VALUES(?, ?, ?, ?)"
        " ON CONFLICT(dataset, chart, bin) DO UPDATE SET samples = samples + excluded.samples",
        [(dataset, *name, count) for name, count in change.items() if count],
    )
    db.execute("DELETE FROM tally WHERE dataset = ? AND samples <= 0", (dataset,))
