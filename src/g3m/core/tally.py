"""The state of a run, folded from its events; every view renders this value, so views never disagree.

One more event costs the same after ten thousand tasks as after ten: what grows with their number is kept
as counts, the latest few, or in small pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from g3m.core.events import (
    Event,
    Noted,
    Progressed,
    Retrying,
    RouteChosen,
    RouteDropped,
    RoutesMeasured,
    RouteSpeed,
    RowsMeasured,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from g3m.core.receipt import add_counts

RATE_WINDOW_S = 20.0
MARK_S = 0.5
"""Marks closer than this are merged, so that a window never holds more than about forty."""

SHORTEST_S = 0.2
"""A speed of the first moment would be a wild guess: it counts as that of so much time."""

FAILED_SHOWN = 20
_SETS = 64


@dataclass(frozen=True, slots=True)
class Failures:
    """The tasks that failed and have not been done since, with the reasons of the latest twenty.

    The names stand in many small sets, of which a change copies one.
    """

    count: int = 0
    latest: dict[str, str] = field(default_factory=dict)
    sets: tuple[frozenset[str], ...] = (frozenset(),) * _SETS

    def __contains__(self, task: str) -> bool:
        return task in self.sets[hash(task) % _SETS]

    def with_task(self, task: str, reason: str) -> Failures:
        """One more, or the same one with a new reason."""
        kept = {name: text for name, text in self.latest.items() if name != task}
        latest = dict([*kept.items(), (task, reason)][-FAILED_SHOWN:])
        if task in self:
            return replace(self, latest=latest)
        return Failures(self.count + 1, latest, self._changed(task, frozenset({task})))

    def without_task(self, task: str) -> Failures:
        """That one was done in the end."""
        if task not in self:
            return self
        latest = {name: text for name, text in self.latest.items() if name != task}
        return Failures(self.count - 1, latest, self._changed(task, frozenset({task})))

    def _changed(self, task: str, names: frozenset[str]) -> tuple[frozenset[str], ...]:
        number = hash(task) % _SETS
        return (*self.sets[:number], self.sets[number] ^ names, *self.sets[number + 1 :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of lists: how many there are and are done, are samples, and why the others are none.

    `size_bytes` came over the network for them.
    """

    done: int = 0
    total: int = 0
    good: int = 0
    size_bytes: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def good_share(self) -> float:
        """How many of those that are done became samples, from 0 to 1."""
        return self.good / self.done if self.done else 0.0

    def biggest(self, most: int) -> list[tuple[str, int]]:
        """The reasons that took most rows, the biggest first."""
        return sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))[:most]

    def plus(self, other: Rows) -> Rows:
        """Both together."""
        return Rows(
            done=self.done + other.done,
            total=self.total + other.total,
            good=self.good + other.good,
            size_bytes=self.size_bytes + other.size_bytes,
            reasons=add_counts([self.reasons, other.reasons]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A task at work: where its bytes come from and how far it is."""

    kind: str
    dataset: str
    done_bytes: int = 0
    total_bytes: int = 0
    place: str = ""
    way: str = ""
    routes: tuple[RouteSpeed, ...] = ()
    rows: Rows | None = None
    began: bool = False
    """Whether it has said where it begins: what was kept from an earlier run is no speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a view needs. Times are seconds of one monotonic clock of the caller's."""

    datasets: tuple[str, ...] = ()
    tasks: int = 0
    finished: int = 0
    failed: Failures = field(default_factory=Failures)
    total_bytes: int = 0
    present_bytes: int = 0
    fetched_bytes: int = 0
    arrived_bytes: int = 0
    """What came in since the run began, thrown away or not; the speed is made of this."""
    samples: int = 0
    shards: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    trouble: str = ""
    started_s: float = 0.0
    now_s: float = 0.0
    marks: tuple[tuple[float, int], ...] = ()
    rows_planned: int = 0
    rows_finished: Rows = field(default_factory=Rows)
    row_marks: tuple[tuple[float, int], ...] = ()
    over: bool = False

    @property
    def done_bytes(self) -> int:
        """Bytes of assets that are here: before, fetched now, and of downloads under way."""
        flowing = sum(task.done_bytes for task in self.running.values() if task.kind == "fetch")
        return self.present_bytes + self.fetched_bytes + flowing

    @property
    def rate_bytes_per_s(self) -> float:
        """The speed of the last twenty seconds, or since the first download began if that is less."""
        return _rate(self.marks, self.arrived_bytes, self.now_s)

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the last byte at this speed, or None if it cannot be said."""
        rate = self.rate_bytes_per_s
        left = self.total_bytes - self.done_bytes
        return left / rate if rate > 0 and left > 0 else None

    @property
    def rows(self) -> Rows:
        """The rows of lists over all tasks of the run, those under way included."""
        flowing = [task.rows for task in self.running.values() if task.rows is not None]
        rows = reduce(Rows.plus, flowing, self.rows_finished)
        return replace(rows, total=max(rows.total, self.rows_planned))

    @property
    def rows_per_s(self) -> float:
        """How many rows became samples or were given up, a second of the last twenty."""
        return max(_rate(self.row_marks, self.rows.done, self.now_s), 0.0)

    @property
    def rows_remaining_s(self) -> float | None:
        """Seconds until the last row at this speed, or None if it cannot be said."""
        rate, rows = self.rows_per_s, self.rows
        return (rows.total - rows.done) / rate if rate > 0 and rows.total > rows.done else None

    @property
    def routes(self) -> tuple[RouteSpeed, ...]:
        """What each route carries, over all downloads, the fastest first."""
        return summed(route for task in self.running.values() for route in task.routes)


def summed(routes: Iterable[RouteSpeed]) -> tuple[RouteSpeed, ...]:
    """One figure for each route of several downloads, the fastest first."""
    sums: dict[tuple[str, str], RouteSpeed] = {}
    for one in routes:
        before = sums.get((one.place, one.way))
        sums[one.place, one.way] = one if before is None else _sum(before, one)
    return fastest_first(sums.values())


def fastest_first(routes: Iterable[RouteSpeed]) -> tuple[RouteSpeed, ...]:
    """Routes by speed, then by bytes, then by name, so that a view does not jump about."""
    return tuple(sorted(routes, key=lambda r: (-r.rate_bytes_per_s, -r.done_bytes, r.place, r.way)))


def _sum(one: RouteSpeed, other: RouteSpeed) -> RouteSpeed:
    return replace(
        one,
        connections=one.connections + other.connections,
        rate_bytes_per_s=one.rate_bytes_per_s + other.rate_bytes_per_s,
        done_bytes=one.done_bytes + other.done_bytes,
    )


def fold(snapshot: Snapshot, event: Event, now_s: float) -> Snapshot:
    """The state after one more event."""
    before = snapshot.arrived_bytes
    snapshot = _apply(replace(snapshot, now_s=now_s), event, now_s)
    if snapshot.arrived_bytes == before or isinstance(event, RunStarted):
        return snapshot
    return replace(snapshot, marks=_marked(snapshot.marks, (now_s, snapshot.arrived_bytes)))


def _rate(marks: tuple[tuple[float, int], ...], count: int, now_s: float) -> float:
    """How much came a second, since the oldest mark of the window."""
    recent = [mark for mark in marks if now_s - mark[0] <= RATE_WINDOW_S]
    if not recent or now_s <= recent[0][0]:
        return 0.0
    return (count - recent[0][1]) / max(now_s - recent[0][0], SHORTEST_S)


def _marked(marks: tuple[tuple[float, int], ...], mark: tuple[float, int]) -> tuple[tuple[float, int], ...]:
    """The marks of the window, with one more; the last two are merged where they lie close together."""
    recent = tuple(old for old in marks if 0 <= mark[0] - old[0] <= RATE_WINDOW_S)
    if len(recent) > 1 and mark[0] - recent[-2][0] < MARK_S:
        recent = recent[:-1]
    return (*recent, mark)


def _apply(state: Snapshot, event: Event, now_s: float) -> Snapshot:
    if isinstance(event, RunStarted):
        return Snapshot(
            datasets=event.datasets,
            tasks=event.tasks,
            total_bytes=event.total_bytes,
            present_bytes=event.present_bytes,
            started_s=now_s,
            now_s=now_s,
        )
    if isinstance(event, TasksAdded):
        planned = state.rows_planned + event.rows
        return replace(state, tasks=state.tasks + event.count, rows_planned=planned)
    if isinstance(event, TaskStarted):
        return _start(state, event, now_s)
    if isinstance(event, TaskFinished):
        return _finish(state, event)
    if isinstance(event, TaskFailed):
        return replace(
            state,
            failed=state.failed.with_task(event.task, event.reason),
            running=_without(state.running, event.task),
        )
    if isinstance(event, RunFinished):
        return replace(state, over=True)
    if isinstance(event, Noted):
        return replace(state, trouble=event.text)
    return _advance(state, event, now_s)


def _start(state: Snapshot, event: TaskStarted, now_s: float) -> Snapshot:
    task = Running(kind=event.kind, dataset=event.dataset, total_bytes=event.total_bytes)
    state = replace(state, running={**state.running, event.task: task})
    return _mark_begin(state, event.task, now_s)


def _mark_begin(state: Snapshot, name: str, now_s: float) -> Snapshot:
    """The speed is measured from where the first download begins: time without one is not slowness."""
    fetches = [task for task, at in state.running.items() if at.kind == "fetch"]
    return replace(state, marks=((now_s, state.arrived_bytes),)) if fetches == [name] else state


def _advance(state: Snapshot, event: Event, now_s: float) -> Snapshot:
    task = state.running.get(event.task)
    if task is None:
        return state
    if isinstance(event, Progressed):
        return _progress(state, task, event, now_s)
    if isinstance(event, RowsMeasured):
        return _measure(state, task, event, now_s)
    if isinstance(event, RouteChosen):
        task = replace(task, place=event.place, way=event.way, began=True)
    elif isinstance(event, RoutesMeasured):
        task = replace(task, routes=event.routes)
    elif isinstance(event, (Retrying, RouteDropped)):
        return replace(state, trouble=f"{event.place}: {event.reason}")
    return replace(state, running={**state.running, event.task: task})


def _progress(state: Snapshot, task: Running, event: Progressed, now_s: float) -> Snapshot:
    came = max(0, event.done_bytes - task.done_bytes) if task.began and task.kind == "fetch" else 0
    total = event.total_bytes or task.total_bytes
    now = replace(task, done_bytes=event.done_bytes, total_bytes=total, began=True)
    running = {**state.running, event.task: now}
    state = replace(state, running=running, arrived_bytes=state.arrived_bytes + came)
    return state if task.began else _mark_begin(state, event.task, now_s)


def rows_of(event: RowsMeasured) -> Rows:
    """What a tick says."""
    sums = {"done": event.done, "total": event.total, "good": event.good, "size_bytes": event.bytes}
    return Rows(**sums, reasons=event.reasons)


def _measure(state: Snapshot, task: Running, event: RowsMeasured, now_s: float) -> Snapshot:
    state = replace(state, running={**state.running, event.task: replace(task, rows=rows_of(event))})
    return replace(state, row_marks=_marked(state.row_marks, (now_s, state.rows.done)))


def _finish(state: Snapshot, event: TaskFinished) -> Snapshot:
    fetched = event.size_bytes if event.kind == "fetch" else 0
    made = event.kind in ("pack", "adopt")
    task = state.running.get(event.task)
    # A file that came over no route lay here already.
    came = max(0, fetched - task.done_bytes) if task is not None and task.place else 0
    rows = task.rows if task is not None else None
    return replace(
        state,
        finished=state.finished + 1,
        running=_without(state.running, event.task),
        failed=state.failed.without_task(event.task),
        fetched_bytes=state.fetched_bytes + fetched,
        arrived_bytes=state.arrived_bytes + came,
        samples=state.samples + (event.samples if made else 0),
        shards=state.shards + made,
        rejected=add_counts([state.rejected, event.rejected]),
        rows_finished=state.rows_finished.plus(rows) if rows is not None else state.rows_finished,
    )


def _without(running: dict[str, Running], task: str) -> dict[str, Running]:
    return {name: value for name, value in running.items() if name != task}
