"""Which sample comes when: pure functions of seed, epoch, rank and world.

    Order      what an epoch is made of: lengths of the datasets, weights, seed, kind of shuffling
    Share      which part of it one rank takes, in batches
    batches()  the batches of one rank in one epoch, as a sequence

Rules of this file. Nothing is drawn from a generator: place p of an epoch is computed from p alone, so an
epoch of any length takes no memory, starts at any place at once, and does not depend on who asks: any number
of workers sees the same batches. All ranks of one epoch together take every sample once (see `Last`), and
every rank makes the same number of steps.

An epoch is a sequence of all samples, cut into one lane a rank. With `block` a lane runs through blocks of
neighbouring samples, 64 of them at a time and by turns, each from its beginning to its end: a disk or a
server far away then reads in order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal, Protocol, overload

from g3m.core.permutation import Permutation, mix

Shuffle = Literal["full", "block", "none"]
"""`full`: any sample may come at any place. `block`: see above. `none`: as they are stored."""

Last = Literal["drop", "pad", "even"]
"""What happens at the end of an epoch whose size divides nothing; all ranks make the same number of steps.

`drop`: full batches only; less than one step's samples are not seen in this epoch. `pad`: full batches only;
some samples of a rank come twice. `even`: every sample exactly once; the last batches are smaller.
"""

SHUFFLES: tuple[Shuffle, ...] = ("full", "block", "none")
LASTS: tuple[Last, ...] = ("drop", "pad", "even")

_FIXED, _EPOCH, _RIFFLE = 1, 2, 3
"""What a key is for, so that no two uses of one seed are alike."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an epoch is made of.

    Without weights: every sample of every dataset. With weights: as many samples as the datasets have
    together, each dataset's part in proportion to its weight. A dataset is gone through from end to end over
    and over, across epochs, so that none of its samples comes a second time more often than another does.
    """

    lengths: tuple[int, ...]
    weights: tuple[float, ...] | None = None
    seed: int = 0
    shuffle: Shuffle = "full"
    block_samples: int = 128
    window_blocks: int = 64

    def __post_init__(self) -> None:
        if self.shuffle not in SHUFFLES:
            raise ValueError(f"shuffle must be one of {', '.join(SHUFFLES)}, not {self.shuffle!r}")
        if any(length < 0 for length in self.lengths) or self.block_samples < 1 or self.window_blocks < 1:
            raise ValueError("lengths must not be negative, blocks and windows not empty")
        if self.weights is not None:
            _check_weights(self.weights, self.lengths)

    @property
    def samples(self) -> int:
        """How many samples an epoch has."""
        return sum(self.lengths)

    @property
    def parts(self) -> tuple[int, ...]:
        """How many samples of an epoch come from each dataset."""
        return self.lengths if self.weights is None else _shares(self.samples, self.weights)


@dataclass(frozen=True, slots=True)
class Share:
    """The part of one rank of `world`, in batches of `batch_size` samples."""

    rank: int
    world: int
    batch_size: int
    last: Last = "drop"

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world or self.batch_size < 1:
            raise ValueError(
                f"rank {self.rank} of {self.world} with batches of {self.batch_size} is no share"
            )
        if self.last not in LASTS:
            raise ValueError(f"last must be one of {', '.join(LASTS)}, not {self.last!r}")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps of an epoch that were made earlier, perhaps by another number of ranks or in other batches."""

    world: int
    batch_size: int
    last: Last
    steps: int


def batches(order: Order, epoch: int, share: Share, earlier: Iterable[Stretch] = ()) -> Batches:
    """The batches of a rank in an epoch, as tuples of sample numbers; after `earlier`, those that are left.

    Sample numbers count through the datasets in their order. Raises ValueError where `even` is impossible:
    fewer samples than ranks, or batches of one on a size that the ranks do not divide.
    """
    whole: _Line = _Epoch(order, epoch)
    key = mix(order.seed, epoch, _RIFFLE) if order.shuffle == "block" else None
    for stretch in earlier:
        whole = _Rest(whole, stretch, _Riffle(order, key) if key is not None else None)
        key = None  # what is left over stands in its order already
    lane = _Lane(whole, share.rank, share.world, _Riffle(order, key) if key is not None else None)
    return Batches(lane, _Cut(len(whole), share))


