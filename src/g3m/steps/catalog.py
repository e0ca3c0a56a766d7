"""catalog: brings the catalog of all samples below a root up to date, one shard at a time.

A shard is read again when it is another one than its rows were made from (its stamp), and each goes in by one
transaction: whatever stops the work, the next run goes on behind the last whole shard. How a shard is read is
in steps/outlines.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from g3m.adapters.catalog import FILE, Catalog, ShardFacts, ShardRow, open_catalog
from g3m.adapters.catalog_file import discard
from g3m.adapters.disk import make_folder
from g3m.adapters.guard import Guard
from g3m.adapters.session import Session
from g3m.core.catalog import Entry
from g3m.core.dropped import BadRecord
from g3m.core.errors import G3MError, NotVerified, StorageError, UnknownCatalog, UnknownDataset
from g3m.core.events import Event, Noted, Progressed, TaskFailed, TaskFinished, TasksAdded, TaskStarted
from g3m.core.receipt import Manifest
from g3m.steps.alike import find_alike
from g3m.steps.dropped import read_record, record_stamp
from g3m.steps.holdings import Source, folders_below, source_at
from g3m.steps.outlines import Decoders, glimpses, outlines

TASK = "catalog/"
_READERS = 4
_CORES_LIMIT = 4

_HINT = (
    "`g3m get NAME` makes a dataset there; `g3m index PATH` makes the index of a folder of tars",
    "`g3m get 名称` 可在其中生成数据集；`g3m index PATH` 可为存放 tar 的目录建立索引",
)
_WAIT_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogued:
    """What the catalog holds now, and what was done: shards read anew, decoded, taken out.

    `failed` has what could not be read (a dataset, or DATASET/SHARD), each with the reason.
    """

    path: Path
    samples: int = 0
    shards: int = 0
    size_bytes: int = 0
    read: int = 0
    decoded: int = 0
    forgotten: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def is_changed(self) -> bool:
        return bool(self.read or self.decoded or self.forgotten)


@dataclass(frozen=True, slots=True)
class _Job:
    source: Source
    number: int
    row: ShardRow | None = None

    @property
    def facts(self) -> ShardFacts:
        return self.source.facts[self.number]

    @property
    def task(self) -> str:
        return f"{TASK}{self.source.name}/{self.facts.name}"


def catalog_path(session: Session) -> Path:
    """Where the catalog of a root lies."""
    return session.store.work / FILE


def catalog(
    names: Iterable[str], session: Session, *, pictures: bool = False, force: bool = False
) -> Generator[Event, None, Catalogued]:
    """Bring the catalog up to date with the datasets of these names, or with all below the root.

    `pictures` also decodes every picture that was not decoded yet, in the session's guard; `force` reads what
    is known again. What is wrong with one dataset or shard is told and left out. UnknownDataset for a name
    that is not below the root, or if nothing is; StorageError if the catalog cannot be written.
    """
    below, wanted = folders_below(session), tuple(names)
    missing = [name for name in wanted if name not in below]
    path = catalog_path(session)
    if missing or not (below or path.exists()):
        words = ", ".join(map(repr, missing)) or "no dataset"
        raise UnknownDataset(f"{words}: not under {session.store.root}", hint=_HINT)
    make_folder(path.parent)
    try:
        return (yield from _brought(path, below, wanted, session, pictures, force))
    except UnknownCatalog as error:
        yield Noted(task=f"{TASK}{FILE}", text=f"{error.message}; it is made anew")
    discard(path)
    # The others were in it, too.
    return (yield from _brought(path, below, (), session, pictures, False))


def _brought(
    path: Path,
    below: dict[str, tuple[Path, Manifest | None]],
    wanted: tuple[str, ...],
    session: Session,
    pictures: bool,
    force: bool,
) -> Generator[Event, None, Catalogued]:
    with open_catalog(path, writing=True) as book, ExitStack() as stack:
        work = _Work(book, session)
        if force and not wanted:
            book.clear()
        gone = set(wanted) if force else {row.name for row in book.datasets()} - below.keys()
        for name in sorted(gone):
            work.forgotten += book.forget(name)
        sources: list[Source] = []
        for name in wanted or below:
            try:
                source = source_at(name, *below[name], session.store.root)
            except (G3MError, ValueError, OSError) as error:
                if isinstance(error, BadRecord):  # nothing may be shown that may have been dropped
                    work.forgotten += book.forget(name)
                yield from work.fail(name, error)
                continue
            if source is None:
                yield Noted(task=f"{TASK}{name}", text="its shards are being exchanged; it is left as it is")
            else:
                stack.callback(source.shelf.reader.close)
                sources.append(source)
        yield from work.captions(sources)
        if any(source.record_stamp for source in sources):  # who dropped may not have told the catalog
            book.scrub()
        if pictures:
            yield from work.pictures(sources)
            if not book.is_alike_current():
                yield from find_alike(book, session)
        return work.summary()


class _Work:
    """What one run does to the catalog."""

    def __init__(self, book: Catalog, session: Session) -> None:
        self._book, self._session = book, session
        self._jobs = session.settings.jobs or min(os.cpu_count() or 1, _CORES_LIMIT)
        self.read = self.decoded = self.forgotten = 0
        self.failed: dict[str, str] = {}

    def summary(self) -> Catalogued:
        """What the catalog holds after all."""
        rows = self._book.shards()
        return Catalogued(
            path=self._book.path,
            samples=sum(row.samples for row in rows),
            shards=len(rows),
            size_bytes=self._book.path.stat().st_size,
            read=self.read,
            decoded=self.decoded,
            forgotten=self.forgotten,
            failed=self.failed,
        )

    def fail(self, name: str, error: Exception) -> Iterator[Event]:
        """A dataset or shard that cannot be read; the others go on."""
        reason = error.message if isinstance(error, G3MError) else str(error)
        self.failed[name] = reason
        code = error.code if isinstance(error, G3MError) else "G3M-E700"
        yield TaskFailed(task=f"{TASK}{name}", kind="catalog", dataset=name, code=code, reason=reason)

    def captions(self, sources: list[Source]) -> Iterator[Event]:
        """Read what is new or changed, take out what is not there any more."""
        jobs: list[_Job] = []
        for source in sources:
            known = {row.name: row for row in self._book.shards(source.name)}
            for name in known.keys() - {facts.name for facts in source.facts}:
                self.forgotten += self._book.forget(source.name, name)
            for number, facts in enumerate(source.facts):
                row = known.get(facts.name)
                if row is None or row.stamp != facts.stamp or row.places != source.samples[number]:
                    jobs.append(_Job(source, number))
                elif (row.number, row.first) != (facts.number, facts.first):
                    self._book.renumber(facts)
        if not jobs:
            return
        with ThreadPoolExecutor(min(_READERS, self._jobs + 1), "g3m-catalog") as pool:
            yield from self._run(jobs, pool, partial(_outlines, self._session), self._put)

    def pictures(self, sources: list[Source]) -> Iterator[Event]:
        """Decode the pictures of the shards in the catalog that were not decoded yet."""
        jobs: list[_Job] = []
        for source in sources:
            stamps = {facts.name: (facts.stamp, number) for number, facts in enumerate(source.facts)}
            left = [row for row in self._book.shards(source.name) if not row.looked and row.name in stamps]
            jobs += [
                _Job(source, stamps[row.name][1], row) for row in left if stamps[row.name][0] == row.stamp
            ]
        if not jobs:
            return
        with ExitStack() as stack:
            guard = self._session.guard or stack.enter_context(Guard(self._jobs))
            decoders = stack.enter_context(ThreadPoolExecutor(self._jobs, "g3m-glimpse"))
            pool = stack.enter_context(ThreadPoolExecutor(1, "g3m-catalog"))
            make = partial(_glimpses, self._session, Decoders(guard, decoders, 2 * self._jobs))
            yield from self._run(jobs, pool, make, self._look)

    def _run(
        self,
        jobs: list[_Job],
        pool: ThreadPoolExecutor,
        make: Callable[[_Job, Callable[[int], None]], list[Entry | None]],
        take: Callable[[_Job, list[Entry | None]], None],
    ) -> Iterator[Event]:
        """Read shards ahead in threads, and write what they give from this one, in order."""
        yield TasksAdded(task=TASK, count=len(jobs))
        events: SimpleQueue[Event] = SimpleQueue()
        waiting: list[tuple[_Job, Future[list[Entry | None]]]] = []
        left = iter(jobs)
        try:
            while True:
                while len(waiting) < _READERS + 1 and (job := next(left, None)) is not None:
                    waiting.append((job, pool.submit(_told, job, make, events)))
                yield from _drained(events)
                if not waiting:
                    return
                job, future = waiting[0]
                self._session.check_stop()
                if not future.done():
                    try:
                        yield events.get(timeout=_WAIT_S)
                    except Empty:
                        continue
                    continue
                waiting.pop(0)
                yield from self._finish(job, future, take)
        finally:
            for _, future in waiting:
                future.cancel()
            pool.shutdown(wait=True, cancel_futures=True)

    def _finish(
        self,
        job: _Job,
        future: Future[list[Entry | None]],
        take: Callable[[_Job, list[Entry | None]], None],
    ) -> Iterator[Event]:
        try:
            entries = future.result()
        except (NotVerified, StorageError) as error:
            if job.row is None:  # what is known of it is of another shard
                self._book.forget(job.source.name, job.facts.name)
            yield from self.fail(f"{job.source.name}/{job.facts.name}", error)
            return
        take(job, entries)
        yield TaskFinished(
            task=job.task,
            kind="catalog",
            dataset=job.source.name,
            output=job.facts.name,
            size_bytes=job.source.sizes[job.number],
            samples=sum(entry is not None for entry in entries),
        )

    def _put(self, job: _Job, entries: list[Entry | None]) -> None:
        self._book.put(job.facts, entries)
        self.read += 1
        source = job.source
        if record_stamp(source.folder) != source.record_stamp:  # dropped while the shard was read
            self._book.drop(source.name, read_record(source.folder).drops)

    def _look(self, job: _Job, entries: list[Entry | None]) -> None:
        # What was changed meanwhile is decoded by the next run.
        if job.row is not None and self._book.looked(job.row.id, job.row.stamp, entries):
            self.decoded += 1


def _told(
    job: _Job, make: Callable[[_Job, Callable[[int], None]], list[Entry | None]], events: SimpleQueue[Any]
) -> list[Entry | None]:
    total_bytes = job.source.sizes[job.number]
    events.put(TaskStarted(task=job.task, kind="catalog", dataset=job.source.name, total_bytes=total_bytes))

    def tick(done_bytes: int) -> None:
        events.put(Progressed(task=job.task, done_bytes=done_bytes, total_bytes=total_bytes))

    return make(job, tick)


def _outlines(session: Session, job: _Job, tick: Callable[[int], None]) -> list[Entry | None]:
    return outlines(
        job.source.shelf, job.facts.first, job.source.samples[job.number], _stopping(session, tick)
    )


def _glimpses(
    session: Session, decoders: Decoders, job: _Job, tick: Callable[[int], None]
) -> list[Entry | None]:
    count = job.source.samples[job.number]
    return glimpses(job.source.shelf, job.facts.first, count, _stopping(session, tick), decoders)


def _stopping(session: Session, tick: Callable[[int], None]) -> Callable[[int], None]:
    def told(done_bytes: int) -> None:
        session.check_stop()
        tick(done_bytes)

    return told


def _drained(events: SimpleQueue[Event]) -> Iterator[Event]:
    while True:
        try:
            yield events.get_nowait()
        except Empty:
            return
