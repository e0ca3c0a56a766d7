"""Rows of the catalog as values: samples, shards and datasets with their names."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from g3m.core.catalog import Shown, names, place_of

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
            "SELECT sample.id, key, text, width, height, bytes, words, name, format, flags FROM sample"  # noqa: S608
            " LEFT JOIN caption ON caption.id = sample.id LEFT JOIN host ON host.id = host"
            f" WHERE sample.id IN ({marks})",
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


def shard_row(values: tuple[Any, ...]) -> ShardRow:
    """A row of the table, with the name of the dataset in place of its id."""
    one, dataset, name, number, first, places, samples, stamp, looked = values
    return ShardRow(one, dataset, name, number, first, places, samples, stamp, bool(looked))
