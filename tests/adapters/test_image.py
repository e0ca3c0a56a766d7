"""adapters/image.py: one of five verdicts for any bytes, and never a warning or an exception."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile
from tests.realdata import REAL

from g3m.adapters.image import PIXEL_LIMIT, ImageFacts, probe, verdict
from g3m.core.errors import NotRecognised

MALFORMED = REAL / "malformed"
VERDICTS = {"ok", "not_an_image", "truncated", "bomb", "broken"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


def drawn(kind: str, mode: str = "RGB", size: tuple[int, int] = (61, 47), **options: object) -> bytes:
    """A picture with enough detail that no format shrinks it to a header."""
    chosen = random.Random(7)
    image = Image.frombytes("RGB", size, chosen.randbytes(size[0] * size[1] * 3)).convert(mode)
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">2L5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">2H", height, width) + data[at + 4 :]


WHOLE = {kind: drawn(kind) for kind in FORMATS}
VALID = {
    **WHOLE,
    "progressive": drawn("JPEG", progressive=True),
    "gray": drawn("JPEG", "L"),
    "cmyk": drawn("JPEG", "CMYK"),
    "palette": drawn("PNG", "P"),
    "alpha": drawn("PNG", "RGBA"),
    "lossless": drawn("WEBP", lossless=True),
    "icc": drawn("JPEG", icc_profile=b"p" * 3000),
}


@pytest.mark.parametrize("name", VALID)
def test_whole_images_are_ok(name: str) -> None:
    """Pictures of all formats and modes decode, and their header gives the size."""
    assert verdict(VALID[name]) == "ok"
    facts = probe(VALID[name])
    assert (facts.width, facts.height, facts.orientation) == (61, 47, 1)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_header_says_which_way_is_up(kind: str, orientation: int) -> None:
    """Exif's orientation is read from each format that has one; values outside of 1 to 8 are 1."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    facts = probe(drawn(kind, exif=exif))
    expected = orientation if 1 <= orientation <= 8 else 1
    assert facts == ImageFacts(facts.kind, 61, 47, "RGB", expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_probe_needs_the_header_only(kind: str) -> None:
    """Facts come from a file whose picture is missing, except where WebP wants it whole."""
    cut = WHOLE[kind] if kind == "WEBP" else WHOLE[kind][:900]
    facts = probe(cut)
    assert (facts.kind, facts.width, facts.height) == (kind.lower(), 61, 47)


def test_a_probe_does_not_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """No format's pixels are decoded to find out its size and orientation."""
    decoded: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image))
    for data in WHOLE.values():
        probe(data)
    assert decoded == []


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_images_are_truncated(kind: str) -> None:
    """A file that lost its end, at whatever place, is known for that."""
    whole = WHOLE[kind]
    for place in range(40, len(whole) - 20, 97):
        assert verdict(whole[:place]) == "truncated"


def test_a_missing_end_marker_alone_is_a_cut() -> None:
    """Of a JPEG that lacks its last two bytes nobody can say whether more is missing."""
    assert verdict(WHOLE["JPEG"][:-2]) == "truncated"


@pytest.mark.parametrize("tail", [b"PK\3\4 a zip", b"<script>", bytes(5000)])
def test_bytes_behind_an_image_are_not_the_decoders_matter(tail: bytes) -> None:
    """A picture with something behind it decodes."""
    assert verdict(WHOLE["JPEG"] + tail) == "ok"


FLAT = b"\0" * 64
BOMBS = {
    "png": png(30_000, 30_000, chunk(b"IDAT", zlib.compress(FLAT))),
    "png between pillow's limits": png(11_000, 11_000, chunk(b"IDAT", zlib.compress(FLAT))),
    "png above ours": png(8001, 8000, chunk(b"IDAT", zlib.compress(FLAT))),
    "jpeg": claiming(WHOLE["JPEG"], 65_500, 65_500),
    "gif": b"GIF89a"
    + struct.pack("<2H3B", 65_535, 65_535, 0, 0, 0)
    + struct.pack("<c4HB", b",", 0, 0, 1, 1, 0)
    + b"\2\2\x4c\1\0;",
    "bmp": b"BM"
    + struct.pack("<3L", 99, 0, 54)
    + struct.pack("<3L2H6L", 40, 50_000, 50_000, 1, 24, *[0] * 6),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_known_by_their_header(name: str) -> None:
    """A claim of more pixels than the limit is a bomb before a pixel is decoded."""
    assert verdict(BOMBS[name]) == "bomb"


def test_the_limit_holds_to_the_pixel() -> None:
    """A picture of exactly the limit is decoded, one of a pixel more is not."""
    assert verdict(WHOLE["PNG"], pixel_limit=61 * 47) == "ok"
    assert verdict(WHOLE["PNG"], pixel_limit=61 * 47 - 1) == "bomb"
    assert PIXEL_LIMIT == 64_000_000


BROKEN = {
    "png without a picture": png(9, 9),
    "png of no size": png(0, 0, chunk(b"IDAT", b"")),
    "png with a bad stream": png(9, 9, chunk(b"IDAT", b"\xff" * 40)),
    "png with a text bomb": png(9, 9, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**21)))),
    "jpeg without a frame": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
}


