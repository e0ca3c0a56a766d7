"""A loader: epoch after epoch of batches of one rank, which knows where it is and can go on from there.

Here: what an `iter()` begins, what counts as handed out, which pictures were broken. Not here: torch. How
batches are made is said by a `Workshop` (load/torch.py), in what order by core/order.py.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

from g3m.core.errors import UsageError
from g3m.core.order import Batches, Order, Share, batches
from g3m.load.assemble import BrokenImage, Caption, Maker, Whole, replace_all
from g3m.load.dataset import Dataset
from g3m.load.pictures import Source
from g3m.load.place import Place, document, place_of

Batch = tuple[Any, list[Caption], list[str]]
"""Images (batch, 3, size, size), captions, keys."""

_LOG = logging.getLogger("g3m.load")

_HINT_RANKS = (
    "make the loader after torch.distributed.init_process_group, or give rank= and world=",
    "请在 torch.distributed.init_process_group 之后创建 loader，或显式给出 rank= 和 world=",
)
_HINT_LAST = (
    "make batches smaller, or use last='even' (each sample once) or last='pad' (some samples twice)",
    "请减小 batch_size，或使用 last='even'（每个样本一次）或 last='pad'（批次全满，部分样本重复）",
)


class Workshop(Protocol):
    """How batches are made. Nothing of it changes which samples are in them."""

    def begin(self, source: Source, todo: Batches, step: int) -> tuple[Iterator[Whole], Maker]:
        """The batches from a step on, and what can make one more; closed by its `close()`, if it has one."""
        ...

    def finish(self, batch: Whole, data: Dataset) -> Whole:
        """What is left to do with a batch by who takes it; `good` is None if no picture of it is."""
        ...

    def ranks(self) -> tuple[int, int] | None:
        """Rank and number of ranks as they are now, or None if the user gave them."""
        ...


class Loader:
    """Batches of a dataset, one epoch an `iter()`; made by `g3m.loader`.

    `state_dict()` says which batches were handed out, and `load_state_dict()` goes on behind them, with any
    number of workers or ranks and any batch size. `broken` lists the samples that cannot be decoded.
    """

    def __init__(self, data: Dataset, order: Order, share: Share, workshop: Workshop) -> None:
        self.data = data
        self.broken: list[BrokenImage] = []
        self._order = order
        self._share = share
        self._workshop = workshop
        self._next = Place()
        self._now: Place | None = None
        self._good: int | None = None
        self._running: weakref.ref[Epoch] | None = None
        self._seen_broken: set[BrokenImage] = set()
        self._length = _checked_length(order, share)

    def __len__(self) -> int:
        """The batches of a whole epoch: the same on every rank and in every epoch."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """Begin the next epoch, or after `load_state_dict` the rest of that one; one that runs is ended."""
        self._check_ranks()
        self.close()
        place = self._next
        source = Source(self.data, place.epoch, self._order.seed)
        todo = batches(self._order, place.epoch, self._share, place.earlier)
        epoch = Epoch(self, place, *self._workshop.begin(source, todo, place.steps))
        self._running, self._now, self._next = weakref.ref(epoch), place, Place(place.epoch + 1)
        return epoch

    def batches(self, epoch: int = 0) -> Batches:
        """Which samples come in which batch of this rank; serves any DataLoader as its `batch_sampler`."""
        return batches(self._order, epoch, self._share)

    @property
    def epoch(self) -> int:
        """The epoch that is running or was left in its middle, or else the one that will begin next."""
        return (self._now or self._next).epoch

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next `iter()` begins; the one of a loaded state goes on where it was."""
        if epoch != self._next.epoch:
            self._next = Place(epoch)
        if self._running is None or self._running() is None:
            self._now = None

    def state_dict(self) -> dict[str, Any]:
        """Which batches were handed out, those that lie ready not counted; fit for JSON and torch.save."""
        place = self._now or self._next
        return document(place, self._good, self._order, self._share) | {"dataset": self._fingerprint}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the batches of a state at the next `iter()`.

        An empty state is the beginning. UsageError if the state is of other data or of another order.
        """
        place, good = Place(), None
        if state_dict:
            place, good = place_of(state_dict, self._order, self._share, self._fingerprint)
        self.close()
        self._now, self._next, self._good = None, place, good

    def close(self) -> None:
        """Stop what runs ahead; the loader can be used again."""
        epoch = self._running() if self._running is not None else None
        self._running = None
        if epoch is not None:
            epoch.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        share = self._share
        of = f"{len(self)} batches of {share.batch_size}, rank {share.rank} of {share.world}"
        return f"<g3m loader of {self.data!r}: {of}>"

    @cached_property
    def _fingerprint(self) -> str:
        return self.data.fingerprint

    def _check_ranks(self) -> None:
        now, then = self._workshop.ranks(), (self._share.rank, self._share.world)
        if now is not None and now != then:
            raise UsageError(
                f"the loader was made for rank {then[0]} of {then[1]}, and this is rank {now[0]} of {now[1]}",
                hint=_HINT_RANKS,
            )

    def _good_batch(self, batch: Whole, maker: Maker) -> Whole:
        """The batch with a picture in every place."""
        if batch.good is not None:
            batch = self._workshop.finish(batch, self.data)
        if batch.good is None and batch.numbers:
            batch = self._workshop.finish(replace_all(maker, batch, self._good), self.data)
        return batch

    def _handed_out(self, place: Place, batch: Whole) -> None:
        self._now, self._good = place, batch.good
        for one in batch.broken:
            if one not in self._seen_broken:
                self._seen_broken.add(one)
                self.broken.append(one)
                tell(one)

    def _ended(self) -> None:
        self._now = self._running = None


class Epoch:
    """One pass over the batches of a rank. The loader does not hold it, so it ends when its `for` does."""

    def __init__(self, loader: Loader, place: Place, source: Iterator[Whole], maker: Maker) -> None:
        self._loader = loader
        self._place = place
        self._source: Any = source
        self._maker = maker
        self._over = False

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._over:
            raise StopIteration
        if self._source is None:
            raise UsageError(
                "this epoch was ended: by close(), load_state_dict() or another iter() of its loader",
                hint=(
                    "make a second loader to run two epochs at once",
                    "若要同时迭代两遍，请另建一个 loader",
                ),
            )
        try:
            batch = self._loader._good_batch(next(self._source), self._maker)
        except BaseException as error:
            self._over = True
            self.close()
            if isinstance(error, StopIteration):
                self._loader._ended()
            raise
        self._place = self._place.one_later()
        self._loader._handed_out(self._place, batch)
        return batch.images, [caption for _, caption in batch.rows], [key for key, _ in batch.rows]

    def close(self) -> None:
        """Stop threads and processes."""
        source, self._source = self._source, None
        if hasattr(source, "close"):
            source.close()


def tell(broken: BrokenImage) -> None:
    """Say in the log that a picture cannot be decoded."""
    _LOG.warning(
        "%s/%s: cannot be decoded, another sample takes its place: %s",
        broken.dataset,
        broken.key,
        broken.reason,
    )


def _checked_length(order: Order, share: Share) -> int:
    """The steps of an epoch; UsageError if there are none."""
    try:
        steps = len(batches(order, 0, share))
    except ValueError as error:
        raise UsageError(str(error), hint=_HINT_LAST) from None
    if steps:
        return steps
    if not order.samples:
        raise UsageError(
            "the dataset has no samples",
            hint=("look at its folder and at what was excluded", "请检查数据集目录和排除列表"),
        )
    ranks = f" on each of {share.world} ranks" if share.world > 1 else ""
    raise UsageError(
        f"an epoch would have no batch: the dataset has {order.samples} samples, a step takes"
        f" {share.batch_size}{ranks}, and last='drop' leaves out what fills no step",
        hint=_HINT_LAST,
    )
