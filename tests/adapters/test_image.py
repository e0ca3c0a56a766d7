"""adapters/image.py: what decoding finds in any bytes, as Pillow sees it, and never a warning or an exception."""

from __future__ import annotations

import csv
import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile
from tests.realdata import REAL

from g3m.adapters.image import judge
from g3m.core.structure import look
from g3m.core.treatment import CLASSES, PIXEL_LIMIT

MALFORMED = REAL / "malformed"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
UNUSABLE = {"not_an_image", "bomb", "broken", "truncated"}
"""What no loader can train with."""


def classes(data: bytes) -> set[str]:
    """The classes of a picture, without those of the formats that are no JPEG."""
    found = judge(data)
    assert list(found.classes) == [name for name in CLASSES if name in found.classes]
    assert len(found.detail) <= 200
    return set(found.classes) - {"not_jpeg"}


def decodes(data: bytes) -> bool:
    """What Pillow says, asked as a loader asks it; a picture above our limit counts as one it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=(*FORMATS, "TIFF")) as image:
                if image.width * image.height > PIXEL_LIMIT:
                    return False
                image.load()
        except Exception:
            return False
    return True


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
    "restarts": drawn("JPEG", restart_marker_blocks=1),
    "gray": drawn("JPEG", "L"),
    "cmyk": drawn("JPEG", "CMYK"),
    "palette": drawn("PNG", "P"),
    "alpha": drawn("PNG", "RGBA"),
    "lossless": drawn("WEBP", lossless=True),
    "icc": drawn("JPEG", icc_profile=b"p" * 3000),
    "tiff": drawn("TIFF"),
    "tiff with a codec": drawn("TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("name", VALID)
def test_whole_images_decode(name: str) -> None:
    """Of pictures of all formats and modes nothing is said but what their header says."""
    assert classes(VALID[name]) == set(look(VALID[name]).classes) - {"not_jpeg"}
    assert not classes(VALID[name]) & UNUSABLE


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_images_are_truncated(kind: str) -> None:
    """A file that lost its end, at whatever place, is known for that."""
    whole = WHOLE[kind]
    for place in range(40, len(whole) - 20, 97):
        assert classes(whole[:place]) - {"no_end"} == {"truncated"}


def test_a_missing_end_marker_alone_is_a_cut() -> None:
    """Of a JPEG that lacks its last two bytes nobody can say whether more is missing, and Pillow refuses it."""
    assert classes(WHOLE["JPEG"][:-2]) == {"truncated", "no_end"}


@pytest.mark.parametrize("tail", [b"PK\3\4 a zip", b"<script>", bytes(5000)])
def test_bytes_behind_an_image_do_not_stop_decoding(tail: bytes) -> None:
    """A picture with something behind it decodes; zeros are not worth a word."""
    assert classes(WHOLE["JPEG"] + tail) == ({"trailing"} if tail.strip(b"\0") else set())


def between_scan_and_end(data: bytes, extra: bytes) -> bytes:
    return data[:-2] + extra + data[-2:]


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "gray", "cmyk"])
def test_what_libjpeg_warns_about(kind: str) -> None:
    """Bytes too many before the end, as in COCO, decode with a warning, whose words are kept."""
    found = judge(between_scan_and_end(VALID[kind], b"\x11\x22" * 20))
    assert "warning" in found.classes
    assert not UNUSABLE & set(found.classes)
    assert "extraneous bytes" in found.detail


def test_damage_in_the_middle_is_a_warning() -> None:
    """Pillow hides it: a scan with other bytes in it decodes to a picture that nobody drew."""
    whole = WHOLE["JPEG"]
    data = whole[:1500] + bytes(300) + whole[1800:]
    assert decodes(data)
    assert "warning" in classes(data)


def test_what_turbo_alone_cannot_do_is_no_warning() -> None:
    """An odd subsampling is nothing against the picture: Pillow decodes it."""
    data = bytearray(drawn("JPEG", subsampling=0))
    at = data.index(b"\xff\xc0") + 11
    data[at] = 0x31  # three blocks side by side: within the standard, and in none of libjpeg-turbo's lists
    found = judge(bytes(data))
    assert "warning" not in found.classes


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
    assert "bomb" in classes(BOMBS[name])


def test_the_limit_holds_to_the_pixel() -> None:
    """A picture of exactly the limit is decoded, one of a pixel more is not."""
    for kind in ("PNG", "JPEG"):
        assert "bomb" not in judge(WHOLE[kind], pixel_limit=61 * 47).classes
        assert "bomb" in judge(WHOLE[kind], pixel_limit=61 * 47 - 1).classes
    assert PIXEL_LIMIT == 64_000_000


@pytest.mark.parametrize("name", sorted(set(BOMBS) - {"gif"}))
def test_a_bomb_does_not_even_reach_pillow(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the header tells, nobody else is asked."""
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was asked"))
    assert "bomb" in classes(BOMBS[name])


