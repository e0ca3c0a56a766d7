"""pack: one range of the sample list becomes one shard, byte for byte the same on every machine.

Nothing is unpacked to disk and no image is decoded: bytes go from their place in the archive into the
shard, their checksum is compared on the way, and what is no image is rejected with its reason.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g3m.adapters.disk import publish, read_document, write_document
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.shards import ShardWriter
from g3m.core.errors import BadArchive
from g3m.core.events import Event, Progressed, TaskFinished
from g3m.core.index import IndexedShard, encode
from g3m.core.plan import DatasetPlan, Plan, Task
from g3m.core.receipt import Rejected, ShardReceipt, count_reasons, shard_receipt, to_json
from g3m.core.samples import Pick, Ref, caption_problem, clean
from g3m.core.shard import Entry, ShardSummary
from g3m.core.sniff import has_jpeg_end, image_kind
from g3m.steps.arrangement import asset_receipts, list_path, read_arrangement
from g3m.steps.unfold import path_of

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
    try:
        size_bytes = shard_path(dataset, shard, session).stat().st_size
    except OSError:
        return None
    return receipt if size_bytes == receipt.shard.size_bytes else None


@dataclass(slots=True)
class Packed:
    """What packing a shard gave, collected sample by sample."""

    entries: list[Entry] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def note(self, name: str) -> None:
        self.notes[name] = self.notes.get(name, 0) + 1


def pack(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Make one shard from its range of the sample list, publish it, write its receipt."""
    dataset = plan.dataset(task.dataset)
    found = read_arrangement(dataset, session)
    if found is None:
        raise BadArchive(f"{task.dataset}: the sample list is gone; run again")
    assets = asset_receipts(dataset, session)
    part = making_path(task, session)
    packed = Packed()
    with ExitStack() as stack:
        readers = {
            source: stack.enter_context(MemberReader(path_of(where, assets, session)))
            for source, where in found.sources.items()
        }
        writer = stack.enter_context(ShardWriter(part))
        lines = stack.enter_context(open(list_path(session, dataset.name), "rb"))
        lines.seek(task.offset_bytes)
        for number in range(task.samples):
            session.check_stop()
            _pack_one(Pick.from_line(lines.readline()), readers, writer, packed)
            if number % TICK_SAMPLES == 0:
                yield Progressed(task=task.id, done_bytes=number, total_bytes=task.samples)
        summary = writer.close()
    yield finish_shard(task, dataset, part, summary, packed, session)


def making_path(task: Task, session: Session) -> Path:
    """A name of its own for a shard being made: never `.tar`, never another run's."""
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    return session.store.part(f"{task.dataset}-{task.shard}.{unique}.making")


def finish_shard(
    task: Task, dataset: DatasetPlan, part: Path, summary: ShardSummary, packed: Packed, session: Session
) -> Event:
    """Publish a whole shard; its receipt is written last."""
    summary = ShardSummary(task.shard, summary.samples, summary.size_bytes, summary.sha256)
    publish(part, shard_path(dataset, task.shard, session))
    write_document(
        index_path(dataset.name, task.shard, session),
        encode([IndexedShard(task.shard, tuple(packed.entries))]),
    )
    receipt = ShardReceipt(
        identity=dataset.identity,
        shard=summary,
        rejected=tuple(packed.rejected),
        notes=dict(sorted(packed.notes.items())),
    )
    write_document(session.store.receipt(dataset.name, task.shard), to_json(receipt))
    return TaskFinished(
        task=task.id,
        kind=task.kind,
        dataset=task.dataset,
        output=f"{dataset.recipe.folder}/{task.shard}",
        size_bytes=summary.size_bytes,
        samples=summary.samples,
        rejected=count_reasons(packed.rejected),
    )


def _pack_one(pick: Pick, readers: dict[str, MemberReader], writer: ShardWriter, packed: Packed) -> None:
    try:
        image = readers[pick.image.source].read(pick.image.member)
        meta = _meta(pick.meta, readers)
        text = _text(pick.text, meta, readers, packed)
    except BadArchive as error:
        packed.rejected.append((pick.key, "damaged", error.message))
        return
    kind = image_kind(image)
    problem = "not_an_image" if kind is None else caption_problem(text)
    if problem:
        packed.rejected.append((pick.key, problem, pick.image.member.name))
        return
    if kind != "jpeg":
        packed.note(f"format_{kind}")
    elif not has_jpeg_end(image):
        packed.note("no_end_marker")
    parts = [("jpg", image), ("json", json.dumps(meta).encode()), ("txt", text.encode())]
    packed.entries.append(writer.add(pick.key, parts))


def _meta(meta: Any, readers: dict[str, MemberReader]) -> dict[str, Any]:
    """The sample's json; a record that is no JSON object becomes an empty one."""
    if not isinstance(meta, Ref):
        return dict(meta)
    try:
        record = json.loads(readers[meta.source].read(meta.member))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _text(text: str | Ref, meta: dict[str, Any], readers: dict[str, MemberReader], packed: Packed) -> str:
    """The sample's text; an empty one means that the json's caption is the text."""
    if isinstance(text, Ref):
        raw = readers[text.source].read(text.member)
        try:
            return raw.decode().strip()
        except UnicodeDecodeError:
            packed.note("caption_not_utf8")
            return raw.decode("utf-8", "replace").strip()
    return text or clean(str(meta.get("caption") or "")).strip()
