"""repack: the second step of `g3m pack`, where `g3m get` packs: a range of the sample list becomes one shard.

Members are copied as they are and in their order; the picture goes through steps/treat.py. Receipts,
publishing and the rules of a shard are those of `get`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.shards import ShardWriter
from g3m.core.dropped import REASON
from g3m.core.errors import BadArchive, StorageError
from g3m.core.events import Event, Progressed
from g3m.core.members import Member
from g3m.core.plan import Plan, Task
from g3m.core.reshard import Bundle, ReshardPlan, SourceShard
from g3m.core.shard import Entry, Field
from g3m.core.sniff import image_kind
from g3m.steps.arrangement import read_arrangement, shard_lines
from g3m.steps.dropped import record_of
from g3m.steps.pack import TICK_SAMPLES, Packed, finish_shard, making_path
from g3m.steps.treat import Treater

Parts = list[tuple[str, bytes | memoryview]]

_CHANGED_HINT = (
    "the source must not change while it is packed: wait until nothing writes to it, then run again",
    "打包期间源文件不得变化：请等写入结束后重新运行",
)


def repack(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Make one shard from its range of the sample list, publish it, write its receipt."""
    dataset = plan_of(task, plan)
    found = read_arrangement(dataset, session)
    if found is None:
        raise BadArchive(f"{task.dataset}: the sample list is gone; run again")
    part = making_path(task, session)
    packed, treater = Packed(), Treater(dataset.treatment, session.guard)
    dropped = record_of(dataset, session)
    with ExitStack() as stack:
        writer = stack.enter_context(ShardWriter(part))
        sources = stack.enter_context(_Sources(dataset))
        lines = shard_lines(dataset.name, found, task.shard, session)
        for number in range(task.samples):
            session.check_stop()
            bundle = Bundle.from_line(lines.readline())
            if bundle.key in dropped:
                packed.rejected.append((bundle.key, REASON, ""))
            else:
                _repack_one(bundle, sources, treater, writer, packed)
            if number % TICK_SAMPLES == 0:
                yield Progressed(task=task.id, done_bytes=number, total_bytes=task.samples)
        sources.close()
        summary = writer.close()
    yield finish_shard(task, dataset, part, summary, packed, session)


def _repack_one(
    bundle: Bundle, sources: _Sources, treater: Treater, writer: ShardWriter, packed: Packed
) -> None:
    parts: Parts = [(extension, sources.read(bundle, at, size)) for extension, at, size in bundle.members]
    extension, data = bundle.members[bundle.image][0], bytes(parts[bundle.image][1])
    image = treater.treat(data)
    if image.reason:
        packed.rejected.append((bundle.key, image.reason, f"{bundle.key}.{extension}"))
        return
    if image.found:
        packed.find(bundle.key, image.found, image.fixed)
    parts[bundle.image] = (_extension_of(extension, data, image.data, parts), image.data)
    entry = writer.add(bundle.key, parts)
    fields = [Field("jpg", entry.fields[bundle.image].offset, entry.fields[bundle.image].size_bytes)]
    fields += (field for field in entry.fields if field.extension in ("json", "txt"))
    packed.entries.append(Entry(bundle.key, tuple(fields)))


def _extension_of(extension: str, before: bytes, after: bytes | memoryview, parts: Parts) -> str:
    """The picture's extension: as it was, but `jpg` where another format was encoded anew as JPEG."""
    plain, _, last = extension.rpartition(".")
    became_jpeg = image_kind(bytes(after[:32])) == "jpeg" != image_kind(before[:32])
    renamed = f"{plain}.jpg" if plain else "jpg"
    if not became_jpeg or last in ("jpg", "jpeg") or any(renamed == other for other, _ in parts):
        return extension
    return renamed


class _Sources:
    """Reads members of the source, one tar open at a time; says so if a tar is not what was surveyed."""

    def __init__(self, dataset: ReshardPlan) -> None:
        self._sources = dataset.sources
        self._open: tuple[int, MemberReader] | None = None

    def __enter__(self) -> _Sources:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def read(self, bundle: Bundle, offset: int, size_bytes: int) -> bytes:
        """The bytes of a member of a sample."""
        if self._open is None or self._open[0] != bundle.source:
            self.close()
            source = self._sources[bundle.source]
            check_unchanged(source)
            self._open = (bundle.source, MemberReader(Path(source.path)))
        return self._open[1].read(Member(bundle.key, "raw", offset, size_bytes, size_bytes))

    def close(self) -> None:
        """Close the tar that is open; what was read from it counts only if it has not changed meanwhile."""
        if self._open is not None:
            number, reader = self._open
            self._open = None
            reader.close()
            check_unchanged(self._sources[number])


def plan_of(task: Task, plan: Plan) -> ReshardPlan:
    """The plan of the task's dataset."""
    dataset = plan.dataset(task.dataset)
    if not isinstance(dataset, ReshardPlan):
        raise TypeError(f"{task.dataset} is not packed anew")
    return dataset


def check_unchanged(source: SourceShard) -> None:
    """BadArchive if a tar of the source is not what it was when the plan was made."""
    try:
        state = os.stat(source.path)
    except OSError as error:
        raise StorageError(f"{source.path}: cannot be read: {error.strerror}") from error
    if (state.st_size, state.st_mtime_ns) != (source.size_bytes, source.changed_ns):
        raise BadArchive(f"{source.path}: has changed since it was looked at", hint=_CHANGED_HINT)