class Batches(Sequence[tuple[int, ...]]):
    """The batches of one rank in one epoch, by number; nothing is kept."""

    def __init__(self, lane: _Lane, cut: _Cut) -> None:
        self._lane = lane
        self._cut = cut

    def __len__(self) -> int:
        """How many steps: the same on every rank."""
        return self._cut.steps

    @overload
    def __getitem__(self, step: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, step: slice) -> tuple[tuple[int, ...], ...]: ...
    def __getitem__(self, step: int | slice) -> tuple[int, ...] | tuple[tuple[int, ...], ...]:
        if isinstance(step, slice):
            return tuple(self[number] for number in range(*step.indices(len(self))))
        number = step + len(self) if step < 0 else step
        if not 0 <= number < len(self):
            raise IndexError(step)
        return tuple(self._lane.take(range(self._cut.start(number), self._cut.start(number + 1))))


class _Line(Protocol):
    """Samples in a row, asked for by their places."""

    def __len__(self) -> int: ...
    def take(self, places: Iterable[int]) -> list[int]: ...


class _Epoch:
    """All samples of an epoch in the order that does not depend on the ranks."""

    def __init__(self, order: Order, epoch: int) -> None:
        self._order = order
        self._epoch = epoch
        self._key = mix(order.seed, epoch, _EPOCH)

    def __len__(self) -> int:
        return self._order.samples

    def take(self, places: Iterable[int]) -> list[int]:
        slots = places
        if self._order.shuffle == "full":
            slots = Permutation(len(self), self._key).take(places)
        elif self._order.shuffle == "block":
            slots = self._blocks(places)
        return list(slots) if self._order.weights is None else self._weighted(slots)

    def _blocks(self, places: Iterable[int]) -> list[int]:
        """The blocks in a random order, cut anew in each epoch, as if the samples lay in a ring.

        So the short block, which comes last, is not always the same, and neither is what `drop` leaves out.
        """
        size, block = len(self), self._order.block_samples
        count = size // block
        pairs = [divmod(place, block) for place in places]
        turns = {number for number, _ in pairs}
        full = sorted(turn for turn in turns if turn < count)
        numbers = {count: count} | dict(zip(full, Permutation(count, self._key).take(full), strict=True))
        shift = self._key % size
        return [(numbers[turn] * block + within + shift) % size for turn, within in pairs]

    def _weighted(self, slots: Iterable[int]) -> list[int]:
        order = self._order
        parts = order.parts
        ends = list(accumulate(parts))
        firsts = list(accumulate(order.lengths, initial=0))
        pairs = [(bisect_right(ends, slot), slot) for slot in slots]
        found: dict[int, Iterator[int]] = {}
        for dataset in {dataset for dataset, _ in pairs}:
            part, length = parts[dataset], order.lengths[dataset]
            before = self._epoch * part - (ends[dataset] - part)
            turns = [(before + slot) % length for of, slot in pairs if of == dataset]
            if order.shuffle == "full":
                # One fixed order, so that a part of the dataset is not a run of neighbours.
                turns = Permutation(length, mix(order.seed, dataset, _FIXED)).take(turns)
            found[dataset] = iter(turns)
        return [firsts[dataset] + next(found[dataset]) for dataset, _ in pairs]


class _Lane:
    """What one of `world` ranks takes of a line: a run of it, riffled where the line is made of blocks."""

    def __init__(self, line: _Line, rank: int, world: int, riffle: _Riffle | None) -> None:
        self._line = line
        self._riffle = riffle
        self._rank = rank
        self._first = rank * len(line) // world
        self._length = (rank + 1) * len(line) // world - self._first

    def __len__(self) -> int:
        return self._length

    def take(self, places: Iterable[int]) -> list[int]:
        """The samples at these places; beyond the end it begins again."""
        if not self._length:  # only with `pad`, where there are more ranks than samples
            return self._line.take([(self._rank + place) % len(self._line) for place in places])
        places = [place % self._length for place in places]
        if self._riffle is not None:
            places = self._riffle.take(places, self._length, self._rank)
        return self._line.take([self._first + place for place in places])


