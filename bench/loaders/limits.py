"""What no loader that opens tars or decodes pictures can beat.

raw      tarfile alone: every shard walked, its pictures and captions read, by a process for each worker
decoded  the decoder alone: pictures that are in memory already, into batches, by a thread for each worker
"""

from __future__ import annotations

import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loaders.job import BATCH, SIZE, Job, decode_of

_held: list[tuple[bytes, str]] = []

NOTHING = [b""]


def pairs(tar: str, most: int = 1 << 60) -> list[tuple[bytes, str]]:
    """Pictures and captions of one tar, read by tarfile."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            stem, _, ending = member.name.partition(".")
            if ending in ("jpg", "txt"):
                content = archive.extractfile(member)
                assert content is not None
                found.setdefault(stem, {})[ending] = content.read()
            if len(found) > most:
                break
    whole = [(one["jpg"], one["txt"].decode()) for one in found.values() if len(one) == 2]
    return whole[:most]


def prepare(job: Job) -> None:
    """Import what decodes; hold the pictures in memory."""
    if job.path != "raw":
        import numpy as np

        import g3m.adapters.pixels
        import g3m.load.torch  # its resampling; and torch, before the clock starts

        _held.extend(pairs(job.tars[0], job.samples))
        g3m.adapters.pixels.into(_held[0][0], np.empty((3, SIZE, SIZE), np.float32))


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    if job.path == "raw":
        yield from by_processes(job.workers, lambda number: _read(job.tars[number :: job.workers]))
    else:
        yield from decoder(job)


def by_processes(workers: int, work: Callable[[int], int]) -> Iterator[tuple[Any, list[str]]]:
    """Each of the processes works, this one too; their counts come as batches of nothing."""
    children = []
    for number in range(1, workers):
        receiver, sender = os.pipe()
        if child := os.fork():
            os.close(sender)
            children.append((child, receiver))
            continue
        try:
            os.write(sender, str(work(number)).encode())
        finally:
            os._exit(0)
    counts = [work(0)]
    for child, receiver in children:
        counts.append(int(os.read(receiver, 20)))
        os.close(receiver)
        os.waitpid(child, 0)
    for count in counts:
        yield NOTHING * count, [""] * count


def _read(tars: list[str]) -> int:
    return sum(len(pairs(tar)) for tar in tars)


def decoder(job: Job, processes: bool = False) -> Iterator[tuple[Any, list[str]]]:
    import numpy as np

    from g3m.adapters.pixels import Preprocess, into
    from g3m.load.torch import bicubic

    preprocess, resample = Preprocess(SIZE, decode_of(job.path)), None if job.path == "exact" else bicubic
    kind = np.uint8 if job.path == "uint8" else np.float32

    def batch(start: int) -> tuple[Any, list[str]]:
        chosen = _held[start : start + BATCH]
        out = np.empty((len(chosen), 3, SIZE, SIZE), kind)
        for place, (image, _) in enumerate(chosen):
            into(image, out[place], preprocess, resample)
        return out, [text for _, text in chosen]

    starts = range(0, len(_held), BATCH)
    if processes:
        yield from by_processes(
            job.workers, lambda number: sum(len(batch(start)[1]) for start in starts[number :: job.workers])
        )
        return
    if job.workers == 1:
        yield from map(batch, starts)
        return
    with ThreadPoolExecutor(job.workers) as threads:
        waiting: deque[Any] = deque()
        for start in starts:
            waiting.append(threads.submit(batch, start))
            if len(waiting) > 2 * job.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
