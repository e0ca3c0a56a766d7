"""The index of a dataset's samples: where each member of each sample lies, as one flat table.

    magic "G3MINDX1" · u32 length of the head · head (JSON) · records · keys · u32 crc32 of all before
    head: shards, fields, samples; without a manifest also sizes, and folder if the shards lie elsewhere;
    checked, where the crc32 stands at the end, as it does in an index of a whole dataset
    record: u32 shard, u32 end of its key, then for each of fields: u64 offset, u32 size (0xFFFFFFFF: none)

It is made while packing and can be made again from the shards; losing it loses nothing. Whatever stands in
the file, reading gives an error or places in the shards that it names (inside them, where sizes are known).
"""

from __future__ import annotations

import json
import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any
from zlib import crc32

from g3m.core.errors import NotVerified
from g3m.core.members import refuse_name
from g3m.core.shard import BLOCK_BYTES, Entry, Field

MAGIC = b"G3MINDX1"
FIELDS = ("jpg", "json", "txt")
"""The fields of a dataset that g3m has packed."""

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tiff", "tif")
"""Extensions of pictures, the preferred first: the picture of a sample is the first of these that it has.

A sample that has none of them may still have one such as `left.png`.
"""

FIELDS_LIMIT = 16
ABSENT = 0xFFFFFFFF
NO_PLACE = (0, ABSENT)
_PLACE = "QI"
_LENGTH = struct.Struct("<I")
_END_LIMIT_BYTES = 2**63 - 1
"""Where no file can end any more: systems count bytes of files with this many."""