class _Riffle:
    """Takes the runs of a window by turns, each run in its own order."""

    def __init__(self, order: Order, key: int) -> None:
        self._run = order.block_samples
        self._window = order.block_samples * order.window_blocks
        self._key = key

    def take(self, places: Iterable[int], length: int, rank: int) -> list[int]:
        found = []
        for place in places:
            number, within = divmod(place, self._window)
            start = number * self._window
            size = min(self._window, length - start)
            found.append(start + _riffled(size, self._run, mix(self._key, rank, number))[within])
        return found


@lru_cache(maxsize=8)
def _riffled(size: int, run: int, key: int) -> tuple[int, ...]:
    """The numbers of `range(size)`, shuffled so that those of one run keep their order."""
    following = list(range(0, size, run))
    found = []
    for drawn in Permutation(size, key).take(range(size)):
        number = drawn // run
        found.append(following[number])
        following[number] += 1
    return tuple(found)


class _Rest:
    """What a stretch of an epoch left over: the ends of its lanes, one behind the other."""

    def __init__(self, line: _Line, done: Stretch, riffle: _Riffle | None) -> None:
        self._lanes = [_Lane(line, rank, done.world, riffle) for rank in range(done.world)]
        self._starts = []
        for rank, lane in enumerate(self._lanes):
            cut = _Cut(len(line), Share(rank, done.world, done.batch_size, done.last))
            self._starts.append(min(cut.start(done.steps), len(lane)))
        self._ends = list(
            accumulate(len(lane) - start for lane, start in zip(self._lanes, self._starts, strict=True))
        )

    def __len__(self) -> int:
        return self._ends[-1]

    def take(self, places: Iterable[int]) -> list[int]:
        found: list[int] = []
        for place in places:
            rank = bisect_right(self._ends, place)
            before = self._ends[rank - 1] if rank else 0
            found += self._lanes[rank].take((self._starts[rank] + place - before,))
        return found


class _Cut:
    """Where the batches of a lane begin, and how many there are."""

    def __init__(self, samples: int, share: Share) -> None:
        self._share = share
        self._length = (share.rank + 1) * samples // share.world - share.rank * samples // share.world
        shortest, longest = samples // share.world, -(-samples // share.world)
        if share.last == "drop":
            self.steps = shortest // share.batch_size
            return
        self.steps = -(-longest // share.batch_size)
        if share.last == "even" and samples:
            if not shortest:
                raise ValueError(f"{samples} samples are too few for {share.world} ranks: use pad")
            if share.batch_size == 1 and shortest != longest:
                raise ValueError(f"{samples} samples in batches of 1 do not divide by {share.world} ranks")

    def start(self, step: int) -> int:
        """The place in the lane at which a step begins; that of `steps` is the end."""
        if self._share.last != "even":
            return step * self._share.batch_size
        if step >= self.steps:
            return self._length
        start = step * self._share.batch_size
        # A lane that full batches use up one step early gives the last step one sample of the step before.
        return start - 1 if step and start >= self._length else start


def _check_weights(weights: Sequence[float], lengths: Sequence[int]) -> None:
    if len(weights) != len(lengths):
        raise ValueError(f"{len(weights)} weights for {len(lengths)} datasets")
    if not all(0 <= weight < float("inf") for weight in weights) or not sum(weights) > 0:
        raise ValueError("weights must be numbers from 0 on, and one of them above it")
    if any(weight and not length for weight, length in zip(weights, lengths, strict=True)):
        raise ValueError("a dataset without samples cannot have a weight")


def _shares(total: int, weights: Sequence[float]) -> tuple[int, ...]:
    """Whole numbers in proportion to weights, with the total as their sum; the largest remainders go up."""
    whole = sum(weights)
    exact = [total * weight / whole for weight in weights]
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(parts)), key=lambda place: (parts[place] - exact[place], place))
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return tuple(parts)
