"""The first batch of an epoch of 3,645,221 samples in three datasets, from the call of `dataset` on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from load_data import MILLIONS

import g3m
from g3m.load.torch import loader as make_loader
from loaders.job import SEED, Job


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    data = g3m.dataset([str(job.folder / "millions" / name) for name in MILLIONS])
    loader = make_loader(
        data, job.samples, seed=SEED, shuffle=job.shuffle, workers=job.workers, normalize=False
    )
    for images, captions, _ in loader:
        yield images, captions
