"""Megatron-Energon over the same tars, after `energon prepare`; its buffer holds 1,000."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron.energon import DefaultTaskEncoder, WorkerConfig, get_loader, get_train_dataset
from megatron.energon.task_encoder import stateless

from loaders.job import BATCH, Job, collate, work


def convert(job: Job) -> None:
    place = job.folder / "energon"
    place.mkdir(exist_ok=True)
    for tar in map(Path, job.tars):
        os.link(tar, place / tar.name)
    command = [str(Path(sys.executable).parent / "energon"), "prepare", str(place), "--non-interactive"]
    command += ["--split-ratio", "1,0,0", "--sample-type", "CaptioningSample", "--num-workers", "1"]
    command += ["--field-map", json.dumps({"image": "jpg", "caption": "txt"})]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@dataclass
class _Sample:
    image: Any
    caption: str


class _Encoder(DefaultTaskEncoder):  # type: ignore[type-arg]
    decoder = None

    def __init__(self, path: str) -> None:
        super().__init__()
        self._work = work(path)
        self._collate = collate(path)

    @stateless
    def encode_sample(self, sample: Any) -> Any:
        return _Sample(self._work(sample.image), sample.caption.decode())

    @stateless
    def batch(self, samples: list[Any]) -> Any:
        return self._collate([(sample.image, sample.caption) for sample in samples])

    @stateless
    def encode_batch(self, batch: Any) -> Any:
        return batch


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    data = get_train_dataset(
        job.folder / "energon",
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=job.workers),
        batch_size=BATCH,
        shuffle_buffer_size=1000,
        max_samples_per_sequence=100,
        task_encoder=_Encoder(job.path),
        repeat=False,
    )
    return iter(get_loader(data))
