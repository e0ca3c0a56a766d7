"""What a picture's header and its last bytes say: format, size and the classes that show there.

Nothing is decoded: what stands between the two ends is for adapters/image.py. `look` raises nothing, whatever
the bytes are, and costs some microseconds, so every picture is looked at while it is packed.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from g3m.core.sniff import ImageKind, image_kind
from g3m.core.treatment import CLASSES, PIXEL_LIMIT

STEPS_LIMIT = 100_000
"""More segments or chunks than this has no picture; to follow them all would be to let a file hold us up."""

SCANS_LIMIT = 500
"""A decoder goes through all of a JPEG for each of its scans; cameras and the web write a dozen at most."""

_SCANS_COUNTED_FROM = 2**40
"""Pixels times bytes: in what is smaller so many scans have no room that a decoder would take long."""

_SEGMENT = struct.Struct(">BBH")
_FRAME = struct.Struct(">BHHB")
_CHUNK = struct.Struct(">I4s")
_RIFF_CHUNK = struct.Struct("<4sI")
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
# Within a scan FF 00 is a byte of data, and the restart markers D0 to D7 count rows.
_MARKER_IN_SCAN = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")

_SOI, _EOI, _SCAN, _EXIF = 0xD8, 0xD9, 0xDA, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, _SOI + 1)))
"""Markers without a length behind them."""

_EXIF_HEAD = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_ORDER = {name: place for place, name in enumerate(CLASSES)}


@dataclass(frozen=True, slots=True)
class Structure:
    """What `look` saw. Width and height are those of the stored picture, before any turning; 0: not known.

    `classes` are those of core/treatment.py, the gravest first. `end` is where the picture ends: less than
    the number of bytes only where the class `trailing` is found.
    """

    kind: ImageKind | None
    width: int
    height: int
    classes: tuple[str, ...]
    end: int
    orientation: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What decoding found: every class of a picture, the gravest first, and the decoder's own words."""

    classes: tuple[str, ...]
    detail: str = ""


@dataclass(slots=True)
class _Seen:
    """What the parsers fill in."""

    data: bytes | memoryview
    end: int
    width: int = 0
    height: int = 0
    orientation: int = 1
    is_gray: bool = False
    is_cmyk: bool = False
    is_broken: bool = False
    has_end: bool = True


def look(data: bytes | memoryview) -> Structure:
    """Read the header and the last bytes of a picture.

    >>> look(b"GIF89a" + bytes([3, 0, 2, 0, 0, 0, 0]) + b";")
    Structure(kind='gif', width=3, height=2, classes=('not_jpeg',), end=14, orientation=1)
    """
    size_bytes = len(data)
    kind = image_kind(bytes(data[:32]))
    if kind is None:
        return Structure(None, 0, 0, ("not_an_image",), size_bytes)
    seen = _Seen(data, size_bytes)
    if kind != "tiff":
        try:
            _PARSERS[kind](seen)
        except (IndexError, struct.error):
            seen.is_broken = True
        seen.is_broken = seen.is_broken or not seen.width or not seen.height
    return Structure(kind, seen.width, seen.height, _classes(kind, seen), seen.end, seen.orientation)


def has_endless_scans(data: bytes, width: int, height: int) -> bool:
    """Whether a JPEG of so many pixels has so many scans that to decode it takes minutes."""
    is_large = width * height * len(data) > _SCANS_COUNTED_FROM and data.startswith(b"\xff\xd8")
    return is_large and data.count(bytes((0xFF, _SCAN))) > SCANS_LIMIT


def _classes(kind: ImageKind, seen: _Seen) -> tuple[str, ...]:
    found = {
        "bomb": seen.width * seen.height > PIXEL_LIMIT,
        "broken": seen.is_broken,
        "no_end": not seen.has_end,
        "trailing": seen.end < len(seen.data),
        "not_jpeg": kind != "jpeg",
        "cmyk": seen.is_cmyk,
        "grayscale": seen.is_gray,
        "orientation": seen.orientation != 1,
    }
    return tuple(name for name, here in found.items() if here)


def in_order(classes: set[str]) -> tuple[str, ...]:
    """Classes as everything here names them: the gravest first."""
    return tuple(sorted(classes, key=_ORDER.__getitem__))


def _jpeg(seen: _Seen) -> None:
    """Follow the segments up to the first scan, and look for the end marker behind it."""
    data, at, scan, reached = seen.data, 2, 2, False
    try:
        for _ in range(STEPS_LIMIT):
            fill, marker, length = _SEGMENT.unpack_from(data, at)
            if fill != 0xFF or marker in (0, 0xFF):  # stray bytes, which decoders skip
                found = _MARKER.search(data, at)
                if not found:
                    break
                at = found.end() - 2
                fill, marker, length = _SEGMENT.unpack_from(data, at)
            at += 2
            if marker in _ALONE:
                continue
            if marker in (_SCAN, _EOI) or length < 2:
                reached = marker == _SCAN
                break
            if marker in _FRAMES and not seen.width:
                _jpeg_frame(seen, at + 2)
            elif marker == _EXIF and seen.orientation == 1:
                seen.orientation = _exif(bytes(data[at + 2 : at + length]))
            at += length
            scan = at
    finally:
        seen.is_broken = seen.is_broken or not reached
        _jpeg_end(seen, scan)


