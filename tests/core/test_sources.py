"""core/sources.py: what a route is worth while bytes come over it."""

from __future__ import annotations

import pytest

from g3m.core.retry import History
from g3m.core.routes import Route
from g3m.core.sources import CEILING_S, DOUBT_S, FIRST_LEVEL, GROWTH_S, WINDOW_S, Meter, Source

ROUTE = Route("https://a/b")


def source(cap: int = 16, **more: object) -> Source:
    return Source(route=ROUTE, rank=0, cap=cap, meter=Meter(0.0), **more)  # type: ignore[arg-type]


def test_a_meter_is_that_of_the_last_two_seconds() -> None:
    """What came before them counts no more; a pause counts, and a moment is no division by zero."""
    meter = Meter(10.0)
    assert meter.rate(10.0) == meter.rate(99.0) == 0.0
    meter = Meter(10.0)
    meter.add(1000, 10.0)
    assert meter.rate(10.0) == 1000 / 0.05
    assert meter.rate(11.0) == 1000.0
    for tenth in range(1, 101):
        meter.add(100, 10.0 + tenth / 10)
    assert meter.total_bytes == 11_000
    assert meter.rate(20.0) == pytest.approx(1000.0, rel=0.15)
    assert meter.rate(21.0) == pytest.approx(500.0, rel=0.15)
    assert meter.rate(30.0) == pytest.approx(0.0, abs=30)
    assert (WINDOW_S, FIRST_LEVEL, GROWTH_S, CEILING_S, DOUBT_S) == (2.0, 8, 0.1, 60.0, 1.0)


def test_a_meter_keeps_few_marks() -> None:
    """However many pieces come: one mark for each quarter of a second that counts."""
    meter = Meter(0.0)
    for number in range(10_000):
        meter.add(1, number / 1000)
    assert len(meter._marks) <= 10
    assert meter.rate(9.999) == pytest.approx(1000.0, rel=0.01)


def test_a_source_begins_unproven() -> None:
    """One connection until its first answer is right, then eight at once, but no more than it may have."""
    one = source()
    assert (one.level, one.ceiling, one.good, one.firm, one.reserve, one.whole_only, one.spent, one.dropped) == (
        1, 16, False, False, False, False, False, "",
    )  # fmt: skip
    assert (
        one.grown_s,
        one.best_bytes_per_s,
        one.latency_s,
        one.rate_bytes_per_s,
        one.rest_until_s,
        one.ceiling_until_s,
    ) == (0.0,) * 6
    assert [one.may_start(connections, 0.0) for connections in (0, 1)] == [True, False]
    one.answered(0.5, 7.0)
    assert (one.good, one.level, one.grown_s, one.latency_s) == (True, 8, 7.0, 0.5)
    assert [one.may_start(connections, 7.0) for connections in (7, 8)] == [True, False]
    one.answered(1.5, 9.0)
    assert (one.latency_s, one.grown_s, one.level) == (pytest.approx(0.8), 7.0, 8)
    small = source(cap=3)
    small.answered(0.5, 0.0)
    assert small.level == 3
    known = source(first_level=2, level=5)
    known.answered(0.5, 0.0)
    assert known.level == 5
    assert source(ceiling=4).ceiling == 4


def test_who_may_not_start() -> None:
    """One that was dropped, one that rests, and a second connection to one that ignores ranges."""
    one = source(rest_until_s=5.0)
    assert [one.may_start(0, now_s) for now_s in (4.9, 5.0)] == [False, True]
    one.dropped = "gone"
    assert not one.may_start(0, 5.0)
    whole = source(whole_only=True, good=True, level=8)
    assert [whole.may_start(connections, 0.0) for connections in (0, 1)] == [True, False]
    low = source(good=True, level=8, ceiling=2)
    assert [low.may_start(connections, 0.0) for connections in (1, 2)] == [True, False]


def test_connections_double_while_bytes_flow() -> None:
    """When all that it may have are there, after a tenth of a second and its latency, up to the cap."""
    one = source()
    one.answered(0.5, 0.0)
    one.grow(7, 1, 10.0)
    one.grow(8, 0, 10.0)
    one.grow(8, 1, 0.59)
    assert one.level == 8
    one.grow(8, 1, 0.6)
    assert (one.level, one.grown_s) == (16, 0.6)
    one.grow(16, 1, 99.0)
    assert (one.level, one.grown_s) == (16, 0.6)
    odd = source(cap=20)
    odd.answered(0.0, 0.0)
    odd.grow(8, 8, 1.0)
    odd.grow(16, 8, 2.0)
    assert odd.level == 20


@pytest.mark.parametrize(("said", "believed_s", "then"), [(True, 60.0, 4), (False, 1.0, 16)])
def test_a_ceiling_is_believed_for_a_while(said: bool, believed_s: float, then: int) -> None:
    """A minute where the server said it, and then one more is tried; a second where a connection merely broke."""
    one = source()
    one.answered(0.5, 0.0)
    one.refused_one_more(3, 2.0, 10.0, said=said)
    assert (one.ceiling, one.firm, one.rest_until_s, one.ceiling_until_s) == (
        3,
        said,
        12.0,
        10.0 + believed_s,
    )
    one.grow(0, 0, 10.0 + believed_s - 0.1)
    assert one.ceiling == 3
    one.grow(0, 0, 10.0 + believed_s)
    assert (one.ceiling, one.ceiling_until_s) == (then, 10.0 + believed_s + 60.0)
    one.refused_one_more(0, 0.0, 11.0, said=said)
    assert (one.ceiling, one.rest_until_s) == (1, 12.0)


def test_bytes_forgive_failures() -> None:
    """What failed before is forgotten as soon as a byte comes, and not before."""
    one = source(history=History(empty=2), spent=True)
    before = one.history
    one.received(0, 1.0)
    assert (one.history, one.spent, one.meter.total_bytes) == (before, True, 0)
    one.received(5, 1.0)
    assert (one.history, one.spent, one.meter.total_bytes) == (History(), False, 5)


def test_a_rest_asks_for_a_new_proof() -> None:
    """After it there is one connection again."""
    one = source()
    one.answered(0.5, 0.0)
    one.rest(3.0, 10.0)
    assert (one.rest_until_s, one.good, one.level) == (13.0, False, 1)
