"""What is asked of a loader, and the same preprocessing for all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = 224
BATCH = 64
SEED = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement; `folder` is what load_data.py made.

    `path`: raw, fast, uint8, near, exact or own. `rank`, `world` and `shuffle` are for g3m and NXTP alone.
    """

    folder: Path
    path: str
    workers: int
    samples: int
    rank: int = 0
    world: int = 1
    shuffle: str = "full"

    @property
    def tars(self) -> list[str]:
        """The shards, in order."""
        return sorted(str(path) for path in (self.folder / "tars").glob("*.tar"))

    @property
    def images(self) -> int:
        """How many samples there are."""
        return int(json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))["images"])


def decode_of(path: str) -> Any:
    """Which of g3m's ways of decoding a path is."""
    return path if path in ("near", "exact") else "fast"


def work(path: str) -> Callable[[bytes], Any]:
    """From a JPEG's bytes to what is handed on: the bytes, or numpy of shape (3, 224, 224)."""
    if path == "raw":
        return bytes
    import numpy as np

    from g3m.adapters.pixels import Preprocess, into
    from g3m.load.torch import bicubic

    preprocess, resample = Preprocess(SIZE, decode_of(path)), None if path == "exact" else bicubic
    kind = np.uint8 if path == "uint8" else np.float32

    def decoded(image: bytes) -> Any:
        out = np.empty((3, SIZE, SIZE), kind)
        into(image, out, preprocess, resample)
        return out

    return decoded


def collate(path: str) -> Callable[[list[tuple[Any, str]]], tuple[Any, list[str]]]:
    """From pairs to a batch: a list of bytes, or one tensor; and the captions."""

    def raw(pairs: list[tuple[Any, str]]) -> tuple[Any, list[str]]:
        return [image for image, _ in pairs], [text for _, text in pairs]

    def stacked(pairs: list[tuple[Any, str]]) -> tuple[Any, list[str]]:
        import numpy as np
        import torch

        return torch.from_numpy(np.stack([image for image, _ in pairs])), [text for _, text in pairs]

    return raw if path == "raw" else stacked
