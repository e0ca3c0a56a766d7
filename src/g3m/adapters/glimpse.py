"""Small looks at a picture: a perceptual hash, a thumbnail, some grey pixels; for the guard's worker alone.

Pixels are those that a loader trains with: the Exif orientation is not applied, colour profiles are not
either, and of an animation the first frame counts. What is transparent is laid onto white. Nothing of the
metadata comes along. A JPEG is decoded no larger than it is needed, which costs a fraction of the whole.

Not here: what hashes mean (core/alike.py), whether a picture is sound (adapters/image.py), and pictures for
shards (adapters/redraw.py).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any

from g3m.adapters.pillow import FORMATS, load_pillow, silence
from g3m.core.alike import is_flat, pack_columns, pack_rows
from g3m.core.structure import Structure, has_endless_scans, look
from g3m.core.treatment import PIXEL_LIMIT

GREY_SIDE = 32
"""A JPEG is decoded to no fewer pixels a side for its hash: four to each of the hash's."""

COMPARED_SIDE = 16
"""So small are pictures compared a second time: what differs is the picture, not its grain or its edges."""

_FOUR_COLOURS = ("CMYK", "YCCK")
_EIGHTHS = (1, 2, 4, 8)
"""The scales for which libjpeg-turbo is fast."""

_WIDE = ("I", "I;16", "I;16B", "I;16L")
REDUCING_GAP = 2.0


class NotSeen(Exception):
    """The picture cannot be decoded; `finding` is a class of core/treatment.py."""

    def __init__(self, finding: str, words: str) -> None:
        super().__init__(words)
        self.finding = finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """The two halves of the hash as signed 64-bit numbers, both 0 where there is none, and width and height.

    `classes` are all there are if `is_sure`; else a decoder had something to say, and adapters/image.py is
    to be asked what.
    """

    rows: int = 0
    columns: int = 0
    width: int = 0
    height: int = 0
    classes: tuple[str, ...] = ()
    is_sure: bool = False


def glimpse(data: bytes) -> Glimpse:
    """Decode all of a picture, as small as that goes, and hash it. Raises MemoryError and nothing else."""
    seen = look(data)
    if seen.kind is None:
        return Glimpse(classes=seen.classes, is_sure=True)
    try:
        drawn = _grey(data, seen, GREY_SIDE)
        rows, columns = pack_rows(drawn.shrunk((9, 8))), pack_columns(drawn.shrunk((8, 9)))
    except NotSeen:
        return Glimpse(width=seen.width, height=seen.height, classes=seen.classes)
    if is_flat(rows, columns):
        rows = columns = 0
    return Glimpse(
        rows=rows,
        columns=columns,
        width=drawn.width,
        height=drawn.height,
        classes=tuple(name for name in seen.classes if name != "broken"),  # it did decode
        is_sure=drawn.is_sure,
    )


def grey(data: bytes, *, side: int = COMPARED_SIDE) -> bytes:
    """The picture squeezed into side x side grey levels, row by row, a byte each; raises NotSeen."""
    return _grey(data, _known(data), side).shrunk((side, side))


