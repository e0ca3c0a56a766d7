"""core/manners.py: what a host is asked for, whatever it answers."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.manners import (
    ANSWER_S,
    FAILURES_TO_REST,
    GOOD_TO_GROW,
    LIVELY_S,
    LONGEST_REST_S,
    PATIENCE_S,
    ROBOTS,
    UNKNOWN_REQUESTS,
    CrowdLimits,
    HostState,
    retries_allowed,
    retry_wait_s,
    robots_rule,
    tail_allowance_s,
)
from g3m.core.outcomes import REASONS, may_succeed

LIMITS = CrowdLimits()
ALL_REASONS = ["", "http_404", "http_429", "http_500", "http_503", *REASONS]
REASON = st.sampled_from(ALL_REASONS)


@given(
    limit=st.integers(1, 20),
    steps=st.lists(
        st.tuples(REASON, st.floats(0, 3), st.floats(0, 1000), st.floats(0, 1), st.booleans()), max_size=200
    ),
)
def test_a_host_is_never_asked_for_more_than_its_limit_and_never_rests_for_ever(
    limit: int, steps: list[tuple[str, float, float, float, bool]]
) -> None:
    """Whatever happens: never above the limit, never below one at once, and a rest ends within a minute."""
    host, now_s = HostState(limit), 0.0
    for reason, passed_s, asked_s, jitter, starts in steps:
        now_s += passed_s
        if host.may_start(now_s) == "yes":
            host.started(now_s)
        if host.under_way and not starts:
            host.ended(reason, now_s, asked_s=asked_s, jitter=jitter, waited_s=passed_s * 10)
        assert 0 <= host.under_way <= limit
        assert 1 <= host.allowed <= limit
        assert host.rest_until_s - now_s <= LONGEST_REST_S + 1e-6
        assert host.under_way or host.may_start(now_s + LONGEST_REST_S + 1e-6) == "yes"


def _ended(host: HostState, reason: str, now_s: float, **more: float) -> None:
    host.started(now_s)
    host.ended(reason, now_s, **more)


def test_a_busy_host_rests_as_it_asked_and_longer_each_time() -> None:
    """Without a header the rests double; a header counts up to a minute; one burst is one strike."""
    host = HostState(16)
    _ended(host, "http_429", 0.0, jitter=1.0)
    _ended(host, "http_429", 0.1, jitter=1.0)
    assert (host.rest_until_s, host.allowed, host.reason) == (1.0, 8, "http_429")
    assert (host.may_start(0.9), host.may_start(1.0)) == ("rests", "yes")
    _ended(host, "http_503", 2.0, jitter=1.0)
    assert (host.rest_until_s, host.allowed) == (4.0, 4)
    _ended(host, "http_429", 5.0, asked_s=20.0)
    assert host.rest_until_s == 25.0
    _ended(host, "http_429", 30.0, asked_s=10_000.0)
    assert host.rest_until_s == 90.0


def test_a_host_that_answers_again_gets_its_requests_back_one_by_one() -> None:
    """After a strike one more at once for every so many answers, up to the limit and no further."""
    host = HostState(4)
    _ended(host, "http_429", 0.0)
    assert host.allowed == 2
    for _ in range(GOOD_TO_GROW):
        _ended(host, "", 100.0)
    assert host.allowed == 3
    for _ in range(5 * GOOD_TO_GROW):
        _ended(host, "http_404", 100.0)
    assert host.allowed == 4


def test_a_host_that_never_answers_is_given_a_rest_and_no_second_tries() -> None:
    """Failures in a row make a host rest; any answer, even 404, ends the count."""
    host = HostState(16)
    for _ in range(FAILURES_TO_REST - 1):
        _ended(host, "timeout", 0.0)
    _ended(host, "http_404", 0.0)
    assert not host.failing
    for _ in range(FAILURES_TO_REST):
        assert host.may_start(0.0) == "yes"
        _ended(host, "unreachable", 0.0)
    assert host.failing
    assert host.may_start(0.0) == "rests"
    assert host.reason == "unreachable"
    _ended(host, "", 70.0)
    assert not host.failing
    assert host.known_good


def test_being_cut_off_says_nothing_of_a_host() -> None:
    """What g3m itself gave up is neither an answer nor a failure."""
    host = HostState(2)
    for _ in range(50):
        _ended(host, "cut_off", 0.0)
    assert host.idle
    assert not host.known_good


def test_a_host_that_has_answered_nothing_has_few_requests() -> None:
    """Two at once, after one in vain a single one; any answer but that to robots.txt, and it has all of them."""
    host = HostState(16)
    for _ in range(UNKNOWN_REQUESTS):
        assert host.may_start(0.0) == "yes"
        host.started(0.0)
    assert host.may_start(0.0) == "full"
    host.ended("cut_off", 5.0, waited_s=5.0)
    assert host.may_start(5.0) == "full"
    host.ended(ROBOTS, 6.0)
    assert not host.answered
    host.started(6.0)
    host.started(6.0)
    assert host.may_start(6.0) == "full"
    host.ended("http_404", 7.0)
    assert host.answered
    for _ in range(15):
        assert host.may_start(7.0) == "yes"
        host.started(7.0)
    assert host.may_start(7.0) == "full"
    assert HostState(1, under_way=1).may_start(0.0) == "full"


def test_a_host_is_silent_after_its_time_and_asked_now_and_then() -> None:
    """Twenty seconds in vain; then one request a minute; an answer ends it for good."""
    host = HostState(16)
    _ended(host, "timeout", 100.0, waited_s=ANSWER_S)
    assert (host.silent, host.failing, host.idle) == (False, False, False)
    assert host.failed_s == 100.0 - ANSWER_S
    assert host.may_start(100.0) == "yes"
    _ended(host, "cut_off", 110.0, waited_s=PATIENCE_S - ANSWER_S)
    assert (host.silent, host.failing) == (True, True)
    assert host.failed_s == 100.0 - ANSWER_S
    assert host.may_start(109.0 + LONGEST_REST_S) == "silent"
    now_s = 110.0 + LONGEST_REST_S
    assert host.may_start(now_s) == "yes"
    host.started(now_s)
    assert host.may_start(now_s) == "silent"
    host.ended("timeout", now_s + 10, waited_s=10)
    assert host.may_start(now_s + 9 + LONGEST_REST_S) == "silent"
    now_s += 10 + LONGEST_REST_S
    assert host.may_start(now_s) == "yes"
    _ended(host, "http_404", now_s)
    assert not host.silent
    _ended(host, "timeout", now_s, waited_s=10 * PATIENCE_S)
    assert not host.silent
    assert host.may_start(now_s) == "yes"


@given(
    before=st.lists(st.tuples(REASON, st.floats(0, 60)), max_size=20),
    answer=st.sampled_from(["", "http_404", "http_429", "partial", "redirects", "opt_out"]),
    after=st.lists(st.tuples(REASON, st.floats(0, 60)), max_size=20),
)
def test_a_host_that_ever_answered_is_never_silent(
    before: list[tuple[str, float]], answer: str, after: list[tuple[str, float]]
) -> None:
    """However long it kept others waiting, before and after; and without a wait in vain nobody is."""
    host, waited = HostState(8), HostState(8)
    for reason, waited_s in [*before, (answer, 0.0), *after]:
        _ended(waited, reason, 0.0, waited_s=waited_s)
        _ended(host, reason, 0.0)
        assert not host.silent
    assert not waited.silent


def test_what_keeps_quiet_is_measured_from_when_nothing_was_wrong() -> None:
    """From the last answer, or from the first request after a pause; failures do not begin it anew."""
    host = HostState(4)
    host.started(10.0)
    host.started(11.0)
    assert host.heard_s == 10.0
    host.ended("", 12.0)
    assert host.heard_s == 12.0
    host.ended("timeout", 20.0)
    host.started(20.0)
    assert host.heard_s == 12.0
    host.ended("http_500", 30.0)
    host.started(99.0)
    assert host.heard_s == 99.0


def test_the_first_byte_has_ten_seconds_or_a_third() -> None:
    """Whoever gives rows more time gives hosts more, too."""
    assert [CrowdLimits(total_s=total_s).answer_s for total_s in (5.0, 30.0, 120.0)] == [10.0, 10.0, 40.0]


@given(
    reason=REASON,
    tries=st.integers(1, 10),
    other=st.booleans(),
    jitter=st.floats(0, 1),
    most=st.integers(0, 3),
)
def test_only_what_may_succeed_is_tried_again_and_not_often(
    reason: str, tries: int, other: bool, jitter: float, most: int
) -> None:
    """Never more than `retries`, never a reason that stays; waits are short and grow."""
    wait_s = retry_wait_s(reason, tries, replace(LIMITS, retries=most), other_way=other, jitter=jitter)
    if wait_s is not None:
        assert tries <= most
        assert may_succeed(reason) or (other and reason == "tls")
        assert 0 <= wait_s <= 2.0


def test_what_used_its_time_up_is_tried_again_only_on_another_way() -> None:
    """A hang would hang again; another proxy is another matter, and is tried at once."""
    for reason in ("timeout", "too_slow", "tls"):
        assert retry_wait_s(reason, 1, LIMITS, other_way=False, jitter=0.5) is None
        assert retry_wait_s(reason, 1, LIMITS, other_way=True, jitter=0.5) == 0.0
    assert retry_wait_s("unreachable", 1, LIMITS, other_way=False, jitter=1.0) == 0.5
    assert retry_wait_s("partial", 2, LIMITS, other_way=False, jitter=1.0) == 1.0
    assert retry_wait_s("http_404", 1, LIMITS, other_way=True, jitter=1.0) is None


@given(rows=st.integers(0, 20_000))
def test_a_task_has_second_tries_for_a_tenth_of_its_rows(rows: int) -> None:
    """The budget is a tenth, and ten for small tasks."""
    assert retries_allowed(rows) == max(10, rows // 10)


@given(good_s=st.lists(st.floats(0, 100), max_size=60), total_s=st.floats(0.1, 60))
def test_the_tail_is_bounded_and_never_shorter_than_stated(good_s: list[float], total_s: float) -> None:
    """At least five seconds, at most the limit of one row; and twice what nine tenths needed, between."""
    allowance_s = tail_allowance_s(good_s, replace(LIMITS, total_s=total_s))
    assert min(5.0, total_s) <= allowance_s <= total_s
    if good_s and allowance_s < total_s:
        assert sum(seconds * 2 <= allowance_s for seconds in good_s) >= 0.9 * len(good_s)


def test_the_tail_follows_the_good_ones() -> None:
    """Fast hosts: five seconds; slow ones: twice their slowest tenth; nothing good: the whole time."""
    assert tail_allowance_s([0.1] * 100, LIMITS) == 5.0
    assert tail_allowance_s([1.0] * 90 + [8.0] * 10, LIMITS) == 16.0
    assert tail_allowance_s([25.0], LIMITS) == 30.0
    assert tail_allowance_s([], LIMITS) == 30.0


@pytest.mark.parametrize(
    ("status", "rule"),
    [
        (200, "rules"),
        (204, "rules"),
        (301, "free"),
        (401, "free"),
        (404, "free"),
        (429, "closed"),
        (428, "free"),
        (499, "free"),
        (199, "free"),
        (299, "rules"),
        (300, "free"),
        (500, "closed"),
    ],
)
def test_what_an_answer_to_robots_txt_means(status: int, rule: str) -> None:
    """As RFC 9309 says: no file allows all, a server in trouble nothing."""
    assert robots_rule(status) == rule


def test_the_limits_of_a_task() -> None:
    """The numbers of docs/guides/politeness.md: a change of one is a change of what strangers' hosts are asked."""
    assert asdict(LIMITS) == {
        "requests": 256, "per_host": 16, "total_s": 30.0, "idle_bytes_per_s": 1024, "idle_s": 20.0, "connect_s": 10.0,
        "body_bytes": 52_428_800, "held_bytes": 268_435_456, "redirects": 5, "retries": 2, "tail": 2.0, "tail_least_s": 5.0,
        "abreast": 0, "alarm": True,
    }  # fmt: skip
    assert (FAILURES_TO_REST, UNKNOWN_REQUESTS, GOOD_TO_GROW) == (8, 2, 10)
    assert (LONGEST_REST_S, ANSWER_S, PATIENCE_S, LIVELY_S) == (60.0, 10.0, 20.0, 5.0)


