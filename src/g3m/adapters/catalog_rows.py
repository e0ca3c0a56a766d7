"""Rows of the catalog as values: samples, shards and datasets with their names."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from g3m.core.catalog import PLACE_LIMIT, Entry, Shown, names, place_of, sample_id

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Rows:
    """A page of a list, and the cursors from which the pages before and after it are asked for."""

    rows: tuple[Shown, ...]
    has_before: bool = False
    has_after: bool = False
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True)
class Total:
    """How many samples a view has; `is_bound`: at least so many, it was not counted further."""

    samples: int
    is_bound: bool = False


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A dataset in the catalog; `looked`: the pictures of how many of its shards were decoded."""

    id: int
    name: str
    folder: str
    samples: int
    shards: int
    looked: int


@dataclass(frozen=True, slots=True)
class ShardRow:
    """A shard in the catalog; `samples` without those that were dropped."""

    id: int
    dataset: str
    name: str
    number: int
    first: int
    places: int
    samples: int
    stamp: str
    looked: bool


_SAMPLES = (
    "SELECT sample.id, key, text, width, height, bytes, words, name, format, flags FROM sample"
    " LEFT JOIN caption ON caption.id = sample.id LEFT JOIN host ON host.id = host"
)


def rows_of(db: sqlite3.Connection, ids: Sequence[int]) -> tuple[Shown, ...]:
    """The samples with these ids, in that order."""
    shards: dict[int, Any] = {}
    for shard in {place_of(one)[0] for one in ids}:
        shards[shard] = db.execute(
            "SELECT dataset.name, shard.name, first FROM shard JOIN dataset ON dataset.id = dataset"
            " WHERE shard.id = ?",
            (shard,),
        ).fetchone()
    found: dict[int, Shown] = {}
    for start in range(0, len(ids), _AT_ONCE):
        part = ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(part))
        rows = db.execute(
            f"{_SAMPLES} WHERE sample.id IN ({marks})",
            part,
        )
        for one, key, text, width, height, size_bytes, words, host, kind, flags in rows:
            shard, place = place_of(one)
            if shards[shard] is None:
                continue
            dataset, shard_name, first = shards[shard]
            found[one] = Shown(
                id=one,
                dataset=dataset,
                shard=shard_name,
                number=first + place,
                key=key,
                caption=text or "",
                width=width,
                height=height,
                size_bytes=size_bytes,
                words=words,
                host=host or "",
                format=kind,
                flags=names(flags),
            )
    return tuple(found[one] for one in ids if one in found)


def row_at(db: sqlite3.Connection, dataset: str, number: int) -> Shown | None:
    """The sample with a number in its dataset; None if it is not there (any more)."""
    found = db.execute(
        "SELECT shard.id, ? - first FROM shard JOIN dataset ON dataset.id = dataset"
        " WHERE dataset.name = ? AND first <= ? AND ? < first + places",
        (number, dataset, number, number),
    ).fetchone()
    rows = rows_of(db, [sample_id(*found)]) if found else ()
    return rows[0] if rows else None


def rows_with(db: sqlite3.Connection, dataset: str, key: str) -> tuple[Shown, ...]:
    """The samples with a key, in one dataset or ("") all; goes through all their rows."""
    found: list[int] = []
    for shard in sorted(shard_rows(db, dataset), key=lambda row: row.id):
        rows = db.execute(
            "SELECT id FROM sample WHERE id BETWEEN ? AND ? AND key = ?", (*bounds_of(shard.id), key)
        )
        found += [one for (one,) in rows]
    return rows_of(db, found)


def dataset_rows(db: sqlite3.Connection) -> tuple[DatasetRow, ...]:
    """The datasets by name."""
    rows = db.execute(
        "SELECT dataset.id, dataset.name, folder, total(samples), count(shard.id), total(looked)"
        " FROM dataset LEFT JOIN shard ON dataset = dataset.id GROUP BY dataset.id"
        " ORDER BY dataset.name"
    )
    return tuple(DatasetRow(one, name, folder, *map(int, counts)) for one, name, folder, *counts in rows)


def shard_rows(db: sqlite3.Connection, dataset: str) -> tuple[ShardRow, ...]:
    """The shards of a dataset, or ("") of all, in their order."""
    rows = db.execute(
        "SELECT shard.id, dataset.name, shard.name, number, first, places, samples, stamp, looked"
        " FROM shard JOIN dataset ON dataset.id = dataset WHERE dataset.name = ? OR ? = ''"
        " ORDER BY dataset.name, number, shard.id",
        (dataset, dataset),
    )
    return tuple(shard_row(row) for row in rows)


def shard_row(values: tuple[Any, ...]) -> ShardRow:
    """A row of the table, with the name of the dataset in place of its id."""
    one, dataset, name, number, first, places, samples, stamp, looked = values
    return ShardRow(one, dataset, name, number, first, places, samples, stamp, bool(looked))


def bounds_of(shard: int) -> tuple[int, int]:
    """The first and the last id that a sample of a shard can have."""
    return sample_id(shard, 0), sample_id(shard, PLACE_LIMIT - 1)


def entries_of(db: sqlite3.Connection, shard: int) -> Iterator[tuple[int, Entry]]:
    """The rows of a shard, without digests and hashes."""
    rows = db.execute(
        f"{_SAMPLES} WHERE sample.id BETWEEN ? AND ? ORDER BY sample.id",
        bounds_of(shard),
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