def _jpeg_frame(seen: _Seen, at: int) -> None:
    bits, seen.height, seen.width, components = _FRAME.unpack_from(seen.data, at)
    seen.is_gray, seen.is_cmyk = components == 1, components == 4
    # No decoder that people train with takes others (12 bits, two colours).
    seen.is_broken = bits != 8 or components not in (1, 3, 4)


def _jpeg_end(seen: _Seen, scan: int) -> None:
    """Where the end marker is. Zeros behind it are padding of cameras, a picture behind it has its own.

    Only for a file that ends otherwise the scans are gone through, to tell a missing end from a tail.
    """
    data, size_bytes = seen.data, len(seen.data)
    if data[-2:] == b"\xff\xd9" or bytes(data).rstrip(b"\0").endswith(b"\xff\xd9"):
        return
    at = scan
    for _ in range(STEPS_LIMIT):
        found = _MARKER_IN_SCAN.search(data, at)
        if not found:
            break
        at, marker = found.end(), data[found.end() - 1]
        if marker == _EOI:
            seen.end = at
            return
        if marker not in _ALONE and at + 2 <= size_bytes:
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    seen.has_end = False


def _exif(data: bytes) -> int:
    """The orientation, 2 to 8, that a segment or chunk of Exif states; 1 for upright and for anything odd."""
    data = data.removeprefix(_EXIF_HEAD)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "")
    if not order or len(data) < 10:
        return 1
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return 1
    (count,) = struct.unpack_from(order + "H", data, start)
    start += 2
    stop, entry = min(start + 12 * count, len(data)), struct.pack(order + "HHI", _ORIENTATION_TAG, 3, 1)
    at = data.find(entry, start, stop)
    while at >= 0 and (at - start) % 12:
        at = data.find(entry, at + 1, stop)
    if at < 0 or at + 10 > len(data):
        return 1
    stated: int = struct.unpack_from(order + "H", data, at + 8)[0]
    return stated if 1 <= stated <= 8 else 1


def _png(seen: _Seen) -> None:
    data = seen.data
    whole = data[-12:] == _PNG_END
    place = -1 if whole else bytes(data).rfind(_PNG_END)
    seen.has_end = whole or place >= 0
    if place >= 0 and bytes(data[place:]).rstrip(b"\0") != _PNG_END:
        seen.end = place + len(_PNG_END)
    length, name = _CHUNK.unpack_from(data, 8)
    seen.is_broken = name != b"IHDR" or length != 13
    seen.width, seen.height, _, colour = struct.unpack_from(">IIBB", data, 16)
    seen.is_gray = colour in (0, 4)
    at = 33
    for _ in range(STEPS_LIMIT):  # up to the picture: it may state its orientation before
        length, name = _CHUNK.unpack_from(data, at)
        if name in (b"IDAT", b"IEND"):
            return
        if name == b"eXIf":
            seen.orientation = _exif(bytes(data[at + 8 : at + 8 + length]))
        at += 12 + length


def _gif(seen: _Seen) -> None:
    """Its size. To find its end is to go through it, so only the last bytes are asked."""
    seen.width, seen.height = struct.unpack_from("<HH", seen.data, 6)
    seen.has_end = bytes(seen.data[-64:]).rstrip(b"\0").endswith(b"\0;")


def _bmp(seen: _Seen) -> None:
    """Its size; it has no end to look for, and many a whole one states a wrong length."""
    if seen.data[14] == 12:
        seen.width, seen.height = struct.unpack_from("<HH", seen.data, 18)
    else:
        seen.width, seen.height = map(abs, struct.unpack_from("<ii", seen.data, 18))  # below 0: top down


def _webp(seen: _Seen) -> None:
    data = seen.data
    end = int.from_bytes(data[4:8], "little") + 8
    seen.has_end = end <= len(data)
    if end < len(data) and bytes(data[end:]).strip(b"\0"):
        seen.end = end
    name, _ = _RIFF_CHUNK.unpack_from(data, 12)
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        seen.width, seen.height = width & 0x3FFF, height & 0x3FFF
        seen.is_broken = data[23:26] != b"\x9d\x01\x2a"
    elif name == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        seen.width, seen.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        seen.is_broken = len(data) < 25 or data[20] != 0x2F
    elif name == b"VP8X" and len(data) >= 30:
        seen.width = int.from_bytes(data[24:27], "little") + 1
        seen.height = int.from_bytes(data[27:30], "little") + 1
        if data[20] & 0x08:
            _webp_exif(seen)
    else:
        seen.is_broken = True


def _webp_exif(seen: _Seen) -> None:
    """The flags promise Exif: it stands behind the pixels."""
    at, data = 12, seen.data
    for _ in range(STEPS_LIMIT):
        if at + 8 > len(data):
            return
        name, length = _RIFF_CHUNK.unpack_from(data, at)
        if name == b"EXIF":
            seen.orientation = _exif(bytes(data[at + 8 : at + 8 + length]))
            return
        at += 8 + length + length % 2


_PARSERS = {"jpeg": _jpeg, "png": _png, "gif": _gif, "bmp": _bmp, "webp": _webp}
