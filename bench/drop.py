"""How long `g3m drop` looks for ten thousand keys, and for ten thousand addresses, in a large dataset.

    python bench/drop.py FOLDER [SAMPLES] [LINES]

One shard of 10,000 small samples is written, with an address in each json; the others are hard links to it,
and the index gives every sample a key of its own. So all is read from memory: a disk adds its own time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path

from machine import describe, run

from g3m.adapters.shards import ShardWriter
from g3m.core.index import Head, record

SHARD = 10_000
FOUND = 27
"""Addresses of the list that a sample has; each is in every shard."""


def url_of(number: int) -> str:
    return f"https://live{number % 97}.example.com/{number % 50}/{number * 7919:010d}_{number:05x}_b.jpg"


def make(folder: Path, samples: int) -> None:
    """The shards and their index."""
    first, places = folder / "00000.tar", []
    with ShardWriter(first) as writer:
        for number in range(SHARD):
            body = {"url": url_of(number), "caption": "a thing in a town", "sha256": "ab" * 32, "width": 640}
            parts = [
                ("jpg", b"\xff\xd8" + bytes(600)),
                ("json", json.dumps(body).encode()),
                ("txt", b"a thing"),
            ]
            entry = writer.add(f"{number:09d}", parts)
            places.append([cell for field in entry.fields for cell in (field.offset, field.size_bytes)])
    names = [f"{number:05d}.tar" for number in range(samples // SHARD)]
    for name in names[1:]:
        os.link(first, folder / name)
    sizes = (first.stat().st_size,) * len(names)
    data = bytearray(Head(shards=tuple(names), samples=len(names) * SHARD, sizes=sizes).encode())
    row = record(3)
    for shard in range(len(names)):
        for place in range(SHARD):
            data += row.pack(shard, 9 * (shard * SHARD + place + 1), *places[place])
    data += b"".join(b"%09d" % number for number in range(len(names) * SHARD))
    (folder / "index.bin").write_bytes(data)


def main(root: Path, samples: int = 3_650_000, lines: int = 10_000) -> None:
    """Make the data and print a line for each kind of list."""
    folder = root / "tars"
    folder.mkdir(parents=True)
    make(folder, samples)
    drawn = random.Random(1).sample(range(samples), lines)
    (root / "keys.txt").write_text("".join(f"{number:09d}\n" for number in drawn))
    others = (url_of(number).replace("_b", "_x") for number in range(FOUND, lines))
    urls = [*map(url_of, range(FOUND)), *others]
    (root / "urls.txt").write_text("".join(f"{url}\n" for url in urls))
    print(f"{describe(root)}\n{lines:,} lines, {samples:,} samples in {samples // SHARD} shards")
    for kind in ("keys", "urls"):
        command = [sys.executable, "-m", "g3m", "drop", str(folder), f"--{kind}", str(root / f"{kind}.txt")]
        done = run([*command, "--dry-run", "--root", str(root)])
        print(f"--{kind}: {done.wall_s:.1f} s, processor {done.cpu_s:.1f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