def test_a_host_begins_unknown() -> None:
    """Nothing is under way, nothing known, and all of its limit is allowed."""
    host = HostState(7)
    assert (host.limit, host.allowed, host.under_way, host.reason) == (7, 7, 0, "")
    assert (host.rest_until_s, host.heard_s, host.failed_s) == (0.0, 0.0, 0.0)
    assert (host.known_good, host.answered, host.failing, host.silent, host.idle) == (
        False,
        False,
        False,
        False,
        True,
    )


def test_failures_in_a_row_are_a_strike_of_their_own_length() -> None:
    """Eight: half as many requests, and a rest of a second that doubles with each eight; a busy answer begins anew."""
    host = HostState(16)
    for _ in range(FAILURES_TO_REST):
        _ended(host, "timeout", 10.0, asked_s=50.0, jitter=1.0)
    assert (host.rest_until_s, host.allowed) == (11.0, 8)
    for _ in range(FAILURES_TO_REST):
        _ended(host, "timeout", 20.0, jitter=0.0)
    assert (host.rest_until_s, host.allowed) == (21.0, 4)
    first = HostState(16)
    for _ in range(FAILURES_TO_REST):
        _ended(first, "timeout", 10.0, jitter=0.0)
    assert first.rest_until_s == 10.5
    other = HostState(16)
    for _ in range(FAILURES_TO_REST - 1):
        _ended(other, "timeout", 0.0)
    _ended(other, "http_503", 1.0)
    for _ in range(FAILURES_TO_REST - 1):
        _ended(other, "timeout", 100.0)
    assert not other.failing
    assert other.may_start(100.0) == "yes"