def test_pixels_that_only_pillow_counts() -> None:
    """A TIFF's size is not read by us, and the limit holds all the same."""
    assert "bomb" in judge(VALID["tiff"], pixel_limit=61 * 47 - 1).classes


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
    assert classes(BROKEN[name]) == {"broken"}


OTHERS = {
    "nothing": b"",
    "html": b"<!DOCTYPE html><html>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "pdf": b"%PDF-1.7\n",
    "ico": drawn("ICO"),
    "ppm": drawn("PPM"),
    "tga": drawn("TGA"),
    "sound": b"RIFF\x24\0\0\0WAVEfmt ",
    "psd": b"8BPS\0\1" + bytes(60),
    "fits": b"SIMPLE  =                    T".ljust(2880),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_no_images(name: str) -> None:
    """What Pillow could open, and what it could not, is no image if it is none of ours."""
    assert judge(OTHERS[name]).classes == ("not_an_image",)


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
def test_mutants_are_judged_as_pillow_does(start: int) -> None:
    """No damage to a picture makes the function raise or warn, or let pass what Pillow does not decode."""
    for name, data in list(MUTANTS.items())[start : start + 100]:
        assert bool(classes(data) & UNUSABLE) == (not decodes(data)), name


@pytest.mark.parametrize("name", [*COLLECTION, *GENERATED])
def test_odd_pictures_are_judged_as_pillow_does(name: str) -> None:
    """Of nothing found or made the two think differently."""
    data = COLLECTION[name].read_bytes() if name in COLLECTION else GENERATED[name]
    assert bool(classes(data) & UNUSABLE) == (not decodes(data))


CHANGED = {"truncated_exif_dpi.jpg"}
"""Versions of Pillow differ about these."""


def reports() -> dict[Path, str]:
    """What another version of Pillow said about the collection's JPEGs, when it was put together."""
    found = {}
    for table in sorted(MALFORMED.rglob("decode_report.tsv")):
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                known = row["format"] == "JPEG" and row["path"] not in CHANGED
                if known and (table.parent / row["path"]).is_file():
                    found[table.parent / row["path"]] = row["status"]
    return found


@pytest.mark.parametrize("path", reports(), ids=lambda path: path.name)
def test_the_reports_of_the_collection(path: Path) -> None:
    """What was known to decode, or not to, still is."""
    assert bool(classes(path.read_bytes()) & UNUSABLE) == (reports()[path] != "ok")


COCO = {
    "coco_mini/val2017": 2,
    "coco_mini/train2017": 1,
    "coco_val2017_subset": 2,
    "coco_train2017_images": 1,
}
"""Folders of real photos, and how many of them may be grey."""


@pytest.mark.parametrize("folder", [name for name in COCO if (REAL / name).is_dir()])
def test_pictures_of_coco_decode(folder: str) -> None:
    """Nothing is to be said of any but the few that are grey."""
    found = [classes(path.read_bytes()) for path in sorted((REAL / folder).rglob("*.jpg"))]
    assert all(each <= {"grayscale"} for each in found)
    assert len([each for each in found if each]) <= COCO[folder]


@given(st.sampled_from(sorted(WHOLE)), st.binary(max_size=300))
def test_any_bytes_behind_a_signature_get_a_verdict(kind: str, tail: bytes) -> None:
    """Random content with the beginning of a picture raises nothing, and lets nothing pass."""
    data = WHOLE[kind][:33] + tail
    assert bool(classes(data) & UNUSABLE) == (not decodes(data))
    classes(tail)


def test_threads_do_not_disturb_one_another() -> None:
    """Verdicts from eight threads at once are those of one, and no warning gets out."""
    data = [*VALID.values(), *BOMBS.values(), *BROKEN.values()] * 8
    expected = [judge(one) for one in data]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(judge, data)) == expected


def test_pillow_is_not_told_to_accept_half_a_picture() -> None:
    """The switch that makes truncated files load is off after all of this module has run."""
    judge(WHOLE["JPEG"][:500])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_importing_the_module_does_not_import_pillow() -> None:
    """Pillow comes with the first question, and then without the formats that are not asked for."""
    code = (
        "import sys, g3m.adapters.image as image\n"
        "assert 'PIL' not in sys.modules\n"
        "image.judge(b'GIF89a' + bytes(40))\n"
        "assert 'PIL.GifImagePlugin' in sys.modules\n"
        "assert not {'PIL.EpsImagePlugin', 'PIL.FitsImagePlugin', 'simplejpeg'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
