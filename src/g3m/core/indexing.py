"""Making an index: the rows of one shard while its samples come in, and the indexes of shards as one.

What an index is, and how it is read, is in core/index.py.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

from g3m.core.index import (
    ABSENT,
    FIELDS,
    FIELDS_LIMIT,
    IMAGES,
    NO_PLACE,
    Head,
    Index,
    checksum,
    mapped,
    record,
)
from g3m.core.shard import Entry, Field

KEYS_LIMIT_BYTES = 2**32
_SLOTS = 256


@dataclass(frozen=True, slots=True)
class IndexedShard:
    """The samples of one shard, in the order in which they lie."""

    name: str
    entries: tuple[Entry, ...]


def ordered(extensions: Iterable[str]) -> tuple[str, ...]:
    """Extensions as the fields of an index: pictures by preference, then the others by name.

    >>> ordered({"txt", "png", "cls", "jpg", "json"})
    ('jpg', 'png', 'cls', 'json', 'txt')
    """
    known = {name: place for place, name in enumerate(IMAGES)}
    return tuple(sorted(extensions, key=lambda name: (known.get(name, len(known)), name)))


class Rows:
    """The records and keys of one shard while its samples come in; fields are met as they come."""

    def __init__(self, fields: Sequence[str] = ()) -> None:
        self.fields = list(fields)
        self.samples = 0
        self._records = bytearray()
        self._keys = bytearray()

    def add(self, key: str, places: Sequence[Field]) -> None:
        """Append a sample; ValueError for what an index cannot hold, with nothing added."""
        found = {place.extension: (place.offset, place.size_bytes) for place in places}
        if any(not 0 <= size < ABSENT for _, size in found.values()):
            raise ValueError(f"{key}: a member is too large for an index")
        new = [name for name in found if name not in self.fields]
        if len(self.fields) + len(new) > FIELDS_LIMIT:
            raise ValueError(f"{key}: {new[-1]!r} is more than the {FIELDS_LIMIT} fields an index can have")
        if new:
            fields = [*self.fields, *new]
            self._records = bytearray(mapped(self._records, self.fields, fields))
            self.fields = fields
        self._keys += key.encode()
        row: list[int] = []
        for name in self.fields:
            row += found.get(name, NO_PLACE)
        self._records += record(len(self.fields)).pack(0, len(self._keys), *row)
        self.samples += 1

    def encode(self, shard: str, size_bytes: int | None = None) -> bytes:
        """The index of this one shard; its fields in their order, or g3m's where there are none."""
        fields = ordered(self.fields) or FIELDS
        sizes = () if size_bytes is None else (size_bytes,)
        head = Head(shards=(shard,), samples=self.samples, fields=fields, sizes=sizes)
        return b"".join((head.encode(), mapped(self._records, self.fields, fields), self._keys))


def encode(shards: Sequence[IndexedShard]) -> bytes:
    """The index file of some shards that g3m has packed; fields that it does not know are left out."""
    parts = []
    for shard in shards:
        rows = Rows(FIELDS)
        for entry in shard.entries:
            rows.add(entry.key, [field for field in entry.fields if field.extension in FIELDS])
        parts.append(Index(rows.encode(shard.name)))
    names = tuple(shard.name for shard in shards)
    return b"".join(joined(Head(shards=names, samples=sum(map(len, parts))), parts.__getitem__))


def cut(index: Index, first: int, last: int, shard: str) -> bytes:
    """The index of one shard out of a larger one, where its samples stand from `first` to before `last`."""
    rows = Rows(index.fields)
    for number in range(first, last):
        rows.add(index.key(number), index[number][1].fields)
    return rows.encode(shard)


def joined(head: Head, part: Callable[[int], Index]) -> Iterator[bytes]:
    """The index of all shards of a head in pieces, from the index of each; `part` gives those by number.

    Each is asked for twice, so that one at a time is in memory. ValueError if the keys are too many.
    """
    crc = 0
    for piece in _joined(replace(head, checked=True), part):
        crc = crc32(piece, crc)
        yield piece
    yield checksum(crc)


def _joined(head: Head, part: Callable[[int], Index]) -> Iterator[bytes]:
    yield head.encode()
    keys_bytes = 0
    for number in range(len(head.shards)):
        one = part(number)
        yield one.records(number, keys_bytes, head.fields)
        keys_bytes += one.keys_bytes
        if keys_bytes >= KEYS_LIMIT_BYTES:
            raise ValueError("the keys take more than 4 GiB")
    for number in range(len(head.shards)):
        yield part(number).key_data


def repeated(keys: Callable[[], Iterable[str]]) -> tuple[int, str]:
    """How many samples have a key that an earlier one has, and one of those keys.

    The keys are asked for once, and once more if one is repeated. Eight bytes of each are held in memory.
    """
    slots = [array("q") for _ in range(_SLOTS)]
    for mark in map(hash, keys()):
        slots[mark & _SLOTS - 1].append(mark)
    count, example = 0, 0
    for slot in slots:
        seen = set(slot)
        if len(seen) < len(slot):
            count += len(slot) - len(seen)
            for mark in slot:
                if mark not in seen:
                    example = mark
                    break
                seen.remove(mark)
    return count, next((key for key in keys() if hash(key) == example), "") if count else ""
