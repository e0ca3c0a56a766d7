"""core/tally.py: the state of a run as a fold of its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from g3m.core.tally import RATE_WINDOW_S, Snapshot, fold

START = RunStarted(datasets=("toy",), tasks=4, total_bytes=1000, present_bytes=100)
sizes = st.integers(0, 500)
names = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(["fetch", "fetch", "arrange", "pack", "adopt", "publish"])
events = st.one_of(
    st.builds(TaskStarted, task=names, kind=kinds, dataset=st.just("toy"), total_bytes=sizes),
    st.builds(RouteChosen, task=names, place=st.just("host"), offset_bytes=sizes),
    st.builds(Progressed, task=names, done_bytes=sizes, total_bytes=sizes),
    st.builds(Progressed, task=names, done_bytes=sizes),
    st.builds(Retrying, task=names, place=st.just("host"), reason=st.just("reset"), wait_s=st.just(1.0)),
    st.builds(RouteDropped, task=names, place=st.just("host"), reason=st.just("gone")),
    st.builds(Noted, text=st.just("hm")),
    st.builds(TasksAdded, count=st.integers(0, 3)),
    st.builds(
        TaskFinished,
        task=names,
        kind=kinds,
        dataset=st.just("toy"),
        size_bytes=sizes,
        samples=st.integers(0, 9),
        rejected=st.dictionaries(st.sampled_from(["no_caption", "damaged"]), st.integers(1, 3)),
    ),
    st.builds(
        TaskFailed,
        task=names,
        kind=kinds,
        dataset=st.just("toy"),
        code=st.just("G3M-E500"),
        reason=st.just("why"),
    ),
)


def state(stream: Iterable[Event], *, step_s: float = 1.0, start: Event = START) -> Snapshot:
    snapshot = fold(Snapshot(), start, 0.0)
    for number, event in enumerate(stream, 1):
        snapshot = fold(snapshot, event, number * step_s)
    return snapshot


def fetching(task: str = "a", total_bytes: int = 900) -> TaskStarted:
    return TaskStarted(task=task, kind="fetch", dataset="toy", total_bytes=total_bytes)


def finished(task: str = "a", kind: str = "fetch", size_bytes: int = 900, **more: object) -> TaskFinished:
    return TaskFinished(task=task, kind=kind, dataset="toy", size_bytes=size_bytes, **more)  # type: ignore[arg-type]


def failed(task: str = "a") -> TaskFailed:
    return TaskFailed(task=task, kind="fetch", dataset="toy", code="G3M-E510", reason="reset")


@given(st.lists(events, max_size=30))
def test_done_bytes_never_exceed_what_was_reported(stream: list[Event]) -> None:
    """At every moment: what was present, finished fetches, and at most the highest report of each running task."""
    highest: dict[str, int] = {}
    fetched = 0
    snapshot = fold(Snapshot(), START, 0.0)
    for number, event in enumerate(stream):
        snapshot = fold(snapshot, event, float(number))
        if isinstance(event, Progressed):
            highest[event.task] = max(highest.get(event.task, 0), event.done_bytes)
        elif isinstance(event, RouteChosen):
            highest[event.task] = max(highest.get(event.task, 0), event.offset_bytes)
        elif isinstance(event, TaskFinished) and event.kind == "fetch":
            fetched += event.size_bytes
        flowing = sum(highest.get(task, 0) for task, at in snapshot.running.items() if at.kind == "fetch")
        assert 100 + fetched <= snapshot.done_bytes <= 100 + fetched + flowing
        assert snapshot.rate_bytes_per_s >= 0.0
        assert snapshot.remaining_s is None or snapshot.remaining_s > 0.0


@given(st.lists(events, max_size=30))
def test_the_counts_are_those_of_the_facts(stream: list[Event]) -> None:
    """Tasks, samples, shards, rejected and failed are what a plain count over all events gives."""
    snapshot = state(stream)
    done = [event for event in stream if isinstance(event, TaskFinished)]
    made = [event for event in done if event.kind in ("pack", "adopt")]
    assert snapshot.tasks == 4 + sum(event.count for event in stream if isinstance(event, TasksAdded))
    assert (snapshot.finished, snapshot.shards) == (len(done), len(made))
    assert snapshot.samples == sum(event.samples for event in made)
    assert sum(snapshot.rejected.values()) == sum(sum(event.rejected.values()) for event in done)
    last = {e.task: e for e in stream if isinstance(e, (TaskFinished, TaskFailed))}
    assert set(snapshot.failed) == {task for task, event in last.items() if isinstance(event, TaskFailed)}
    ends = {e.task: e for e in stream if isinstance(e, (TaskStarted, TaskFinished, TaskFailed))}
    assert set(snapshot.running) == {task for task, event in ends.items() if isinstance(event, TaskStarted)}


@given(st.lists(events, max_size=30))
def test_the_last_tick_is_enough(stream: list[Event]) -> None:
    """Ticks may be merged: dropping every tick that another of the same task follows leaves the same state."""
    merged = []
    for event, following in zip(stream, [*stream, None][1:], strict=True):
        tick = isinstance(event, Progressed) and isinstance(following, Progressed)
        same = tick and following is not None and event.task == following.task
        if not same or (isinstance(event, Progressed) and event.total_bytes):
            merged.append(event)
    one, two = state(stream), state(merged)
    assert replace(one, marks=(), now_s=0) == replace(two, marks=(), now_s=0)


@given(st.lists(events, max_size=10), events)
def test_folding_changes_no_earlier_state(stream: list[Event], event: Event) -> None:
    """A snapshot that a view still holds is not altered by later events."""
    before = state(stream)
    held = replace(
        before, failed=dict(before.failed), running=dict(before.running), rejected=dict(before.rejected)
    )
    fold(before, event, 99.0)
    assert before == held


def test_a_run_begins_with_a_clean_state() -> None:
    """The start of a run takes its figures from the event and forgets what an earlier run left."""
    again = fold(state([fetching(), failed(), Noted(text="x")]), START, 50.0)
    assert again == Snapshot(
        datasets=("toy",), tasks=4, total_bytes=1000, present_bytes=100, started_s=50.0, now_s=50.0
    )
    assert again.done_bytes == 100


def test_a_download_is_followed_from_start_to_end() -> None:
    """Bytes grow from the part that was there, over ticks, to the whole, and are never counted twice."""
    stream: list[Event] = [
        fetching(),
        RouteChosen(task="a", place="host", way="proxy p:1", offset_bytes=200),
        Progressed(task="a", done_bytes=500),
        finished(),
    ]
    assert [state(stream[:count]).done_bytes for count in range(5)] == [100, 100, 300, 600, 1000]
    running = state(stream[:3]).running["a"]
    assert (running.place, running.way, running.done_bytes, running.total_bytes) == (
        "host",
        "proxy p:1",
        500,
        900,
    )
    assert state(stream).running == {}
    assert state(stream).remaining_s is None


def test_a_size_learned_on_the_way_is_kept() -> None:
    """A tick that knows the whole size corrects it, and one that does not leaves it."""
    stream = [fetching(total_bytes=0), Progressed(task="a", done_bytes=1, total_bytes=70)]
    assert state(stream).running["a"].total_bytes == 70
    assert state([*stream, Progressed(task="a", done_bytes=2)]).running["a"].total_bytes == 70


@pytest.mark.parametrize("kind", ["arrange", "pack", "adopt", "publish"])
def test_only_fetched_bytes_count_as_fetched(kind: str) -> None:
    """What is packed or arranged has been fetched before: its bytes are not added to the download."""
    running = [TaskStarted(task="p", kind=kind, dataset="toy"), Progressed(task="p", done_bytes=800)]
    assert state(running).done_bytes == 100
    assert state([*running, finished("p", kind)]).done_bytes == 100


def test_a_failed_task_that_finishes_later_is_cleared() -> None:
    """The second pass heals: a failed task shows as failed until it is done, and then no more."""
    stream: list[Event] = [fetching(), failed()]
    assert state(stream).failed == {"a": "reset"}
    assert state(stream).running == {}
    assert state([*stream, fetching()]).failed == {"a": "reset"}
    assert state([*stream, fetching(), finished()]).failed == {}
    assert state([*stream, fetching("b"), finished("b")]).failed == {"a": "reset"}


def test_the_bytes_of_a_failed_download_are_not_claimed() -> None:
    """When a task gives up, the bytes in flight are no longer counted as here."""
    assert state([fetching(), Progressed(task="a", done_bytes=500), failed()]).done_bytes == 100


def test_trouble_shows_the_last_of_it() -> None:
    """A retry, a dropped route or a note is what a view shows as the latest trouble."""
    stream: list[Event] = [
        fetching(),
        Retrying(task="a", place="h", reason="reset", wait_s=1.0),
        RouteDropped(task="a", place="h", reason="404"),
        Noted(text="clock is wrong"),
    ]
    assert [state(stream[:count]).trouble for count in (1, 2, 3, 4)] == [
        "",
        "h: reset",
        "h: 404",
        "clock is wrong",
    ]


@pytest.mark.parametrize(
    "event",
    [
        Progressed(task="x", done_bytes=5),
        RouteChosen(task="x", place="h", offset_bytes=5),
        Retrying(task="x", place="h", reason="r", wait_s=0.0),
        RouteDropped(task="x", place="h", reason="r"),
    ],
)
def test_late_news_of_a_task_that_is_over_changes_nothing(event: Event) -> None:
    """A tick that arrives after its task ended neither revives it nor counts."""
    before = state([fetching()])
    after = fold(before, event, before.now_s)
    assert replace(after, marks=()) == replace(before, marks=())


def test_the_end_of_a_run_keeps_what_it_reached() -> None:
    """After the last event the run is over; what was under way and what failed stay to be read."""
    end = state(
        [fetching(), failed(), fetching("b"), RunFinished(finished=0, failed=1, samples=0, seconds=3.0)]
    )
    assert end.over
    assert set(end.running) == {"b"}
    assert end.failed == {"a": "reset"}
    assert not state([fetching()]).over


def test_the_rate_is_that_of_the_last_twenty_seconds() -> None:
    """A slow beginning is forgotten: only marks inside the window count for speed and remaining time."""
    snapshot = fold(
        fold(Snapshot(), replace(START, total_bytes=100_000), 0.0), fetching(total_bytes=10**5), 0.0
    )
    for second in range(1, 61):
        done = second if second <= 30 else 30 + 100 * (second - 30)
        snapshot = fold(snapshot, Progressed(task="a", done_bytes=done), float(second))
    assert snapshot.rate_bytes_per_s == pytest.approx(100.0)
    assert snapshot.remaining_s == pytest.approx((100_000 - 100 - 3030) / 100)
    assert all(snapshot.now_s - at_s <= RATE_WINDOW_S for at_s, _ in snapshot.marks)
    assert (snapshot.started_s, snapshot.now_s) == (0.0, 60.0)


def test_a_rate_needs_two_moments() -> None:
    """One mark, equal times or bytes that were thrown away give no speed and no remaining time."""
    one = state([fetching(), Progressed(task="a", done_bytes=5)])
    assert (one.rate_bytes_per_s, one.remaining_s) == (0.0, None)
    same = fold(one, Progressed(task="a", done_bytes=50), one.now_s)
    assert (same.rate_bytes_per_s, same.remaining_s) == (0.0, None)
    back = fold(one, RouteChosen(task="a", place="other"), one.now_s + 1)
    assert (back.rate_bytes_per_s, back.remaining_s) == (0.0, None)
