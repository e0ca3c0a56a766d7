"""Listing a zip: the central directory, believed only where it cannot be read in two ways.

Here: which members a zip holds and where they lie. Reading them is for adapters/members.py, which
also compares each local header with what is listed here; nothing is ever extracted to disk.

Python's zipfile parses the directory. What it tolerates and this module does not: bytes in front
of the archive, a second end record, entries that share bytes, directories that do not end where
the end record begins. Each of these lets two programs see two different archives in one file.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_COMMENT_LIMIT_BYTES = 2**16 - 1
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCATOR64_SIGNATURE = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\x06\x06"
_LOCAL_HEADER_BYTES = 30
_CENTRAL_HEADER_BYTES = 46

_METHODS: dict[int, Method] = {
    zipfile.ZIP_STORED: "zip-stored",
    zipfile.ZIP_DEFLATED: "zip-deflated",
}
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_PATCHED = 0x0020
_UTF8 = 0x0800


def list_zip(path: Path) -> Iterator[Member | Refusal]:
    """List a zip's files in the order in which they lie, refused ones with the reason.

    `Member.offset` is that of the local header. Raises BadArchive if the archive as a whole cannot
    be trusted, StorageError if it cannot be read. Directories are left out silently.
    """
    entries = _entries(path)
    seen: set[str] = set()
    for entry in entries:
        name = _name(entry)
        if name.endswith("/") and entry.file_size == 0:
            continue
        twin = name.removeprefix("./")
        refused = ("duplicate", "") if twin in seen else _refusal(entry, name)
        seen.add(twin)
        if refused:
            yield Refusal(name, *refused)
        else:
            yield Member(
                name=name,
                method=_METHODS[entry.compress_type],
                offset=entry.header_offset,
                size_bytes=entry.file_size,
                stored_bytes=entry.compress_size,
                crc32=entry.CRC,
            )


def _name(entry: zipfile.ZipInfo) -> str:
    # zipfile cuts `filename` at a NUL and, from 3.12 on, replaces it by a name from the extra
    # field; `orig_filename` is what the directory says, in every version.
    name = entry.orig_filename
    if entry.flag_bits & _UTF8:
        return name
    try:
        # Unix programs write UTF-8 without the flag for it; code page 437 looks like that only
        # for rows of letters and box drawings that nobody gives a file as its name.
        return name.encode("cp437").decode("utf-8")
    except UnicodeDecodeError:
        return name


def _refusal(entry: zipfile.ZipInfo, name: str) -> tuple[str, str] | None:
    """Why one entry is not used, as reason and detail."""
    mode = entry.external_attr >> 16
    if unsafe := refuse_name(name):
        return unsafe, ""
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or name.endswith("/"):
        return "not_a_file", f"mode {mode:o}"
    return _unreadable(entry)


def _unreadable(entry: zipfile.ZipInfo) -> tuple[str, str] | None:
    """Why the bytes of an entry are not read."""
    if entry.flag_bits & _ENCRYPTED:
        return "encrypted", ""
    if entry.compress_type not in _METHODS or entry.flag_bits & _PATCHED:
        return "unsupported_method", f"method {entry.compress_type}"
    if max(entry.file_size, entry.compress_size) > MEMBER_LIMIT_BYTES:
        return "too_large", f"{entry.file_size} bytes"
    if entry.file_size > max(RATIO_FLOOR_BYTES, RATIO_LIMIT * entry.compress_size):
        return "ratio", f"{entry.compress_size} bytes claim to be {entry.file_size}"
    return None


def _entries(path: Path) -> list[zipfile.ZipInfo]:
    """The entries of the directory by offset, after every check that concerns the whole archive."""
    try:
        with path.open("rb") as file:
            directory_offset, count = _end_record(path, file)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise BadArchive(f"{path}: the central directory cannot be read: {error}") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(entries) != count:
        raise BadArchive(f"{path}: {count} members announced, {len(entries)} listed")
    entries.sort(key=lambda entry: entry.header_offset)
    _check_places(path, entries, directory_offset)
    return entries


def _check_places(path: Path, entries: list[zipfile.ZipInfo], directory_offset: int) -> None:
    """No bytes before the first entry, none shared by two, none shared with the directory."""
    if (entries[0].header_offset if entries else directory_offset) != 0:
        raise BadArchive(f"{path}: other bytes in front of the archive, at offset 0")
    end, last = 0, ""
    for entry in entries:
        name, start = entry.orig_filename, entry.header_offset
        if start < end:
            raise BadArchive(f"{path}: members {last!r} and {name!r} overlap at offset {start}")
        plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & _ENCRYPTED
        if plain and entry.file_size != entry.compress_size:
            raise BadArchive(f"{path}: member {name!r} at offset {start} is stored with two sizes")
        raw_name = name.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437")
        # The least that it can take: the local header's extra field is not known here.
        end, last = start + _LOCAL_HEADER_BYTES + len(raw_name) + entry.compress_size, name
    if end > directory_offset:
        raise BadArchive(
            f"{path}: member {last!r} overlaps the central directory at offset {directory_offset}"
        )


def _end_record(path: Path, file: BinaryIO) -> tuple[int, int]:
    """Where the central directory begins and how many entries it announces."""
    size_bytes = file.seek(0, os.SEEK_END)
    tail_start = max(0, size_bytes - _END.size - _COMMENT_LIMIT_BYTES)
    file.seek(tail_start)
    position = tail_start + _find_end(path, file.read(size_bytes - tail_start))
    file.seek(position)
    _, disk, first_disk, here, *numbers, _ = _END.unpack(file.read(_END.size))
    if disk != 0 or first_disk != 0 or here != numbers[0]:
        raise BadArchive(f"{path}: one part of an archive in several files, at offset {position}")
    if position >= _LOCATOR64.size + _END64.size:
        file.seek(position - _LOCATOR64.size - _END64.size)
        zip64 = file.read(_END64.size + _LOCATOR64.size)
        if zip64.startswith(_LOCATOR64_SIGNATURE, _END64.size):
            position -= len(zip64)
            numbers = _end64(path, position, zip64, numbers)
    count, directory_bytes, directory_offset = numbers
    if directory_offset + directory_bytes != position:
        raise BadArchive(
            f"{path}: the central directory should end at offset"
            f" {directory_offset + directory_bytes}, the end record is at {position}:"
            " other bytes in front of the archive or within it, or a part is missing"
        )
    if count > MEMBER_COUNT_LIMIT or count * _CENTRAL_HEADER_BYTES > directory_bytes:
        raise BadArchive(f"{path}: {count} members announced at offset {position}: too many")
    return directory_offset, count


def _find_end(path: Path, tail: bytes) -> int:
    """Where the end record begins in the last bytes of a file; there must be exactly one."""
    found = []
    at = tail.find(_END_SIGNATURE)
    while at >= 0:
        # A record counts if its comment ends with the file; the signature alone may be chance.
        comment_bytes = int.from_bytes(tail[at + _END.size - 2 : at + _END.size], "little")
        if at + _END.size + comment_bytes == len(tail):
            found.append(at)
        at = tail.find(_END_SIGNATURE, at + 1)
    if not found:
        raise BadArchive(f"{path}: no end record: the zip is cut, or other bytes follow it")
    # zipfile takes the last signature, whether its comment fits or not.
    if len(found) > 1 or tail.rfind(_END_SIGNATURE) != found[0]:
        raise BadArchive(f"{path}: more than one end record")
    return found[0]


def _end64(path: Path, position: int, zip64: bytes, stated: list[int]) -> list[int]:
    """The same three numbers from the zip64 end record, which the plain one must not contradict."""
    signature, record_bytes, _, _, disk, first_disk, here, *numbers = _END64.unpack_from(zip64)
    _, locator_disk, located, disks = _LOCATOR64.unpack_from(zip64, _END64.size)
    sound = (
        signature == _END64_SIGNATURE
        # 12: the signature and this field itself are not counted. A longer record would hold
        # "extensible data", which no archive of pictures has and zipfile would not step over.
        and record_bytes == _END64.size - 12
        and (disk, first_disk, locator_disk) == (0, 0, 0)
        and disks <= 1
        and located == position
        and here == numbers[0]
    )
    if not sound:
        raise BadArchive(f"{path}: the zip64 end record at offset {position} contradicts itself")
    for plain, wide, unset in zip(stated, numbers, (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF), strict=True):
        if plain not in (wide, unset):
            raise BadArchive(f"{path}: two end records at offset {position} that differ")
    return numbers
