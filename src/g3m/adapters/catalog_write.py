"""Writing into the catalog: a shard at a time, each in one transaction, so that a kill leaves whole shards.

Beside the rows stands what makes reading fast: for each bin of a chart the blocks of a shard that have such
samples (`zone`), and how many samples a dataset has in it (`tally`). What is taken out is in
adapters/catalog_erase.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from g3m.adapters.catalog_erase import change_likeness, count, erase, transaction
from g3m.adapters.catalog_rows import entries_of
from g3m.core.catalog import PLACE_LIMIT, Entry, sample_id
from g3m.core.charts import BLOCK, blocks
from g3m.core.query import spaced


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
            erase(db, dataset, known[0])
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


def looked(db: sqlite3.Connection, shard: int, stamp: str, entries: Sequence[Entry | None]) -> bool:
    """Write what decoding the pictures of a shard gave: digests, hashes, flags and sizes, by place.

    False, and nothing is written, if the rows are not (any more) those of the bytes that `stamp` names.
    """
    with transaction(db):
        owner = db.execute("SELECT dataset FROM shard WHERE id = ? AND stamp = ?", (shard, stamp)).fetchone()
        if owner is None:
            return False
        (dataset,) = owner
        before = list(entries_of(db, shard))
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
        change_likeness(db)
        count(db, dataset, [entry for _, entry in before], -1)
        _measure(db, dataset, shard, list(entries_of(db, shard)))
    return True


def _dataset(db: sqlite3.Connection, facts: ShardFacts) -> int:
    db.execute(
        "INSERT INTO dataset(name, folder) VALUES(?, ?)"
        " ON CONFLICT(name) DO UPDATE SET folder = excluded.folder",
        (facts.dataset, facts.folder),
    )
    return int(db.execute("SELECT id FROM dataset WHERE name = ?", (facts.dataset,)).fetchone()[0])


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


def _measure(db: sqlite3.Connection, dataset: int, shard: int, found: Sequence[tuple[int, Entry]]) -> None:
    """Count a shard's rows and note where which of them stand."""
    count(db, dataset, [entry for _, entry in found], 1)
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
