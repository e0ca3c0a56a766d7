"""From the bytes of a picture to 224 x 224 pixels: what it costs a core, and how near the reference it is.

    python bench/decode.py [--photos DIR] [--times 5] [--turbojpeg LIBRARY]

The reference is what people train CLIP with: torchvision's Resize(224, bicubic) and CenterCrop on a picture
that Pillow decoded. If torchvision is there, its own transforms run too; `same bits` says who equals it.

Three kinds of pictures: photographs as they are (COCO's are 640 x 480), four in one brought to 1024 x 768 as
in Open Images, nine in one at 1800 x 1320. --photos is a folder of JPEGs; without it those of the tests are
taken, or scenes are drawn. PyTurboJPEG takes part if it is installed and --turbojpeg names a library.

`decode` rows only decode. Times are those of the processor, one thread, the contestants in turns, the median
of the turns; `x` is the speed of two threads together beside that of one, by the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from machine import describe, middle
from PIL import Image, features
from resize import photographs, psnr_db, ssim

from g3m.adapters.pixels import Preprocess, floats, into, pixels

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.realdata import REAL

SIZE = 224
BICUBIC = Image.Resampling.BICUBIC
FAST = {"fastdct": True, "fastupsample": True}
Way = Callable[[bytes], Any]


def reference(data: bytes) -> np.ndarray:
    """Resize(224, bicubic), CenterCrop(224), in torchvision's rules."""
    return middle_of(Image.open(io.BytesIO(data)).convert("RGB"))


def middle_of(image: Image.Image) -> np.ndarray:
    width, height = image.size
    short = min(width, height)
    new = tuple(SIZE if side == short else int(SIZE * side / short) for side in (width, height))
    left, top = (round((side - SIZE) / 2.0) for side in new)
    return np.asarray(image.resize(new, BICUBIC).crop((left, top, left + SIZE, top + SIZE)))


def turbo(data: bytes, **options: Any) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, **options)


def cheap(data: bytes, **options: Any) -> np.ndarray:
    """The smallest of an eighth, a quarter, a half and the whole that leaves 224 pixels."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    eighths = next((n for n in (1, 2, 4, 8) if min(width, height) * n >= SIZE * 8), 8)
    rows, columns = (-(-side * eighths // 8) for side in (height, width))
    return simplejpeg.decode_jpeg(data, min_height=rows, min_width=columns, **options)


def draft(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (SIZE, SIZE))
    return image.convert("RGB")


def decoders(library: str) -> dict[str, Way]:
    """Those that only decode."""
    found: dict[str, Way] = {
        "decode: Pillow": lambda data: Image.open(io.BytesIO(data)).load(),
        "decode: Pillow, draft": draft,
        "decode: simplejpeg": turbo,
        "decode: simplejpeg, fastdct, fastupsample": lambda data: turbo(data, **FAST),
        "decode: simplejpeg, scaled in eighths": lambda data: turbo(data, min_height=SIZE, min_width=SIZE),
        "decode: simplejpeg, scaled in halves": cheap,
        "decode: simplejpeg, scaled in halves, fastdct, fastupsample": lambda data: cheap(data, **FAST),
    }
    if library and util.find_spec("turbojpeg"):
        import turbojpeg

        peer = turbojpeg.TurboJPEG(library)
        found["decode: PyTurboJPEG"] = lambda data: peer.decode(data, pixel_format=turbojpeg.TJPF_RGB)
    return found


def pipelines() -> dict[str, Way]:
    """Bytes to levels of 224 x 224, ours and what people write."""
    found: dict[str, Way] = {
        "Pillow, whole (the reference)": reference,
        "Pillow, draft": lambda data: middle_of(draft(data)),
        "simplejpeg, whole, Pillow": lambda data: middle_of(Image.fromarray(turbo(data))),
        "simplejpeg, eighths, Pillow": lambda data: middle_of(
            Image.fromarray(turbo(data, min_height=SIZE, min_width=SIZE))
        ),
        "simplejpeg, halves, fastdct, fastupsample, Pillow": lambda data: middle_of(
            Image.fromarray(cheap(data, **FAST))
        ),
    }
    found |= of_torchvision()
    resamplers: dict[str, Any] = {"Pillow": None}
    with contextlib.suppress(ImportError):
        import torch

        from g3m.load.torch import bicubic

        torch.set_num_threads(1)
        resamplers["torch"] = bicubic
    for way in ("fast", "near"):
        for name, resample in resamplers.items():
            found[f"g3m {way}, {name}"] = ours(way, resample)
    found["g3m exact"] = ours("exact", None)
    return found


def ours(way: Any, resample: Any) -> Way:
    preprocess = Preprocess(SIZE, way)
    return lambda data: pixels(data, preprocess, resample)


def of_torchvision() -> dict[str, Way]:
    """torchvision's own transforms; beside a torch without CUDA its operators must be declared first."""
    if not util.find_spec("torchvision"):
        return {}
    from torchvision_operators import declare

    declare()
    from torchvision import transforms
    from torchvision.transforms import InterpolationMode

    both = [transforms.Resize(SIZE, interpolation=InterpolationMode.BICUBIC), transforms.CenterCrop(SIZE)]
    made = transforms.Compose(both)
    on_tensor = transforms.Compose([transforms.PILToTensor(), *both])

    def by_tensor(data: bytes) -> np.ndarray:
        return on_tensor(Image.open(io.BytesIO(data)).convert("RGB")).permute(1, 2, 0).numpy()

    return {
        "torchvision on a Pillow image": lambda data: np.asarray(
            made(Image.open(io.BytesIO(data)).convert("RGB"))
        ),
        "torchvision on a tensor": by_tensor,
    }


