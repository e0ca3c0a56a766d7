"""core/structure.py: what header and last bytes show, for any bytes, without decoding."""

from __future__ import annotations

import io
import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.realdata import REAL

from g3m.core.structure import STEPS_LIMIT, Structure, Verdict, has_endless_scans, in_order, look
from g3m.core.treatment import CLASSES

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
END = b"\xff\xd9"


def drawn(kind: str, mode: str = "RGB", size: tuple[int, int] = (61, 47), **options: object) -> bytes:
    """A picture with enough detail that no format shrinks it to a header."""
    image = Image.frombytes("RGB", size, random.Random(7).randbytes(size[0] * size[1] * 3)).convert(mode)
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


WHOLE = {kind: drawn(kind) for kind in FORMATS}
PROGRESSIVE = drawn("JPEG", progressive=True)


def jpeg_segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def classes(data: bytes) -> tuple[str, ...]:
    found = look(data)
    assert look(memoryview(data)) == found
    assert list(found.classes) == [name for name in CLASSES if name in found.classes]
    return found.classes


@pytest.mark.parametrize("kind", FORMATS)
def test_an_ordinary_picture(kind: str) -> None:
    """The five formats are known with their size, and only that one is no JPEG is said of them."""
    expected = () if kind == "JPEG" else ("not_jpeg",)
    whole = WHOLE[kind]
    assert look(whole) == Structure(kind.lower(), 61, 47, expected, len(whole))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (drawn("WEBP", lossless=True), (61, 47)),
        (drawn("WEBP", "RGBA"), (61, 47)),
        (drawn("JPEG", size=(1, 1)), (1, 1)),
        (PROGRESSIVE, (61, 47)),
        (drawn("JPEG", icc_profile=b"p" * 70_000), (61, 47)),
        (drawn("JPEG", restart_marker_blocks=1), (61, 47)),
        (b"BM" + struct.pack("<3L", 99, 0, 26) + struct.pack("<L4H", 12, 300, 200, 1, 24), (300, 200)),
        (b"BM" + struct.pack("<3L", 99, 0, 54) + struct.pack("<L2i2H", 40, 300, -200, 1, 24), (300, 200)),
    ],
    ids=["lossless", "alpha", "one pixel", "progressive", "profile", "restarts", "old bmp", "top down"],
)
def test_sizes_of_other_kinds(data: bytes, size: tuple[int, int]) -> None:
    """Every form of header gives the size."""
    found = look(data)
    assert (found.width, found.height) == size
    assert found.classes in ((), ("not_jpeg",))


def test_colours() -> None:
    """One component is grey, four are for print; PNG says it in its colour type."""
    assert classes(drawn("JPEG", "L")) == ("grayscale",)
    assert classes(drawn("JPEG", "CMYK")) == ("cmyk",)
    assert classes(drawn("PNG", "L")) == ("not_jpeg", "grayscale")
    assert classes(drawn("PNG", "LA")) == ("not_jpeg", "grayscale")
    assert classes(drawn("PNG", "P")) == ("not_jpeg",)
    assert classes(drawn("PNG", "RGBA")) == ("not_jpeg",)


def test_tiff_is_only_known_for_what_it_is() -> None:
    """A TIFF is a picture that is no JPEG; nothing else is asked of it."""
    data = drawn("TIFF")
    assert look(data) == Structure("tiff", 0, 0, ("not_jpeg",), len(data))


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"\xff\xd8", b"GIF8", b"RIFF\x24\0\0\0WAVEfmt ", b"BM at noon"]
)
def test_what_is_no_picture(data: bytes) -> None:
    """Pages, sounds and nothing at all are no image."""
    assert look(data) == Structure(None, 0, 0, ("not_an_image",), len(data))


