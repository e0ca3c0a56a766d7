"""gather: the rows of one task, each a URL and mostly a caption, become one shard.

    rows ──> crowd: thousands of small files at once ──> look, filters, treatment ──> in the order of the rows
         ──> shard, table and figures beside it, index, receipt

The same answers give the same bytes: what comes too early waits (adapters/turns.py). A row that becomes no
sample has a reason (core/outcomes.py). Nothing that a server says can end the task; a network that answers
nobody does.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from types import TracebackType

from g3m.adapters.crowd import Crowd, Got, Wanted
from g3m.adapters.curl import HttpOptions
from g3m.adapters.descriptors import allow_files
from g3m.adapters.disk import make_folder, remove, write_document
from g3m.adapters.session import USER_AGENT, Session
from g3m.adapters.shards import ShardWriter
from g3m.adapters.turns import Turns
from g3m.core.dropped import REASON
from g3m.core.errors import ContentError, Unreachable
from g3m.core.events import Event, RowsMeasured
from g3m.core.gathering import GatherPlan, Row, row_key
from g3m.core.index import FIELDS
from g3m.core.indexing import Rows
from g3m.core.manners import CrowdLimits
from g3m.core.outcomes import GOOD
from g3m.core.plan import Plan, Task
from g3m.core.receipt import Found
from g3m.core.reshard import parse_size
from g3m.core.samples import Caption, treat_caption
from g3m.core.shard import ShardSummary
from g3m.core.treatment import CAPTION_BOUND_BYTES
from g3m.steps.dropped import record_of
from g3m.steps.judge import Judge
from g3m.steps.ledger import UNUSABLE
from g3m.steps.outcome import Figures, Outcome, RowTable, names_beside
from g3m.steps.pack import OfRows, Packed, finish_shard, making_path
from g3m.steps.portion import Portion, carried_path, plan_of, portion

UNDER_WAY_BYTES = 2**25
JUDGING_BYTES = 2**24
"""Of bodies that came and are not judged yet; what waits for its turn has a bound of its own."""

FILES_SPARE = 256
"""Descriptors for everything but requests."""

TICK_S = 0.5
WAIT_S = 0.2


def gather(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Fetch the rows of a task, and make their shard, its table and its receipt."""
    dataset = plan_of(task, plan)
    if session.settings.offline:
        raise Unreachable(f"{task.id}: --offline forbids to ask for the rows of a list")
    todo = portion(task, dataset, session)
    desk = Desk(task, dataset, todo, session)
    with desk, crowd_for(session, is_again=bool(todo.again)) as crowd:
        yield from _fetch(crowd, todo.rows, desk, session)
        yield from _drain(desk, session)
        yield desk.measured()
        packed, summary = desk.close()
    yield finish_shard(task, dataset, desk.part, summary, packed, session)
    remove(carried_path(task, session))


def _fetch(crowd: Crowd, rows: Iterator[Row], desk: Desk, session: Session) -> Iterator[Event]:
    for got in crowd.fetch(desk.wanted(rows), desk.has_room):
        session.check_stop()
        if got is not None:
            desk.take(got)
        desk.write_ready()
        if desk.is_due(session.monotonic()):
            yield desk.measured()


def _drain(desk: Desk, session: Session) -> Iterator[Event]:
    """Nothing is under way any more; what is being judged is waited for."""
    while desk.judging:
        session.check_stop()
        desk.await_judged(WAIT_S)
        desk.write_ready()
        if desk.is_due(session.monotonic()):
            yield desk.measured()
    desk.write_ready()


@dataclass(slots=True)
class _Sums:
    """The counts of a task so far."""

    done: int = 0
    good: int = 0
    bytes: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    found: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.done += 1
        if outcome.reason != GOOD:
            self.reasons[outcome.reason] = self.reasons.get(outcome.reason, 0) + 1
            return
        self.good += 1
        for name in outcome.found:
            own = self.found.setdefault(name, {})
            word = "fixed" if name in outcome.fixed else "kept"
            own[word] = own.get(word, 0) + 1


