"""Making pictures smaller while packing: g3m beside img2dataset's resizer and a loop over Pillow.

    python bench/resize.py [--photos DIR] [--pictures 1200] [--side 256] [--times 3] [--peer PYTHON]

Two sources, each four tars of pictures with a caption: photographs as they are (COCO's are 640 x 480), and
collages of nine of them (1800 x 1320), where decoding at a smaller scale pays. --photos is a folder of JPEGs;
without it scenes are drawn.

    g3m pack               `--image-size SIDE`, with 1 and with 2 jobs: start of the program, strict listing,
                           header and end of each picture looked at, decoding in guarded processes, sha256,
                           syncs, index, manifest
    img2dataset            its Resizer class with its defaults (OpenCV: full decode, INTER_AREA), in a loop
                           over tarfile, with 1 and 2 processes; run by --peer, a Python that has img2dataset
    img2dataset, lanczos   the same with its other filter for making smaller
    Pillow                 full decode, Lanczos, in the same loop

All write JPEG of quality 95 and sync their tars. Quality is measured against the loop over Pillow: PSNR over
all three channels, SSIM of the luma over windows of 8 x 8, both with the least of all pictures. The
contestants take turns; --times turns, of which the median counts.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np
import resize_programs as programs
from machine import Run, describe, empty, middle, run
from PIL import Image

PYTHON = sys.executable
TARS = 4
COMPARED = 120
REFERENCE = "Pillow, 1 process"


@dataclass(slots=True)
class Row:
    """What was measured of one contestant."""

    runs: list[Run] = field(default_factory=list)
    out_bytes: int = 0
    psnr_db: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)


def scene(number: int) -> bytes:
    """A drawn picture with slopes, edges and grain, where there are no photographs."""
    y, x = np.mgrid[0:480, 0:640].astype(np.float64)
    grain = np.random.default_rng(number)
    planes = []
    for channel in range(3):
        waves = sum(
            np.sin((x * np.cos(a) + y * np.sin(a)) / s) for a, s in ((number + channel, 40), (1.2, 9))
        )
        planes.append(128 + 40 * waves + grain.normal(0, 8, (480, 640)))
    return encoded(Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)), 90)


def encoded(image: Image.Image, quality: int) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=quality)
    return written.getvalue()


def photographs(folder: Path | None) -> list[bytes]:
    found = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))] if folder else []
    return found or [scene(number) for number in range(24)]


def collages(photos: list[bytes], count: int) -> list[bytes]:
    """Nine photographs in one, so that it has the detail of a large one."""
    chosen = random.Random(0)
    made = []
    for _ in range(count):
        canvas = Image.new("RGB", (1800, 1320))
        for place in range(9):
            with Image.open(io.BytesIO(chosen.choice(photos))) as one:
                part = one.convert("RGB").resize((640, 480)).crop((0, 0, 600, 440))
            canvas.paste(part, (place % 3 * 600, place // 3 * 440))
        made.append(encoded(canvas, 90))
    return made


def write_tars(folder: Path, kinds: list[bytes], count: int) -> None:
    empty(folder)
    for number in range(TARS):
        with tarfile.open(folder / f"{number}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for one in range(number * count // TARS, (number + 1) * count // TARS):
                for extension, data in (("jpg", kinds[one % len(kinds)]), ("txt", b"a picture")):
                    entry = tarfile.TarInfo(f"{one:06d}.{extension}")
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))


def contestants(source: Path, out: Path, side: int, peer: str) -> dict[str, list[str]]:
    """Name and command; each finds an empty folder `out`."""
    found: dict[str, list[str]] = {}
    for jobs in (1, 2):
        own = [PYTHON, "-m", "g3m", "pack", str(source), "--to", str(out), "--image-size", str(side), "-q"]
        found[f"g3m pack --jobs {jobs}"] = [*own, "--jobs", str(jobs)]
    several = {"img2dataset": (peer, programs.IMG2DATASET)}
    several["img2dataset, lanczos"] = (peer, programs.IMG2DATASET_LANCZOS)
    several["Pillow"] = (PYTHON, programs.PILLOW)
    for name, (python, program) in several.items():
        for jobs in (1, 2) if python and name != "img2dataset, lanczos" else (1,):
            if python:
                words = f"{name}, {jobs} process{'es' if jobs > 1 else ''}"
                found[words] = [python, "-c", program, str(source), str(out), str(side), str(jobs)]
    return found


def pictures_in(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".jpg"):
                    content = archive.extractfile(member)
                    assert content is not None
                    yield content.read()


def numbers(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.float64)


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(((one - other) ** 2).mean(), 1e-9)))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    a, b = (plane @ np.array([0.299, 0.587, 0.114]) for plane in (one, other))

    def mean(plane: np.ndarray) -> np.ndarray:
        sums = np.cumsum(np.cumsum(np.pad(plane, ((1, 0), (1, 0))), 0), 1)
        return (sums[8:, 8:] - sums[:-8, 8:] - sums[8:, :-8] + sums[:-8, :-8]) / 64

    mean_a, mean_b = mean(a), mean(b)
    spread = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    shared = mean(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + 6.5025) * (2 * shared + 58.5225)
    return float((top / ((mean_a**2 + mean_b**2 + 6.5025) * (spread + 58.5225))).mean())


def compare(folder: Path, source: Path, options: argparse.Namespace) -> dict[str, Row]:
    """All contestants, turn by turn; the first turn's pictures are compared."""
    out = folder / "out"
    rows: dict[str, Row] = {}
    kept: dict[str, list[bytes]] = {}
    for turn in range(options.times):
        for name, command in contestants(source, out, options.side, options.peer).items():
            empty(out)
            os.sync()
            row = rows.setdefault(name, Row())
            row.runs.append(run(command))
            if turn == 0:
                row.out_bytes = sum(path.stat().st_size for path in out.glob("*.tar"))
                kept[name] = [data for _, data in zip(range(COMPARED), pictures_in(out), strict=False)]
    for name, row in rows.items():
        for made, wanted in zip(kept[name], kept[REFERENCE], strict=True):
            one, other = numbers(made), numbers(wanted)
            if one.shape == other.shape:
                row.psnr_db.append(psnr_db(one, other))
                row.ssim.append(ssim(one, other))
    return rows


