"""retry: plans the tasks of `--retry-failed`: the rows of a published dataset that may still succeed.

Shards that stand are never touched: a retry appends. A row counts as the last retry left it that had it;
a shard that was made anew since may have rows that no retry had.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from g3m.adapters.disk import remove, write_document
from g3m.adapters.session import Session
from g3m.core.errors import ContentError, TooManyRejected
from g3m.core.gathering import GatherPlan, Row, shard_name
from g3m.core.outcomes import may_succeed
from g3m.core.receipt import ShardReceipt, latest_reasons
from g3m.steps.again import AgainShard, again_shards, line_of, rows_again, write_again
from g3m.steps.arrangement import check_rejected, read_arrangement
from g3m.steps.dropped import record_of
from g3m.steps.outcome import EXPECTED, kept_name, read_table
from g3m.steps.pack import object_name, read_shard_receipt, shard_path


def plan_again(dataset: GatherPlan, session: Session) -> int:
    """Plan one more retry of a published dataset; how many rows it has. Nothing is planned if there are none.

    ContentError if the sample list is gone, without which nobody knows which rows there are.
    """
    found = read_arrangement(dataset, session)
    if found is None:
        raise ContentError(f"{dataset.name}: the sample list is gone; run again without --retry-failed first")
    before = again_shards(dataset.name, dataset.identity, session)
    retries = {shard.name for shard in before}
    first = [shard.name for shard in found.shards if shard.name not in retries]
    file = f"{dataset.name}.again-{len({shard.file for shard in before}) + 1}.jsonl"
    cutter = _Cutter(dataset, session, file, len(found.shards))
    write_document(session.store.plan(file), cutter.lines(first, before))
    if not cutter.shards:
        remove(session.store.plan(file))
        return 0
    plan = write_again(dataset.name, dataset.identity, (*before, *cutter.shards), session)
    if session.shelf is not None:
        session.shelf.place([object_name(path, session) for path in (session.store.plan(file), plan)])
    return sum(shard.rows for shard in cutter.shards)


def is_refused(dataset: GatherPlan, session: Session) -> bool:
    """Whether all tasks are done, and too much was left out for the dataset to be published."""
    found = read_arrangement(dataset, session)
    receipts: list[ShardReceipt] = []
    for shard in found.shards if found else ():
        receipt = read_shard_receipt(dataset, shard.name, session)
        if receipt is None:
            return False
        receipts.append(receipt)
    if not receipts:
        return False
    samples = sum(receipt.shard.samples for receipt in receipts)
    try:
        check_rejected(dataset, samples, (), session, latest_reasons(receipts))
    except TooManyRejected:
        return True
    return False


@dataclass(slots=True)
class _Rows:
    """Numbers of rows, a bit for each: lists have a hundred million."""

    bits: bytearray = field(default_factory=bytearray)

    def add(self, number: int) -> None:
        """One more."""
        place, bit = divmod(number, 8)
        if place >= len(self.bits):
            self.bits.extend(bytes(place + 1 - len(self.bits)))
        self.bits[place] |= 1 << bit

    def __contains__(self, number: int) -> bool:
        place, bit = divmod(number, 8)
        return place < len(self.bits) and bool(self.bits[place] >> bit & 1)


@dataclass(slots=True)
class _Cutter:
    """Rows as lines of one file, and the tasks that they make."""

    dataset: GatherPlan
    session: Session
    file: str
    number: int
    shards: list[AgainShard] = field(default_factory=list)

    def lines(self, first: Sequence[str], retries: Sequence[AgainShard]) -> Iterator[bytes]:
        """The lines of every row that may succeed, a task at a time."""
        pending: list[tuple[bytes, str]] = []
        offset = 0
        dropped = record_of(self.dataset, self.session)
        for row in self._last_of_each(first, retries):
            self.session.check_stop()
            if row["reason"] and may_succeed(row["reason"]) and row["key"] not in dropped:
                pending.append((self._line(row, row["reason"]), row["reason"]))
            if len(pending) == self.dataset.gathering.task_rows:
                yield (data := self._cut(pending, offset))
                offset += len(data)
                pending = []
        if pending:
            yield self._cut(pending, offset)

    def _last_of_each(
        self, first: Sequence[str], retries: Sequence[AgainShard]
    ) -> Iterator[Mapping[str, Any]]:
        """What was last said of each row, the last retry at the beginning; shards without hope are left out.

        A shard without a receipt is made anew first; the next retry knows what became of its rows.
        """
        later, order = _Rows(), {shard.file: place for place, shard in enumerate(retries)}
        for shard in sorted(retries, key=lambda one: order[one.file], reverse=True):
            if self._reasons(shard.name) is None:
                for planned in rows_again(shard, self.session):
                    later.add(planned.number)
                continue
            for row in self._table(shard.name):
                if row["row"] not in later:
                    later.add(row["row"])
                    yield row
        for name in first:
            if any(map(may_succeed, self._reasons(name) or ())):
                yield from (row for row in self._table(name) if row["row"] not in later)

    def _reasons(self, shard: str) -> Mapping[str, int] | None:
        receipt = read_shard_receipt(self.dataset, shard, self.session)
        return None if receipt is None else receipt.reasons

    def _table(self, shard: str) -> Iterator[Mapping[str, Any]]:
        return read_table(shard_path(self.dataset, shard, self.session), self.session)

    def _line(self, row: Mapping[str, Any], reason: str) -> bytes:
        extra = {name: row.get(kept_name(name)) for name in self.dataset.gathering.columns.keep}
        failed = Row(row["row"], row["url"], row["caption"] or "", row.get(EXPECTED) or "", extra)
        return line_of(failed, reason)

    def _cut(self, pending: list[tuple[bytes, str]], offset: int) -> bytes:
        data = b"".join(line for line, _ in pending)
        self.shards.append(
            AgainShard(
                name=shard_name(self.number),
                file=self.file,
                offset_bytes=offset,
                size_bytes=len(data),
                check=zlib.crc32(data),
                rows=len(pending),
                reasons=dict(sorted(Counter(reason for _, reason in pending).items())),
            )
        )
        self.number += 1
        return data
