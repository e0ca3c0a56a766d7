"""adapters/redraw.py: the size that was asked, the picture that was there, and never more than that."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from tests.realdata import REAL

from g3m.adapters.redraw import NotDrawn, redraw
from g3m.core.structure import look
from g3m.core.treatment import CLASSES, PIXEL_LIMIT, Resize

RED, WHITE = (255, 0, 0), (255, 255, 255)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
REAL_PICTURES = sorted((REAL / "coco_mini").glob("*/*.jpg"))[:24]
MALFORMED = sorted(path for path in (REAL / "malformed").rglob("*") if path.is_file())

# Against a full decode and Lanczos, both encoded at 95: what is stated in docs/guides/resizing.md.
LEAST_PSNR_DB, LEAST_SSIM = 34.0, 0.974
MEDIAN_PSNR_DB, MEDIAN_BRIGHT_DB, MEDIAN_SSIM = 37.5, 39.5, 0.987
LUMA = np.array([0.299, 0.587, 0.114])


def scene(width: int, height: int, seed: int = 1) -> Image.Image:
    """Slopes, edges and grain of every size, so that a wrong filter shows."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    grain = np.random.default_rng(seed)
    planes = []
    for channel in range(3):
        waves = sum(
            np.sin((x * np.cos(a) + y * np.sin(a)) / s) for a, s in ((0.3 + channel, 40), (1.2, 11), (2.1, 5))
        )
        plane = 128 + 30 * waves + grain.normal(0, 6, (height, width))
        plane[(x - width / 3) ** 2 + (y - height / 2) ** 2 < (height / 5) ** 2] += 60 - 40 * channel
        planes.append(plane)
    return Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))


def file_of(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def opened(data: bytes | None) -> Image.Image:
    assert data is not None, "nothing was changed"
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    image.load()
    return image


_DRAW = """
import hashlib, sys
from g3m.adapters.redraw import redraw
from g3m.core.treatment import Resize
data = sys.stdin.buffer.read()
print([hashlib.sha256(redraw(data, resize=Resize(size=side))).hexdigest() for side in (223, 224, 256, 337)])
"""


def test_a_picture_with_odd_sides_is_the_same_bytes_whatever_lies_in_memory() -> None:
    """Nothing that stands behind the picture in memory comes into a shard."""
    data = file_of(scene(640, 855), subsampling=2, quality=90)
    made = {
        subprocess.run(
            [sys.executable, "-c", _DRAW],
            input=data,
            env={**os.environ, "PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": filled},
            capture_output=True,
            check=True,
        ).stdout
        for filled in ("1", "90", "200")
    }
    assert len(made) == 1


def oriented(image: Image.Image, tag: int, kind: str = "JPEG", **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = tag
    exif[0x010F] = "a camera"
    return file_of(image, kind, exif=exif.tobytes(), **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(head: bytes, rows: bytes) -> bytes:
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def numbers(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.float64)


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(((one - other) ** 2).mean(), 1e-9)))


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of the luma, over windows of 8 x 8 pixels."""
    a, b = (plane @ np.array([0.299, 0.587, 0.114]) for plane in (one, other))

    def mean(plane: np.ndarray) -> np.ndarray:
        sums = np.cumsum(np.cumsum(np.pad(plane, ((1, 0), (1, 0))), 0), 1)
        return (sums[8:, 8:] - sums[:-8, 8:] - sums[8:, :-8] + sums[:-8, :-8]) / 64

    mean_a, mean_b = mean(a), mean(b)
    spread = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    shared = mean(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + 6.5025) * (2 * shared + 58.5225)
    return float((top / ((mean_a**2 + mean_b**2 + 6.5025) * (spread + 58.5225))).mean())


def full_way(data: bytes, size: tuple[int, int], quality: int = 95) -> bytes:
    """What a full decode and Lanczos give."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    return file_of(image.resize(size, Image.Resampling.LANCZOS), quality=quality)


@pytest.mark.parametrize(
    ("size", "mode", "side", "wanted"),
    [
        ((640, 480), "keep_ratio", 256, (341, 256)),
        ((480, 640), "keep_ratio", 256, (256, 341)),
        ((640, 480), "keep_ratio", 480, None),
        ((640, 480), "keep_ratio", 481, None),
        ((640, 480), "keep_ratio_largest", 256, (256, 192)),
        ((640, 480), "keep_ratio_largest", 640, None),
        ((2000, 2), "keep_ratio_largest", 100, (100, 1)),
        ((640, 480), "center_crop", 256, (256, 256)),
        ((64, 48), "center_crop", 100, (100, 100)),
        ((256, 256), "center_crop", 256, None),
        ((640, 480), "border", 256, (256, 256)),
        ((64, 48), "border", 100, (100, 100)),
        ((256, 256), "border", 256, None),
    ],
)
def test_each_mode_gives_its_size_or_nothing(
    size: tuple[int, int], mode: str, side: int, wanted: tuple[int, int] | None
) -> None:
    """keep_ratio never enlarges, the square modes always fill the square, and the wanted size stays as it is."""
    for kind in ("JPEG", "PNG"):
        data = file_of(Image.new("RGB", size, RED), kind)
        made = redraw(data, resize=Resize(size=side, mode=mode))  # type: ignore[arg-type]
        assert (None if made is None else opened(made).size) == wanted


@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.integers(1, 300),
    st.sampled_from(["keep_ratio", "keep_ratio_largest", "center_crop", "border"]),
)
def test_any_size_comes_out_as_promised(width: int, height: int, side: int, mode: str) -> None:
    """For every shape the named side has exactly the asked pixels, and the other keeps the ratio to half a pixel."""
    data = file_of(Image.new("L", (width, height), 90), "BMP")
    made = redraw(data, resize=Resize(size=side, mode=mode))  # type: ignore[arg-type]
    if made is None:
        named = {"keep_ratio": min, "keep_ratio_largest": max}.get(mode)
        assert (named((width, height)) <= side) if named else (width == height == side)
        return
    size = opened(made).size
    if mode in ("center_crop", "border"):
        assert size == (side, side)
        return
    named = min if mode == "keep_ratio" else max
    assert size[(width, height).index(named(width, height))] == side
    factor = side / named(width, height)
    assert all(abs(new - max(old * factor, 1)) <= 0.5 for new, old in zip(size, (width, height), strict=True))


