"""What each depth of `g3m verify` costs, in pictures a second and core, beside the decoders alone.

    python bench/verify.py [--images 5000] [--times 3] [--folder DIR]

digests            `g3m verify`: every shard hashed
structure          `g3m verify --structure`: also read strictly; every header, end and caption looked at
deep, 1 job        `g3m verify --deep --jobs 1`: also decoded in a guarded process
deep, N jobs       the same with a process for each core
sha256             hashlib over the shards: the least that `digests` can cost
look               the header and end of every picture, nothing else
Pillow             every picture decoded as a loader does it: open, load
simplejpeg         libjpeg-turbo, in colour
simplejpeg 1/8     the same in grey at an eighth of the size, as `deep` does it: every byte is read

All read the same shards; the decoders read them through the index, in one process. The pictures are photos of
COCO where G3M_REALDATA (or a folder beside the repository) has them, each copy with a comment of its own, and
drawings of noise elsewhere. They take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from machine import Run, describe, middle, run
from pack_sources import marked, pictures, write_recipe

REAL = Path(os.environ.get("G3M_REALDATA") or Path(__file__).resolve().parents[2] / "shared" / "realdata")


def photos() -> list[bytes]:
    """Real photos of about 160 kB, or drawings of that size."""
    found = sorted((REAL / "coco_mini").glob("*/*.jpg"))
    return [path.read_bytes() for path in found] or pictures(640, 480)


def make_dataset(folder: Path, images: int) -> None:
    """A dataset packed by g3m from a zip of pictures and captions."""
    from g3m.runners.run import get_in, make_session

    kinds = photos()
    with zipfile.ZipFile(folder / "heap.zip", "w", zipfile.ZIP_STORED) as archive:
        for number in range(images):
            archive.writestr(f"{number:08d}.jpg", marked(kinds[number % len(kinds)], number))
            archive.writestr(f"{number:08d}.txt", f"A picture with the number {number}.")
    write_recipe(folder, ("heap.zip",), '[samples]\nreader = "pairs"\nimages = "heap.zip"\n')
    session = make_session({"root": str(folder / "data"), "source": [str(folder)], "offline": True}, {})
    get_in([str(folder / "bench.toml")], session, [])
    (folder / "heap.zip").unlink()


def alone(what: str, folder: Path) -> None:
    """One of the contestants that are no command of g3m's."""
    if what == "sha256":
        for path in sorted(folder.rglob("*.tar")):
            with path.open("rb") as file:
                digest = hashlib.sha256()
                while data := file.read(2**20):
                    digest.update(data)
        return
    import g3m

    work = _work(what)
    with_index = g3m.dataset("bench", folder / "data")
    for number in range(len(with_index)):
        work(with_index[number].image)
    with_index.close()


def _work(what: str) -> Callable[[bytes], object]:
    if what == "look":
        from g3m.core.structure import look

        return look
    if what == "pillow":
        from PIL import Image

        return lambda data: Image.open(io.BytesIO(data)).load()
    import simplejpeg

    if what == "simplejpeg":
        return simplejpeg.decode_jpeg
    fast = {"fastdct": True, "fastupsample": True, "min_height": 1, "min_width": 1}
    return lambda data: simplejpeg.decode_jpeg(data, "GRAY", **fast)


def commands(folder: Path) -> dict[str, list[str]]:
    """The contestants by name."""
    verify = [sys.executable, "-m", "g3m", "verify", "-q", "--root", str(folder / "data")]
    script = [sys.executable, __file__, "--at", str(folder), "--alone"]
    cores = len(os.sched_getaffinity(0))
    return {
        "digests": verify,
        "structure": [*verify, "--structure"],
        "deep, 1 job": [*verify, "--deep", "--jobs", "1"],
        f"deep, {cores} jobs": [*verify, "--deep", "--jobs", str(cores)],
        "sha256": [*script, "sha256"],
        "look": [*script, "look"],
        "Pillow": [*script, "pillow"],
        "simplejpeg": [*script, "simplejpeg"],
        "simplejpeg 1/8": [*script, "eighth"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--at", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options.alone, options.at)
        return
    if options.at:
        make_dataset(options.at, options.images)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = Path(temporary)
        # In a process of its own: a child's peak memory counts what its parent held before.
        run([sys.executable, __file__, "--at", str(folder), "--images", str(options.images)])
        runs: dict[str, list[Run]] = {name: [] for name in commands(folder)}
        for _ in range(options.times):
            for name, command in commands(folder).items():
                runs[name].append(run(command))
        report(runs, options.images, folder)


def report(runs: dict[str, list[Run]], images: int, folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*.tar"))
    kind = "photos of COCO" if (REAL / "coco_mini").is_dir() else "drawings"
    names = ("g3m", "pillow", "simplejpeg")
    print(f"{images} JPEGs ({kind}), {size / 1e6:.0f} MB, median of {len(runs['digests'])} runs")
    print(", ".join(f"{name} {metadata.version(name)}" for name in names))
    print(describe(folder))
    print(
        "\n| what | wall s | CPU s | pictures/s | pictures/s and core | peak MB |\n|---|--:|--:|--:|--:|--:|"
    )
    for name, several in runs.items():
        wall = middle([each.wall_s for each in several])
        cpu = middle([each.cpu_s for each in several])
        peak = max(each.peak_bytes for each in several)
        speeds = f"{images / wall:.0f} | {images / cpu:.0f}"
        print(f"| {name} | {wall:.2f} | {cpu:.2f} | {speeds} | {peak / 1e6:.0f} |")


if __name__ == "__main__":
    main()
