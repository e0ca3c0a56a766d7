"""NXTP's loader as its code behaves, on today's torch: the datapipes on which it was built are gone.

What matters for speed is kept. Every worker of every rank lists all tars by name, opens each and walks its
headers with tarfile, and groups neighbours of one name. The samples, still handles into the tars, go through
a buffer of 10,000 that is filled before the first comes out. Of what comes out a worker takes each Nth. Only
then is a picture read, decoded by Pillow, scaled, cropped and normalised, and batches are made per worker.
"""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from loaders.job import BATCH, SEED, Job, collate, work

BUFFER = 10_000


class _Pipe(IterableDataset[Any]):
    def __init__(self, job: Job) -> None:
        self._job = job
        self._work = work(job.path)

    def __iter__(self) -> Iterator[tuple[Any, str]]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        turn, turns = self._job.rank * workers + number, self._job.world * workers
        # All workers shuffle alike, so that their strides make a partition.
        for place, sample in enumerate(_shuffled(_samples(self._job), random.Random(SEED))):
            if place % turns == turn:
                text = sample[".txt"].read().decode("utf-8")
                yield self._work(sample[".jpg"].read()), text


def _samples(job: Job) -> Iterator[dict[str, Any]]:
    sample: dict[str, Any] = {}
    before = None
    for tar in job.tars:
        archive = tarfile.open(tar, "r:*")  # noqa: SIM115  the buffered handles need it for long
        for member in archive:
            folder, name = os.path.split(member.name)
            stem, _, ending = name.partition(".")
            key = (tar, folder, stem)
            if key != before and sample:
                yield sample
                sample = {}
            before = key
            sample[f".{ending}"] = archive.extractfile(member)
    if sample:
        yield sample


def _shuffled(samples: Iterator[dict[str, Any]], numbers: random.Random) -> Iterator[dict[str, Any]]:
    held: list[dict[str, Any]] = []
    for sample in samples:
        if len(held) < BUFFER:
            held.append(sample)
            continue
        place = numbers.randrange(BUFFER)
        yield held[place]
        held[place] = sample
    numbers.shuffle(held)
    yield from held


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    return iter(
        DataLoader(_Pipe(job), batch_size=BATCH, num_workers=job.workers, collate_fn=collate(job.path))
    )
