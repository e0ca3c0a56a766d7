"""Hostile pictures through the loader, in a process of its own with little memory: what a decoder does is seen from outside.

`python -m tests.hostile.loaded COUNT` prints, as JSON, what each way of decoding made of every case and of so many
mutants: `drawn`, `broken`, or the error that would have stopped a training.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from typing import Any

import numpy
from tests.hostile.pictures import cases, mutants

from g3m.adapters.pixels import Preprocess, load_pillow
from g3m.load.assemble import BrokenImage, Maker
from g3m.load.dataset import Sample
from g3m.load.pictures import Compressed, Listed, Pixels, Source, Transform

MEMORY_BYTES = 2**30
"""What all of the process may take: a picture of 64 million pixels, twice, and Python."""

SIDE = 64


class Shelf:
    """As much of a dataset as the loader's pictures ask for."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def load(self, number: int) -> Sample:
        return Sample("key", "hostile", self._data, "caption")

    def caption(self, *_: Any) -> str:
        return "caption"


def ways(source: Source) -> Iterator[tuple[str, Maker]]:
    """Every way in which the loader makes something of a picture."""
    for decode in ("exact", "near", "fast"):
        chosen = Preprocess(SIDE, decode)  # type: ignore[arg-type]

        def empty(count: int) -> tuple[Any, Any]:
            memory = numpy.zeros((count, 3, SIDE, SIDE), numpy.float32)
            return memory, memory

        yield decode, Pixels(source, chosen, None, empty)
    yield "transform", Listed(source, Transform(lambda image: image.size), list)
    yield "device", Listed(source, Compressed(Preprocess(SIDE)), list)


def outcome(maker: Maker) -> str:
    """What became of the only sample."""
    memory = maker.begin(1)
    try:
        row = maker.fill(memory, 0, 0)
    except BaseException as error:  # it would have stopped a training
        return f"{type(error).__name__}: {error}"
    return "broken" if isinstance(row, BrokenImage) else "drawn"


def main(count: int) -> None:
    """Print the outcomes."""
    import simplejpeg  # noqa: F401  # before memory is limited

    load_pillow()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    found: dict[str, dict[str, str]] = {}
    for name, data in [*((case.name, case.data) for case in cases()), *mutants(count)]:
        source = Source(Shelf(data), 0, 0)  # type: ignore[arg-type]  # as above
        found[name] = {way: outcome(maker) for way, maker in ways(source)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
