"""litdata over its own chunks, which load_data.py made of the shards; it reads them through mapped memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from litdata import StreamingDataLoader, StreamingDataset

from loaders.job import BATCH, SEED, Job, collate, work


def convert(job: Job) -> None:
    from litdata import optimize

    from loaders import limits

    places = [(tar, number) for tar in job.tars for number in range(len(limits.pairs(tar)))]
    held = {tar: limits.pairs(tar) for tar in job.tars}
    optimize(
        fn=lambda place: dict(zip(("jpg", "txt"), held[place[0]][place[1]], strict=True)),
        inputs=places,
        output_dir=str(job.folder / "litdata"),
        chunk_bytes="64MB",
        num_workers=1,
        start_method="fork",
        verbose=False,
    )


class _Decoded(StreamingDataset):
    def __init__(self, job: Job) -> None:
        super().__init__(str(job.folder / "litdata"), shuffle=True, seed=SEED)
        self._work = work(job.path)

    def __getitem__(self, number: Any) -> tuple[Any, str]:
        row = super().__getitem__(number)
        return self._work(row["jpg"]), row["txt"]


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    data = _Decoded(job)
    return iter(
        StreamingDataLoader(data, batch_size=BATCH, num_workers=job.workers, collate_fn=collate(job.path))
    )
