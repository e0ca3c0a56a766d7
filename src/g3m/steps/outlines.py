"""Reading a shard for the catalog: the ends of each picture, with its text and its json, or all of it.

A shard is read from its beginning to its end: a piece with the header of a picture, and one with its end and
what lies behind it. A sample that is broken becomes an entry that says so.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from g3m.adapters.guard import Guard, GuardFailure
from g3m.adapters.local import LocalReader
from g3m.core.catalog import Entry, mask
from g3m.core.catalog import names as flag_names
from g3m.core.index import ABSENT, Index
from g3m.core.outline import HEAD_BYTES, TAIL_BYTES, UNUSABLE, entry, glance
from g3m.core.structure import Structure, look

TICK_SAMPLES = 256
_PIECE_BYTES = 2**18
"""Members with less than this between first and last byte are read at once."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A dataset's folder as its index knows it; `dropped` are the numbers of samples that are left out."""

    reader: LocalReader
    index: Index
    dropped: Container[int] = ()


@dataclass(frozen=True, slots=True)
class Decoders:
    """Where pictures are decoded, by which threads, and how many pictures may wait for that."""

    guard: Guard
    pool: ThreadPoolExecutor
    ahead: int


Tick = Callable[[int], None]
"""Told after every so many samples how many bytes of the shard are behind."""


def outlines(shelf: Shelf, first: int, samples: int, tick: Tick) -> list[Entry | None]:
    """The entries of a shard's samples, by place; no picture is decoded. NotVerified if the shard is cut."""
    made: list[Entry | None] = []
    for place in range(samples):
        number = first + place
        if number in shelf.dropped:
            made.append(None)
            continue
        made.append(_outline(shelf, number))
        if place % TICK_SAMPLES == 0:
            tick(_reach(shelf.index, number))
    return made


def glimpses(shelf: Shelf, first: int, samples: int, tick: Tick, decoders: Decoders) -> list[Entry | None]:
    """The same with every picture decoded, several at a time: digest, hashes, and all classes as flags."""
    made: list[Entry | None] = []
    waiting: deque[Future[Entry]] = deque()
    for place in range(samples):
        number = first + place
        if number in shelf.dropped:
            while waiting:
                made.append(waiting.popleft().result())
            made.append(None)
            continue
        image, text, meta = _members(shelf, number)
        plain = entry(shelf.index.key(number), look(image) if image else None, len(image), text, meta)
        waiting.append(decoders.pool.submit(_decoded, plain, image, decoders.guard))
        if len(waiting) >= decoders.ahead:
            made.append(waiting.popleft().result())
        if place % TICK_SAMPLES == 0:
            tick(_reach(shelf.index, number))
    made += [one.result() for one in waiting]
    return made


def _decoded(plain: Entry, image: bytes, guard: Guard) -> Entry:
    if not image:
        return plain
    made = replace(plain, digest=hashlib.sha256(image).digest())
    try:
        body = guard.call("glimpse", image, {}).body
    except GuardFailure as failure:
        return replace(made, flags=made.flags | mask([failure.finding, "unreadable"]))
    classes = [str(name) for name in body["classes"]]
    spoiled = ["unreadable"] if set(UNUSABLE).intersection(classes) else []
    kept = [name for name in flag_names(plain.flags) if name.startswith(("no_caption", "caption_"))]
    return replace(
        made,
        flags=mask([*classes, *spoiled, *kept]),
        width=int(body["width"]) or plain.width,
        height=int(body["height"]) or plain.height,
        rows=int(body["rows"]),
        columns=int(body["columns"]),
    )


def _outline(shelf: Shelf, number: int) -> Entry:
    index = shelf.index
    place = index.place(number)
    at = index.image(place)
    text, meta = (_span(index, place, name) for name in ("txt", "json"))
    shard = index.shards[place[0]]
    if at < 0:
        found = _read(shelf.reader, shard, [text, meta])
        return entry(index.key(number), None, 0, found[0], found[1] or b"")
    offset, size_bytes = place[2 * at + 1], place[2 * at + 2]
    if size_bytes <= HEAD_BYTES + TAIL_BYTES:
        image, body, json = _read(shelf.reader, shard, [(offset, size_bytes), text, meta])
        return entry(index.key(number), look(image or b""), size_bytes, body, json or b"")
    head = shelf.reader.read(shard, offset, HEAD_BYTES)
    tail, body, json = _read(
        shelf.reader, shard, [(offset + size_bytes - TAIL_BYTES, TAIL_BYTES), text, meta]
    )
    seen: Structure | None = glance(head, tail or b"")
    if seen is None:
        seen = look(shelf.reader.read(shard, offset, size_bytes))
    return entry(index.key(number), seen, size_bytes, body, json or b"")


def _members(shelf: Shelf, number: int) -> tuple[bytes, bytes | None, bytes]:
    index = shelf.index
    place = index.place(number)
    at = index.image(place)
    image = (place[2 * at + 1], place[2 * at + 2]) if at >= 0 else None
    spans = [image, *(_span(index, place, name) for name in ("txt", "json"))]
    found = _read(shelf.reader, index.shards[place[0]], spans)
    return found[0] or b"", found[1], found[2] or b""


def _span(index: Index, place: Sequence[int], name: str) -> tuple[int, int] | None:
    if name not in index.fields:
        return None
    at = index.fields.index(name)
    return None if place[2 * at + 2] == ABSENT else (place[2 * at + 1], place[2 * at + 2])


def _read(reader: LocalReader, shard: str, spans: Sequence[tuple[int, int] | None]) -> list[bytes | None]:
    """The bytes of some members, by one read where they lie side by side."""
    there = [span for span in spans if span is not None]
    if not there:
        return [None] * len(spans)
    start = min(offset for offset, _ in there)
    size_bytes = max(offset + size for offset, size in there) - start
    if size_bytes - sum(size for _, size in there) > _PIECE_BYTES:
        return [None if span is None else reader.read(shard, *span) for span in spans]
    data = reader.read(shard, start, size_bytes)
    return [None if span is None else data[span[0] - start : span[0] - start + span[1]] for span in spans]


def _reach(index: Index, number: int) -> int:
    """Where in its shard a sample begins."""
    place = index.place(number)
    return min((offset for offset, size in _pairs(place) if size != ABSENT), default=0)


def _pairs(place: Sequence[int]) -> Iterator[tuple[int, int]]:
    return zip(place[1::2], place[2::2], strict=True)
