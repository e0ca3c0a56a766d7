"""runners/local.py: one lane for the network, one for the work; whatever happens in a task, the run ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.session import Session
from g3m.core.agenda import Agenda
from g3m.core.errors import G3MError, Interrupted, Missing
from g3m.core.events import Event, Noted
from g3m.core.plan import Task
from g3m.runners.local import DOWNLOADS, run_local
from g3m.runners.run import make_session

LONG_S = 30.0

Run = Callable[[Task], Iterator[Event]]


def tasks(kind: Any, count: int, *, needs: tuple[str, ...] = ()) -> list[Task]:
    return [Task(id=f"{kind}/{n}", kind=kind, dataset="d", needs=needs) for n in range(count)]


def session_of(tmp_path: Path, **options: object) -> Session:
    return make_session({"root": str(tmp_path), **options}, {})


def finish(agenda: Agenda, task: Task, outcome: object) -> None:
    """What `drive` does with a report."""
    if outcome is None:
        agenda.finish(task.id)
    elif isinstance(outcome, G3MError):
        agenda.fail(task)


def run_all(agenda: Agenda, run: Run, session: Session) -> list[tuple[str, object]]:
    seen = []
    for task, outcome in run_local(agenda, run, session, lambda: None):
        seen.append((task.id, outcome))
        finish(agenda, task, outcome)
    return seen


def test_reports_of_a_task_come_in_order_and_end_with_none(tmp_path: Path) -> None:
    """Events first, in their order, then None; of every task; on the caller's thread."""

    def run(task: Task) -> Iterator[Event]:
        for number in range(20):
            yield Noted(task=task.id, text=str(number))

    seen = run_all(Agenda([*tasks("fetch", 3), *tasks("pack", 3)]), run, session_of(tmp_path))
    for name in {name for name, _ in seen}:
        own = [outcome for one, outcome in seen if one == name]
        assert own == [*(Noted(task=name, text=str(number)) for number in range(20)), None]
    assert len(seen) == 6 * 21


def test_nothing_to_do_ends_at_once(tmp_path: Path) -> None:
    """An empty agenda, and one in which nothing is ready, end."""
    assert run_all(Agenda([]), lambda _: iter(()), session_of(tmp_path)) == []
    stuck = Agenda(tasks("pack", 1, needs=("never",)))
    assert run_all(stuck, lambda _: iter(()), session_of(tmp_path)) == []
    assert [task.id for task in stuck.waiting] == ["pack/0"]


def test_a_few_downloads_at_a_time_and_as_many_jobs_as_set(tmp_path: Path) -> None:
    """Fetches overlap up to their limit, packing up to `jobs`, and both run beside each other."""
    lock, now, most = threading.Lock(), {"fetch": 0, "pack": 0}, {"fetch": 0, "pack": 0, "both": 0}
    together = {"fetch": threading.Barrier(DOWNLOADS), "pack": threading.Barrier(3)}

    def run(task: Task) -> Iterator[Event]:
        with lock:
            now[task.kind] += 1
            most[task.kind] = max(most[task.kind], now[task.kind])
            most["both"] = max(most["both"], sum(now.values()))
        together[task.kind].wait(timeout=LONG_S)
        time.sleep(0.01)
        with lock:
            now[task.kind] -= 1
        yield from ()

    run_all(Agenda([*tasks("fetch", 3 * DOWNLOADS), *tasks("pack", 6)]), run, session_of(tmp_path, jobs=3))
    assert (most["fetch"], most["pack"]) == (DOWNLOADS, 3)
    assert most["both"] > max(DOWNLOADS, 3)


def test_a_task_begins_when_its_needs_are_done(tmp_path: Path) -> None:
    """What needs a task is not begun before the caller has seen its end."""
    order: list[str] = []
    lock = threading.Lock()

    def run(task: Task) -> Iterator[Event]:
        with lock:
            order.append(task.id)
        yield Noted(task=task.id, text="x")

    needing = tasks("pack", 2, needs=("fetch/0", "fetch/1"))
    run_all(Agenda([*needing, *tasks("fetch", 2)]), run, session_of(tmp_path))
    assert set(order[:2]) == {"fetch/0", "fetch/1"}
    assert set(order[2:]) == {"pack/0", "pack/1"}


def test_errors_are_reports(tmp_path: Path) -> None:
    """An error of ours comes as it is, the others go on; what needs the failed task never runs."""
    error = Missing("gone")

    def run(task: Task) -> Iterator[Event]:
        yield Noted(task=task.id, text="x")
        if task.id == "fetch/0":
            raise error

    agenda = Agenda([*tasks("fetch", 2), *tasks("pack", 1, needs=("fetch/0",))])
    seen = run_all(agenda, run, session_of(tmp_path))
    assert ("fetch/0", error) in seen
    assert ("fetch/1", None) in seen
    assert "pack/0" not in {name for name, _ in seen}
    assert list(agenda.failed) == ["fetch/0"]


