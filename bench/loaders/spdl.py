"""SPDL's pipeline of threads: its tar reader, then the same decoder, or with `own` its FFmpeg.

`own` decodes, scales by FFmpeg's bicubic filter, crops and hands uint8 batches of height, width, channels on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import spdl.io
from spdl.pipeline import PipelineBuilder

from loaders.job import BATCH, SIZE, Job, collate, work


def _pairs(tars: list[str]) -> Iterator[tuple[bytes, str]]:
    for tar in tars:
        with open(tar, "rb") as file:
            image = b""
            for name, content in spdl.io.iter_tarfile(file):
                if name.endswith(".jpg"):
                    image = content
                elif name.endswith(".txt"):
                    yield image, content.decode()


def _one(path: str) -> Callable[[tuple[bytes, str]], tuple[Any, str]]:
    make = work(path)
    return lambda pair: (make(pair[0]), pair[1])


def _own(pairs: list[tuple[bytes, str]]) -> tuple[Any, list[str]]:
    scale = f"scale=w={SIZE}:h={SIZE}:force_original_aspect_ratio=increase:flags=bicubic"
    described = f"{scale},crop={SIZE}:{SIZE},format=pix_fmts=rgb24"
    made = spdl.io.load_image_batch(
        [image for image, _ in pairs], width=None, height=None, filter_desc=described
    )
    return spdl.io.to_torch(made), [text for _, text in pairs]


def prepare(job: Job) -> None:
    """Try the decoder once: without FFmpeg its errors say nothing."""
    if job.path == "own":
        try:
            _own([next(_pairs(job.tars))])
        except RuntimeError:
            raise RuntimeError("its decoder needs FFmpeg's libraries, which this system has not") from None


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    builder = PipelineBuilder().add_source(_pairs(job.tars))
    if job.path == "own":
        builder = builder.aggregate(BATCH).pipe(_own, concurrency=job.workers)
    elif job.path == "raw":
        builder = builder.aggregate(BATCH).pipe(collate("raw"))
    else:
        builder = builder.pipe(_one(job.path), concurrency=job.workers).aggregate(BATCH)
        builder = builder.pipe(collate(job.path))
    pipeline = builder.add_sink(2).build(num_threads=job.workers)
    with pipeline.auto_stop():
        yield from pipeline
