"""core/tally.py: the state of a run as a fold of its events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

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
from g3m.core.tally import FAILED_SHOWN, RATE_WINDOW_S, Failures, Rows, Snapshot, fold

START = RunStarted(datasets=("toy",), tasks=4, total_bytes=1000, present_bytes=100)
sizes = st.integers(0, 500)
names = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(["fetch", "fetch", "arrange", "pack", "adopt", "publish"])
events = st.one_of(
    st.builds(TaskStarted, task=names, kind=kinds, dataset=st.just("toy"), total_bytes=sizes),
    st.builds(RouteChosen, task=names, place=st.sampled_from(["host", "other"])),
    st.builds(
        RoutesMeasured,
        task=names,
        routes=st.lists(
            st.builds(
                RouteSpeed,
                place=st.sampled_from(["host", "other"]),
                way=st.sampled_from(["direct", "proxy p:1"]),
                connections=st.integers(0, 9),
                rate_bytes_per_s=st.integers(0, 9).map(float),
                done_bytes=sizes,
            ),
            max_size=3,
        ).map(tuple),
    ),
    st.builds(Progressed, task=names, done_bytes=sizes, total_bytes=sizes),
    st.builds(Progressed, task=names, done_bytes=sizes),
    st.builds(Retrying, task=names, place=st.just("host"), reason=st.just("reset"), wait_s=st.just(1.0)),
    st.builds(RouteDropped, task=names, place=st.just("host"), reason=st.just("gone")),
    st.builds(Noted, text=st.just("hm")),
    st.builds(TasksAdded, count=st.integers(0, 3), rows=st.integers(0, 9)),
    st.builds(
        RowsMeasured,
        task=names,
        done=st.integers(0, 9),
        total=st.just(9),
        good=st.integers(0, 5),
        reasons=st.dictionaries(st.sampled_from(["http_404", "timeout"]), st.integers(1, 3)),
    ),
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


def speed(
    place: str, rate: float = 0.0, done: int = 0, way: str = "direct", connections: int = 1
) -> RouteSpeed:
    return RouteSpeed(place=place, way=way, connections=connections, rate_bytes_per_s=rate, done_bytes=done)


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
    failures = {task for task, event in last.items() if isinstance(event, TaskFailed)}
    assert {task for task in "abc" if task in snapshot.failed} == set(snapshot.failed.latest) == failures
    assert snapshot.failed.count == len(failures)
    ends = {e.task: e for e in stream if isinstance(e, (TaskStarted, TaskFinished, TaskFailed))}
    assert set(snapshot.running) == {task for task, event in ends.items() if isinstance(event, TaskStarted)}


@given(st.lists(events, max_size=30))
def test_the_last_tick_is_enough(stream: list[Event]) -> None:
    """Ticks may be merged: dropping every tick that another of the same task follows leaves the same state."""
    merged = []
    for event, following in zip(stream, [*stream, None][1:], strict=True):
        tick = isinstance(event, (Progressed, RoutesMeasured)) and type(event) is type(following)
        same = tick and following is not None and event.task == following.task
        if not same or (isinstance(event, Progressed) and event.total_bytes):
            merged.append(event)
    one, two = state(stream), state(merged)
    assert timeless(one) == timeless(two)


def timeless(snapshot: Snapshot) -> Snapshot:
    """Without what only the speeds are made of: bytes that were thrown away count for it if a tick told of them."""
    return replace(snapshot, marks=(), row_marks=(), now_s=0, arrived_bytes=0)


@given(st.lists(events, max_size=10), events)
def test_folding_changes_no_earlier_state(stream: list[Event], event: Event) -> None:
    """A snapshot that a view still holds is not altered by later events."""
    before = state(stream)
    held = replace(
        before,
        failed=replace(before.failed, latest=dict(before.failed.latest)),
        running=dict(before.running),
        rejected=dict(before.rejected),
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
        Progressed(task="a", done_bytes=200),
        RouteChosen(task="a", place="host", way="proxy p:1"),
        Progressed(task="a", done_bytes=500),
        finished(),
    ]
    assert [state(stream[:count]).done_bytes for count in range(6)] == [100, 100, 300, 300, 600, 1000]
    running = state(stream[:4]).running["a"]
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
    assert state(stream).failed.latest == {"a": "reset"}
    assert state(stream).running == {}
    assert state([*stream, fetching()]).failed.latest == {"a": "reset"}
    assert state([*stream, fetching(), finished()]).failed == Failures()
    assert state([*stream, fetching("b"), finished("b")]).failed.latest == {"a": "reset"}
    assert state([*stream, fetching(), failed()]).failed.count == 1


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
        RouteChosen(task="x", place="h"),
        RoutesMeasured(task="x", routes=(speed("h"),)),
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
    assert end.failed.latest == {"a": "reset"}
    assert not state([fetching()]).over


# --- speed ----------------------------------------------------------------------------------------------------------


def begun(*tasks: str, kept: int = 0, at_s: float = 0.0) -> Snapshot:
    """A run with downloads that have said where they begin."""
    snapshot = fold(Snapshot(), replace(START, total_bytes=10**9), at_s)
    for task in tasks:
        snapshot = fold(snapshot, fetching(task, total_bytes=10**8), at_s)
        snapshot = fold(snapshot, Progressed(task=task, done_bytes=kept), at_s)
    return snapshot


def test_the_rate_is_that_of_the_last_twenty_seconds() -> None:
    """A slow beginning is forgotten: only the window counts for speed and remaining time."""
    snapshot = begun("a")
    for second in range(1, 61):
        done = second if second <= 30 else 30 + 100 * (second - 30)
        snapshot = fold(snapshot, Progressed(task="a", done_bytes=done), float(second))
    assert snapshot.rate_bytes_per_s == pytest.approx(100.0)
    assert snapshot.remaining_s == pytest.approx((10**9 - 100 - 3030) / 100)
    assert all(snapshot.now_s - at_s <= RATE_WINDOW_S for at_s, _ in snapshot.marks)
    assert (snapshot.started_s, snapshot.now_s) == (0.0, 60.0)


def test_a_rate_needs_two_moments() -> None:
    """At the moment of the first byte there is no speed and no remaining time."""
    snapshot = begun("a")
    assert (snapshot.rate_bytes_per_s, snapshot.remaining_s) == (0.0, None)
    same = fold(snapshot, Progressed(task="a", done_bytes=50), snapshot.now_s)
    assert (same.rate_bytes_per_s, same.remaining_s) == (0.0, None)
    assert replace(same, now_s=1.0).rate_bytes_per_s == 50.0


def test_four_downloads_at_once_are_added_up() -> None:
    """Each task ticks for itself, in any order; the speed is that of all together."""
    snapshot = begun("a", "b", "c", "d", kept=1000)
    for step in range(1, 121):
        for number, task in enumerate("abcd", 1):
            done = 1000 + step * 25 * number
            snapshot = fold(snapshot, Progressed(task=task, done_bytes=done), step / 4 + number / 100)
    assert snapshot.rate_bytes_per_s == pytest.approx(1000.0, rel=0.02)
    assert snapshot.done_bytes == 100 + 4000 + 120 * 25 * 10


def test_what_was_kept_is_no_speed() -> None:
    """A resumed download brings its kept bytes at once; the speed of another beside it goes on as it was."""
    snapshot = begun("a")
    for second in range(1, 11):
        snapshot = fold(snapshot, Progressed(task="a", done_bytes=100 * second), float(second))
    before = snapshot.rate_bytes_per_s
    snapshot = fold(snapshot, fetching("b", total_bytes=10**8), 10.0)
    snapshot = fold(snapshot, Progressed(task="b", done_bytes=50_000_000), 10.0)
    assert snapshot.rate_bytes_per_s == before == 100.0
    assert snapshot.done_bytes == 100 + 1000 + 50_000_000
    snapshot = fold(snapshot, RouteChosen(task="b", place="host"), 10.0)
    snapshot = fold(snapshot, Progressed(task="b", done_bytes=50_000_110), 11.0)
    assert snapshot.rate_bytes_per_s == pytest.approx(1110 / 11)


def test_reading_what_was_kept_is_no_slowness() -> None:
    """Minutes may pass until the kept bytes are read again: the speed is measured from there."""
    snapshot = fold(fold(Snapshot(), START, 0.0), fetching(), 0.0)
    snapshot = fold(snapshot, Progressed(task="a", done_bytes=300), 15.0)
    snapshot = fold(snapshot, Progressed(task="a", done_bytes=400), 16.0)
    assert snapshot.rate_bytes_per_s == 100.0


def test_a_time_without_downloads_is_no_slowness() -> None:
    """After ten seconds of packing alone the next download shows its own speed."""
    snapshot = fold(begun("a"), finished("a", size_bytes=0), 1.0)
    snapshot = fold(snapshot, fetching("b"), 11.0)
    snapshot = fold(snapshot, Progressed(task="b", done_bytes=0), 11.0)
    snapshot = fold(snapshot, Progressed(task="b", done_bytes=70), 12.0)
    assert snapshot.rate_bytes_per_s == 70.0


def test_choosing_routes_again_and_again_changes_no_speed() -> None:
    """Every range of a file may come over another route: that is news of the route and not of the bytes."""
    snapshot = begun("a")
    for second in range(1, 31):
        snapshot = fold(snapshot, RouteChosen(task="a", place=f"host{second % 3}"), second - 0.5)
        snapshot = fold(snapshot, RoutesMeasured(task="a", routes=(speed("host", 5.0, 7),)), second - 0.2)
        snapshot = fold(snapshot, Progressed(task="a", done_bytes=100 * second), float(second))
    assert snapshot.rate_bytes_per_s == pytest.approx(100.0)
    assert snapshot.running["a"].done_bytes == 3000


def test_bytes_thrown_away_leave_no_negative_speed() -> None:
    """After a wrong digest a file begins anew: its bytes are gone, the line was as fast as before."""
    snapshot = begun("a")
    for second in range(1, 21):
        done = 100 * second if second <= 10 else 100 * (second - 10)
        snapshot = fold(snapshot, Progressed(task="a", done_bytes=done), float(second))
        assert 90 <= snapshot.rate_bytes_per_s <= 100
    assert snapshot.done_bytes == 1100


def test_a_line_that_is_silent_has_no_speed() -> None:
    """Without bytes the speed falls, and after the window it is nothing, whatever else happens."""
    snapshot = fold(begun("a"), Progressed(task="a", done_bytes=1000), 1.0)
    rates = [replace(snapshot, now_s=now_s).rate_bytes_per_s for now_s in (1.0, 5.0, 20.0, 21.5)]
    assert rates == [1000.0, 200.0, 50.0, 0.0]
    later = fold(snapshot, Noted(text="still here"), 60.0)
    assert (later.rate_bytes_per_s, later.remaining_s) == (0.0, None)


def test_small_files_that_never_tick_have_a_speed() -> None:
    """Files that are done between two ticks count when they are done; copies that lay here do not."""
    snapshot = begun()
    for number in range(1, 101):
        name = f"fetch/{number}"
        snapshot = fold(snapshot, fetching(name, total_bytes=50), number / 10)
        snapshot = fold(snapshot, RouteChosen(task=name, place="host"), number / 10)
        snapshot = fold(snapshot, finished(name, size_bytes=50), number / 10 + 0.1)
    assert snapshot.arrived_bytes == 5000
    snapshot = fold(snapshot, fetching("copy", total_bytes=10**9), snapshot.now_s)
    snapshot = fold(snapshot, finished("copy", size_bytes=10**9), snapshot.now_s)
    assert snapshot.arrived_bytes == 5000


def test_packing_is_no_speed() -> None:
    """Samples are counted by the same ticks and are no bytes."""
    snapshot = fold(begun("a"), TaskStarted(task="p", kind="pack", dataset="toy"), 0.0)
    for second in range(1, 5):
        snapshot = fold(snapshot, Progressed(task="p", done_bytes=1000 * second), float(second))
    assert snapshot.rate_bytes_per_s == 0.0


@given(st.lists(st.tuples(st.floats(-100.0, 100.0), st.integers(0, 10**6)), max_size=30))
def test_a_clock_that_jumps_gives_no_wild_speed(steps: list[tuple[float, int]]) -> None:
    """Whatever the clock of another machine does, the speed is a number and not below zero."""
    snapshot, now_s, done = begun("a"), 0.0, 0
    for step_s, more in steps:
        now_s, done = now_s + step_s, done + more
        snapshot = fold(snapshot, Progressed(task="a", done_bytes=done), now_s)
        assert 0.0 <= snapshot.rate_bytes_per_s <= snapshot.arrived_bytes / 0.2


# --- routes ---------------------------------------------------------------------------------------------------------


def test_the_last_tick_of_the_routes_holds() -> None:
    """Each tick of a task replaces the one before; other tasks keep theirs; with the task its routes go."""
    stream: list[Event] = [
        fetching(),
        fetching("b"),
        RoutesMeasured(task="a", routes=(speed("one", 10.0), speed("two", 20.0))),
        RoutesMeasured(task="b", routes=(speed("one", 5.0),)),
        RoutesMeasured(task="a", routes=(speed("two", 30.0),)),
    ]
    snapshot = state(stream)
    assert snapshot.running["a"].routes == (speed("two", 30.0),)
    assert snapshot.running["b"].routes == (speed("one", 5.0),)
    assert [route.place for route in state([*stream, finished("a")]).routes] == ["one"]


def test_the_routes_of_all_downloads_are_added_up_the_fastest_first() -> None:
    """A place over two ways is two routes; the same route of two downloads is one with their sum."""
    stream: list[Event] = [
        fetching(),
        fetching("b"),
        RoutesMeasured(task="a", routes=(speed("s3", 10.0, 100), speed("s3", 60.0, 300, "proxy p:1"))),
        RoutesMeasured(task="b", routes=(speed("s3", 15.0, 50, connections=3), speed("hub", 25.0, 9))),
    ]
    assert state(stream).routes == (
        speed("s3", 60.0, 300, "proxy p:1"),
        speed("s3", 25.0, 150, connections=4),
        speed("hub", 25.0, 9),
    )


# --- days and thousands ---------------------------------------------------------------------------------------------


def size_of(snapshot: Snapshot) -> int:
    """How many values a state holds, the names of failed tasks left aside."""
    failures = snapshot.failed
    return len(snapshot.marks) + len(snapshot.running) + len(snapshot.rejected) + len(failures.latest)


def test_a_state_stays_small_over_days() -> None:
    """Ten ticks a second for hours, and thousands of files: never more than the marks of one window."""
    snapshot, largest = begun("a", "b"), 0
    for step in range(1, 20_001):
        task = "ab"[step % 2]
        snapshot = fold(snapshot, Progressed(task=task, done_bytes=step * 10), step / 10)
        largest = max(largest, size_of(snapshot))
    assert largest <= 60
    assert snapshot.rate_bytes_per_s == pytest.approx(200.0, rel=0.05)


def test_thousands_of_failures_are_counted_and_few_are_shown() -> None:
    """Ten thousand tasks fail, in the second pass half of them are done: the count is right, the list is short."""
    snapshot = begun()
    for number in range(10_000):
        snapshot = fold(snapshot, fetching(f"fetch/{number}"), 1.0)
        snapshot = fold(snapshot, failed(f"fetch/{number}"), 1.0)
    assert snapshot.failed.count == 10_000
    assert list(snapshot.failed.latest) == [
        f"fetch/{number}" for number in range(10_000 - FAILED_SHOWN, 10_000)
    ]
    for number in range(0, 10_000, 2):
        snapshot = fold(snapshot, fetching(f"fetch/{number}"), 2.0)
        snapshot = fold(snapshot, finished(f"fetch/{number}"), 2.0)
    assert snapshot.failed.count == 5000
    assert len(snapshot.failed.latest) == FAILED_SHOWN // 2
    assert "fetch/1" in snapshot.failed
    assert "fetch/2" not in snapshot.failed


def test_one_more_failure_copies_few_names() -> None:
    """What an event costs does not grow with the number of tasks: of all names one small set is made anew."""
    snapshot = begun()
    for number in range(10_000):
        snapshot = fold(snapshot, failed(f"fetch/{number}"), 1.0)
    after = fold(snapshot, failed("one more"), 1.0)
    pairs = zip(snapshot.failed.sets, after.failed.sets, strict=True)
    anew = [after for before, after in pairs if before is not after]
    assert len(anew) == 1
    assert len(anew[0]) < 1000


# --- rows of lists --------------------------------------------------------------------------------------------------


def gathering(task: str = "a") -> TaskStarted:
    return TaskStarted(task=task, kind="pack", dataset="mine")


def rows(task: str, done: int, good: int, **reasons: int) -> RowsMeasured:
    return RowsMeasured(task=task, done=done, total=100, good=good, bytes=10 * done, reasons=reasons)


def test_rows_are_added_up_over_tasks() -> None:
    """Rows of tasks that are done and of those under way, whatever order their ticks come in."""
    added = TasksAdded(task="arrange/mine", count=3, rows=300)
    snapshot = state([added, gathering("a"), gathering("b"), rows("a", 40, 30, http_404=10)])
    assert snapshot.rows == Rows(done=40, total=300, good=30, size_bytes=400, reasons={"http_404": 10})
    ticks = [rows("a", 100, 80, http_404=15, timeout=5), rows("b", 10, 9, timeout=1)]
    more = state([added, gathering("a"), gathering("b"), *ticks, finished("a", "pack", samples=80)])
    assert more.rows.done == 110
    assert more.rows.good == more.samples + 9
    assert more.rows.biggest(1) == [("http_404", 15)]
    assert more.rows.biggest(9) == [("http_404", 15), ("timeout", 6)]
    assert more.rows.good_share == 89 / 110
    assert state([]).rows == Rows()
    assert Rows().good_share == 0.0


def test_a_task_that_fails_takes_its_rows_back() -> None:
    """The next try begins at its first row, so what is shown falls and is never counted twice."""
    begun = [gathering("a"), rows("a", 60, 50), failed("a")]
    assert state(begun).rows.done == 0
    again = state([*begun, gathering("a"), rows("a", 100, 90), finished("a", "pack", samples=90)])
    assert (again.rows.done, again.rows.good) == (100, 90)
    assert state(begun).rows_per_s == 0.0


def test_the_speed_of_rows_and_the_time_that_is_left() -> None:
    """Ten rows a second, of which two hundred are left: twenty seconds; no guess before there is a speed."""
    ticks = [rows("a", 10 * second, 10 * second) for second in range(1, 11)]
    snapshot = state([TasksAdded(count=1, rows=300), gathering("a"), *ticks])
    assert snapshot.rows_per_s == pytest.approx(10.0)
    assert snapshot.rows_remaining_s == pytest.approx(20.0)
    assert state([TasksAdded(count=1, rows=300), gathering("a")]).rows_remaining_s is None
    stalled = replace(snapshot, now_s=snapshot.now_s + RATE_WINDOW_S + 1)
    assert (stalled.rows_per_s, stalled.rows_remaining_s) == (0.0, None)


@given(st.lists(events, max_size=30))
def test_rows_are_never_negative_and_their_views_never_fail(stream: list[Event]) -> None:
    """Whatever comes in whatever order: counts that are counts, and a speed that is none below zero."""
    snapshot = state(stream)
    assert snapshot.rows.done >= 0
    assert snapshot.rows_per_s >= 0.0
    assert snapshot.rows.total >= snapshot.rows_planned
    assert snapshot.rows_remaining_s is None or snapshot.rows_remaining_s > 0.0


def test_a_view_begins_with_nothing() -> None:
    """Before the first event every count is 0, and nothing has a name."""
    empty = Snapshot()
    assert not any(
        getattr(empty, item.name) for item in fields(empty) if item.name not in ("failed", "rows_finished")
    )
    assert Failures() == Failures(0, {}, (frozenset(),) * 64)
    assert (Rows(), Rows().good_share, Rows(done=4, good=1).good_share) == (
        Rows(done=0, total=0, good=0, size_bytes=0, reasons={}),
        0.0,
        0.25,
    )
    assert Rows(reasons={"b": 2, "a": 2, "c": 9, "d": 1}).biggest(3) == [("c", 9), ("a", 2), ("b", 2)]
    assert (RATE_WINDOW_S, FAILED_SHOWN) == (20.0, 20)
