"""webdataset as its documentation has it: shards and samples shuffled, batches made in the workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import webdataset as wds

from loaders.job import BATCH, SEED, Job, work


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    data = wds.WebDataset(job.tars, shardshuffle=100, seed=SEED).shuffle(1000)
    data = data.to_tuple("jpg", "txt").map_tuple(work(job.path), bytes.decode)
    data = data.batched(BATCH) if job.path != "raw" else data.batched(BATCH, collation_fn=_listed)
    for images, captions in wds.WebLoader(data, batch_size=None, num_workers=job.workers):
        yield images if job.path == "raw" else torch.as_tensor(images), captions


def _listed(pairs: list[tuple[Any, str]]) -> tuple[list[Any], list[str]]:
    return [image for image, _ in pairs], [text for _, text in pairs]
