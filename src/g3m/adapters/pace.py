"""How fast all downloads together may be: `--bwlimit`, by the clock on the wall, for every thread."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Lock

from g3m.core.limits import Bucket, Timetable


class Pace:
    """Bytes are booked as they come; who has come too fast waits before reading on."""

    def __init__(self, timetable: Timetable | None, monotonic: Callable[[], float]) -> None:
        """Without a timetable nothing is limited."""
        self._timetable = timetable
        self._monotonic = monotonic
        self._bucket = Bucket(self.rate_bytes_per_s)
        self._lock = Lock()

    @property
    def rate_bytes_per_s(self) -> float | None:
        """The limit at this time of the day, or None."""
        if self._timetable is None:
            return None
        now = datetime.now()  # noqa: DTZ005  # a timetable is read off the clock on the wall
        return self._timetable.rate_at(now.hour * 3600 + now.minute * 60 + now.second)

    def take(self, size_bytes: int) -> None:
        """Book bytes that have come."""
        if self._timetable is not None:
            with self._lock:
                self._bucket.take(self._monotonic(), size_bytes)

    def wait_s(self) -> float:
        """How long not to read on."""
        if self._timetable is None:
            return 0.0
        with self._lock:
            now_s = self._monotonic()
            self._bucket.set_rate(now_s, self.rate_bytes_per_s)
            return self._bucket.wait_s(now_s)
