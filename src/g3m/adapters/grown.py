"""Finishing a shard whose pictures lie at their places already: what is missing between them is filled in.

A streamed archive put the pictures there (steps/growing.py). Nothing is copied: each picture is compared with
what lies where the finished shard will have it, and headers, json, text and padding are written around it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import final

from g3m.adapters import fsio
from g3m.core.errors import storage_error
from g3m.core.shard import Entry, Field, ShardSummary, end_of_archive, padding, ustar_header


class Moved(Exception):
    """A picture is not where the finished shard would have it: one before it was left out or changed."""


@final
class GrownShard:
    """Fills one grown shard in; the same interface as `ShardWriter`, and the same bytes in the end.

    `add` raises Moved, with no picture harmed, where the shard has to be copied instead. Keys come from a
    sample list, which has each of them once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._gap = bytearray()
        self._position = 0
        self._samples = 0
        try:
            self._file = fsio.open_file(path, fsio.THERE)
        except OSError as error:
            raise storage_error(error, path) from error

    def __enter__(self) -> GrownShard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()

    def add(self, key: str, parts: Sequence[tuple[str, bytes | memoryview]]) -> Entry:
        """Fill in what stands around the picture, the first of the parts."""
        fields = []
        for number, (extension, data) in enumerate(parts):
            self._fill(ustar_header(f"{key}.{extension}", len(data)))
            fields.append(Field(extension, self._position, len(data)))
            if number == 0:
                self._pass(data)
            else:
                self._fill(data)
            self._fill(padding(len(data)))
        self._samples += 1
        return Entry(key, tuple(fields))

    def _fill(self, data: bytes | memoryview) -> None:
        self._gap += data
        self._position += len(data)

    def _pass(self, data: bytes | memoryview) -> None:
        """The picture must lie here."""
        try:
            there = os.pread(self._file, len(data), self._position)
        except OSError as error:
            raise storage_error(error, self.path) from error
        if there != data:
            raise Moved
        self._flush()
        self._digest.update(data)
        self._position += len(data)

    def _flush(self) -> None:
        self._digest.update(self._gap)
        at = self._position - len(self._gap)
        try:
            fsio.write_all_at(self._file, bytes(self._gap), at)
        except OSError as error:
            raise storage_error(error, self.path) from error
        self._gap.clear()

    def close(self) -> ShardSummary:
        """End the archive, put it on the disk and say what it holds."""
        self._fill(end_of_archive(self._position))
        self._flush()
        try:
            fsio.truncate(self._file, self._position)
            fsio.sync(self._file)
        except OSError as error:
            raise storage_error(error, self.path) from error
        finally:
            self.abort()
        return ShardSummary(self.path.name, self._samples, self._position, self._digest.hexdigest())

    def abort(self) -> None:
        """Close the file and leave it as it is: its pictures are all there is of them."""
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
            self._file = -1
