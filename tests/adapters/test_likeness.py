"""adapters/likeness.py: finds what is alike among many, exactly as comparing all with all would, and is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from g3m.adapters import likeness
from g3m.adapters.likeness import LINKS, Pairs, Pictures, exact, exact_to, near, near_to, pictures
from g3m.core.alike import BOTH_LIMIT, ROWS_LIMIT, hamming, signed

FULL = 2**64 - 1


def ran(steps: object) -> Pairs:
    """What a search gives; what it yields on the way must rise from 0 to 1."""
    told = [0.0]
    while True:
        try:
            told.append(next(steps))  # type: ignore[call-overload]
        except StopIteration as stop:
            assert told == sorted(told)
            assert told[-1] <= 1
            return stop.value  # type: ignore[no-any-return]


def drawn(count: int, seed: int, *, twins: int = 0) -> Pictures:
    """Pictures of even hashes, the first of which have copies with up to the allowed number of other bits."""
    dice = np.random.default_rng(seed)
    rows = dice.integers(0, FULL, count, dtype=np.uint64, endpoint=True)
    columns = dice.integers(0, FULL, count, dtype=np.uint64, endpoint=True)
    digests = dice.integers(1, FULL, (count, 2), dtype=np.uint64)
    for pair in range(twins):
        one, other = pair, count - 1 - pair
        for halves, limit in ((rows, ROWS_LIMIT + 2), (columns, BOTH_LIMIT - ROWS_LIMIT + 2)):
            flips = dice.choice(64, dice.integers(0, limit), replace=False)
            halves[other] = halves[one] ^ np.uint64(sum(1 << int(bit) for bit in flips))
    return Pictures(np.arange(count, dtype=np.int64) * 3, digests, rows, columns)


def differ(one: Pictures, place: int, other: Pictures, there: int) -> tuple[int, int]:
    rows = hamming(int(one.rows[place]), int(other.rows[there]))
    return rows, rows + hamming(int(one.columns[place]), int(other.columns[there]))


def is_near(one: Pictures, place: int, other: Pictures, there: int) -> bool:
    rows, both = differ(one, place, other, there)
    return rows <= ROWS_LIMIT and both <= BOTH_LIMIT


def test_pictures_keep_ids_digests_and_hashes() -> None:
    """What the catalog streams arrives in arrays: signed hashes with all their bits, digests of 16 bytes."""
    found = pictures([(5, bytes(range(32)), -1, 0), (2**40, b"", 7, -(2**63))])
    assert found.ids.tolist() == [5, 2**40]
    assert found.rows.tolist() == [FULL, 7]
    assert found.columns.tolist() == [0, 2**63]
    assert found.digests[0].tobytes() == bytes(range(16))
    assert not found.digests[1].any()
    assert len(found) == 2


def test_nothing_has_no_pairs() -> None:
    """Empty sets, single pictures, and pictures that were not looked at are no pairs."""
    nothing, one = pictures([]), pictures([(1, b"d" * 32, 77, 88)])
    unknown = pictures([(1, b"", 0, 0), (2, b"", 0, 0)])
    for found in (nothing, one, unknown):
        assert len(exact(found)) == len(ran(near(found))) == 0
        assert len(exact_to(found, nothing)) == len(exact_to(nothing, found)) == 0
        assert len(ran(near_to(found, nothing))) == len(ran(near_to(nothing, found))) == 0
    assert len(exact_to(unknown, unknown)) == len(ran(near_to(unknown, unknown))) == 0


def test_equal_digests_are_tied_to_the_first() -> None:
    """Of pictures of the same bytes each later one stands with the first of them, and no other pair does."""
    digests = [b"a" * 32, b"b" * 32, b"a" * 32, b"c" * 32, b"a" * 32, b"b" * 32]
    found = pictures((place, digest, place + 1, 5) for place, digest in enumerate(digests))
    assert sorted(exact(found)) == [(0, 2, 0), (0, 4, 0), (1, 5, 0)]


def test_flat_pictures_are_no_near_pair_but_may_be_exact() -> None:
    """Without a hash nothing is alike but the bytes."""
    found = pictures([(1, b"a" * 32, 0, 0), (2, b"b" * 32, 0, 0), (3, b"a" * 32, 0, 0)])
    assert list(exact(found)) == [(0, 2, 0)]
    assert len(ran(near(found))) == 0


def test_a_half_that_is_zero_is_a_hash() -> None:
    """Only both halves 0 mean that there is none."""
    found = pictures([(1, b"a" * 32, 0, 99), (2, b"b" * 32, 0, 99)])
    assert list(ran(near(found))) == [(0, 1, 0)]


@pytest.mark.parametrize("seed", range(4))
def test_near_finds_what_comparing_all_with_all_finds(seed: int) -> None:
    """Bands and probes lose no pair and add none, whichever bits differ."""
    found = drawn(1200, seed, twins=300)
    wanted = set()
    for one in range(len(found)):
        rows = np.bitwise_count(found.rows ^ found.rows[one])
        both = rows + np.bitwise_count(found.columns ^ found.columns[one])
        wanted |= {
            (one, int(o), int(both[o]))
            for o in np.flatnonzero((rows <= ROWS_LIMIT) & (both <= BOTH_LIMIT))
            if o > one
        }
    assert len(wanted) > 100
    assert set(ran(near(found))) == wanted


def test_any_seven_bits_may_differ() -> None:
    """Wherever the seven bits lie, together in one band or spread, the pair is found."""
    dice = np.random.default_rng(9)
    base = 0x9E3779B97F4A7C15
    places = [range(start, start + 7) for start in range(58)] + [
        dice.choice(64, 7, replace=False) for _ in range(300)
    ]
    places += [likeness._BITS[band * 16 : band * 16 + 7] for band in range(4)]
    for bits in places:
        other = base
        for bit in bits:
            other ^= 1 << int(bit)
        found = pictures([(1, b"a" * 32, signed(base), 3), (2, b"b" * 32, signed(other), 3)])
        assert list(ran(near(found))) == [(0, 1, 7)]


def test_an_eighth_bit_is_one_too_many() -> None:
    """Eight bits of rows, or seventeen of both, are no pair."""
    for rows, columns, count in ((0xFF, 0, 0), (0x7F, 0x3FF, 0), (0x7F, 0x1FF, 1), (0, 0xFFFF, 1)):
        found = pictures([(1, b"a" * 32, 2**40, 2**41), (2, b"b" * 32, 2**40 ^ rows, 2**41 ^ columns)])
        assert len(ran(near(found))) == count


def test_of_equal_pictures_one_stands_for_all() -> None:
    """Copies of the same bytes make one near pair with another picture, not one each."""
    rows = [(place, b"a" * 32, 1000, 1000) for place in range(5)] + [(9, b"b" * 32, 1001, 1000)]
    assert list(ran(near(pictures(rows)))) == [(0, 5, 1)]


def test_a_million_equal_hashes_are_tied_to_the_first() -> None:
    """Different pictures with one hash, however many, give one pair each, quickly and in little memory."""
    count = 1_000_000
    digests = np.arange(2 * count, dtype=np.uint64).reshape(-1, 2) + np.uint64(1)
    same = np.full(count, 12345, np.uint64)
    found = Pictures(np.arange(count, dtype=np.int64), digests, same, same)
    pairs = ran(near(found))
    assert len(pairs) == count - 1
    assert set(pairs.ones.tolist()) == {0}
    assert not pairs.bits.any()
    assert not pairs.is_crowded


def test_a_crowd_of_nearly_equal_hashes_is_bounded() -> None:
    """Twenty thousand hashes that are all near one another store no more than a few pairs each, and say so."""
    count = 20_000
    dice = np.random.default_rng(3)
    # Bits of one band stay, so that all meet in one bucket.
    free = [bit for bit in range(64) if bit not in likeness._BITS[:16]][:40]
    rows = np.full(count, 2**63, np.uint64)
    for place in range(count):
        for bit in dice.choice(free, 3, replace=False):
            rows[place] ^= np.uint64(1 << int(bit))
    columns = dice.integers(0, 2**6, count, dtype=np.uint64)
    digests = np.arange(2 * count, dtype=np.uint64).reshape(-1, 2) + np.uint64(1)
    pairs = ran(near(Pictures(np.arange(count, dtype=np.int64), digests, rows, columns)))
    assert pairs.is_crowded
    assert count // 2 < len(pairs) < (LINKS + 1) * count
    assert np.bincount(pairs.others).max() <= LINKS + 1


def test_a_crowd_is_compared_with_its_neighbours() -> None:
    """Where all of a crowd have one `rows`, each still finds some that it is near to."""
    count = likeness.CROWD + 500
    numbers = np.arange(count, dtype=np.uint64)
    digests = np.stack([numbers + np.uint64(1)] * 2, axis=1)
    found = Pictures(numbers.astype(np.int64), digests, np.full(count, 2**50, np.uint64), numbers)
    pairs = ran(near(found))
    assert pairs.is_crowded
    assert len(set(pairs.others.tolist())) == count - 1


def test_among_very_many_the_nearest_is_found() -> None:
    """Where more are near than are looked at closely, the nearest is not among those left out."""
    dice = np.random.default_rng(4)
    base = 0x0F0F_1234_5678_9ABC
    far = [base ^ sum(1 << int(bit) for bit in dice.choice(64, 6, replace=False)) for _ in range(300)]
    looks = [(place, b"w" * 32, signed(rows), 5) for place, rows in enumerate([*far[:150], base, *far[150:]])]
    for copies in (1, 40):
        found = pictures((place, b"f" * 32, signed(base), 5) for place in range(copies))
        pairs = list(ran(near_to(found, pictures(looks))))
        assert len(pairs) == LINKS * copies
        nearest = {other: (one, bits) for one, other, bits in reversed(pairs)}
        assert nearest == dict.fromkeys(range(copies), (150, 0))


def test_each_keeps_its_nearest() -> None:
    """Where a picture is near to more than are kept, the nearest are."""
    rows = [(place, bytes([place + 1]) * 32, 2**50 ^ (1 << place) - 1, 2**50) for place in range(8)]
    rows += [(20 + place, bytes([90 + place]) * 32, 2**50, 2**50 ^ 1 << place) for place in range(20)]
    pairs = ran(near(pictures(rows)))
    last = sorted((bits, one) for one, other, bits in pairs if other == len(rows) - 1)
    everyone = pictures(rows)
    wanted = sorted(differ(everyone, one, everyone, len(rows) - 1)[1] for one in range(len(rows) - 1))
    assert [bits for bits, _ in last] == wanted[:LINKS]


def test_exact_to_names_the_first_of_the_other_set() -> None:
    """Every picture with a digest of the other set stands with the first that has it there."""
    wanted = pictures([(1, b"x" * 32, 1, 1), (2, b"a" * 32, 1, 1), (3, b"a" * 32, 1, 1), (4, b"", 0, 0)])
    found = pictures([(7, b"b" * 32, 1, 1), (8, b"a" * 32, 1, 1), (9, b"a" * 32, 1, 1), (10, b"", 0, 0)])
    assert sorted(exact_to(found, wanted)) == [(1, 1, 0), (1, 2, 0)]
    assert sorted(exact_to(wanted, found)) == [(1, 1, 0), (1, 2, 0)]


@pytest.mark.parametrize("seed", range(3))
def test_near_to_finds_what_comparing_all_with_all_finds(seed: int) -> None:
    """Between two sets, too, no pair is lost and none added, and all come sorted by sample, the nearest first."""
    found, wanted = drawn(900, seed), drawn(400, seed + 50)
    for place in range(200):
        flips = 0
        for bit in range(place % 11):
            flips |= 1 << (place * 7 + bit * 5) % 64
        found.rows[place] = wanted.rows[place] ^ np.uint64(flips)
        found.columns[place] = wanted.columns[place]
    found.rows[800:820], found.columns[800:820] = found.rows[1], found.columns[1]
    pairs = list(ran(near_to(found, wanted)))
    everything = {
        (one, other, differ(wanted, one, found, other)[1])
        for one in range(len(wanted))
        for other in range(len(found))
        if is_near(wanted, one, found, other)
    }
    assert len(everything) > 100
    assert set(pairs) == everything
    assert len(pairs) == len(everything)
    assert pairs == sorted(pairs, key=lambda pair: (pair[1], pair[2]))


def test_near_to_is_bounded_where_all_have_nearly_one_hash() -> None:
    """A set against itself with one hash for all: every picture is found once, not each with each."""
    count = 300_000
    same = np.full(count, 999, np.uint64)
    found = Pictures(np.arange(count, dtype=np.int64), np.ones((count, 2), np.uint64), same, same)
    pairs = ran(near_to(found, found))
    assert len(pairs) == count
    assert set(pairs.ones.tolist()) == {0}


def test_too_many_comparisons_are_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one band of both sets has more than may be compared, the answer says that it is not complete."""
    monkeypatch.setattr(likeness, "COMPARED_LIMIT", 100)
    rows = np.uint64(2**50) ^ np.arange(2000, dtype=np.uint64)
    found = Pictures(np.arange(2000), np.ones((2000, 2), np.uint64), rows, rows)
    assert ran(near_to(found, found)).is_crowded


def test_an_older_numpy_counts_bits_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numpy.bitwise_count the same pairs are found."""
    found = drawn(600, 1, twins=200)
    wanted = set(ran(near(found)))
    counted = likeness._bitwise_count(found.rows[:, None] ^ found.rows[:5])
    assert (counted == np.bitwise_count(found.rows[:, None] ^ found.rows[:5])).all()
    monkeypatch.delattr(np, "bitwise_count")
    assert set(ran(near(found))) == wanted