def test_rests_double_up_to_a_minute() -> None:
    """1, 2, 4, ... seconds, and never more than 60; an answer that is none of trouble begins at 1 again."""
    host, rests, now_s = HostState(64), [], 0.0
    for _ in range(8):
        _ended(host, "http_429", now_s, jitter=1.0)
        rests.append(host.rest_until_s - now_s)
        now_s = host.rest_until_s
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert host.allowed == 1
    _ended(host, "http_404", now_s)
    _ended(host, "http_429", now_s, jitter=0.0)
    assert host.rest_until_s - now_s == 0.5


def test_answers_that_count_towards_growing() -> None:
    """Ten after the last strike, and ten more for each further request."""
    host = HostState(8)
    for _ in range(GOOD_TO_GROW):
        _ended(host, "", 0.0)
    _ended(host, "http_429", 0.0)
    assert host.allowed == 4
    for grown in (4, 5, 6):
        for _ in range(GOOD_TO_GROW - 1):
            _ended(host, "", 100.0)
        assert host.allowed == grown
        _ended(host, "", 100.0)
        assert host.allowed == grown + 1


def test_second_tries_wait_longer_each_time() -> None:
    """Half a second, one, two, ... by chance down to half of that; after the last try that is allowed, none."""
    many = replace(LIMITS, retries=9)
    assert [retry_wait_s("partial", tries, many, other_way=False, jitter=1.0) for tries in (1, 2, 3, 4)] == [
        0.5,
        1.0,
        2.0,
        4.0,
    ]
    assert retry_wait_s("partial", 1, many, other_way=False, jitter=0.0) == 0.25
    assert retry_wait_s("partial", 2, LIMITS, other_way=False, jitter=1.0) == 1.0
    assert retry_wait_s("partial", 3, LIMITS, other_way=False, jitter=1.0) is None
    for reason in ("cut_off", "name_failed"):
        assert retry_wait_s(reason, 1, many, other_way=False, jitter=1.0) is None
