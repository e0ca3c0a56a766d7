"""copies: rows of a gathered dataset whose pictures came with the bytes of an earlier one.

Found in the tables beside the shards, and listed in `duplicates.txt`, which `g3m.dataset(exclude=)` takes.
The digests go through files on the disk: a hundred million of them take the memory of half a million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from struct import Struct
from typing import IO

from g3m.adapters import fsio
from g3m.adapters.disk import make_folder
from g3m.adapters.session import Session
from g3m.core.errors import storage_error
from g3m.core.gathering import GatherPlan, row_key
from g3m.core.outcomes import GOOD
from g3m.core.shard import ShardSummary
from g3m.steps.outcome import read_table
from g3m.steps.pack import shard_path

COPIES = "duplicates.txt"

BUCKET_SAMPLES = 250_000
_MOST_BUCKETS = 256
_RECORD = Struct(">16sII")
"""Half of a sha256, the number of a shard, the place of a row in it: sorted as bytes, the first is first."""


def copy_lines(dataset: GatherPlan, shards: Sequence[ShardSummary], session: Session) -> Iterator[bytes]:
    """`DATASET/KEY` of each later sample that equals an earlier one, byte for byte; of what came, not of what
    was packed.
    """
    samples = sum(shard.samples for shard in shards)
    count = min(samples // BUCKET_SAMPLES + 1, _MOST_BUCKETS)
    folder = session.store.work / "parts"
    make_folder(folder)
    try:
        with ExitStack() as stack:
            buckets = [stack.enter_context(fsio.buffered(fsio.nameless(folder))) for _ in range(count)]
            for number, shard in enumerate(shards):
                session.check_stop()
                _sort_out(dataset, number, shard, buckets, session)
            for bucket in buckets:
                yield b"".join(_lines(dataset, shards, bucket))
    except OSError as error:
        raise storage_error(error, folder) from error


def _sort_out(
    dataset: GatherPlan, number: int, shard: ShardSummary, buckets: Sequence[IO[bytes]], session: Session
) -> None:
    """Put the digests of a shard into the bucket that each belongs to."""
    rows = read_table(shard_path(dataset, shard.name, session), session, ("sha256", "reason"))
    for place, row in enumerate(rows):
        if row["reason"] == GOOD:
            data = bytes.fromhex(row["sha256"][:32])
            bucket = int.from_bytes(data[:2], "big") * len(buckets) >> 16
            buckets[bucket].write(_RECORD.pack(data, number, place))


def _lines(dataset: GatherPlan, shards: Sequence[ShardSummary], bucket: IO[bytes]) -> Iterator[bytes]:
    """The later copies within a bucket, in the order of the dataset."""
    bucket.seek(0)
    data = bucket.read()
    records = sorted(data[at : at + _RECORD.size] for at in range(0, len(data), _RECORD.size))
    before, later = b"", list[tuple[int, int]]()
    for record in records:
        digest, number, place = _RECORD.unpack(record)
        if digest == before:
            later.append((number, place))
        before = digest
    for number, place in sorted(later):
        key = row_key(shards[number].name, place, dataset.gathering.task_rows)
        yield f"{dataset.name}/{key}\n".encode()
