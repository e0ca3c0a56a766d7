"""How g3m treats thousands of hosts: limits, rests, second tries, the tail.

Decisions only: time and chance are arguments, requests are made in adapters/crowd.py. Rows and their reasons
are those of core/outcomes.py; when to stop as a whole is decided in core/alarm.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from g3m.core.outcomes import GOOD, STAND_IN, may_succeed

NETWORK = frozenset({"name_unknown", "name_failed", STAND_IN, "unreachable", "timeout", "too_slow", "tls"})
"""Reasons that a dead network gives to every row, whatever the rows are like."""

OTHER_WAY = NETWORK - {"name_unknown", "name_failed", STAND_IN}
"""Reasons for which another proxy, or none, may be the answer."""

LONGEST_REST_S = 60.0
FIRST_REST_S = 1.0
FAILURES_TO_REST = 8
"""So many failures in a row, with no answer of any kind between, and a host is given a rest too."""

ANSWER_S = 10.0
ANSWER_SHARE = 3
"""A host that has answered nothing yet has so long for a first byte, or that part of a row's time if more."""

UNKNOWN_REQUESTS = 2
"""A host that has answered nothing yet has so many requests at once."""

PATIENCE_S = UNKNOWN_REQUESTS * ANSWER_S
"""It is held to be silent after so much waiting in vain, all requests to it together."""

LIVELY_S = 5.0
"""The network is alive if any host answered in so many seconds: only then is it the host that is silent."""

GOOD_TO_GROW = 10
"""After so many answers a host that had been slowed down may have one more request at once."""

FIRST_RETRY_S = 0.5
LEAST_RETRIES = 10
RETRY_ROWS = 10
SLOWEST_TENTH = 0.9

ROBOTS = "robots"
"""How an answer to a request for robots.txt is told of, whatever it says."""

_BUSY = ("http_429", "http_503")


@dataclass(frozen=True, slots=True, kw_only=True)
class CrowdLimits:
    """What one task may ask for; seconds and bytes, and the words of docs/guides/politeness.md."""

    requests: int = 256
    per_host: int = 16
    total_s: float = 30.0
    """For one row, over all its redirects and tries; waiting for its turn does not count."""
    idle_bytes_per_s: int = 1024
    idle_s: float = 20.0
    connect_s: float = 10.0
    body_bytes: int = 50 * 2**20
    held_bytes: int = 256 * 2**20
    """Of all bodies that are under way together; beyond it the largest ones alone go on."""
    redirects: int = 5
    retries: int = 2
    tail: float = 2.0
    """What is left at the end may take so many times what the slowest tenth took ..."""
    tail_least_s: float = 5.0
    """... but always so long."""
    abreast: int = 0
    """So many tasks of a process take rows at once, without those that took their last. 0: any number."""
    alarm: bool = True
    """Whether to stop when nearly everything fails; rows that failed before are no sign of a dead network."""

    @property
    def answer_s(self) -> float:
        """How long a host that has answered nothing yet may take for its first byte."""
        return max(ANSWER_S, self.total_s / ANSWER_SHARE)


