"""pack: one range of the sample list becomes one shard, byte for byte the same on every machine.

Nothing is unpacked to disk: bytes go from their place in the archive into the shard, their checksum is
compared on the way, and steps/treat.py says what is kept, rejected or fixed. What was found in a sample that
is packed goes into the receipt.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g3m.adapters.disk import in_the_making, publish, read_document, remove, write_document
from g3m.adapters.grown import GrownShard, Moved
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.shards import ShardWriter
from g3m.core.dropped import REASON
from g3m.core.errors import BadArchive, StorageError
from g3m.core.events import Event, Progressed, TaskFinished
from g3m.core.indexing import IndexedShard, encode
from g3m.core.plan import DatasetPlan, Plan, Task
from g3m.core.receipt import Arrangement, Found, Rejected, ShardReceipt, shard_receipt, to_json
from g3m.core.samples import Caption, Pick, Ref, treat_caption
from g3m.core.shard import Entry, ShardSummary
from g3m.core.treatment import CAPTION_BOUND_BYTES, Treatment
from g3m.steps.arrangement import asset_receipts, read_arrangement, shard_lines
from g3m.steps.dropped import record_of
from g3m.steps.streamed import check_unused, grown_shard, release, shard_picks, source_path
from g3m.steps.treat import Treater

TICK_SAMPLES = 64


def shard_path(dataset: DatasetPlan, shard: str, session: Session) -> Path:
    """Where a finished shard stands."""
    return session.store.root / dataset.recipe.folder / shard


def index_path(dataset: str, shard: str, session: Session) -> Path:
    """Where the index of one shard waits for the dataset's."""
    return session.store.receipt(dataset, shard).with_suffix(".index")


def read_shard_receipt(dataset: DatasetPlan, shard: str, session: Session) -> ShardReceipt | None:
    """The receipt of a shard if it belongs to this plan and the shard stands there with its size."""
    text = read_document(session.store.receipt(dataset.name, shard))
    receipt = None if text is None else shard_receipt(text)
    if receipt is None or receipt.identity != dataset.identity:
        return None
    size_bytes = size_of(shard_path(dataset, shard, session), session)
    return receipt if size_bytes == receipt.shard.size_bytes else None


def size_of(path: Path, session: Session) -> int | None:
    """The size of a dataset's file where it stands, below the root or in a bucket; None if it does not."""
    if session.shelf is not None:
        return session.shelf.size_bytes(object_name(path, session))
    try:
        return path.stat().st_size
    except OSError:
        return None


def object_name(path: Path, session: Session) -> str:
    """The name that a file of the root has in a bucket."""
    return path.relative_to(session.store.root).as_posix()


@dataclass(frozen=True, slots=True, kw_only=True)
class OfRows:
    """What a shard of gathered rows has beside samples: its index, the counts of its receipt, and the files
    that stand beside it: where each was made, and its name.
    """

    index: bytes
    reasons: Mapping[str, int]
    again: Mapping[str, int]
    found: Mapping[str, Mapping[str, int]]
    beside: Mapping[Path, str]


@dataclass(slots=True)
class Packed:
    """What packing a shard gave, collected sample by sample."""

    entries: list[Entry] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    findings: list[Found] = field(default_factory=list)
    rows: OfRows | None = None
    """What there is to say of a shard of gathered rows."""

    def note(self, name: str) -> None:
        self.notes[name] = self.notes.get(name, 0) + 1

    def find(self, key: str, found: tuple[str, ...], fixed: tuple[str, ...]) -> None:
        """Keep what was found in a sample that is packed, and which of it is not in the shard any more."""
        self.findings += ((key, name, "fixed" if name in fixed else "kept") for name in found)


