"""core/schedule.py over simulated networks: every byte once, no livelock, near the sum of what there is."""

from __future__ import annotations

import random
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.network import Link, Network

from g3m.core.routes import Route
from g3m.core.schedule import UNKNOWN_BYTES, Limits, Schedule, Start, Stop
from g3m.core.sources import Meter, Source
from g3m.core.spans import Spans

MIB = 2**20
SMALL = Limits(first_piece_bytes=4096, least_piece_bytes=1024, most_piece_bytes=2**18)

healthy = st.builds(Link, rate=st.sampled_from([2e4, 3e5, 2e6]), latency_s=st.sampled_from([0.0, 0.02, 0.3]))
bad = st.builds(
    Link,
    rate=st.sampled_from([500.0, 3e4, 1e6]),
    latency_s=st.sampled_from([0.0, 0.1, 1.0]),
    reset_bytes=st.sampled_from([0, 2e3, 1e5]),
    silent_bytes=st.sampled_from([0, 3e4, 1e6]),
    most=st.sampled_from([1, 3, 10_000]),
    total=st.sampled_from([float("inf"), 1e5]),
    dead=st.booleans(),
    hole=st.booleans(),
    until_s=st.sampled_from([float("inf"), 101.0, 120.0]),
    lie_length=st.sampled_from([0.0, 0.3]),
)


@settings(max_examples=5 * settings.default.max_examples)
@given(
    one=healthy,
    others=st.lists(bad, max_size=5),
    place=st.integers(0, 5),
    size=st.sampled_from([1, 5_000, 300_000]),
    seed=st.integers(0, 2**32),
)
def test_one_honest_source_is_enough(one: Link, others: list[Link], place: int, size: int, seed: int) -> None:
    """Whatever the other sources do, and wherever the honest one stands: every byte comes, in bounded time."""
    links = [*others]
    links.insert(min(place, len(links)), one)
    network = Network(links, size, seed=seed, limits=SMALL)
    took_s = network.run(limit_s=60 + 20 * size / one.rate)
    assert not network.failed
    assert list(network.schedule.written) == [(0, size)]
    assert took_s < 60 + 8 * size / one.rate


