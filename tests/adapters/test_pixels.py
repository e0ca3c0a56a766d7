"""adapters/pixels.py: the exact way is the reference bit by bit, the others are near it, all refuse the same."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import pickle
import random
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.realdata import REAL

from g3m.adapters import pixels as module
from g3m.adapters.pixels import Broken, Preprocess, floats, into, picture, pixels, square
from g3m.core.treatment import PIXEL_LIMIT

PICTURES = sorted((REAL / "coco_mini").glob("*/*.jpg"))[:40]
MALFORMED = sorted(path for path in (REAL / "malformed").rglob("*") if path.is_file())
WAYS = ("fast", "near", "exact")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def by_torch(levels: Any, columns: int, rows: int, across: float, down: float) -> Any:
    """What load/torch.py brings: the same filter, in torch."""
    import torch

    planes = torch.from_numpy(levels).permute(2, 0, 1)[None]
    made = torch.ops.aten._upsample_bicubic2d_aa(planes, (rows, columns), False, 1 / down, 1 / across)
    return made[0].permute(1, 2, 0).numpy()


def by_pillow(levels: Any, columns: int, rows: int, across: float, down: float) -> Any:
    """The same contract over Pillow, so that it is tested where torch is not."""
    box = (0, 0, min(levels.shape[1], columns * across), min(levels.shape[0], rows * down))
    return np.asarray(Image.fromarray(levels).resize((columns, rows), Image.Resampling.BICUBIC, box=box))


HAS_TORCH = importlib.util.find_spec("torch") is not None
TORCH = tuple(map(int, importlib.metadata.version("torch").split(".")[:2])) if HAS_TORCH else (0, 0)
RESAMPLES = [None, by_pillow, *([by_torch] if TORCH >= (2, 1) else [])]
"""torch 2.0 resamples bytes up to dozens of levels off: load/torch.py leaves it to Pillow there."""


def scene(width: int, height: int, seed: int = 1) -> Image.Image:
    """Slopes, edges and grain, so that a wrong filter or a shift of half a pixel shows."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    grain = np.random.default_rng(seed)
    planes = []
    for channel in range(3):
        angles = ((0.3 + channel, 40), (1.2, 11), (2.1, 5))
        waves = sum(np.sin((x * np.cos(angle) + y * np.sin(angle)) / of) for angle, of in angles)
        plane = 128 + 30 * waves + grain.normal(0, 6, (height, width))
        plane[(x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 5) ** 2] += 60 - 40 * channel
        planes.append(plane)
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))


