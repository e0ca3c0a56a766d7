"""core/order.py: every sample once, equal steps on every rank, the same batches however they are asked for."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.order import LASTS, SHUFFLES, Batches, Last, Order, Share, Shuffle, Stretch, batches

SHUFFLE = st.sampled_from(SHUFFLES)


def small(lengths: tuple[int, ...], shuffle: Shuffle, seed: int = 0, **more: object) -> Order:
    return Order(lengths, seed=seed, shuffle=shuffle, block_samples=4, window_blocks=3, **more)  # type: ignore[arg-type]


def of_all(
    order: Order, epoch: int, world: int, batch_size: int, last: Last, earlier: tuple[Stretch, ...] = ()
) -> list[Batches]:
    return [batches(order, epoch, Share(rank, world, batch_size, last), earlier) for rank in range(world)]


def flat(lanes: list[Batches]) -> list[int]:
    return [number for lane in lanes for batch in lane for number in batch]


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=3).map(tuple),
    shuffle=SHUFFLE,
    world=st.integers(1, 7),
    batch_size=st.integers(1, 9),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_the_promises_of_an_epoch(
    lengths: tuple[int, ...], shuffle: Shuffle, world: int, batch_size: int, epoch: int, seed: int
) -> None:
    """`even`: each sample exactly once; `drop`: at most once, less than a step missing; `pad`: at least once."""
    order, total = small(lengths, shuffle, seed), sum(lengths)
    for last in LASTS:
        impossible = last == "even" and total > 0 and (total < world or (batch_size == 1 and total % world))
        if impossible:
            with pytest.raises(ValueError, match=r"pad|divide"):
                of_all(order, epoch, world, batch_size, last)
            continue
        lanes = of_all(order, epoch, world, batch_size, last)
        assert len({len(lane) for lane in lanes}) == 1
        counts = Counter(flat(lanes))
        assert set(counts) <= set(range(total))
        sizes = [len(batch) for lane in lanes for batch in lane]
        if last == "even":
            assert counts == Counter(range(total))
            assert all(1 <= size <= batch_size for size in sizes)
        elif last == "drop":
            assert set(counts.values()) <= {1}
            assert total - len(counts) < world * batch_size + world
        else:
            assert set(counts) == set(range(total))
        if last != "even":
            assert set(sizes) <= {batch_size}


@given(
    samples=st.integers(1, 80),
    shuffle=SHUFFLE,
    worlds=st.lists(
        st.tuples(st.integers(1, 5), st.integers(2, 6), st.integers(0, 4), st.sampled_from(LASTS)),
        min_size=1,
        max_size=3,
    ),
    data=st.data(),
)
def test_an_epoch_goes_on_elsewhere(
    samples: int, shuffle: Shuffle, worlds: list[tuple[int, int, int, Last]], data: st.DataObject
) -> None:
    """After stretches on any numbers of ranks the rest of the epoch holds exactly what was not seen."""
    order = small((samples,), shuffle)
    seen: list[int] = []
    earlier: tuple[Stretch, ...] = ()
    for world, batch_size, steps, last in worlds:
        try:
            lanes = of_all(order, 1, world, batch_size, last, earlier)
        except ValueError:
            return
        steps = min(steps, len(lanes[0]))
        if last == "pad":
            steps = min(steps, max(len(lanes[0]) - 1, 0))  # its last step repeats samples
        seen += [number for lane in lanes for batch in lane[:steps] for number in batch]
        earlier += (Stretch(world, batch_size, last, steps),)
    assert len(set(seen)) == len(seen)
    rest = flat(of_all(order, 1, 1, 7, "even", earlier))
    assert sorted(seen + rest) == list(range(samples))


@given(shuffle=SHUFFLE, steps=st.integers(0, 12), weights=st.sampled_from([None, (1.0, 2.0)]))
def test_the_same_world_goes_on(shuffle: Shuffle, steps: int, weights: tuple[float, ...] | None) -> None:
    """On one rank, going on after some steps gives the batches that were to come."""
    order = small((30, 31), shuffle, weights=weights)
    whole = batches(order, 2, Share(0, 1, 5, "even"))
    rest = batches(order, 2, Share(0, 1, 5, "even"), (Stretch(1, 5, "even", steps),))
    assert list(rest) == list(whole)[steps:]


def test_batches_are_a_sequence() -> None:
    """By number, from behind, by slice; beyond either end IndexError; asked twice the same."""
    found = batches(small((50,), "block"), 0, Share(1, 2, 4))
    assert len(found) == 6
    assert found[-1] == found[5]
    assert found[2:4] == (found[2], found[3])
    for beyond in (6, -7):
        with pytest.raises(IndexError):
            found[beyond]
    assert list(found) == list(batches(small((50,), "block"), 0, Share(1, 2, 4)))


@pytest.mark.parametrize("shuffle", ["full", "block"])
def test_epochs_and_seeds_differ(shuffle: Shuffle) -> None:
    """Another epoch and another seed give another order; what `drop` leaves out is not always the same."""
    order = small((101,), shuffle)
    orders = {tuple(flat(of_all(order, epoch, 1, 8, "even"))) for epoch in range(20)}
    assert len(orders) == 20
    assert (
        len({tuple(flat(of_all(small((101,), shuffle, seed), 0, 1, 8, "even"))) for seed in range(20)}) == 20
    )
    left_out = set(
        chain.from_iterable(
            set(range(101)) - set(flat(of_all(order, epoch, 2, 8, "drop"))) for epoch in range(60)
        )
    )
    assert len(left_out) > 60


def test_none_is_as_stored() -> None:
    """Without shuffling one rank reads in order, and two ranks read a half each."""
    assert flat(of_all(small((7, 4), "none"), 3, 1, 3, "even")) == list(range(11))
    one, two = of_all(small((7, 4), "none"), 0, 2, 3, "even")
    assert [number for batch in one for number in batch] == [0, 1, 2, 3, 4]
    assert [number for batch in two for number in batch] == [5, 6, 7, 8, 9, 10]


@given(samples=st.integers(1, 3000), rank=st.integers(0, 2), epoch=st.integers(0, 5))
def test_blocks_are_read_in_order(samples: int, rank: int, epoch: int) -> None:
    """With `block` a rank reads runs of neighbours upwards: about as many beginnings as it has blocks, not samples."""
    order = Order((samples,), shuffle="block", block_samples=50, window_blocks=4)
    lane = [number for batch in batches(order, epoch, Share(rank, 3, 16, "pad")) for number in batch]
    lane = lane[: (rank + 1) * samples // 3 - rank * samples // 3]
    known = set(lane)
    beginnings = sum(number - 1 not in known for number in known)
    place = {number: turn for turn, number in enumerate(lane)}
    upwards = sum(place[number] > place[number - 1] for number in known if number - 1 in known)
    assert beginnings <= len(lane) // 50 + 4
    assert upwards >= sum(number - 1 in known for number in known) - len(lane) // 50 - 4


def test_blocks_are_mixed() -> None:
    """A batch of `block` holds samples of many blocks, and neighbours in a block do not meet in order of a block."""
    order = Order((40_000,), shuffle="block")
    lane = batches(order, 0, Share(0, 1, 256))
    distinct = [len({number // 128 for number in batch}) for batch in lane]
    assert min(distinct) > 50
    assert Order((1,)).block_samples * Order((1,)).window_blocks == 8192


def test_weights_are_shares() -> None:
    """Each dataset has its share of the epoch, and none of its samples comes a second time before all have come."""
    order = small((30, 10), "full", weights=(1.0, 3.0))
    assert order.parts == (10, 30)
    for epoch in range(3):
        counts = Counter(flat(of_all(order, epoch, 2, 4, "even")))
        assert sum(count for number, count in counts.items() if number < 30) == 10
        assert {counts[number] for number in range(30, 40)} == {3}
    whole = Counter(number for epoch in range(3) for number in flat(of_all(order, epoch, 1, 8, "even")))
    assert {whole[number] for number in range(30)} == {1}


def test_weighted_datasets_go_their_own_ways() -> None:
    """Of two datasets of one size an epoch takes different parts, not the same places of both."""
    order = small((40, 40, 40), "full", weights=(1.0, 1.0, 4.0))
    seen = flat(of_all(order, 0, 1, 8, "even"))
    one, two = (
        {number for number in seen if number < 40},
        {number - 40 for number in seen if 40 <= number < 80},
    )
    assert len(one) == len(two) == 20
    assert one != two


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple),
    shuffle=SHUFFLE,
    epochs=st.integers(1, 4),
    data=st.data(),
)
def test_weights_are_fair(
    lengths: tuple[int, ...], shuffle: Shuffle, epochs: int, data: st.DataObject
) -> None:
    """Over several epochs the samples of one dataset come equally often, within one; parts sum to the whole."""
    weights = data.draw(
        st.tuples(*[st.floats(0, 10) for _ in lengths]).filter(lambda drawn: sum(drawn) > 0.01)
    )
    order = small(lengths, shuffle, weights=weights)
    assert sum(order.parts) == sum(lengths)
    counts = Counter(number for epoch in range(epochs) for number in flat(of_all(order, epoch, 1, 8, "even")))
    first = 0
    for length, weight in zip(lengths, weights, strict=True):
        own = [counts[number] for number in range(first, first + length)]
        assert max(own) - min(own) <= 1
        assert weight or not any(own)
        first += length


def test_three_million_at_once() -> None:
    """An epoch of G3M's size on 16 ranks is ready at its middle at once: two batches touch nothing but themselves."""
    order = Order((2_905_954, 840_000, 118_287), shuffle="full")
    lanes = [batches(order, 5, Share(rank, 16, 256)) for rank in range(16)]
    middle = [lane[len(lane) // 2] for lane in lanes]
    assert len(set(chain.from_iterable(middle))) == 16 * 256
    assert all(0 <= number < order.samples for batch in middle for number in batch)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lengths": (1,), "shuffle": "some"},
        {"lengths": (-1,)},
        {"lengths": (1,), "block_samples": 0},
        {"lengths": (1, 2), "weights": (1.0,)},
        {"lengths": (1, 2), "weights": (0.0, 0.0)},
        {"lengths": (1, 2), "weights": (-1.0, 2.0)},
        {"lengths": (1, 2), "weights": (float("nan"), 2.0)},
        {"lengths": (1, 0), "weights": (1.0, 2.0)},
    ],
)
def test_orders_that_are_none(wrong: dict[str, object]) -> None:
    """What cannot be an order is refused when it is made."""
    with pytest.raises(ValueError, match=r"must|weights|cannot"):
        Order(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [(2, 2, 4, "drop"), (-1, 2, 4, "drop"), (0, 1, 0, "drop"), (0, 1, 4, "some")]
)
def test_shares_that_are_none(wrong: tuple[int, int, int, Last]) -> None:
    """A rank outside its world, an empty batch and an unknown end are refused."""
    with pytest.raises(ValueError, match=r"no share|must be one of"):
        Share(*wrong)


