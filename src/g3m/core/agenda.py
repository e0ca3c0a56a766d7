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
        self._missing: dict[str, set[str]] = {}
        """The needs of a waiting task that are not done yet."""
        self._blocked: dict[str, list[str]] = {}
        """The waiting tasks that a task holds up."""
        self._ready: dict[str, None] = {}
        self._running: set[str] = set()
        self._done: set[str] = set()
        self.failed: dict[str, Task] = {}
        self.add(tasks)

    def add(self, tasks: Iterable[Task]) -> int:
        """Take more tasks; one that is known already is left as it is. Returns how many are new."""
        known = len(self._waiting)
        for task in tasks:
            known_already = task.id in self._waiting or task.id in self._done or task.id in self._running
            if not known_already and task.id not in self.failed:
                self._waiting[task.id] = task
                self._missing[task.id] = set()
                self._await(task.id, task.needs)
        return len(self._waiting) - known

    def _await(self, task_id: str, needs: Iterable[str]) -> None:
        missing = self._missing[task_id]
        for need in needs:
            if need not in self._done and need not in missing:
                missing.add(need)
                self._blocked.setdefault(need, []).append(task_id)
        if missing:
            self._ready.pop(task_id, None)
        else:
            self._ready[task_id] = None

    def extend_needs(self, task_id: str, needs: Iterable[str]) -> None:
        """A waiting task turns out to need more."""
        task, needs = self._waiting[task_id], tuple(needs)
        self._waiting[task_id] = replace(task, needs=(*task.needs, *needs))
        self._await(task_id, needs)

    def take_ready(self) -> list[Task]:
        """The tasks whose needs are done; they count as running from now on."""
        ready = [self._waiting.pop(task_id) for task_id in self._ready]
        self._ready.clear()
        for task in ready:
            del self._missing[task.id]
            self._running.add(task.id)
        return ready

    def finish(self, task_id: str) -> None:
        """A task is done."""
        self._running.discard(task_id)
        self._done.add(task_id)
        for blocked in self._blocked.pop(task_id, ()):
            missing = self._missing.get(blocked)
            if missing is not None:
                missing.discard(task_id)
                if not missing:
                    self._ready[blocked] = None

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
