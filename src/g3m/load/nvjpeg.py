"""Decoding the JPEGs of a batch on a CUDA device, by nvJPEG.

Workers call `compressed` and hand over bytes; the thread that hands batches out calls a `DeviceDecoder`. What
nvJPEG does not take, or would show otherwise than Pillow (CMYK, turned by a tag), is decoded on the CPU.

Here: bytes to pixels on a device. Not here: reading, order, what comes in the place of a broken picture,
normalising (load/torch.py). torch and the library that calls nvJPEG are imported where they are used.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from g3m.adapters.pixels import Broken, Preprocess, pixels
from g3m.core.errors import UsageError
from g3m.core.structure import has_endless_scans, look

LARGEST_PIXELS = 16_000_000
"""Larger ones are decoded on the CPU, so that one picture cannot take the memory of the device."""

_FOR_DEVICE = frozenset(("grayscale", "trailing"))
_STORES_RGB = re.compile(rb"\xff\xee..Adobe.{6}\0", re.DOTALL)
"""Adobe's mark with transform 0: three colours that are no YCbCr, which decoders guess differently."""

_LIBRARIES = ("torchcodec.decoders", "torchvision.io")
_HINT = (
    "needed: a CUDA device and torchcodec 0.16 or torchvision 0.20, or newer; decode='fast' needs neither",
    "需要 CUDA 设备，以及 torchcodec 0.16 或 torchvision 0.20 以上版本；decode='fast' 则都不需要",
)

Decode = Callable[[list[Any], Any], list[Any]]
"""Tensors of bytes and a device to tensors (3, height, width), uint8, on that device; RuntimeError."""


def compressed(image: bytes, preprocess: Preprocess) -> Any:
    """The bytes themselves if the device shall decode them, else its pixels; raises Broken."""
    seen = look(image)
    fits = seen.kind == "jpeg" and _FOR_DEVICE.issuperset(seen.classes)
    fits = fits and seen.width * seen.height <= LARGEST_PIXELS and not _STORES_RGB.search(image, 0, 4096)
    if fits and not has_endless_scans(image, seen.width, seen.height):
        return image
    return pixels(image, preprocess)


class DeviceDecoder:
    """Makes one tensor on a device of a batch's items; UsageError where nothing can decode there.

    `refused` counts the JPEGs that the device did not decode, so that the CPU had to.
    """

    def __init__(self, preprocess: Preprocess, device: Any = "cuda", decode: Decode | None = None) -> None:
        import torch

        self.device = torch.device(device)
        self.refused = 0
        self._preprocess = preprocess
        self._decode = decode or _library(self.device)

    def __call__(self, items: Sequence[Any]) -> tuple[Any, dict[int, str]]:
        """From what `compressed` gave: uint8 (batch, 3, size, size) on the device; why places are broken."""
        import torch

        size = self._preprocess.size
        images = torch.zeros((len(items), 3, size, size), dtype=torch.uint8, device=self.device)
        broken: dict[int, str] = {}
        decoded = iter(self._decoded([item for item in items if isinstance(item, bytes)]))
        for place, item in enumerate(items):
            picture = next(decoded) if isinstance(item, bytes) else None
            try:
                images[place] = self._on_cpu(item) if picture is None else squared(picture, size)
            except Broken as error:
                broken[place] = error.reason
        return images, broken

    def _on_cpu(self, item: Any) -> Any:
        import torch

        levels = pixels(item, self._preprocess) if isinstance(item, bytes) else item
        return torch.from_numpy(levels.copy()).permute(2, 0, 1)  # the copy is writable, as torch wants it

    def _decoded(self, images: list[bytes]) -> list[Any]:
        """A tensor for each, None for what is refused; for one bad picture the library refuses all."""
        tensors = [_tensor(image) for image in images]
        try:
            return list(self._decode(tensors, self.device)) if tensors else []
        except RuntimeError:
            found = [self._alone(tensor) for tensor in tensors]
        self.refused += sum(picture is None for picture in found)
        return found

    def _alone(self, tensor: Any) -> Any:
        try:
            return self._decode([tensor], self.device)[0]
        except RuntimeError:
            return None


def squared(picture: Any, size: int) -> Any:
    """From (3, height, width) to uint8 (3, size, size): antialiased bicubic, then the middle."""
    from torch.nn.functional import interpolate

    height, width = picture.shape[-2:]
    short = min(height, width)
    shape = (int(size * height / short), int(size * width / short))
    scaled = interpolate(picture[None].float(), size=shape, mode="bicubic", antialias=True)[0]
    top, left = (round((side - size) / 2) for side in shape)
    return scaled[:, top : top + size, left : left + size].round().clamp(0, 255).to(picture.dtype)


def _library(device: Any) -> Decode:
    """The first library that decodes a picture on the device; UsageError with their reasons if none does."""
    import torch
    from PIL import Image

    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("decode='nvjpeg': torch sees no CUDA device here", hint=_HINT)
    Image.new("RGB", (16, 16)).save(trial := io.BytesIO(), "JPEG")
    reasons = []
    for library in _LIBRARIES:
        try:
            decode_jpeg = import_module(library).decode_jpeg
            decode_jpeg([_tensor(trial.getvalue())], mode="RGB", device=device)
        # One that does not fit this torch raises what it likes: ImportError, RuntimeError, OSError.
        except Exception as error:  # noqa: BLE001
            words = str(error) or type(error).__name__
            reasons.append(f"{library}: {words.splitlines()[0][:200]}")
        else:
            return lambda tensors, device: list(decode_jpeg(tensors, mode="RGB", device=device))
    raise UsageError(f"decode='nvjpeg': nothing decodes on {device} ({'; '.join(reasons)})", hint=_HINT)


def _tensor(image: bytes) -> Any:
    import torch

    return torch.frombuffer(bytearray(image), dtype=torch.uint8)
