"""The bytes of a shard around the samples: headers, padding and the end of the archive.

Here: what one USTAR header looks like, and the values that say what a shard holds. Files, buffers
and digests are not for here (adapters/shards.py writes, adapters/tar.py reads).

Every field that could differ between two machines is fixed (mode 0644, owner 0, time 0, no user
names), so that the same samples give the same bytes everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_BYTES = 512
RECORD_BYTES = 10_240
"""tar writes whole records of 20 blocks, so the size of every archive is a multiple of this."""

NAME_LIMIT_BYTES = 100
"""Longer names need the prefix field or an extension header; a shard has neither."""

SIZE_LIMIT_BYTES = 8**11
"""The size field holds 11 octal digits: 8 GiB is the first size that does not fit."""

_MODE_AND_OWNER = b"0000644\0" + 2 * b"0000000\0"
_TIME = b"00000000000\0"
_BLANK_CHECKSUM = b" " * 8
_REST = (b"0" + bytes(100) + b"ustar\x0000").ljust(BLOCK_BYTES - 156, b"\0")
"""A regular file, no target of a link, the format's name; no user, group, device or prefix."""

_SUM_OF_CONSTANTS = sum(_MODE_AND_OWNER) + sum(_TIME) + sum(_BLANK_CHECKSUM) + sum(_REST)


@dataclass(frozen=True, slots=True)
class Field:
    """One file of a sample; `offset` is where its first data byte lies in the shard."""

    extension: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample of a shard: its key and its files in the order in which they lie."""

    key: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """A finished shard: its file name, how much it holds, and the digest of the whole file."""

    name: str
    samples: int
    size_bytes: int
    sha256: str


def ustar_header(name: str, size_bytes: int) -> bytes:
    """The 512 bytes in front of a regular file, as `tarfile` writes them in its USTAR format.

    Raises ValueError for a name that is not ASCII, too long or not that of a file, and for a size
    below 0 or from 8 GiB on.

    >>> header = ustar_header("000000000139.jpg", 161811)
    >>> len(header), header[124:136]
    (512, b'00000474023\\x00')
    """
    if not name.isascii() or not 1 <= len(name) <= NAME_LIMIT_BYTES:
        raise ValueError(f"not 1 to {NAME_LIMIT_BYTES} ASCII characters: {name!r}")
    if "\0" in name or name.endswith("/"):
        raise ValueError(f"not the name of a file: {name!r}")
    if not 0 <= size_bytes < SIZE_LIMIT_BYTES:
        raise ValueError(f"{name}: {size_bytes} bytes do not fit into a ustar header")
    raw, size = name.encode("ascii"), b"%011o\0" % size_bytes
    # The checksum counts its own field as spaces. Six digits, a NUL and a space: what every tar writes.
    checksum = b"%06o\0 " % (sum(raw) + sum(size) + _SUM_OF_CONSTANTS)
    return b"".join((raw.ljust(NAME_LIMIT_BYTES, b"\0"), _MODE_AND_OWNER, size, _TIME, checksum, _REST))


def padding(size_bytes: int) -> bytes:
    """The zeros that fill the last block of a file of this size.

    >>> len(padding(1)), len(padding(512)), len(padding(0))
    (511, 0, 0)
    """
    return bytes(-size_bytes % BLOCK_BYTES)


def end_of_archive(position: int) -> bytes:
    """Two zero blocks, then zeros up to a whole record; `position` is where the last file ended.

    >>> len(end_of_archive(0)), len(end_of_archive(9_216)), len(end_of_archive(9_728))
    (10240, 1024, 10752)
    """
    blocks = 2 * BLOCK_BYTES
    return bytes(blocks + -(position + blocks) % RECORD_BYTES)
