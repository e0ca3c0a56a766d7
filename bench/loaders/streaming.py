"""mosaicml-streaming over its own shards (MDS), which load_data.py made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader
from torchvision_operators import declare

from loaders.job import BATCH, SEED, Job, collate, work

declare()
import streaming as mosaic  # noqa: E402  # it imports torchvision


def convert(job: Job) -> None:
    from loaders import limits

    out = str(job.folder / "streaming")
    with mosaic.MDSWriter(out=out, columns={"jpg": "bytes", "txt": "str"}) as writer:
        for tar in job.tars:
            for image, text in limits.pairs(tar):
                writer.write({"jpg": image, "txt": text})


class _Decoded(mosaic.StreamingDataset):
    def __init__(self, job: Job) -> None:
        local = str(job.folder / "streaming")
        super().__init__(local=local, shuffle=True, shuffle_seed=SEED, batch_size=BATCH)
        self._work = work(job.path)

    def __getitem__(self, number: Any) -> tuple[Any, str]:
        row = super().__getitem__(number)
        return self._work(row["jpg"]), row["txt"]


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    mosaic.base.util.clean_stale_shared_memory()
    data = _Decoded(job)
    return iter(DataLoader(data, batch_size=BATCH, num_workers=job.workers, collate_fn=collate(job.path)))
