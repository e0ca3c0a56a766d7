"""Runs one loader of bench/loaders once and writes what it took as JSON; bench/load.py starts it.

The clock of `first_s` begins after the imports and before the loader is made, and ends with the first batch
in hand. `rest_s` is from there to the last sample, `end_s` how long it took to stop. Processor time and bytes
read are those of this process and of all it waited for, from the same beginning; where raw samples come from
worker processes, what goes through their pipes is counted too (`handed_bytes`).
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loaders.job import SIZE, Job, work


def counters() -> tuple[float, int]:
    """Processor seconds and bytes asked of the system so far."""
    times = os.times()
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    read_bytes = int(next(line.partition(": ")[2] for line in lines if line.startswith("rchar")))
    return times.user + times.system + times.children_user + times.children_system, read_bytes


def checked(images: Any, captions: list[str], path: str) -> tuple[int, int]:
    """How many samples a batch has, and bytes of pictures; raises if it is not what was asked for."""
    count = len(captions)
    if isinstance(images, list):  # a limit by processes hands nothing on
        if len(images) != count or not isinstance(images[0], bytes) or (path != "raw" and any(images)):
            raise ValueError("a batch of something else")
        return count, sum(map(len, images))
    if tuple(images.shape) not in ((count, 3, SIZE, SIZE), (count, SIZE, SIZE, 3)):
        raise ValueError(f"a batch of {tuple(images.shape)} for {count} captions")
    return count, 0


def warm(path: str) -> None:
    """Import what a training program has at hand and every loader would import while the clock runs."""
    import torch
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (2 * SIZE, 2 * SIZE)).save(picture, "JPEG")
    torch.from_numpy(work(path)(picture.getvalue()))


def measure(loader: Any, job: Job) -> dict[str, float]:
    """Take up to `samples` samples from a loader."""
    if job.path not in ("raw", "first"):
        warm(job.path)
    getattr(loader, "prepare", lambda _: None)(job)
    cpu_s, read_bytes = counters()
    called_s = time.perf_counter()
    made: Iterator[tuple[Any, list[str]]] = iter(loader.batches(job))
    count, handed_bytes = checked(*next(made), job.path)
    first = count
    began_s = time.perf_counter()
    while count < job.samples:
        batch = next(made, None)
        if batch is None:
            break
        more, size_bytes = checked(*batch, job.path)
        count, handed_bytes = count + more, handed_bytes + size_bytes
    ended_s = time.perf_counter()
    if hasattr(made, "close"):
        made.close()
    del made
    stopped_s = time.perf_counter()
    cpu_end_s, read_end_bytes = counters()
    return {
        "samples": count,
        "first_samples": first,
        "first_s": began_s - called_s,
        "rest_s": ended_s - began_s,
        "end_s": stopped_s - ended_s,
        "cpu_s": cpu_end_s - cpu_s,
        "read_bytes": read_end_bytes - read_bytes,
        "handed_bytes": handed_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("loader")
    parser.add_argument("path", choices=("raw", "fast", "uint8", "near", "exact", "own", "first", "convert"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--samples", type=int, default=1 << 60)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--world", type=int, default=1)
    parser.add_argument("--shuffle", default="full")
    options = parser.parse_args()
    job = Job(
        options.folder,
        options.path,
        options.workers,
        options.samples,
        options.rank,
        options.world,
        options.shuffle,
    )
    loader = importlib.import_module(f"loaders.{options.loader}")
    if options.path == "convert":
        loader.convert(job)
        return
    options.result.write_text(json.dumps(measure(loader, job)), encoding="utf-8")


if __name__ == "__main__":
    main()