def file_of(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def reference(data: bytes, size: int = 224) -> np.ndarray:
    """torchvision's rules, in its own words: Resize(size, BICUBIC), CenterCrop(size) on a Pillow image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = size, int(size * long / short)
    new = (new_short, new_long) if width <= height else (new_long, new_short)
    image = image.resize(new, Image.Resampling.BICUBIC)
    top, left = round((new[1] - size) / 2.0), round((new[0] - size) / 2.0)
    return np.asarray(image)[top : top + size, left : left + size]


def psnr_db(ours: np.ndarray, theirs: np.ndarray) -> float:
    error = (ours.astype(np.float64) - theirs) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-9)))


def verdict(data: bytes, way: Any, size: int = 32) -> bool:
    """Whether a way gives a picture; what it raises may be Broken alone."""
    try:
        made = pixels(data, Preprocess(size, way))
    except Broken as error:
        assert 0 < len(error.reason) <= 200
        return False
    assert made.shape == (size, size, 3)
    assert made.dtype == np.uint8
    return True


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">2H", height, width) + data[at + 4 :]


def spoilt(data: bytes, chosen: random.Random) -> bytes:
    """A file that was cut, or has some bytes changed or missing, at the head or anywhere."""
    spoil, kind = bytearray(data), chosen.choice(["cut", "head", "some", "lost"])
    if kind == "cut":
        return data[: chosen.randrange(len(data))]
    if kind == "lost":
        at = chosen.randrange(len(data))
        return data[:at] + data[at + chosen.randrange(1, 300) :]
    until = 600 if kind == "head" else len(data)
    for _ in range(chosen.randrange(1, 30)):
        spoil[chosen.randrange(min(until, len(data)))] = chosen.randrange(256)
    return bytes(spoil)


SIZES = [
    (640, 480), (480, 640), (500, 500), (641, 427), (427, 639), (1200, 801), (448, 448), (449, 460),
    (224, 224), (225, 224), (224, 391), (100, 60), (60, 100), (7, 5), (1, 1), (1, 40), (40, 1), (2000, 31),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("edge", [224, 97])
def test_exact_is_the_reference(size: tuple[int, int], edge: int) -> None:
    """Every level of every shape is the reference's, smaller pictures and sides of one pixel too."""
    data = file_of(scene(*size), quality=88)
    assert np.array_equal(pixels(data, Preprocess(edge, "exact")), reference(data, edge))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_exact_is_the_reference_on_photographs(path: Any) -> None:
    """The same for COCO's pictures, of which some are grey."""
    data = path.read_bytes()
    assert np.array_equal(pixels(data, Preprocess(224, "exact")), reference(data))


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 80))
def test_any_shape_gives_a_square(width: int, height: int, size: int) -> None:
    """No shape leads out of the picture, in any way, and the exact one agrees with the reference."""
    data = file_of(Image.new("RGB", (width, height), (200, 30, 90)), quality=95)
    for way in WAYS:
        for resample in (None, by_pillow):
            made = pixels(data, Preprocess(size, way), resample)  # type: ignore[arg-type]
            assert np.abs(made.astype(int) - reference(data, size)).max() <= 1


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("size", [*SIZES, (1800, 1300), (960, 4 * 960), (3000, 700)])
def test_near_is_off_by_two_levels_at_most(size: tuple[int, int], resample: Any) -> None:
    """All pixels decoded and one resampling: nothing but its rounding differs, whoever resamples.

    Between rows and columns levels are rounded, and which comes first may differ: up to a quarter are off by one.
    """
    data = file_of(scene(*size), quality=88)
    made = pixels(data, Preprocess(224, "near"), resample).astype(int)
    assert np.abs(made - reference(data)).max() <= 2
    assert (made == reference(data)).mean() > 0.75


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize("path", PICTURES[:12], ids=lambda path: path.stem)
def test_near_on_photographs(path: Any, resample: Any) -> None:
    """What docs/guides/fidelity.md says of it."""
    data = path.read_bytes()
    assert psnr_db(pixels(data, Preprocess(224, "near"), resample), reference(data)) > 52


@pytest.mark.parametrize("resample", RESAMPLES)
@pytest.mark.parametrize(
    ("size", "least_db"),
    [
        ((900, 700), 33),
        ((448, 448), 28),
        ((449, 700), 28),
        ((897, 1203), 28),
        ((1792, 2001), 28),
        ((447, 500), 60),
    ],
)
def test_fast_is_near_the_reference(size: tuple[int, int], least_db: float, resample: Any) -> None:
    """A scaled decode keeps the place of everything: a shift of a quarter of a pixel would be below these."""
    smooth = scene(*size).resize(size, Image.Resampling.BICUBIC, reducing_gap=1.0)
    data = file_of(smooth, quality=92)
    made, wanted = pixels(data, Preprocess(224, "fast"), resample), reference(data)
    assert psnr_db(made, wanted) > least_db
    for shifted in (np.roll(made, 1, 0), np.roll(made, 1, 1), np.roll(made, -1, 0), np.roll(made, -1, 1)):
        assert psnr_db(made, wanted) > psnr_db(shifted, wanted)