def test_the_crop_is_the_middle_and_the_border_is_white() -> None:
    """center_crop takes the middle of the longer side; border shows all of the picture between white bars."""
    wide = Image.new("RGB", (900, 300), (0, 0, 255))
    wide.paste(RED, (300, 0, 600, 300))
    cropped = numbers(opened(redraw(file_of(wide), resize=Resize(size=100, mode="center_crop"))))
    assert np.abs(cropped[:, 3:-3] - RED).max() < 12
    bordered = numbers(opened(redraw(file_of(wide), resize=Resize(size=90, mode="border"))))
    assert np.abs(bordered[:24] - WHITE).max() < 12
    assert np.abs(bordered[-24:] - WHITE).max() < 12
    assert np.abs(bordered[36:54, 36:54] - RED).max() < 12
    assert np.abs(bordered[36:54, 4:20] - (0, 0, 255)).max() < 12


@pytest.mark.parametrize("mode", ["keep_ratio", "center_crop", "border"])
@pytest.mark.parametrize("times", [1.2, 1.5, 2.1, 3.05, 4.2, 6.4, 12.1, 24.5])
def test_scaled_decoding_does_not_show(mode: str, times: float) -> None:
    """At every ratio the result is as close to a full decode and Lanczos as docs/guides/resizing.md says."""
    data = file_of(scene(1613, 1201), quality=92)
    side = int((1613 if mode == "border" else 1201) / times)
    made = numbers(opened(redraw(data, resize=Resize(size=side, mode=mode))))  # type: ignore[arg-type]
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    if mode == "keep_ratio":
        plain = whole.resize((made.shape[1], made.shape[0]), Image.Resampling.LANCZOS)
    elif mode == "center_crop":
        plain = whole.resize((side, side), Image.Resampling.LANCZOS, box=(206, 0, 1407, 1201))
    else:
        plain = Image.new("RGB", (side, side), WHITE)
        height = (2 * 1201 * side + 1613) // (2 * 1613)
        plain.paste(whole.resize((side, height), Image.Resampling.LANCZOS), (0, (side - height) // 2))
    reference = numbers(opened(file_of(plain, quality=95)))
    assert psnr_db(made, reference) >= LEAST_PSNR_DB
    assert ssim(made, reference) >= LEAST_SSIM


def test_photos_come_out_as_stated(photos: list[bytes]) -> None:
    """Photographs, and collages of up to nine, are as close to a full decode and Lanczos as the guide says."""
    found = []
    for data in photos:
        for side in (128, 256):
            made = redraw(data, resize=Resize(size=side))
            if made is not None:
                image = opened(made)
                one, other = numbers(image), numbers(opened(full_way(data, image.size)))
                bright = psnr_db(one @ LUMA, other @ LUMA)
                found.append((psnr_db(one, other), bright, ssim(one, other)))
    assert len(found) >= 4
    least, median = np.min(found, axis=0), np.median(found, axis=0)
    assert least[0] >= LEAST_PSNR_DB - 3
    assert least[2] >= LEAST_SSIM - 0.004
    assert median[0] >= MEDIAN_PSNR_DB
    assert median[1] >= MEDIAN_BRIGHT_DB, "a wider or a narrower filter"
    assert median[2] >= MEDIAN_SSIM


@pytest.mark.parametrize("size", [(300, 200), (301, 201), (303, 200), (301, 200)])
@pytest.mark.parametrize("side", [99, 100, 133])
def test_colours_stay_where_they_are(size: tuple[int, int], side: int) -> None:
    """Half-resolution colours of odd sizes are not shifted: an edge of colour lies as in a full decode."""
    image = Image.new("RGB", size, (200, 40, 40))
    image.paste((40, 40, 200), (size[0] // 2, 0, *size))
    data = file_of(image, quality=95, subsampling=0)
    made = opened(redraw(data, resize=Resize(size=side)))
    reference = numbers(opened(full_way(data, made.size)))
    assert psnr_db(numbers(made)[:, :, [0, 2]], reference[:, :, [0, 2]]) >= 30


def test_a_profile_of_many_pieces_and_a_tag_are_kept_together() -> None:
    """A small picture has its orientation and every byte of a profile that needs several segments."""
    profile = ICC + random.Random(1).randbytes(150_000)
    made = redraw(oriented(scene(120, 90), 6, icc_profile=profile), resize=Resize(size=40))
    assert opened(made).info["icc_profile"] == profile
    assert look(made or b"").orientation == 6
    assert look(made or b"").classes == ("orientation",)


def test_colours_stored_as_red_green_blue_are_not_mistaken() -> None:
    """A JPEG without brightness and colours apart, as its Adobe marker says, comes out in the same colours."""
    data = file_of(Image.new("RGB", (90, 60), RED), quality=95, keep_rgb=True)
    made = numbers(opened(redraw(data, resize=Resize(size=30))))
    assert np.abs(made - RED).max() < 12


def test_a_thousand_mutants_never_escape(photos: list[bytes]) -> None:
    """Damaged photographs give a picture of the asked size or NotDrawn, nothing else."""
    chosen = random.Random(7)
    whole = [data for data in photos if look(data).width < 700][:8]
    for number in range(1000):
        damaged = bytearray(whole[number % len(whole)])
        for _ in range(chosen.randint(1, 8)):
            span = 700 if number % 2 else len(damaged)  # every other time in the header and its tables
            damaged[chosen.randrange(2, span)] = chosen.randrange(256)
        if number % 5 == 0:
            del damaged[chosen.randrange(len(damaged) // 2, len(damaged)) :]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                made = redraw(bytes(damaged), resize=Resize(size=48))
            except NotDrawn as error:
                assert error.finding in CLASSES
            else:
                assert made is None or min(look(made).width, look(made).height) == 48


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Real photographs where this machine has them, drawn scenes beside them, and a collage of each."""
    photos = [path.read_bytes() for path in REAL_PICTURES] + [
        file_of(scene(640, 480, n), quality=92) for n in range(3)
    ]
    collages = []
    for start in range(0, len(photos) - 2, 3):
        for across in (2, 3):
            canvas = Image.new("RGB", (600 * across, 440 * across))
            for place in range(across * across):
                one = Image.open(io.BytesIO(photos[(start + place) % len(photos)])).convert("RGB")
                canvas.paste(
                    one.resize((640, 480)).crop((0, 0, 600, 440)),
                    (place % across * 600, place // across * 440),
                )
            collages.append(file_of(canvas, quality=90))
    return photos + collages


def test_small_pictures_are_decoded_small() -> None:
    """A JPEG of twelve megapixels is never decoded whole to become a thumbnail."""
    data = file_of(scene(400, 300).resize((4000, 3000)), quality=80)
    # Not getrusage: its peak counts what the parent of the process held.
    code = (
        "import re, sys, simplejpeg; from g3m.adapters import redraw; from g3m.core.treatment import Resize;"
        "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) * 1024;"
        "data = sys.stdin.buffer.read(); redraw.load_pillow(); before = peak();"
        "redraw.redraw(data, resize=Resize(size=200)); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert int(done.stdout) < 4000 * 3000 * 3 // 2


def test_nothing_asked_changes_nothing() -> None:
    """Without a reason no picture is encoded anew: JPEG, PNG, gray or turned."""
    upright, gray = scene(60, 40), scene(60, 40).convert("L")
    for data in (file_of(upright), file_of(upright, "PNG"), file_of(gray), oriented(upright, 6)):
        assert redraw(data) is None
    assert redraw(file_of(upright), turn=True, rgb=True, jpeg=True) is None
    assert redraw(oriented(upright, 1), turn=True) is None
    assert redraw(file_of(upright, "PNG"), jpeg=True) is not None


@pytest.mark.parametrize("tag", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_turning_sets_upright_and_resizing_alone_keeps_the_tag(tag: int, kind: str) -> None:
    """What a viewer shows stays the same: either the pixels are turned, or the tag says that they are not."""
    corner = Image.new("RGB", (96, 64), WHITE)
    corner.paste(RED, (0, 0, 48, 32))
    corner.paste((0, 0, 255), (48, 0, 96, 32))
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    data = oriented(corner.transpose(back[tag]), tag, kind)
    turned = redraw(data, turn=True)
    assert look(turned or b"").orientation == 1
    assert b"camera" not in (turned or b"")
    shown = numbers(opened(turned))
    assert shown.shape == (64, 96, 3)
    for place, colour in (((8, 8), RED), ((8, 88), (0, 0, 255)), ((56, 8), WHITE), ((56, 88), WHITE)):
        assert np.abs(shown[place] - colour).max() < 40
    smaller = redraw(data, resize=Resize(size=32))
    assert look(smaller or b"").orientation == tag
    assert b"camera" not in (smaller or b"")
    both = redraw(data, resize=Resize(size=32), turn=True)
    assert opened(both).size == (48, 32)
    assert look(both or b"").orientation == 1


def test_gray_stays_gray_unless_colours_are_asked() -> None:
    """One channel in, one channel out; with rgb three equal ones."""
    gray = scene(120, 80).convert("L")
    for data in (file_of(gray), file_of(gray, "PNG"), file_of(gray.convert("LA"), "PNG")):
        assert opened(redraw(data, resize=Resize(size=40))).mode == "L"
        colours = redraw(data, resize=Resize(size=40), rgb=True)
        assert opened(colours).mode == "RGB"
        assert np.ptp(numbers(opened(colours)), axis=2).max() <= 3
    assert opened(redraw(file_of(gray), rgb=True)).size == gray.size


@pytest.mark.parametrize("mode", ["keep_ratio", "center_crop", "border"])
def test_print_colours_stay_unless_rgb_is_asked(mode: str) -> None:
    """A CMYK JPEG is scaled as CMYK and looks the same; with rgb it becomes a plain JPEG of the same look."""
    blue = Image.new("CMYK", (200, 100), (255, 128, 0, 0))
    data = file_of(blue, quality=95)
    scaled = opened(redraw(data, resize=Resize(size=50, mode=mode)))  # type: ignore[arg-type]
    assert scaled.mode == "CMYK"
    assert np.abs(numbers(scaled)[25, 25] - (0, 127, 255)).max() < 12
    if mode == "border":
        assert np.abs(numbers(scaled)[2, 2] - WHITE).max() < 12
    plain = opened(redraw(data, resize=Resize(size=50, mode=mode), rgb=True))  # type: ignore[arg-type]
    assert plain.mode == "RGB"
    assert np.abs(numbers(plain)[25, 25] - (0, 127, 255)).max() < 12


def test_sixteen_bits_keep_their_slope() -> None:
    """A 16-bit gray PNG is scaled down to 8 bits, not cut off at 255."""
    rows = b"".join(b"\0" + b"".join(struct.pack(">H", x * 257) for x in range(256)) for _ in range(64))
    made = opened(redraw(png(struct.pack(">2L5B", 256, 64, 16, 0, 0, 0, 0), rows), jpeg=True))
    assert made.mode == "L"
    assert np.abs(np.asarray(made, dtype=int)[32] - np.arange(256)).max() <= 4
    colour = b"".join(b"\0" + struct.pack(">3H", 65535, 32896, 0) * 32 for _ in range(32))
    made = opened(redraw(png(struct.pack(">2L5B", 32, 32, 16, 2, 0, 0, 0), colour), jpeg=True))
    assert np.abs(numbers(made) - (255, 128, 0)).max() < 8


def test_what_is_transparent_becomes_white() -> None:
    """Alpha, a transparent colour and a transparent palette entry all show white, and half shows half."""
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    half = Image.new("RGBA", (64, 64), (0, 0, 0, 128))
    palette = Image.new("P", (64, 64), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    gray = Image.new("LA", (64, 64), (0, 0))
    cases = [
        (file_of(clear, "PNG"), WHITE),
        (file_of(clear, "WEBP", lossless=True), WHITE),
        (file_of(half, "PNG"), (127, 127, 127)),
        (file_of(palette, "PNG", transparency=1), WHITE),
        (file_of(palette, "GIF", transparency=1), WHITE),
        (file_of(palette, "GIF"), (0, 0, 255)),
        (file_of(gray, "PNG"), WHITE),
        (file_of(Image.new("RGB", (64, 64), RED), "PNG", transparency=RED), WHITE),
        (file_of(Image.new("L", (64, 64), 7), "PNG", transparency=7), WHITE),
    ]
    for data, colour in cases:
        for made in (redraw(data, jpeg=True), redraw(data, resize=Resize(size=32))):
            assert np.abs(numbers(opened(made)) - colour).max() < 6
    edge = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
    edge.paste((255, 0, 0, 255), (0, 0, 32, 64))
    shown = numbers(opened(redraw(file_of(edge, "PNG"), resize=Resize(size=16), quality=100)))
    assert shown[:, :, 2].max() - shown[:, :, 1].min() >= 0
    assert shown[8, 14, 1] > 240, "the hidden green must not shine through"
    assert (shown[:, :, 1] - shown[:, :, 2]).max() < 40


def test_the_first_frame_counts() -> None:
    """An animation becomes its first picture."""
    frames = [Image.new("RGB", (50, 50), colour) for colour in (RED, (0, 255, 0))]
    for kind in ("GIF", "WEBP", "PNG"):
        data = file_of(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(numbers(opened(redraw(data, jpeg=True))) - RED).max() < 12


def test_a_profile_stays_where_it_fits_and_goes_where_it_does_not() -> None:
    """The ICC profile of an RGB picture is kept byte for byte; one of other colours is dropped, not passed on."""
    picture = scene(80, 60)
    kept = opened(redraw(file_of(picture, icc_profile=ICC), resize=Resize(size=30)))
    assert kept.info.get("icc_profile") == ICC
    assert (
        "icc_profile"
        not in opened(redraw(file_of(picture.convert("L"), icc_profile=ICC), resize=Resize(size=30))).info
    )
    gray = ICC[:16] + b"GRAY" + ICC[20:]
    assert (
        "icc_profile" not in opened(redraw(file_of(picture, icc_profile=gray), resize=Resize(size=30))).info
    )
    huge = file_of(picture, icc_profile=ICC + bytes(3_000_000))
    assert "icc_profile" not in opened(redraw(huge, resize=Resize(size=30))).info
    broken = redraw(file_of(picture.convert("L"), icc_profile=gray), rgb=True)
    assert opened(broken).mode == "RGB"
    assert "icc_profile" not in opened(broken).info


def gray_profile(gamma: float) -> bytes:
    """An ICC profile of one channel with this slope."""

    def text(kind: bytes, words: bytes) -> bytes:
        return kind + bytes(4) + words

    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = [
        (b"desc", text(b"desc", struct.pack(">I", 2) + b"g\0" + bytes(78))),
        (b"cprt", text(b"text", b"none\0")),
        (b"wtpt", white),
        (b"kTRC", b"curv" + bytes(4) + struct.pack(">IH", 1, int(gamma * 256))),
    ]
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name + struct.pack(">2I", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


def test_what_becomes_rgb_goes_through_its_profile() -> None:
    """A linear gray of 128 is a light one in sRGB; without a profile, or with a broken one, numbers stay."""
    gray = Image.new("L", (40, 30), 128)
    linear, broken = gray_profile(1.0), gray_profile(1.0)[:160]
    for profile, value in ((linear, 188), (broken, 128), (b"", 128)):
        made = opened(redraw(file_of(gray, icc_profile=profile), rgb=True))
        assert np.abs(numbers(made) - value).max() <= 2
        assert "icc_profile" not in made.info
    kept = opened(redraw(file_of(gray, icc_profile=linear), resize=Resize(size=20)))
    assert kept.info.get("icc_profile") == linear


def test_nothing_else_is_carried_over() -> None:
    """Camera, place, comment and thumbnail stay behind."""
    data = oriented(scene(80, 60), 1, comment=b"a secret place")
    made = redraw(data, resize=Resize(size=30)) or b""
    assert b"secret" not in made
    assert b"camera" not in made
    assert b"Exif" not in made


def test_the_same_bytes_come_out_again() -> None:
    """Twice, and in another process, the result is the same to the byte; the quality decides its size."""
    data = file_of(scene(300, 200), quality=90)
    made = redraw(data, resize=Resize(size=100))
    assert made == redraw(data, resize=Resize(size=100))
    code = "import sys; from g3m.adapters.redraw import redraw; from g3m.core.treatment import Resize;"
    code += "sys.stdout.buffer.write(redraw(sys.stdin.buffer.read(), resize=Resize(size=100)))"
    elsewhere = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert elsewhere.stdout == made
    assert len(redraw(data, resize=Resize(size=100, quality=40)) or b"") < len(made or b"") / 2
    turned = oriented(scene(300, 200), 3)
    assert len(redraw(turned, turn=True, quality=30) or b"") < len(redraw(turned, turn=True) or b"") / 2


def test_bombs_are_refused_before_pillow_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The header alone decides: nothing is decoded, not even opened."""
    monkeypatch.setattr("g3m.adapters.redraw.load_pillow", lambda: pytest.fail("opened"))
    side = int(PIXEL_LIMIT**0.5) + 1
    data = png(struct.pack(">2L5B", side, side, 8, 2, 0, 0, 0), b"")
    with pytest.raises(NotDrawn) as caught:
        redraw(data, resize=Resize(size=10))
    assert caught.value.finding == "bomb"


def test_a_frame_that_is_larger_than_its_screen_is_refused_too() -> None:
    """Two parsers may read a size from two places; both must be small."""
    data = bytearray(file_of(Image.new("P", (4, 4)), "GIF"))
    at = data.rindex(b",\0\0\0\0")
    data[at + 5 : at + 9] = struct.pack("<2H", 9000, 9000)
    assert (look(bytes(data)).width, look(bytes(data)).height) == (4, 4)
    with pytest.raises(NotDrawn) as caught:
        redraw(bytes(data), resize=Resize(size=10))
    assert caught.value.finding == "bomb"


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        (b"", "not_an_image"),
        (b"<html>no picture</html>", "not_an_image"),
        (file_of(scene(200, 150))[:4000], "truncated"),
        (file_of(scene(200, 150), "PNG")[:4000], "truncated"),
        (file_of(scene(200, 150), "WEBP")[:2000], "truncated"),
        (b"II*\0" + bytes(60), "broken"),
        (file_of(scene(20, 15))[:30] + bytes(100) + b"\xff\xd9", "broken"),
    ],
    ids=["empty", "page", "jpeg", "png", "webp", "tiff", "nonsense"],
)
def test_what_cannot_be_decoded_says_why(data: bytes, finding: str) -> None:
    """Half a picture never becomes a whole small one."""
    with pytest.raises(NotDrawn) as caught:
        redraw(data, resize=Resize(size=10))
    assert caught.value.finding == finding


@pytest.mark.parametrize(
    "data", [path.read_bytes() for path in MALFORMED[::4]], ids=lambda data: str(len(data))
)
def test_real_malformed_files_end_in_a_picture_or_a_class(data: bytes) -> None:
    """Whatever lies in the corpora: a JPEG of the asked size, or a class that people know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the guard's worker does so too
        try:
            made = redraw(data, resize=Resize(size=16, mode="border"), turn=True, rgb=True, jpeg=True)
        except NotDrawn as error:
            assert error.finding in CLASSES
            return
    if made is None:  # its header says that it is so already; whether it decodes is asked elsewhere
        return
    image = opened(made)
    assert (image.size, image.mode) == ((16, 16), "RGB")


def test_random_damage_never_escapes() -> None:
    """Flipped bytes give a picture or NotDrawn, nothing else."""
    chosen = random.Random(11)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        whole = file_of(scene(64, 48), kind)
        for _ in range(25):
            damaged = bytearray(whole)
            for _ in range(chosen.randint(1, 6)):
                damaged[chosen.randrange(12, len(damaged))] = chosen.randrange(256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    redraw(bytes(damaged), resize=Resize(size=20), turn=True, rgb=True)
                except NotDrawn as error:
                    assert error.finding in CLASSES
