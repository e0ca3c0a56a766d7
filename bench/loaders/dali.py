"""DALI on the processor: its webdataset reader and, for `own`, its decoder, resize and normalisation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nvidia.dali import fn, pipeline_def, types

from loaders.job import BATCH, SEED, SIZE, Job

MEAN = [255 * one for one in (0.48145466, 0.4578275, 0.40821073)]
DEVIATION = [255 * one for one in (0.26862954, 0.26130258, 0.27577711)]


def convert(job: Job) -> None:
    place = job.folder / "dali"
    place.mkdir(exist_ok=True)
    for tar in job.tars:
        command = [str(Path(sys.executable).parent / "wds2idx"), tar, str(_index(job, tar))]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _index(job: Job, tar: str) -> Path:
    return job.folder / "dali" / f"{Path(tar).stem}.idx"


@pipeline_def
def _pipe(job: Job) -> Any:
    image, text = fn.readers.webdataset(
        paths=job.tars,
        index_paths=[str(_index(job, tar)) for tar in job.tars],
        ext=["jpg", "txt"],
        random_shuffle=True,
        initial_fill=1000,
        seed=SEED,
        missing_component_behavior="error",
        name="reader",
    )
    if job.path == "raw":
        return image, text
    image = fn.decoders.image(image, device="cpu", output_type=types.RGB)
    image = fn.resize(image, resize_shorter=SIZE, interp_type=types.INTERP_CUBIC, antialias=True)
    image = fn.crop_mirror_normalize(
        image, crop=(SIZE, SIZE), mean=MEAN, std=DEVIATION, output_layout="CHW", dtype=types.FLOAT
    )
    return image, text


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    pipe = _pipe(job, batch_size=BATCH, num_threads=job.workers, device_id=None, prefetch_queue_depth=2)
    pipe.build()
    for _ in range(0, job.images, BATCH):
        image, text = pipe.run()
        captions = [np.asarray(text.at(number)).tobytes().decode() for number in range(len(text))]
        if job.path == "raw":
            # As bytes, as the others have it; DALI itself would keep them in its own memory.
            yield [np.asarray(image.at(number)).tobytes() for number in range(len(image))], captions
        else:
            # A copy, because DALI uses the memory again.
            yield torch.from_numpy(np.array(image.as_array())), captions
