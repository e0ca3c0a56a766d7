"""Blocks of remote files in a folder of this machine: bounded in bytes, checked when they are read back.

Any number of processes may share the folder, without a lock: a block is written under a name of its own
and renamed, and one that another process removed meanwhile is fetched again by whoever wanted it. What is
not exactly what was put in is removed and counts as absent. A disk that is full or closed costs nothing
but the cache: that is said once. What a block is and how it is named: core/blocks.py.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from g3m.adapters import fsio
from g3m.core.blocks import agrees, head_bytes, pages, proves, seal
from g3m.core.errors import storage_error

FOLDERS = 1024
_SHARE_BYTES = 32 * 2**20
"""Each folder is bounded by itself, so that few files are looked at for a block: its least room."""

_FOLDER = re.compile(r"[0-9a-f]{3}")
_FILE = re.compile(r"[0-9a-f]{64}(\.[0-9]+-[0-9a-f]{8}\.part)?")
"""What is called otherwise was not made here, and is neither counted nor removed."""

_TOUCH_S = 60.0
_ABANDONED_S = 3600.0
_LOG = logging.getLogger("g3m.cache")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file of the cache: when it was last used, and what it takes."""

    used_s: float
    size_bytes: int
    path: str


class BlockCache:
    """Keeps blocks by name, at most `limit_bytes` of them; those unused for longest go first.

    Blocks are up to a minute apart in when they were last used: to write that down at every read would
    cost more than it is worth. A file that is being written counts, too, so the folder exceeds the limit by
    no more than the one block that each of its writers may add at the same moment.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.usable = limit_bytes > 0
        """False once a block could not be written: from then on nothing is tried any more."""
        shares = 1
        while shares < FOLDERS and limit_bytes // (2 * shares) >= _SHARE_BYTES:
            shares *= 2
        self._shares = shares

    def __repr__(self) -> str:
        return f"BlockCache({str(self.folder)!r}, {self.limit_bytes})"

    def get(self, name: str, size_bytes: int, start: int, end: int) -> bytes | None:
        """Bytes `start` to before `end` of the block of that name and size, or None if they are not here."""
        path = self._path(name)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = _read(file, name, size_bytes, start, end)
            if found is not None and time.time() - os.fstat(file).st_mtime > _TOUCH_S:
                fsio.touch(file)
        except OSError:
            found = None
        finally:
            os.close(file)
        if found is None:
            with suppress(OSError):
                fsio.unlink(path)
        return found

    def put(self, name: str, data: bytes) -> None:
        """Keep a block, and make room for it; where that fails, say so once and keep no more."""
        head = seal(name, data)
        if not self.usable or len(head) + len(data) > self.limit_bytes // self._shares:
            return
        path = self._path(name)
        temporary = f"{path}.{os.getpid()}-{secrets.token_hex(4)}.part"
        try:
            self._make_room(name, len(head) + len(data))
            fsio.make_folder(Path(path).parent, 0o700)
            # Not synced: what a crash leaves is found out when it is read.
            fsio.put(temporary, head, data, mode=0o600)
            fsio.rename(temporary, path)
        except FileNotFoundError:
            pass  # somebody emptied the folder meanwhile: the next block makes it anew
        except OSError as error:
            with suppress(OSError):
                fsio.unlink(temporary)
            self._give_up(error)

    def size_bytes(self) -> int:
        """How much all blocks of the folder take now."""
        return sum(kept.size_bytes for share in range(self._shares) for kept in self._list(share))

    def _make_room(self, name: str, size_bytes: int) -> None:
        """Remove what was unused for longest in the folder of this block, until it fits."""
        room = self.limit_bytes // self._shares - size_bytes
        kept = list(self._list(self._share(name)))
        total = sum(item.size_bytes for item in kept)
        if total <= room:
            return
        # What somebody is writing counts, but is not taken from under his hands.
        finished = [item for item in kept if not item.path.endswith(".part")]
        for item in sorted(finished, key=lambda item: item.used_s):
            with suppress(FileNotFoundError):  # another process was faster
                fsio.unlink(item.path)
            total -= item.size_bytes
            if total <= room:
                return

    def _share(self, name: str) -> int:
        return int(name[:8], 16) % self._shares

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, f"{self._share(name):03x}", name)

    def _list(self, share: int) -> Iterator[_Kept]:
        """The files of one share; those with a larger limit have more folders, which belong to it, too."""
        try:
            folders = [name for name in os.listdir(self.folder) if _FOLDER.fullmatch(name)]
        except FileNotFoundError:
            return
        for folder in folders:
            if int(folder, 16) % self._shares == share:
                with suppress(FileNotFoundError), os.scandir(self.folder / folder) as entries:
                    yield from filter(None, map(_look, entries))

    def _give_up(self, error: OSError) -> None:
        if self.usable:
            self.usable = False
            reason = storage_error(error, self.folder)
            _LOG.warning("%s; reading goes on without keeping more blocks there", reason.message)


def _look(entry: os.DirEntry[str]) -> _Kept | None:
    """A file of the cache; None for anything else, and for what a killed process left long ago: that goes."""
    if not _FILE.fullmatch(entry.name):
        return None
    with suppress(FileNotFoundError):
        state = entry.stat(follow_symlinks=False)
        if entry.name.endswith(".part") and time.time() - state.st_mtime > _ABANDONED_S:
            fsio.unlink(entry.path)
        else:
            return _Kept(state.st_mtime, state.st_size, entry.path)
    return None


def _read(file: int, name: str, size_bytes: int, start: int, end: int) -> bytes | None:
    length = head_bytes(size_bytes)
    if os.fstat(file).st_size != length + size_bytes:
        return None
    head = os.pread(file, length, 0)
    if not proves(head, name, size_bytes):
        return None
    first, last = pages(start, end, size_bytes)
    data = os.pread(file, last - first, length + first)
    if len(data) != last - first or not agrees(head, first, data):
        return None
    return data if (first, last) == (start, end) else data[start - first : end - first]
