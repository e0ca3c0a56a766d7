"""core/limits.py: rates, timetables and lengths of time as users write them, and a bucket that keeps to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import SettingsError
from g3m.core.limits import DAY_S, Bucket, Timetable, parse_duration, parse_rate

HOUR = 3600


# --- rates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("8M", 8 * 1024**2),
        ("8m", 8 * 1024**2),
        (" 8M ", 8 * 1024**2),
        ("8MiB", 8 * 1024**2),
        ("8Mi/s", 8 * 1024**2),
        ("1.5K", 1536),
        ("500B", 500),
        ("2g", 2 * 1024**3),
        ("off", None),
        ("OFF", None),
        ("0", None),
        ("0M", None),
        ("0.0K", None),
        ("999999999B", 999_999_999),
        ("1.123456789K", 1.123456789 * 1024),
    ],
)
def test_rates(text: str, rate: float | None) -> None:
    """Units are based on 1024, in either case of letters; `off` and zero mean no limit."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8",
        "1000000",
        "-1M",
        "M",
        "8X",
        "8MB",
        "8 M",
        "8M:1M",
        "1e3K",
        "nan",
        "inf",
        "infM",
        "٨M",
        "8M off",
        "1234567890B",
        "1.1234567890K",
        "1.K",
        ".5K",
    ],
)
def test_what_is_no_rate(text: str) -> None:
    """A number without a unit too: one tool takes it for bytes, another for kibibytes."""
    with pytest.raises(SettingsError) as caught:
        parse_rate(text)
    assert repr(text) in caught.value.message
    assert "8M" in caught.value.hint[0]
    assert "8M" in caught.value.hint[1]


# --- timetables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clock_s", "rate"),
    [
        ("", 0, None),
        ("8M", 0, 8 * 1024**2),
        ("8M", DAY_S - 1, 8 * 1024**2),
        ("off", 5, None),
        ("08:00,1M 23:00,off", 8 * HOUR, 1024**2),
        ("08:00,1M 23:00,off", 8 * HOUR - 1, None),
        ("08:00,1M 23:00,off", 23 * HOUR - 0.5, 1024**2),
        ("08:00,1M 23:00,off", 23 * HOUR, None),
        ("08:00,1M 23:00,off", 0, None),
        ("23:00,off  8:00,1M", 12 * HOUR, 1024**2),
        ("08:00,1M 18:30,4M", 3 * HOUR, 4 * 1024**2),
        ("08:00,1M 18:30,4M", DAY_S + 8 * HOUR, 1024**2),
        ("12:00,2K", 0, 2048),
        ("8:00,1M 18:30,4M", 18.5 * HOUR - 1, 1024**2),
        ("8:00,1M 18:30,4M", 18.5 * HOUR, 4 * 1024**2),
        ("23:59,1M 00:00,2M", DAY_S - 61, 2 * 1024**2),
    ],
)
def test_the_rate_at_a_time_of_day(text: str, clock_s: float, rate: float | None) -> None:
    """An entry holds until the next one, over midnight too."""
    assert Timetable.parse(text).rate_at(clock_s) == rate


@pytest.mark.parametrize(
    "text",
    [
        "08:00",
        "08:00,",
        ",1M",
        "24:00,1M",
        "08:60,1M",
        "8,1M",
        "08:00,1M,off",
        "08:00,1M;23:00,off",
        "08:00,1M 08:00,2M",
        "08:00,1M 8:00,2M",
        "08:00,1M off",
        "Mon-08:00,1M",
        "08:00, 1M",
        ":00,1M",
        "008:00,1M",
        "08:000,1M",
    ],
)
def test_what_is_no_timetable(text: str) -> None:
    """Half an entry, a time that no clock shows, or the same time twice."""
    with pytest.raises(SettingsError) as caught:
        Timetable.parse(text)
    assert "08:00,1M 23:00,off" in caught.value.hint[0]


def test_what_is_wrong_in_a_timetable_is_shown() -> None:
    """The words hold the part of an entry that is wrong, as it was written."""
    with pytest.raises(SettingsError, match="'25:00' is no time of day"):
        Timetable.parse("08:00,1M 25:00,2M")
    with pytest.raises(SettingsError, match="'1M,off' is no rate"):
        Timetable.parse("08:00,1M,off")


def test_one_rate_holds_from_midnight_on() -> None:
    """A rate without a time is a timetable of one entry, at 00:00."""
    assert Timetable.parse("8M").entries == ((0, 8 * 1024**2),)
    assert Timetable.parse(" ").entries == ()


