"""adapters/parallel.py: many calls at once, results as they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from g3m.adapters.parallel import each


def test_results_come_as_they_are_ready() -> None:
    """The first that is ready comes first, whatever the order; lines run beside each other."""
    gate = threading.Event()

    def late() -> str:
        assert gate.wait(5)
        return "late"

    results = each([[late], [lambda: "early"]])
    assert next(results) == "early"
    gate.set()
    assert list(results) == ["late"]


def test_the_calls_of_a_line_run_in_turn() -> None:
    """What shares a line never runs at the same time."""
    running: list[int] = []
    most: list[int] = []

    def call() -> int:
        running.append(1)
        most.append(len(running))
        time.sleep(0.005)
        running.pop()
        return len(most)

    assert list(each([[call] * 5])) == [1, 2, 3, 4, 5]
    assert max(most) == 1


def test_no_more_threads_than_workers() -> None:
    """Thirty lines over three workers: three at a time, and none is lost."""
    lock, running, most = threading.Lock(), [0], [0]

    def call() -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.002)
        with lock:
            running[0] -= 1
        return 1

    assert sum(each([[call]] * 30, workers=3)) == 30
    assert most[0] == 3
    assert list(each([])) == []


def test_an_error_reaches_the_caller() -> None:
    """A fault in a call is not swallowed by its thread."""

    def broken() -> int:
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        list(each([[broken]]))


def test_nothing_new_begins_after_the_caller_left() -> None:
    """Whoever stops reading gets his threads back, and the calls that had not begun are not made."""
    made: list[int] = []

    def numbered(number: int) -> Callable[[], int]:
        def call() -> int:
            made.append(number)
            time.sleep(0.01)
            return number

        return call

    results = each([[numbered(number) for number in range(100)]])
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    count = len(made)
    assert count < 100
    time.sleep(0.05)
    assert len(made) == count
