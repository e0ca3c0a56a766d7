"""Decoding a picture to see whether it decodes: what the loaders of a training run will do, done once before.

Here: the questions to libjpeg-turbo and to Pillow, for the worker process of adapters/guard.py alone, because
decoders crash and pictures claim gigabytes. Changing pictures is for adapters/redraw.py.

Pillow decides, because people train with it: what it refuses is `truncated` or `broken`. It hides libjpeg's
warnings, so JPEGs go to libjpeg-turbo first, in grey and at an eighth of their size: that reads every byte of
the picture and leaves out only the arithmetic behind. What it takes without a word, Pillow takes too.

Formats: those that web pages show, and TIFF. Whatever else Pillow could open (EPS would start ghostscript) is
never tried. LOAD_TRUNCATED_IMAGES is never set: with it, half a picture counts as a whole one.
"""

from __future__ import annotations

import io
import re

from g3m.adapters.pillow import FORMATS, load_pillow, silence
from g3m.core.structure import Structure, Verdict, has_endless_scans, in_order, look
from g3m.core.treatment import PIXEL_LIMIT

DETAIL_CHARACTERS = 200

_JPEG_FORMATS = ("JPEG", "MPO")  # several JPEGs in one file, as some cameras write: the first one counts
_ADDRESS = re.compile(r"<_io\.BytesIO object at \w+>")
_RAN_OUT = ("Premature end of JPEG file", "image file is truncated")
_OWN_LIMIT = "tj"
"""How libjpeg-turbo's messages about itself begin; those about the picture are libjpeg's words."""


def judge(data: bytes, *, pixel_limit: int = PIXEL_LIMIT) -> Verdict:
    """Decode a whole picture (of an animation, the first frame) and say what was found.

    Pixels are counted before any is decoded. Raises MemoryError and nothing else, whatever the bytes are.
    """
    seen = look(data)
    if seen.kind is None:
        return Verdict(seen.classes, "")
    found, detail = set(seen.classes) - {"broken", "bomb"}, ""
    complaint: str | None = None
    silence()
    pillow = load_pillow()
    try:
        if seen.width * seen.height > pixel_limit:
            raise pillow.DecompressionBombError(f"{seen.width} x {seen.height} pixels")
        with pillow.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > pixel_limit:
                raise pillow.DecompressionBombError(f"{image.width} x {image.height} pixels")
            if has_endless_scans(data, image.width, image.height):
                raise ValueError("too many scans")
            if image.format in _JPEG_FORMATS:
                complaint = _complaint(data)
            if complaint != "":  # nothing to say is all that need be asked
                image.load()
    except MemoryError:
        raise
    except pillow.DecompressionBombError as error:
        found.add("bomb")
        detail = str(error)
    # Decoders of hostile bytes raise whatever they like: struct.error, KeyError, ZeroDivisionError.
    except Exception as error:  # noqa: BLE001
        words = f"{complaint or ''} {error}"
        found.add("truncated" if _is_cut(seen, data, words) else "broken")
        detail = complaint or str(error)
    else:
        if complaint and not complaint.startswith(_OWN_LIMIT):
            found.add("warning")
            detail = complaint
    return Verdict(in_order(found), _ADDRESS.sub("the bytes", detail)[:DETAIL_CHARACTERS])


def load_decoders() -> None:
    """Import what `judge` needs, so that a broken installation shows before the first picture."""
    import simplejpeg  # noqa: F401

    load_pillow()


def _complaint(data: bytes) -> str:
    """What libjpeg-turbo says against a JPEG: a warning or a refusal; empty if it has nothing to say."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, fastupsample=True, min_height=1, min_width=1)
    except ValueError as error:
        return str(error) or "refused"
    return ""


def _is_cut(seen: Structure, data: bytes, words: str) -> bool:
    """Whether a picture that does not decode lacks its end, or the decoder ran out of bytes."""
    if seen.kind == "bmp":
        return int.from_bytes(data[2:6], "little") > len(data)
    return "no_end" in seen.classes or any(told in words for told in _RAN_OUT)
