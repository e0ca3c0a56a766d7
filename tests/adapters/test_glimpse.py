"""adapters/glimpse.py: hashes that copies share and other pictures do not, thumbnails of what is there, nothing else."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from tests.adapters.test_image import COLLECTION, GENERATED
from tests.adapters.test_redraw import file_of, scene
from tests.realdata import REAL

from g3m.adapters.glimpse import Glimpse, NotSeen, glimpse, grey, thumbnail
from g3m.adapters.guard import Guard, GuardFailure
from g3m.adapters.image import judge
from g3m.core.alike import (
    BOTH_LIMIT,
    CORRELATION,
    ROWS_LIMIT,
    correlation,
    hamming,
    is_flat,
    pack_columns,
    pack_rows,
)
from g3m.core.structure import look
from g3m.core.treatment import CLASSES, PIXEL_LIMIT

REAL_PICTURES = sorted((REAL / "coco_mini").glob("*/*.jpg"))[:40]
COLLECTION_FILES = {name: path.read_bytes() for name, path in COLLECTION.items()}
PHOTOS = [scene(640, 480, seed) for seed in (1, 2)] + [scene(333, 517, 7)]
SAMPLES = {f"drawn {number}": file_of(image, quality=95) for number, image in enumerate(PHOTOS)} | {
    path.stem: path.read_bytes() for path in REAL_PICTURES[:12]
}


@pytest.fixture(scope="module")
def guard() -> Iterator[Guard]:
    with Guard(1) as made:
        yield made


def bits(one: Glimpse, other: Glimpse) -> tuple[int, int]:
    rows = hamming(one.rows, other.rows)
    return rows, rows + hamming(one.columns, other.columns)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def copies(image: Image.Image) -> dict[str, bytes]:
    """Files that show the same picture."""
    plain = image.convert("RGB")
    return {
        "again": file_of(plain, quality=75),
        "poor": file_of(plain, quality=30),
        "progressive": file_of(plain, quality=90, progressive=True),
        "png": file_of(plain, "PNG"),
        "webp": file_of(plain, "WEBP", quality=80),
        "half": file_of(
            plain.resize((plain.width // 2, plain.height // 2), Image.Resampling.LANCZOS), quality=85
        ),
        "256": file_of(plain.resize((256, 256), Image.Resampling.BICUBIC), quality=85),
        "twice": file_of(
            plain.resize((plain.width * 2, plain.height * 2), Image.Resampling.BICUBIC), quality=85
        ),
        "grey": file_of(plain.convert("L"), quality=90),
        "darker": file_of(plain.point(lambda level: int(level * 0.85)), quality=90),
        "four fifths": file_of(
            plain.resize((plain.width * 4 // 5, plain.height * 4 // 5)).point(
                lambda level: int(level * 1.05)
            ),
            quality=70,
        ),
    }


# --- hashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_copies_of_a_picture_are_near(name: str) -> None:
    """Encoded anew in any format, scaled, in grey or darker, a picture stays within the limits of both hashes."""
    original = SAMPLES[name]
    first = glimpse(original)
    assert (first.width, first.height) == opened(original).size
    for kind, data in copies(opened(original)).items():
        rows, both = bits(first, glimpse(data))
        assert rows <= ROWS_LIMIT, kind
        assert both <= BOTH_LIMIT, kind
        assert correlation(grey(original), grey(data)) >= CORRELATION, kind


@pytest.mark.parametrize("seed", range(3))
def test_grain_does_not_refute_a_faint_picture(seed: int) -> None:
    """Of little contrast and much grain, four fifths as large, brighter and compressed by more: the same picture."""
    grain = Image.frombytes("L", (120, 90), random.Random(seed).randbytes(120 * 90)).resize((360, 270))
    faint = Image.blend(Image.new("L", (360, 270), 100), grain, 0.1)
    for left, top in ((40, 30), (200, 150)):
        faint.paste(96, (left, top, left + 110, top + 90))
    brighter = faint.resize((288, 216)).point(lambda level: int(level * 1.05))
    value = correlation(grey(file_of(faint, quality=90)), grey(file_of(brighter, quality=70)))
    assert value > 0.965


def test_different_pictures_are_far_apart() -> None:
    """No two of the pictures here are near, neither by hash nor by correlation."""
    files = [file_of(PHOTOS[0]), file_of(PHOTOS[2])] + [path.read_bytes() for path in REAL_PICTURES]
    seen = [(glimpse(data), grey(data)) for data in files]
    for (one, one_grey), (other, other_grey) in itertools.combinations(seen, 2):
        if bits(one, other)[1] <= BOTH_LIMIT:
            assert correlation(one_grey, other_grey) < CORRELATION
        assert bits(one, other)[1] > 20


def test_a_mirrored_picture_is_another_one() -> None:
    """A hash says where the light is, so that a mirrored copy is far away."""
    one, other = (
        glimpse(file_of(image)) for image in (PHOTOS[2], PHOTOS[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    )
    assert bits(one, other)[1] > BOTH_LIMIT


@pytest.mark.parametrize("size", [(641, 479), (313, 640), (500, 500), (257, 65), (40, 33)])
def test_a_size_that_is_no_multiple_of_eight_shifts_nothing(size: tuple[int, int]) -> None:
    """What a JPEG decoder makes smaller has the hash of what is made smaller from all pixels."""
    image = scene(*size, seed=5)
    rows, both = bits(glimpse(file_of(image, quality=98)), glimpse(file_of(image, "PNG")))
    assert rows <= 3
    assert both <= 6
    assert correlation(grey(file_of(image, quality=98)), grey(file_of(image, "PNG"))) > 0.99


def test_a_hash_is_that_of_the_plain_definition() -> None:
    """A lossless picture has the dHash of its grey version, squeezed by Lanczos: no step in between."""
    image = PHOTOS[0].convert("L")
    found = glimpse(file_of(image, "PNG"))
    lanczos = Image.Resampling.LANCZOS
    assert found.rows == pack_rows(image.resize((9, 8), lanczos).tobytes())
    assert found.columns == pack_columns(image.resize((8, 9), lanczos).tobytes())
    assert not is_flat(found.rows, found.columns)


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (64, 64), (255, 255, 255)),
        Image.new("L", (300, 200), 7),
        Image.linear_gradient("L"),
        Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90),
        Image.new("RGB", (1, 1)),
    ],
    ids=["white", "dark", "slope", "turned slope", "one pixel"],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_flat_pictures_have_no_hash(image: Image.Image, kind: str) -> None:
    """One tone and one slope would be alike everywhere, so both halves are 0; size and classes are told all the same."""
    found = glimpse(file_of(image, kind))
    assert (found.rows, found.columns) == (0, 0)
    assert (found.width, found.height) == image.size
    assert found.is_sure


def test_an_orientation_is_not_applied() -> None:
    """The hash is of the pixels as they are stored, which is what loaders train with."""
    tagged = Image.Exif()
    tagged[0x0112] = 6
    plain, turned = file_of(PHOTOS[0]), file_of(PHOTOS[0], exif=tagged.tobytes())
    assert bits(glimpse(plain), glimpse(turned)) == (0, 0)
    assert "orientation" in glimpse(turned).classes
    assert opened(thumbnail(turned)).size == opened(thumbnail(plain)).size


def test_what_is_transparent_lies_on_white() -> None:
    """A picture on a transparent ground has the hash of the same on white, whatever colour is hidden there."""
    mask = Image.new("L", (200, 160), 0)
    mask.paste(255, (30, 20, 150, 110))
    inside = scene(200, 160, 4)
    hidden = Image.composite(inside, Image.new("RGB", inside.size, (255, 0, 255)), mask)
    hidden.putalpha(mask)
    on_white = Image.composite(inside, Image.new("RGB", inside.size, (255, 255, 255)), mask)
    assert bits(glimpse(file_of(hidden, "PNG")), glimpse(file_of(on_white, "PNG"))) == (0, 0)
    corner = opened(thumbnail(file_of(hidden, "PNG"))).getpixel((2, 2))
    assert min(corner) > 245  # type: ignore[type-var, arg-type]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_a_png_is_seen(mode: str) -> None:
    """Bits, grey, palettes, alpha and 16 bits have nearly the hash of the picture that they show."""
    image = PHOTOS[1].convert("L")
    shown = (
        Image.fromarray(np.asarray(image).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    )
    data = file_of(shown, "PNG")
    assert bits(glimpse(data), glimpse(file_of(image, "PNG")))[1] <= (BOTH_LIMIT if mode == "1" else 2)
    assert opened(thumbnail(data, side=64)).size == (64, 48)


def test_print_colours_are_seen() -> None:
    """A JPEG in four colours, which libjpeg-turbo does not turn grey, is decoded by Pillow."""
    data = file_of(PHOTOS[0].convert("CMYK"), "JPEG")
    assert "cmyk" in glimpse(data).classes
    assert bits(glimpse(data), glimpse(file_of(PHOTOS[0])))[1] <= BOTH_LIMIT
    assert opened(thumbnail(data)).mode == "RGB"


# --- thumbnails -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "side", "square", "wanted"),
    [
        ((640, 480), 256, False, (256, 192)),
        ((480, 640), 256, False, (192, 256)),
        ((640, 480), 256, True, (256, 256)),
        ((640, 480), 2048, False, (640, 480)),
        ((100, 40), 256, True, (40, 40)),
        ((100, 40), 256, False, (100, 40)),
        ((2000, 3), 100, False, (100, 1)),
        ((3, 2000), 100, True, (3, 3)),
        ((641, 479), 64, True, (64, 64)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_thumbnail_has_the_size_that_was_asked(
    size: tuple[int, int], side: int, square: bool, wanted: tuple[int, int], kind: str
) -> None:
    """The longer side (square: both) has what was asked; nothing is enlarged, and no side vanishes."""
    made = opened(thumbnail(file_of(scene(*size), kind), side=side, square=square))
    assert made.format == "JPEG"
    assert made.mode == "RGB"
    assert made.size == wanted


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_thumbnail_shows_the_picture(square: bool, kind: str) -> None:
    """Compared with the whole picture (square: its middle) scaled by Pillow, the pixels differ little."""
    image = scene(643, 481, 3)
    made = opened(thumbnail(file_of(image, kind), side=96, square=square, quality=95))
    part = image.crop((81, 0, 562, 481)) if square else image
    wanted = part.resize(made.size, Image.Resampling.BICUBIC)
    difference = np.abs(np.asarray(made, np.int16) - np.asarray(wanted, np.int16))
    assert difference.mean() < 4


def test_a_thumbnail_carries_nothing_along() -> None:
    """No Exif, no profile, no comment, no place: pixels only."""
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    data = file_of(
        PHOTOS[0], exif=exif.tobytes(), comment=b"a secret word", icc_profile=b"a secret profile" * 9
    )
    made = thumbnail(data)
    assert b"secret" in data
    assert b"secret" not in made
    assert not opened(made).getexif()


def test_quality_is_a_matter_of_bytes() -> None:
    """A lower quality makes a smaller file of the same size."""
    data = file_of(PHOTOS[0])
    low, high = thumbnail(data, quality=40), thumbnail(data, quality=90)
    assert len(low) < len(high)
    assert opened(low).size == opened(high).size


def test_grey_pictures_are_squares_of_bytes() -> None:
    """16 x 16 levels, row by row: bright where the picture is."""
    image = Image.new("L", (320, 200), 10)
    image.paste(240, (160, 0, 320, 200))
    for kind in ("PNG", "JPEG"):
        levels = grey(file_of(image, kind))
        assert len(levels) == 16 * 16
        assert levels[2] < 20
        assert levels[14] > 230
        assert levels[16 * 15 + 2] < 20


# --- what is no sound picture ---------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG whose header claims more pixels than any picture may have."""
    data = bytearray(file_of(Image.new("L", (8, 8)), "PNG"))
    data[16:24] = (30_000).to_bytes(4, "big") + (30_000).to_bytes(4, "big")
    assert PIXEL_LIMIT < 30_000**2
    return bytes(data)


