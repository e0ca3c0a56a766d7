"""Pictures of the same bytes within a dataset, found without holding the pictures.

For each picture a checksum, its size and its place are kept, sixteen bytes in all: some fifty megabytes for
three million. Where checksum and size are equal, the bytes themselves are compared, so nothing is guessed.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from g3m.core.shard import BLOCK_BYTES

AT_A_TIME = 2**18
"""Pictures whose checksums are looked up in one pass; a pass goes through all."""

Place = tuple[int, int]
"""Number of the shard, offset of the picture's first byte in it."""


def sample_key(name: str) -> str:
    """The key of a member, as every WebDataset reader has it: up to the first dot behind the last slash.

    >>> sample_key("./a.b/000139.seg.png")
    'a.b/000139'
    """
    folder, slash, own = name.removeprefix("./").rpartition("/")
    return folder + slash + own.partition(".")[0]


class Twins:
    """The pictures of one dataset, in order."""

    def __init__(self) -> None:
        self._marks = array("Q")
        self._shards = array("I")
        self._blocks = array("I")

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, crc32: int, size_bytes: int, place: Place) -> None:
        """One more picture. In a tar every file begins with a block."""
        shard, offset = place
        self._marks.append(crc32 << 32 | size_bytes & 0xFFFFFFFF)
        self._shards.append(shard)
        self._blocks.append(offset // BLOCK_BYTES)

    def take(self, others: Twins) -> None:
        """The pictures of another shard, behind those that are here."""
        self._marks.extend(others._marks)
        self._shards.extend(others._shards)
        self._blocks.extend(others._blocks)

    def candidates(self) -> Iterator[tuple[Place, Place, int]]:
        """A picture with the first one before it that has the same checksum and size, and the size."""
        passes = len(self) // AT_A_TIME + 1
        for number in range(passes):
            first: dict[int, int] = {}
            for place, mark in enumerate(self._marks):
                if mark % passes == number:
                    earlier = first.setdefault(mark, place)
                    if earlier != place:
                        yield self._place(place), self._place(earlier), mark & 0xFFFFFFFF

    def _place(self, number: int) -> Place:
        return self._shards[number], self._blocks[number] * BLOCK_BYTES

    def pairs(self, shards: Sequence[Path]) -> Iterator[tuple[Place, str, Place, str]]:
        """Place and key of every picture that an earlier one equals, and place and key of that one.

        What cannot be read any more is left out.
        """
        for later, earlier, size_bytes in self.candidates():
            try:
                name, data = _read(shards[later[0]], later[1], size_bytes)
                other_name, other = _read(shards[earlier[0]], earlier[1], size_bytes)
            except OSError:
                continue
            if data == other:
                yield later, name, earlier, other_name


def _read(path: Path, offset: int, size_bytes: int) -> tuple[str, bytes]:
    """The key in the header before a picture, and the picture."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        block = os.pread(descriptor, BLOCK_BYTES + size_bytes, offset - BLOCK_BYTES)
    finally:
        os.close(descriptor)
    name = block[:100].partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return sample_key(name), block[BLOCK_BYTES:]
