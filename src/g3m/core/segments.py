"""The segments of a JPEG that an encoder leaves out: which way up it is, and what its colours mean.

Bytes in, bytes out; `look` in core/structure.py reads what is written here.
"""

from __future__ import annotations

import struct

PROFILE_LIMIT_BYTES = 2**21
"""Those of printers have half a megabyte; what is larger is no profile, and a JPEG has room for 16 MB."""

_EXIF, _ICC = 0xE1, 0xE2
_ICC_HEAD = b"ICC_PROFILE\0"
_PIECE_BYTES = 65535 - 2 - len(_ICC_HEAD) - 2
_JFIF = b"\xff\xe0"


def with_segments(jpeg: bytes, *, orientation: int = 1, profile: bytes = b"") -> bytes:
    """A JPEG as an encoder wrote it, with an orientation tag (unless 1) and an ICC profile (unless empty).

    They stand behind its JFIF segment, if it has one, and before everything else. ValueError for a profile of
    more than PROFILE_LIMIT_BYTES.
    """
    if len(profile) > PROFILE_LIMIT_BYTES:
        raise ValueError(f"a profile of {len(profile)} bytes")
    pieces = [profile[at : at + _PIECE_BYTES] for at in range(0, len(profile), _PIECE_BYTES)]
    added = [] if orientation == 1 else [_segment(_EXIF, _exif(orientation))]
    for number, piece in enumerate(pieces, 1):
        added.append(_segment(_ICC, _ICC_HEAD + bytes((number, len(pieces))) + piece))
    if not added:
        return jpeg
    at = 2
    if jpeg[2:4] == _JFIF:
        at = 4 + int.from_bytes(jpeg[4:6], "big")
    return b"".join((jpeg[:at], *added, jpeg[at:]))


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _exif(orientation: int) -> bytes:
    """Exif of one directory with one entry."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
