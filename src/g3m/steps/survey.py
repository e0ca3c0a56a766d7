"""survey: the first step of `g3m pack`, where `g3m get` arranges; the second is steps/reshard.py.

The tars of the source are listed once, or read from the index if that names every member. The sample list
then says which sample goes into which shard. That follows from the sizes in the source, before any picture is
made smaller, so that the shards can be made at the same time and do not depend on the number of jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from g3m.adapters.disk import write_document
from g3m.adapters.mapped import mapped
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.tar import list_tar
from g3m.core.dropped import REASON
from g3m.core.errors import (
    BadArchive,
    NoSpace,
    NotRecognised,
    NotVerified,
    StorageError,
    TooManyRejected,
)
from g3m.core.events import Event, Noted, TaskFinished
from g3m.core.index import Index
from g3m.core.members import Member, Refusal
from g3m.core.plan import Plan, Task
from g3m.core.receipt import Arrangement, Rejected, count_reasons, to_json
from g3m.core.reshard import Bundle, Partition, ReshardPlan, SourceShard, groups, judge
from g3m.core.shard import BLOCK_BYTES, Entry, padding
from g3m.core.sniff import container
from g3m.steps.arrange import write_list
from g3m.steps.arrangement import check_rejected, list_path, read_arrangement
from g3m.steps.dropped import read_record
from g3m.steps.reshard import check_unchanged, plan_of

_HEAD_BYTES = 512
_END_LIMIT_BYTES = 2**16
_EARLY_REJECTED = 100_000
"""Where so many samples are unusable it is asked at once whether all are, lest the list fill the memory."""

_WHOLE_HINT = (
    "if something still writes to the source, wait for it; else make that shard again or leave it out",
    "若源文件仍在写入，请等待其完成；否则请重做该分片，或不要包含它",
)

_SORT_HINT = (
    "members of one sample must stand side by side, as after `tar --sort=name`; else see --max-rejected",
    "同一样本的成员必须相邻（可用 `tar --sort=name` 打包）；否则请参阅 --max-rejected",
)

_TAR_HINT = (
    "give uncompressed WebDataset tars; `gunzip` those that are compressed",
    "请提供未压缩的 WebDataset tar；压缩文件请先用 `gunzip` 解压",
)

_SPACE_HINT = (
    "make room or choose another disk with --to, then run the same command again",
    "请清理空间或用 --to 选择其他磁盘，然后重新运行同一命令",
)


def survey(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Write the sample list and its receipt; what stands already is kept."""
    dataset = plan_of(task, plan)
    found = read_arrangement(dataset, session)
    if found is None:
        surveyor = _Surveyor(dataset, session)
        path = list_path(session, dataset.name)
        shards, size_bytes = write_list(path, surveyor.bundles(), session)
        _check_usable(dataset, surveyor, session)
        _check_space(dataset, surveyor, session)
        found = Arrangement(
            identity=dataset.identity,
            sources={},  # the plan has them, wherever they lie now
            shards=shards,
            list_size_bytes=size_bytes,
            rejected=tuple(surveyor.rejected),
            form=dataset.origin,
            notes={"renamed_keys": surveyor.renamed} if surveyor.renamed else {},
        )
        write_document(session.store.receipt(dataset.name, "arrange"), to_json(found))
        text = f"{found.samples} samples in {len(dataset.sources)} shards; {len(shards)} will be made"
        yield Noted(task=task.id, text=text)
    yield TaskFinished(
        task=task.id,
        kind=task.kind,
        dataset=task.dataset,
        rejected=count_reasons(found.rejected),
    )


