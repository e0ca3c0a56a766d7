"""What stands below a root and can be catalogued: each dataset with the stamps of its shards.

A stamp says from which bytes the rows of a shard are made: the digest in the manifest, of foreign tars size
and time, and which of its samples were dropped.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from g3m.adapters.catalog import ShardFacts
from g3m.adapters.local import LocalReader
from g3m.adapters.session import Session
from g3m.core.catalog import PLACE_LIMIT
from g3m.core.dropped import stamp_without
from g3m.core.errors import NotVerified
from g3m.core.index import Index
from g3m.core.receipt import Manifest
from g3m.steps.check import manifests
from g3m.steps.dropped import parsed_record, record_stamp
from g3m.steps.examine import open_index
from g3m.steps.outlines import Shelf
from g3m.steps.publish import INDEX


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset below the root as it stands: `facts` of its shards, in their order."""

    name: str
    folder: Path
    shelf: Shelf
    facts: tuple[ShardFacts, ...]
    samples: tuple[int, ...]
    sizes: tuple[int, ...]
    record_stamp: tuple[int, ...] = ()
    """That of the record of dropped samples, as it was before it was read."""


def folders_below(session: Session) -> dict[str, tuple[Path, Manifest | None]]:
    """Name, folder and manifest of every dataset below the root: those of g3m, and tars with an index.

    The name is that of the manifest or of the folder; where two would have the same, the later is called by
    its path below the root.
    """
    root = session.store.root
    places: dict[Path, Manifest | None] = {**manifests(session, ())}
    for pattern in (f"*/*/{INDEX}", f"*/{INDEX}", INDEX):
        for path in sorted(root.glob(pattern)):
            places.setdefault(path.parent, None)
    made: dict[str, tuple[Path, Manifest | None]] = {}
    for folder, body in places.items():
        inside = folder.relative_to(root)
        if not any(part.startswith(".") for part in inside.parts):
            name = body.dataset if body is not None else folder.absolute().name
            made.setdefault(name if name not in made else inside.as_posix(), (folder, body))
    return made


def source_at(name: str, folder: Path, body: Manifest | None, root: Path) -> Source | None:
    """A dataset with the stamps of its shards; None while its shards are being exchanged."""
    stamp_of_record = record_stamp(folder)
    index = open_index(folder / INDEX)
    if body is not None:
        index = _agreeing(folder, index, body)
    if index.folder:
        raise NotVerified(f"{folder}: its {INDEX} is for shards elsewhere")
    record = parsed_record(folder)
    if record.rewriting:
        return None
    dropped = frozenset(record.numbers(index.keys()))
    counts = _counts(index)
    if any(count > PLACE_LIMIT for count in counts):
        raise NotVerified(f"{folder}: a shard has more than {PLACE_LIMIT} samples")
    facts, first = [], 0
    for number, (shard, count) in enumerate(zip(index.shards, counts, strict=True)):
        stamp = body.shards[number].sha256 if body is not None else _file_stamp(folder / shard)
        gone = [one - first for one in range(first, first + count) if one in dropped] if dropped else []
        facts.append(
            ShardFacts(
                dataset=name,
                folder=folder.relative_to(root).as_posix(),
                name=shard,
                number=number,
                first=first,
                stamp=stamp_without(stamp, gone),
            )
        )
        first += count
    sizes = dict(zip(index.shards, index.sizes, strict=True)) if index.sizes else {}
    shelf = Shelf(LocalReader(folder, sizes), index, dropped)
    shard_sizes = tuple(sizes.get(shard, 0) for shard in index.shards)
    return Source(name, folder, shelf, tuple(facts), tuple(counts), shard_sizes, stamp_of_record)


def _agreeing(folder: Path, index: Index, body: Manifest) -> Index:
    """The index with the sizes of its manifest; NotVerified if it is another's."""
    if (len(index), index.shards) != (body.samples, tuple(shard.name for shard in body.shards)):
        raise NotVerified(f"{folder}: its {INDEX} does not agree with its manifest")
    return Index(index.data, [shard.size_bytes for shard in body.shards])


def _counts(index: Index) -> list[int]:
    """How many samples of each shard stand in the index, which has them in the order of the shards."""
    ends = [
        bisect_right(range(len(index)), shard, key=lambda number: index.place(number)[0])
        for shard in range(len(index.shards))
    ]
    return [end - start for start, end in pairwise([0, *ends])]


def _file_stamp(path: Path) -> str:
    try:
        state = os.stat(path)
    except OSError:
        return "missing"
    return f"{state.st_size} bytes at {state.st_mtime_ns}"
