"""Writing into the catalog: a shard at a time, each in one transaction, so that a kill leaves whole shards.

Beside the rows stands what makes reading fast: for each bin of a chart the blocks of a shard that have such
samples (`zone`), and how many samples a dataset has in it (`tally`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from g3m.core.catalog import BLOCK, PLACE_LIMIT, Entry, blocks, sample_id, tally
from g3m.core.query import spaced

_SECURE_FTS = (3, 42, 0)
"""From this version of SQLite on, FTS5 can take the words of a deleted row out of the file at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """A shard as the catalog has it: `number` among those of its dataset, `first` that of its first sample.

    `stamp` says from which bytes its rows were made.
    """

    dataset: str
    folder: str
    name: str
    number: int
    first: int
    stamp: str


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


def put(db: sqlite3.Connection, facts: ShardFacts, entries: Sequence[Entry | None]) -> int:
    """Write a shard, in place of what was known of it; None for a sample that is left out. Gives its id."""
    if len(entries) > PLACE_LIMIT:
        raise ValueError(f"{facts.name}: more than {PLACE_LIMIT} samples")
    with transaction(db):
        dataset = _dataset(db, facts)
        known = db.execute(
            "SELECT id FROM shard WHERE dataset = ? AND name = ?", (dataset, facts.name)
        ).fetchone()
        if known is not None:
            _erase(db, dataset, known[0])
        row = (*known, dataset, facts.name) if known else (None, dataset, facts.name)
        count = sum(entry is not None for entry in entries)
        made = db.execute(
            "INSERT INTO shard VALUES(?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (*row, facts.number, facts.first, len(entries), count, facts.stamp),
        )
        shard = int(made.lastrowid or 0)
        found = [(sample_id(shard, place), entry) for place, entry in enumerate(entries) if entry is not None]
        _insert(db, found)
        _measure(db, dataset, shard, found)
    return shard


def renumber(db: sqlite3.Connection, facts: ShardFacts) -> None:
    """Change what stands beside the rows of a shard: its number, its first sample, its folder."""
    with transaction(db):
        dataset = _dataset(db, facts)
        db.execute(
            "UPDATE shard SET number = ?, first = ? WHERE dataset = ? AND name = ?",
            (facts.number, facts.first, dataset, facts.name),
        )


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
            _erase(db, known[0], shard)
        if db.execute("SELECT 1 FROM shard WHERE dataset = ?", known).fetchone() is None:
            db.execute("DELETE FROM dataset WHERE id = ?", known)
            db.execute("DELETE FROM tally WHERE dataset = ?", known)
        return len(shards)


def looked(db: sqlite3.Connection, shard: int, entries: Sequence[Entry | None]) -> None:
    """Write what decoding the pictures of a shard gave: digests, hashes, flags and sizes, by place."""
    with transaction(db):
        dataset = _owner(db, shard)
        before = list(_entries(db, shard))
        given = {sample_id(shard, place): entry for place, entry in enumerate(entries) if entry is not None}
        db.executemany(
            "UPDATE sample SET width = ?, height = ?, aspect = ?, flags = ? WHERE id = ?",
            [
                (new.width, new.height, new.aspect, new.flags, one)
                for one, old in before
                if (new := given.get(one, old)).flags != old.flags
                or (new.width, new.height) != (old.width, old.height)
            ],
        )
        db.executemany(
            "INSERT OR REPLACE INTO look VALUES(?, ?, ?, ?)",
            [
                (one, given[one].digest, given[one].rows, given[one].columns)
                for one, _ in before
                if one in given and given[one].digest
            ],
        )
        db.execute("UPDATE shard SET looked = 1 WHERE id = ?", (shard,))
        _count(db, dataset, (entry for _, entry in before), -1)
        _measure(db, dataset, shard, list(_entries(db, shard)))


def drop(db: sqlite3.Connection, dataset: str, keys: Collection[str]) -> int:
    """Remove the samples of a dataset with these keys, so that nothing of them is left in the file."""
    wanted, removed = set(keys), 0
    _be_thorough(db)
    with transaction(db):
        shards = db.execute(
            "SELECT shard.id, dataset.id FROM shard JOIN dataset ON dataset.id = dataset"
            " WHERE dataset.name = ?",
            (dataset,),
        ).fetchall()
        for shard, owner in shards:
            ids = [one for one, key in db.execute(*_keys(shard)) if key in wanted]
            if ids:
                removed += len(ids)
                before = list(_entries(db, shard))
                _delete(db, ids)
                _count(db, owner, (entry for _, entry in before), -1)
                db.execute("UPDATE shard SET samples = samples - ? WHERE id = ?", (len(ids), shard))
                _measure(db, owner, shard, list(_entries(db, shard)))
    if removed and sqlite3.sqlite_version_info < _SECURE_FTS:
        db.execute(
            "INSERT INTO found(found) VALUES('optimize')"
        )  # merged, the words of deleted rows are gone
    return removed


def put_alike(db: sqlite3.Connection, pairs: Iterable[tuple[int, int, int]]) -> None:
    """Replace the pairs of samples that look alike: (one, other, distance), one < other."""
    with transaction(db):
        db.execute("DELETE FROM alike")
        db.executemany("INSERT OR REPLACE INTO alike VALUES(?, ?, ?)", pairs)


def _be_thorough(db: sqlite3.Connection) -> None:
    """Let what is deleted from now on be overwritten."""
    db.execute("PRAGMA secure_delete = ON")
    if sqlite3.sqlite_version_info >= _SECURE_FTS:
        db.execute("INSERT INTO found(found, rank) VALUES('secure-delete', 1)")