@pytest.mark.parametrize(
    "kind", [ValueError, KeyError, ZeroDivisionError, MemoryError, RecursionError, OSError]
)
def test_a_defect_is_a_report_with_its_place(tmp_path: Path, kind: type[Exception]) -> None:
    """Any exception in a task names the task, the kind and the line where it was raised; the run ends."""

    def run(task: Task) -> Iterator[Event]:
        yield Noted(task=task.id, text="x")
        raise kind("what")  # the line in the message

    line = next(
        n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "# the line in the" in text
    )
    seen = run_all(Agenda(tasks("pack", 1)), run, session_of(tmp_path))
    error = seen[-1][1]
    assert type(error) is G3MError
    assert error.message.startswith(f"pack/0: {kind.__name__}: ")
    assert f"{Path(__file__).name}:{line})" in error.message


def test_a_defect_before_the_first_event(tmp_path: Path) -> None:
    """A step that fails while it is called, too."""

    def run(task: Task) -> Iterator[Event]:
        raise TypeError("called wrongly")

    ((_, error),) = run_all(Agenda(tasks("pack", 1)), run, session_of(tmp_path))
    assert isinstance(error, G3MError)
    assert "TypeError: called wrongly" in error.message


def test_a_stop_ends_all(tmp_path: Path) -> None:
    """Once the flag is set no task begins any more, and running ones that look at it end the run."""
    session = session_of(tmp_path, jobs=2)
    begun = threading.Event()

    def run(task: Task) -> Iterator[Event]:
        begun.set()
        while True:
            session.check_stop()
            time.sleep(0.01)
            yield Noted(task=task.id, text="x")

    def stop() -> None:
        begun.wait(timeout=LONG_S)
        session.stop.set()

    thread = threading.Thread(target=stop)
    thread.start()
    agenda = Agenda([*tasks("fetch", 5), *tasks("pack", 5)])
    seen = run_all(agenda, run, session)
    thread.join()
    ends = [outcome for _, outcome in seen if isinstance(outcome, G3MError)]
    assert all(isinstance(end, Interrupted) for end in ends)
    assert len(ends) == len(agenda.failed) == 10  # those begun and those handed to a lane, none forgotten


def test_what_becomes_ready_after_a_stop_is_left_waiting(tmp_path: Path) -> None:
    """The last task before a stop is done; what needed it is not even taken: it has not failed, the next run does it."""
    session = session_of(tmp_path)

    def run(task: Task) -> Iterator[Event]:
        session.stop.set()
        yield from ()

    agenda = Agenda([*tasks("fetch", 1), *tasks("pack", 3, needs=("fetch/0",))])
    assert run_all(agenda, run, session) == [("fetch/0", None)]
    assert [task.id for task in agenda.waiting] == ["pack/0", "pack/1", "pack/2"]
    assert agenda.failed == {}


def test_tasks_that_wait_for_a_lane_do_not_begin_after_a_stop(tmp_path: Path) -> None:
    """Of ten downloads in the lane, those behind the stopped one are given up without a byte."""
    session = session_of(tmp_path)
    ran: list[str] = []

    def run(task: Task) -> Iterator[Event]:
        ran.append(task.id)
        session.stop.set()
        yield from ()

    seen = run_all(Agenda(tasks("fetch", 10)), run, session)
    assert ran == ["fetch/0"]
    assert sum(isinstance(outcome, Interrupted) for _, outcome in seen) == 9


@pytest.mark.parametrize("kind", [KeyboardInterrupt, BrokenPipeError])
def test_who_stops_listening_stops_the_tasks(tmp_path: Path, kind: type[BaseException]) -> None:
    """Ctrl-C in a notebook, or a sink whose pipe broke: the run does not go on unseen until its download's end."""
    session = session_of(tmp_path)
    ended = threading.Event()

    def run(task: Task) -> Iterator[Event]:
        for _ in range(6000):  # a long download, which looks at the flag
            if session.stop.is_set():
                ended.set()
                raise Interrupted("stopped")
            time.sleep(0.01)
            yield Noted(task=task.id, text="x")

    def listen() -> None:
        for _ in run_local(Agenda(tasks("fetch", 1)), run, session, lambda: None):
            raise kind

    with pytest.raises(kind):
        listen()
    assert ended.wait(timeout=LONG_S)


def test_the_run_shows_that_it_is_alive(tmp_path: Path) -> None:
    """While a long task says nothing, the heartbeat goes on."""
    beats: list[float] = []

    def run(task: Task) -> Iterator[Event]:
        end_s = time.monotonic() + LONG_S
        while len(beats) < 3 and time.monotonic() < end_s:
            time.sleep(0.01)
        yield from ()

    agenda = Agenda(tasks("pack", 1))
    for task, outcome in run_local(agenda, run, session_of(tmp_path), lambda: beats.append(time.monotonic())):
        finish(agenda, task, outcome)
    assert len(beats) >= 3
