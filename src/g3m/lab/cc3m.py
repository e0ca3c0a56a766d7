"""CC3M in the layout of the hub repository pixparse/cc3m-wds, drawn."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from g3m.lab.drawings import CC3M_TRAIN_FIRST, CC3M_VALID_FIRST, Drawing, draw
from g3m.lab.img2dataset import Download, write_tar

KEYS_PER_SHARD = 10_000  # a key is five digits of shard and four of place in img2dataset's list
CARD = """---
license: other
task_categories:
- image-to-text
---
# Conceptual Captions, drawn

Shapes instead of photographs, in the layout of pixparse/cc3m-wds: train with json, validation
without.
"""


@dataclass(frozen=True, slots=True)
class Cc3m:
    """The folder that holds what the hub repository holds, and the shards in it."""

    folder: Path
    train: tuple[Path, ...]
    valid: tuple[Path, ...]


def cc3m(folder: Path, train_shards: int, valid_shards: int, samples: int, seed: int = 0) -> Cc3m:
    """Write tars `cc3m-SPLIT-NNNN.tar` of `samples` each, `_info.json` and `README.md`.

    Members are `KEY.jpg KEY.json KEY.txt` with pax headers; validation has no json; keys have gaps,
    because img2dataset numbers what it tried, not what it got.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: dict[str, tuple[Path, ...]] = {}
    for split, count, first in (
        ("train", train_shards, CC3M_TRAIN_FIRST),
        ("validation", valid_shards, CC3M_VALID_FIRST),
    ):
        paths = []
        for shard in range(count):
            path = folder / f"cc3m-{split}-{shard:04d}.tar"
            drawings = [draw(seed, first + shard * samples + position) for position in range(samples)]
            with path.open("wb") as file:
                write_tar(file, _downloads(shard, drawings), with_json=split == "train")
            paths.append(path)
        shards[split] = tuple(paths)
    splits = {
        split: {
            "name": split,
            "filenames": [path.name for path in paths],
            "shard_lengths": [samples] * len(paths),
            "num_samples": samples * len(paths),
        }
        for split, paths in shards.items()
    }
    information = json.dumps({"name": "cc3m", "splits": splits}, indent=4)
    (folder / "_info.json").write_text(information, encoding="utf-8")
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return Cc3m(folder, shards["train"], shards["validation"])


def _downloads(shard: int, drawings: list[Drawing]) -> Iterator[Download]:
    """The shard's samples; every fourth key is missing, as a dead link leaves it, not the first."""
    places = (place for place in itertools.count() if place % 4 != 3)
    for place, drawing in zip(places, drawings, strict=False):
        key = f"{shard * KEYS_PER_SHARD + place:09d}"
        url = f"http://example.org/drawn/{key}.jpg"
        caption = tokenised(drawing.captions[0])
        yield Download(key, url, caption, drawing.jpeg, drawing.width, drawing.height)


def tokenised(caption: str) -> str:
    """The caption as Conceptual Captions prints it: lower case, a blank before the full stop."""
    return caption.strip().lower().replace(".", " .")
