"""Pillow, imported when it is needed: six formats of its fifty, and no warnings about single pictures.

Like curl.py it is for other adapters to use. What a picture is asked and told is their business.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""By Pillow's names, for every `open`: of what else it could read EPS, for one, would start ghostscript."""

_MODULES = re.compile(r"PIL\.")


@cache
def load_pillow() -> Any:
    """Pillow's Image module, with our formats and no other loaded."""
    # By name: to find WebP on its own, Pillow would import all its fifty formats.
    from PIL import (
        BmpImagePlugin,  # noqa: F401
        GifImagePlugin,  # noqa: F401
        Image,
        JpegImagePlugin,  # noqa: F401
        PngImagePlugin,  # noqa: F401
        TiffImagePlugin,  # noqa: F401
        WebPImagePlugin,  # noqa: F401
    )

    return Image


def silence() -> None:
    """Ignore warnings from Pillow's modules: they are about one picture, and its verdict says it.

    For the whole process and for good, because `warnings.catch_warnings` is not safe in threads.
    """
    rule = ("ignore", None, Warning, _MODULES, 0)
    if not warnings.filters or warnings.filters[0] != rule:
        warnings.filterwarnings("ignore", module=_MODULES.pattern)
