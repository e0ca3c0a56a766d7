"""lay_out: the first step of `g3m gather`, where `g3m get` arranges: the rows of all lists become tasks.

The sample list has one line a task, with the places of its rows in the lists. Lists of text are gone through
once, those of Parquet are only asked for their number of rows, so that planning takes the memory of one task.
What cannot be read in its middle (gzip, members of archives, arrays side by side) is written once as a plain
list into `.g3m/plan/NAME.lists`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

from g3m.adapters.disk import remove, replacing, write_document
from g3m.adapters.lists import changed, cut, look, read_span, stamp_of
from g3m.adapters.session import Session
from g3m.adapters.tables import count_rows, parquet_columns, read_rows
from g3m.core.errors import BadArchive, NotRecognised
from g3m.core.events import Event, Noted, Progressed, TaskFinished
from g3m.core.gathering import READER, Batch, GatherPlan, ListSource, Row, Span, shard_name
from g3m.core.lists import as_row, check_columns, form_of
from g3m.core.plan import Plan, Task, asset_id
from g3m.core.receipt import Arrangement, PlannedShard, to_json
from g3m.steps.arrangement import list_path, read_arrangement
from g3m.steps.find import located, read_receipt
from g3m.steps.unpack import must_unpack, spool_folder, spool_of, unpack

TICK_TASKS = 50

_EMPTY_HINT = (
    "look at the lists: a header alone is no row",
    "请检查列表：只有表头不算数据行",
)


def lay_out(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Write the sample list and its receipt; what stands already is kept, and no list read again."""
    dataset = plan_of(task, plan)
    found = read_arrangement(dataset, session)
    if found is None or not _spools_present(found, dataset, session):
        for path in spool_folder(dataset.name, session).glob("*"):
            remove(path)
        planner = _Planner(dataset, session)
        shards, size_bytes = yield from _write(task, list_path(session, dataset.name), planner)
        if not shards:
            names = ", ".join(source.name for source in dataset.sources)
            raise NotRecognised(f"{dataset.name}: the lists hold no rows: {names}", hint=_EMPTY_HINT)
        found = Arrangement(
            identity=dataset.identity,
            sources=planner.spooled,
            shards=shards,
            list_size_bytes=size_bytes,
            rejected=(),
            form=READER,
        )
        write_document(session.store.receipt(dataset.name, "arrange"), to_json(found))
        text = f"{found.samples} rows in {len(dataset.sources)} lists; {len(shards)} tasks"
        yield Noted(task=task.id, text=text)
    yield TaskFinished(task=task.id, kind=task.kind, dataset=task.dataset)


def plan_of(task: Task, plan: Plan) -> GatherPlan:
    """The plan of the task's dataset."""
    dataset = plan.dataset(task.dataset)
    if not isinstance(dataset, GatherPlan):
        raise TypeError(f"{task.dataset} is not gathered from lists")
    return dataset


def batch_of(task: Task, dataset: GatherPlan, session: Session) -> Batch:
    """The rows of a task, as the sample list has them."""
    try:
        with open(list_path(session, dataset.name), "rb") as lines:
            lines.seek(task.offset_bytes)
            return Batch.from_line(lines.readline())
    except (OSError, ValueError) as error:
        raise BadArchive(f"{dataset.name}: the sample list is gone; run again") from error


def read_batch(dataset: GatherPlan, batch: Batch, session: Session) -> Iterator[Row]:
    """The rows of a task in their order; BadArchive if a list is not what it was when it was planned."""
    number = batch.first
    for span in batch.spans:
        yield from _read(dataset, span, number, session)
        number += span.rows


def source_of(dataset: GatherPlan, number: int, session: Session) -> Path:
    """Where a list lies: what was written for it, a fetched asset, or the user's own file."""
    return spool_of(dataset.name, number, session) or _origin(dataset, number, session)


def _origin(dataset: GatherPlan, number: int, session: Session) -> Path:
    source = dataset.sources[number]
    if not source.asset:
        return Path(source.path)
    asset = next(asset for asset in dataset.assets if asset_id(asset) == source.asset)
    receipt = read_receipt(session, asset)
    if receipt is None:
        raise BadArchive(f"{asset.name}: its receipt is gone; run again")
    return located(session, asset, receipt)


