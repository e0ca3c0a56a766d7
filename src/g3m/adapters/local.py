"""Reads parts of shards that lie in a folder of this machine, or on a file system that looks like one.

Every read names its position, so threads and forked processes use the same descriptors without waiting for
one another. What the bytes mean is for core/index.py and load.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from g3m.adapters.plain import read_plain
from g3m.core.errors import NotVerified, StorageError, storage_error

_held: set[int] = set()
"""The descriptors that all readers of this process keep, so that together they stay below the limit."""


class _Descriptor:
    """An open file that is closed when nobody uses it any more: `close` cannot pull it away under a read."""

    __slots__ = ("_close", "_held", "number", "size_bytes")

    def __init__(self, number: int, size_bytes: int) -> None:
        self.number = number
        self.size_bytes = size_bytes
        # Kept here, because at the end of the interpreter a module's names may be gone before its objects.
        self._held = _held
        self._close: Callable[[int], None] = os.close
        _held.add(number)

    def __del__(self) -> None:
        self._held.discard(self.number)
        self._close(self.number)


class LocalReader:
    """The files of one folder; with `sizes`, a shard of another size is refused when it is opened.

    `check` is called with the name of each shard that was just opened, and may refuse it; a pickled reader
    has none.
    """

    def __init__(
        self,
        folder: Path,
        sizes: Mapping[str, int] | None = None,
        check: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = folder
        self._sizes = dict(sizes or {})
        self._check = check
        self._files: dict[str, _Descriptor] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return (LocalReader, (self.folder, self._sizes))

    def read(self, shard: str, offset: int, size_bytes: int) -> bytes:
        """Exactly so many bytes of a shard; NotVerified if it is not there or not as it was indexed."""
        file = self._files.get(shard) or self._open(shard)
        if offset + size_bytes > file.size_bytes:
            end = offset + size_bytes
            raise NotVerified(
                f"{self.folder / shard}: is cut: it has {file.size_bytes} bytes, wanted are {offset} to {end}"
            )
        try:
            return _read(file.number, offset, size_bytes)
        except EOFError:
            raise NotVerified(f"{self.folder / shard}: was cut while it was read") from None
        except OSError as error:
            self._files.pop(shard, None)  # a file server may give out a handle that works again
            raise storage_error(error, self.folder / shard) from None

    def document(self, name: str) -> bytes | None:
        """A small file of the folder; None if there is none, StorageError if it cannot be read."""
        try:
            return read_plain(self.folder / name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(error, self.folder / name) from None

    def close(self) -> None:
        """Close the shards, each as soon as no read is under way in it."""
        self._files.clear()

    def _open(self, shard: str) -> _Descriptor:
        path = self.folder / shard
        try:
            file = _open(path)
        except FileNotFoundError:
            raise NotVerified(f"{path}: the shard is not there") from None
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._files:
                raise StorageError(f"{path}: cannot be opened: {error.strerror}") from None
            self.close()
            return self._open(shard)
        planned = self._sizes.get(shard, file.size_bytes)
        if file.size_bytes != planned:
            raise NotVerified(
                f"{path}: has changed since it was indexed: it has {file.size_bytes} bytes, not {planned}"
            )
        if self._check is not None:
            self._check(shard)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != resource.RLIM_INFINITY and len(_held) > limit // 2:
            return file
        return self._files.setdefault(shard, file)


def _open(path: Path) -> _Descriptor:
    # Not waiting: a pipe of that name would block for ever, and is refused below.
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    state = os.fstat(number)
    file = _Descriptor(number, state.st_size)
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a file")
    return file


def _read(number: int, offset: int, size_bytes: int) -> bytes:
    """So many bytes from a place; EOFError if the file ends before."""
    found = os.pread(number, size_bytes, offset)
    while len(found) < size_bytes:  # a signal, or a read of more than 2 GiB
        more = os.pread(number, size_bytes - len(found), offset + len(found))
        if not more:
            raise EOFError
        found += more
    return found
