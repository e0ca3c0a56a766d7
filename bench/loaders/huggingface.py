"""datasets' webdataset builder, streaming: a buffer of 1,000, pictures left as bytes for the same decoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
from torch.utils.data import DataLoader

from loaders.job import BATCH, SEED, Job, collate, work


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    data = datasets.load_dataset("webdataset", data_files=job.tars, split="train", streaming=True)
    data = data.cast_column("jpg", datasets.Image(decode=False)).select_columns(["jpg", "txt"])
    data = data.shuffle(seed=SEED, buffer_size=1000)
    into, make = collate(job.path), work(job.path)

    def collected(rows: list[dict[str, Any]]) -> tuple[Any, list[str]]:
        return into([(make(row["jpg"]["bytes"]), row["txt"]) for row in rows])

    return iter(DataLoader(data, batch_size=BATCH, num_workers=job.workers, collate_fn=collected))
