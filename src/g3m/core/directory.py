"""A zip's central directory as values: entries, and the end records that say where they lie.

Here: which bytes mean what. Files are not for here (adapters/zip.py reads them, and judges the entries
together). What cannot be read in one way only is a ValueError, whose words say what is wrong.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

STORED, DEFLATED = 0, 8
ENCRYPTED = 0x0001 | 0x0040 | 0x2000
PATCHED = 0x0020
UTF8 = 0x0800

ENTRY_LIMIT_BYTES = 46 + 3 * (2**16 - 1)
TAIL_LIMIT_BYTES = 22 + 2**16 - 1
"""The end record with the longest comment."""

END64_BYTES = 56 + 20
"""The zip64 end record and its locator, which stand in front of the end record where there is one."""

_ENTRY = struct.Struct("<4s2xBx2H4x3L3H4x2L")
"""Signature, version, flags, method, crc32, two sizes, three lengths, attributes, offset; 46 bytes."""

_ENTRY_SIGNATURE = b"PK\x01\x02"
_LOCAL_HEADER_BYTES = 30
_VERSION_LIMIT = 63
_EXTRA = struct.Struct("<2H")
_EXTRA_ZIP64 = 1
_WIDE = 0xFFFFFFFF
"""In place of a number: it stands in the extra field, with 64 bits."""

_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCATOR64_SIGNATURE = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\x06\x06"


class Entry(NamedTuple):
    """One entry of the directory; `end` is the least offset at which its bytes can end."""

    name: str
    flags: int
    method: int
    crc32: int
    stored_bytes: int
    size_bytes: int
    mode: int
    offset: int
    end: int


class End(NamedTuple):
    """What the end records say: how many entries there are, how long they are and where they begin."""

    entries: int
    size_bytes: int
    offset: int


def read_entry(block: bytes, at: int) -> tuple[Entry, int]:
    """The entry at a place of a directory, and the place behind it; ValueError if there is none."""
    name_at = at + _ENTRY.size
    if name_at > len(block):
        raise ValueError("it is cut")
    signature, version, flags, method, crc32, *sizes, attributes, offset = _ENTRY.unpack_from(block, at)
    stored, size, name_bytes, extra_bytes, comment_bytes = sizes
    extra_at = name_at + name_bytes
    next_at = extra_at + extra_bytes + comment_bytes
    if signature != _ENTRY_SIGNATURE:
        raise ValueError("no entry stands there")
    if next_at > len(block):
        raise ValueError("it is cut")
    if version > _VERSION_LIMIT:
        raise ValueError(f"it needs version {version / 10} of the format")
    name = _name(block[name_at:extra_at], flags)
    if extra_bytes:
        extra = block[extra_at : extra_at + extra_bytes]
        size, stored, offset = _wide_numbers(extra, (size, stored, offset))
    # The least that it can take: the local header's extra field is not known here.
    end = offset + _LOCAL_HEADER_BYTES + name_bytes + stored
    return Entry(name, flags, method, crc32, stored, size, attributes >> 16, offset, end), next_at


def _name(raw: bytes, flags: int) -> str:
    """An entry's name; UnicodeDecodeError, a ValueError, where it says UTF-8 and is none."""
    try:
        # Unix programs write UTF-8 without the flag for it; code page 437 looks like that only
        # for rows of letters and box drawings that nobody gives a file as its name.
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & UTF8:
            raise
        return raw.decode("cp437")


def _wide_numbers(extra: bytes, stated: tuple[int, int, int]) -> tuple[int, int, int]:
    """The two sizes and the offset, with those of them that stand in the extra field for zip64."""
    found = None
    at = 0
    while at + _EXTRA.size <= len(extra):
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size + length
        if at > len(extra):
            raise ValueError("its extra field is cut")
        if kind == _EXTRA_ZIP64:
            if found is not None:
                raise ValueError("it has two extra fields for zip64")
            found = extra[at - length : at]
    if found is None:
        return stated
    wanted = [place for place, number in enumerate(stated) if number == _WIDE]
    if len(found) < 8 * len(wanted):
        raise ValueError("its extra field for zip64 is cut")
    numbers = list(stated)
    for place, number in zip(wanted, struct.unpack_from(f"<{len(wanted)}Q", found), strict=True):
        numbers[place] = number
    size, stored, offset = numbers
    return size, stored, offset


def find_end(tail: bytes) -> int:
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
        raise ValueError("no end record: the zip is cut, or other bytes follow it")
    # zipfile takes the last signature, whether its comment fits or not.
    if len(found) > 1 or tail.rfind(_END_SIGNATURE) != found[0]:
        raise ValueError("more than one end record")
    return found[0]


def read_end(record: bytes, before: bytes, position: int) -> End:
    """What the end record at a position says; `before`: the bytes in front of it, END64_BYTES if there are.

    The directory that it announces must end where the first end record begins.
    """
    _, disk, first_disk, here, *numbers, _ = _END.unpack_from(record)
    if disk != 0 or first_disk != 0 or here != numbers[0]:
        raise ValueError(f"one part of an archive in several files, at offset {position}")
    if len(before) == END64_BYTES and before.startswith(_LOCATOR64_SIGNATURE, _END64.size):
        position -= len(before)
        numbers = _end64(before, position, numbers)
    entries, size_bytes, offset = numbers
    if offset + size_bytes != position:
        raise ValueError(
            f"the central directory should end at offset {offset + size_bytes}, the end record is at"
            f" {position}: other bytes in front of the archive or within it, or a part is missing"
        )
    return End(entries, size_bytes, offset)


def _end64(zip64: bytes, position: int, stated: list[int]) -> list[int]:
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
        raise ValueError(f"the zip64 end record at offset {position} contradicts itself")
    for plain, wide, unset in zip(stated, numbers, (0xFFFF, _WIDE, _WIDE), strict=True):
        if plain not in (wide, unset):
            raise ValueError(f"two end records at offset {position} that differ")
    return numbers
