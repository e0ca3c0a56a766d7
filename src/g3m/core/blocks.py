"""How a range of a remote file is made of blocks, and how a block is kept so that damage shows.

Arithmetic and checksums only. Requests are for adapters/remote.py, files for adapters/cache.py.

    kept block: magic "G3MBLOK1" · its name (32 bytes) · u32 size · u32 crc32 of each page · the bytes

The checksum is taken page by page, so that a small read of a large block is checked and yet stays small.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK_BYTES = 2**20
PAGE_BYTES = 2**16
MAGIC = b"G3MBLOK1"
_FIXED = struct.Struct("<8s32sI")


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a range that lies in one block: from `start` to before `end`, counted in that block."""

    number: int
    start: int
    end: int


def pieces(offset: int, size_bytes: int, block_bytes: int = BLOCK_BYTES) -> tuple[Piece, ...]:
    """What a range takes from which block, in order; nothing for an empty range.

    >>> pieces(90, 30, 100)
    (Piece(number=0, start=90, end=100), Piece(number=1, start=0, end=20))
    """
    end = offset + size_bytes
    return tuple(
        Piece(number, max(offset - number * block_bytes, 0), min(end - number * block_bytes, block_bytes))
        for number in range(offset // block_bytes, -(-end // block_bytes) if size_bytes else 0)
    )


def extent(number: int, whole_bytes: int, block_bytes: int = BLOCK_BYTES) -> tuple[int, int]:
    """Where a block lies in its file: the last one is as long as the file lets it be."""
    return min(number * block_bytes, whole_bytes), min((number + 1) * block_bytes, whole_bytes)


def runs(numbers: Iterable[int], most: int) -> Iterator[tuple[int, int]]:
    """Neighbouring blocks joined to one request each: first and one behind the last, `most` at a time.

    >>> list(runs([1, 2, 3, 7], 2))
    [(1, 3), (3, 4), (7, 8)]
    """
    first = last = None
    for number in sorted(set(numbers)):
        if first is None or last is None or number != last or number - first >= most:
            if first is not None and last is not None:
                yield first, last
            first = number
        last = number + 1
    if first is not None and last is not None:
        yield first, last


def name_of(address: str, validator: str, size_bytes: int, block: tuple[int, int]) -> str:
    """The name of a kept block: a digest of where it came from, of which version, and which one it is.

    `block` is its size and its number. The address cannot be read back from it.
    """
    text = json.dumps([address, validator, size_bytes, *block])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def head_bytes(size_bytes: int) -> int:
    """How long the head of a kept block of this size is."""
    return _FIXED.size + 4 * -(-size_bytes // PAGE_BYTES)


def seal(name: str, data: bytes) -> bytes:
    """The head that goes before the bytes of a block."""
    view = memoryview(data)
    crcs = [zlib.crc32(view[start : start + PAGE_BYTES]) for start in range(0, len(data), PAGE_BYTES)]
    return _FIXED.pack(MAGIC, bytes.fromhex(name), len(data)) + struct.pack(f"<{len(crcs)}I", *crcs)


def pages(start: int, end: int, size_bytes: int) -> tuple[int, int]:
    """The part of a block that has to be read, whole pages, so that a piece of it can be checked."""
    return start - start % PAGE_BYTES, min(-(-end // PAGE_BYTES) * PAGE_BYTES, size_bytes)


def proves(head: bytes, name: str, size_bytes: int) -> bool:
    """Whether this is the whole head of the block of that name and size."""
    whole = len(head) == head_bytes(size_bytes)
    return whole and _FIXED.unpack_from(head) == (MAGIC, bytes.fromhex(name), size_bytes)


def agrees(head: bytes, start: int, data: bytes) -> bool:
    """Whether pages that were read from `start` on (the beginning of one) are those of the head."""
    view, first = memoryview(data), start // PAGE_BYTES
    for place in range(0, len(data), PAGE_BYTES):
        (crc,) = struct.unpack_from("<I", head, _FIXED.size + 4 * (first + place // PAGE_BYTES))
        if zlib.crc32(view[place : place + PAGE_BYTES]) != crc:
            return False
    return True
