"""Encoding a picture anew: smaller, upright, in RGB, as JPEG; runs where hostile bytes may do no harm.

Here: Pillow and libjpeg-turbo, from bytes to bytes. Whether a picture is to be changed is decided elsewhere
(core/treatment.py); the guard's worker process calls it, because decoders crash and pictures claim gigabytes.

Where a colour JPEG only gets smaller (nearly every picture there is), brightness and colours go apart, as
the file stores them: colours at half resolution, which is all that comes out, and no conversion to red, green
and blue and back. Everything else goes the plain way.

What comes out has an ICC profile (if the picture had one that fits its colours), the orientation tag (if it
was not turned), and nothing else: no camera, no place, no thumbnail. The same bytes give the same bytes with
one version of Pillow and of libjpeg-turbo on one kind of processor, and not beyond.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from g3m.adapters.pillow import FORMATS, load_pillow
from g3m.core.segments import PROFILE_LIMIT_BYTES, with_segments
from g3m.core.structure import has_endless_scans, look
from g3m.core.treatment import PIXEL_LIMIT, Resize

DECODE_GAP = 1.5
"""A JPEG is decoded at 1/2, 1/4 or 1/8 where that leaves so many times the wanted pixels to the filter."""

REDUCING_GAP = 3.0
"""Other formats are averaged down to so many times the wanted size before the filter."""

_JPEG_FORMATS = ("JPEG", "MPO")  # several JPEGs in one file, as some cameras write: the first one counts
_SPACES = {"L": b"GRAY", "RGB": b"RGB ", "CMYK": b"CMYK"}
"""The colour space that an ICC profile states for the pixels of a mode."""

_GRAY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")
_WHITE = 255


class NotDrawn(Exception):
    """The picture cannot be decoded; `finding` is a class of core/treatment.py."""

    def __init__(self, finding: str, words: str) -> None:
        super().__init__(words)
        self.finding = finding


def redraw(
    data: bytes,
    *,
    resize: Resize | None = None,
    turn: bool = False,
    rgb: bool = False,
    jpeg: bool = False,
    quality: int = 95,
) -> bytes | None:
    """The picture as a new JPEG, or None if nothing of what is asked changes it.

    `turn` sets it upright as its orientation tag says; `rgb` asks for three colours; `jpeg` for a JPEG,
    whatever it is now. `resize` brings its own quality. Raises NotDrawn; MemoryError where that is limited.
    """
    seen = look(data)
    if seen.kind is None:
        raise NotDrawn("not_an_image", "none of the known formats")
    _limit((seen.width, seen.height))  # before Pillow sees it: a header is enough to refuse
    pillow = load_pillow()
    try:
        with pillow.open(io.BytesIO(data), formats=FORMATS) as image:
            _limit(image.size)  # the two may read a crafted header differently
            if has_endless_scans(data, *image.size):
                raise NotDrawn("broken", "too many scans")
            frame = None if resize is None else _frame(image.size, resize)
            turning = seen.orientation if turn and seen.orientation != 1 else 0
            colouring = rgb and (image.mode in _GRAY or image.mode == "CMYK")
            if not (frame or turning or colouring or (jpeg and seen.kind != "jpeg")):
                return None
            profile = image.info.get("icc_profile") or b""
            if frame and not (frame.canvas or turning) and _has_planes(image, frame):
                asked = quality if resize is None else resize.quality
                return with_segments(
                    _made_of_planes(image, frame, asked),
                    orientation=seen.orientation,
                    profile=_fitting(profile, "RGB"),
                )
            made = _scaled(image, frame) if frame else _plain(image)
        made = _onto_white(made, frame.canvas if frame else None)
        made, profile = _coloured(made, profile, colouring)
        if turning:
            made = made.transpose(_turns(pillow)[turning])
        tag = 1 if turning else seen.orientation
        return _encode(made, profile, tag, quality if resize is None else resize.quality)
    except (MemoryError, NotDrawn):
        raise
    except pillow.DecompressionBombError as error:
        raise NotDrawn("bomb", str(error)) from error
    # Decoders of hostile bytes raise whatever they like: struct.error, KeyError, ZeroDivisionError.
    except Exception as error:
        cut = "no_end" in seen.classes or "truncated" in str(error)
        raise NotDrawn("truncated" if cut else "broken", f"{type(error).__name__}: {error}") from error


def _limit(size: tuple[int, int]) -> None:
    if size[0] * size[1] > PIXEL_LIMIT:
        raise NotDrawn("bomb", f"{size[0]} x {size[1]} pixels")


@dataclass(frozen=True, slots=True)
class _Frame:
    """How a picture comes to its new size: what is cut out of it, how large that becomes, on which canvas."""

    size: tuple[int, int]
    box: tuple[float, float, float, float]
    canvas: tuple[int, int] | None = None


def _frame(size: tuple[int, int], resize: Resize) -> _Frame | None:
    """The frame for a picture of a size, or None if it has the wanted size already."""
    width, height = size
    side, whole = resize.size, (0.0, 0.0, float(width), float(height))
    shorter, longer = min(size), max(size)
    if resize.leaves(width, height):
        return None
    if resize.mode == "center_crop":
        left, top = (width - shorter) / 2, (height - shorter) / 2
        box = (left, top, left + shorter, top + shorter)
        return _Frame((side, side), box)
    if resize.mode == "border":
        canvas = (side, side)
        return _Frame(_times(size, side, longer), whole, canvas)
    return _Frame(_times(size, side, shorter if resize.mode == "keep_ratio" else longer), whole)


def _times(size: tuple[int, int], side: int, reference: int) -> tuple[int, int]:
    """The size times side / reference, rounded half up; no side vanishes."""
    width, height = ((2 * edge * side + reference) // (2 * reference) for edge in size)
    return max(width, 1), max(height, 1)


def _scaled(image: Any, frame: _Frame) -> Any:
    """The part of the picture in its new size; a JPEG is decoded no larger than the filter needs."""
    box, _ = _draft(image, frame, None)
    plain = _plain(image)
    part = _within(box, plain)
    return plain.resize(frame.size, load_pillow().Resampling.LANCZOS, part, REDUCING_GAP)


def _draft(image: Any, frame: _Frame, mode: str | None) -> tuple[tuple[float, ...], bool]:
    """Have a JPEG decoded no larger than the filter needs: the box there, and whether it is smaller."""
    width, height = image.size
    left, top, right, bottom = frame.box
    # The whole picture at the scale at which the part has the size that the filter needs.
    across = frame.size[0] * width / (right - left) * DECODE_GAP
    down = frame.size[1] * height / (bottom - top) * DECODE_GAP
    drafted = image.draft(mode, (max(int(across), 1), max(int(down), 1)))
    by = drafted[1][2] / width if drafted else 1.0
    return tuple(edge * by for edge in frame.box), by < 1


def _within(box: tuple[float, ...], image: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left, top, min(right, image.width), min(bottom, image.height)


def _has_planes(image: Any, frame: _Frame) -> bool:
    """Whether a picture is stored as brightness and two colours, by libjpeg's own rule, and no line."""
    if image.format not in _JPEG_FORMATS or image.mode != "RGB" or min(frame.size) < 2:
        return False
    if "jfif" in image.info or "adobe_transform" not in image.info:
        return "jfif" in image.info or [layer[0] for layer in image.layer] == [1, 2, 3]
    return bool(image.info["adobe_transform"])


