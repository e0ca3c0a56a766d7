"""core/schedule.py: nothing behind the ceiling is begun, and the download ends all the same when it moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.network import Link, Network

from g3m.core.schedule import Limits, Start

SIZE = 2_000_000
SMALL = Limits(first_piece_bytes=4096, least_piece_bytes=1024, most_piece_bytes=2**15)


def following(network: Network, window_bytes: int, highest: list[int]) -> None:
    """The ceiling goes where the front is, a window further on, as streaming has it."""
    schedule, step = network.schedule, network.schedule.step

    def moved(now_s):  # type: ignore[no-untyped-def]
        front = next((end for start, end in schedule.written if start == 0), 0)
        schedule.ceiling = front + window_bytes
        for move in step(now_s):
            if isinstance(move, Start):
                assert move.transfer.end <= schedule.ceiling
                highest.append(move.transfer.end - front)
            yield move

    schedule.step = moved  # type: ignore[method-assign]


@pytest.mark.parametrize("links", [[Link()], [Link(), Link(rate=2e5, latency_s=0.3), Link(hole=True)]])
@given(window_bytes=st.sampled_from([2**13, 2**16, 2**18]), seed=st.integers(0, 99))
def test_the_download_ends_with_a_moving_ceiling(links: list[Link], window_bytes: int, seed: int) -> None:
    """Every byte comes, in order within a window, from one source and from several with vices."""
    network, highest = Network(links, SIZE, seed=seed, limits=SMALL), list[int]()
    following(network, window_bytes, highest)
    network.run(limit_s=2000)
    assert not network.failed
    assert list(network.schedule.written) == [(0, SIZE)]
    assert max(highest) <= window_bytes


def test_a_ceiling_that_stays_stops_everything_behind_it() -> None:
    """All below comes, then nothing is asked for; once it is gone the rest comes."""
    network = Network([Link(), Link()], SIZE, limits=SMALL)
    network.schedule.ceiling = 300_000
    with pytest.raises(AssertionError, match="livelock"):
        network.run(limit_s=60)
    assert list(network.schedule.written) == [(0, 300_000)]
    assert not network.schedule.transfers
    assert not network.schedule.hopeless
    network.schedule.ceiling = SIZE
    network.run(limit_s=60)
    assert network.schedule.complete


def test_without_a_ceiling_the_file_has_no_bound() -> None:
    """A plain download is not held back."""
    network = Network([Link()], SIZE, limits=SMALL)
    assert network.schedule.ceiling > SIZE
    network.run(limit_s=60)
    assert network.schedule.complete