def test_fewer_samples_than_ranks() -> None:
    """`drop` makes no step, `pad` repeats samples, `even` says that it cannot be."""
    assert [len(lane) for lane in of_all(Order((3,)), 0, 5, 2, "drop")] == [0] * 5
    padded = flat(of_all(Order((3,)), 0, 5, 2, "pad"))
    assert len(padded) == 10
    assert set(padded) == {0, 1, 2}
    with pytest.raises(ValueError, match="too few for 5 ranks"):
        of_all(Order((3,)), 0, 5, 2, "even")
    assert [len(lane) for lane in of_all(Order((0,)), 0, 2, 2, "even")] == [0, 0]


def test_the_same_in_every_version() -> None:
    """A checkpoint of today must mean the same batches tomorrow: these orders were computed once."""
    assert flat(of_all(small((12,), "full"), 1, 1, 5, "even")) == GOLDEN_FULL
    assert flat(of_all(small((18,), "block"), 1, 1, 5, "even")) == GOLDEN_BLOCK


GOLDEN_FULL = [11, 2, 9, 7, 1, 5, 6, 0, 4, 10, 8, 3]
GOLDEN_BLOCK = [2, 10, 11, 12, 3, 14, 15, 4, 16, 13, 17, 5, 0, 1, 6, 7, 8, 9]


