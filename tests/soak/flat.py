"""The rule that says whether a long-lived process leaks.

Of a series of samples the first quarter is warming up. What is compared is the median of the second quarter with the
median of the last: a leak has gone on for half of the whole time between the two, and a single high moment moves no
median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

LEAST_SAMPLES = 16
"""Fewer say nothing: a quarter of them would be three."""

MIB = 2**20


@dataclass(frozen=True)
class Slack:
    """How far the last median may lie above the second quarter's."""

    absolute: float
    share: float = 0.0

    def allowed(self, before: float) -> float:
        return max(self.absolute, self.share * before)


SLACKS: Mapping[str, Slack] = {
    "rss_bytes": Slack(8 * MIB, 0.05),
    "descriptors": Slack(2),
    "threads": Slack(1),
    "children": Slack(1),
    "zombies": Slack(0),
}
"""What is looked at. Memory has room for an allocator's habits, the others for a connection or worker more."""


@dataclass(frozen=True)
class Verdict:
    """What the rule says of one series."""

    name: str
    first: float
    before: float
    after: float
    last: float
    flat: bool

    def __str__(self) -> str:
        words = "flat" if self.flat else "RISES"
        numbers = " ".join(f"{value:g}" for value in (self.first, self.before, self.after, self.last))
        return f"{self.name}: {words} (first, 2nd quarter, last quarter, last: {numbers})"


def judge(name: str, series: Sequence[float], slack: Slack) -> Verdict:
    """Whether a series is flat; ValueError if it is too short to say."""
    if len(series) < LEAST_SAMPLES:
        raise ValueError(f"{name}: {len(series)} samples are too few")
    quarter = len(series) // 4
    before, after = median(series[quarter : 2 * quarter]), median(series[-quarter:])
    return Verdict(name, series[0], before, after, series[-1], after - before <= slack.allowed(before))


def judge_all(samples: Sequence[Mapping[str, float]]) -> list[Verdict]:
    """The verdict on everything that was sampled of one process."""
    return [judge(name, [one[name] for one in samples], slack) for name, slack in SLACKS.items()]
