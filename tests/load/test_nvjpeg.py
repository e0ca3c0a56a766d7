"""load/nvjpeg.py: what goes to the device and what does not, and how a batch comes back; no GPU is asked.

The decoder that stands in for nvJPEG has the signature of the real ones and decodes on the CPU, with Pillow. Where
torchcodec or torchvision can be imported, their decoders are tried on the CPU, too.
"""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from g3m.adapters.pixels import Broken, Preprocess, pixels
from g3m.core.errors import UsageError
from g3m.lab.drawings import draw
from g3m.load import nvjpeg
from g3m.load.nvjpeg import DeviceDecoder, compressed, squared

SIZE = 48
EXACT = Preprocess(SIZE, "exact")


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth noise, which resampling does not forgive less than a photograph."""
    small = numpy.random.default_rng(seed).integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), numpy.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def stand_in(tensors: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Like decode_jpeg(list, mode="RGB", device=...): all, or RuntimeError."""
    found = []
    for tensor in tensors:
        assert tensor.dtype == torch.uint8
        assert tensor.dim() == 1
        assert tensor.device.type == "cpu"
        try:
            with Image.open(io.BytesIO(tensor.numpy().tobytes())) as image:
                levels = numpy.array(image.convert("RGB"))
        except OSError as error:
            raise RuntimeError(f"nvjpegDecode failed: {error}") from None
        found.append(torch.from_numpy(levels).permute(2, 0, 1).to(device))
    return found


def decoder(decode: Any = stand_in) -> DeviceDecoder:
    return DeviceDecoder(EXACT, "cpu", decode)


