"""What bench/view.py looks at: tars of small pictures, of larger ones, and datasets with large catalogs."""

from __future__ import annotations

import io
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from catalog_data import CHINESE, SHARD, SHARES, entries, words
from machine import Run, empty, run
from PIL import Image
from resize import collages, encoded, photographs

from g3m.adapters.catalog import FILE
from g3m.core.index import Head, Index
from g3m.core.indexing import Rows, joined
from g3m.core.shard import Field, end_of_archive, padding, ustar_header
from g3m.steps.publish import INDEX

SMALL, PHOTO = (160, 120), (640, 480)
QUERIES_OF_A_KIND = 40
KINDS = {
    "frequent": "one of the 40 most frequent words",
    "rare": "a word of rank 2,000 to 150,000",
    "two": "two of the 300 most frequent words, both",
    "phrase": "two words that stand side by side in a caption",
    "prefix": "the first three or four letters of a word",
    "filter": "a word and captions of 12 to 20 words",
    "chinese": "one to four Chinese characters of a caption",
    "nothing": "a word that no caption has",
}


PEAK = """
import re, runpy, sys
from pathlib import Path
peak, sys.argv = Path(sys.argv[1]), sys.argv[2:]
try:
    (runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module)(sys.argv[0], run_name="__main__")
finally:
    peak.write_text(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def measured(root: Path, *words: str) -> Run:
    """One run of a module or of a file with its arguments; the memory is that of its process alone.

    What the system counts for a child begins with the memory of its parent, which is large here.
    """
    peak = root.parent / "peak"
    took = run([sys.executable, "-c", PEAK, str(peak), *words])
    return replace(took, peak_bytes=int(peak.read_text(encoding="ascii")) * 1024)


def crops(count: int, size: tuple[int, int], photos: Path | None) -> Iterator[bytes]:
    """Distinct JPEGs, cut from collages of photographs or of drawn scenes."""
    chosen = random.Random(3)
    canvases = [Image.open(io.BytesIO(data)).convert("RGB") for data in collages(photographs(photos), 12)]
    for _ in range(count):
        canvas = chosen.choice(canvases)
        left, top = chosen.randint(0, canvas.width - size[0]), chosen.randint(0, canvas.height - size[1])
        yield encoded(canvas.crop((left, top, left + size[0], top + size[1])), 88)


def write_tars(folder: Path, pictures: Iterator[bytes], counts: list[int]) -> None:
    """Tars of jpg, json and txt, with the captions of catalog_data's first dataset, and their index."""
    import g3m

    empty(folder)
    rows = entries(sum(counts), 0, next(iter(SHARES)))
    for number, count in enumerate(counts):
        with open(folder / f"{number:05d}.tar", "wb", buffering=2**20) as file:
            for _ in range(count):
                row = next(rows)
                meta = json.dumps({"url": f"https://{row.host}/{row.key}.jpg", "status": "success"})
                parts = ("jpg", next(pictures)), ("json", meta.encode()), ("txt", row.caption.encode())
                file.writelines(
                    ustar_header(f"{row.key}.{extension}", len(data)) + data + padding(len(data))
                    for extension, data in parts
                )
            file.write(end_of_archive(file.tell()))
    g3m.index(folder)


def large_root(root: Path, samples: int, tar: Path) -> Run:
    """Datasets whose shards are all one tar under many names, and a catalog of so many samples."""
    empty(root)
    of_tar = Index((tar.parent / INDEX).read_bytes())
    held = [of_tar.place(number) for number in range(len(of_tar))]
    places = [place for place in held if of_tar.shards[place[0]] == tar.name]
    for dataset, share in SHARES.items():
        folder = root / dataset
        folder.mkdir()
        _link(folder, dataset, max(1, round(samples * share)), tar, places, of_tar.fields)
    program = Path(__file__).with_name("catalog_data.py")
    return measured(root, str(program), str(root / ".g3m"), str(samples))


def drawing_s(samples: int, drawn: int = 40_000) -> float:
    """Seconds that drawing so many rows takes, without writing them."""
    rows = entries(drawn, 0, next(iter(SHARES)))
    next(rows)  # the vocabulary is made once
    begun_s = time.perf_counter()
    count = sum(1 for _ in rows)
    return (time.perf_counter() - begun_s) * samples / count


def _link(
    folder: Path, dataset: str, count: int, tar: Path, places: list[tuple[int, ...]], names: tuple[str, ...]
) -> None:
    shards = tuple(f"{dataset}-{number:06d}.tar" for number in range(-(-count // SHARD)))
    for shard in shards:
        os.link(tar, folder / shard)
    fields = [
        [Field(name, place[2 * at + 1], place[2 * at + 2]) for at, name in enumerate(names)]
        for place in places
    ]

    def part(number: int) -> Index:
        rows = Rows(names)
        for one in range(number * SHARD, min(count, (number + 1) * SHARD)):
            rows.add(f"{dataset[:4]}{one:09d}", fields[one % len(fields)])
        return Index(rows.encode(shards[number]))

    sizes = (tar.stat().st_size,) * len(shards)
    head = Head(shards=shards, samples=count, fields=names, sizes=sizes)
    with open(folder / INDEX, "wb") as file:
        file.writelines(joined(head, part))


def forget(root: Path) -> None:
    """Let the system read catalog and indexes from the disk again."""
    os.sync()
    for path in (root / ".g3m" / FILE, *root.glob(f"*/{INDEX}")):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def queries() -> list[tuple[str, str]]:
    """Kind and text of every query, mixed; the same for every size and every run."""
    drawn, known = random.Random(4), words()
    captions = [row.caption for row in entries(2000, 0, next(iter(SHARES)))]
    long = [caption.split() for caption in captions if len(caption.split()) > 5]
    made: list[tuple[str, str]] = []
    for number in range(QUERIES_OF_A_KIND):
        chinese = CHINESE[number % len(CHINESE)]
        start, length = drawn.randrange(len(chinese) - 3), drawn.randint(1, 4)
        middle = drawn.choice(known[300:20_000])
        made += [
            ("frequent", known[number]),
            ("rare", known[drawn.randrange(2000, 150_000)]),
            ("two", " ".join(drawn.sample(known[:300], 2))),
            ("phrase", '"{} {}"'.format(*long[number][2:4])),
            ("prefix", f"{middle[: drawn.randint(3, 4)]}*"),
            ("filter", drawn.choice(known[:2000])),
            ("chinese", chinese[start : start + length]),
            ("nothing", f"zq{number}xw"),
        ]
    drawn.shuffle(made)
    return made