_KEYS_AT_ONCE = 2**14
_HEAD = "the head of the index is not right"
_MAKE_HINT = (
    "make it again with `g3m index PATH`; the shards stay as they are",
    "请用 `g3m index PATH` 重新生成；分片不会改变",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands before the records; ValueError for anything that a reader would refuse."""

    shards: tuple[str, ...]
    samples: int
    fields: tuple[str, ...] = FIELDS
    sizes: tuple[int, ...] = ()
    """Bytes of each shard when it was indexed; empty: a manifest has them."""
    folder: str = ""
    """Where the shards lie, if not beside the index."""
    checked: bool = False
    """Whether a crc32 of all bytes stands behind the keys."""

    def __post_init__(self) -> None:
        names = all(isinstance(name, str) and not refuse_name(name) for name in self.shards)
        fields = all(isinstance(name, str) and is_field(name) for name in self.fields)
        sizes = all(type(size) is int and 0 <= size <= _END_LIMIT_BYTES for size in self.sizes)
        samples = type(self.samples) is int and self.samples >= 0
        words = isinstance(self.folder, str) and isinstance(self.checked, bool)
        if not (names and fields and sizes and samples and words):
            raise ValueError(_HEAD)
        if not 1 <= len(set(self.fields)) == len(self.fields) <= FIELDS_LIMIT:
            raise ValueError(_HEAD)
        if len(self.sizes) not in (0, len(self.shards)):
            raise ValueError(_HEAD)

    def encode(self) -> bytes:
        """The first bytes of the file, up to the records."""
        body: dict[str, Any] = {"shards": self.shards, "fields": self.fields, "samples": self.samples}
        if self.sizes:
            body["sizes"] = self.sizes
        if self.folder:
            body["folder"] = self.folder
        if self.checked:
            body["checked"] = True
        text = json.dumps(body).encode()
        return MAGIC + _LENGTH.pack(len(text)) + text

    @classmethod
    def decode(cls, text: bytes) -> Head:
        """The head as it stands in the file."""
        try:
            body = json.loads(text)
            lists = [body["shards"], body["fields"], body.get("sizes", [])]
            samples, folder, checked = body["samples"], body.get("folder", ""), body.get("checked", False)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError("the head of the index cannot be read") from None
        if not all(isinstance(item, list) for item in lists):
            raise ValueError(_HEAD)
        shards, fields, sizes = (tuple(item) for item in lists)
        return cls(shards=shards, samples=samples, fields=fields, sizes=sizes, folder=folder, checked=checked)


def is_field(name: str) -> bool:
    """Whether an extension can be a field of an index."""
    return not refuse_name(name) and "/" not in name


def pictures(extensions: Sequence[str]) -> list[str]:
    """Those that are pictures: plain ones by preference, then such as `left.png` in the order given.

    >>> pictures(["left.png", "txt", "png", "jpg"])
    ['jpg', 'png', 'left.png']
    """
    plain = [name for name in IMAGES if name in extensions]
    return plain + [name for name in extensions if "." in name and name.rpartition(".")[2] in IMAGES]


def checksum(crc: int) -> bytes:
    """A crc32 as it stands at the end of a file."""
    return _LENGTH.pack(crc)


@cache
def record(fields: int) -> struct.Struct:
    """One record of so many fields."""
    return struct.Struct(f"<II{_PLACE * fields}")


def mapped(
    records: bytes | bytearray | memoryview, before: Sequence[str], after: Sequence[str]
) -> bytes | bytearray | memoryview:
    """Records of some fields as records of others; what those do not have is left out."""
    if list(before) == list(after):
        return records
    old, new = record(len(before)), record(len(after))
    made = bytearray(new.size * (len(records) // old.size))
    places = [before.index(name) if name in before else -1 for name in after]
    for number, (shard, end, *found) in enumerate(old.iter_unpack(records)):
        row = [*found, *NO_PLACE]  # the last is what -1 points at
        moved = [cell for at in places for cell in row[2 * at : 2 * at + 2 or None]]
        new.pack_into(made, number * new.size, shard, end, *moved)
    return made


class Index:
    """Reads an index from bytes (a mapped file, say); ValueError if it is not one.

    `sizes` are the bytes of each shard, where a manifest knows them. What is damaged inside is found when it
    is read: NotVerified for a sample whose record cannot be right. Threads and forked processes may share it.
    """

    def __init__(self, data: bytes | memoryview, sizes: Sequence[int] = ()) -> None:
        self._data = memoryview(data)
        start = len(MAGIC) + _LENGTH.size
        if bytes(self._data[: len(MAGIC)]) != MAGIC or len(self._data) < start:
            raise ValueError("not an index of this version")
        (length,) = _LENGTH.unpack_from(self._data, len(MAGIC))
        self.head = Head.decode(bytes(self._data[start : start + length]))
        self.shards, self.fields, self.folder = self.head.shards, self.head.fields, self.head.folder
        self.sizes = tuple(sizes) or self.head.sizes
        if len(self.sizes) not in (0, len(self.shards)):
            raise ValueError(f"{len(self.sizes)} sizes for {len(self.shards)} shards")
        self.images = tuple(self.fields.index(name) for name in pictures(self.fields))
        """Which fields are pictures, the preferred first."""
        self._samples = self.head.samples
        self._limits = self.sizes or (_END_LIMIT_BYTES,) * len(self.shards)
        count = len(self.fields)
        self._row = struct.Struct("<I4x" + _PLACE * count)
        self._ends = struct.Struct(f"<4xI{self._row.size - 8}x")
        self._two_ends = struct.Struct(f"<4xI{self._row.size - 4}xI")
        self._records = start + length
        self._keys = self._records + self._samples * self._row.size
        if self._keys > len(self._data):
            raise ValueError("the index is cut")
        self.keys_bytes = self._key_end(self._samples - 1) if self._samples else 0
        self._check = self._keys + self.keys_bytes
        if self._check + _LENGTH.size * self.head.checked != len(self._data):
            raise ValueError("the index is cut, or something follows it")

    def __len__(self) -> int:
        return self._samples

    @property
    def data(self) -> memoryview:
        """The bytes that it is read from."""
        return self._data

    @property
    def intact(self) -> bool:
        """Whether every byte is as it was written, as far as a crc32 says so; True where none stands."""
        if not self.head.checked:
            return True
        return bytes(self._data[self._check :]) == checksum(crc32(self._data[: self._check]))

    def place(self, number: int) -> tuple[int, ...]:
        """Where a sample lies: the number of its shard, then offset and size (or ABSENT) of each of `fields`.

        The cheap way to a sample: no object but the tuple is made. IndexError outside, NotVerified if the
        record names a shard that is not there, or bytes behind the end of one.
        """
        if not 0 <= number < self._samples:
            raise IndexError(number)
        row = self._row.unpack_from(self._data, self._records + number * self._row.size)
        try:
            limit = self._limits[row[0]]
        except IndexError:
            raise self._damaged(number) from None
        for at in range(1, len(row), 2):
            if row[at] + row[at + 1] > limit and row[at + 1] != ABSENT:
                raise self._damaged(number)
        return row

    def key(self, number: int) -> str:
        """The key of a sample; IndexError outside, NotVerified if it cannot be a key."""
        if not 0 <= number < self._samples:
            raise IndexError(number)
        if number:
            at = self._records + (number - 1) * self._row.size
            start, end = self._two_ends.unpack_from(self._data, at)
        else:
            start, end = 0, self._key_end(0)
        if not start <= end <= self.keys_bytes:
            raise self._damaged(number)
        try:
            return str(self._data[self._keys + start : self._keys + end], "utf-8")
        except UnicodeDecodeError:
            raise self._damaged(number) from None

    def __getitem__(self, number: int) -> tuple[str, Entry]:
        """The shard's name and the entry of the sample with that number."""
        shard, *row = self.place(number)
        fields = [
            Field(name, row[at], row[at + 1])
            for at, name in zip(range(0, len(row), 2), self.fields, strict=True)
            if row[at + 1] != ABSENT
        ]
        return self.shards[shard], Entry(self.key(number), tuple(fields))

    def __iter__(self) -> Iterator[tuple[str, Entry]]:
        return (self[number] for number in range(self._samples))

    def image(self, place: Sequence[int]) -> int:
        """Which field of a `place` is the sample's picture; -1 if it has none."""
        for at in self.images:
            if place[2 * at + 2] != ABSENT:
                return at
        return -1

    def counts(self) -> dict[str, int]:
        """How many samples have each field; fields that none has are left out."""
        found = dict.fromkeys(self.fields, 0)
        row = struct.Struct("<8x" + "8xI" * len(self.fields))
        for sizes in row.iter_unpack(self._rows(0, self._samples)):
            for name, size in zip(self.fields, sizes):  # noqa: B905  # strict costs a third more
                if size != ABSENT:
                    found[name] += 1
        return {name: count for name, count in found.items() if count}

    def keys(self) -> Iterator[str]:
        """All keys in order; NotVerified if one cannot be right."""
        start = 0
        for first in range(0, self._samples, _KEYS_AT_ONCE):
            last = min(first + _KEYS_AT_ONCE, self._samples)
            ends = [end for (end,) in self._ends.iter_unpack(self._rows(first, last))]
            if any(map(int.__gt__, [start, *ends], ends)) or ends[-1] > self.keys_bytes:
                raise self._damaged(first)
            data = bytes(self._data[self._keys + start : self._keys + ends[-1]])
            places = array("Q", [0, *(end - start for end in ends)])
            start = ends[-1]
            if data.isascii():
                text = data.decode("ascii")
                yield from [text[low:high] for low, high in pairwise(places)]
                continue
            try:
                yield from [data[low:high].decode() for low, high in pairwise(places)]
            except UnicodeDecodeError:
                raise self._damaged(first) from None

    @property
    def key_data(self) -> bytes:
        """All keys, one behind the other."""
        return bytes(self._data[self._keys : self._check])

    def starts(self) -> list[int]:
        """Where the samples of each shard begin, and where those of the last end."""
        numbers = range(self._samples)
        shards = range(len(self.shards) + 1)
        return [bisect_left(numbers, shard, key=lambda at: self.place(at)[0]) for shard in shards]

    def first_misplaced(self, samples: Sequence[int]) -> int:
        """The first sample that cannot lie where it is said to, -1 if there is none; NotVerified as `place`.

        `samples` counts those of each shard. In a tar files lie one behind the other, each behind its header.
        """
        first = 0
        for shard, count in enumerate(samples):
            end = 0
            for number in range(first, first + count):
                place = self.place(number)
                spans = ((place[at], place[at + 1]) for at in range(1, len(place), 2))
                for offset, size in sorted(span for span in spans if span[1] != ABSENT):
                    if offset % BLOCK_BYTES or offset < end + BLOCK_BYTES:
                        return number
                    end = offset + size + -size % BLOCK_BYTES
                if place[0] != shard:
                    return number
            first += count
        return -1

    def records(self, shard: int, keys_before: int, fields: Sequence[str] = ()) -> bytes:
        """The records as part of a larger index, in which this index's one shard has another number."""
        wanted = tuple(fields) or self.fields
        made = bytearray(mapped(self._rows(0, self._samples), self.fields, wanted))
        numbers = struct.Struct("<II")
        size_bytes = record(len(wanted)).size
        for place in range(0, len(made), size_bytes):
            _, key_end = numbers.unpack_from(made, place)
            numbers.pack_into(made, place, shard, keys_before + key_end)
        return bytes(made)

    def _rows(self, first: int, last: int) -> memoryview:
        size_bytes = self._row.size
        return self._data[self._records + first * size_bytes : self._records + last * size_bytes]

    def _key_end(self, number: int) -> int:
        return int(self._ends.unpack_from(self._data, self._records + number * self._row.size)[0])

    def _damaged(self, number: int) -> NotVerified:
        return NotVerified(f"the index is damaged at sample {number}", hint=_MAKE_HINT)