GOLDEN_RANKS = [
    ((Order((5,)), 0, 7, 1, "pad"), [[[4]], [[4]], [[3]], [[2]], [[0]], [[2]], [[1]]]),
    ((Order((12,)), 0, 2, 3, "drop"), [[[1, 5, 11], [8, 0, 3]], [[4, 2, 9], [7, 6, 10]]]),
    ((Order((10, 10), (1.0, 0.25), seed=3), 2, 2, 4, "even"), [[[0, 9, 19, 2], [7, 6, 7, 9], [3, 1]], [[12, 4, 15, 10], [8, 1, 2, 8], [5, 4]]]),
    ((Order((10, 10), (0.25, 0.25), seed=3), 2, 2, 4, "pad", (Stretch(3, 2, "pad", 1),)),
     [[[11, 18, 8, 2], [5, 4, 10, 11]], [[12, 19, 16, 1], [14, 7, 0, 12]]]),
    ((Order((11,), shuffle="none"), 0, 3, 2, "even"), [[[0, 1], [2]], [[3, 4], [5, 6]], [[7, 8], [9, 10]]]),
    ((Order((11,), shuffle="none"), 0, 3, 2, "pad"), [[[0, 1], [2, 0]], [[3, 4], [5, 6]], [[7, 8], [9, 10]]]),
    ((Order((40,), shuffle="block", block_samples=4, window_blocks=3, seed=1), 1, 2, 5, "even", (Stretch(1, 5, "drop", 2),)),
     [[[25, 33, 18, 34, 35], [19, 20, 2, 3, 4], [5, 36, 21, 37, 6]], [[10, 11, 26, 27, 7], [12, 13, 8, 9, 28], [29, 14, 15, 16, 17]]]),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "found"), GOLDEN_RANKS)
