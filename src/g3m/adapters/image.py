"""Looking at images: what the header says, and whether the whole picture decodes.

Here: questions to Pillow, which is imported only when one is asked. Changing images (scaling,
turning, encoding) is not for here: shards hold the bytes that the source delivered.

Formats: JPEG, PNG, WebP, GIF and BMP, the ones that web pages show and the sources deliver. TIFF is
left out: it is a family of containers with a dozen codecs, most of Pillow's security reports come
from it, and no browser shows it. Whatever else Pillow could open (EPS would start ghostscript) is
never tried. LOAD_TRUNCATED_IMAGES is never set: with it, half a picture counts as a whole one.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

from g3m.core.errors import NotRecognised
from g3m.core.sniff import ImageKind, has_jpeg_end, image_kind

PIXEL_LIMIT = 64_000_000
"""The largest picture of all sources has 25 million pixels; one of 64 million takes 256 MB."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_KINDS: dict[str | None, ImageKind] = {
    "JPEG": "jpeg",
    "MPO": "jpeg",  # several JPEGs in one file, as some cameras write; the first one counts
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
}
_ORIENTATION_TAG = 0x0112
_PILLOW_MODULES = re.compile(r"PIL\.")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What an image's header says; `orientation` is Exif's, 1 (upright) to 8.

    Width and height are those of the stored picture, before any turning.
    """

    kind: ImageKind
    width: int
    height: int
    mode: str
    orientation: int


def probe(data: bytes) -> ImageFacts:
    """Read an image's header; NotRecognised if it is none of the five formats, or claims a bomb."""
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(data), formats=_FORMATS) as image:
            kind = _KINDS[image.format]
            orientation = _orientation(pillow, image)
            return ImageFacts(kind, image.width, image.height, image.mode, orientation)
    # Parsers of hostile bytes raise whatever they like: struct.error, KeyError, ZeroDivisionError.
    except Exception as error:
        raise NotRecognised(f"no image header in {len(data)} bytes: {error}") from error


def verdict(data: bytes, *, pixel_limit: int = PIXEL_LIMIT) -> str:
    """Decode a whole image (of an animation, the first frame) and say how that went.

    "ok"            every pixel decoded
    "not_an_image"  none of the five formats
    "truncated"     it does not decode, and its end is missing (a JPEG's end marker alone will do)
    "bomb"          it claims more pixels than `pixel_limit`, or than Pillow's 179 million
    "broken"        it does not decode although its end is there

    Raises nothing, whatever the bytes are. Pixels are counted before any is decoded.
    """
    kind = image_kind(data[:32])
    if kind is None or kind == "tiff":
        return "not_an_image"
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > pixel_limit:
                return "bomb"
            image.load()
    except pillow.DecompressionBombError:
        return "bomb"
    except Exception:  # noqa: BLE001 - as above
        return "truncated" if _is_cut(kind, data) else "broken"
    return "ok"


def _pillow() -> Any:
    """Pillow's Image module, with the five formats and no other loaded, and its warnings off."""
    # By name: to find WebP on its own, Pillow would import all its fifty formats.
    from PIL import (
        BmpImagePlugin,  # noqa: F401
        GifImagePlugin,  # noqa: F401
        Image,
        JpegImagePlugin,  # noqa: F401
        PngImagePlugin,  # noqa: F401
        WebPImagePlugin,  # noqa: F401
    )

    _silence_pillow()
    return Image


def _silence_pillow() -> None:
    """Ignore warnings from Pillow's modules: they are about one picture, and the verdict says it.

    For the whole process and for good, because `warnings.catch_warnings` is not safe in threads.
    """
    rule = ("ignore", None, Warning, _PILLOW_MODULES, 0)
    if not warnings.filters or warnings.filters[0] != rule:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES.pattern)


def _orientation(pillow: Any, image: Any) -> int:
    try:
        # Not image.getexif(): that of PNG decodes the whole picture to look for Exif behind it.
        stated = pillow.Image.getexif(image).get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001 - as above
        return 1
    return stated if isinstance(stated, int) and 1 <= stated <= 8 else 1


def _is_cut(kind: ImageKind, data: bytes) -> bool:
    """Whether the end that every file of this format has, or announces, is not there."""
    if kind == "jpeg":
        return not has_jpeg_end(data)
    if kind == "png":
        return b"IEND" not in data[-64:]
    if kind == "gif":
        return not data.rstrip(b"\0").endswith(b"\0;")
    announced = data[4:8] if kind == "webp" else data[2:6]
    return int.from_bytes(announced, "little") + (8 if kind == "webp" else 0) > len(data)
