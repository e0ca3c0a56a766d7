"""Writing shards: samples one after the other into a deterministic tar.

Here: what makes samples one archive. What a header looks like is in core/shard.py, how a file is written is
in adapters/output.py; which samples go into which shard, and publishing it by rename, is for the steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import final

from g3m.adapters.output import Output
from g3m.core.shard import Entry, Field, ShardSummary, end_of_archive, padding, ustar_header

_WRITE_BYTES = 2**20

# Printable ASCII without dot, slash and backslash, and not like a drive: what our own strict reader would
# refuse must not be written.
_KEY = re.compile(r"(?![A-Za-z]:)[!-\-0-\[\]-~]{1,80}")
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
        self._extensions: set[tuple[str, ...]] = set()
        self._pieces: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        self._position = 0
        self._given_up = False
        self._summary: ShardSummary | None = None
        self._output = Output(path, digest=True)

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
        elif not self._given_up:
            self.close()

    @property
    def samples(self) -> int:
        """How many samples have been added."""
        return len(self._keys)

    def add(self, key: str, parts: Sequence[tuple[str, bytes | memoryview]]) -> Entry:
        """Append a sample: its key, and the extension and content of each of its files.

        The contents must stay as they are until the shard is closed. Raises ValueError, with nothing written,
        for a key that is not 1 to 80 printable ASCII characters without dot, slash and backslash, for a key
        or an extension given twice, and for a sample without files; NoSpace, NotWritable or StorageError if
        the disk refuses.
        """
        self._check(key, tuple(extension for extension, _ in parts))
        headers = [ustar_header(f"{key}.{extension}", len(data)) for extension, data in parts]
        self._keys.add(key)
        fields = []
        start = position = self._position
        for (extension, data), header in zip(parts, headers, strict=True):
            size_bytes = len(data)
            filling = padding(size_bytes)
            self._pieces += (header, data, filling)
            position += len(header)
            fields.append(Field(extension, position, size_bytes))
            position += size_bytes + len(filling)
        self._position = position
        self._waiting_bytes += position - start
        if self._waiting_bytes >= _WRITE_BYTES:
            self._flush()
        return Entry(key, tuple(fields))

    def _check(self, key: str, extensions: tuple[str, ...]) -> None:
        if self._given_up or self._summary:
            raise ValueError(f"{self.path}: the shard is finished")
        if not _KEY.fullmatch(key):
            raise ValueError(f"{self.path}: not a key: {key!r}")
        if key in self._keys:
            raise ValueError(f"{self.path}: the key is there already: {key!r}")
        if extensions in self._extensions:
            return
        if not extensions or len(set(extensions)) != len(extensions):
            raise ValueError(f"{self.path}: {key}: not one file for each extension: {list(extensions)}")
        for extension in extensions:
            if not _EXTENSION.fullmatch(extension):
                raise ValueError(f"{self.path}: {key}: not an extension: {extension!r}")
        self._extensions.add(extensions)

    def close(self) -> ShardSummary:
        """End the archive, put it on the disk and say what it holds; again, the same answer."""
        if self._summary:
            return self._summary
        if self._given_up:
            raise ValueError(f"{self.path}: the shard was given up")
        end = end_of_archive(self._position)
        self._pieces.append(end)
        self._position += len(end)
        self._flush()
        try:
            digest = self._output.close()
        except BaseException:
            self._given_up = True
            raise
        self._summary = ShardSummary(self.path.name, self.samples, self._position, digest)
        return self._summary

    def abort(self) -> None:
        """Give the shard up and remove its file; nothing happens if it is finished."""
        if not self._given_up and not self._summary:
            self._given_up = True
            self._output.abort()

    def _flush(self) -> None:
        # One piece, because the digest of many small ones would ask for the interpreter's lock at each.
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._waiting_bytes = 0
        try:
            self._output.write(data)
        except BaseException:
            self._given_up = True
            raise