def _read(dataset: GatherPlan, span: Span, first: int, session: Session) -> Iterator[Row]:
    source, columns = dataset.sources[span.source], dataset.gathering.columns
    spool = spool_of(dataset.name, span.source, session)
    path = spool or _origin(dataset, span.source, session)
    name = spool.name if spool else source.name
    if form_of(name) != "parquet":
        yield from read_span(path, look(path, name, columns), columns, span, first)
        return
    if source.stamp and not spool and stamp_of(path) != (source.size_bytes, source.stamp):
        raise changed(path)
    for number, values in enumerate(read_rows(path, _wanted(dataset), span.start, span.end), first):
        yield as_row(values, columns, number)


def _wanted(dataset: GatherPlan) -> list[str]:
    """The columns that are read, each once."""
    columns = dataset.gathering.columns
    return [*dict.fromkeys(n for n in (columns.url, columns.caption, columns.sha256, *columns.keep) if n)]


class _Planner:
    """Goes through the lists in order, and gathers their spans into tasks."""

    def __init__(self, dataset: GatherPlan, session: Session) -> None:
        self._dataset, self._session = dataset, session
        self._rows = dataset.gathering.task_rows
        self.spooled: dict[str, str] = {}
        self.total_bytes = sum(source.size_bytes for source in dataset.sources)
        self._before_bytes = self.done_bytes = 0

    def batches(self) -> Iterator[Batch]:
        """All rows of all lists, so many a task; the last has what is left."""
        batch = Batch(0, ())
        for number, source in enumerate(self._dataset.sources):
            for span in self._spans(number, source, self._rows - batch.rows):
                self._session.check_stop()
                self.done_bytes = self._before_bytes + min(span.end, source.size_bytes)
                batch = replace(batch, spans=(*batch.spans, span))
                if batch.rows == self._rows:
                    yield batch
                    batch = Batch(batch.first + batch.rows, ())
            self._before_bytes += source.size_bytes
        if batch.rows:
            yield batch

    def _spans(self, number: int, source: ListSource, room: int) -> Iterator[Span]:
        name, path = source.name, _origin(self._dataset, number, self._session)
        self._check_unchanged(source, path)
        if must_unpack(path, name):
            path = unpack(path, name, self._dataset.name, number, self._session)
            name, self.spooled[str(number)] = path.name, f"spool:{path.name}"
        columns = self._dataset.gathering.columns
        if form_of(name) == "parquet":
            check_columns(columns, parquet_columns(path), str(path))
            yield from _table_spans(number, count_rows(path), room, self._rows)
        else:
            layout = look(path, name, columns)
            yield from cut(path, layout, number, room, self._rows)
        self._check_unchanged(source, path if source.asset else Path(source.path))

    @staticmethod
    def _check_unchanged(source: ListSource, path: Path) -> None:
        if source.stamp and not source.asset and stamp_of(path) != (source.size_bytes, source.stamp):
            raise changed(path)


def _table_spans(number: int, rows: int, room: int, task_rows: int) -> Iterator[Span]:
    start = 0
    while start < rows:
        end = min(start + room, rows)
        yield Span(number, start, end, end - start)
        start, room = end, task_rows


def _write(
    task: Task, path: Path, planner: _Planner
) -> Generator[Event, None, tuple[tuple[PlannedShard, ...], int]]:
    """Write one line a task; returns the shards and the size of the list."""
    shards: list[PlannedShard] = []
    with replacing(path) as file:
        for number, batch in enumerate(planner.batches()):
            name, offset = shard_name(number), file.tell()
            shards.append(PlannedShard(name=name, offset_bytes=offset, samples=batch.rows))
            file.write(batch.to_line().encode())
            if number % TICK_TASKS == 0:
                done, total = planner.done_bytes, planner.total_bytes
                yield Progressed(task=task.id, done_bytes=done, total_bytes=total)
        size_bytes = file.tell()
    return tuple(shards), size_bytes


def _spools_present(found: Arrangement, dataset: GatherPlan, session: Session) -> bool:
    folder = spool_folder(dataset.name, session)
    return all((folder / where.removeprefix("spool:")).is_file() for where in found.sources.values())
