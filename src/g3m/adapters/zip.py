"""Listing a zip: the central directory, believed only where it cannot be read in two ways.

Here: which members a zip holds and where they lie. Reading them is for adapters/members.py, which
also compares each local header with what is listed here; nothing is ever extracted to disk.

The directory is gone through twice, in pieces: once for what concerns the archive as a whole, once for the
members. So an archive of millions needs little memory, and nothing is believed before all was seen. What is
an error here and not in Python's zipfile: bytes in front of the archive, a second end record, entries that
share bytes or do not fill the directory, directories that do not end where the end record begins. Each of
these lets two programs see two different archives in one file.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from g3m.core.directory import (
    DEFLATED,
    ENCRYPTED,
    END64_BYTES,
    ENTRY_LIMIT_BYTES,
    PATCHED,
    STORED,
    TAIL_LIMIT_BYTES,
    End,
    Entry,
    find_end,
    read_end,
    read_entry,
)
from g3m.core.errors import BadArchive, StorageError
from g3m.core.members import (
    MEMBER_COUNT_LIMIT,
    MEMBER_LIMIT_BYTES,
    Member,
    Method,
    Refusal,
    refuse_name,
)

RATIO_LIMIT = 1000
RATIO_FLOOR_BYTES = 2**20
"""Below this size a member may shrink as well as it likes: a blank picture does."""

_READ_BYTES = 2**20
_LEAST_ENTRY_BYTES = 46
_METHODS: dict[int, Method] = {STORED: "zip-stored", DEFLATED: "zip-deflated"}


class _Archive(NamedTuple):
    """An open zip, and where its central directory lies."""

    path: Path
    file: BinaryIO
    end: End

    def bad(self, what: str) -> BadArchive:
        return BadArchive(f"{self.path}: {what}")


def list_zip(path: Path) -> Iterator[Member | Refusal]:
    """List a zip's files in the order in which they lie, refused ones with the reason.

    `Member.offset` is that of the local header. Raises BadArchive if the archive as a whole cannot
    be trusted, StorageError if it cannot be read. Directories are left out silently.
    """
    try:
        with path.open("rb") as file:
            survey = _Survey(_Archive(path, file, _find_directory(path, file)))
            yield from _members(survey.in_order(), survey.shared)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def directory_offset(path: Path) -> int:
    """Where the central directory begins; only the end of the file is read for it."""
    try:
        with path.open("rb") as file:
            return _find_directory(path, file).offset
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error


def _find_directory(path: Path, file: BinaryIO) -> End:
    """Where the central directory lies, by the end record, which must say it in one way."""
    try:
        size_bytes = file.seek(0, os.SEEK_END)
        tail_start = max(0, size_bytes - TAIL_LIMIT_BYTES - END64_BYTES)
        file.seek(tail_start)
        tail = file.read(size_bytes - tail_start)
        at = find_end(tail[-TAIL_LIMIT_BYTES:]) + max(0, len(tail) - TAIL_LIMIT_BYTES)
        end = read_end(tail[at:], tail[max(0, at - END64_BYTES) : at], tail_start + at)
        if end.entries > MEMBER_COUNT_LIMIT or end.entries * _LEAST_ENTRY_BYTES > end.size_bytes:
            raise ValueError(f"{end.entries} members announced at offset {tail_start + at}: too many")
    except ValueError as error:
        raise BadArchive(f"{path}: {error}") from error
    return end


def _members(entries: Iterable[Entry], shared: frozenset[int]) -> Iterator[Member | Refusal]:
    """What the entries announce; only names whose hash is among `shared` can be there twice."""
    seen: set[str] = set()
    for entry in entries:
        name = entry.name
        if name.endswith("/") and entry.size_bytes == 0:
            continue
        refused = _refusal(entry, name)
        if shared and hash(twin := name.removeprefix("./")) in shared:
            if twin in seen:
                refused = ("duplicate", "")
            seen.add(twin)
        if refused:
            yield Refusal(name, *refused)
        else:
            method = _METHODS[entry.method]
            yield Member(name, method, entry.offset, entry.size_bytes, entry.stored_bytes, entry.crc32)


def _refusal(entry: Entry, name: str) -> tuple[str, str] | None:
    """Why one entry is not used, as reason and detail."""
    if unsafe := refuse_name(name):
        return unsafe, ""
    if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG) or name.endswith("/"):
        return "not_a_file", f"mode {entry.mode:o}"
    if entry.flags & ENCRYPTED:
        return "encrypted", ""
    if entry.method not in _METHODS or entry.flags & PATCHED:
        return "unsupported_method", f"method {entry.method}"
    if max(entry.size_bytes, entry.stored_bytes) > MEMBER_LIMIT_BYTES:
        return "too_large", f"{entry.size_bytes} bytes"
    if entry.size_bytes > max(RATIO_FLOOR_BYTES, RATIO_LIMIT * entry.stored_bytes):
        return "ratio", f"{entry.stored_bytes} bytes claim to be {entry.size_bytes}"
    return None


class _Survey:
    """Goes through a whole directory, checks what concerns the archive as a whole, and keeps next to nothing.

    `shared` are the hashes that two names have in common.
    """

    def __init__(self, archive: _Archive) -> None:
        self._archive = archive
        self._ordered = True
        # Eight bytes a name, in heaps by the last byte, so that each is small when it is looked through.
        heaps = [array("q") for _ in range(256)]
        directory_offset = archive.end.offset
        lowest, furthest = directory_offset, (0, "")
        last_offset, end, last = 0, 0, ""
        for entry in _entries(archive):
            number = hash(entry.name.removeprefix("./"))
            heaps[number & 0xFF].append(number)
            self._check_sizes(entry)
            if entry.offset < last_offset:
                self._ordered = False
            elif self._ordered and entry.offset < end:
                raise self._overlap(last, entry)
            last_offset, end, last = entry.offset, entry.end, entry.name
            lowest = min(lowest, last_offset)
            if end > furthest[0]:
                furthest = (end, last)
        if lowest != 0:
            raise archive.bad("other bytes in front of the archive, at offset 0")
        if furthest[0] > directory_offset:
            what = f"member {furthest[1]!r} overlaps the central directory at offset {directory_offset}"
            raise archive.bad(what)
        self.shared = frozenset(number for heap in heaps for number in _repeated(heap))

    def in_order(self) -> Iterable[Entry]:
        """The entries in the order of the bytes; few archives list them in another."""
        if self._ordered:
            return _entries(self._archive)
        entries = sorted(_entries(self._archive), key=lambda entry: entry.offset)
        for before, entry in pairwise(entries):
            if entry.offset < before.end:
                raise self._overlap(before.name, entry)
        return entries

    def _check_sizes(self, entry: Entry) -> None:
        plain = entry.method == STORED and not entry.flags & ENCRYPTED
        if plain and entry.size_bytes != entry.stored_bytes:
            raise self._archive.bad(
                f"member {entry.name!r} at offset {entry.offset} is stored with two sizes"
            )

    def _overlap(self, last: str, entry: Entry) -> BadArchive:
        return self._archive.bad(f"members {last!r} and {entry.name!r} overlap at offset {entry.offset}")


def _repeated(heap: array[int]) -> Iterator[int]:
    """The numbers that are in a heap more than once."""
    if len(set(heap)) != len(heap):
        once: set[int] = set()
        for number in heap:
            if number in once:
                yield number
            once.add(number)


def _entries(archive: _Archive) -> Iterator[Entry]:
    """The entries as the directory has them; they must fill it, and be as many as announced."""
    position, left = archive.end.offset, archive.end.size_bytes
    block, at, found = b"", 0, 0
    while left or at < len(block):
        if left and len(block) - at < ENTRY_LIMIT_BYTES:
            more = os.pread(archive.file.fileno(), min(left, _READ_BYTES), position)
            if not more:
                raise archive.bad(f"the file became shorter, at offset {position}")
            block, at, position, left = block[at:] + more, 0, position + len(more), left - len(more)
            continue
        found += 1
        try:
            entry, at = read_entry(block, at)
        except ValueError as error:
            what = f"the central directory cannot be read: entry {found}: {error}"
            raise archive.bad(what) from error
        yield entry
    if found != archive.end.entries:
        raise archive.bad(f"{archive.end.entries} members announced, {found} listed")