def _dataset(db: sqlite3.Connection, facts: ShardFacts) -> int:
    db.execute(
        "INSERT INTO dataset(name, folder) VALUES(?, ?)"
        " ON CONFLICT(name) DO UPDATE SET folder = excluded.folder",
        (facts.dataset, facts.folder),
    )
    return int(db.execute("SELECT id FROM dataset WHERE name = ?", (facts.dataset,)).fetchone()[0])


def _owner(db: sqlite3.Connection, shard: int) -> int:
    found = db.execute("SELECT dataset FROM shard WHERE id = ?", (shard,)).fetchone()
    if found is None:
        raise KeyError(shard)
    return int(found[0])


def _insert(db: sqlite3.Connection, found: Sequence[tuple[int, Entry]]) -> None:
    hosts = _hosts(db, {entry.host for _, entry in found if entry.host})
    db.executemany(
        "INSERT INTO sample VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                one,
                entry.width,
                entry.height,
                entry.aspect,
                entry.size_bytes,
                entry.words,
                entry.letters,
                entry.flags,
                entry.format,
                hosts.get(entry.host),
                entry.key,
            )
            for one, entry in found
        ],
    )
    captions = [(one, entry.caption) for one, entry in found if entry.caption]
    db.executemany("INSERT INTO caption VALUES(?, ?)", captions)
    db.executemany(
        "INSERT INTO found(rowid, text) VALUES(?, ?)", [(one, spaced(text)) for one, text in captions]
    )


def _hosts(db: sqlite3.Connection, names: set[str]) -> dict[str, int]:
    db.executemany("INSERT OR IGNORE INTO host(name) VALUES(?)", [(name,) for name in sorted(names)])
    found: dict[str, int] = {}
    for name in names:
        found[name] = db.execute("SELECT id FROM host WHERE name = ?", (name,)).fetchone()[0]
    return found


def _erase(db: sqlite3.Connection, dataset: int, shard: int) -> None:
    """Remove a shard with all that is known of it."""
    _be_thorough(db)
    before = list(_entries(db, shard))
    _count(db, dataset, (entry for _, entry in before), -1)
    _delete(db, [one for one, _ in before])
    db.execute("DELETE FROM zone WHERE shard = ?", (shard,))
    db.execute("DELETE FROM shard WHERE id = ?", (shard,))


def _delete(db: sqlite3.Connection, ids: Sequence[int]) -> None:
    rows = [(one,) for one in ids]
    for row in rows:
        text = db.execute("SELECT text FROM caption WHERE id = ?", row).fetchone()
        if text is not None:
            # Without a content of its own, the index must be told what it knew.
            db.execute(
                "INSERT INTO found(found, rowid, text) VALUES('delete', ?, ?)", (*row, spaced(text[0]))
            )
    for table, column in (
        ("caption", "id"),
        ("look", "id"),
        ("sample", "id"),
        ("alike", "one"),
        ("alike", "other"),
    ):
        db.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)  # noqa: S608  # names from here


def _keys(shard: int) -> tuple[str, tuple[int, int]]:
    return "SELECT id, key FROM sample WHERE id BETWEEN ? AND ?", _bounds(shard)


def _bounds(shard: int) -> tuple[int, int]:
    return sample_id(shard, 0), sample_id(shard, PLACE_LIMIT - 1)


def _entries(db: sqlite3.Connection, shard: int) -> Iterator[tuple[int, Entry]]:
    """The rows of a shard as they were given, without what decoding found."""
    rows = db.execute(
        "SELECT sample.id, key, text, width, height, bytes, words, name, format, flags FROM sample"
        " LEFT JOIN caption ON caption.id = sample.id LEFT JOIN host ON host.id = host"
        " WHERE sample.id BETWEEN ? AND ? ORDER BY sample.id",
        _bounds(shard),
    )
    for one, key, text, width, height, size_bytes, words, host, kind, flags in rows:
        yield (
            one,
            Entry(
                key=key,
                caption=text or "",
                width=width,
                height=height,
                size_bytes=size_bytes,
                words=words,
                host=host or "",
                format=kind,
                flags=flags,
            ),
        )


def _measure(db: sqlite3.Connection, dataset: int, shard: int, found: Sequence[tuple[int, Entry]]) -> None:
    """Count a shard's rows and note where which of them stand."""
    _count(db, dataset, (entry for _, entry in found), 1)
    db.execute("DELETE FROM zone WHERE shard = ?", (shard,))
    first = sample_id(shard, 0)
    made = blocks(((one - first) // BLOCK, entry) for one, entry in found)
    db.executemany(
        "INSERT INTO zone VALUES(?, ?, ?, ?, ?)",
        [
            (chart, name, shard, count, bits.to_bytes((bits.bit_length() + 7) // 8, "little"))
            for (chart, name), (count, bits) in made.items()
        ],
    )


def _count(db: sqlite3.Connection, dataset: int, entries: Iterable[Entry], sign: int) -> None:
    counts: Counter[tuple[str, str]] = tally(entries)
    db.executemany(
        "INSERT INTO tally VALUES(?, ?, ?, ?)"
        " ON CONFLICT(dataset, chart, bin) DO UPDATE SET samples = samples + excluded.samples",
        [(dataset, chart, name, sign * count) for (chart, name), count in counts.items()],
    )
    if sign < 0:
        db.execute("DELETE FROM tally WHERE dataset = ? AND samples <= 0", (dataset,))