def pack(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Make one shard from its range of the sample list, publish it, write its receipt."""
    dataset = plan.dataset(task.dataset)
    found = read_arrangement(dataset, session)
    if found is None:
        raise BadArchive(f"{task.dataset}: the sample list is gone; run again")
    check_unused(dataset, task.shard, session)
    grown = grown_shard(dataset, found, task.shard, session)
    if grown is not None:
        # A picture that is left out or changed moves all that follow: then the shard is copied.
        with suppress(Moved):
            packed, summary = yield from _fill(task, dataset, found, GrownShard(grown), session)
            # Published last: if a kill came between, the pictures would be where nobody looks for them.
            final = shard_path(dataset, task.shard, session)
            remove(final)
            done = _write_receipt(task, dataset, summary, packed, session)
            publish(grown, final)
            yield done
            return
    part = making_path(task, session)
    packed, summary = yield from _fill(task, dataset, found, ShardWriter(part), session)
    yield finish_shard(task, dataset, part, summary, packed, session)
    release(dataset, task, session)


def _fill(
    task: Task, dataset: DatasetPlan, found: Arrangement, writer: ShardWriter | GrownShard, session: Session
) -> Generator[Event, None, tuple[Packed, ShardSummary]]:
    """Put a range of the sample list into a shard."""
    assets = asset_receipts(dataset, session)
    packed, treater = Packed(), Treater(dataset.treatment, session.guard)
    dropped = record_of(dataset, session)
    with ExitStack() as stack:
        stack.enter_context(writer)
        readers = {
            source: stack.enter_context(MemberReader(source_path(where, task, assets, session)))
            for source, where in found.sources.items()
        }
        lines = shard_lines(dataset.name, found, task.shard, session)
        for number, pick in enumerate(shard_picks(lines, task.samples, found.sources)):
            session.check_stop()
            if pick.key in dropped:
                packed.rejected.append((pick.key, REASON, ""))
            else:
                _pack_one(pick, readers, treater, writer, packed)
            if number % TICK_SAMPLES == 0:
                yield Progressed(task=task.id, done_bytes=number, total_bytes=task.samples)
        if packed.rejected and isinstance(writer, GrownShard):
            raise Moved  # the end of the archive would lie on pictures that the next try after a kill judges
        return packed, writer.close()


def making_path(task: Task, session: Session) -> Path:
    """A name of its own for a shard being made: never `.tar`, never another run's."""
    return in_the_making(session.store.part(f"{task.dataset}-{task.shard}"))


def finish_shard(
    task: Task, dataset: DatasetPlan, part: Path, summary: ShardSummary, packed: Packed, session: Session
) -> Event:
    """Publish a whole shard; its receipt is written last."""
    names = {part: task.shard, **(packed.rows.beside if packed.rows else {})}
    files = {made: shard_path(dataset, name, session) for made, name in names.items()}
    if session.shelf is None:
        with _given_up(files):
            for made, final in files.items():
                publish(made, final)
        return _write_receipt(task, dataset, summary, packed, session)
    receipt, index = _make_receipt(task, dataset, summary, packed, session)
    where = session.store.receipt(dataset.name, task.shard)
    placed = {object_name(final, session): made for made, final in files.items()}
    placed[object_name(index, session)] = index
    with _given_up(files):
        text = session.shelf.deliver(placed, object_name(where, session), to_json(receipt))
    counting = shard_receipt(text) or receipt
    if counting != receipt:
        remove(index)  # another machine was first: its own is brought when it is needed
    write_document(where, text)
    for made in files:
        remove(made)
    return _finished(task, dataset, counting)


@contextmanager
def _given_up(files: Iterable[Path]) -> Iterator[None]:
    """Take these away if it fails: the next try makes its own, and a worker's disk would fill up."""
    try:
        yield
    except BaseException:
        for made in files:
            with suppress(StorageError):
                remove(made)
        raise


def _write_receipt(
    task: Task, dataset: DatasetPlan, summary: ShardSummary, packed: Packed, session: Session
) -> Event:
    """Write what is told of a shard, the receipt last."""
    receipt, _ = _make_receipt(task, dataset, summary, packed, session)
    write_document(session.store.receipt(dataset.name, task.shard), to_json(receipt))
    return _finished(task, dataset, receipt)


def _make_receipt(
    task: Task, dataset: DatasetPlan, summary: ShardSummary, packed: Packed, session: Session
) -> tuple[ShardReceipt, Path]:
    """The receipt of a shard, not written yet, and where its index is."""
    rows, path = packed.rows, index_path(dataset.name, task.shard, session)
    index = rows.index if rows else encode([IndexedShard(task.shard, tuple(packed.entries))])
    write_document(path, index)
    receipt = ShardReceipt(
        identity=dataset.identity,
        shard=ShardSummary(task.shard, summary.samples, summary.size_bytes, summary.sha256),
        rejected=tuple(packed.rejected),
        notes=dict(sorted(packed.notes.items())),
        findings=tuple(packed.findings),
        reasons=rows.reasons if rows else {},
        again=rows.again if rows else {},
        found=rows.found if rows else {},
    )
    return receipt, path


def _finished(task: Task, dataset: DatasetPlan, receipt: ShardReceipt) -> Event:
    return TaskFinished(
        task=task.id,
        kind=task.kind,
        dataset=task.dataset,
        output=f"{dataset.recipe.folder}/{task.shard}",
        size_bytes=receipt.shard.size_bytes,
        samples=receipt.shard.samples,
        rejected=receipt.left_out,
    )


def _pack_one(
    pick: Pick,
    readers: Mapping[str, MemberReader],
    treater: Treater,
    writer: ShardWriter | GrownShard,
    packed: Packed,
) -> None:
    try:
        image = treater.treat(readers[pick.image.source].view(pick.image.member))
        meta = _meta(pick.meta, readers)
        caption = _caption(pick.text, meta, readers, treater.treatment)
    except BadArchive as error:
        packed.rejected.append((pick.key, "damaged", error.message))
        return
    reason = image.reason or caption.reason
    if reason:
        packed.rejected.append((pick.key, reason, pick.image.member.name))
        return
    if image.found or caption.found:
        packed.find(pick.key, (*image.found, *caption.found), (*image.fixed, *caption.fixed))
    parts = [("jpg", image.data), ("json", json.dumps(meta).encode()), ("txt", caption.data)]
    packed.entries.append(writer.add(pick.key, parts))


def _meta(meta: Any, readers: Mapping[str, MemberReader]) -> dict[str, Any]:
    """The sample's json; a record that is no JSON object becomes an empty one."""
    if not isinstance(meta, Ref):
        return dict(meta)
    try:
        record = json.loads(readers[meta.source].read(meta.member))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _caption(
    text: str | Ref, meta: Mapping[str, Any], readers: Mapping[str, MemberReader], treatment: Treatment
) -> Caption:
    """The sample's text; an empty one means that the json's caption is the text."""
    if not isinstance(text, Ref):
        return treat_caption(text or str(meta.get("caption") or "").strip(), treatment)
    if text.member.size_bytes > CAPTION_BOUND_BYTES:
        return Caption(b"", reason="caption_too_long")
    raw = readers[text.source].read(text.member)
    return treat_caption(raw.decode("utf-8", "surrogateescape").strip(), treatment)
