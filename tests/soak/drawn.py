"""What the hosts of the soak serve: archives with their recipes, and a list of URLs. The same for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.netlab.dataset import make_shard
from tests.netlab.lab import HUB_MIRROR, MIRROR, ORIGIN
from tests.soak.pictures import write_list

from g3m.adapters.recipes import builtin_files, read_toml
from g3m.lab.sources import coco
from g3m.lab.world import to_toml

LIAR_PORT, PICTURES_PORT = 8080, 8090
PICTURE_NAMES = [f"p{number}" for number in range(6)]
"""The hosts of the list are `NAME.g3m.example`."""


@dataclass(frozen=True)
class Size:
    """How much there is to do."""

    ready_shards: int
    sample_bytes: int
    pictures: int
    pictures_per_shard: int
    rows: int
    task_rows: int
    long_samples: int


def draw(folder: Path, size: Size, seed: int) -> None:
    """Write `files`, `recipes`, `list.jsonl` and a `g3m.toml` that knows the recipes."""
    files, recipes = folder / "files", folder / "recipes"
    ready = [
        make_shard(files / f"ready-{number:04}.tar", samples=8, sample_bytes=size.sample_bytes).path
        for number in range(size.ready_shards)
    ]
    _write_recipe(recipes, "ready", ready)
    long = make_shard(files / "long-0000.tar", samples=size.long_samples, sample_bytes=1_000_000)
    _write_recipe(recipes, "long", [long.path])
    drawn = coco(files, train=4, valid=size.pictures, seed=seed)
    (builtin,) = (path for path in builtin_files() if path.stem == "coco_valid")
    recipe = read_toml(builtin)
    recipe["assets"] = [
        {**_asset(path), "holds": asset["holds"]}
        for path, asset in zip((drawn.valid, drawn.annotations), recipe["assets"], strict=True)
    ]
    del recipe["samples"]["captions_digest"], recipe["expect"]
    (recipes / "coco_valid.toml").write_text(to_toml(recipe), encoding="utf-8")
    hosts = [f"{name}.g3m.example" for name in PICTURE_NAMES]
    write_list(folder / "list.jsonl", size.rows, hosts, PICTURES_PORT, seed)
    (folder / "g3m.toml").write_text(to_toml({"recipes": [str(recipes)]}), encoding="utf-8")


def _asset(path: Path) -> dict[str, object]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    places = [f"https://{host}/{path.name}" for host in (ORIGIN, MIRROR)]
    places.append(f"http://{HUB_MIRROR}:{LIAR_PORT}/{path.name}")
    size_bytes = path.stat().st_size
    return {"name": path.name, "size_bytes": size_bytes, "digests": [f"sha256:{digest}"], "places": places}


def _write_recipe(recipes: Path, name: str, paths: Sequence[Path]) -> None:
    document = {
        "format": 1,
        "name": name,
        "title": "a dataset of the soak",
        "folder": name,
        "licence": "none",
        "assets": [_asset(path) for path in paths],
        "samples": {"reader": "shards"},
    }
    (recipes / f"{name}.toml").write_text(to_toml(document), encoding="utf-8")