def _made_of_planes(image: Any, frame: _Frame, quality: int) -> bytes:
    """The new JPEG: brightness in the new size, colours in half of it."""
    import simplejpeg

    pillow = load_pillow()
    box, is_smaller = _draft(image, frame, "YCbCr")
    image.load()
    bright, *colours = image.split()
    wide, high = frame.size
    half = ((wide + 1) // 2, (high + 1) // 2)
    left, top, right, bottom = box
    # Where a side is odd, the last half pixel reaches beyond the picture.
    reach = (left, top, left + (right - left) * 2 * half[0] / wide, top + (bottom - top) * 2 * half[1] / high)
    way = pillow.Resampling
    # Pairs of a whole decode's colour pixels are averaged first: libjpeg has interpolated half of them.
    gap = None if is_smaller else max((right - left) / wide * 0.99, 1.0)
    planes = [bright.resize(frame.size, way.LANCZOS if is_smaller else way.BICUBIC, _within(box, bright))]
    planes += [one.resize(half, way.HAMMING, _within(reach, one), gap) for one in colours]
    made: bytes = simplejpeg.encode_jpeg_yuv_planes(*map(_with_a_row_behind, planes), quality)
    return made


def _with_a_row_behind(plane: Any) -> memoryview:
    """A plane with its last row once more behind its end: where a side is odd, libjpeg-turbo reads there."""
    data = plane.tobytes()
    return memoryview(data + data[-plane.width :])[: len(data)].cast("B", (plane.height, plane.width))


def _plain(image: Any) -> Any:
    """The pixels as L, RGB or CMYK, or as LA or RGBA where some may be transparent."""
    image.load()
    mode, seen_through = image.mode, "transparency" in image.info
    if mode.startswith("I"):
        # 16 bits, black 0 and white 65535; Pillow's own conversion cuts at 255.
        return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    if mode in ("1", "L", "LA"):
        if mode == "LA":
            return image
        gray = image if mode == "L" else image.convert("L")
        if not seen_through:
            return gray
        gray = gray.copy()
        gray.putalpha(image.convert("RGBA").getchannel("A"))
        return gray
    if mode in ("RGB", "CMYK") and not seen_through:
        return image
    if mode in ("RGBA", "PA", "RGBa") or (mode in ("P", "RGB") and seen_through):
        return image.convert("RGBA")
    return image.convert("RGB")


def _onto_white(image: Any, canvas_size: tuple[int, int] | None) -> Any:
    """The picture on white where it is transparent, and in the middle of a white canvas if there is one."""
    pillow = load_pillow()
    size = canvas_size or image.size
    clear = image.mode in ("LA", "RGBA")
    if not clear and size == image.size:
        return image
    mode = image.mode.removesuffix("A") if clear else image.mode
    white = (0, 0, 0, 0) if mode == "CMYK" else (_WHITE,) * len(mode)
    canvas = pillow.new(mode, size, white)
    place = ((size[0] - image.width) // 2, (size[1] - image.height) // 2)
    canvas.paste(image.convert(mode), place, image.getchannel("A") if clear else None)
    return canvas


def _coloured(image: Any, profile: bytes, rgb: bool) -> tuple[Any, bytes]:
    """The picture, in RGB if asked, and the profile that says what its numbers mean.

    A profile of another colour space says nothing and is dropped. What becomes RGB becomes sRGB: through its
    profile where there is one, else by the plain formula.
    """
    profile = _fitting(profile, image.mode)
    if not rgb or image.mode == "RGB":
        return image, profile
    if profile:
        try:
            from PIL import ImageCms

            source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, source, target, outputMode="RGB"), b""
        except Exception:  # noqa: BLE001, S110  # a broken profile, or a Pillow without LittleCMS
            pass
    return image.convert("RGB"), b""


def _fitting(profile: bytes, mode: str) -> bytes:
    """The profile if it is one for the colours of a mode, else nothing."""
    fits = profile[16:20] == _SPACES[mode] and len(profile) <= PROFILE_LIMIT_BYTES
    return profile if fits else b""


def _encode(image: Any, profile: bytes, orientation: int, quality: int) -> bytes:
    image.info = {}  # else Pillow would carry comments over
    target = io.BytesIO()
    image.save(target, "JPEG", quality=quality)
    return with_segments(target.getvalue(), orientation=orientation, profile=profile)


def _turns(pillow: Any) -> dict[int, Any]:
    """What sets a picture upright, by its orientation tag."""
    way = pillow.Transpose
    return {
        2: way.FLIP_LEFT_RIGHT,
        3: way.ROTATE_180,
        4: way.FLIP_TOP_BOTTOM,
        5: way.TRANSPOSE,
        6: way.ROTATE_270,
        7: way.TRANSVERSE,
        8: way.ROTATE_90,
    }