WHOLE = file_of(PHOTOS[0])
BROKEN = {
    "nothing": b"",
    "text": b"<script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "cut": WHOLE[: len(WHOLE) // 2],
    "cut png": file_of(PHOTOS[0], "PNG")[:5000],
    "header only": WHOLE[:20],
    "bomb": bomb(),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_does_not_decode_has_no_hash_and_no_thumbnail(data: bytes) -> None:
    """A glimpse has zeros and leaves the verdict to others; a thumbnail is refused with a class that is one."""
    found = glimpse(data)
    assert (found.rows, found.columns) == (0, 0)
    assert not found.is_sure or found.classes == ("not_an_image",)
    for way in (thumbnail, grey):
        with pytest.raises(NotSeen) as caught:
            way(data)
        assert caught.value.finding in CLASSES


@pytest.mark.parametrize(
    ("name", "finding"), [("cut", "truncated"), ("bomb", "bomb"), ("text", "not_an_image")]
)
def test_the_refusal_says_what_it_is(guard: Guard, name: str, finding: str) -> None:
    """Through the guard, too, whoever asked learns which class of findings the picture has."""
    with pytest.raises(GuardFailure) as caught:
        guard.call("thumbnail", BROKEN[name], {"side": 64})
    assert caught.value.cause == "error"
    assert caught.value.finding == finding


def test_a_spare_byte_costs_nothing_but_a_word() -> None:
    """What libjpeg warns of is decoded by Pillow: hash and thumbnail are there, and the glimpse is not sure."""
    data = WHOLE[:-2] + b"\0\1\2\3" + WHOLE[-2:] + b"tail"
    found = glimpse(data)
    assert bits(found, glimpse(WHOLE))[1] <= BOTH_LIMIT
    assert "trailing" in found.classes
    assert opened(thumbnail(data)).size == (256, 192)


# --- through the guard ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [*BROKEN.values(), WHOLE, file_of(PHOTOS[0], "PNG")])
def test_the_worker_says_what_judge_says(guard: Guard, data: bytes) -> None:
    """The classes of a glimpse are those of a judgement, so that one reading of a picture is enough."""
    body = guard.call("glimpse", data, {}).body
    verdict = judge(data)
    assert tuple(body["classes"]) == verdict.classes
    assert body["detail"] == verdict.detail
    assert {"rows", "columns", "width", "height"} <= set(body)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_worker_gives_what_the_functions_give(guard: Guard, name: str) -> None:
    """Hash, grey picture and thumbnail come over the pipe unchanged."""
    data = SAMPLES[name]
    found, body = glimpse(data), guard.call("glimpse", data, {}).body
    assert (found.rows, found.columns) == (body["rows"], body["columns"])
    assert guard.call("grey", data, {}).data == grey(data)
    assert guard.call("thumbnail", data, {"side": 99, "square": True, "quality": 70}).data == thumbnail(
        data, side=99, square=True, quality=70
    )


def test_the_odd_pictures_of_others_break_nothing() -> None:
    """Whatever odd file comes: a glimpse, a thumbnail or a refusal, and the classes of a judgement."""
    for item, data in (COLLECTION_FILES | GENERATED).items():
        found = glimpse(data)
        if found.is_sure:
            assert found.classes == judge(data).classes, item
        seen = look(data)
        try:
            made = thumbnail(data, side=64)
        except NotSeen as refusal:
            assert refusal.finding in CLASSES
        else:
            assert seen.kind is not None
            assert max(opened(made).size) <= 64
