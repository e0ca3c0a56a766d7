"""A new file that is written once, from its start to its end, and on the disk when it is closed.

Here: short writes, the errors of a full or failing disk, and what goes on beside the writing on a thread of
its own: the digest of the file, and telling the system to begin with the disk, so that little is left to wait
for in the end. What the bytes are is for adapters/shards.py and inflate.py; renames are for adapters/disk.py.

Two hints are given to the system: where a file will grow, and what may go to the disk already. Both are of
Linux, and nothing depends on them but the speed (docs/decisions/0012-how-members-are-copied.md).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import final

from g3m.adapters import fsio
from g3m.core.errors import storage_error

_PIECES_AHEAD = 8
"""Pieces that may wait for the follower: with pieces of a mebibyte, the memory that one file takes."""

_SMALL_BYTES = 2**18
"""A file that is written in one such piece needs no thread."""

_BACK_BYTES = 2**23
"""How much is given to the disk at once: less would cut files that grow side by side into small extents."""

_ROOM_BYTES = 2**24
"""How much room is asked for at once, by a file that has become so large: of many small ones side by side
each would keep from the others what it does not need. It is given back at the end, or with the whole file.
"""

_SYNC_FILE_RANGE_WRITE = 2


@final
class Output:
    """One file that did not exist before.

    Whatever fails removes it, and is raised as NoSpace, NotWritable or StorageError.
    A piece that was given to `write` must not be changed before `close`.
    """

    def __init__(self, path: Path, *, digest: bool = False) -> None:
        self.path = path
        self.position = 0
        self._room = _ROOM_BYTES
        self._digest = hashlib.sha256() if digest else None
        self._follower: _Follower | None = None
        try:
            # New: two runs that make the same file must not write into one.
            self._file = fsio.open_file(path, fsio.NEW)
        except OSError as error:
            raise storage_error(error, path) from error

    def write(self, data: bytes) -> None:
        """Append a piece, whole."""
        if self._room >= 0 and self.position + len(data) > self._room:
            self._make_room()
        try:
            fsio.write_all(self._file, data)
        except OSError as error:
            self.abort()
            raise storage_error(error, self.path) from error
        if self._follower is None:
            self._follower = _Follower(self._file, self._digest)
        self._follower.take(data)
        self.position += len(data)

    def close(self) -> str:
        """Put the file on the disk; returns its sha256, or nothing if none was asked for."""
        try:
            if self._follower is not None:
                self._follower.end()
            if self._room > max(self.position, _ROOM_BYTES):
                fsio.truncate(self._file, self.position)
            fsio.sync(self._file)
            file, self._file = self._file, -1
            os.close(file)
        except OSError as error:
            # After a failed fsync the bytes may be gone, and a second one would only hide it.
            self.abort()
            raise storage_error(error, self.path) from error
        except BaseException:
            self.abort()
            raise
        return self._digest.hexdigest() if self._digest else ""

    def abort(self) -> None:
        """Give the file up and remove it; nothing is raised."""
        if self._follower is not None:
            with suppress(BaseException):
                self._follower.end()
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
            self._file = -1
        with suppress(OSError):
            fsio.unlink(self.path)

    def _make_room(self) -> None:
        """Have the system find a place for what comes next; where it cannot, it is not asked again."""
        start = max(self._room, self.position)
        if fsio.make_room(self._file, start, _ROOM_BYTES):
            self._room = start + _ROOM_BYTES
            return
        self._room = -1
        with suppress(OSError):  # a disk that is nearly full gives what it has left, and says no
            fsio.truncate(self._file, self.position)


class _Follower:
    """Behind the writing: takes the digest of each piece and has the system write it back."""

    def __init__(self, file: int, digest: hashlib._Hash | None) -> None:
        self._file, self._digest = file, digest
        self._start = self._end = 0
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_PIECES_AHEAD)
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def take(self, data: bytes) -> None:
        """Follow one more piece; waits where the follower is far behind."""
        if self._thread is None:
            if len(data) < _SMALL_BYTES:
                self._follow(data)
                return
            self._thread = threading.Thread(target=self._work, name="g3m-output", daemon=True)
            self._thread.start()
        self._waiting.put(data)

    def end(self) -> None:
        """Wait until every piece was followed; raises what went wrong with one."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        while (data := self._waiting.get()) is not None:
            if self._failure is None:
                try:
                    self._follow(data)
                except BaseException as error:  # noqa: BLE001  # it is raised by `end`
                    self._failure = error

    def _follow(self, data: bytes) -> None:
        if self._digest is not None:
            self._digest.update(data)
        self._end += len(data)
        if self._end - self._start >= _BACK_BYTES:
            start_writing_back(self._file, self._start, self._end - self._start)
            self._start = self._end


def start_writing_back(file: int, start: int, size_bytes: int) -> None:
    """Have the system begin to put a range of a file on the disk; only a hint, so nothing is raised.

    It waits for nothing that fsync would not wait for, and takes no error away that fsync would tell.
    """
    call = _sync_file_range()
    if call is not None:
        call(file, start, size_bytes, _SYNC_FILE_RANGE_WRITE)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """A call of Linux' C libraries which Python does not have; None elsewhere."""
    try:
        call: Callable[[int, int, int, int], int] = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)  # type: ignore[attr-defined]
    return call
