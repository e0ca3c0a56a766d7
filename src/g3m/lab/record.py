"""The record of requests: tests read in it what went where, and what did not."""

from __future__ import annotations

import threading
from dataclasses import replace

from g3m.lab.messages import Request


class Line:
    """A line of the record; its count grows while the body goes out."""

    def __init__(self, request: Request) -> None:
        self.request = request


class Record:
    """Every request in the order of arrival, from the moment its answer is decided."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._lock = threading.Lock()

    def begin(self, request: Request) -> Line:
        """Write a line down."""
        line = Line(request)
        with self._lock:
            self._lines.append(line)
        return line

    def count(self, line: Line, sent_bytes: int) -> None:
        """Add to what was sent."""
        with self._lock:
            total = line.request.sent_bytes + sent_bytes
            line.request = replace(line.request, sent_bytes=total)

    def requests(self) -> list[Request]:
        """What is written down by now."""
        with self._lock:
            return [line.request for line in self._lines]

    def clear(self) -> None:
        """Begin an empty page."""
        with self._lock:
            self._lines.clear()
