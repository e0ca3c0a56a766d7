"""The rows of a crowd that wait: before a door, or until they may be tried again. For one thread."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from g3m.adapters.rows import Door, Row


class Waiting:
    """Queues by what is waited for, and a heap of second tries by when they are due."""

    def __init__(self) -> None:
        self.count = 0
        """How many wait before doors."""
        self._before: dict[Door, deque[Row]] = {}
        self._later: list[tuple[float, int, Row]] = []
        self._order = 0

    def __bool__(self) -> bool:
        return bool(self._before or self._later)

    @property
    def doors(self) -> list[Door]:
        """What is waited for, longest unseen first."""
        return list(self._before)

    def put(self, door: Door, row: Row) -> None:
        self._before.setdefault(door, deque()).append(row)
        self.count += 1

    def wake(self, door: Door, passes: Callable[[Row], Door | None], may: Callable[[], bool]) -> None:
        """Let the rows before a door try again, the first first, until one has to stay, or `may` says no.

        `passes` takes a row on, or says before which door it stands now.
        """
        rows = self._before.pop(door, None)
        while rows and may():
            now = passes(rows[0])
            if now == door:
                break
            row = rows.popleft()
            self.count -= 1
            if now is not None:
                self.put(now, row)
        if rows:  # at the end of the line, so that all doors have their turn
            rows.extend(self._before.pop(door, ()))
            self._before[door] = rows

    def take(self, door: Door) -> list[Row]:
        """All rows before a door, which wait no longer."""
        rows = self._before.pop(door, deque())
        self.count -= len(rows)
        return list(rows)

    def again(self, due_s: float, row: Row) -> None:
        """A row is to be tried again, not before that time."""
        self._order += 1
        heapq.heappush(self._later, (due_s, self._order, row))

    def due(self, now_s: float) -> Row | None:
        """The next row whose time for a second try has come."""
        if self._later and self._later[0][0] <= now_s:
            return heapq.heappop(self._later)[2]
        return None

    def take_later(self) -> list[Row]:
        """All rows that were to be tried again."""
        rows = [row for _, _, row in sorted(self._later, key=lambda entry: entry[1])]
        self._later.clear()
        return rows

    def take_all(self) -> list[Row]:
        """All rows that wait for whatever."""
        return [row for door in self.doors for row in self.take(door)] + self.take_later()