def test_the_same_for_every_rank_in_every_version(
    asked: tuple[Any, ...], found: list[list[list[int]]]
) -> None:
    """Weights, padding, blocks, and an epoch that goes on with other ranks: these orders were computed once, too."""
    order, epoch, world, size, last, *earlier = asked
    lanes = [batches(order, epoch, Share(rank, world, size, last), *earlier) for rank in range(world)]
    assert [[list(batch) for batch in lane] for lane in lanes] == found


def test_what_an_order_is_unless_said_otherwise() -> None:
    """Seed 0, all mixed, blocks of 128 samples and windows of 64 blocks; incomplete steps are dropped."""
    order = Order((1,))
    assert (order.weights, order.seed, order.shuffle, order.block_samples, order.window_blocks) == (
        None,
        0,
        "full",
        128,
        64,
    )
    assert Share(0, 1, 1).last == "drop"
    assert (SHUFFLES, LASTS) == (("full", "block", "none"), ("drop", "pad", "even"))


@pytest.mark.parametrize(
    ("weights", "parts"),
    [
        ((1.0, 1.0), (5, 5)),
        ((0.1, 0.1), (5, 5)),
        ((1.0, 2.0), (3, 7)),
        ((2.0, 1.0), (7, 3)),
        ((0.0, 1.0), (0, 10)),
        ((1e-9, 0.0), (10, 0)),
        ((3.0, 1.0), (8, 2)),
    ],
)
def test_parts_are_whole_numbers_in_proportion(weights: tuple[float, ...], parts: tuple[int, ...]) -> None:
    """The largest remainder goes up, among equals the first; weights need no sum of one."""
    assert Order((4, 6), weights).parts == parts


def test_batches_end_where_they_end() -> None:
    """The last number is one below the length, from the end as well."""
    lane = batches(Order((12,)), 0, Share(0, 2, 3))
    assert len(lane) == 2
    assert (lane[-1], lane[-2], lane[0:2], lane[1:]) == (lane[1], lane[0], (lane[0], lane[1]), (lane[1],))
    for number in (2, -3):
        with pytest.raises(IndexError):
            lane[number]


def test_batches_of_one_want_a_size_that_divides() -> None:
    """`even` with one sample a batch: every rank must have as many."""
    assert [len(batches(Order((6,)), 0, Share(rank, 3, 1, "even"))) for rank in range(3)] == [2, 2, 2]
    with pytest.raises(ValueError, match="7 samples in batches of 1 do not divide by 3 ranks"):
        batches(Order((7,)), 0, Share(0, 3, 1, "even"))
    assert len(batches(Order((7,)), 0, Share(0, 3, 2, "even"))) == 2


def test_the_smallest_order() -> None:
    """Blocks and windows of one; less is none."""
    assert [
        len(batches(Order((5,), shuffle="block", block_samples=1, window_blocks=1), 0, Share(0, 1, 1)))
    ] == [5]
    for wrong in ({"block_samples": 0}, {"window_blocks": 0}):
        with pytest.raises(ValueError, match="blocks and windows not empty"):
            Order((5,), **wrong)  # type: ignore[arg-type]