@given(
    st.dictionaries(st.integers(0, 24 * 60 - 1), st.integers(1, 999), min_size=1, max_size=6),
    st.integers(0, 24 * 60 - 1),
)
def test_a_timetable_goes_back_to_the_last_entry(entries: dict[int, int], minute: int) -> None:
    """The entry in force is found by walking back minute after minute, around midnight if need be."""
    text = " ".join(f"{begin // 60:02}:{begin % 60:02},{rate}B" for begin, rate in entries.items())
    back = minute
    while back not in entries:
        back = (back - 1) % (24 * 60)
    table = Timetable.parse(text)
    assert table.rate_at(minute * 60) == table.rate_at(minute * 60 + 59.9) == entries[back]


# --- lengths of time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400),
        ("11h30m", 41400),
        ("45s", 45),
        ("2d", 2 * DAY_S),
        ("1d2h3m4s", DAY_S + 2 * HOUR + 184),
        ("1.5h", 5400),
        ("90M", 5400),
        ("3600", 3600),
        ("0.5", 0.5),
        (" 2d ", 2 * DAY_S),
        ("08:00:00", 8 * HOUR),
        ("100:00:01", 100 * HOUR + 1),
        ("1-02:03:04", DAY_S + 2 * HOUR + 184),
        ("7-00:00:00", 7 * DAY_S),
        ("1-02:03", DAY_S + 2 * HOUR + 180),
        ("1-02", DAY_S + 2 * HOUR),
        ("1-2", DAY_S + 2 * HOUR),
        ("1:00:00", HOUR),
        ("00:59:59", HOUR - 1),
        ("1-23:59:59", 2 * DAY_S - 1),
        ("999999:00:00", 999_999 * HOUR),
        ("999999-00:00:00", 999_999 * DAY_S),
        ("999999999s", 999_999_999),
        ("1.123456789m", 1.123456789 * 60),
    ],
)
def test_lengths_of_time(text: str, seconds: float) -> None:
    """As people write them, in plain seconds, and as they stand in a Slurm script."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0s",
        "00:00:00",
        "-5m",
        "5x",
        "m",
        "30m11h",
        "5m5m",
        "10:30",
        "01:60:00",
        "01:00:60",
        "1-24:00:00",
        "1-",
        "1e9s",
        "nan",
        "inf",
        "1 h",
        "٥m",
        "9" * 400,
        "1234567890s",
        "1.1234567890m",
        "1.m",
        ".5m",
        "1h.5m",
        "-05:00:00",
        ":01:00",
        "1-002",
        "1:00:00x",
        "1-02:03:04:05",
        "1000000:00:00",
        "1000000-00:00:00",
    ],
)
def test_what_is_no_length_of_time(text: str) -> None:
    """Nothing at all, no time, units in the wrong order; `10:30`, which is hours to one and minutes to another."""
    with pytest.raises(SettingsError) as caught:
        parse_duration(text)
    assert "11h30m" in caught.value.hint[0]
    assert "11h30m" in caught.value.hint[1]


# --- the bucket -----------------------------------------------------------------------------------------------------

pieces = st.integers(1, 5000)
steps = st.floats(0.0, 5.0)
rates = st.floats(1.0, 10_000.0)


def obey(bucket: Bucket, now_s: float, size_bytes: int, *, ahead: bool) -> float:
    """The time at which a piece came, for one who waits as told."""
    for _ in range(3):  # what is left after a wait is rounding
        now_s += bucket.wait_s(now_s, size_bytes if ahead else 0)
    bucket.take(now_s, size_bytes)
    return now_s


@given(rates, st.floats(0.1, 3.0), st.lists(st.tuples(steps, pieces), max_size=30))
def test_never_more_than_the_rate_and_one_burst(
    rate: float, burst_s: float, plan: list[tuple[float, int]]
) -> None:
    """Who asks before each piece that fits the bucket never has more than rate x time + burst, in any window."""
    bucket, now_s, came = Bucket(rate, burst_s), 0.0, list[tuple[float, int]]()
    for step_s, size_bytes in plan:
        fitting = min(size_bytes, int(rate * burst_s))
        now_s = obey(bucket, now_s + step_s, fitting, ahead=True)
        came.append((now_s, fitting))
    for begin in range(len(came)):
        total = 0
        for at_s, size_bytes in came[begin:]:
            total += size_bytes
            assert total <= rate * (at_s - came[begin][0]) + rate * burst_s + 1e-6 * total + 1e-6


@given(rates, st.lists(st.tuples(steps, pieces), max_size=30))
def test_pieces_that_come_unasked_are_paid_for_later(rate: float, plan: list[tuple[float, int]]) -> None:
    """Who only asks whether the debt is paid exceeds the limit by no more than the last piece."""
    bucket, now_s, total = Bucket(rate), 0.0, 0
    begin_s = None
    for step_s, size_bytes in plan:
        now_s = obey(bucket, now_s + step_s, size_bytes, ahead=False)
        begin_s = now_s if begin_s is None else begin_s
        assert total <= rate * (now_s - begin_s) + rate + 1e-6 * total + 1e-6
        total += size_bytes


@given(rates, st.floats(0.1, 3.0), st.lists(pieces, min_size=1, max_size=30))
def test_nobody_starves(rate: float, burst_s: float, plan: list[int]) -> None:
    """A wait never lasts longer than what came last takes at this rate, however large it was."""
    bucket, now_s = Bucket(rate, burst_s), 0.0
    for size_bytes in plan:
        bucket.take(now_s, size_bytes)
        wait_s = bucket.wait_s(now_s)
        assert wait_s <= size_bytes / rate + 1e-6
        assert bucket.wait_s(now_s, 10**9) <= (size_bytes + rate * burst_s) / rate + 1e-6
        now_s += wait_s
        assert bucket.wait_s(now_s) <= 1e-6


@given(rates, st.lists(st.tuples(st.floats(-1000.0, 1000.0), pieces), max_size=20))
def test_a_clock_that_steps_back_does_no_harm(rate: float, plan: list[tuple[float, int]]) -> None:
    """Wherever the clock jumps: a step back brings no tokens, and afterwards they come at the old pace."""
    bucket, now_s = Bucket(rate), 0.0
    for step_s, size_bytes in plan:
        before_s = bucket.wait_s(now_s)
        if step_s < 0:
            assert bucket.wait_s(now_s + step_s) == pytest.approx(before_s)
        now_s += step_s
        bucket.take(now_s, size_bytes)
    owed_s = bucket.wait_s(now_s - 500)
    assert bucket.wait_s(now_s - 500 + owed_s / 2) == pytest.approx(owed_s / 2, abs=1e-6)


@given(rates, rates, pieces, st.floats(0.0, 3.0))
def test_a_new_rate_keeps_the_wait(old: float, new: float, size_bytes: int, passed_s: float) -> None:
    """A debt made at a high rate is no longer wait at a low one; what was saved is no larger burst."""
    bucket = Bucket(old)
    bucket.take(0.0, size_bytes)
    before_s = bucket.wait_s(passed_s)
    bucket.set_rate(passed_s, new)
    assert bucket.rate == new
    assert bucket.wait_s(passed_s) == pytest.approx(before_s)
    bucket.set_rate(passed_s, new)
    assert bucket.wait_s(passed_s) == pytest.approx(before_s)
    assert bucket.wait_s(passed_s, 10**9) <= 1.0 + before_s + 1e-6
    later_s = passed_s + before_s + 100
    assert bucket.wait_s(later_s) == 0.0
    bucket.take(later_s, 10**6)
    assert bucket.wait_s(later_s) == pytest.approx((10**6 - new) / new)


def test_without_a_limit_nobody_waits() -> None:
    """No limit, a limit, no limit: an unlimited time leaves neither debt nor savings."""
    bucket = Bucket(None)
    bucket.take(0.0, 10**9)
    assert bucket.wait_s(0.0) == bucket.wait_s(0.0, 10**12) == 0.0
    bucket.set_rate(1.0, 1000.0)
    assert bucket.wait_s(1.0) == 0.0
    bucket.take(1.0, 500)
    assert bucket.wait_s(1.0) == 0.5
    bucket.set_rate(1.0, None)
    assert bucket.wait_s(1.0) == 0.0
    bucket.set_rate(100.0, 1000.0)
    bucket.take(100.0, 100)
    assert bucket.wait_s(100.0) == pytest.approx(0.1)


def test_a_burst_at_the_start() -> None:
    """The first second may be taken at once, and no more."""
    bucket = Bucket(1000.0, burst_s=2.0)
    assert bucket.wait_s(0.0, 2000) == 0.0
    bucket.take(0.0, 2000)
    assert bucket.wait_s(0.0, 500) == 0.5
    assert bucket.wait_s(1000.0, 2000) == 0.0
    bucket.take(1000.0, 2001)
    assert bucket.wait_s(1000.0) == pytest.approx(0.001)


def test_what_comes_after_an_idle_time_empties_the_bucket() -> None:
    """A pause fills the bucket once, before what comes then is booked, and not the debt that it makes."""
    bucket = Bucket(1000.0)
    bucket.take(0.0, 1000)
    bucket.take(1000.0, 1000)
    assert bucket.wait_s(1000.0, 500) == 0.5
