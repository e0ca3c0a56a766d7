"""Every change of a disk that g3m makes is a call of this module, and nothing else is here.

What is written in which order, and what is synced when, is for the callers; so is the name of an error:
all raise OSError as the system does. One place for them lets a test fail or count the calls one by one
(tests/crash/test_seam.py), and lets `make check` refuse a write that goes past it.

Not through here go: the catalog, whose file is SQLite's; pipes, sockets and the terminal; and what
g3m.lab makes for a demo.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

THERE = os.O_RDWR
"""How to open: a file that is there;"""
KEPT = os.O_RDWR | os.O_CREAT
"""what is there is kept, or the file is made;"""
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
"""a file that nobody else has: FileExistsError where there is one;"""
OVER = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
"""emptied first, then written at its end;"""
LOG = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK
"""written at its end, whoever else does too; a pipe that nobody reads is an error and no reason to wait."""

_BUFFER_BYTES = 2**17
_TRIAL_BYTES = 2**18
_KEEP_SIZE, _PUNCH_HOLE = 0x01, 0x02

Name = str | os.PathLike[str]


# One call of the system each


def open_file(path: Name, how: int, mode: int = 0o666) -> int:
    """A descriptor to write to; `how` is one of the words above."""
    return os.open(path, how | os.O_CLOEXEC, mode)


def write(file: int, data: bytes | memoryview) -> int:
    """Write at the position of the descriptor; returns how many bytes were taken, which may be fewer."""
    return os.write(file, data)


def write_at(file: int, data: bytes | memoryview, offset: int) -> int:
    """Write at an offset; returns how many bytes were taken, which may be fewer."""
    return os.pwrite(file, data, offset)


def write_pieces_at(file: int, pieces: Sequence[bytes], offset: int) -> int:
    """Write pieces one behind the other from an offset on; returns how many bytes were taken."""
    return os.pwritev(file, pieces, offset)


def truncate(file: int, size_bytes: int) -> None:
    """Cut a file, or let it grow by zeros."""
    os.ftruncate(file, size_bytes)


def sync(file: int) -> None:
    """Put a file on the disk. After an error its bytes may be gone, and a second call would hide it."""
    os.fsync(file)


def sync_data(file: int) -> None:
    """Put what was written on the disk, and of the rest only the size."""
    os.fdatasync(file)


def sync_folder(path: Name) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def rename(old: Name, new: Name) -> None:
    """Give a file or a folder another name, over a file that has it."""
    os.replace(old, new)


def link(path: Name, second: Name) -> None:
    """A second name for a file; FileExistsError where there is something."""
    os.link(path, second)


def link_to(path: Name, name: Name) -> None:
    """A symbolic link of this name that leads to a path."""
    os.symlink(path, name)


def unlink(path: Name) -> None:
    """Take a file's name away."""
    os.unlink(path)


def make_one_folder(path: Name, mode: int = 0o777) -> None:
    """A folder in a folder that is there; FileExistsError where there is something."""
    os.mkdir(path, mode)


def remove_tree(path: Name) -> None:
    """Take a folder away with all that is in it, following no link."""
    shutil.rmtree(path)


def touch(path: Name | int) -> None:
    """Say that a file, by name or descriptor, was used now."""
    os.utime(path)


def make_room(file: int, start: int, size_bytes: int) -> bool:
    """Have the system reserve blocks for a range behind the end of a file; the file grows no longer by it.

    False where the file system cannot, or has no room: a hint only, so writing is tried all the same.
    """
    call = _fallocate()
    return call is not None and call(file, _KEEP_SIZE, start, size_bytes) == 0


def punch(file: int, start: int, end: int) -> bool:
    """Free the whole blocks between two offsets, which then read as zeros; False if the file system cannot.

    ext4, xfs, btrfs, tmpfs, Lustre from 2.14 on and NFS from 4.2 on can.
    """
    call = _fallocate()
    return end <= start or (
        call is not None and call(file, _KEEP_SIZE | _PUNCH_HOLE, start, end - start) == 0
    )


# Made of the calls above


def write_all(file: int, data: bytes | memoryview) -> None:
    """Write all of it, however little the system takes at once."""
    rest = memoryview(data)
    while rest:
        rest = rest[write(file, rest) :]


def write_all_at(file: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of it at an offset, however little the system takes at once."""
    rest = memoryview(data)
    while rest:
        done = write_at(file, rest, offset)
        rest, offset = rest[done:], offset + done


def make_folder(path: Path, mode: int = 0o777) -> None:
    """A folder with its parents, unless it is there."""
    try:
        with contextlib.suppress(FileNotFoundError):
            return make_one_folder(path, mode)
        if path.parent != path:
            make_folder(path.parent)
        make_one_folder(path, mode)
    except OSError:
        if not path.is_dir():
            raise


def discard(path: Name) -> None:
    """Take a file's name away if it is there."""
    with contextlib.suppress(FileNotFoundError):
        unlink(path)


def put(path: Name, *pieces: bytes, how: int = NEW, mode: int = 0o666) -> None:
    """A file of these bytes, not synced: for what is found out, or made anew, if a power cut takes it."""
    file = open_file(path, how, mode)
    try:
        for piece in pieces:
            write_all(file, piece)
    finally:
        os.close(file)


@contextlib.contextmanager
def writing(path: Path, how: int = NEW, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file written from its start to its end: on the disk when the block ends, removed when it fails."""
    raw = _Raw(open_file(path, how, mode), "wb")
    file = io.BufferedWriter(raw, _BUFFER_BYTES)
    try:
        yield file
        file.flush()
        sync(raw.fileno())
        file.close()
    except BaseException:
        raw.given_up = True
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(OSError):
            unlink(path)
        raise


def nameless(folder: Path) -> int:
    """A descriptor of a new file without a name, which is gone when it is closed, and when we are."""
    path = folder / f".{os.getpid()}.{secrets.token_hex(8)}.tmp"
    file = open_file(path, NEW, 0o600)
    try:
        unlink(path)
    except BaseException:
        os.close(file)
        raise
    return file


def can_punch(folder: Path) -> bool:
    """Whether files in this folder can have holes punched into them: tried on a file without a name."""
    try:
        file = nameless(folder)
    except OSError:
        return False
    try:
        write_all(file, b"\1" * _TRIAL_BYTES)
        sync(file)
        before = os.fstat(file).st_blocks
        return punch(file, 0, _TRIAL_BYTES) and os.fstat(file).st_blocks < before
    except OSError:
        return False
    finally:
        os.close(file)


def appending(path: Path) -> BinaryIO:
    """A file to which each write appends at once, whoever else does too."""
    return _Raw(open_file(path, LOG), "wb")


def buffered(file: int) -> BinaryIO:
    """A descriptor as a file to write and read, which closes it."""
    return io.BufferedRandom(_Raw(file, "rb+"), _BUFFER_BYTES)


class _Raw(io.FileIO):
    """A descriptor as Python's buffers want it, whose writing comes through here too."""

    given_up = False

    def write(self, data: Any, /) -> int:
        return len(data) if self.given_up else write(self.fileno(), data)


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """The system's call, if its C library has it: Python does not."""
    try:
        found: Callable[[int, int, int, int], int] = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)  # type: ignore[attr-defined]
    return found
