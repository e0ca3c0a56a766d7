"""Undoing gzip: one compressed file becomes one plain file, checked to its last byte.

Here: a whole file to a whole file. Reading a tar through gzip is not for here, nor for anywhere:
a tar reader stops at the end of the tar, before the checksum that stands behind it, and 299 of 300
flipped bits pass unseen. Members of a zip are inflated by adapters/members.py.
"""

from __future__ import annotations

import gzip
import importlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from g3m.core.errors import BadArchive, StorageError, storage_error

RATIO_LIMIT = 1000
RATIO_FLOOR_BYTES = 10 * 2**20
"""Up to this size a file may grow by any ratio."""

_CHUNK_BYTES = 2**20


def inflate(
    source: Path,
    target: Path,
    *,
    limit_bytes: int,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Unpack the gzip file `source` into the new file `target`; return the unpacked size in bytes.

    `progress` is told how many bytes of `source` have been read so far; what it raises ends the
    work. `target` must not exist yet. It is on the disk (fsync) when this returns and gone when
    this raises: BadArchive (cut, damaged, other bytes at the end, more than `limit_bytes` or than
    1000 times the source), NoSpace, NotWritable or StorageError.
    """
    chunks = _unpacked(source, limit_bytes, progress)
    try:
        # O_EXCL: a second run that unpacks the same file must fail here, not write into ours.
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(error, target) from error
    try:
        return _write(chunks, file, target)
    except BaseException:
        with suppress(OSError):
            target.unlink()
        raise
    finally:
        os.close(file)


def _write(chunks: Iterator[bytes], file: int, target: Path) -> int:
    size_bytes = 0
    for chunk in chunks:
        size_bytes += len(chunk)
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(file, rest) :]
        except OSError as error:
            raise storage_error(error, target) from error
    try:
        os.fsync(file)
    except OSError as error:
        raise storage_error(error, target) from error
    return size_bytes


def _unpacked(source: Path, limit_bytes: int, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    """The plain bytes in pieces; the last one comes only after every checksum held."""
    opener, damage = _gzip()
    position = 0
    try:
        with source.open("rb") as packed, opener(fileobj=packed, mode="rb") as plain:
            source_bytes = os.fstat(packed.fileno()).st_size
            if not source_bytes:
                raise BadArchive(f"{source}: not gzip: the file is empty")
            allowed = min(limit_bytes, max(RATIO_FLOOR_BYTES, RATIO_LIMIT * source_bytes))
            size_bytes = 0
            while chunk := plain.read(_CHUNK_BYTES):
                size_bytes += len(chunk)
                position = packed.tell()
                if size_bytes > allowed:
                    raise BadArchive(f"{source}: unpacks to more than {allowed} bytes, at offset {position}")
                if progress:
                    progress(position)
                yield chunk
    except damage as error:
        raise BadArchive(f"{source}: gzip damaged behind offset {position}: {error}") from error
    except OSError as error:
        raise StorageError(f"{source}: cannot be read: {error.strerror or error}") from error


def _gzip() -> tuple[Any, tuple[type[Exception], ...]]:
    """The class that reads gzip and what it raises on damage: isal's, twice as fast, if present.

    Both read on to the end of the file: every member's checksum and length, zeros behind the last.
    """
    damage = (gzip.BadGzipFile, EOFError, zlib.error)
    try:
        fast = importlib.import_module("isal.igzip")
        fast_damage = importlib.import_module("isal.isal_zlib").error
    except ImportError:
        return gzip.GzipFile, damage
    return fast.IGzipFile, (*damage, fast_damage)