def cpu_us(way: Way, files: Sequence[bytes]) -> float:
    """Microseconds of processor time a picture."""
    began_s = time.process_time()
    for data in files:
        way(data)
    return (time.process_time() - began_s) / len(files) * 1e6


def wall_s(way: Way, files: Sequence[bytes], threads: int) -> float:
    rest, lock = iter(files), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                data = next(rest, None)
            if data is None:
                return
            way(data)

    several = [threading.Thread(target=work) for _ in range(threads)]
    began_s = time.perf_counter()
    for one in several:
        one.start()
    for one in several:
        one.join()
    return time.perf_counter() - began_s


def beside(made: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> list[str]:
    """How far levels are from the reference's."""
    gaps = [np.abs(one.astype(int) - other) for one, other in zip(made, wanted, strict=True)]
    if not any(gap.any() for gap in gaps):
        return ["0", "0", "100 %", "same bits", ""]
    psnr = [psnr_db(a.astype(float), b.astype(float)) for a, b in zip(made, wanted, strict=True)]
    alike = [ssim(a.astype(float), b.astype(float)) for a, b in zip(made, wanted, strict=True)]
    return [
        f"{np.mean([gap.mean() for gap in gaps]):.3f}",
        str(max(gap.max() for gap in gaps)),
        f"{100 * np.mean([(gap == 0).mean() for gap in gaps]):.1f} %",
        f"{middle(psnr):.1f} ({min(psnr):.1f})",
        f"{middle(alike):.4f} ({min(alike):.4f})",
    ]


def table(title: str, files: Sequence[bytes], options: argparse.Namespace) -> None:
    only, whole = decoders(options.turbojpeg), pipelines()
    ways = only | whole
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(files[0])
    for _ in range(options.times):
        for name, way in ways.items():
            taken[name].append(cpu_us(way, files))
    wanted = [reference(data) for data in files]
    print(f"\n### {title}: {len(files)} of {sum(map(len, files)) // len(files) // 1000} kB\n")
    head = "| what | us of a core | pictures/s and core | x | mean difference | largest | equal "
    print(f"{head}| PSNR dB, median (least) | SSIM, median (least) |\n|---|" + "--:|" * 8)
    for name, way in ways.items():
        us = middle(taken[name])
        pairs = [(wall_s(way, files, 1), wall_s(way, files, 2)) for _ in range(3)]
        faster = f"{max(one / two for one, two in pairs):.2f}"
        near = [""] * 5 if name in only else beside([way(data) for data in files], wanted)
        print(f"| {' | '.join([name, f'{us:.0f}', f'{1e6 / us:.0f}', faster, *near])} |", flush=True)
    limit = min(middle(taken[name]) for name in only if "simplejpeg" in name and "fastdct" not in name)
    best = [name for name in whole if name.startswith("g3m fast")][-1]
    print(
        f"\n{best}: {limit / middle(taken[best]):.2f} of the speed of the fastest decode alone (no fastdct)"
    )


def normalising(files: Sequence[bytes], times: int) -> None:
    """From levels to CLIP's floats, as microseconds a picture, and whether the bits are those of torch."""
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
    deviation = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    tables = ((np.arange(256, dtype=np.float32) / np.float32(255))[None] - mean[:, None]) / deviation[:, None]
    levels = [pixels(data) for data in files[:50]]

    def by_table(one: np.ndarray) -> np.ndarray:
        out = np.empty((3, SIZE, SIZE), np.float32)
        for channel in range(3):
            np.take(tables[channel], one[:, :, channel], out=out[channel], mode="clip")
        return out

    ways: dict[str, Callable[[np.ndarray], Any]] = {
        "g3m, three steps of numpy": floats,
        "a table a channel": by_table,
    }
    with contextlib.suppress(ImportError):
        import torch

        of = [torch.as_tensor(numbers).view(-1, 1, 1) for numbers in (mean, deviation)]
        ways["torch, as ToTensor and Normalize"] = lambda one: (
            torch.from_numpy(one)
            .permute(2, 0, 1)
            .contiguous()
            .to(torch.float32)
            .div(255)
            .sub_(of[0])
            .div_(of[1])
            .numpy()
        )
    rule = [
        ((one.astype(np.float32) / np.float32(255) - mean) / deviation).transpose(2, 0, 1) for one in levels
    ]
    print("\n### Levels to normalised floats\n\n| what | us | bits |\n|---|--:|---|")
    for name, way in ways.items():
        taken = [cpu_us(way, levels) for _ in range(times)]  # type: ignore[arg-type]
        same = all(np.array_equal(way(one), other) for one, other in zip(levels, rule, strict=True))
        print(f"| {name} | {middle(taken):.0f} | {'same' if same else 'others'} |")
    out = np.empty((3, SIZE, SIZE), np.float32)
    whole = middle([cpu_us(lambda data: into(data, out), files) for _ in range(times)])
    print(f"\ninto a batch of float32, fast, Pillow's resampling: {whole:.0f} us")


def joined(photos: Sequence[bytes], across: int, size: tuple[int, int], count: int) -> list[bytes]:
    """Photographs side by side, scaled to a size: large pictures with the detail of large ones."""
    width, height = size[0] // across, size[1] // across
    made = []
    for number in range(count):
        canvas = Image.new("RGB", (640 * across, 480 * across))
        for place in range(across * across):
            with Image.open(io.BytesIO(photos[(number * 7 + place) % len(photos)])) as one:
                canvas.paste(
                    one.convert("RGB").resize((640, 480)), (place % across * 640, place // across * 480)
                )
        written = io.BytesIO()
        canvas.resize((width * across, height * across), Image.Resampling.LANCZOS).save(
            written, "JPEG", quality=90
        )
        made.append(written.getvalue())
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, default=REAL / "coco_mini", help="a folder of JPEGs")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--turbojpeg", default="", help="the libturbojpeg.so that PyTurboJPEG is to load")
    options = parser.parse_args()
    names = ("g3m", "pillow", "simplejpeg", "numpy", "torch", "torchvision", "PyTurboJPEG")
    versions = []
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    print(", ".join(versions), f"(Pillow's libjpeg-turbo {features.version('libjpeg_turbo')})")
    photos = photographs(options.photos)[: options.pictures]
    print(f"{describe(Path.cwd())}, load {os.getloadavg()[0]:.1f}", flush=True)
    table("Photographs", photos, options)
    few = max(options.pictures // 8, 4)
    table("Four photographs in 1024 x 768", joined(photos, 2, (1024, 768), few), options)
    table("Nine photographs in 1800 x 1320", joined(photos, 3, (1800, 1320), few), options)
    normalising(photos, options.times)


if __name__ == "__main__":
    main()
