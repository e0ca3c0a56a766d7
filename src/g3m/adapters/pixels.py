"""From the bytes of a picture to the pixels that a model is trained with: decoded, scaled, cropped.

Here: CLIP's preprocessing as torchvision does it to a Pillow image, in three ways.

    exact   Pillow alone; every bit as the reference
    near    all pixels of a JPEG by libjpeg-turbo, then one resampling that makes no more than the crop needs
    fast    as near, and libjpeg-turbo makes a large JPEG smaller while it decodes

docs/guides/fidelity.md says in numbers how near they are. What is no JPEG, or what libjpeg-turbo complains
of, goes the exact way, so all ways refuse the same pictures. The resampling is Pillow's, unless the caller
brings a faster one: load/torch.py does, because only there torch may be imported.

Not here: threads and batches (load/assemble.py), tensors (load/torch.py), and the question whether a picture
is sound (adapters/image.py). An Exif orientation is not applied, because the reference does not apply it.

The heavy calls let other threads run: decoding, resampling, normalising. What one picture needs of the
interpreter itself is some twenty microseconds (exact: sixty).
"""

from __future__ import annotations

import functools
import io
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from g3m.adapters.pillow import FORMATS, load_pillow, silence
from g3m.core.structure import has_endless_scans
from g3m.core.treatment import PIXEL_LIMIT

Decode = Literal["fast", "near", "exact"]

Resample = Callable[[Any, int, int, float, float], Any]
"""(levels, columns, rows, across, down) -> levels of shape (rows, columns, 3), in any order of memory.

`levels` is uint8 of shape (height, width, 3). One pixel of the result is `across` by `down` pixels of it,
counted from its left upper corner, by a bicubic filter that grows with the scale, as Pillow's does.
"""

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's mean and standard deviation of red, green and blue, where 1 is the level 255."""

REASON_CHARACTERS = 200
BUFFER_LIMIT_BYTES = 2**23
"""Up to this size a thread keeps the memory that it decodes into, which saves asking the system for pages."""

LONGEST = 4
"""Beyond this ratio of the sides too little of a scaled picture would show: Pillow makes the crop alone."""

_ADDRESS = re.compile(r"<_io\.BytesIO object at \w+>")
_JPEG = b"\xff\xd8\xff"
_FOUR_COLOURS = ("CMYK", "YCCK")
_EIGHTHS = (1, 2, 4, 8)
"""The scales for which libjpeg-turbo is fast: five eighths take it longer than the whole picture."""

_thread = threading.local()


class Broken(Exception):
    """These bytes give no picture; `reason` says why, in the decoder's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a picture becomes pixels: the shorter side to `size`, bicubic, then the middle square of that."""

    size: int = 224
    decode: Decode = "near"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"{self.size} is no size of a picture")
        if self.decode not in get_args(Decode):
            raise ValueError(f"{self.decode!r} is none of {', '.join(get_args(Decode))}")


DEFAULT = Preprocess()


def pixels(image: bytes, preprocess: Preprocess = DEFAULT, resample: Resample | None = None) -> Any:
    """The picture as numpy uint8 of shape (size, size, 3), red first; raises Broken."""
    import numpy

    return numpy.array(_levels(image, preprocess, resample), order="C")


def into(image: bytes, out: Any, preprocess: Preprocess = DEFAULT, resample: Resample | None = None) -> None:
    """Write the picture into `out`, a numpy array of shape (3, size, size), such as a place in a batch.

    As uint8 it gets the levels 0 to 255, as float32 what `floats` makes of them. Where this raises Broken,
    `out` is untouched.
    """
    import numpy

    size = preprocess.size
    if out.shape != (3, size, size) or out.dtype not in (numpy.uint8, numpy.float32):
        raise ValueError(f"a place of {out.dtype} {out.shape} cannot take a picture of {size} pixels")
    levels = _levels(image, preprocess, resample)
    if out.dtype == numpy.uint8:
        numpy.copyto(out, levels.transpose(2, 0, 1))
    else:
        _normalise(levels, out)


def floats(levels: Any) -> Any:
    """Levels of shape (height, width, 3) as float32 of shape (3, height, width), normalised as CLIP does.

    Bit-equal to torchvision's ToTensor and Normalize on the CPU.
    """
    import numpy

    out = numpy.empty((3, *levels.shape[:2]), numpy.float32)
    _normalise(levels, out)
    return out


def picture(image: bytes) -> Any:
    """All of the picture as a Pillow image in RGB; of an animation, the first frame. Raises Broken."""
    return _guarded(_decoded, image)


def square(whole: Any, size: int) -> Any:
    """A Pillow image with its shorter side scaled to `size`, and the middle of that: the reference itself."""
    bicubic = load_pillow().Resampling.BICUBIC
    wide, high = _covering(whole.width, whole.height, size)
    if wide * high > PIXEL_LIMIT:  # the reference would need gigabytes for what nobody sees
        box = _box(whole.width, whole.height, size, 8)
        return whole.resize((size, size), bicubic, box=box)
    left, top = _middle(wide, size), _middle(high, size)
    scaled = whole.resize((wide, high), bicubic)
    return scaled.crop((left, top, left + size, top + size))


