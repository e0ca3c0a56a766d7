"""again: rows that failed and may still succeed are tasks of their own, behind those of the list.

    .g3m/plan/NAME.again-1.jsonl    the rows of the first retry, with their numbers
    .g3m/plan/NAME.again.json       which tasks they are; written last, so a retry is planned or it is not

Here: what was planned. Who plans a retry is steps/retry.py.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from g3m.adapters.disk import read_document, write_document
from g3m.adapters.session import Session
from g3m.core.errors import ContentError
from g3m.core.gathering import GatherPlan, Row
from g3m.core.receipt import PlannedShard
from g3m.core.seal import sealed, unsealed

FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainShard:
    """A task of a retry: its lines in the rows file, and what had been said of its rows before."""

    name: str
    file: str
    offset_bytes: int
    size_bytes: int
    check: int
    rows: int
    reasons: Mapping[str, int]

    @property
    def planned(self) -> PlannedShard:
        """It among the shards of an arrangement."""
        return PlannedShard(name=self.name, offset_bytes=0, samples=self.rows)


def again_shards(name: str, identity: str, session: Session) -> tuple[AgainShard, ...]:
    """The tasks of all retries of a dataset, in order."""
    text = read_document(_path(name, session))
    return _parse(text, identity) if text else ()


def write_again(name: str, identity: str, shards: Sequence[AgainShard], session: Session) -> Path:
    """Record the tasks of all retries; where."""
    body = {"format": FORMAT, "identity": identity, "shards": [asdict(shard) for shard in shards]}
    write_document(_path(name, session), sealed(body))
    return _path(name, session)


@lru_cache(maxsize=2)  # every task reads it
def _parse(text: str, identity: str) -> tuple[AgainShard, ...]:
    try:
        body = unsealed(text)
        if body["format"] != FORMAT or body["identity"] != identity:
            return ()
        return tuple(AgainShard(**shard) for shard in body["shards"])
    except (ValueError, KeyError, TypeError):
        return ()


def rows_again(shard: AgainShard, session: Session) -> Iterator[Row]:
    """The rows of a retried task; ContentError if they are not those that were planned."""
    return map(row_of, _lines_of(shard, session))


def _lines_of(shard: AgainShard, session: Session) -> list[bytes]:
    path = session.store.plan(shard.file)
    try:
        with open(path, "rb") as file:
            file.seek(shard.offset_bytes)
            data = file.read(shard.size_bytes)
    except OSError as error:
        raise ContentError(f"{path}: cannot be read: {error.strerror or error}") from error
    if zlib.crc32(data) != shard.check:
        raise ContentError(f"{path}: is not what was planned")
    return data.splitlines()


def line_of(row: Row, reason: str = "") -> bytes:
    """A row as a line of its own, with the reason for which it failed before."""
    fields = [row.number, row.url, row.caption, row.sha256, dict(row.extra), reason]
    return json.dumps(fields).encode() + b"\n"


def row_of(line: bytes) -> Row:
    """The row of a line."""
    return Row(*json.loads(line)[:5])


def settled_rows(shard: str, dataset: GatherPlan, session: Session) -> dict[int, str]:
    """The rows that a later retry has taken over from a shard, and the reason that this shard told of each.

    Made anew, the shard must not ask for them once more: then they would be there twice.
    """
    shards = again_shards(dataset.name, dataset.identity, session)
    names = [one.name for one in shards]
    settled: dict[int, str] = {}
    for one in shards[names.index(shard) + 1 if shard in names else 0 :]:
        for line in _lines_of(one, session):
            number, *_, reason = json.loads(line)
            settled.setdefault(number, reason)
    return settled


def _path(name: str, session: Session) -> Path:
    return session.store.plan(f"{name}.again.json")
