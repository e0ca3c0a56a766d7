"""Whether to try again, and when: a policy as a value and one pure decision.

A connection that broke after bytes had flowed is normal on a bad link: the next attempt begins at
once and counts nothing. Only attempts without a single byte wear a route out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from g3m.core.errors import Advice, G3MError, Throttled


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient a route is treated; seconds, and counts of attempts in a row without a byte."""

    empty_attempts: int = 5
    throttled_attempts: int = 10
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happened on a route so far: attempts in a row that brought no byte."""

    empty: int = 0
    throttled: int = 0

    def after(self, error: G3MError, gained_bytes: int) -> History:
        """The history with one more failed attempt."""
        if gained_bytes > 0:
            return History()
        if isinstance(error, Throttled):
            return History(empty=self.empty, throttled=self.throttled + 1)
        return History(empty=self.empty + 1, throttled=self.throttled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`again` after `wait_s` seconds on the same route, or `drop` it and take the next."""

    action: Literal["again", "drop"]
    wait_s: float = 0.0


def decide(policy: Policy, error: G3MError, history: History, jitter: float) -> Verdict:
    """What to do after a failure; `history` includes it, `jitter` is from 0 to 1."""
    if error.advice in (Advice.NEVER, Advice.OTHER_PLACE):
        return Verdict(action="drop")
    if history.empty >= policy.empty_attempts or history.throttled >= policy.throttled_attempts:
        return Verdict(action="drop")
    failures = history.empty + history.throttled
    wait_s = 0.0
    if failures > 0:
        # 2 ** 64 half seconds are above any longest wait, and 2 ** 1024 is no float any more.
        wait_s = min(policy.first_wait_s * 2.0 ** min(failures - 1, 64), policy.longest_wait_s)
        wait_s *= 0.5 + jitter / 2
    if isinstance(error, Throttled):
        wait_s = max(wait_s, error.after_s)
    return Verdict(action="again", wait_s=wait_s)
