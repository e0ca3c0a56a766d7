"""energon: writes beside shards what `energon prepare` would, from the index that is there already.

Where the index cannot say where samples begin and end (members without a place in it, foreign headers), the
shard's own headers are read, once.
"""

from __future__ import annotations

import os
import sqlite3
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from g3m.adapters import fsio
from g3m.adapters.disk import make_folder, publish, remove
from g3m.core.energon import INDEXES, SCHEMA, Placed, placed, tar_index
from g3m.core.errors import Bilingual, ContentError, NotVerified, storage_error
from g3m.core.index import Index
from g3m.core.neighbours import Part
from g3m.core.shard import BLOCK_BYTES

META = ".nv-meta"
DATABASE = "index.sqlite"
UUID = "index.uuid"

_HINT_COUNT: Bilingual = (
    "samples that cannot be used are in no index, but Energon would read them: `g3m pack` leaves them out",
    "无法使用的样本不在索引中，但 Energon 会读取它们：`g3m pack` 可将其排除",
)
_HINT_KEYS: Bilingual = (
    "`energon prepare --fix-duplicates` renames samples inside the tars: give it a copy",
    "`energon prepare --fix-duplicates` 会在 tar 内为样本改名：请对副本使用",
)


def samples_of(part: Part, index: Index) -> Iterator[list[Placed]]:
    """The samples of each shard in order; NotVerified if there are not as many as the part counts."""
    number = 0
    for shard, path in zip(part.shards, part.paths, strict=True):
        entries = [index[at][1] for at in range(number, number + shard.samples)]
        number += shard.samples
        found = placed(entries)
        if found is None or not _ends(path, found):
            found = list(_scan(path))
        if len(found) != shard.samples:
            words = f"{path}: holds {len(found)} samples, {shard.samples} are stated"
            raise NotVerified(words, hint=_HINT_COUNT)
        yield found


def _ends(path: str, samples: Sequence[Placed]) -> bool:
    """Whether nothing follows the last sample: a tar ends with blocks of zeros."""
    end = samples[-1].offset + samples[-1].size_bytes if samples else 0
    try:
        with open(path, "rb") as file:
            file.seek(end)
            return file.read(BLOCK_BYTES) == bytes(BLOCK_BYTES)
    except OSError as error:
        raise storage_error(error, path) from error


def _scan(path: str) -> Iterator[Placed]:
    """The samples by the headers of a tar, as webdataset and Energon group its files."""
    key, start, members = None, 0, list[tuple[str, int, int]]()
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, dot, extension = name.partition(".")
                if not member.isreg() or not stem or not dot or member.name.startswith("__"):
                    continue
                own = f"{folder}/{stem}" if folder else stem
                if own != key:
                    if key is not None:
                        yield Placed(key, start, member.offset - start, tuple(members))
                    key, start, members = own, member.offset, []
                members.append((extension, member.offset_data, member.size))
            if key is not None:
                yield Placed(key, start, tar.offset - start, tuple(members))
    except (OSError, tarfile.TarError) as error:
        raise NotVerified(f"{path}: cannot be read: {error}") from None


def write_tables(part: Part, index: Index, folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Write the database into a folder's `.nv-meta`; yields the index of each shard with its path."""
    final = folder / META / DATABASE
    making = final.with_name(f".{DATABASE}.{os.getpid()}.tmp")
    make_folder(final.parent)
    remove(making)
    try:
        # A file that is not finished is thrown away, so that SQLite needs no journal and no sync of its own.
        database = sqlite3.connect(making, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            yield from _fill(database, part, index, folder)
        finally:
            database.close()
        _sync(making)
        publish(making, final)
    except sqlite3.IntegrityError:
        raise ContentError(
            f"{part.name}: a key stands for two samples, which Energon refuses", hint=_HINT_KEYS
        ) from None
    except sqlite3.Error as error:
        raise storage_error(OSError(None, str(error)), final) from error
    finally:
        with suppress(OSError):
            fsio.unlink(making)  # only a failure has left it


def _fill(
    database: sqlite3.Connection, part: Part, index: Index, folder: Path
) -> Iterator[tuple[Path, bytes]]:
    database.executescript(SCHEMA)
    for number, (shard, found) in enumerate(zip(part.shards, samples_of(part, index), strict=True)):
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO samples VALUES (?, ?, ?, ?, ?)",
            ((number, one.key, at, one.offset, one.size_bytes) for at, one in enumerate(found)),
        )
        database.executemany(
            "INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)",
            ((number, at, *member) for at, one in enumerate(found) for member in one.members),
        )
        database.execute("COMMIT")
        yield folder / f"{shard.name}.idx", tar_index(found)
    database.executescript(INDEXES)


def _sync(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            fsio.sync(file.fileno())
    except OSError as error:
        raise storage_error(error, path) from error