def report(title: str, count: int, rows: dict[str, Row]) -> None:
    print(f"\n### {title}\n")
    head = "| what | wall s | pictures/s | pictures per CPU second | shards MB "
    print(f"{head}| PSNR dB, median (least) | SSIM, median (least) |")
    print("|---|" + "--:|" * 6)
    for name, row in rows.items():
        wall_s, cpu_s = middle([r.wall_s for r in row.runs]), middle([r.cpu_s for r in row.runs])
        psnr = "the measure"
        alike = ""
        if name != REFERENCE:
            psnr = f"{middle(row.psnr_db):.1f} ({min(row.psnr_db):.1f})" if min(row.psnr_db) < 90 else "same"
            alike = f"{middle(row.ssim):.4f} ({min(row.ssim):.4f})"
        columns = [name, f"{wall_s:.2f}", f"{count / wall_s:.0f}", f"{count / cpu_s:.0f}"]
        columns += [
            f"{row.out_bytes / 1e6:.1f}",
            psnr,
            alike,
        ]
        print(f"| {' | '.join(columns)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=None, help="a folder of JPEGs")
    parser.add_argument("--pictures", type=int, default=1200)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--peer", default="", help="an interpreter that has img2dataset")
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: temporary files)")
    options = parser.parse_args()
    print(", ".join(f"{name} {metadata.version(name)}" for name in ("g3m", "pillow", "numpy")))
    if options.peer:
        code = "from importlib.metadata import version as v; print(*(f'{n} {v(n)}' for n in "
        code += "('img2dataset', 'opencv-python-headless', 'albumentations')), sep=', ', flush=True)"
        sys.stdout.flush()
        os.spawnv(os.P_WAIT, options.peer, [options.peer, "-c", code])
    photos = photographs(options.photos)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="g3m-bench-") as temporary:
        folder = Path(temporary)
        print(f"{describe(folder)}, load {os.getloadavg()[0]:.1f}, {len(photos)} photographs", flush=True)
        source = folder / "source"
        write_tars(source, photos, options.pictures)
        title = f"{options.pictures} photographs to {options.side} pixels on the shorter side"
        report(title, options.pictures, compare(folder, source, options))
        few = options.pictures // 4
        write_tars(source, collages(photos, min(few, 60)), few)
        title = f"{few} collages of 1800 x 1320 to {options.side} pixels"
        report(title, few, compare(folder, source, options))


if __name__ == "__main__":
    main()
