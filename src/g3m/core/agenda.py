"""Which task may run next: the order of dependence, as plain data that any runner can use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from g3m.core.plan import Task


class Agenda:
    """Tasks with their needs. A task whose need has failed is never ready; the others go on.

    Not thread-safe: one thread keeps the agenda and hands out tasks.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._waiting: dict[str, Task] = {}
        self._running: set[str] = set()
        self._done: set[str] = set()
        self.failed: dict[str, Task] = {}
        self.add(tasks)

    def add(self, tasks: Iterable[Task]) -> int:
        """Take more tasks; one that is known already is left as it is. Returns how many are new."""
        known = len(self._waiting)
        for task in tasks:
            if task.id not in self._done and task.id not in self._running and task.id not in self.failed:
                self._waiting.setdefault(task.id, task)
        return len(self._waiting) - known

    def extend_needs(self, task_id: str, needs: Iterable[str]) -> None:
        """A waiting task turns out to need more."""
        task = self._waiting[task_id]
        self._waiting[task_id] = replace(task, needs=(*task.needs, *needs))

    def take_ready(self) -> list[Task]:
        """The tasks whose needs are done; they count as running from now on."""
        ready = [task for task in self._waiting.values() if self._done.issuperset(task.needs)]
        for task in ready:
            del self._waiting[task.id]
            self._running.add(task.id)
        return ready

    def finish(self, task_id: str) -> None:
        """A task is done."""
        self._running.discard(task_id)
        self._done.add(task_id)

    def fail(self, task: Task) -> None:
        """A task gave up."""
        self._running.discard(task.id)
        self.failed[task.id] = task

    def retry_failed(self) -> int:
        """Let the failed tasks wait again; returns how many there are."""
        again, self.failed = self.failed, {}
        return self.add(again.values())

    @property
    def busy(self) -> bool:
        """Whether a task is running."""
        return bool(self._running)

    @property
    def waiting(self) -> tuple[Task, ...]:
        """Tasks that are not ready; once nothing runs, a need of theirs has failed."""
        return tuple(self._waiting.values())
