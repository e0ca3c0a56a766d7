"""Pictures by somebody who wishes the reader ill, and damaged copies of ordinary ones; declared here, drawn each time.

Each case says what becomes of the picture: the classes that decoding it finds, of which `UNUSABLE` means that no
picture comes out of it, at any place.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageCms
from tests.realdata import REAL

from g3m.lab.drawings import draw

UNUSABLE = frozenset({"not_an_image", "bomb", "broken", "truncated"})
"""Classes of pictures that nothing comes out of."""

SEED = 8
PLAIN = draw(SEED, 0).jpeg
JPEG_SCAN = bytes((0xFF, 0xDA, 0, 8, 1, 1, 0))
"""How a scan of one colour begins, but for its three last bytes: which part of each number it brings."""


@dataclass(frozen=True, slots=True)
class Case:
    """A picture, and the classes that `g3m verify --decode` finds in it."""

    name: str
    data: bytes
    classes: tuple[str, ...]

    @property
    def is_drawn(self) -> bool:
        """Whether a picture comes out of it."""
        return UNUSABLE.isdisjoint(self.classes)


def photo(kind: str, mode: str = "RGB", size: tuple[int, int] = (120, 90), **options: Any) -> bytes:
    """A drawing of the lab in another format, mode and size."""
    image = Image.open(io.BytesIO(draw(SEED, 1).jpeg)).convert("RGB").resize(size).convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 2, interlaced: int = 0
) -> bytes:
    """A PNG of any claims and chunks."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", head), *chunks, chunk(b"IEND", b"")))


def zeros(size_bytes: int) -> bytes:
    """So many zeros, deflated; no more than a megabyte of them is ever held."""
    packer = zlib.compressobj(9)
    made = [packer.compress(bytes(min(2**20, size_bytes - start))) for start in range(0, size_bytes, 2**20)]
    return b"".join((*made, packer.flush()))


def with_chunks(*chunks: bytes) -> bytes:
    """An ordinary PNG with more chunks before its pixels."""
    plain = photo("PNG")
    return b"".join((plain[:33], *chunks, plain[33:]))


def claiming(width: int, height: int) -> bytes:
    """An ordinary JPEG whose frame claims another size."""
    at = PLAIN.index(b"\xff\xc0") + 5
    return PLAIN[:at] + struct.pack(">HH", height, width) + PLAIN[at + 4 :]