def test_a_ramp_shows_no_shift() -> None:
    """On slopes, whose filtering changes nothing, the fast way is where the reference is, to a tenth of a pixel."""
    for width, height in ((960, 480), (480, 960), (901, 451), (1801, 903)):
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        for along, turn in ((x, width), (y, height)):
            plane = 128 + 100 * np.sin(along / turn * 40)
            data = file_of(Image.fromarray(np.stack([plane] * 3, -1).astype(np.uint8)), quality=98)
            for resample in RESAMPLES:
                made = pixels(data, Preprocess(224, "fast"), resample).astype(float)
                assert np.abs(made - reference(data)).mean() < 0.8


@pytest.mark.parametrize(
    ("size", "way", "expected"),
    [
        ((640, 480), "fast", (240, 320)),
        ((640, 447), "fast", (447, 640)),
        ((641, 449), "fast", (225, 321)),
        ((896, 1000), "fast", (250, 224)),
        ((895, 1000), "fast", (500, 448)),
        ((1792, 1800), "fast", (225, 224)),
        ((1800, 1792), "near", (1792, 1800)),
        ((100, 100), "fast", (100, 100)),
    ],
)
def test_the_decoder_is_asked_for_the_smallest_cheap_scale(
    size: tuple[int, int], way: Any, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half, a quarter or an eighth, if that leaves enough; never five eighths, which are slow."""
    shapes = []

    def watched(*given: Any, **named: Any) -> Any:
        levels = decode(*given, **named)
        shapes.append(levels.shape[:2])
        return levels

    decode = simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", watched)
    pixels(file_of(Image.new("RGB", size, "red")), Preprocess(224, way))
    assert shapes == [expected]


def test_exact_asks_pillow_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference is not left to another decoder, however equal its results are today."""
    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("asked"))
    data = file_of(scene(300, 260))
    assert np.array_equal(pixels(data, Preprocess(224, "exact")), reference(data))


def odd_pictures() -> dict[str, bytes]:
    """A picture of each kind that is not simply a JPEG in three colours."""
    image = scene(301, 260)
    levels = np.asarray(image.convert("L")).astype(np.uint16) * 257
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    second = scene(301, 260, 9)
    alpha = image.copy()
    alpha.putalpha(image.convert("L"))
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "gray": file_of(image.convert("L")),
        "cmyk": file_of(image.convert("CMYK")),
        "progressive": file_of(image, progressive=True),
        "restarts": file_of(image, restart_marker_blocks=1),
        "4:4:4": file_of(image, subsampling=0),
        "turned": file_of(image, exif=exif),
        "png": file_of(image, "PNG"),
        "png, 16 bits": file_of(Image.fromarray(levels), "PNG"),
        "png, one bit": file_of(image.convert("1"), "PNG"),
        "png, palette": file_of(palette, "PNG"),
        "png, palette with a clear colour": file_of(palette, "PNG", transparency=3),
        "png, palette with levels of it": file_of(palette, "PNG", transparency=bytes(range(256))),
        "png, alpha": file_of(alpha, "PNG"),
        "png, grey with alpha": file_of(alpha.convert("LA"), "PNG"),
        "webp, alpha": file_of(alpha, "WEBP"),
        "gif, two frames": file_of(palette, "GIF", save_all=True, append_images=[second]),
        "webp, two frames": file_of(image, "WEBP", save_all=True, append_images=[second]),
        "tiff": file_of(image, "TIFF"),
        "tiff, alpha, packed": file_of(alpha, "TIFF", compression="tiff_lzw"),
        "bmp": file_of(image, "BMP"),
        "two jpegs in one": file_of(image, "MPO", save_all=True, append_images=[second]),
    }


ODD = odd_pictures()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ODD)
def test_odd_pictures(name: str, way: Any) -> None:
    """As the reference has them: alpha is dropped, the first frame counts, nothing is turned."""
    made, wanted = pixels(ODD[name], Preprocess(224, way)), reference(ODD[name])
    is_turbo = way != "exact" and ODD[name].startswith(b"\xff\xd8") and name != "cmyk"
    assert np.abs(made.astype(int) - wanted).max() <= (2 if is_turbo else 0)