@dataclass(slots=True)
class HostState:
    """What is known of one host; whoever holds it calls its methods one at a time."""

    limit: int
    under_way: int = 0
    rest_until_s: float = 0.0
    reason: str = ""
    """Why it rests."""
    known_good: bool = False
    answered: bool = False
    """Whether it ever answered a request for a picture, in whatever words; robots.txt is another matter."""
    heard_s: float = 0.0
    """When it answered last, or was first asked again after a pause in which nothing was wrong."""
    failed_s: float = 0.0
    """When the failures began that have gone on since; what was waited for in vain failed all the while."""
    allowed: int = field(init=False)
    _waited_s: float = 0.0
    _probe_s: float = 0.0
    _strikes: int = 0
    _failures: int = 0
    _answers: int = 0

    def __post_init__(self) -> None:
        self.allowed = self.limit

    @property
    def failing(self) -> bool:
        """Whether nothing but failures came for a while: no row of it is worth a second try now."""
        return self._failures >= FAILURES_TO_REST or self.silent

    @property
    def silent(self) -> bool:
        """Whether it never answered, and had its time: its rows are over, but for one now and then."""
        return not self.answered and self._waited_s >= PATIENCE_S

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost by forgetting it, but for `known_good`."""
        return not (self.under_way or self._strikes or self._failures or self._waited_s)

    def may_start(self, now_s: float) -> Literal["yes", "full", "rests", "silent"]:
        if self.silent:
            return "silent" if self.under_way or now_s < max(self._probe_s, self.rest_until_s) else "yes"
        if now_s < self.rest_until_s:
            return "rests"
        most = self.allowed
        if not self.answered:
            most = 1 if self._waited_s else min(most, UNKNOWN_REQUESTS)
        return "yes" if self.under_way < most else "full"

    def started(self, now_s: float) -> None:
        """A request began."""
        if not (self.under_way or self._failures or self._waited_s):
            self.heard_s = now_s
        self.under_way += 1

    def ended(
        self, reason: str, now_s: float, *, asked_s: float = 0.0, jitter: float = 0.5, waited_s: float = 0.0
    ) -> None:
        """A request came to its end; `asked_s` is what a Retry-After header said, `jitter` from 0 to 1.

        `waited_s`: how long it was waited for in vain, without a byte, while other hosts answered.
        """
        self.under_way -= 1
        if reason in NETWORK or reason == "cut_off":
            if not (self._failures or self._waited_s):
                self.failed_s = now_s - waited_s
            if waited_s and not self.answered:
                self._waited_s += waited_s
                self._probe_s = now_s + LONGEST_REST_S
        else:
            self.heard_s = now_s
            self.answered = self.answered or reason != ROBOTS
            self._waited_s = 0.0
        if reason in _BUSY:
            self._failures = 0
            self._strike(reason, now_s, min(asked_s, LONGEST_REST_S), jitter)
        elif reason in NETWORK:
            self._failures += 1
            if self._failures % FAILURES_TO_REST == 0:
                self._strike(reason, now_s, 0.0, jitter)
        elif reason != "cut_off":
            self._failures = self._strikes = 0
            self.known_good = self.known_good or reason == GOOD
            self._answers += 1
            if self.allowed < self.limit and self._answers >= GOOD_TO_GROW:
                self.allowed, self._answers = self.allowed + 1, 0

    def _strike(self, reason: str, now_s: float, asked_s: float, jitter: float) -> None:
        """Rest, and come back with half as many requests; what one burst brings is one strike."""
        self.reason, self._answers = reason, 0
        if now_s >= self.rest_until_s:
            self._strikes += 1
            self.allowed = max(self.allowed // 2, 1)
            rest_s = min(FIRST_REST_S * 2.0 ** min(self._strikes - 1, 16), LONGEST_REST_S)
            self.rest_until_s = now_s + rest_s * (0.5 + jitter / 2)
        self.rest_until_s = max(self.rest_until_s, now_s + asked_s)


def retry_wait_s(
    reason: str, tries: int, limits: CrowdLimits, *, other_way: bool, jitter: float
) -> float | None:
    """How long to wait before a row is tried again, or None if it is not worth it.

    `tries` is how often it was tried; `other_way`: there is a way that it was not tried on. A row that used
    its time up, or hung, is not tried again on the same way: it would most likely use as much again.
    """
    if tries > limits.retries or not (may_succeed(reason) or (other_way and reason in OTHER_WAY)):
        return None
    if reason in OTHER_WAY and other_way:
        return 0.0
    if reason in ("timeout", "too_slow", "cut_off", "name_failed", STAND_IN):
        return None
    return FIRST_RETRY_S * 2.0 ** min(tries - 1, 16) * (0.5 + jitter / 2)


def retries_allowed(rows: int) -> int:
    """How often rows of a task may be tried again on the same way: a tenth of them, and ten in any case."""
    return max(LEAST_RETRIES, rows // RETRY_ROWS)


def tail_allowance_s(good_s: Sequence[float], limits: CrowdLimits) -> float:
    """How long a row may take when no other is left to start; `good_s` are the times of good ones."""
    if not good_s:
        return limits.total_s
    slowest_s = sorted(good_s)[int(len(good_s) * SLOWEST_TENTH)]
    return min(max(limits.tail * slowest_s, limits.tail_least_s), limits.total_s)


def robots_rule(status: int) -> Literal["rules", "free", "closed"]:
    """What an answer to /robots.txt means: its text counts, all is allowed, or nothing (RFC 9309, 2.3.1).

    >>> robots_rule(200), robots_rule(404), robots_rule(429), robots_rule(503)
    ('rules', 'free', 'closed', 'closed')
    """
    if 200 <= status < 300:
        return "rules"
    return "closed" if status == 429 or status >= 500 else "free"