def flipped_scan() -> bytes:
    """An ordinary JPEG with five wrong bytes among its pixels."""
    data, chosen = bytearray(PLAIN), random.Random(SEED)
    for _ in range(5):
        data[chosen.randrange(len(data) // 2, len(data) - 20)] ^= 1 << chosen.randrange(7)
    return bytes(data)


def scans(width: int, height: int, count: int) -> bytes:
    """A grey progressive JPEG of some kilobytes whose every scan goes through all of its blocks and changes none."""
    blocks = ((width + 7) // 8) * ((height + 7) // 8)
    head = b"\xff\xd8" + b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1] * 64)
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes((1, 0x11, 0))
    # Two codes of one bit: direct current 0, and a run of 2**14 blocks without anything.
    tables = b"".join(
        b"\xff\xc4" + struct.pack(">HB", 20, place) + bytes([1]) + bytes(15) + bytes([symbol])
        for place, symbol in ((0x00, 0), (0x10, 0xE0))
    )
    first = b"\xff\xda" + struct.pack(">HBBB", 8, 1, 1, 0) + bytes((0, 0, 0)) + bytes((blocks + 7) // 8)
    runs = -(-blocks // 2**14)
    bits = "".join("0" + "0" * 14 for _ in range(runs))
    body = int(bits, 2).to_bytes((len(bits) + 7) // 8, "big")
    more = b"\xff\xda" + struct.pack(">HBBB", 8, 1, 1, 0) + bytes((1, 63, 0)) + body
    return head + frame + tables + first + more * count + b"\xff\xd9"


def archived() -> bytes:
    """A zip of one file, to stand behind a picture."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil.js", "alert(1)")
    return file.getvalue()


def turned(tag: int) -> bytes:
    """An ordinary JPEG with a tag that says how it lies."""
    tags = Image.Exif()
    tags[0x0112] = tag
    return photo("JPEG", exif=tags)


def riff(*chunks: bytes) -> bytes:
    """A WebP of any chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def riff_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def gif(screen: tuple[int, int], frame: tuple[int, int], body: bytes = b"\x08\x01\x00\x00") -> bytes:
    """A GIF whose screen and first frame have any size."""
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes((0, 0, 0, 255, 255, 255))
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + body + b";"


def bmp(width: int, height: int, compression: int = 0, body: bytes = b"") -> bytes:
    """A BMP of any claims."""
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, len(body), 0, 0, 2, 2)
    return b"BM" + struct.pack("<IHHI", 62 + len(body), 0, 0, 62) + head + bytes(8) + body


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of any tags."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following)


def animated(kind: str) -> bytes:
    """Three frames, each turned further."""
    frames = [
        Image.open(io.BytesIO(draw(SEED, number).jpeg)).convert("RGB").resize((90, 60)) for number in range(3)
    ]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=40)
    return file.getvalue()


_JPEG, _PNG, _WEBP, _GIF = PLAIN, photo("PNG"), photo("WEBP"), photo("GIF")
_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

_MADE: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    # More pixels than a picture has.
    "a PNG of 30,000 by 30,000": (
        lambda: png(30_000, 30_000, chunk(b"IDAT", zeros(30_000 * 3751)), bits=1, colour=0),
        ("bomb", "not_jpeg", "grayscale"),
    ),
    "an interlaced PNG of 60,000 by 60,000": (
        lambda: png(60_000, 60_000, chunk(b"IDAT", zeros(2**20)), interlaced=1),
        ("bomb", "not_jpeg"),
    ),
    # Between our limit and Pillow's.
    "a PNG of 100 million pixels": (
        lambda: png(10_000, 10_000, chunk(b"IDAT", zeros(10_000 * 1251)), bits=1, colour=0),
        ("bomb", "not_jpeg", "grayscale"),
    ),
    "a JPEG that claims 100 million": (lambda: claiming(10_000, 10_000), ("bomb",)),
    "a JPEG that claims 65,535 by 65,535": (lambda: claiming(65_535, 65_535), ("bomb",)),
    "a WebP of 16,383 by 16,383": (
        lambda: riff(riff_chunk(b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(40))),
        ("bomb", "not_jpeg"),
    ),
    "a WebP whose canvas is larger than its picture": (
        lambda: riff(riff_chunk(b"VP8X", bytes(4) + b"\xff\xff\xff" * 2), _WEBP[12:]),
        ("bomb", "not_jpeg"),
    ),
    "a GIF of 65,535 by 65,535": (lambda: gif((65_535, 65_535), (1, 1)), ("bomb", "not_jpeg")),
    "a GIF whose frame is larger than its screen": (
        lambda: gif((10, 10), (65_535, 65_535)),
        ("bomb", "not_jpeg"),
    ),
    "a BMP of two thousand million rows": (lambda: bmp(2**31 - 1, -(2**31)), ("bomb", "not_jpeg")),
    "a TIFF of 100,000 by 100,000": (
        lambda: tiff(
            (256, 4, 1, 100_000),
            (257, 4, 1, 100_000),
            (258, 3, 1, 8),
            (273, 4, 1, 8),
            (277, 3, 1, 1),
            (279, 4, 1, 8),
        ),
        ("bomb", "not_jpeg"),
    ),
    # More bytes or work behind a few bytes.
    "a text of 200 MB in a PNG": (
        lambda: with_chunks(chunk(b"zTXt", b"a\0\0" + zeros(200 * 10**6))),
        ("broken", "not_jpeg"),
    ),
    "an international text of 200 MB in a PNG": (
        lambda: with_chunks(chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(200 * 10**6))),
        ("broken", "not_jpeg"),
    ),
    "a colour profile of 200 MB in a PNG": (
        lambda: with_chunks(chunk(b"iCCP", b"a\0\0" + zeros(200 * 10**6))),
        ("broken", "not_jpeg"),
    ),
    "more pixels than a PNG has room for": (
        lambda: png(10, 10, chunk(b"IDAT", zeros(100 * 2**20))),
        ("not_jpeg",),
    ),
    "a hundred thousand chunks": (lambda: with_chunks(chunk(b"tEXt", b"a\0b") * 100_001), ("not_jpeg",)),
    "a hundred thousand segments": (lambda: _JPEG[:2] + b"\xff\xfe\0\2" * 100_001 + _JPEG[2:], ()),
    "a thousand scans of 25 million pixels": (lambda: scans(5000, 5000, 1000), ("broken", "grayscale")),
    "a TIFF whose directories go round": (
        lambda: tiff((256, 4, 1, 10), (257, 4, 1, 10), following=8),
        ("broken", "not_jpeg"),
    ),
    # Cut, and damaged.
    "half of a JPEG": (lambda: _JPEG[: len(_JPEG) // 2], ("truncated", "no_end")),
    "nine tenths of a JPEG": (lambda: _JPEG[: len(_JPEG) * 9 // 10], ("truncated", "no_end")),
    "a JPEG without its last two bytes": (lambda: _JPEG[:-2], ("truncated", "no_end")),
    "five wrong bytes among the pixels of a JPEG": (flipped_scan, ("warning",)),
    "half of a PNG": (lambda: _PNG[: len(_PNG) // 2], ("truncated", "no_end", "not_jpeg")),
    "a PNG with a wrong checksum": (lambda: _PNG[:-20] + b"\0\1\2\3" + _PNG[-16:], ("broken", "not_jpeg")),
    "a PNG without pixels": (lambda: png(10, 10), ("broken", "not_jpeg")),
    "half of a WebP": (lambda: _WEBP[: len(_WEBP) // 2], ("truncated", "no_end", "not_jpeg")),
    "half of a GIF": (lambda: _GIF[: len(_GIF) // 2], ("truncated", "no_end", "not_jpeg")),
    "a WebP whose tables of codes overflow": (
        lambda: riff(riff_chunk(b"VP8L", b"\x2f\x3f\xc0\x0f\0" + random.Random(SEED).randbytes(3000))),
        ("broken", "not_jpeg"),
    ),
    "a GIF with an impossible code size": (
        lambda: gif((10, 10), (10, 10), b"\x0f\x04\xff\xff\xff\xff\0"),
        ("broken", "not_jpeg"),
    ),
    "a JPEG of no width": (lambda: claiming(0, 240), ("broken",)),
    # Something else under the name of a picture.
    "a page": (lambda: b"<!DOCTYPE html><html><script>alert(1)</script></html>", ("not_an_image",)),
    "a drawing with a script": (
        lambda: b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        ("not_an_image",),
    ),
    "PostScript": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n",
        ("not_an_image",),
    ),
    "a PDF": (lambda: photo("PDF"), ("not_an_image",)),
    "a FITS": (lambda: b"SIMPLE  =                    T / image".ljust(2880), ("not_an_image",)),
    "a PSD": (
        lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(12),
        ("not_an_image",),
    ),
    "an icon": (lambda: photo("ICO", size=(32, 32)), ("not_an_image",)),
    "a JPEG 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), ("not_an_image",)),
    "an AVIF": (lambda: b"\0\0\0\x1cftypavif" + bytes(60), ("not_an_image",)),
    "a TIFF": (lambda: photo("TIFF"), ("not_jpeg",)),
    "a GIF": (lambda: _GIF, ("not_jpeg",)),
    "nothing": (lambda: b"", ("not_an_image",)),
    "three bytes": (lambda: _JPEG[:3], ("truncated", "no_end")),
    # A picture and more.
    "a JPEG with a zip behind it": (lambda: _JPEG + archived(), ("trailing",)),
    "a JPEG with a script behind it": (lambda: _JPEG + b"<script>alert(1)</script>", ("trailing",)),
    "a JPEG with a script in its comment": (
        lambda: _JPEG[:2] + b"\xff\xfe\0\x1b<script>alert(1)</script>" + _JPEG[2:],
        (),
    ),
    "two JPEGs": (lambda: _JPEG + photo("JPEG"), ()),
    # Odd, and whole.
    "four colours": (lambda: photo("JPEG", "CMYK"), ("cmyk",)),
    "sixteen bits": (lambda: photo("PNG", "I;16"), ("not_jpeg", "grayscale")),
    "grey": (lambda: photo("JPEG", "L"), ("grayscale",)),
    "a palette": (lambda: photo("PNG", "P"), ("not_jpeg",)),
    "half transparent": (lambda: photo("PNG", "RGBA"), ("not_jpeg",)),
    "an animated GIF": (lambda: animated("GIF"), ("not_jpeg",)),
    "an animated WebP": (lambda: animated("WEBP"), ("not_jpeg",)),
    "an animated PNG": (lambda: animated("PNG"), ("not_jpeg",)),
    "a picture on its side": (lambda: turned(6), ("orientation",)),
    "an orientation that does not exist": (lambda: turned(99), ()),
    "a colour profile": (lambda: photo("JPEG", icc_profile=_PROFILE), ()),
    "a colour profile that is none": (lambda: photo("JPEG", icc_profile=b"acsp" * 40_000), ()),
}


def cases() -> list[Case]:
    """Every case, drawn."""
    return [Case(name, make(), classes) for name, (make, classes) in _MADE.items()]


def originals() -> list[bytes]:
    """What mutants are made of: drawings in four formats, and malformed pictures of other projects, where there are."""
    drawn = [draw(SEED, number).jpeg for number in range(4)]
    drawn += [
        _PNG,
        _WEBP,
        _GIF,
        photo("PNG", "P"),
        photo("PNG", "I;16"),
        photo("JPEG", "CMYK"),
        photo("JPEG", progressive=True),
    ]
    drawn += [
        photo("WEBP", lossless=True),
        photo("WEBP", "RGBA"),
        animated("GIF"),
        animated("WEBP"),
        turned(6),
    ]
    found = [path for path in sorted((REAL / "malformed").rglob("*")) if path.is_file()]
    return drawn + [
        path.read_bytes() for path in found[:: max(1, len(found) // 48)] if path.stat().st_size < 2**20
    ]


def mutants(count: int) -> Iterator[tuple[str, bytes]]:
    """So many damaged pictures, the same in every run."""
    whole = originals()
    for number in range(count):
        chosen = random.Random(f"{SEED}/{number}")
        data = bytearray(whole[number % len(whole)])
        for _ in range(chosen.choice((1, 1, 1, 2, 5))):
            # Every other time in the header and its tables, where a byte says how much follows.
            span = min(len(data), 700) if chosen.random() < 0.5 else len(data)
            start = chosen.randrange(span) if span else 0
            end = min(start + chosen.choice((1, 1, 2, 4, 100)), len(data))
            damage = chosen.randrange(7)
            if damage == 0 and data:
                data[start] ^= 1 << chosen.randrange(8)
            elif damage == 1:
                data[start:end] = b"\xff" * (end - start)
            elif damage == 2:
                data[start:end] = bytes(end - start)
            elif damage == 3:
                data[start:end] = chosen.randbytes(end - start)
            elif damage == 4:
                del data[start:end]
            elif damage == 5:
                data[start:start] = data[start:end]
            elif chosen.random() < 0.3:
                del data[max(start, 30) :]
        yield f"mutant {number}", bytes(data)
