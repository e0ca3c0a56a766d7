"""The state of a run, folded from its events; every view renders this value, so views never disagree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from g3m.core.events import (
    Event,
    Noted,
    Progressed,
    Retrying,
    RouteChosen,
    RouteDropped,
    RunFinished,
    RunStarted,
    TaskFailed,
    TaskFinished,
    TasksAdded,
    TaskStarted,
)
from g3m.core.receipt import add_counts

RATE_WINDOW_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A task at work: where its bytes come from and how far it is."""

    kind: str
    dataset: str
    done_bytes: int = 0
    total_bytes: int = 0
    place: str = ""
    way: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that a view needs. Times are seconds of one monotonic clock of the caller's."""

    datasets: tuple[str, ...] = ()
    tasks: int = 0
    finished: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    total_bytes: int = 0
    present_bytes: int = 0
    fetched_bytes: int = 0
    samples: int = 0
    shards: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    trouble: str = ""
    started_s: float = 0.0
    now_s: float = 0.0
    marks: tuple[tuple[float, int], ...] = ()
    over: bool = False

    @property
    def done_bytes(self) -> int:
        """Bytes of assets that are here: before, fetched now, and of downloads under way."""
        flowing = sum(task.done_bytes for task in self.running.values() if task.kind == "fetch")
        return self.present_bytes + self.fetched_bytes + flowing

    @property
    def rate_bytes_per_s(self) -> float:
        """The speed of the last twenty seconds."""
        if len(self.marks) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self.marks[0], self.marks[-1]
        return max(0.0, (last - first) / (last_s - first_s)) if last_s > first_s else 0.0

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the last byte at this speed, or None if it cannot be said."""
        rate = self.rate_bytes_per_s
        left = self.total_bytes - self.done_bytes
        return left / rate if rate > 0 and left > 0 else None


def fold(snapshot: Snapshot, event: Event, now_s: float) -> Snapshot:
    """The state after one more event."""
    snapshot = _apply(replace(snapshot, now_s=now_s), event, now_s)
    if isinstance(event, RouteChosen):
        # Bytes kept from an earlier run appear at once; they are no speed.
        return replace(snapshot, marks=((now_s, snapshot.done_bytes),))
    if isinstance(event, (Progressed, TaskFinished)):
        recent = tuple(mark for mark in snapshot.marks if now_s - mark[0] <= RATE_WINDOW_S)
        return replace(snapshot, marks=(*recent, (now_s, snapshot.done_bytes)))
    return snapshot


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
        return replace(state, tasks=state.tasks + event.count)
    if isinstance(event, TaskStarted):
        task = Running(kind=event.kind, dataset=event.dataset, total_bytes=event.total_bytes)
        return replace(state, running={**state.running, event.task: task})
    if isinstance(event, TaskFinished):
        return _finish(state, event)
    if isinstance(event, TaskFailed):
        return replace(
            state,
            failed={**state.failed, event.task: event.reason},
            running=_without(state.running, event.task),
        )
    if isinstance(event, RunFinished):
        return replace(state, over=True)
    if isinstance(event, Noted):
        return replace(state, trouble=event.text)
    return _advance(state, event)


def _advance(state: Snapshot, event: Event) -> Snapshot:
    task = state.running.get(event.task)
    if task is None:
        return state
    if isinstance(event, RouteChosen):
        task = replace(task, place=event.place, way=event.way, done_bytes=event.offset_bytes)
    elif isinstance(event, Progressed):
        total = event.total_bytes or task.total_bytes
        task = replace(task, done_bytes=event.done_bytes, total_bytes=total)
    elif isinstance(event, (Retrying, RouteDropped)):
        state = replace(state, trouble=f"{event.place}: {event.reason}")
    return replace(state, running={**state.running, event.task: task})


def _finish(state: Snapshot, event: TaskFinished) -> Snapshot:
    fetched = event.size_bytes if event.kind == "fetch" else 0
    made = event.kind in ("pack", "adopt")
    return replace(
        state,
        finished=state.finished + 1,
        running=_without(state.running, event.task),
        failed=_without_failed(state.failed, event.task),
        fetched_bytes=state.fetched_bytes + fetched,
        samples=state.samples + (event.samples if made else 0),
        shards=state.shards + made,
        rejected=add_counts([state.rejected, event.rejected]),
    )


def _without(running: dict[str, Running], task: str) -> dict[str, Running]:
    return {name: value for name, value in running.items() if name != task}


def _without_failed(failed: dict[str, str], task: str) -> dict[str, str]:
    return {name: value for name, value in failed.items() if name != task}
