"""The decoder alone, in a process for each worker, whose batches go nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loaders import limits
from loaders.job import Job

prepare = limits.prepare


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    return limits.decoder(job, processes=True)
