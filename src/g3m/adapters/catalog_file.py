"""The file of the catalog: its tables, how it is opened, what its errors mean.

SQLite with a rollback journal, because write-ahead logs do not work on network file systems. What is written
is for adapters/catalog_write.py and catalog_erase.py, what is read for catalog.py and catalog_walk.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from g3m.adapters import fsio
from g3m.core.errors import G3MError, Locked, NoFullText, NoSpace, NotWritable, StorageError, UnknownCatalog

FILE = "g3m.sqlite"
"""Its name in the .g3m of a root."""

FORMAT = 2
"""Rises when a table, a bin or the words of core/query.spaced change: the catalog is then made anew."""

APPLICATION = 0x67336D01
"""What tells it from any other SQLite file."""

BUSY_S = 10.0
_PAGE_BYTES = 8192
_CACHE_KIB = 32 * 1024

_PROBE = "CREATE VIRTUAL TABLE probe USING fts5(text)"

TABLES = """
CREATE TABLE dataset(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, folder TEXT NOT NULL);
CREATE TABLE shard(id INTEGER PRIMARY KEY AUTOINCREMENT, dataset INTEGER NOT NULL, name TEXT NOT NULL,
  number INTEGER NOT NULL, first INTEGER NOT NULL, places INTEGER NOT NULL, samples INTEGER NOT NULL,
  stamp TEXT NOT NULL, looked INTEGER NOT NULL, UNIQUE(dataset, name));
CREATE TABLE host(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE sample(id INTEGER PRIMARY KEY, width INTEGER NOT NULL, height INTEGER NOT NULL,
  aspect INTEGER NOT NULL, bytes INTEGER NOT NULL, words INTEGER NOT NULL, letters INTEGER NOT NULL,
  flags INTEGER NOT NULL, format TEXT NOT NULL, host INTEGER, key TEXT NOT NULL);
CREATE INDEX sample_host ON sample(host) WHERE host IS NOT NULL;
CREATE TABLE caption(id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE VIRTUAL TABLE found USING fts5(text, content='', columnsize=0, prefix='2',
  tokenize="unicode61 remove_diacritics 2");
CREATE TABLE look(id INTEGER PRIMARY KEY, digest BLOB NOT NULL, rows INTEGER NOT NULL,
  columns INTEGER NOT NULL);
CREATE TABLE zone(chart TEXT NOT NULL, bin TEXT NOT NULL, shard INTEGER NOT NULL, samples INTEGER NOT NULL,
  blocks BLOB NOT NULL, PRIMARY KEY(chart, bin, shard)) WITHOUT ROWID;
CREATE INDEX zone_shard ON zone(shard);
CREATE TABLE tally(dataset INTEGER NOT NULL, chart TEXT NOT NULL, bin TEXT NOT NULL, samples INTEGER NOT NULL,
  PRIMARY KEY(dataset, chart, bin)) WITHOUT ROWID;
CREATE TABLE alike(one INTEGER NOT NULL, other INTEGER NOT NULL, distance INTEGER NOT NULL,
  PRIMARY KEY(one, other)) WITHOUT ROWID;
CREATE INDEX alike_other ON alike(other);
CREATE TABLE generation(looks INTEGER NOT NULL, pairs INTEGER NOT NULL);
INSERT INTO generation VALUES(0, 0);
CREATE VIEW samples AS SELECT sample.id AS id, dataset.name AS dataset, shard.name AS shard,
  shard.first + (sample.id & 16777215) AS number, sample.key AS key, caption.text AS caption,
  sample.width AS width, sample.height AS height, sample.aspect / 100.0 AS aspect,
  sample.bytes AS bytes, sample.words AS words, sample.letters AS letters, host.name AS host,
  sample.format AS format, sample.flags AS flags,
  CASE WHEN look.id NOT NULL THEN lower(hex(look.digest)) END AS sha256
  FROM sample JOIN shard ON shard.id = sample.id >> 24 JOIN dataset ON dataset.id = shard.dataset
  LEFT JOIN caption ON caption.id = sample.id LEFT JOIN host ON host.id = sample.host
  LEFT JOIN look ON look.id = sample.id;
"""


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """A connection to the catalog at `path`; UnknownCatalog if there is none, or of another format.

    Reading opens the file for writing too, if it may: what a killed run left half done is rolled back so.
    """
    if not path.is_file():
        raise UnknownCatalog(f"{path}: there is no catalog")
    with errors(path):
        connection = _open(path, "rw")
        try:
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA trusted_schema = OFF")
            # Also while nothing is deleted: what is moved from page to page would stay behind.
            connection.execute("PRAGMA secure_delete = ON" if writing else "PRAGMA query_only = ON")
            found = [
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            ]
            if found != [APPLICATION, FORMAT]:
                raise UnknownCatalog(f"{path}: is no catalog of this version of g3m")
        except BaseException:
            connection.close()
            raise
        return connection


def need_full_text(path: Path) -> None:
    """NoFullText where this SQLite has no FTS5; asked before anything is written or thrown away."""
    with errors(path), closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(_PROBE)


def create(path: Path) -> None:
    """An empty catalog at `path`, where nothing is; of several who do so at one moment one does."""
    with errors(path):
        connection = _open(path, "rwc")
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = DELETE")
            # Whoever finds the tables finds the numbers: all of it or nothing is there.
            connection.executescript(
                f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; "
                f"PRAGMA user_version = {FORMAT}; COMMIT;"
            )
        except sqlite3.OperationalError as error:
            if "already exists" not in str(error):
                raise
        finally:
            connection.close()


def discard(path: Path) -> None:
    """Remove a catalog with what belongs to it; the shards still have all that it knew."""
    for name in (path.name, f"{path.name}-journal", f"{path.name}-wal", f"{path.name}-shm"):
        try:
            fsio.discard(path.with_name(name))
        except OSError as error:
            raise NotWritable(f"{path.with_name(name)}: cannot be replaced: {error.strerror}") from None


def _open(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(
        address, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from None
    except (TypeError, UnicodeDecodeError, OverflowError) as error:
        # What no writer of ours put there: SQLite does not notice every wrong bit.
        raise UnknownCatalog(f"{path}: is damaged: {error}", hint=_HINT_AGAIN) from error


def translated(error: sqlite3.Error, path: Path) -> G3MError:
    """An error of SQLite as one of ours: busy, full, read-only, or no catalog that can be read."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return Locked(f"{path}: is being written by another process; try again in a moment", hint=_HINT_BUSY)
    if "full" in text:
        return NoSpace(f"{path}: {text}")
    if "readonly" in text or "unable to open" in text:
        return NotWritable(f"{path}: {text}")
    if "disk I/O" in text or "locking protocol" in text:  # network file systems without locks
        return StorageError(f"{path}: {text}", hint=_HINT_DISK)
    if "no such module" in text:
        return NoFullText(f"{path}: {text} (SQLite {sqlite3.sqlite_version})")
    return UnknownCatalog(f"{path}: cannot be read: {text}", hint=_HINT_AGAIN)


_HINT_BUSY = (
    "`g3m index` may be at work; the pages and searches wait ten seconds for it",
    "可能正在运行 `g3m index`；页面和搜索最多等待十秒",
)
_HINT_AGAIN = (
    "`g3m index --force` makes it again from the shards, which stay as they are",
    "运行 `g3m index --force` 可由分片重新生成；分片不会改变",
)
_HINT_DISK = (
    "the disk of --root does not work for a database; `g3m doctor` looks at it",
    "--root 所在磁盘无法用于数据库；`g3m doctor` 可检查",
)