def thumbnail(data: bytes, *, side: int = 256, square: bool = False, quality: int = 80) -> bytes:
    """A JPEG whose longer side has at most `side` pixels; `square`: the middle, side x side at most.

    Small pictures are not enlarged. Raises NotSeen; MemoryError where that is limited.
    """
    import simplejpeg

    drawn = _coloured(data, _known(data), side, square)
    edge = min(drawn.width, drawn.height)
    if square:
        left, top = (drawn.width - edge) / 2, (drawn.height - edge) / 2
        part, size = (left, top, left + edge, top + edge), (min(side, edge),) * 2
    else:
        part = (0.0, 0.0, float(drawn.width), float(drawn.height))
        size = _fitting(drawn.width, drawn.height, side)
    image = drawn.part(part, size)
    levels = memoryview(image.tobytes()).cast("B", (image.height, image.width, 3))
    made: bytes = simplejpeg.encode_jpeg(levels, quality, "RGB", "420")
    return made


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A decoded picture, its own width and height (which may be larger), and whether no decoder complained.

    `by`: one pixel of the picture in pixels of `image`. Where a side is no multiple of eight, the last of
    them shows less than the others, and reaches beyond the picture.
    """

    image: Any
    width: int
    height: int
    by: float
    is_sure: bool = True

    def shrunk(self, size: tuple[int, int]) -> bytes:
        """All of it in another size, as bytes."""
        whole = (0.0, 0.0, float(self.width), float(self.height))
        made: bytes = self._resized(whole, size, load_pillow().Resampling.LANCZOS, None).tobytes()
        return made

    def part(self, part: tuple[float, float, float, float], size: tuple[int, int]) -> Any:
        """A part, in pixels of the picture itself, in another size."""
        if self.image.size == size and part == (0, 0, self.width, self.height):
            return self.image
        return self._resized(part, size, load_pillow().Resampling.BICUBIC, REDUCING_GAP)

    def _resized(self, part: tuple[float, ...], size: tuple[int, int], way: Any, gap: float | None) -> Any:
        left, top, right, bottom = (edge * self.by for edge in part)
        box = (left, top, min(right, self.image.width), min(bottom, self.image.height))
        return self.image.resize(size, way, box, gap)


def _known(data: bytes) -> Structure:
    seen = look(data)
    if seen.kind is None:
        raise NotSeen("not_an_image", "none of the known formats")
    return seen


def _fitting(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height scaled down until the longer one is `side`; no side vanishes."""
    longer = max(width, height)
    if longer <= side:
        return width, height
    across, down = ((2 * edge * side + longer) // (2 * longer) for edge in (width, height))
    return max(across, 1), max(down, 1)


def _grey(data: bytes, seen: Structure, side: int) -> _Drawn:
    """The picture in grey, a JPEG no smaller than side x side if it has as much."""
    drawn = _turbo(data, "GRAY", (side, side)) if seen.kind == "jpeg" else None
    if drawn:
        return drawn
    drawn = _opened(data, seen, "L", (side, side))
    return replace(drawn, image=drawn.image.convert("L"), is_sure=seen.kind != "jpeg")


def _coloured(data: bytes, seen: Structure, side: int, square: bool) -> _Drawn:
    """The picture in RGB with enough pixels for a thumbnail."""
    wanted = (side, side) if square else _fitting(max(seen.width, 1), max(seen.height, 1), side)
    drawn = _turbo(data, "RGB", wanted) if seen.kind == "jpeg" else None
    return drawn or _opened(data, seen, "RGB", wanted)


def _turbo(data: bytes, space: str, wanted: tuple[int, int]) -> _Drawn | None:
    """A JPEG at the smallest fast scale with at least so many pixels; None where libjpeg complains."""
    import simplejpeg

    try:
        height, width, stored, _ = simplejpeg.decode_jpeg_header(data)
        _limit(width, height)
        if has_endless_scans(data, width, height):
            return None
        if stored in _FOUR_COLOURS:
            return None
        by = next((n for n in _EIGHTHS if width * n >= wanted[0] * 8 and height * n >= wanted[1] * 8), 8)
        rows, columns = (-(-edge * by // 8) for edge in (height, width))
        levels = simplejpeg.decode_jpeg(
            data, space, fastdct=True, fastupsample=True, min_height=rows, min_width=columns
        )
    except ValueError:  # Pillow decides
        return None
    mode, size = "L" if space == "GRAY" else space, (levels.shape[1], levels.shape[0])
    return _Drawn(load_pillow().frombuffer(mode, size, levels, "raw", mode, 0, 1), width, height, by / 8)


def _opened(data: bytes, seen: Structure, mode: str, wanted: tuple[int, int]) -> _Drawn:
    """The picture by Pillow, in RGB. Raises NotSeen."""
    silence()
    pillow = load_pillow()
    _limit(seen.width, seen.height)  # before Pillow sees it: a header is enough to refuse
    try:
        with pillow.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            _limit(width, height)  # the two may read a crafted header differently
            if has_endless_scans(data, width, height):
                raise NotSeen("broken", "too many scans")
            drafted = image.draft(mode, wanted)  # of a JPEG only
            image.load()
            return _Drawn(_plain(image), width, height, drafted[1][2] / width if drafted else 1.0)
    except (MemoryError, NotSeen):
        raise
    except pillow.DecompressionBombError as error:
        raise NotSeen("bomb", str(error)) from error
    # Decoders of hostile bytes raise whatever they like: struct.error, KeyError, ZeroDivisionError.
    except Exception as error:
        cut = "no_end" in seen.classes or "truncated" in str(error)
        raise NotSeen("truncated" if cut else "broken", f"{type(error).__name__}: {error}") from error


def _limit(width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise NotSeen("bomb", f"{width} x {height} pixels")


def _plain(image: Any) -> Any:
    """The picture in RGB, on white where it is transparent."""
    if image.mode in _WIDE:
        # 16 bits, black 0 and white 65535; Pillow's own conversion cuts at 255.
        return image.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L").convert("RGB")
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        clear = image.convert("RGBA")
        ground = load_pillow().new("RGB", clear.size, (255, 255, 255))
        ground.paste(clear, mask=clear.getchannel("A"))
        return ground
    return image if image.mode == "RGB" else image.convert("RGB")
