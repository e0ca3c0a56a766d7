"""Undoing gzip: one compressed file becomes one plain file, checked to its last byte.

Here: a whole file to a whole file. Reading a tar through gzip is not for here, nor for anywhere:
a tar reader stops at the end of the tar, before the checksum that stands behind it, and 299 of 300
flipped bits pass unseen. Members of a zip are inflated by adapters/members.py.

Inflating is what takes the time, and it cannot be divided; so it has a thread of its own, and writing, the
disk, and whatever the caller does with the bytes that are there already go on beside it.
"""

from __future__ import annotations

import gzip
import importlib
import os
import queue
import threading
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, final

from g3m.adapters.output import Output
from g3m.core.errors import BadArchive, NoSpace, StorageError

RATIO_LIMIT = 1000
RATIO_FLOOR_BYTES = 10 * 2**20
"""Up to this size a file may grow by any ratio."""

NO_LIMIT_BYTES = 2**63 - 1

_CHUNK_BYTES = 2**20
_CHUNKS_AHEAD = 8


@final
class Inflation:
    """Unpacks the gzip file `source` into the new file `target`, as far as somebody wants it.

    `progress` is told how many bytes of `source` have been read so far; what it raises ends the
    work. `target` must not exist yet. It is on the disk (fsync) after `finish`, and gone after the
    block if that was not reached or if anything raised: BadArchive (cut, damaged, other bytes at the
    end, more than `limit_bytes` or than 1000 times the source), NoSpace (more than `room_bytes`, too),
    NotWritable or StorageError.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        *,
        limit_bytes: int = NO_LIMIT_BYTES,
        room_bytes: int = NO_LIMIT_BYTES,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._progress = progress
        self._output = Output(target)
        self._ended = self._synced = False
        self._stopping = threading.Event()
        self._chunks: queue.Queue[tuple[bytes, int] | BaseException | None] = queue.Queue(_CHUNKS_AHEAD)
        pieces = _unpacked(source, limit_bytes, room_bytes)
        self._thread = threading.Thread(target=self._work, args=(pieces,), name="g3m-inflate", daemon=True)
        self._thread.start()

    def __enter__(self) -> Inflation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        while not self._ended:
            self._next()  # the thread may be waiting for room
        self._thread.join()
        if kind is not None or not self._synced:
            self._output.abort()

    def reach(self, position: int) -> int:
        """Unpack at least that many bytes, if there are as many; returns how many are unpacked now.

        Where it returns fewer, the whole of `source` was unpacked and is sound.
        """
        while self._output.position < position and not self._ended:
            found = self._next()
            if isinstance(found, BaseException):
                raise found
            if found is not None:
                chunk, packed_bytes = found
                if self._progress:
                    self._progress(packed_bytes)
                self._output.write(chunk)
        return self._output.position

    def finish(self) -> int:
        """Unpack what is left and put everything on the disk; returns the unpacked size in bytes."""
        while not self._ended:
            self.reach(self._output.position + 1)
        self._output.close()
        self._synced = True
        return self._output.position

    def _next(self) -> tuple[bytes, int] | BaseException | None:
        """The next piece, or what ended the thread: an error, or nothing if all went well."""
        found = self._chunks.get()
        self._ended = not isinstance(found, tuple)
        return found

    def _work(self, pieces: Generator[tuple[bytes, int], None, None]) -> None:
        last: BaseException | None = None
        try:
            with closing(pieces):
                for piece in pieces:
                    if self._stopping.is_set():
                        break
                    self._chunks.put(piece)
        except BaseException as error:  # noqa: BLE001  # it is raised where the bytes are wanted
            last = error
        self._chunks.put(last)


def _unpacked(source: Path, limit_bytes: int, room_bytes: int) -> Generator[tuple[bytes, int], None, None]:
    """The plain bytes in pieces, each with how much was read; it ends only after every checksum held."""
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
                if size_bytes > room_bytes:
                    raise NoSpace(f"{source}: unpacks to more than the {room_bytes} bytes that are free")
                yield chunk, position
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
