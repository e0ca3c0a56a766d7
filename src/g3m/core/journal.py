"""The journal beside a download, as values: its lines, what they claim, and what is left of the claims.

A line is `crc32-of-the-line JSON`. A record claims a range, says that a claimed one was lost, forgets
those of a place, keeps what a place announced of the whole, or says which bytes were used up and dropped.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from g3m.core.spans import Spans

FORMAT = 2

Record = dict[str, Any]


@dataclass(slots=True)
class Claim:
    """Bytes that are on the disk; `proved` once they have been read back, or were written by this run."""

    length: int
    crc32: int
    place: str
    proved: bool


@dataclass(frozen=True, slots=True)
class Drop:
    """Bytes that are used up and lie on the disk no more: those below `end`, of which the first `kept` stay.

    `front` is how far the digest of the whole had come (not before `end`), `states` what it was there.
    """

    end: int
    kept: int
    front: int
    states: dict[str, str]

    @property
    def record(self) -> Record:
        return {"dropped": self.end, "kept": self.kept, "front": self.front, "states": self.states}


@dataclass(slots=True)
class Segment:
    """Neighbouring bytes of one transfer that are not claimed yet."""

    offset: int
    place: str
    length: int = 0
    crc32: int = 0

    @property
    def record(self) -> Record:
        return {"offset": self.offset, "length": self.length, "crc32": self.crc32, "place": self.place}


def seal(record: Record) -> bytes:
    """A record as a line."""
    body = json.dumps(record, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(body), body)


def records(lines: Iterable[bytes]) -> Iterator[Record]:
    """The records up to the first line that is torn or wrong."""
    for line in lines:
        crc, _, body = line.rstrip(b"\n").partition(b" ")
        try:
            record = json.loads(body) if int(crc, 16) == zlib.crc32(body) else None
        except (ValueError, RecursionError):
            return
        if not isinstance(record, dict):
            return
        yield record


def remaining(found: Iterable[Record], claims: dict[int, Claim], size_bytes: int) -> Iterator[Record]:
    """Fills `claims` with what the records of a journal leave standing; yields those about places.

    A record that is sealed and makes no sense is passed over, and so is one that reaches beyond the file.
    """
    covered = Spans()
    for record in found:
        lost, offset, length = record.get("lost"), record.get("offset"), record.get("length")
        if isinstance(lost, int) and lost in claims:
            covered.remove(lost, lost + claims.pop(lost).length)
        elif isinstance(record.get("forget"), str):
            for start in [o for o, claim in claims.items() if claim.place == record["forget"]]:
                covered.remove(start, start + claims.pop(start).length)
        elif _is_about_place(record):
            yield record
        elif _is_claim(record) and isinstance(offset, int) and isinstance(length, int):
            end = offset + length
            if end <= size_bytes and next(covered.within(offset, end), None) is None:
                covered.add(offset, end)
                claims[offset] = Claim(length, record["crc32"], record["place"], False)


def drop_of(record: Record) -> Drop | None:
    """The drop that a record tells of, or None."""
    end, kept, front = record.get("dropped"), record.get("kept"), record.get("front")
    states = record.get("states")
    if not isinstance(end, int) or not isinstance(kept, int) or not isinstance(front, int):
        return None
    if not 0 <= kept <= end <= front or not isinstance(states, dict):
        return None
    return Drop(end, kept, front, {str(name): str(state) for name, state in states.items()})


def _is_about_place(record: Record) -> bool:
    digests, size = record.get("digests"), record.get("size_bytes")
    return (
        isinstance(record.get("place"), str)
        and isinstance(record.get("etag"), str)
        and (size is None or isinstance(size, int))
        and isinstance(digests, list)
        and all(isinstance(digest, str) for digest in digests)
    )


def _is_claim(record: Record) -> bool:
    numbers = [record.get(name) for name in ("offset", "length", "crc32")]
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        return False
    return isinstance(record.get("place"), str) and record["offset"] >= 0 and record["length"] > 0
