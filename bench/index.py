"""How fast tars of anybody are indexed, in headers a second, and how fast their index opens and is read.

    python bench/index.py [--tars 8] [--samples 5000] [--times 3] [--open 3650000] [--folder DIR]
                          [--wids PYTHON]

g3m index      `g3m index --force` in a process of its own: scanned, grouped, checked, written
list_tar       g3m's strict reader of headers alone
tarfile        Python's tarfile, names and sizes of all members, nothing kept
wids           the reader of headers behind wids, of an interpreter that has webdataset 0.2; it checks nothing
webdataset     one pass over all samples, as it counts them: it has no index, and reads every byte

All read the same tars of jpg, json and txt (noise of some 30 kB instead of pictures), from memory, and take
turns. Then an index of so many samples is made and opened, and read at places drawn by chance.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import describe, middle, run

PICTURE_BYTES = 30_000
META = b'{"url": "http://example.com/a/picture.jpg", "width": 640, "height": 480, "status": "success"}'

WIDS = """
import importlib.util, pathlib, sys
package = pathlib.Path(importlib.util.find_spec("wids").origin).parent  # not imported: it would want torch
spec = importlib.util.spec_from_file_location("wids_tar", package / "wids_tar.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for path in sys.argv[1:]:
    assert len(module.TarFileReader(path, index_file=None, verbose=False).names()) > 0
"""
TARFILE = """
import sys, tarfile
for path in sys.argv[1:]:
    with tarfile.open(path, "r:") as archive:
        assert sum(1 for member in archive) > 0
"""
LIST_TAR = """
import sys
from pathlib import Path
from g3m.adapters.tar import list_tar
for path in sys.argv[1:]:
    assert sum(1 for member in list_tar(Path(path))) > 0
"""
WEBDATASET = """
import sys, warnings
warnings.simplefilter("ignore")
import webdataset
assert sum(1 for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False)) > 0
"""


def make_tars(folder: Path, tars: int, samples: int) -> list[Path]:
    """Tars as img2dataset writes them; how many headers they hold is three a sample."""
    from g3m.core.shard import end_of_archive, padding, ustar_header

    chance = random.Random(0)
    noise = chance.randbytes(2 * PICTURE_BYTES)
    paths = []
    for number in range(tars):
        paths.append(folder / f"{number:05d}.tar")
        with open(paths[-1], "wb", buffering=2**20) as file:
            for place in range(samples):
                key = f"{number:05d}{place:04d}"
                size_bytes = chance.randrange(PICTURE_BYTES // 2, PICTURE_BYTES * 3 // 2)
                parts = ("jpg", noise[:size_bytes]), ("json", META), ("txt", b"a picture of noise")
                for extension, data in parts:
                    header = ustar_header(f"{key}.{extension}", len(data))
                    file.write(header + data + padding(len(data)))
            file.write(end_of_archive(file.tell()))
    return paths


def contestants(folder: Path, paths: list[Path], wids: str) -> dict[str, list[str]]:
    """Name and command of each."""
    tars = [str(path) for path in paths]
    own = [sys.executable, "-m", "g3m", "index", "--force", "-q", str(folder)]
    found = {
        "g3m index": own,
        "g3m index, 1 job": [*own, "--jobs", "1"],
        "list_tar": [sys.executable, "-c", LIST_TAR, *tars],
        "tarfile": [sys.executable, "-c", TARFILE, *tars],
        "webdataset": [sys.executable, "-c", WEBDATASET, *tars],
    }
    return found | ({"wids": [wids, "-c", WIDS, *tars]} if wids else {})


def race(commands: dict[str, list[str]], headers: int, times: int) -> None:
    """Headers a second of each, and a second of processor time, with what starting Python takes."""
    start_s = middle([run([sys.executable, "-c", "pass"]).cpu_s for _ in range(times)])
    for command in commands.values():
        run(command)
    runs = [{name: run(command) for name, command in commands.items()} for _ in range(times)]
    print("\n| what | wall s | CPU s | headers/s | headers per CPU s | peak MB |\n|---|--:|--:|--:|--:|--:|")
    print(f"| (python) | | {start_s:.2f} | | | |")
    for name in commands:
        wall_s = middle([one[name].wall_s for one in runs])
        cpu_s = middle([one[name].cpu_s for one in runs])
        peak = max(one[name].peak_bytes for one in runs) / 1e6
        rates = f"{headers / wall_s:,.0f} | {headers / cpu_s:,.0f}"
        print(f"| {name} | {wall_s:.2f} | {cpu_s:.2f} | {rates} | {peak:.0f} |")


def large_index(path: Path, samples: int) -> None:
    """An index of so many samples, as packing gives it."""
    from g3m.core.index import Head, Index
    from g3m.core.indexing import Rows, joined
    from g3m.core.shard import Field

    rows = Rows()
    each = 5000
    for place in range(each):
        at = place * 40_000
        fields = [Field("jpg", at, 30_000), Field("json", at + 31_000, 90), Field("txt", at + 32_000, 40)]
        rows.add(f"{place:09d}", fields)
    part = Index(rows.encode("x.tar"))
    shards = tuple(f"{number:05d}.tar" for number in range(samples // each))
    sizes = (each * 40_000,) * len(shards)
    head = Head(shards=shards, samples=each * len(shards), sizes=sizes)
    with open(path, "wb") as file:
        file.writelines(joined(head, lambda _: part))


def read_times(path: Path, reads: int = 200_000) -> None:
    """What opening costs, and reading at places drawn by chance."""
    from g3m.steps.examine import open_index

    started_s = time.perf_counter()
    index = open_index(path)
    opened_s = time.perf_counter() - started_s
    chance = random.Random(1)
    places = [chance.randrange(len(index)) for _ in range(reads)]
    print(f"\nan index of {len(index):,} samples, {path.stat().st_size / 1e6:.0f} MB")
    print(f"opened: {opened_s * 1e3:.2f} ms")

    def took_us(read: Callable[[int], object]) -> float:
        started_s = time.perf_counter()
        for place in places:
            read(place)
        return (time.perf_counter() - started_s) / len(places) * 1e6

    for name in ("place", "key", "__getitem__"):
        print(f"{name}: {min(took_us(getattr(index, name)) for _ in range(3)):.2f} us")
    started_s = time.perf_counter()
    count = sum(map(bool, index.keys()))
    took_s = time.perf_counter() - started_s
    print(f"all keys: {took_s:.2f} s, {took_s / count * 1e6:.2f} us each")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tars", type=int, default=8)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--open", type=int, default=3_650_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--wids", default="", help="an interpreter that has webdataset 0.2")
    options = parser.parse_args()
    print(f"median of {options.times} runs after one warm-up\n{describe(options.folder or Path('.'))}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        paths = make_tars(folder, options.tars, options.samples)
        size = sum(path.stat().st_size for path in paths) / 1e9
        print(f"{options.tars} tars, {options.tars * options.samples} samples, {size:.2f} GB")
        headers = 3 * options.tars * options.samples
        race(contestants(folder, paths, options.wids), headers, options.times)
        large_index(folder / "large.bin", options.open)
        read_times(folder / "large.bin")


if __name__ == "__main__":
    main()
