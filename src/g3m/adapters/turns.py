"""What has to wait for its turn: results come in any order and leave in the order of their places.

So many bytes wait in memory; what comes beyond that lies in a temporary file that has no name, so that
nothing is left behind however the process ends. Used by one thread.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar, final

from g3m.adapters import fsio
from g3m.core.errors import storage_error

MEMORY_BYTES = 2**24

Result = TypeVar("Result")


@final
class Turns(Generic[Result]):
    """Results with the bytes that belong to each, by place; every place is put in once."""

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self._folder, self._limit_bytes = folder, memory_bytes
        self._held: dict[int, tuple[Result, bytes | memoryview, int] | tuple[int, int, int]] = {}
        self._file = -1
        self._end = self._outside = 0
        self.memory_bytes = 0
        self.next = 0
        """The place whose turn it is."""

    def __enter__(self) -> Turns[Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_file()

    def __len__(self) -> int:
        return len(self._held)

    def put(self, place: int, result: Result, data: bytes | memoryview, result_bytes: int = 0) -> None:
        """Keep a result until it is its turn; StorageError or NoSpace if the disk is needed and refuses.

        `result_bytes` is about what the result itself takes, where that counts.
        """
        if place < self.next or place in self._held:
            raise ValueError(f"place {place} was there before")
        size_bytes = len(data) + result_bytes
        if place != self.next and size_bytes and self.memory_bytes + size_bytes > self._limit_bytes:
            written = pickle.dumps(result)
            start, whole_bytes = self._write(b"".join((written, data)))
            self._held[place] = (start, len(written), whole_bytes - len(written))
            self._outside += 1
        else:
            self._held[place] = (result, data, size_bytes)
            self.memory_bytes += size_bytes

    def pop(self) -> tuple[Result, bytes | memoryview] | None:
        """The result whose turn it is, with its bytes; None while it has not come."""
        found = self._held.pop(self.next, None)
        if found is None:
            return None
        self.next += 1
        first, second, third = found
        if isinstance(second, int):  # outside: where it begins, the bytes of the result and of the data
            whole = memoryview(self._read(first, second + third))  # type: ignore[arg-type]
            return pickle.loads(whole[:second]), whole[second:]  # noqa: S301  # written above, in a file without a name
        self.memory_bytes -= third
        return first, second  # type: ignore[return-value]

    def _write(self, data: bytes | memoryview) -> tuple[int, int]:
        start = self._end
        try:
            if self._file < 0:
                self._file = fsio.nameless(Path(self._folder))
            fsio.write_all_at(self._file, data, start)
            self._end += len(data)
        except OSError as error:
            raise storage_error(error, self._folder) from error
        return start, len(data)

    def _read(self, start: int, size_bytes: int) -> bytes:
        try:
            data = os.pread(self._file, size_bytes, start)
        except OSError as error:
            raise storage_error(error, self._folder) from error
        if len(data) != size_bytes:
            raise storage_error(OSError(None, "a temporary file became shorter"), self._folder)
        self._outside -= 1
        if not self._outside:
            self._close_file()
        return data

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file, self._end = -1, 0
