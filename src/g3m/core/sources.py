"""One route during a download: how fast it is, how it fares, how many connections it is worth.

A source begins with one connection. When its first answer is right it may have four, and twice as many
each quarter of a second that nothing goes wrong, up to the cap for a host or to what the server admits.
Whether so many are needed is tried out later (core/schedule.py): what brings nothing is given back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from g3m.core.retry import History
from g3m.core.routes import Route
from g3m.core.spans import Spans

WINDOW_S = 2.0
FIRST_LEVEL = 8
GROWTH_S = 0.1
CEILING_S = 60.0
"""How long a server's limit on connections is believed before one more is tried."""

DOUBT_S = 1.0


class Meter:
    """Bytes a second over about the last two seconds; cheap enough to be told of every chunk."""

    __slots__ = ("_marks", "total_bytes")

    def __init__(self, now_s: float) -> None:
        self.total_bytes = 0
        self._marks: deque[tuple[float, int]] = deque([(now_s, 0)])

    def add(self, size_bytes: int, now_s: float) -> None:
        self.total_bytes += size_bytes
        marks = self._marks
        if now_s - marks[-1][0] >= WINDOW_S / 8:
            marks.append((now_s, self.total_bytes))
            while len(marks) > 2 and now_s - marks[1][0] >= WINDOW_S:
                marks.popleft()

    def rate(self, now_s: float) -> float:
        """Falls towards zero while nothing comes."""
        while len(self._marks) > 1 and now_s - self._marks[1][0] >= WINDOW_S:
            self._marks.popleft()
        then_s, then = self._marks[0]
        return (self.total_bytes - then) / max(now_s - then_s, 0.05)


@dataclass(slots=True, eq=False, kw_only=True)
class Source:
    """A route, with what this download has learned of it; times are of the caller's clock."""

    route: Route
    rank: int
    cap: int
    meter: Meter
    level: int = 1
    ceiling: int = 0
    firm: bool = False
    """Whether the ceiling is the server's word."""
    ceiling_until_s: float = 0.0
    grown_s: float = 0.0
    good: bool = False
    """Its last answer was right; until then it has one connection, to prove itself."""
    first_level: int = FIRST_LEVEL
    """How many connections it has as soon as it has proved itself."""
    reserve: bool = False
    """Of use only when nothing else is left: it lied of late."""
    best_bytes_per_s: float = 0.0
    """The most that all its connections together carried."""
    has: Spans | None = None
    """The ranges that it can serve; None: all."""
    whole_only: bool = False
    """It ignores ranges: of use only from the first byte on, when nothing else is left."""
    latency_s: float = 0.0
    rate_bytes_per_s: float = 0.0
    """Of one connection, as last measured; 0 if unknown."""
    rest_until_s: float = 0.0
    history: History = field(default_factory=History)
    spent: bool = False
    """Failed as often as the policy allows; tried again now and then as long as others work."""
    dropped: str = ""
    """Why it is not used any more; empty while it is."""

    def __post_init__(self) -> None:
        self.ceiling = self.ceiling or self.cap

    def may_start(self, connections: int, now_s: float) -> bool:
        """Whether it may have one more connection than these."""
        if self.dropped or now_s < self.rest_until_s:
            return False
        return connections < (min(self.level, self.ceiling) if self.good and not self.whole_only else 1)

    def answered(self, took_s: float, now_s: float) -> None:
        """A right head came after `took_s`."""
        self.latency_s = took_s if not self.latency_s else 0.7 * self.latency_s + 0.3 * took_s
        if not self.good:
            self.good, self.grown_s = True, now_s
            self.level = min(max(self.level, self.first_level), self.cap)

    def received(self, size_bytes: int, now_s: float) -> None:
        self.meter.add(size_bytes, now_s)
        if size_bytes:
            self.history, self.spent = History(), False

    def grow(self, connections: int, flowing: int, now_s: float) -> None:
        """Twice the connections, when it has all that it may have and bytes flow."""
        if self.ceiling < self.cap and now_s >= self.ceiling_until_s:
            self.ceiling = self.ceiling + 1 if self.firm else self.cap
            self.ceiling_until_s = now_s + CEILING_S
        if connections < min(self.level, self.ceiling) or not flowing or self.level >= self.cap:
            return
        if now_s - self.grown_s >= GROWTH_S + self.latency_s:
            self.level, self.grown_s = min(2 * self.level, self.cap), now_s

    def refused_one_more(self, admitted: int, wait_s: float, now_s: float, *, said: bool) -> None:
        """A connection was turned away while others flow: so many it admits, and no more for a while.

        `said` is true if the server told so (429, 503); a connection that merely broke is believed for a
        second. `wait_s` is how long it asked not to be asked.
        """
        self.rest_until_s = max(self.rest_until_s, now_s + wait_s)
        self.ceiling = max(admitted, 1)
        self.firm = said
        self.ceiling_until_s = now_s + (CEILING_S if said else DOUBT_S)

    def rest(self, seconds: float, now_s: float) -> None:
        """No new connection for a while; the next one must prove the source again."""
        self.rest_until_s = now_s + seconds
        self.good, self.level = False, 1