class _Surveyor:
    """Goes through the source once; notes what is no sample, and how much the shards will take."""

    def __init__(self, dataset: ReshardPlan, session: Session) -> None:
        self._dataset = dataset
        self._session = session
        self._index = _OrderedIndex(Path(dataset.index)) if dataset.index else None
        self.rejected: list[Rejected] = []
        self.samples = 0
        self.estimate_bytes = 0
        self.renamed = 0

    def bundles(self) -> Iterator[tuple[int, Bundle]]:
        """Every sample with the number of its shard."""
        dataset, resize = self._dataset, self._dataset.treatment.resize
        partition = Partition(dataset.shard_samples, dataset.shard_limit_bytes)
        for number, source in enumerate(dataset.sources):
            check_unchanged(source)
            dropped = read_record(Path(source.path.removesuffix(source.name)))
            for group in groups(self._members(source)):
                problem = REASON if group.name in dropped else judge(group)
                if problem:
                    self._reject(group.name, problem, group.detail or source.name)
                    continue
                bundle = partition.place(group, number)
                self.samples += 1
                self.estimate_bytes += bundle.after_resizing(resize.size) if resize else bundle.tar_bytes
                yield partition.number, bundle
            check_unchanged(source)
        self.renamed = partition.renamed

    def _reject(self, name: str, problem: str, detail: str) -> None:
        self.rejected.append((name[:200], problem, detail[:200]))
        if len(self.rejected) == _EARLY_REJECTED:
            _check_usable(self._dataset, self, self._session)

    def _members(self, source: SourceShard) -> Iterable[Member | Refusal]:
        known = _from_index(self._index.entries(source.name), source) if self._index else None
        return known or listed(source)


def listed(source: SourceShard) -> Iterator[Member | Refusal]:
    """The members of a tar in their order; BadArchive, with what to do, if it is no whole tar."""
    path = Path(source.path)
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    kind = container(head)
    if kind != "tar" and head.strip(b"\0"):  # an empty tar is zeros
        words = f"it is a {kind} file" if kind else "it does not begin as one"
        raise BadArchive(f"{path}: not a tar: {words}", hint=_TAR_HINT)
    try:
        yield from list_tar(path)
    except BadArchive as error:
        raise BadArchive(error.message, hint=_WHOLE_HINT) from None


class _OrderedIndex:
    """An index whose shards are asked for in their order, so that one at a time is in memory."""

    def __init__(self, path: Path) -> None:
        try:
            self._index = Index(mapped(path))
        except (OSError, ValueError) as error:
            raise NotVerified(f"{path}: cannot be used: {error}") from None
        self._next = 0

    def entries(self, shard: str) -> list[Entry]:
        """The samples of the next shard, if that is its name."""
        found: list[Entry] = []
        while self._next < len(self._index) and self._index[self._next][0] == shard:
            found.append(self._index[self._next][1])
            self._next += 1
        return found


def _from_index(entries: Sequence[Entry], source: SourceShard) -> list[Member] | None:
    """The members of a shard as its index names them, or None if the shard may hold anything beside them.

    Members that lie side by side from the first byte to the zeros of the end leave no room for others.
    """
    members: list[Member] = []
    end = 0
    for entry in entries:
        for part in sorted(entry.fields, key=lambda part: part.offset):
            if part.offset != end + BLOCK_BYTES:
                return None
            name = f"{entry.key}.{part.extension}"
            members.append(Member(name, "raw", part.offset, part.size_bytes, part.size_bytes))
            end = part.offset + part.size_bytes + len(padding(part.size_bytes))
    rest = source.size_bytes - end
    if not 2 * BLOCK_BYTES <= rest <= _END_LIMIT_BYTES:
        return None
    with MemberReader(Path(source.path)) as reader:
        tail = reader.read(Member("the end", "raw", end, rest, rest))
    return None if tail.strip(b"\0") else members


def _check_usable(dataset: ReshardPlan, surveyor: _Surveyor, session: Session) -> None:
    if not surveyor.samples and not surveyor.rejected:
        raise NotRecognised(f"{dataset.origin}: there is no sample in it", hint=_SORT_HINT)
    try:
        check_rejected(dataset, surveyor.samples, surveyor.rejected, session)
    except TooManyRejected as error:
        raise TooManyRejected(error.message, hint=_SORT_HINT) from None


def _check_space(dataset: ReshardPlan, surveyor: _Surveyor, session: Session) -> None:
    """NoSpace before the first byte of a shard; what stands already of them counts."""
    folder = session.store.root / dataset.recipe.folder
    here = sum(path.stat().st_size for path in folder.glob("*.tar"))
    needed, free = surveyor.estimate_bytes - here, session.store.free().size_bytes
    if needed > free:
        words = f"{folder}: {free} bytes are free, about {needed - free} more are needed"
        raise NoSpace(words, hint=_SPACE_HINT)