@pytest.mark.parametrize("name", BROKEN)
def test_whole_files_that_do_not_decode_are_broken(name: str) -> None:
    """A file with its end in place and no picture in it is broken and not truncated."""
    assert verdict(BROKEN[name]) == "broken"


OTHERS = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "pdf": b"%PDF-1.7\n",
    "tiff": drawn("TIFF"),
    "ico": drawn("ICO"),
    "ppm": drawn("PPM"),
    "tga": drawn("TGA"),
    "sound": b"RIFF\x24\0\0\0WAVEfmt ",
    "psd": b"8BPS\0\1" + bytes(60),
    "fits": b"SIMPLE  =                    T".ljust(2880),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_no_images(name: str) -> None:
    """What Pillow could open, and what it could not, is no image if it is none of the five."""
    assert verdict(OTHERS[name]) == "not_an_image"
    with pytest.raises(NotRecognised, match=r"\d+ bytes"):
        probe(OTHERS[name])


def mutants() -> dict[str, bytes]:
    """A thousand damaged pictures: flipped, cut, with a piece missing, doubled or made of zeros."""
    chosen = random.Random(8)
    made = {}
    for number in range(1000):
        name, whole = chosen.choice(sorted(VALID.items()))
        data = bytearray(whole)
        for _ in range(chosen.randint(1, 5)):
            start = chosen.randrange(len(data))
            end = min(len(data), start + chosen.randint(1, 400))
            kind = chosen.randrange(5)
            if kind == 0:
                data[start] ^= 1 << chosen.randrange(8)
            elif kind == 1:
                del data[max(start, 30) :]
            elif kind == 2:
                del data[start:end]
            elif kind == 3:
                data[start:start] = data[start:end]
            else:
                data[start:end] = bytes(end - start)
            data = data or bytearray(b"x")
        made[f"{name}-{number}"] = bytes(data)
    return made


MUTANTS = mutants()
COLLECTION = {
    str(path.relative_to(MALFORMED)): path for path in sorted(MALFORMED.rglob("*")) if path.is_file()
}
"""The malformed pictures of several projects, on machines that have them."""
GENERATED = {**VALID, **BOMBS, **BROKEN, **OTHERS}


@pytest.mark.parametrize("start", range(0, len(MUTANTS), 100))
def test_mutants_get_a_verdict(start: int) -> None:
    """No damage to a picture makes the functions raise or warn."""
    for data in list(MUTANTS.values())[start : start + 100]:
        assert verdict(data) in VERDICTS
        try:
            probe(data)
        except NotRecognised:
            assert verdict(data) != "ok"


@pytest.mark.parametrize("name", [*COLLECTION, *GENERATED])
def test_odd_pictures_get_a_verdict(name: str) -> None:
    """Nothing found or made makes the functions raise or warn, and what is ok decodes."""
    data = COLLECTION[name].read_bytes() if name in COLLECTION else GENERATED[name]
    found = verdict(data)
    assert found in VERDICTS
    if found == "ok":
        facts = probe(data)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.size == (facts.width, facts.height)


@given(st.sampled_from(sorted(WHOLE)), st.binary(max_size=300))
def test_any_bytes_behind_a_signature_get_a_verdict(kind: str, tail: bytes) -> None:
    """Random content with the beginning of a picture raises nothing."""
    assert verdict(WHOLE[kind][:33] + tail) in VERDICTS
    assert verdict(tail) in VERDICTS


def test_threads_do_not_disturb_one_another() -> None:
    """Verdicts from eight threads at once are those of one, and no warning gets out."""
    data = [*VALID.values(), *BOMBS.values(), *BROKEN.values()] * 8
    expected = [verdict(one) for one in data]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(verdict, data)) == expected


def test_pillow_is_not_told_to_accept_half_a_picture() -> None:
    """The switch that makes truncated files load is off after all of this module has run."""
    verdict(WHOLE["JPEG"][:500])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_importing_the_module_does_not_import_pillow() -> None:
    """Pillow comes with the first question, and then without the formats that are not asked for."""
    code = (
        "import sys, g3m.adapters.image as image\n"
        "assert 'PIL' not in sys.modules\n"
        "image.verdict(b'GIF89a' + bytes(40))\n"
        "assert 'PIL.GifImagePlugin' in sys.modules\n"
        "assert not {'PIL.EpsImagePlugin', 'PIL.FitsImagePlugin'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