@pytest.mark.parametrize("value", range(11))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation(kind: str, value: int) -> None:
    """Exif's 2 to 8 are to be turned; 1 is upright, and so is what Exif does not know."""
    exif = Image.Exif()
    exif[0x010F] = "a maker, so that the tag is not the first"
    exif[0x0112] = value
    found = look(drawn(kind, exif=exif))
    assert found.orientation == (value if 1 <= value <= 8 else 1)
    assert ("orientation" in found.classes) == (2 <= value <= 8)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_in_both_byte_orders(order: str) -> None:
    """Cameras write either; an entry that does not lie on a boundary is another one's data."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
    directory = struct.pack(order + "H", 1) + entry
    shifted = struct.pack(order + "H", 2) + b"\0" * 6 + entry + b"\0" * 6
    for body, expected in ((directory, 6), (shifted, 1)):
        data = WHOLE["JPEG"][:2] + jpeg_segment(0xE1, b"Exif\0\0" + head + body) + WHOLE["JPEG"][2:]
        assert look(data).orientation == expected


@given(st.binary(max_size=60), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_any_exif_leaves_the_rest_alone(body: bytes, head: bytes) -> None:
    """Whatever stands in the segment, size and end are found, and the orientation is one of eight."""
    data = WHOLE["JPEG"][:2] + jpeg_segment(0xE1, b"Exif\0\0" + head + body) + WHOLE["JPEG"][2:]
    found = look(data)
    assert (found.width, found.height, found.end) == (61, 47, len(data))
    assert 1 <= found.orientation <= 8
    assert set(found.classes) <= {"orientation"}


@pytest.mark.parametrize("whole", [WHOLE["JPEG"], PROGRESSIVE], ids=["baseline", "progressive"])
def test_the_end_of_a_jpeg(whole: bytes) -> None:
    """Zeros and another picture behind the end are allowed; other bytes are a tail; no marker is no end."""
    assert classes(whole + bytes(9)) == ()
    assert classes(whole + bytes(5000)) == ()
    assert classes(whole + WHOLE["JPEG"]) == ()
    for tail in (
        b"x",
        b"PK\3\4 a zip",
        b"\0\0<script>",
        b"\xff\xd8 and half a picture",
        bytes(70_000) + b".",
    ):
        assert classes(whole + tail) == ("trailing",)
        assert look(whole + tail).end == len(whole)
    for place in (-1, -2, -40, -1500):
        assert classes(whole[:place]) == ("no_end",)
        assert look(whole[:place]).end == len(whole[:place])


def test_an_end_marker_in_a_thumbnail_is_not_the_end() -> None:
    """What stands in a segment, in front of the scan or between scans, ends no picture."""
    inner = jpeg_segment(0xE1, b"Exif\0\0" + b"\xff\xd8 small \xff\xd9 " + b"\xff\xda")
    for whole in (WHOLE["JPEG"], PROGRESSIVE):
        data = whole[:2] + inner + whole[2:]
        assert look(data).classes == ()
        assert look(data[:-2]).classes == ("no_end",)
        assert look(data + b"tail").end == len(data)
    second_scan = PROGRESSIVE.index(b"\xff\xda", PROGRESSIVE.index(b"\xff\xda") + 2)
    data = PROGRESSIVE[:second_scan] + inner + PROGRESSIVE[second_scan:]
    assert look(data[:-2]).classes == ("no_end",)
    assert look(data + b"tail").end == len(data)


def test_stray_bytes_between_segments_are_skipped() -> None:
    """Decoders skip them and warn, so the header is readable all the same."""
    whole = WHOLE["JPEG"]
    for stray in (b"stray", b"\xff\xff\xff", b"\0\xda", b"\xff\0", b"\xff\x01"):
        found = look(whole[:20] + stray + whole[20:])
        assert (found.width, found.height, found.classes) == (61, 47, ())


def test_the_end_of_a_png() -> None:
    """A tail is told from a missing end here too."""
    whole = WHOLE["PNG"]
    assert classes(whole + bytes(300)) == ("not_jpeg",)
    assert classes(whole + b"tail") == ("trailing", "not_jpeg")
    assert look(whole + b"tail").end == len(whole)
    assert classes(whole[:-1]) == ("no_end", "not_jpeg")
    assert classes(whole[:-500]) == ("no_end", "not_jpeg")


def test_the_end_of_a_webp_and_a_gif() -> None:
    """WebP announces its length; of GIF only a missing last byte is told."""
    webp, gif = WHOLE["WEBP"], WHOLE["GIF"]
    assert classes(webp[:-1]) == ("no_end", "not_jpeg")
    assert classes(webp + b"tail") == ("trailing", "not_jpeg")
    assert look(webp + b"tail").end == len(webp)
    assert classes(webp + bytes(9)) == ("not_jpeg",)
    assert classes(gif[:-1]) == ("no_end", "not_jpeg")
    assert classes(gif + bytes(9)) == ("not_jpeg",)


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">2H", height, width) + data[at + 4 :]


def test_bombs_and_the_limit() -> None:
    """Exactly 64 million pixels are none; one row more is."""
    assert classes(claiming(WHOLE["JPEG"], 8000, 8000)) == ()
    assert classes(claiming(WHOLE["JPEG"], 8000, 8001)) == ("bomb",)
    head = png_chunk(b"IHDR", struct.pack(">2L5B", 30_000, 30_000, 8, 2, 0, 0, 0))
    assert classes(b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IEND", b"")) == ("bomb", "not_jpeg")


@pytest.mark.parametrize(
    "data",
    [
        claiming(WHOLE["JPEG"], 0, 47),
        claiming(WHOLE["JPEG"], 61, 0),
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9",
        b"\xff\xd8" + jpeg_segment(0xC0, b"\x0c\0\x09\0\x09\x01\x01\x11\0") + b"\xff\xda" + END,
        b"\xff\xd8" + jpeg_segment(0xC0, b"\x08\0\x09\0\x09\x02" + b"\x01\x11\0" * 2) + b"\xff\xda" + END,
        b"\xff\xd8\xff\xe0\0\0" + WHOLE["JPEG"][20:],
        WHOLE["JPEG"][:200] + b"\0\xda" + END,
        WHOLE["JPEG"][:2] + WHOLE["JPEG"][-2:],
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""),
        b"RIFF\x10\0\0\0WEBPALPH\4\0\0\0abcd",
    ],
)
def test_headers_that_cannot_be_read(data: bytes) -> None:
    """A header of no size, of no frame, or of what no decoder takes is broken."""
    assert "broken" in classes(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_at_any_place(kind: str) -> None:
    """Whatever is missing at the end, there is an answer, and past the header the size stays."""
    whole = WHOLE[kind]
    for place in range(len(whole)):
        found = look(whole[:place])
        assert found.end == place
        if place > 700 and kind != "BMP":
            assert (found.width, found.height) == (61, 47)
            assert "no_end" in found.classes


def test_a_file_of_endless_segments_is_given_up() -> None:
    """More segments than any picture has are not followed: the answer comes at once."""
    data = b"\xff\xd8" + b"\xff\xe0\0\2" * (STEPS_LIMIT * 3)
    assert look(data).classes == ("broken", "no_end")
    scan = WHOLE["JPEG"][:-2]
    assert look(scan + b"\xff\xe0\0\2" * (STEPS_LIMIT + 9) + END + b"x").classes == ("no_end",)
    assert look(scan + b"\xff\xe0\0\2" * (STEPS_LIMIT - 9) + END + b"x").classes == ("trailing",)


@given(st.sampled_from([*WHOLE.values(), PROGRESSIVE]), st.data())
def test_any_damage_has_an_answer(whole: bytes, draw: st.DataObject) -> None:
    """Replaced, cut or inserted bytes raise nothing, and the end lies within the file."""
    at = draw.draw(st.integers(0, 900))
    piece = draw.draw(st.binary(max_size=40))
    for data in (
        whole[:at] + piece + whole[at + len(piece) :],
        whole[:at] + piece,
        whole[:at] + piece + whole[at:],
    ):
        found = look(data)
        assert found == look(memoryview(data))
        assert 0 <= found.end <= len(data)
        assert set(found.classes) <= set(CLASSES)


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer(data: bytes) -> None:
    """Nothing raises."""
    look(data)
    for head in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8X", b"II*\0"):
        look(head + data)


MALFORMED = [path for path in sorted((REAL / "malformed").rglob("*")) if path.is_file()]
COCO = [
    path for name in ("val2017", "train2017") for path in sorted((REAL / "coco_mini" / name).glob("*.jpg"))
]


def of_pillow(data: bytes) -> Image.Image | None:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception:
        return None


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_odd_pictures_of_other_projects() -> None:
    """Where Pillow reads a header, the size is the same; what is called broken it cannot decode."""
    for path in MALFORMED:
        data = path.read_bytes()
        found, image = look(data), of_pillow(data)
        if image is None:
            continue
        assert found.kind is not None, path
        if "broken" in found.classes:
            with pytest.raises((OSError, ValueError)):
                image.load()
        else:
            assert (found.width, found.height) == image.size, path
            assert ("cmyk" in found.classes) == (image.mode == "CMYK"), path


def test_pictures_of_coco() -> None:
    """Real photos have nothing to say of them, except the few that are grey."""
    found = [look(path.read_bytes()).classes for path in COCO]
    assert set(found) <= {(), ("grayscale",)}
    assert len([each for each in found if each]) <= 3


def test_classes_in_order() -> None:
    """The gravest comes first, however they were found."""
    assert in_order({"orientation", "bomb", "warning"}) == ("bomb", "warning", "orientation")


def test_the_last_byte_of_what_is_read() -> None:
    """A header is read from its last bytes too, and no byte beyond them is asked for."""
    vp8x = (
        b"RIFF"
        + struct.pack("<I", 22)
        + b"WEBPVP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + b"\x2b\x01\0\xc7\0\0"
    )
    assert (look(vp8x).width, look(vp8x).height, look(vp8x).classes) == (300, 200, ("not_jpeg",))
    assert "broken" in look(vp8x[:-1]).classes
    wide = (
        b"RIFF"
        + struct.pack("<I", 22)
        + b"WEBPVP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + b"\xff\xff\xff\xfe\xff\xff"
    )
    assert (look(wide).width, look(wide).height) == (2**24, 2**24 - 1)
    bits = (299 | 16383 << 14) | 1 << 28
    lossless = (
        b"RIFF"
        + struct.pack("<I", 17)
        + b"WEBPVP8L"
        + struct.pack("<I", 5)
        + b"\x2f"
        + struct.pack("<I", bits)
    )
    assert (look(lossless).width, look(lossless).height, look(lossless).classes) == (
        300,
        16384,
        ("not_jpeg",),
    )
    assert "broken" in look(lossless[:-1]).classes
    bmp = b"BM" + struct.pack("<3L", 26, 0, 26) + struct.pack("<L2H", 12, 3, 2)
    assert (look(bmp).width, look(bmp).height, look(bmp).classes) == (3, 2, ("not_jpeg",))


def test_exif_of_one_entry_and_no_more() -> None:
    """The shortest directory that states something ends with its value; without it, or with an odd one, the picture is upright."""

    def picture(exif: bytes) -> int:
        return look(b"\xff\xd8" + jpeg_segment(0xE1, b"Exif\0\0" + exif) + WHOLE["JPEG"][2:]).orientation

    head, entry = (
        b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1),
        struct.pack("<HHIH", 0x0112, 3, 1, 6),
    )
    assert picture(head + entry) == 6
    assert [picture((head + entry)[:length]) for length in (0, 4, 8, 9, 10, 19)] == [1] * 6
    assert [picture(head + entry[:-2] + struct.pack("<H", value)) for value in (0, 1, 2, 8, 9)] == [
        1,
        1,
        2,
        8,
        1,
    ]
    assert picture(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 0) + entry) == 1
    assert picture(head + b"\0" + entry + bytes(12)) == 1
    assert picture(b"II*\0" + struct.pack("<I", 2**32 - 1) + struct.pack("<H", 1) + entry) == 1


@pytest.mark.parametrize("marker", [0x01, *range(0xD0, 0xD9)])
def test_markers_without_a_length(marker: int) -> None:
    """Restart markers and the like stand alone: what follows is no length of theirs."""
    whole = WHOLE["JPEG"]
    assert look(whole[:2] + bytes((0xFF, marker)) + whole[2:]).classes == ()


@pytest.mark.parametrize("marker", [0x02, 0xBF, 0xF0])
def test_markers_with_a_length(marker: int) -> None:
    """All others have one, whatever they are for."""
    whole = WHOLE["JPEG"]
    found = look(whole[:2] + jpeg_segment(marker, b"\xff\xd8\xff\xc0" * 9) + whole[2:])
    assert (found.width, found.height, found.classes) == (61, 47, ())


def test_zeros_behind_a_gif() -> None:
    """Up to 62 bytes of padding behind its end, and no more."""
    whole = WHOLE["GIF"]
    assert [look(whole + bytes(count)).classes for count in (0, 1, 62)] == [("not_jpeg",)] * 3
    assert "no_end" in look(whole + bytes(63)).classes


def test_endless_scans() -> None:
    """More than 500 scans in what has more than 2**40 pixels times bytes; of less, or of less large ones, nothing is said."""
    scans = b"\xff\xd8" + b"\xff\xda" * 501
    side = 2**20
    assert has_endless_scans(scans, side, side)
    assert not has_endless_scans(scans[:-2], side, side)
    assert not has_endless_scans(b"\xff\xd9" + scans[2:], side, side)
    size = len(scans)
    assert not has_endless_scans(scans, 2**40 // size, 1)
    assert has_endless_scans(scans, 2**40 // size + 1, 1)


def test_a_structure_is_upright_unless_it_says_otherwise() -> None:
    """The defaults of what was seen and of what decoding found."""
    assert Structure("png", 1, 1, (), 0).orientation == 1
    assert Verdict(()).detail == ""
