"""spooling: a tar.gz is inflated behind the front of its download, into a spool beside the parts.

Inflating can go on in the middle of the file after a restart: an index of points, each with the window that
inflating needs there, is kept beside the spool.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable, Iterator
from typing import Any

from g3m.adapters import fsio
from g3m.adapters.disk import remove, replacing
from g3m.adapters.inflate import RATIO_FLOOR_BYTES, RATIO_LIMIT
from g3m.adapters.parts import Part
from g3m.adapters.session import Session
from g3m.core.errors import BadArchive, storage_error
from g3m.core.events import Event
from g3m.core.plan import window_bytes
from g3m.core.recipe import Asset
from g3m.steps.streamed import Ahead, spool_path

KEPT_BYTES = 4096
"""The gzip header is looked at again after a restart."""

MOST_SPACING_BYTES = 2**25
LEAST_SPACING_BYTES = 2**20
READ_BYTES = 2**20
BACK_BYTES = 64
"""A point may begin within the byte before the one that it names."""

WAIT_S = 0.2


class _Stopped(Exception):
    """Somebody wants the thread to end."""


class Spooling:
    """Inflates a tar.gz as it comes."""

    def __init__(self, asset: Asset, part: Part, session: Session) -> None:
        self._asset, self._part, self._session = asset, part, session
        self._spool = spool_path(asset, session)
        self._index = self._spool.with_suffix(".points")
        size_bytes = asset.size_bytes or 0
        self._spacing = min(max(size_bytes // 128, LEAST_SPACING_BYTES), MOST_SPACING_BYTES)
        self.least_window_bytes = 6 * self._spacing
        self.spool_bytes = 0
        self._file = -1

    def intact(self) -> bool:
        """Whether everything that was taken out is still there."""
        return self._spool.is_file() and self._index.is_file()

    def prepare(self, _: Ahead) -> Iterator[Event]:
        """Open the spool; what of it belongs to no point is written again."""
        if not self._part.dropped:
            for path in (self._spool, self._index):
                remove(path)
        try:
            self._file = fsio.open_file(self._spool, fsio.KEPT)
        except OSError as error:
            raise storage_error(error, self._spool) from error
        yield from ()

    def follow(self, stopping: Callable[[], bool], drop: Callable[[int, int], None]) -> None:
        """Inflate what the front has passed; `drop` what no restart needs any more."""
        indexed = importlib.import_module("indexed_gzip")
        size_bytes = self._asset.size_bytes or 0
        limit = max(RATIO_FLOOR_BYTES, RATIO_LIMIT * size_bytes)
        window = max(window_bytes(size_bytes), self.least_window_bytes)
        front = _FrontFile(self._part, size_bytes, window, stopping)
        piece = min(READ_BYTES, self._spacing)
        options = {"spacing": self._spacing, "readbuf_size": piece, "buffer_size": piece}
        buffer = memoryview(bytearray(self._spacing))
        try:
            with indexed.IndexedGzipFile(fileobj=front, **options) as plain:
                position = self._resume(plain)
                while count := plain.readinto(buffer):
                    self._write(buffer[:count], position)
                    position += count
                    if position > limit:
                        raise BadArchive(f"{self._asset.name}: unpacks to more than {limit} bytes")
                    self._checkpoint(plain, drop)
        except (indexed.ZranError, OSError, ValueError, EOFError) as error:
            if stopping():
                return
            raise BadArchive(f"{self._asset.name}: gzip damaged: {error}") from error
        try:
            fsio.truncate(self._file, position)
        except OSError as error:
            raise storage_error(error, self._spool) from error
        self.spool_bytes = position

    def _resume(self, plain: Any) -> int:
        """Where the last point is that was kept, or the beginning."""
        if not self._part.dropped:
            return 0
        with open(self._index, "rb") as file:
            plain.import_index(fileobj=file)
        position = int(list(plain.seek_points())[-1][0])
        plain.seek(position)
        return position

    def _write(self, data: memoryview, position: int) -> None:
        try:
            fsio.write_all_at(self._file, data, position)
        except OSError as error:
            raise storage_error(error, self._spool) from error

    def _checkpoint(self, plain: Any, drop: Callable[[int, int], None]) -> None:
        """Sync the spool, keep the points, then give up what lies before the last of them."""
        points = list(plain.seek_points())
        end = int(points[-1][1]) - BACK_BYTES if points else 0
        if end - self._part.dropped < self._spacing:
            return
        try:
            fsio.sync_data(self._file)
        except OSError as error:
            raise storage_error(error, self._spool) from error
        with replacing(self._index) as file:
            plain.export_index(fileobj=file)
        drop(end, KEPT_BYTES)

    def sync(self) -> None:
        """Put the spool on the disk."""
        try:
            fsio.sync(self._file)
        except OSError as error:
            raise storage_error(error, self._spool) from error

    def close(self) -> None:
        """Close the spool."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class _FrontFile(io.RawIOBase):
    """The download as a file that is read behind its front: a read waits until there is something."""

    def __init__(self, part: Part, size_bytes: int, window: int, stopping: Callable[[], bool]) -> None:
        self._part, self._size_bytes, self._window, self._stopping = part, size_bytes, window, stopping
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._position, 2: self._size_bytes}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        wanted = self._size_bytes - self._position if size < 0 else size
        if wanted <= 0 or self._position >= self._size_bytes:
            return b""
        end = min(self._position + wanted, self._size_bytes)
        if end > self._part.dropped + self._window:
            # Nothing more comes before something is dropped, and without a point nothing can be.
            raise BadArchive("its gzip has no place in the middle to go on from")
        # The end of what is here is not the end of the file, and must never look like it.
        while not self._part.wait_front(end, WAIT_S):
            if self._stopping():
                raise _Stopped
        data = self._part.read(self._position, end)
        self._position += len(data)
        return data
