"""g3m's loader with processes in the place of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from loaders import g3m_loader
from loaders.job import Job


def batches(job: Job) -> Iterator[tuple[Any, list[str]]]:
    return g3m_loader.batches(job, processes=True)
