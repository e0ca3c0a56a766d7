"""core/retry.py: how long a route is tried, and how long one waits in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import (
    BadArchive,
    Changed,
    DigestMismatch,
    G3MError,
    Missing,
    Refused,
    SettingsError,
    Throttled,
    Truncated,
    Unreachable,
)
from g3m.core.resume import RETRY_AFTER_LIMIT_S, Answer, Wanted, refusal
from g3m.core.retry import History, Policy, Verdict, decide

policies = st.builds(
    Policy,
    empty_attempts=st.integers(1, 20),
    throttled_attempts=st.integers(1, 20),
    first_wait_s=st.floats(0, 5),
    longest_wait_s=st.floats(0, 60),
)
jitters = st.floats(0, 1)
hopeful = st.one_of(
    st.builds(Unreachable, st.just("reset")),
    st.builds(Truncated, st.just("cut")),
    st.builds(lambda after_s: Throttled("busy", after_s=after_s), st.floats(0, RETRY_AFTER_LIMIT_S)),
)


@given(policies, st.lists(st.tuples(hopeful, jitters), max_size=60))
def test_every_route_is_dropped_after_finitely_many_empty_attempts(
    policy: Policy, failures: list[tuple[G3MError, float]]
) -> None:
    """Without a byte a route lasts for less than the two limits together, in whatever order its failures come."""
    history, again = History(), 0
    for error, jitter in failures:
        history = history.after(error, 0)
        if decide(policy, error, history, jitter).action == "drop":
            break
        again += 1
    assert again <= policy.empty_attempts + policy.throttled_attempts - 2


@given(policies, jitters)
def test_each_limit_is_exact(policy: Policy, jitter: float) -> None:
    """Empty attempts and throttled answers are counted apart, and each is tried as often as the policy says."""
    for error, limit in (
        (Unreachable("x"), policy.empty_attempts),
        (Throttled("x"), policy.throttled_attempts),
    ):
        history = History()
        actions = []
        for _ in range(limit):
            history = history.after(error, 0)
            actions.append(decide(policy, error, history, jitter).action)
        assert actions == ["again"] * (limit - 1) + ["drop"]


@given(policies, st.lists(hopeful, max_size=15), hopeful, jitters)
def test_waits_are_bounded(policy: Policy, before: list[G3MError], error: G3MError, jitter: float) -> None:
    """A wait is never negative and never above the policy's longest, unless the server asked for more."""
    history = History()
    for earlier in (*before, error):
        history = history.after(earlier, 0)
    wait_s = decide(policy, error, history, jitter).wait_s
    asked_s = error.after_s if isinstance(error, Throttled) else 0.0
    assert 0.0 <= wait_s <= max(policy.longest_wait_s, asked_s)


@given(st.text(max_size=12) | st.integers(0, 10**6).map(str), jitters)
def test_no_server_can_make_us_wait_for_long(header: str, jitter: float) -> None:
    """From the header to the verdict: five minutes are the most that a busy server gets at once."""
    error = refusal(Wanted(label="a"), Answer(status=429, headers={"retry-after": header}))
    verdict = decide(Policy(), error, History().after(error, 0), jitter)
    assert verdict.action == "again"
    assert verdict.wait_s <= max(RETRY_AFTER_LIMIT_S, Policy().longest_wait_s)


@given(policies, st.floats(0, RETRY_AFTER_LIMIT_S), st.integers(0, 30), jitters)
def test_the_servers_wish_is_honoured(
    policy: Policy, after_s: float, gained_bytes: int, jitter: float
) -> None:
    """Another attempt never comes before the time that a busy server asked for, also where bytes had come."""
    error = Throttled("busy", after_s=after_s)
    verdict = decide(policy, error, History(empty=1).after(error, gained_bytes), jitter)
    assert verdict.action == "drop" or verdict.wait_s >= after_s


@given(policies, st.builds(History, empty=st.integers(0, 50), throttled=st.integers(0, 50)), hopeful, jitters)
def test_progress_resets(policy: Policy, history: History, error: G3MError, jitter: float) -> None:
    """A byte gained wipes out all earlier failures: the next attempt follows, and a broken line's at once."""
    fresh = history.after(error, 1)
    assert fresh == History()
    verdict = decide(policy, error, fresh, jitter)
    assert verdict.action == "again"
    if not isinstance(error, Throttled):
        assert verdict.wait_s == 0.0


@given(
    st.builds(History, empty=st.integers(0, 50), throttled=st.integers(0, 50)), hopeful, st.integers(-9, 0)
)
def test_no_progress_counts_one(history: History, error: G3MError, gained_bytes: int) -> None:
    """An attempt without a byte, or one that had to begin again, adds one to its own count and nothing else."""
    after = history.after(error, gained_bytes)
    throttled = isinstance(error, Throttled)
    assert (after.empty, after.throttled) == (history.empty + (not throttled), history.throttled + throttled)


@pytest.mark.parametrize(
    "error",
    [Missing("x"), Refused("x"), Changed("x"), DigestMismatch("x"), BadArchive("x"), SettingsError("x")],
)
def test_hopeless_errors_drop_the_route_at_once(error: G3MError) -> None:
    """What a place will not deliver is not asked for twice, even after bytes had flowed."""
    for history in (History(), History(empty=1), History().after(error, 10)):
        assert decide(Policy(), error, history, 0.5) == Verdict(action="drop")


def test_waits_grow_by_two_up_to_the_longest() -> None:
    """Half a second, one, two, four …, never above the longest."""
    policy = Policy(empty_attempts=10)
    waits = [decide(policy, Unreachable("x"), History(empty=count), 1.0).wait_s for count in range(1, 10)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0]


@given(st.integers(1, 4), jitters)
def test_jitter_takes_up_to_half(empty: int, jitter: float) -> None:
    """The jitter moves a wait between its half and its whole, so that many clients do not return together."""
    whole = decide(Policy(), Unreachable("x"), History(empty=empty), 1.0).wait_s
    wait_s = decide(Policy(), Unreachable("x"), History(empty=empty), jitter).wait_s
    assert whole / 2 <= wait_s <= whole
    assert wait_s == pytest.approx(whole * (0.5 + jitter / 2))


def test_a_busy_server_that_names_no_time_is_left_alone_longer_each_time() -> None:
    """Without a Retry-After the waits grow as after any failure; a short one does not shorten them."""
    waits = [decide(Policy(), Throttled("x"), History(throttled=count), 1.0).wait_s for count in range(1, 5)]
    assert waits == [0.5, 1.0, 2.0, 4.0]
    assert decide(Policy(), Throttled("x", after_s=1.5), History(throttled=4), 1.0).wait_s == 4.0
    assert decide(Policy(), Throttled("x", after_s=9.5), History(throttled=4), 1.0).wait_s == 9.5


def test_both_kinds_of_failure_lengthen_the_wait() -> None:
    """A route that is busy and breaks is treated as patiently as both together ask for."""
    assert decide(Policy(), Unreachable("x"), History(empty=2, throttled=1), 1.0).wait_s == 2.0


def test_a_patient_policy_does_not_overflow() -> None:
    """However many attempts a policy allows, a wait is a number within its bound."""
    policy = Policy(empty_attempts=10_000)
    assert decide(policy, Unreachable("x"), History(empty=5_000), 1.0) == Verdict(action="again", wait_s=20.0)