def adobe_rgb() -> bytes:
    """A JPEG whose three colours are marked as they are, not as YCbCr."""
    plain = encoded(photo(60, 60))
    return plain[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00" + plain[2:]


def four_colours() -> bytes:
    """A JPEG in YCCK: four colours, and by Adobe's mark no plain ones."""
    plain = encoded(photo(70, 60).convert("CMYK"))
    at = plain.index(b"Adobe") + 11
    return plain[:at] + b"\x02" + plain[at + 1 :]


PLAIN = {
    "colour": encoded(photo(90, 60)),
    "grey": encoded(photo(60, 90).convert("L")),
    "progressive": encoded(photo(80, 80), progressive=True),
    "full chroma": encoded(photo(80, 64), subsampling=0),
    "bytes behind it": encoded(photo(60, 60)) + b"\0\0",
}
TURNED = Image.Exif()
TURNED[0x0112] = 6
FOR_CPU = {
    "png": encoded(photo(70, 60), "PNG"),
    "webp": encoded(photo(70, 60), "WEBP"),
    "cmyk": four_colours(),
    "turned": encoded(photo(70, 60), exif=TURNED),
    "stores RGB": adobe_rgb(),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_jpegs_go_as_they_are(kind: str) -> None:
    """What nvJPEG decodes as Pillow does is handed over untouched."""
    assert compressed(PLAIN[kind], EXACT) is PLAIN[kind]


@pytest.mark.parametrize("kind", FOR_CPU)
def test_others_are_decoded_at_once(kind: str) -> None:
    """What the device does not take, or would show otherwise, comes as the pixels of the exact way."""
    assert numpy.array_equal(compressed(FOR_CPU[kind], EXACT), pixels(FOR_CPU[kind], EXACT))


def test_a_large_picture_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture cannot take the memory of the device: above the limit it is decoded here."""
    monkeypatch.setattr(nvjpeg, "LARGEST_PIXELS", 90 * 60 - 1)
    assert isinstance(compressed(PLAIN["colour"], EXACT), numpy.ndarray)
    monkeypatch.setattr(nvjpeg, "LARGEST_PIXELS", 90 * 60)
    assert isinstance(compressed(PLAIN["colour"], EXACT), bytes)


@pytest.mark.parametrize("image", [b"", b"no picture", PLAIN["colour"][:40]])
def test_no_picture_is_broken_in_the_worker(image: bytes) -> None:
    """Bytes that are no picture, or end in the middle of the header, never reach the device."""
    with pytest.raises(Broken):
        compressed(image, EXACT)


def test_a_cut_picture_does_not_reach_the_device() -> None:
    """A JPEG without its end is for Pillow to judge, which refuses it."""
    with pytest.raises(Broken, match="truncated"):
        compressed(PLAIN["colour"][:-200], EXACT)


@pytest.mark.parametrize(
    "shape", [(48, 48), (49, 48), (48, 77), (300, 200), (201, 333), (97, 1000), (20, 31), (31, 20), (1, 9)]
)
def test_squares_are_those_of_the_reference(shape: tuple[int, int]) -> None:
    """Scaling and cutting agree with Pillow's, of every form, larger and smaller: Pillow rounds between its passes."""
    levels = numpy.array(photo(*shape, seed=sum(shape)))
    made = squared(torch.from_numpy(levels).permute(2, 0, 1), SIZE)
    expected = pixels(encoded(Image.fromarray(levels), "PNG"), EXACT).transpose(2, 0, 1).astype(int)
    assert made.dtype == torch.uint8
    assert made.shape == (3, SIZE, SIZE)
    difference = numpy.abs(made.numpy().astype(int) - expected)
    assert difference.max() <= 6
    assert difference.mean() < 0.3


def test_a_mixed_batch_keeps_its_places() -> None:
    """Bytes and pixels in one batch: each lands at its place, one contiguous uint8 tensor."""
    images = [image for pair in zip(PLAIN.values(), FOR_CPU.values(), strict=True) for image in pair]
    made, broken = decoder()([compressed(image, EXACT) for image in images])
    assert (made.shape, made.dtype) == ((10, 3, SIZE, SIZE), torch.uint8)
    assert made.is_contiguous()
    assert broken == {}
    for place, image in enumerate(images):
        expected = pixels(image, EXACT).transpose(2, 0, 1).astype(int)
        difference = numpy.abs(made[place].numpy().astype(int) - expected)
        assert difference.max() <= 6, place


def test_one_call_for_a_batch() -> None:
    """The library gets all JPEGs of a batch at once, which is what makes it fast; none, and it is not called."""
    calls: list[int] = []

    def counting(tensors: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        calls.append(len(tensors))
        return stand_in(tensors, device)

    made = decoder(counting)
    made([PLAIN["colour"], pixels(FOR_CPU["png"], EXACT), PLAIN["grey"]])
    made([pixels(FOR_CPU["png"], EXACT)])
    assert calls == [2]
    assert made.refused == 0


def test_one_that_the_device_refuses_is_decoded_on_the_cpu() -> None:
    """A picture that the device does not take spoils nothing: it is decoded here, and counted."""

    def narrow(tensors: list[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
        found = stand_in(tensors, device)
        if any(picture.shape == (3, 80, 80) for picture in found):
            raise RuntimeError("nvjpegDecode failed: 2")
        return found

    made = decoder(narrow)
    images, broken = made([PLAIN["colour"], PLAIN["progressive"], PLAIN["grey"]])
    assert broken == {}
    assert made.refused == 1
    assert torch.equal(images[1], torch.tensor(pixels(PLAIN["progressive"], EXACT)).permute(2, 0, 1))
    assert torch.equal(images, decoder(narrow)([PLAIN["colour"], PLAIN["progressive"], PLAIN["grey"]])[0])
    assert images[0].float().std() > 1
    assert images[2].float().std() > 1


def test_one_that_nobody_decodes_is_said() -> None:
    """A picture that is broken within costs its own place, with Pillow's reason, and no other."""
    at = PLAIN["colour"].index(b"\xff\xc4") + 5
    spoilt = (
        PLAIN["colour"][:at] + b"\xff" * 8 + PLAIN["colour"][at + 8 :]
    )  # more codes than a table can hold
    assert compressed(spoilt, EXACT) is spoilt
    images, broken = decoder()([PLAIN["grey"], spoilt, PLAIN["grey"]])
    assert list(broken) == [1]
    assert broken[1]
    assert torch.equal(images[0], images[2])
    assert not images[1].any()


def test_without_a_cuda_device() -> None:
    """Where torch sees no CUDA device, one sentence says so before an epoch begins."""
    if torch.cuda.is_available():
        assert DeviceDecoder(EXACT).device.type == "cuda"
    else:
        with pytest.raises(UsageError, match="torch sees no CUDA device") as caught:
            DeviceDecoder(EXACT)
        assert all("torchvision 0.20" in hint for hint in caught.value.hint)


def library(monkeypatch: pytest.MonkeyPatch, name: str, decode_jpeg: Callable[..., Any]) -> None:
    module = types.ModuleType(name)
    module.decode_jpeg = decode_jpeg  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name.partition(".")[0], types.ModuleType(name.partition(".")[0]))
    monkeypatch.setitem(sys.modules, name, module)


def absent(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(sys.modules, name.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, name, None)


def like_a_library(
    tensors: list[torch.Tensor], *, mode: str, device: torch.device
) -> tuple[torch.Tensor, ...]:
    assert mode == "RGB"
    return tuple(stand_in(tensors, device))


def test_without_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither library can be imported, both reasons stand in the error."""
    absent(monkeypatch, "torchcodec.decoders")
    absent(monkeypatch, "torchvision.io")
    with pytest.raises(
        UsageError, match=r"nothing decodes on cpu \(torchcodec.decoders: .*; torchvision.io: "
    ):
        DeviceDecoder(EXACT, "cpu")


def test_a_library_that_cannot_decode_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library built without nvJPEG, or too old for lists, shows at once and not as a slow epoch."""

    def built_without(tensors: Any, *, mode: str, device: Any) -> Any:
        raise RuntimeError("not compiled with GPU support\nmore lines")

    library(monkeypatch, "torchcodec.decoders", built_without)
    absent(monkeypatch, "torchvision.io")
    with pytest.raises(UsageError, match=r"torchcodec.decoders: not compiled with GPU support; torchvision"):
        DeviceDecoder(EXACT, "cpu")


@pytest.mark.parametrize("name", ["torchcodec.decoders", "torchvision.io"])
def test_either_library_serves(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """One library is enough, and it is called as it documents: a list of bytes, mode and device."""
    other = {"torchcodec.decoders": "torchvision.io", "torchvision.io": "torchcodec.decoders"}[name]
    absent(monkeypatch, other)
    library(monkeypatch, name, like_a_library)
    images, broken = DeviceDecoder(EXACT, "cpu")([PLAIN["colour"]])
    assert (images.shape, broken) == ((1, 3, SIZE, SIZE), {})


def test_drawings_of_the_lab() -> None:
    """The drawings of the lab, sharp edges and all, differ from the exact way by little on average."""
    images = [draw(3, number).jpeg for number in range(8)]
    made, _ = decoder()([compressed(image, EXACT) for image in images])
    expected = numpy.stack([pixels(image, EXACT).transpose(2, 0, 1) for image in images]).astype(int)
    assert numpy.abs(made.numpy().astype(int) - expected).mean() < 0.3
