"""The index of a dataset's samples: where each member of each sample lies, as one flat table.

    magic "G3MINDX1" · u32 length of the head · head (JSON: shards, fields, samples) · records · keys
    record: u32 shard, u32 end of its key, then for jpg, json, txt: u64 offset, u32 size (0xFFFFFFFF: none)

It is made while packing and can be made again from the shards; losing it loses nothing.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from g3m.core.shard import Entry, Field

MAGIC = b"G3MINDX1"
FIELDS = ("jpg", "json", "txt")
ABSENT = 0xFFFFFFFF
_RECORD = struct.Struct("<II" + "QI" * len(FIELDS))
_KEY_PLACE = struct.Struct("<II")
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class IndexedShard:
    """The samples of one shard, in the order in which they lie."""

    name: str
    entries: tuple[Entry, ...]


def encode(shards: Sequence[IndexedShard]) -> bytes:
    """The index file of some shards."""
    records = bytearray()
    keys = bytearray()
    for number, shard in enumerate(shards):
        for entry in shard.entries:
            keys += entry.key.encode()
            places = {field.extension: field for field in entry.fields}
            row: list[int] = []
            for name in FIELDS:
                field = places.get(name)
                row += [field.offset, field.size_bytes] if field else [0, ABSENT]
            records += _RECORD.pack(number, len(keys), *row)
    samples = len(records) // _RECORD.size
    return b"".join((head([shard.name for shard in shards], samples), records, keys))


def head(shards: Sequence[str], samples: int) -> bytes:
    """What stands before the records of an index of these shards."""
    text = json.dumps({"shards": list(shards), "fields": FIELDS, "samples": samples}).encode()
    return MAGIC + _LENGTH.pack(len(text)) + text


def _head(text: bytes) -> tuple[tuple[str, ...], int]:
    try:
        head = json.loads(text)
        shards, fields, samples = head["shards"], head["fields"], head["samples"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("the head of the index cannot be read") from None
    if not isinstance(shards, list) or fields != list(FIELDS) or not isinstance(samples, int) or samples < 0:
        raise ValueError("the head of the index is not right")
    return tuple(shards), samples


class Index:
    """Reads an index from bytes (a mapped file, say); ValueError if it is not one."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        start = len(MAGIC) + _LENGTH.size
        if bytes(self._data[: len(MAGIC)]) != MAGIC or len(self._data) < start:
            raise ValueError("not an index of this version")
        (length,) = _LENGTH.unpack_from(self._data, len(MAGIC))
        self.shards, self._samples = _head(bytes(self._data[start : start + length]))
        self._records = start + length
        self._keys = self._records + self._samples * _RECORD.size
        if self._keys > len(self._data):
            raise ValueError("the index is cut")
        keys_bytes = self._key_end(self._samples - 1) if self._samples else 0
        if self._keys + keys_bytes != len(self._data):
            raise ValueError("the index is cut, or something follows it")

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, number: int) -> tuple[str, Entry]:
        """The shard's name and the entry of the sample with that number."""
        if not 0 <= number < self._samples:
            raise IndexError(number)
        shard, key_end, *row = _RECORD.unpack_from(self._data, self._records + number * _RECORD.size)
        key_start = self._key_end(number - 1) if number else 0
        key = bytes(self._data[self._keys + key_start : self._keys + key_end]).decode()
        fields = tuple(
            Field(name, row[2 * place], row[2 * place + 1])
            for place, name in enumerate(FIELDS)
            if row[2 * place + 1] != ABSENT
        )
        return self.shards[shard], Entry(key, fields)

    def _key_end(self, number: int) -> int:
        return int(_LENGTH.unpack_from(self._data, self._records + number * _RECORD.size + 4)[0])

    @property
    def keys(self) -> bytes:
        """All keys, one behind the other."""
        return bytes(self._data[self._keys :])

    def records(self, shard: int, keys_before: int) -> bytes:
        """The records as part of a larger index, in which this index's one shard has another number."""
        records = bytearray(self._data[self._records : self._keys])
        for place in range(0, len(records), _RECORD.size):
            _, key_end = _KEY_PLACE.unpack_from(records, place)
            _KEY_PLACE.pack_into(records, place, shard, keys_before + key_end)
        return bytes(records)