@settings(max_examples=3 * settings.default.max_examples // 2)
@given(links=st.lists(bad, min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_it_ends_even_if_nobody_is_honest(links: list[Link], seed: int) -> None:
    """With bad sources alone the download ends too: whole, or with no route left; never in a circle."""
    network = Network(links, 200_000, seed=seed, limits=SMALL)
    network.run(limit_s=20_000)
    assert network.failed or network.schedule.complete


@settings(max_examples=3 * settings.default.max_examples // 2)
@given(links=st.lists(healthy, min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_bytes_are_rarely_fetched_twice(links: list[Link], seed: int) -> None:
    """Racing for the last pieces costs little: a few pieces' worth at most."""
    network = Network(links, 2_000_000, seed=seed, limits=SMALL)
    network.run()
    assert network.delivered <= 2_000_000 * 1.6


FOUR = [
    Link(2 * MIB, 0.001, most=4),
    Link(MIB / 2, 0.001, most=4),
    Link(4e6, 0.1, most=4),
    Link(8e6, 0.001, reset_bytes=16 * MIB, most=4),
]
FOUR_SUM = 4 * (2 * MIB + MIB / 2 + 4e6 + 8e6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ahead", [[], [Link(hole=True), Link(dead=True)]])
def test_uneven_sources_are_used_to_nearly_their_sum(ahead: list[Link], seed: int) -> None:
    """Four uneven sources, one of them resetting, carry 95 % of their sum, also behind a black hole."""
    size = 1024 * MIB
    assert size / Network([*ahead, *FOUR], size, seed=seed).run() >= 0.95 * FOUR_SUM


def test_a_crawling_source_leaves_no_tail() -> None:
    """A source of 64 KiB/s beside one of 2 MiB/s costs nothing at the end."""
    links = [Link(2 * MIB, 0.001, most=8), Link(65536, 0.001, most=8)]
    assert Network(links, 256 * MIB).run() <= 256 / (8 * 2) * 1.1


@pytest.mark.parametrize("size", [1, 5_000, 24_000, 130_000])
def test_a_small_file_is_not_left_to_a_source_that_crawls(size: int) -> None:
    """A byte a second from the first source: the second, of which nobody knows anything yet, is tried."""
    assert Network([Link(1.0, 0.001), Link(2 * MIB, 0.001)], size).run(limit_s=10**6) < 30


def test_connections_grow_where_each_is_throttled() -> None:
    """A server that throttles each connection gets as many as the cap allows."""
    network = Network([Link(2 * MIB, 0.01)], 512 * MIB)
    assert network.run() < 512 / 32 * 1.1
    assert network.sources[0].level == 16


def test_connections_that_gain_nothing_are_given_back() -> None:
    """Where the line is the limit, fewer connections do: most are given back after a while."""
    network = Network([Link(4e6, 0.05, total=4e6)], 512 * MIB)
    levels = []
    step = network.schedule.step

    def watch(now_s):  # type: ignore[no-untyped-def]
        levels.append(network.sources[0].level)
        return step(now_s)

    network.schedule.step = watch  # type: ignore[method-assign]
    took_s = network.run()
    assert max(levels) == 16
    assert min(levels[len(levels) // 2 :]) <= 2
    assert took_s < 512 * MIB / 4e6 * 1.05


def test_a_servers_limit_is_learned() -> None:
    """A server that admits three connections is asked for a fourth now and then, not all the time."""
    link = Link(1e6, 0.02, most=3)
    network = Network([link], 256 * MIB)
    refused = 0
    fail = network.fail

    def count(transfer, error):  # type: ignore[no-untyped-def]
        nonlocal refused
        refused += 1
        fail(transfer, error)

    network.fail = count  # type: ignore[method-assign]
    assert network.run() < 256 * MIB / 3e6 * 1.06
    assert refused < 20


def test_what_is_written_stays_near_the_front() -> None:
    """Pieces are handed out in order: what is written is one range and a window of a few seconds' worth."""
    network = Network([Link(2e6, 0.05), Link(1e6, 0.01)], 1024 * MIB)
    worst = 0
    received = network.schedule.received

    def watch(transfer, size, now_s):  # type: ignore[no-untyped-def]
        nonlocal worst
        fresh = received(transfer, size, now_s)
        written = network.schedule.written
        spans = list(written)
        worst = max(worst, spans[-1][1] - next(written.gaps(0, spans[-1][1] + 1))[0])
        return fresh

    network.schedule.received = watch  # type: ignore[method-assign]
    network.run()
    assert worst < 48e6 * 12


def schedule_of(count: int, **more: object) -> Schedule:
    sources = [Source(route=Route(f"http://s{n}/f"), rank=n, cap=16, meter=Meter(0.0)) for n in range(count)]
    wanted = {"size_bytes": 100_000, "written": Spans(), "limits": SMALL, "now_s": 0.0}
    return Schedule(sources, **{**wanted, **more})  # type: ignore[arg-type]


def test_every_source_is_tried_at_once() -> None:
    """The first in the list is not waited for: each source gets a piece of its own to prove itself."""
    moves = list(schedule_of(4).step(0.0))
    assert [type(move) for move in moves] == [Start] * 4
    spans = [(move.transfer.start, move.transfer.end) for move in moves]
    assert len(set(spans)) == 4
    assert Spans(spans).size_bytes == sum(end - start for start, end in spans)


@pytest.mark.parametrize("size", [None, 10**9])
def test_a_file_without_validator_gets_one_connection(size: int | None) -> None:
    """Solo: one transfer, to the end of the file, known or not, and no race."""
    schedule = schedule_of(3, size_bytes=size)
    schedule.solo = True
    moves = list(schedule.step(0.0))
    assert [(m.transfer.start, m.transfer.end) for m in moves] == [(0, size or UNKNOWN_BYTES)]
    assert list(schedule.step(1.0)) == []


def test_a_file_of_unknown_size_is_asked_for_whole() -> None:
    """Nobody can say where the second half begins: one request takes all that is left."""
    move = next(iter(schedule_of(3, size_bytes=None, written=Spans([(0, 500)])).step(0.0)))
    assert (move.transfer.start, move.transfer.end) == (500, UNKNOWN_BYTES)


def test_there_is_hope_while_one_source_is_left() -> None:
    """One that was dropped, or failed too often, ends nothing; nor do all, while a transfer is under way."""
    schedule = schedule_of(2)
    first, second = schedule.sources
    first.dropped = "it lied"
    assert not schedule.hopeless
    second.spent = True
    assert schedule.hopeless
    second.spent = False
    assert next(iter(schedule.step(0.0)))
    second.spent = True
    assert not schedule.hopeless


def test_the_wait_for_an_answer_is_no_slowness() -> None:
    """How fast a connection is counts from its first byte: ten seconds before it take nothing from the speed."""
    schedule = schedule_of(1, size_bytes=10**9)
    (move,) = schedule.step(0.0)
    schedule.headed(move.transfer, 10.0)
    schedule.received(move.transfer, 4096, 11.0)
    assert schedule.rate(move.transfer.source, 11.0) == 4096


def test_the_source_with_the_most_connections_is_tried_with_fewer() -> None:
    """Half of what it has is given back, the hindmost first; the others keep theirs."""
    schedule = schedule_of(2, size_bytes=10**12)
    small, large = schedule.sources
    now_s = 0.0
    small.cap, large.cap = 4, 16
    for tick in range(120):
        now_s = tick / 10
        moves = list(schedule.step(now_s))
        stops = [move.transfer for move in moves if isinstance(move, Stop)]
        if stops:
            break
        for transfer in schedule.transfers.values():
            if transfer.headed_s is None:
                schedule.headed(transfer, now_s)
            schedule.received(transfer, 100, now_s)
    assert {id(transfer.source) for transfer in stops} == {id(large)}
    assert len(stops) == 8
    kept = [t.position for t in schedule.transfers.values() if t.source is large and t not in stops]
    assert len(kept) == 8
    assert max(kept) <= min(transfer.position for transfer in stops)


def test_silence_is_ended_and_its_bytes_are_free() -> None:
    """A connection without a byte is stopped after the patience for it, and somebody else may have its range."""
    schedule = schedule_of(1)
    (move,) = schedule.step(0.0)
    assert list(schedule.step(19.0)) == []
    stops = [m for m in schedule.step(20.1) if isinstance(m, Stop)]
    assert stops
    assert stops[0].transfer is move.transfer
    assert stops[0].silent_s > 20


def test_an_unproven_source_gets_less_patience_beside_a_good_one() -> None:
    """While another source delivers, a silent first answer is waited for three seconds only."""
    schedule = schedule_of(2, size_bytes=10**9)
    first, second = [move.transfer for move in schedule.step(0.0)]
    schedule.headed(first, 0.1)
    for tenth in range(1, 32):
        schedule.received(first, 1, 0.1 * tenth)
    stopped = [m.transfer for m in schedule.step(3.2) if isinstance(m, Stop)]
    assert second in stopped
    assert first not in stopped


def test_a_full_host_is_left_alone() -> None:
    """What `room` denies is not started, whatever the source may have."""
    schedule = schedule_of(2, room=lambda source: source.rank == 1)
    assert [move.transfer.source.rank for move in schedule.step(0.0)] == [1]


def test_forgotten_bytes_are_fetched_again() -> None:
    """Bytes that were wrong or lost make the file incomplete, and are handed out anew."""
    schedule = schedule_of(1, written=Spans([(0, 100_000)]))
    assert schedule.complete
    schedule.forget([(10, 20)])
    assert not schedule.complete
    assert [(m.transfer.start, m.transfer.end) for m in schedule.step(0.0)] == [(10, 20)]


@pytest.mark.parametrize("seed", range(20))
def test_losing_bytes_on_the_way_does_no_harm(seed: int) -> None:
    """Bytes that the disk loses at any moment are fetched again, and the file is whole at the end."""
    network = Network([replace(FOUR[0]), replace(FOUR[3])], 40 * MIB, seed=seed)
    chance = random.Random(seed)
    step = network.schedule.step

    def lose(now_s):  # type: ignore[no-untyped-def]
        if chance.random() < 0.01 and network.schedule.written.size_bytes:
            start = chance.randrange(40 * MIB)
            network.schedule.forget([(start, start + chance.randrange(MIB))])
        return step(now_s)

    network.schedule.step = lose  # type: ignore[method-assign]
    network.run()
    assert list(network.schedule.written) == [(0, 40 * MIB)]


def test_the_measures_of_the_policy() -> None:
    """How many connections, how large a piece, and how long a silence is borne."""
    assert asdict(Limits()) == {
        "connections": 16, "total_connections": 32, "first_piece_bytes": 1_048_576, "least_piece_bytes": 262_144,
        "most_piece_bytes": 8_388_608, "horizon_s": 6.0, "stall_s": 30.0, "least_stall_s": 4.0, "head_s": 20.0, "eager_head_s": 3.0,
        "thrift_after_s": 5.0, "thrift_for_s": 3.0, "thrift_left_s": 60.0, "thrift_again_s": 120.0,
    }  # fmt: skip
