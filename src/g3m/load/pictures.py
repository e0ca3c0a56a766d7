"""What becomes of a sample in a batch: its picture in the batch's memory, its key and its caption beside it.

Makers for load/assemble.py: pixels by the built-in preprocessing, or a list of what a function makes of each
sample (a user's own, or one that leaves decoding to a GPU). They can be pickled if what they are given can.
How memory is got and how a list becomes a tensor is said by load/torch.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from g3m.adapters.pixels import Broken, Preprocess, Resample, into, picture
from g3m.load.assemble import BrokenImage, Row
from g3m.load.dataset import Dataset, Sample


@dataclass(frozen=True, slots=True)
class Source:
    """Where samples come from; epoch and seed choose the caption if one of several is to be drawn."""

    data: Dataset
    epoch: int
    seed: int

    def row(self, number: int, use: Callable[[Sample], None]) -> Row | BrokenImage:
        """Load a sample and use it. `Broken` makes it a broken one; other errors get a note of its key."""
        sample = self.data.load(number)
        key = f"{sample.dataset}/{sample.key}"
        try:
            use(sample)
        except Broken as broken:
            return BrokenImage(sample.dataset, sample.key, broken.reason)
        except Exception as error:
            _note(error, f"while g3m was at sample {key}")
            raise
        return key, self.data.caption(number, self.epoch, self.seed, sample)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Pictures preprocessed into one piece of memory, `rows(memory)[place]` being (3, size, size) of it."""

    source: Source
    preprocess: Preprocess
    resample: Resample | None
    empty: Callable[[int], tuple[Any, Any]]
    """From a number of pictures to what is handed out, and to the same memory as a numpy array."""

    def begin(self, count: int) -> tuple[Any, Any]:
        return self.empty(count)

    def fill(self, memory: tuple[Any, Any], place: int, number: int) -> Row | BrokenImage:
        out = memory[1][place]
        return self.source.row(number, lambda sample: into(sample.image, out, self.preprocess, self.resample))

    def copy(self, memory: tuple[Any, Any], place: int, source: int) -> None:
        memory[1][place] = memory[1][source]

    def finish(self, memory: tuple[Any, Any]) -> Any:
        return memory[0]


@dataclass(frozen=True, slots=True)
class Listed:
    """What `use` makes of each sample, as a list; `collate` makes of it what is handed out."""

    source: Source
    use: Callable[[Sample], Any]
    collate: Callable[[list[Any]], Any]

    def begin(self, count: int) -> list[Any]:
        return [None] * count

    def fill(self, memory: list[Any], place: int, number: int) -> Row | BrokenImage:
        def use(sample: Sample) -> None:
            memory[place] = self.use(sample)

        return self.source.row(number, use)

    def copy(self, memory: list[Any], place: int, source: int) -> None:
        memory[place] = memory[source]

    def finish(self, memory: list[Any]) -> Any:
        return self.collate(memory)


@dataclass(frozen=True, slots=True)
class Transform:
    """A user's own function, of the whole picture as a Pillow image in RGB."""

    function: Callable[[Any], Any]

    def __call__(self, sample: Sample) -> Any:
        return self.function(picture(sample.image))


@dataclass(frozen=True, slots=True)
class Compressed:
    """What a decoder on the GPU takes: a JPEG's bytes, or pixels where it cannot decode."""

    preprocess: Preprocess

    def __call__(self, sample: Sample) -> Any:
        from g3m.load.nvjpeg import compressed

        return compressed(sample.image, self.preprocess)


def _note(error: Exception, text: str) -> None:
    if hasattr(error, "add_note"):
        error.add_note(text)
    else:  # Python 3.10
        vars(error)["__notes__"] = [*getattr(error, "__notes__", []), text]