class Desk:
    """Where the rows of a task lie until their samples are written: used by the one thread of the task."""

    def __init__(self, task: Task, dataset: GatherPlan, todo: Portion, session: Session) -> None:
        self.part = making_path(task, session)
        self._task, self._dataset, self._todo, self._session = task, dataset, todo, session
        self._dropped = record_of(dataset, session)
        self._judge = Judge(dataset.gathering, dataset.treatment, session.guard)
        self._open: dict[int, tuple[Row, Caption]] = {}
        self._judged: SimpleQueue[tuple[int, Outcome, bytes | memoryview, int] | BaseException] = (
            SimpleQueue()
        )
        self.judging = self._judging_bytes = 0
        self._sums, self._index = _Sums(), Rows(FIELDS)
        self._digests: set[str] = set()
        self._findings: list[Found] = []
        self._started, self._ticked_s = session.now(), session.monotonic()
        self._pool: ThreadPoolExecutor | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Desk:
        folder, columns = self.part.parent, self._dataset.gathering.columns
        make_folder(folder)
        with ExitStack() as stack:
            self._waiting: Turns[Outcome] = stack.enter_context(Turns(folder))
            self._writer = stack.enter_context(ShardWriter(self.part))
            self._table = stack.enter_context(RowTable(self.part.with_suffix(".rows.making"), columns))
            if self._judge.takes_long:
                self._pool = ThreadPoolExecutor(self._session.settings.jobs or 2, "g3m-judge")
                stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def wanted(self, rows: Iterator[Row]) -> Iterator[Wanted]:
        """What to ask for. A row whose caption would be rejected anyway costs no request."""
        has_captions, treatment = bool(self._dataset.gathering.columns.caption), self._dataset.treatment
        task_rows = self._dataset.gathering.task_rows
        for place, row in enumerate(rows):
            if self._dropped and row_key(self._task.shard, place, task_rows) in self._dropped:
                self._put(place, Outcome(row=Row(row.number, "", ""), reason=REASON), b"")
                continue
            if row.number in self._todo.settled:
                self._put(place, Outcome(row=row, reason=self._todo.settled[row.number]), b"")
                continue
            caption = treat_caption(row.caption.strip(), treatment) if has_captions else Caption(b"")
            if caption.reason:
                # No more of a caption that is too long is wanted than the table shows.
                short = replace(row, caption=row.caption[:CAPTION_BOUND_BYTES])
                self._put(place, Outcome(row=short, reason=caption.reason), b"")
                continue
            # What becomes of a caption is its data: it need not be held twice.
            self._open[place] = (replace(row, caption="") if caption.data else row, caption)
            yield Wanted(place, row.url)

    def has_room(self) -> bool:
        """Whether more may come; what was begun always does."""
        return self._judging_bytes <= JUDGING_BYTES

    def take(self, got: Got) -> None:
        """What came of a row."""
        row, _ = self._open[got.number]
        self._sums.bytes += len(got.body)
        if got.reason:
            self._put(got.number, Outcome(row=row, reason=got.reason, detail=got.detail), b"")
        elif self._pool is None:
            self._put(got.number, *self._judge.judge(row, got.body))
        else:
            self.judging += 1
            self._judging_bytes += len(got.body)
            self._pool.submit(self._judge_beside, got.number, row, got.body)

    def _judge_beside(self, place: int, row: Row, body: bytes) -> None:
        try:
            self._judged.put((place, *self._judge.judge(row, body), len(body)))
        except BaseException as error:  # noqa: BLE001  # it ends the task, where that is at work
            self._judged.put(error)

    def await_judged(self, timeout_s: float) -> None:
        """Wait until one more is judged."""
        with suppress(Empty):
            self._receive(self._judged.get(timeout=timeout_s))

    def _receive(self, item: tuple[int, Outcome, bytes | memoryview, int] | BaseException) -> None:
        if isinstance(item, BaseException):
            raise item
        place, outcome, data, size_bytes = item
        self.judging -= 1
        self._judging_bytes -= size_bytes
        self._put(place, outcome, data)

    def _put(self, place: int, outcome: Outcome, data: bytes | memoryview) -> None:
        _, caption = self._open.pop(place, (None, None))
        if caption is not None and caption.data:
            outcome.caption = caption.data.decode()
            outcome.found, outcome.fixed = (*outcome.found, *caption.found), (*outcome.fixed, *caption.fixed)
        self._waiting.put(place, outcome, data, outcome.text_size)

    def write_ready(self) -> None:
        """Write every row whose turn it is."""
        with suppress(Empty):
            while True:
                self._receive(self._judged.get_nowait())
        while (found := self._waiting.pop()) is not None:
            self._write(*found)

    def _write(self, outcome: Outcome, data: bytes | memoryview) -> None:
        key = row_key(self._task.shard, self._sums.done, self._dataset.gathering.task_rows)
        if not outcome.reason and self._dataset.treatment.action("duplicate_image") == "reject":
            if outcome.sha256 in self._digests:
                outcome.reason, outcome.width, outcome.height = "duplicate_image", 0, 0
            self._digests.add(outcome.sha256)
        meta = self._table.add(key, outcome)
        self._sums.add(outcome)
        if outcome.reason:
            return
        parts = [(outcome.extension, data), ("json", meta)]
        if self._dataset.gathering.columns.caption:
            parts.append(("txt", outcome.caption.encode()))
        entry = self._writer.add(key, parts)
        self._index.add(key, entry.fields)
        self._findings += (
            (key, name, "fixed" if name in outcome.fixed else "kept")
            for name in outcome.found
            if name in UNUSABLE
        )

    def is_due(self, now_s: float) -> bool:
        """Whether it is time to say how far it is."""
        is_due = now_s - self._ticked_s >= TICK_S
        self._ticked_s = now_s if is_due else self._ticked_s
        return is_due

    def measured(self) -> RowsMeasured:
        """How far it is."""
        sums = self._sums
        return RowsMeasured(
            task=self._task.id,
            done=sums.done,
            total=self._task.samples,
            good=sums.good,
            bytes=sums.bytes,
            reasons=dict(sums.reasons),
        )

    def close(self) -> tuple[Packed, ShardSummary]:
        """End the shard and what stands beside it; ContentError unless every row is accounted for."""
        sums, shard = self._sums, self._task.shard
        if sums.done != self._task.samples or len(self._waiting) or self._open:
            raise ContentError(f"{self._task.id}: {sums.done} rows of {self._task.samples} came to an end")
        summary = self._writer.close()
        table, name = self._table.close(shard)
        figures = Figures(
            rows=sums.done,
            reasons=dict(sorted(sums.reasons.items())),
            started=self._started,
            ended=self._session.now(),
        )
        stats = self.part.with_suffix(".stats.making")
        write_document(stats, figures.to_json())
        rows = OfRows(
            index=self._index.encode(shard),
            reasons=figures.reasons,
            again=self._todo.again,
            found={name: dict(sorted(counts.items())) for name, counts in sorted(sums.found.items())},
            beside={table: name, stats: names_beside(shard)[2]},
        )
        return Packed(findings=self._findings, rows=rows), summary


def crowd_for(session: Session, *, is_again: bool) -> Crowd:
    """What fetches the rows of one task."""
    settings = session.settings
    limits = CrowdLimits(
        requests=_requests(session),
        per_host=max(settings.per_host // session.width, 1),
        total_s=settings.url_timeout_s,
        body_bytes=parse_size(settings.max_url_bytes, "max-url-bytes"),
        held_bytes=UNDER_WAY_BYTES,
        abreast=session.lanes // 2,  # the other half is for tasks that wait for their last rows
        alarm=not is_again,
    )
    options = HttpOptions(user_agent=USER_AGENT, variables=session.variables, stopping=session.stop.is_set)
    return Crowd(
        options, session.ways, session.hosts, limits, pace=session.pace, stopping=session.stop.is_set
    )


def _requests(session: Session) -> int:
    """How many requests a task may have under way: fewer where the system allows few open files.

    A socket counts twice while it is handed to libcurl, and as many connections again are kept.
    """
    wanted, tasks = session.settings.requests, max(session.lanes, 1)
    room = allow_files(3 * wanted * tasks + FILES_SPARE) - FILES_SPARE
    return max(min(wanted, room // (3 * tasks)), 1)
