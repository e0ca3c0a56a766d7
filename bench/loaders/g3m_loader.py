"""g3m's own loader: its threads, or with `processes` those of PyTorch's DataLoader.

Raw samples come from the same threads and the same order (a maker that keeps the bytes), or from a DataLoader
over the dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset

import g3m
from g3m.core.order import Order, Share
from g3m.core.order import batches as order_of
from g3m.load.assemble import Assembly
from g3m.load.torch import loader as make_loader
from loaders.job import BATCH, SEED, Job, decode_of


class _Raw:
    """Makes batches of bytes; Assembly's threads call it."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def begin(self, count: int) -> list[bytes]:
        return [b""] * count

    def fill(self, memory: list[bytes], place: int, number: int) -> tuple[str, str]:
        memory[place], text = self._data.raw(number)
        return self._data.key(number), text.decode()

    def copy(self, memory: list[bytes], place: int, source: int) -> None:
        memory[place] = memory[source]

    def finish(self, memory: list[bytes]) -> list[bytes]:
        return memory


class _Pairs(Dataset[Any]):
    def __init__(self, data: Any) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, number: int) -> tuple[bytes, str]:
        image, text = self._data.raw(number)
        return image, text.decode()


def batches(job: Job, processes: bool = False) -> Iterator[tuple[Any, list[str]]]:
    data = g3m.dataset(str(job.folder / "tars"))
    if job.path != "raw":
        loader = make_loader(
            data,
            BATCH,
            seed=SEED,
            shuffle=job.shuffle,
            last="even",
            decode=decode_of(job.path),
            normalize=job.path != "uint8",
            workers=job.workers,
            processes=processes,
            rank=job.rank,
            world=job.world,
        )
        return ((images, captions) for images, captions, _ in loader)
    order, share = (
        Order((len(data),), seed=SEED, shuffle=job.shuffle),
        Share(job.rank, job.world, BATCH, "even"),
    )
    steps = order_of(order, 0, share)
    if processes:
        made = DataLoader(
            _Pairs(data), batch_sampler=list(steps), num_workers=job.workers, collate_fn=lambda pairs: pairs
        )
        return (([image for image, _ in pairs], [text for _, text in pairs]) for pairs in made)
    return _by_threads(_Raw(data), steps, job.workers)


def _by_threads(maker: _Raw, steps: Any, workers: int) -> Iterator[tuple[Any, list[str]]]:
    assembly = Assembly(maker, steps, 0, workers=workers, ahead=4)
    try:
        for one in assembly:
            yield one.images, [text for _, text in one.rows]
    finally:
        assembly.close()
