"""Writing shards: samples one after the other into a deterministic tar.

Here: one file, its buffer, its digest and its errors. What a header looks like is in core/shard.py;
which samples go into which shard, and publishing a finished one by rename, is for the steps.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import final

from g3m.core.errors import storage_error
from g3m.core.members import refuse_name
from g3m.core.shard import Entry, Field, ShardSummary, end_of_archive, padding, ustar_header

_WRITE_BYTES = 2**20
_KEY = re.compile(r"[!-~]{1,80}")
_EXTENSION = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)*")


@final
class ShardWriter:
    """Writes one shard; the file must not exist before.

    After `close` the file is on the disk (fsync). `abort`, and any failure to write, removes it:
    there is never a partial shard to be mistaken for a whole one. As a context manager it closes
    the shard at the end of the block and aborts when the block raises.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: set[str] = set()
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._position = 0
        self._finished = False
        self._summary: ShardSummary | None = None
        try:
            # O_EXCL: two runs that make the same shard must not write into one file.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise storage_error(error, path) from error

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
        elif not self._finished:
            self.close()

    @property
    def samples(self) -> int:
        """How many samples have been added."""
        return len(self._keys)

    def add(self, key: str, parts: Sequence[tuple[str, bytes]]) -> Entry:
        """Append a sample: its key, and the extension and content of each of its files.

        Raises ValueError, with nothing written, for a key that is not 1 to 80 printable ASCII
        characters without dot, slash and backslash, for a key or an extension given twice, and for
        a sample without files; NoSpace, NotWritable or StorageError if the disk refuses.
        """
        self._check(key, parts)
        headers = [ustar_header(f"{key}.{extension}", len(data)) for extension, data in parts]
        self._keys.add(key)
        fields = []
        for (extension, data), header in zip(parts, headers, strict=True):
            self._append(header)
            fields.append(Field(extension, self._position, len(data)))
            self._append(data)
            self._append(padding(len(data)))
        return Entry(key, tuple(fields))

    def _check(self, key: str, parts: Sequence[tuple[str, bytes]]) -> None:
        if self._finished:
            raise ValueError(f"{self.path}: the shard is finished")
        # refuse_name: what our own strict reader would refuse must not be written.
        if not _KEY.fullmatch(key) or "." in key or "/" in key or refuse_name(key):
            raise ValueError(f"{self.path}: not a key: {key!r}")
        if key in self._keys:
            raise ValueError(f"{self.path}: the key is there already: {key!r}")
        extensions = [extension for extension, _ in parts]
        if not extensions or len(set(extensions)) != len(extensions):
            raise ValueError(f"{self.path}: {key}: not one file for each extension: {extensions}")
        for extension in extensions:
            if not _EXTENSION.fullmatch(extension):
                raise ValueError(f"{self.path}: {key}: not an extension: {extension!r}")

    def close(self) -> ShardSummary:
        """End the archive, put it on the disk and say what it holds; again, the same answer."""
        if self._summary:
            return self._summary
        if self._finished:
            raise ValueError(f"{self.path}: the shard was given up")
        self._append(end_of_archive(self._position))
        self._flush()
        try:
            os.fsync(self._file)
            file, self._file = self._file, -1
            os.close(file)
        except OSError as error:
            # After a failed fsync the bytes may be gone, and a second one would only hide it.
            self.abort()
            raise storage_error(error, self.path) from error
        self._finished = True
        self._summary = ShardSummary(self.path.name, self.samples, self._position, self._digest.hexdigest())
        return self._summary

    def abort(self) -> None:
        """Give the shard up and remove its file; nothing happens if it is finished."""
        if self._finished:
            return
        self._finished = True
        if self._file >= 0:
            with suppress(OSError):
                os.close(self._file)
        with suppress(OSError):
            self.path.unlink()

    def _append(self, data: bytes) -> None:
        self._buffer += data
        self._position += len(data)
        if len(self._buffer) >= _WRITE_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._digest.update(self._buffer)
        try:
            with memoryview(self._buffer) as rest:
                done = 0
                while done < len(rest):
                    done += os.write(self._file, rest[done:])
        except OSError as error:
            self.abort()
            raise storage_error(error, self.path) from error
        self._buffer.clear()
