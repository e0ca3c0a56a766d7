"""Runs calls side by side in threads and hands their results over as they come.

A call may hang in the system (a resolver that does not answer): the threads are daemons, and nobody waits
for one that is given up. What a call raises is raised to the caller.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Result = TypeVar("Result")
Line = Sequence[Callable[[], Result]]
"""Calls that run one after the other."""

WORKERS = 16
FAREWELL_S = 1.0


def each(lines: Sequence[Line[Result]], workers: int = WORKERS) -> Iterator[Result]:
    """The results of all calls; lines run side by side, the calls of a line in turn."""
    waiting: queue.SimpleQueue[Line[Result]] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()
    closing = threading.Event()

    def work() -> None:
        while not closing.is_set():
            try:
                line = waiting.get_nowait()
            except queue.Empty:
                return
            for call in line:
                try:
                    results.put((call(), None))
                except BaseException as error:  # noqa: BLE001  # it is raised where the results are read
                    results.put((None, error))
                if closing.is_set():
                    return

    for line in lines:
        waiting.put(line)
    threads = [
        threading.Thread(target=work, name="g3m-parallel", daemon=True)
        for _ in range(min(workers, len(lines)))
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(sum(map(len, lines))):
            result, error = results.get()
            if error is not None:
                raise error
            yield result  # type: ignore[misc]
    finally:
        closing.set()
        for thread in threads:
            thread.join(FAREWELL_S)
