"""Which pictures are alike, in the catalog: what decoding gave, the pairs, and whether these are of today.

The table `generation` counts in `looks` how often there was something else to compare, and has in `pairs` at
which of these counts the pairs were made: whatever stops the work in between, the next run notices.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

from g3m.adapters.catalog_erase import transaction
from g3m.adapters.catalog_rows import bounds_of, rows_of
from g3m.core.catalog import Shown

_AT_ONCE = 500


def looks_of(db: sqlite3.Connection, shard: int) -> list[tuple[int, bytes, int, int]]:
    """Id, digest and both hashes of the pictures of a shard, in the order of ids."""
    text = "SELECT * FROM look WHERE id BETWEEN ? AND ? ORDER BY id"
    return db.execute(text, bounds_of(shard)).fetchall()


def generations(db: sqlite3.Connection) -> tuple[int, int]:
    """The count of changes, and the one of which the pairs are: equal where the pairs are of today."""
    looks, pairs = db.execute("SELECT looks, pairs FROM generation").fetchone()
    return int(looks), int(pairs)


def put_alike(db: sqlite3.Connection, pairs: Iterable[tuple[int, int, int]], generation: int) -> None:
    """Replace the pairs by (one, other, distance), one < other, found when `looks` had this count."""
    with transaction(db):
        db.execute("DELETE FROM alike")
        db.executemany("INSERT OR REPLACE INTO alike VALUES(?, ?, ?)", pairs)
        db.execute("UPDATE generation SET pairs = ?", (generation,))


def counts(db: sqlite3.Connection, datasets: Collection[str]) -> tuple[int, int]:
    """How many samples of some datasets have the bytes of an earlier picture, and how many are near one."""
    marks = ", ".join("?" * len(datasets))
    same, near = db.execute(
        "SELECT total(distance = 0), total(distance > 0) FROM (SELECT min(distance) AS distance FROM alike"  # noqa: S608
        " WHERE other >> 24 IN (SELECT shard.id FROM shard JOIN dataset ON dataset.id = dataset"
        f" WHERE dataset.name IN ({marks})) GROUP BY other)",
        tuple(datasets),
    ).fetchone()
    return int(same), int(near)


def alike_of(db: sqlite3.Connection, one: int) -> list[tuple[Shown, int]]:
    """The samples that look like the one with this id, the most alike first."""
    found = db.execute(
        "SELECT other, distance FROM alike WHERE one = ?"
        " UNION SELECT one, distance FROM alike WHERE other = ?"
        " ORDER BY 2, 1",
        (one, one),
    ).fetchall()
    shown = {row.id: row for row in rows_of(db, [other for other, _ in found])}
    return [(shown[other], distance) for other, distance in found if other in shown]


def pairs_of(
    db: sqlite3.Connection, dataset: str, after: int, limit: int
) -> list[tuple[int, Shown, Shown, int]]:
    """Pairs of samples that look alike, at least one of them in the dataset, behind a cursor."""
    made: list[tuple[int, Shown, Shown, int]] = []
    offset = after
    while len(made) < limit:
        found = db.execute(
            "SELECT one, other, distance FROM alike ORDER BY one, other LIMIT ? OFFSET ?", (_AT_ONCE, offset)
        ).fetchall()
        shown = {row.id: row for row in rows_of(db, sorted({one for pair in found for one in pair[:2]}))}
        for one, other, distance in found:
            offset += 1
            pair = shown.get(one), shown.get(other)
            if pair[0] and pair[1] and (not dataset or dataset in (pair[0].dataset, pair[1].dataset)):
                made.append((offset, pair[0], pair[1], distance))
                if len(made) == limit:
                    break
        if len(found) < _AT_ONCE:
            break
    return made
