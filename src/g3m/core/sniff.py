"""What a file is, told from its first bytes and never from its name.

Here: the signatures of the containers and images that g3m knows. A signature is a reason to try a
parser, no proof: whether the content holds is for others to find out (of pictures: core/structure.py).
"""

from __future__ import annotations

import re
from typing import Literal

Container = Literal["zip", "gzip", "tar", "parquet", "json"]
ImageKind = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff"]

HEAD_BYTES = 512
"""How many leading bytes `container` wants: a tar is known by the checksum of its first header."""

_CHECKSUM = slice(148, 156)
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
# An object or an array, and then something that may stand inside one; "[section]" is no JSON.
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*(?:["}]|\Z)|\[\s*(?:[\[\]{"\-0-9]|true|false|null|\Z))')

_SIGNATURES: tuple[tuple[ImageKind, tuple[bytes, ...]], ...] = (
    ("jpeg", (b"\xff\xd8\xff",)),
    ("png", (b"\x89PNG\r\n\x1a\n",)),
    ("gif", (b"GIF87a", b"GIF89a")),
    ("tiff", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
)
_BITMAP_HEADER_SIZES = (12, 16, 40, 52, 56, 64, 108, 124)


def container(head: bytes) -> Container | None:
    """Name the container that begins with these bytes, or None; give `HEAD_BYTES` where there are.

    An empty tar (zeros only) has nothing to be known by and gives None.

    >>> container(b"PK" + bytes([3, 4]) + b"..."), container(b'[{"id": 1}]'), container(b"<html>")
    ('zip', 'json', None)
    """
    # First, because a tar may begin with any letters: its first member can be named "PAR1.jpg".
    if _is_tar(head):
        return "tar"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"PAR1"):
        return "parquet"
    return "json" if _JSON.match(head) else None


def _is_tar(head: bytes) -> bool:
    """Whether the checksum of the first header holds; old tars have no 'ustar' to look for."""
    header = head[:HEAD_BYTES]
    stated = _OCTAL.fullmatch(header[_CHECKSUM])
    if len(header) < HEAD_BYTES or not stated:
        return False
    return int(stated[1], 8) == sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")


def image_kind(head: bytes) -> ImageKind | None:
    """Name the image format that begins with these bytes (32 are enough), or None.

    >>> image_kind(b"GIF89a..."), image_kind(b"<svg>")
    ('gif', None)
    """
    for kind, signatures in _SIGNATURES:
        if head.startswith(signatures):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    # Two letters are too little to go by: many a text begins with "BM".
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BITMAP_HEADER_SIZES:
        return "bmp"
    return None
