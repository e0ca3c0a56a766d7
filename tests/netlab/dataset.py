"""A dataset of one ready shard that does not compress, and the recipe that a user writes for it."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from g3m.lab.drawings import draw
from g3m.lab.world import to_toml


@dataclass(frozen=True)
class Shard:
    """A file that hosts of the lab serve."""

    path: Path
    sha256: str
    samples: int

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def at(self, host: str, scheme: str = "https") -> str:
        """Its address at a host."""
        return f"{scheme}://{host}/{self.path.name}"


def make_shard(path: Path, *, samples: int, sample_bytes: int) -> Shard:
    """Write a shard of pictures that are padded with noise; the same bytes on every run."""
    noise = random.Random(path.name)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number in range(samples):
            drawing = draw(7, number, width=16, height=16)
            members = {
                "jpg": drawing.jpeg + noise.randbytes(sample_bytes),
                "txt": drawing.captions[0].encode(),
                "json": json.dumps({"number": number}).encode(),
            }
            for extension, content in members.items():
                entry = tarfile.TarInfo(f"{number:09d}.{extension}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return Shard(path, hashlib.sha256(path.read_bytes()).hexdigest(), samples)


def write_recipe(folder: Path, shard: Shard, places: Sequence[str]) -> Path:
    """A recipe for the shard at these places, with its size and sha256."""
    asset = {
        "name": shard.path.name,
        "size_bytes": shard.size_bytes,
        "digests": [f"sha256:{shard.sha256}"],
        "places": list(places),
    }
    return _write(folder, {"assets": [asset], "samples": {"reader": "shards"}})


def write_listing_recipe(folder: Path, repository: str, revision: str, include: str) -> Path:
    """A recipe for the files that a hub lists."""
    listing = {"repository": repository, "revision": revision, "include": include}
    return _write(folder, {"listing": listing, "samples": {"reader": "shards"}})


def _write(folder: Path, document: dict[str, object]) -> Path:
    path = folder / "lab.toml"
    head = {"format": 1, "name": "lab", "title": "a dataset of the lab", "folder": "lab", "licence": "none"}
    path.write_text(to_toml({**head, **document}), encoding="utf-8")
    return path