def test_the_tag_that_turns_is_not_applied() -> None:
    """torchvision does not look at it: a picture that lies on its side is trained with as it lies."""
    assert reference(ODD["turned"]).shape == (224, 224, 3)
    assert np.array_equal(pixels(ODD["turned"]), pixels(file_of(scene(301, 260))))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"<html>moved</html>",
        bytes(1000),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        file_of(scene(90, 80), "PPM"),
        *(file_of(scene(90, 80), kind)[:-500] for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF")),
        file_of(scene(90, 80), progressive=True)[:-900],
    ],
)
def test_what_is_no_whole_picture_is_broken(data: bytes, way: Any) -> None:
    """Nothing, a page, a program, a format that is not ours, a file without its end."""
    assert not verdict(data, way)
    with pytest.raises(Broken):
        picture(data)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [(65500, 65500), (8001, 8000), (20000, 9000)])
def test_a_bomb_is_refused_by_its_header(
    size: tuple[int, int], way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever claims more pixels than the limit is not decoded, and costs no memory."""
    from PIL import ImageFile

    asked: list[str] = []
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: asked.append("turbo"))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: asked.append("pillow"))
    jpeg = claiming(file_of(scene(40, 30)), *size)
    png = bytearray(file_of(scene(40, 30), "PNG"))
    png[16:24] = struct.pack(">2L", *size)
    for data in (jpeg, bytes(png)):
        with pytest.raises(Broken):
            pixels(data, Preprocess(224, way))
    assert asked == []
    assert size[0] * size[1] > PIXEL_LIMIT


@pytest.mark.parametrize("path", MALFORMED, ids=lambda path: path.name)
def test_all_ways_refuse_the_same_files(path: Any) -> None:
    """Files that broke decoders: each gives a picture in all ways or in none."""
    data = path.read_bytes()
    assert len({verdict(data, way) for way in WAYS}) == 1


@pytest.mark.parametrize("seed", range(6))
def test_all_ways_refuse_the_same_spoilt_files(seed: int) -> None:
    """The same for drawn pictures that are cut or changed; of each kind of verdict there are some."""
    chosen, counted = random.Random(seed), {True: 0, False: 0}
    for progressive in (False, True):
        whole = file_of(scene(200, 150, seed), progressive=progressive)
        for _ in range(60):
            data = spoilt(whole, chosen)
            found = {verdict(data, way) for way in WAYS}
            assert len(found) == 1
            counted[found.pop()] += 1
    assert min(counted.values()) > 10


def test_what_libjpeg_warns_about_is_decoded_as_the_reference_does() -> None:
    """Bytes too many before the end, as in COCO: Pillow does not mind, so nobody does."""
    whole = file_of(scene(480, 460))
    data = whole[:-2] + b"\x11\x22" * 20 + whole[-2:]
    for way in WAYS:
        assert np.array_equal(pixels(data, Preprocess(224, way)), reference(data))


@pytest.mark.parametrize("way", WAYS)
def test_no_warning_leaves(way: Any) -> None:
    """Pillow warns of palettes and of large pictures; whatever filters a program sets, nothing is printed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ODD:
            pixels(ODD[name], Preprocess(32, way))
        verdict(claiming(file_of(scene(40, 30)), 12000, 9000), way)
        if MALFORMED:
            verdict(MALFORMED[0].read_bytes(), way)
    assert caught == []


def test_memory_that_runs_out_is_no_broken_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says nothing about the picture, so it is not recorded as one that is broken."""

    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(simplejpeg, "decode_jpeg", full)
    with pytest.raises(MemoryError):
        pixels(file_of(scene(40, 30)))


@pytest.mark.parametrize("size", [(1500, 10), (10, 1500), (300, 1), (1, 300), (1200, 290), (290, 1200)])
@pytest.mark.parametrize("way", WAYS)
def test_long_pictures(size: tuple[int, int], way: Any) -> None:
    """The middle of a very long picture is the reference's, although it is never made as long as that."""
    data = file_of(scene(*size), quality=90)
    made = pixels(data, Preprocess(224, way), by_pillow)
    assert np.abs(made.astype(int) - reference(data)).max() <= (0 if way == "exact" else 3)


def test_of_a_long_picture_the_crop_alone_is_made() -> None:
    """A resampling that begins at the corner would make thousands of columns that nobody sees."""
    asked: list[int] = []

    def watched(levels: Any, columns: int, *rest: Any) -> Any:
        asked.append(columns)
        return by_pillow(levels, columns, *rest)

    for width in (1000, 240, 241, 9000):
        pixels(file_of(Image.new("RGB", (width, 60))), Preprocess(224, "near"), watched)
    assert asked == [560]


def test_what_only_gigabytes_could_make_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the scaled picture would be above the limit of pixels, only the crop is made of it."""
    image = scene(900, 10)
    wanted = np.asarray(square(image, 224)).astype(int)
    monkeypatch.setattr(module, "PIXEL_LIMIT", 224 * int(224 * 900 / 10) - 1)
    monkeypatch.setattr(Image.Image, "crop", lambda *_: pytest.fail("all of it was made"))
    assert np.abs(np.asarray(square(image, 224)) - wanted).max() <= 2


def test_floats_are_the_reference() -> None:
    """All 256 levels of all channels, by the documented rule: x / 255, less the mean, by the deviation."""
    levels = np.stack([np.arange(256, dtype=np.uint8).reshape(16, 16)] * 3, -1)
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
    deviation = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    rule = (levels.astype(np.float32) / np.float32(255) - mean) / deviation
    made = floats(levels)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert np.array_equal(made, rule.transpose(2, 0, 1))


def by_torch_operators(levels: np.ndarray) -> np.ndarray:
    """ToTensor and Normalize, in the operators that torchvision uses."""
    import torch

    made = torch.from_numpy(levels.copy()).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    mean = torch.as_tensor((0.48145466, 0.4578275, 0.40821073), dtype=torch.float32).view(-1, 1, 1)
    deviation = torch.as_tensor((0.26862954, 0.26130258, 0.27577711), dtype=torch.float32).view(-1, 1, 1)
    return np.asarray(made.sub_(mean).div_(deviation))


@pytest.mark.parametrize("operators", [by_torch_operators] if HAS_TORCH else [])
def test_floats_are_those_of_torch(operators: Callable[[np.ndarray], np.ndarray]) -> None:
    """Bit by bit, on a picture with grain."""
    levels = pixels(file_of(scene(480, 460)))
    assert np.array_equal(floats(levels), operators(levels))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resample", RESAMPLES)
def test_into_a_batch(way: Any, resample: Any) -> None:
    """A place in a batch gets what `pixels` and `floats` give, and no place beside it is touched."""
    data, preprocess = file_of(scene(480, 460)), Preprocess(96, way)
    levels = pixels(data, preprocess, resample)
    whole, normalised = np.full((3, 3, 96, 96), 7, np.uint8), np.full((3, 3, 96, 96), 7, np.float32)
    into(data, whole[1], preprocess, resample)
    into(data, normalised[1], preprocess, resample)
    assert np.array_equal(whole[1], levels.transpose(2, 0, 1))
    assert np.array_equal(normalised[1], floats(levels))
    for batch in (whole, normalised):
        assert (batch[[0, 2]] == 7).all()


def test_a_broken_picture_leaves_its_place_alone() -> None:
    """So that the batch can be filled up with another."""
    for kind in (np.uint8, np.float32):
        place = np.full((3, 64, 64), 9, kind)
        with pytest.raises(Broken):
            into(file_of(scene(90, 80))[:-400], place, Preprocess(64))
        assert (place == 9).all()


@pytest.mark.parametrize(
    ("shape", "kind"), [((3, 64, 65), "uint8"), ((64, 64, 3), "uint8"), ((3, 64, 64), "float64")]
)
def test_a_place_of_another_shape_is_an_error_of_the_program(shape: tuple[int, ...], kind: str) -> None:
    """It is no broken picture."""
    with pytest.raises(ValueError, match="cannot take"):
        into(file_of(scene(90, 80)), np.empty(shape, kind), Preprocess(64))


def test_pixels_belong_to_the_caller() -> None:
    """They can be written to, lie in order, and the next picture does not change them."""
    for way in WAYS:
        for side in (64, 300):
            first = pixels(file_of(scene(side, side)), Preprocess(64, way), by_pillow)
            kept = first.copy()
            pixels(file_of(scene(side, side, 5)), Preprocess(64, way), by_pillow)
            assert np.array_equal(first, kept)
            assert first.flags.c_contiguous
            first[0, 0] = 1


def test_many_threads_see_their_own_pictures() -> None:
    """The memory that is decoded into belongs to a thread, for pictures of all sizes in any order."""
    chosen = random.Random(3)
    files = [file_of(scene(chosen.randrange(30, 700), chosen.randrange(30, 700), seed)) for seed in range(24)]
    alone = [pixels(data) for data in files]
    order = [chosen.randrange(24) for _ in range(240)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: pixels(files[number]), order))
    assert all(np.array_equal(one, alone[number]) for one, number in zip(made, order, strict=True))


def share_of_time_for_others(work: Callable[[], object]) -> float:
    """In how many of the milliseconds of `work`, which another thread does, this thread could run too."""
    began, seen, span = threading.Event(), set(), [0.0, 0.0]

    def other() -> None:
        began.set()
        span[0] = time.perf_counter()
        work()
        span[1] = time.perf_counter()

    thread = threading.Thread(target=other)
    thread.start()
    began.wait()
    while not span[1]:
        seen.add(int(time.perf_counter() * 1000))
    thread.join()
    first, last = int(span[0] * 1000) + 1, int(span[1] * 1000)
    return sum(number in seen for number in range(first, last)) / max(last - first, 1)


@pytest.mark.parametrize("way", WAYS)
def test_other_threads_run_meanwhile(way: Any) -> None:
    """Decoding and resampling do not hold the interpreter: others run as beside a digest, which lets it go.

    Beside a digest and not at all times, because the machine may have other things to do.
    """
    data, much, kept = file_of(scene(2400, 1800), quality=95), bytes(80_000_000), sys.getswitchinterval()
    ours: list[float] = []
    digests: list[float] = []
    sys.setswitchinterval(1e-4)
    try:
        for _ in range(5):
            ours.append(share_of_time_for_others(lambda: pixels(data, Preprocess(1000, way))))
            digests.append(share_of_time_for_others(lambda: hashlib.sha256(much)))
    finally:
        sys.setswitchinterval(kept)
    assert sum(ours) > 0.6 * sum(digests)


def test_a_picture_as_a_whole() -> None:
    """For transforms of the user's own: all pixels, in three colours, decoded."""
    made = picture(ODD["cmyk"])
    assert (made.mode, made.size) == ("RGB", (301, 260))
    assert np.array_equal(np.asarray(square(made, 224)), reference(ODD["cmyk"]))
    assert picture(file_of(scene(30, 20), "PNG")).size == (30, 20)


def test_preprocess_is_a_value() -> None:
    """It is compared, hashed and sent to other processes; what cannot be is refused at once."""
    assert Preprocess() == Preprocess(224, "near") == pickle.loads(pickle.dumps(Preprocess()))
    assert len({Preprocess(), Preprocess(224), Preprocess(225)}) == 2
    with pytest.raises(ValueError, match="no size"):
        Preprocess(0)
    with pytest.raises(ValueError, match="none of fast, near, exact"):
        Preprocess(224, "quick")  # type: ignore[arg-type]


def test_a_broken_picture_can_be_sent_to_another_process() -> None:
    """Workers may be processes: the reason comes through."""
    assert pickle.loads(pickle.dumps(Broken("cut"))).reason == "cut"


def test_nothing_heavy_is_imported_with_it() -> None:
    """The module costs nothing until the first picture."""
    program = "import sys, g3m.adapters.pixels; print([m for m in ('numpy', 'PIL', 'simplejpeg') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