def _levels(image: bytes, preprocess: Preprocess, resample: Resample | None) -> Any:
    """Levels of shape (size, size, 3); where they lie in memory is not said."""
    if preprocess.decode == "exact":
        return _guarded(functools.partial(_exact, size=preprocess.size), image)
    scales = _EIGHTHS if preprocess.decode == "fast" else (8,)
    return _guarded(functools.partial(_turbo, size=preprocess.size, scales=scales, resample=resample), image)


def _guarded(way: Callable[[bytes], Any], image: bytes) -> Any:
    """What `way` makes of the bytes; whatever a decoder raises becomes Broken, except that memory ran out."""
    silence()
    try:
        return way(image)
    except (Broken, MemoryError):
        raise
    # Decoders of hostile bytes raise whatever they like: struct.error, KeyError, ZeroDivisionError.
    except Exception as error:  # noqa: BLE001
        words = _ADDRESS.sub("the bytes", str(error)) or type(error).__name__
        raise Broken(words[:REASON_CHARACTERS]) from None


def _exact(image: bytes, *, size: int) -> Any:
    import numpy

    return numpy.asarray(square(_decoded(image), size))


def _turbo(image: bytes, *, size: int, scales: tuple[int, ...], resample: Resample | None) -> Any:
    """A JPEG decoded at the smallest of the scales that leaves `size` pixels, then resampled to the crop."""
    import simplejpeg

    if not image.startswith(_JPEG):
        return _exact(image, size=size)
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(image)
        if space in _FOUR_COLOURS:
            return _exact(image, size=size)
        _refuse_bomb(image, width, height)
        eighths = next((n for n in scales if min(width, height) * n >= size * 8), 8)
        rows, columns = (-(-side * eighths // 8) for side in (height, width))
        buffer = _buffer(rows * columns * 3)
        levels = simplejpeg.decode_jpeg(image, "RGB", min_height=rows, min_width=columns, buffer=buffer)
    except ValueError:  # libjpeg complains, if only about a spare byte: Pillow decides
        return _exact(image, size=size)
    return _resampled(levels, (width, height, size, eighths), resample)


def _resampled(levels: Any, shape: tuple[int, int, int, int], resample: Resample | None) -> Any:
    """What the crop of the reference shows; `shape` as in `_box`."""
    import numpy

    width, height, size, eighths = shape
    if resample is None or max(width, height) > LONGEST * min(width, height):
        high, wide = levels.shape[:2]
        pillow = load_pillow()
        whole = pillow.frombuffer("RGB", (wide, high), levels, "raw", "RGB", 0, 1)
        return numpy.asarray(whole.resize((size, size), pillow.Resampling.BICUBIC, box=_box(*shape)))
    wide, high = _covering(width, height, size)
    left, top = _middle(wide, size), _middle(high, size)
    across, down = width * eighths / 8 / wide, height * eighths / 8 / high
    return resample(levels, left + size, top + size, across, down)[top:, left:]


def _box(width: int, height: int, size: int, eighths: int) -> tuple[float, float, float, float]:
    """What the crop of the reference shows of a picture, in pixels of a decoder that makes `eighths` of 8."""
    wide, high = _covering(width, height, size)
    across, down = width * eighths / 8 / wide, height * eighths / 8 / high
    left, top = _middle(wide, size) * across, _middle(high, size) * down
    return left, top, left + size * across, top + size * down


def _covering(width: int, height: int, size: int) -> tuple[int, int]:
    """To which width and height a picture is scaled: torchvision's rule, which cuts off the fraction."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def _middle(side: int, size: int) -> int:
    """Where a middle of `size` pixels begins: torchvision's rule, which rounds a half to even."""
    return round((side - size) / 2.0)


def _normalise(levels: Any, out: Any) -> None:
    import numpy

    mean, deviation = _constants()
    # Three roundings, as in the reference: a product with 1 / 255, or fewer steps, gives other last bits.
    numpy.divide(levels.transpose(2, 0, 1), 255, out=out, dtype=numpy.float32)
    numpy.subtract(out, mean, out=out)
    numpy.divide(out, deviation, out=out)


@functools.cache
def _constants() -> Any:
    import numpy

    return tuple(numpy.array(of, numpy.float32).reshape(3, 1, 1) for of in (MEAN, DEVIATION))


def _buffer(size_bytes: int) -> Any:
    """Memory of this thread to decode into, or None: its last contents are done with by then."""
    import numpy

    if size_bytes > BUFFER_LIMIT_BYTES:
        return None
    kept = getattr(_thread, "buffer", None)
    if kept is None or kept.size < size_bytes:
        kept = _thread.buffer = numpy.empty(size_bytes, numpy.uint8)
    return kept


def _refuse_bomb(image: bytes, width: int, height: int) -> None:
    if width * height > PIXEL_LIMIT:
        raise Broken(f"{width} x {height} pixels are more than {PIXEL_LIMIT}")
    if has_endless_scans(image, width, height):
        raise Broken("too many scans")


def _decoded(image: bytes) -> Any:
    """All pixels of a picture, by Pillow, in red, green and blue."""
    with load_pillow().open(io.BytesIO(image), formats=FORMATS) as opened:
        _refuse_bomb(image, opened.width, opened.height)
        opened.load()
        return opened if opened.mode == "RGB" else opened.convert("RGB")
