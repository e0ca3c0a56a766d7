"""What bench/load.py reads: shards packed by g3m, and an index of millions of samples.

    python bench/load_data.py FOLDER IMAGES      tars/ with index and manifest, facts.json
    python bench/load_data.py FOLDER --millions  millions/: 3,645,221 samples of three datasets

The pictures are photos of COCO where G3M_REALDATA (or a folder beside the repository) has them, each copy
with a comment of its own, and drawings of noise elsewhere. The millions are records that point into the real
shards, which lie there under as many names as the real datasets have shards.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from verify import make_dataset, photos

MILLIONS = {"cc3m": (2_698_118, 576), "sbu": (828_816, 277), "coco": (118_287, 40)}
"""Samples and shards of each dataset."""


def make_tars(folder: Path, images: int) -> None:
    """`tars`: a published dataset whose shards, index and manifest lie together."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(temporary)
        make_dataset(place, images)
        found = next(place.glob("data/**/manifest.json")).parent
        shutil.move(found, folder / "tars")
    tars = list((folder / "tars").glob("*.tar"))
    facts = {
        "images": images,
        "photos": len(photos()),
        "shards": len(tars),
        "bytes": sum(path.stat().st_size for path in tars),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def make_millions(folder: Path) -> None:
    """`millions/NAME` for each dataset: an index and a manifest; the shards are links."""
    from g3m.core.receipt import manifest, to_json

    body = manifest((folder / "tars" / "manifest.json").read_text(encoding="utf-8"))
    assert body is not None
    for name, (samples, shards) in MILLIONS.items():
        place = folder / "millions" / name
        place.mkdir(parents=True)
        known = []
        for number in range(shards):
            real = body.shards[number % len(body.shards)]
            os.link(folder / "tars" / real.name, place / f"{number:05d}.tar")
            count = (number + 1) * samples // shards - number * samples // shards
            known.append(replace(real, name=f"{number:05d}.tar", samples=count))
        (place / "index.bin").write_bytes(_index(folder, [shard.name for shard in known], samples))
        (place / "manifest.json").write_text(
            to_json(replace(body, dataset=name, shards=tuple(known))), encoding="utf-8"
        )


def _index(folder: Path, shards: list[str], samples: int) -> bytes:
    """An index of that many samples: the real records over and over, each with a key of its own."""
    import numpy as np

    from g3m.core.index import FIELDS, MAGIC, Index

    data = (folder / "tars" / "index.bin").read_bytes()
    kind = np.dtype([("shard", "<u4"), ("key_end", "<u4"), ("fields", f"V{12 * len(FIELDS)}")])
    begin = len(MAGIC) + 4 + int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    index = Index(data)
    found = np.frombuffer(data, kind, len(index), begin)
    records = np.empty(samples, kind)
    for number in range(len(shards)):
        first, end = (one * samples // len(shards) for one in (number, number + 1))
        own = found[found["shard"] == number % len(index.shards)]
        records["fields"][first:end] = np.resize(own["fields"], end - first)
        records["shard"][first:end] = number
    records["key_end"] = np.arange(1, samples + 1, dtype=np.uint32) * 9
    text = json.dumps({"shards": shards, "fields": list(FIELDS), "samples": samples}).encode()
    keys = "".join(f"{number:09d}" for number in range(samples)).encode()
    return b"".join((MAGIC, len(text).to_bytes(4, "little"), text, records.tobytes(), keys))


if __name__ == "__main__":
    if sys.argv[2] == "--millions":
        make_millions(Path(sys.argv[1]))
    else:
        make_tars(Path(sys.argv[1]), int(sys.argv[2]))
