"""Limits that a user sets: bytes a second, by the time of day too, and how long a command may take.

Times are arguments, as everywhere in `core`; who sleeps, and what is slowed down, is decided elsewhere.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from g3m.core.errors import SettingsError

DAY_S = 86400
UNITS = {"B": 1, "K": 1024, "M": 1024**2, "G": 1024**3}

_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([BKMG])(?:IB?)?(?:/S)?", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)", re.ASCII)
_SPAN = re.compile(
    "".join(rf"(?:(\d{{1,9}}(?:\.\d{{1,9}})?){unit})?" for unit in "dhms"), re.ASCII | re.IGNORECASE
)
_SLURM = re.compile(r"(?:(\d{1,6})-(\d{1,2})(?::(\d\d))?(?::(\d\d))?|(\d{1,6}):(\d\d):(\d\d))", re.ASCII)

_RATE_HINT = (
    'write 500K, 8M or 1G (1024-based bytes a second), off, or a timetable: "08:00,1M 23:00,off"',
    '请写成 500K、8M 或 1G（按 1024 计的每秒字节数）、off，或时间表："08:00,1M 23:00,off"',
)
_DURATION_HINT = (
    "write 90m, 11h30m, 45s or 2d, seconds without a unit, or as Slurm does HH:MM:SS or D-HH:MM:SS",
    "请写成 90m、11h30m、45s 或 2d，不带单位则为秒；也可按 Slurm 的写法 HH:MM:SS 或 D-HH:MM:SS",
)


def parse_rate(text: str) -> float | None:
    """Bytes a second, or None for no limit; a number without a unit is refused, because tools disagree on it.

    >>> parse_rate("8M"), parse_rate("1.5k"), parse_rate("off"), parse_rate("0")
    (8388608.0, 1536.0, None, None)
    """
    wanted = text.strip().upper()
    if wanted in ("OFF", "0"):
        return None
    found = _RATE.fullmatch(wanted)
    if found is None:
        raise SettingsError(f"bwlimit: {text!r} is no rate", hint=_RATE_HINT)
    return float(found[1]) * UNITS[found[2]] or None


@dataclass(frozen=True, slots=True)
class Timetable:
    """Which rate holds from which second of the day on; without entries there is no limit."""

    entries: tuple[tuple[int, float | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Timetable:
        """From one rate, or from entries `HH:MM,RATE` with blanks between; empty means no limit.

        >>> Timetable.parse("23:00,off 08:00,1M").entries
        ((28800, 1048576.0), (82800, None))
        """
        if "," not in text:
            return cls(((0, parse_rate(text)),)) if text.strip() else cls()
        entries: dict[int, float | None] = {}
        for entry in text.split():
            clock, _, rate = entry.partition(",")
            found = _CLOCK.fullmatch(clock)
            if found is None or int(found[1]) > 23 or int(found[2]) > 59:
                raise SettingsError(f"bwlimit: {clock!r} is no time of day", hint=_RATE_HINT)
            second = int(found[1]) * 3600 + int(found[2]) * 60
            if second in entries:
                raise SettingsError(f"bwlimit: {clock} stands there twice", hint=_RATE_HINT)
            entries[second] = parse_rate(rate)
        return cls(tuple(sorted(entries.items())))

    def rate_at(self, second_of_day: float) -> float | None:
        """The rate at a local time of day; before the first entry that of the day before still holds."""
        if not self.entries:
            return None
        begins = [begin for begin, _ in self.entries]
        return self.entries[bisect_right(begins, second_of_day % DAY_S) - 1][1]


def parse_duration(text: str) -> float:
    """Seconds from `90m`, `11h30m`, `45s`, `2d`, `3600`, or Slurm's `HH:MM:SS` and `D-HH:MM:SS`.

    >>> parse_duration("11h30m"), parse_duration("3600"), parse_duration("1-02:00:00")
    (41400.0, 3600.0, 93600.0)
    """
    wanted, seconds = text.strip(), 0.0
    if slurm := _SLURM.fullmatch(wanted):
        days, *with_days, hours, minutes, rest = (int(group or 0) for group in slurm.groups())
        hours, minutes, rest = hours + with_days[0], minutes + with_days[1], rest + with_days[2]
        if minutes < 60 and rest < 60 and (slurm[1] is None or hours < 24):
            seconds = float(days * DAY_S + hours * 3600 + minutes * 60 + rest)
    elif found := _SPAN.fullmatch(wanted if wanted[-1:].isalpha() else f"{wanted}s"):
        factors = (DAY_S, 3600, 60, 1)
        seconds = sum(float(part or 0) * factor for part, factor in zip(found.groups(), factors, strict=True))
    if not seconds:
        raise SettingsError(f"{text!r} is no length of time", hint=_DURATION_HINT)
    return seconds


class Bucket:
    """A bucket of tokens: who takes only while `wait_s` is 0 stays below `rate` after a burst of `burst_s`.

    What is taken is booked in full, also into debt, because bytes that have arrived cannot be sent back.
    Not thread-safe. `rate` is in bytes a second; None means no limit.
    """

    def __init__(self, rate: float | None, burst_s: float = 1.0) -> None:
        self._rate = rate
        self._burst_s = burst_s
        self._tokens = (rate or 0.0) * burst_s
        self._last_s: float | None = None

    @property
    def rate(self) -> float | None:
        """The rate in force."""
        return self._rate

    def set_rate(self, now_s: float, rate: float | None) -> None:
        """From now on another rate; what is saved up, or owed, keeps its length in seconds."""
        self._fill(now_s)
        if rate != self._rate:
            self._tokens = self._tokens / self._rate * rate if self._rate and rate else 0.0
            self._rate = rate

    def take(self, now_s: float, size_bytes: int) -> None:
        """Book bytes that have come."""
        self._fill(now_s)
        if self._rate is not None:
            self._tokens -= size_bytes

    def wait_s(self, now_s: float, size_bytes: int = 0) -> float:
        """Seconds until so many bytes may come without exceeding the rate, or until the bucket is full."""
        self._fill(now_s)
        if self._rate is None:
            return 0.0
        wanted = min(size_bytes, self._rate * self._burst_s)
        return max(0.0, (wanted - self._tokens) / self._rate)

    def _fill(self, now_s: float) -> None:
        # A step backwards gives nothing and costs nothing: time goes on from there.
        passed_s = max(0.0, now_s - self._last_s) if self._last_s is not None else 0.0
        self._last_s = now_s
        if self._rate is not None:
            self._tokens = min(self._tokens + passed_s * self._rate, self._rate * self._burst_s)
