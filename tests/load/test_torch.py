"""load/torch.py and load/loader.py: the batches of a training run, the same however they are made."""

from __future__ import annotations

import builtins
import gc
import importlib
import io
import logging
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from tests.load.folders import folder_of
from tests.realdata import REAL
from torch.utils.data import DataLoader

import g3m
from g3m.adapters.pixels import Broken, Preprocess, floats, pixels
from g3m.core.errors import NotVerified, SettingsError, UsageError
from g3m.lab.drawings import draw
from g3m.load.dataset import Dataset, dataset
from g3m.load.torch import (
    Images,
    Loader,
    Normalize,
    _fitting_workers,
    _is_as_pillow,
    _resample,
    bicubic,
    collate,
    loader,
    normalize,
    preprocess,
)

torch.set_num_threads(1)

SAMPLES = 23
SIZE = 16
CUT = draw(1, 0, 32, 32).jpeg[:200]


def jpeg(number: int) -> bytes:
    return draw(7, number, 40, 32).jpeg


def opened(folder: Path, pictures: list[bytes], **options: Any) -> Dataset:
    """A dataset of these pictures, k0, k1 ..., in two shards."""
    samples = [
        (
            f"k{number}",
            {
                "jpg": picture,
                "txt": f"caption {number}".encode(),
                "json": b'{"captions": ["a%d", "b%d", "c%d"]}' % (number, number, number),
            },
        )
        for number, picture in enumerate(pictures)
    ]
    half = len(samples) // 2
    return dataset(folder_of(folder / "mine", {"0.tar": samples[:half], "1.tar": samples[half:]}), **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Good pictures, all different."""
    with opened(tmp_path_factory.mktemp("good"), [jpeg(number) for number in range(SAMPLES)]) as found:
        yield found


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The first four broken, and two later ones: a torn JPEG and nothing at all."""
    pictures = [CUT if number < 4 else jpeg(number) for number in range(SAMPLES)]
    pictures[9], pictures[10] = CUT, b""
    with opened(tmp_path_factory.mktemp("spoilt"), pictures) as found:
        yield found


def keys_of(epoch: Any) -> list[str]:
    return [key for _, _, keys in epoch for key in keys]


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether batches are the same bit for bit."""
    return len(one) == len(other) and all(
        torch.equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(one, other, strict=True)
    )


def test_a_batch(data: Dataset) -> None:
    """Normalised floats in one contiguous piece, captions and keys as lists; the levels are those of the decoder."""
    made = loader(data, 5, image_size=SIZE, shuffle="none", decode="exact", workers=2)
    assert (len(made), g3m.loader is loader, isinstance(made, Loader)) == (4, True, True)
    images, captions, keys = next(iter(made))
    assert (images.shape, images.dtype, images.is_contiguous()) == ((5, 3, SIZE, SIZE), torch.float32, True)
    assert captions == [f"caption {number}" for number in range(5)]
    assert keys == [f"mine/k{number}" for number in range(5)]
    for number in range(5):
        levels = pixels(jpeg(number), Preprocess(SIZE, "exact"))
        assert numpy.array_equal(images[number].numpy(), floats(levels))
    assert "4 batches of 5, rank 0 of 1" in repr(made)


@pytest.mark.parametrize("decode", ["fast", "near", "exact"])
def test_bytes_for_the_device(data: Dataset, decode: Any) -> None:
    """With normalize=False come uint8 levels, and Normalize makes of them the very bits of normalize=True."""
    raw = list(loader(data, 5, image_size=SIZE, normalize=False, decode=decode, workers=1))
    ready = list(loader(data, 5, image_size=SIZE, decode=decode, workers=1))
    for (levels, _, keys), (images, _, others) in zip(raw, ready, strict=True):
        assert (levels.dtype, levels.is_contiguous(), keys) == (torch.uint8, True, others)
        assert torch.equal(Normalize()(levels), images)
        assert torch.equal(normalize(levels, torch.bfloat16), images.to(torch.bfloat16))
    with torch.inference_mode():
        assert torch.equal(normalize(levels[0]), images[0])


def test_preprocess(data: Dataset) -> None:
    """A Pillow image becomes the same tensor as in a batch, and what does it can be sent to another process."""
    made = pickle.loads(pickle.dumps(preprocess(SIZE)))
    images, _, _ = next(iter(loader(data, 3, image_size=SIZE, shuffle="none", decode="exact", workers=0)))
    for number in range(3):
        assert torch.equal(made(Image.open(io.BytesIO(jpeg(number)))), images[number])


def test_torchs_resampling_is_like_pillows() -> None:
    """What torch makes of a smooth picture is Pillow's within two levels, in the same layout."""
    ramp = numpy.add.outer(numpy.arange(40), numpy.arange(60)).astype(numpy.uint8)
    levels = numpy.stack([ramp, ramp + 50, 200 - ramp], -1).astype(numpy.uint8)
    made = bicubic(levels, 30, 20, 2.0, 2.0)
    wanted = numpy.asarray(Image.fromarray(levels).resize((30, 20), Image.Resampling.BICUBIC))
    assert made.shape == (20, 30, 3)
    assert numpy.abs(made.astype(int) - wanted).max() <= 2


@pytest.mark.parametrize("last", ["drop", "pad", "even"])
def test_the_same_whoever_makes_it(spoilt: Dataset, last: Any) -> None:
    """No workers, one thread, several, no process or two: the same batches bit for bit, broken ones replaced alike."""
    ways = [(0, False), (1, False), (2, False), (5, False), (0, True), (2, True)]
    made = [
        loader(spoilt, 6, image_size=SIZE, seed=3, last=last, workers=workers, processes=processes)
        for workers, processes in ways
    ]
    epochs = [[(images.clone(), *rest) for images, *rest in one] for one in made]
    assert [len(epoch) for epoch in epochs] == [len(made[0])] * len(ways)
    assert all(same(epochs[0], epoch) for epoch in epochs[1:])
    assert all(one.broken == made[0].broken for one in made[1:])
    assert len(made[0].broken) >= 5


def test_each_epoch_is_another(data: Dataset) -> None:
    """Every iter() is the next epoch, in another order; set_epoch says which; `even` has every sample once."""
    made = loader(data, 4, image_size=SIZE, last="even", workers=2)
    first, second = keys_of(made), keys_of(made)
    assert (sorted(first), made.epoch) == (sorted(second), 2)
    assert sorted(first) == sorted(data.key(number) for number in range(SAMPLES))
    assert first != second
    made.set_epoch(0)
    assert made.epoch == 0
    assert keys_of(made) == first
    assert [data.key(n) for numbers in made.batches(1) for n in numbers] == second
    for _ in made:
        break
    assert made.epoch == 1
    assert (next(iter(made)) and made.epoch) == 2


def test_captions_by_epoch(tmp_path: Path) -> None:
    """One caption at random is another one in another epoch, and the same for the same; all are tuples."""
    pictures = [jpeg(number) for number in range(8)]
    with opened(tmp_path / "a", pictures, captions="random") as some:
        made = loader(some, 8, image_size=SIZE, workers=2, shuffle="none")
        seen = [next(iter(made))[1] for _ in range(4)]
        assert len({tuple(captions) for captions in seen}) > 1
        made.set_epoch(0)
        assert next(iter(made))[1] == seen[0]
    with opened(tmp_path / "b", pictures, captions="all") as every:
        made = loader(every, 8, image_size=SIZE, workers=2, shuffle="none", processes=True)
        assert next(iter(made))[1][1] == ("a1", "b1", "c1")


def test_ranks_share_an_epoch(data: Dataset) -> None:
    """The ranks make equally many steps and have every sample once between them."""
    made = [loader(data, 3, image_size=SIZE, rank=r, world=4, last="even", workers=1) for r in range(4)]
    assert len({len(one) for one in made}) == 1
    assert sorted(key for one in made for key in keys_of(one)) == sorted(data.key(n) for n in range(SAMPLES))


def test_ranks_from_the_environment(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """RANK and WORLD_SIZE are taken, Slurm's are not; what they cannot mean is an error; torch.distributed wins."""
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert "rank 0 of 1" in repr(loader(data, 3, workers=0))
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    made = loader(data, 3, image_size=SIZE, workers=0)
    assert "rank 1 of 2" in repr(made)
    assert "rank 0 of 3" in repr(loader(data, 3, rank=0, world=3))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
    assert "rank 2 of 3" in repr(loader(data, 3))
    with pytest.raises(UsageError, match="made for rank 1 of 2, and this is rank 2 of 3") as caught:
        iter(made)
    assert all("init_process_group" in text for text in caught.value.hint)
    monkeypatch.undo()
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(SettingsError, match="RANK is 'one'"):
        loader(data, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"rank": 1},
        {"world": 2},
        {"rank": 2, "world": 2},
        {"batch_size": 0},
        {"image_size": 0},
        {"workers": -1},
        {"prefetch": 0},
        {"shuffle": "some"},
        {"last": "keep"},
        {"decode": "quick"},
    ],
)
def test_settings_that_cannot_be(data: Dataset, options: dict[str, Any]) -> None:
    """What a loader cannot be is said before anything begins."""
    with pytest.raises(SettingsError):
        loader(data, **{"batch_size": 3, **options})


def test_too_few_for_a_step(data: Dataset, tmp_path: Path) -> None:
    """An epoch without a batch is an error that names the ways out; so is a dataset without samples."""
    with pytest.raises(UsageError, match=r"23 samples, a step takes 12 on each of 2 ranks") as caught:
        loader(data, 12, rank=0, world=2)
    assert all("even" in text and "pad" in text for text in caught.value.hint)
    assert len(loader(data, 12, rank=0, world=2, last="even")) == 1
    assert len(loader(data, 30, last="pad")) == 1
    with pytest.raises(UsageError, match="too few for 40 ranks"):
        loader(data, 2, rank=0, world=40, last="even")
    with pytest.raises(UsageError, match="no samples"):
        loader(dataset(data.folders[0].place, exclude=data.folders[0].keys()), 2)


def test_broken_images(spoilt: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    """A broken picture costs its sample and no more: named in `broken` and once in the log, in all epochs together."""
    made = loader(spoilt, 6, image_size=SIZE, last="even", workers=3)
    with caplog.at_level(logging.WARNING, logger="g3m.load"):
        epochs = [keys_of(made) for _ in range(3)]
    wanted = [f"k{number}" for number in (0, 1, 2, 3, 9, 10)]
    assert sorted(one.key for one in made.broken) == sorted(wanted)
    assert {one.dataset for one in made.broken} == {"mine"}
    assert all(one.reason for one in made.broken)
    assert len(caplog.records) == len(wanted)
    for keys in epochs:
        assert len(keys) == SAMPLES
        assert not {key.partition("/")[2] for key in keys} & set(wanted)


@pytest.mark.parametrize(("workers", "processes"), [(0, False), (2, False), (2, True)])
def test_a_batch_without_a_good_picture(spoilt: Dataset, workers: int, processes: bool) -> None:
    """It takes the last good one handed out, in this epoch or before; where there was none, the first is named."""
    options: Any = {"image_size": SIZE, "shuffle": "none", "workers": workers, "processes": processes}
    with pytest.raises(NotVerified, match="mine/k0: cannot be decoded"):
        next(iter(loader(spoilt, 4, **options)))
    made = loader(spoilt, 1, **options)
    state = made.state_dict()
    state.update(steps=8)
    made.load_state_dict(state)
    epoch = iter(made)
    (good, _, first), (second, _, again) = next(epoch), next(epoch)
    assert (first, again) == (["mine/k8"], ["mine/k8"])
    assert torch.equal(good, second)
    made.load_state_dict(made.state_dict())  # after a restart, too
    images, _, keys = next(iter(made))
    assert (keys, torch.equal(images, good)) == (["mine/k8"], True)


def real_malformed() -> list[Path]:
    """Pictures that fuzzers and bug reports brought up, where they are."""
    found = sorted(path for path in (REAL / "malformed").rglob("*") if path.is_file())
    return [path for path in found if path.stat().st_size < 300_000]


def test_real_malformed_pictures(tmp_path: Path) -> None:
    """None of them ends the epoch, and the good pictures among them are as without them."""
    strange = [path.read_bytes() for path in real_malformed()] or [CUT, b"", b"\xff\xd8\xff", b"GIF89a"]
    with opened(tmp_path, [jpeg(0), *strange, jpeg(1)]) as mixed:
        made = loader(mixed, 16, image_size=SIZE, last="even", shuffle="none", workers=2)
        epoch = list(made)
        total = len(mixed)
    assert sum(len(keys) for _, _, keys in epoch) == total
    assert all(bool(torch.isfinite(images).all()) for images, _, _ in epoch)
    assert len(made.broken) > 2
    assert torch.equal(epoch[0][0][0], Images(mixed, image_size=SIZE)[0][0])


def test_a_users_transform(data: Dataset, spoilt: Dataset) -> None:
    """It gets Pillow images in RGB; tensors and arrays are stacked, other things collated; broken ones are replaced."""

    def mean(image: Any) -> Any:
        assert (image.mode, image.size) == ("RGB", (40, 32))
        return torch.tensor(numpy.asarray(image), dtype=torch.float64).mean((0, 1))

    images, _, keys = next(iter(loader(data, 5, transform=mean, workers=2)))
    assert (images.shape, images.dtype, len(keys)) == ((5, 3), torch.float64, 5)
    arrays = next(iter(loader(data, 5, transform=lambda image: numpy.asarray(image)[:8, :8], workers=0)))[0]
    assert (arrays.shape, arrays.dtype) == ((5, 8, 8, 3), torch.uint8)
    both = next(iter(loader(data, 5, transform=lambda image: {"a": mean(image), "b": 1}, workers=1)))[0]
    assert (both["a"].shape, both["b"].tolist()) == ((5, 3), [1] * 5)
    made = loader(spoilt, 6, transform=mean, workers=2, last="even")
    assert len(keys_of(made)) == SAMPLES
    assert len(made.broken) == 6


@pytest.mark.parametrize(("workers", "processes"), [(0, False), (2, False), (1, True)])
def test_a_bug_in_a_transform_is_not_swallowed(data: Dataset, workers: int, processes: bool) -> None:
    """It reaches the taker with the key of the sample; only Broken makes a sample a broken one."""
    made = loader(data, 5, shuffle="none", transform=_fails, workers=workers, processes=processes)
    with pytest.raises(ZeroDivisionError) as caught:
        list(made)
    words = [*getattr(caught.value, "__notes__", []), str(caught.value)]
    assert any("mine/k0" in text for text in words) or sys.version_info < (3, 11)
    picky = loader(data, 5, shuffle="none", transform=_refuses, workers=workers, processes=processes)
    assert len(next(iter(picky))[2]) == 5
    assert picky.broken[0].reason == "not this one"


def _fails(image: Any) -> Any:
    return 1 / 0


def _refuses(image: Any) -> Any:
    if numpy.asarray(image).tobytes() == _refused():
        raise Broken("not this one")
    return numpy.asarray(image)


def _refused() -> bytes:
    return numpy.asarray(Image.open(io.BytesIO(jpeg(2))).convert("RGB")).tobytes()


@pytest.mark.parametrize(("workers", "processes"), [(0, False), (2, False), (1, True)])
@pytest.mark.parametrize("error", [NotVerified, OSError])
def test_a_dataset_that_cannot_be_read(tmp_path: Path, workers: int, processes: bool, error: Any) -> None:
    """What reading raises reaches the taker with its text, and the loader can be used again."""

    class Failing(Dataset):
        def load(self, number: int) -> Any:
            if number == 7 and gate:
                raise error("shard 0.tar is cut here")
            return super().load(number)

    gate = [1]
    with opened(tmp_path, [jpeg(number) for number in range(12)]) as good:
        failing = Failing(good.folders)
        made = loader(failing, 3, image_size=SIZE, shuffle="none", workers=workers, processes=processes)
        epoch = iter(made)
        assert [len(next(epoch)[2]) for _ in range(2)] == [3, 3]
        with pytest.raises(error, match=r"shard 0\.tar is cut here"):
            next(epoch)
        assert list(epoch) == []
        assert made.state_dict()["steps"] == 2
        gate.clear()
        made.load_state_dict(made.state_dict())
        assert keys_of(made) == [f"mine/k{number}" for number in range(6, 12)]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("g3m-load")]


def test_nothing_is_left_running(data: Dataset) -> None:
    """After a break, an exception, a close and the end of an epoch there are no threads and no processes."""

    def broken_off(made: Loader) -> None:
        for _ in made:
            raise ValueError("of the user's")

    for processes in (False, True):
        made = loader(data, 2, image_size=SIZE, workers=2, processes=processes)
        for _ in made:
            break
        assert (threads(), children()) == ([], [])
        with pytest.raises(ValueError, match="of the user's"):
            broken_off(made)
        gc.collect()
        assert (threads(), children()) == ([], [])
        with loader(data, 2, image_size=SIZE, workers=2, processes=processes) as closed:
            epoch = iter(closed)
            next(epoch)
        assert (threads(), children()) == ([], [])
        with pytest.raises(UsageError, match="was ended"):
            next(epoch)
        keys_of(closed)
        assert (threads(), children()) == ([], [])


def children() -> list[Any]:
    import multiprocessing

    return multiprocessing.active_children()


def test_a_new_epoch_ends_the_old(data: Dataset) -> None:
    """Two passes at once over one loader are refused and not mixed up."""
    made = loader(data, 2, image_size=SIZE, workers=2)
    old = iter(made)
    next(old)
    new = iter(made)
    assert len(threads()) == 2
    with pytest.raises(UsageError, match="another iter") as caught:
        next(old)
    assert len(list(new)) == len(made)
    assert caught.value.hint[0] != caught.value.hint[1]


def test_older_batches_are_not_written_over(data: Dataset) -> None:
    """Whoever keeps a batch, or a part of it, keeps its pixels; forgotten memory is used again."""
    made = loader(data, 2, image_size=SIZE, last="even", workers=3)
    kept = [(images, images.clone()) for images, _, _ in made]
    parts = [(images[1:], images[1:].clone()) for images, _, _ in made]
    for _ in range(3):
        assert len(keys_of(made)) == SAMPLES
    assert all(torch.equal(now, then) for now, then in kept + parts)
    places = {images.data_ptr() for _ in range(3) for images, _, _ in made}
    assert len(places) <= 8


def test_a_slow_taker(data: Dataset) -> None:
    """No more samples are read than those of the batches made ahead."""

    class Counting(Dataset):
        def load(self, number: int) -> Any:
            read.append(number)
            return super().load(number)

    read: list[int] = []
    made = loader(Counting(data.folders), 2, image_size=SIZE, workers=2, prefetch=3)
    epoch = iter(made)
    for taken in range(1, 5):
        next(epoch)
        end = time.monotonic() + 20
        while len(read) < 2 * (taken + 3):
            assert time.monotonic() < end
            time.sleep(0.002)
        time.sleep(0.02)
        assert len(read) == 2 * (taken + 3)
    made.close()


@pytest.mark.parametrize("transform", [None, numpy.asarray])
def test_pinned_memory(data: Dataset, monkeypatch: pytest.MonkeyPatch, transform: Any) -> None:
    """Where there is CUDA, batches are made in pinned memory, or pinned when stacked; elsewhere and if told, not."""
    asked: list[bool] = []
    empty, pin = torch.empty, torch.Tensor.pin_memory

    def watched(*shape: Any, pin_memory: bool = False, **options: Any) -> Any:
        asked.append(pin_memory)
        return empty(*shape, **options)

    monkeypatch.setattr(torch, "empty", watched)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: asked.append(True) or self)
    for there, told, wanted in (
        (False, None, False),
        (True, None, True),
        (True, False, False),
        (False, True, True),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        asked.clear()
        made = loader(data, 5, image_size=SIZE, workers=1, pin_memory=told, transform=transform)
        assert len(list(made)) == 4
        assert any(asked) == wanted, (there, told)
    assert pin is not torch.Tensor.pin_memory


def test_processes_pin(data: Dataset) -> None:
    """A batch out of a worker process is pinned by DataLoader's own means, and its lists stay what they are."""
    from g3m.load.assemble import Whole
    from g3m.load.torch import _Sent

    class Tensor(torch.Tensor):
        def pin_memory(self, *_: Any) -> Any:
            return "pinned"

    sent = _Sent(Whole((1,), torch.zeros(1).as_subclass(Tensor), [("k", ("a", "b"))], (), 1))
    assert sent.pin_memory() is sent
    assert (sent.batch.images, sent.batch.rows) == ("pinned", [("k", ("a", "b"))])
    listed = _Sent(Whole((1,), [b"jpeg"], [], (), 1)).pin_memory()
    assert listed.batch.images == [b"jpeg"]


def test_the_global_generator_is_left_alone(data: Dataset) -> None:
    """An epoch draws nothing from torch's own generator, so the run around it stays repeatable."""
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    for processes in (False, True):
        list(loader(data, 4, image_size=SIZE, workers=1, processes=processes))
    assert torch.equal(torch.rand(3), wanted)


def test_images_for_any_dataloader(data: Dataset) -> None:
    """Samples by number for PyTorch's own DataLoader; with our batches as its batch_sampler it gives our epoch."""
    images = Images(data, image_size=SIZE)
    assert len(images) == SAMPLES
    picture, caption, key = images[-1]
    assert (picture.shape, caption, key) == ((3, SIZE, SIZE), "caption 22", "mine/k22")
    for number in (SAMPLES, -SAMPLES - 1):
        with pytest.raises(IndexError):
            images[number]
    made = loader(data, 4, image_size=SIZE, last="even", workers=2)
    for workers in (0, 2):
        theirs = DataLoader(images, batch_sampler=made.batches(0), num_workers=workers, collate_fn=collate)
        made.set_epoch(0)
        assert same([(a, b, c) for a, b, c in made], list(theirs))
    shuffled = DataLoader(images, batch_size=5, shuffle=True, generator=torch.Generator())
    assert sorted(key for _, _, keys in shuffled for key in keys) == sorted(
        f"mine/k{n}" for n in range(SAMPLES)
    )
    arrays = Images(data, transform=numpy.asarray)
    assert arrays[3][0].shape == (32, 40, 3)
    for wrong in ({"image_size": 0}, {"decode": "nvjpeg"}):
        with pytest.raises(SettingsError):
            Images(data, **wrong)


def test_images_that_are_broken(spoilt: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The next good one comes in the place of a broken one, round the end too; if there is none, that is an error."""
    images = Images(spoilt, image_size=SIZE)
    assert [images[number][2] for number in (0, 3, 9, 10, 11, 3)] == [
        f"mine/k{number}" for number in (4, 4, 11, 11, 11, 4)
    ]
    assert len(caplog.records) == 6
    with opened(tmp_path, [CUT, CUT, CUT]) as hopeless, pytest.raises(NotVerified, match="none of 3 samples"):
        Images(hopeless)[1]
    with opened(tmp_path / "b", [jpeg(0), CUT]) as half:
        assert Images(half, image_size=SIZE)[1][2] == "mine/k0"


def test_decoded_on_a_device(spoilt: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nvjpeg the decoder gets bytes in the taker's thread; what it refuses is replaced as elsewhere."""
    from g3m.load import nvjpeg

    seen: list[int] = []

    class Device:
        def __init__(self, how: Preprocess) -> None:
            assert how.size == SIZE

        def __call__(self, items: list[Any]) -> Any:
            seen.append(threading.get_ident())
            images = torch.zeros((len(items), 3, SIZE, SIZE), dtype=torch.uint8)
            broken = {}
            for place, item in enumerate(items):
                if item == jpeg(12) or item in refused:
                    broken[place] = "the device says no"
                else:
                    array = pixels(item, Preprocess(SIZE, "exact")) if isinstance(item, bytes) else item
                    images[place] = torch.from_numpy(array).permute(2, 0, 1)
            return images, broken

    refused: list[bytes] = []
    monkeypatch.setattr(nvjpeg, "DeviceDecoder", Device)
    options: Any = {"image_size": SIZE, "shuffle": "none", "last": "even"}
    made = loader(spoilt, 6, decode="nvjpeg", workers=2, pin_memory=True, **options)
    device = list(made)
    usual = list(loader(spoilt, 6, decode="exact", workers=2, **options))
    assert set(seen) == {threading.get_ident()}
    assert [one.reason for one in made.broken if one.key == "k12"] == ["the device says no"]
    assert len(made.broken) == 7
    assert device[2][2][0] == "mine/k13"
    assert same(device[:2], usual[:2])
    assert torch.equal(device[2][0][1:], usual[2][0][1:])
    refused += [jpeg(number) for number in range(18, 23)]
    last = list(loader(spoilt, 6, decode="nvjpeg", workers=2, **options))[-1]
    assert set(last[2]) == {"mine/k17"}
    refused += [jpeg(number) for number in range(23)]
    with pytest.raises(NotVerified, match="mine/k0: cannot be decoded"):
        list(loader(spoilt, 6, decode="nvjpeg", workers=2, **options))


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch is not installed, the loader says so and what to type, in both languages."""
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "torch" or name.startswith("torch."):
            raise ImportError("No module named 'torch'")
        return real(name, *rest)

    kept = sys.modules.pop("g3m.load.torch")
    monkeypatch.setattr(builtins, "__import__", without)
    try:
        with pytest.raises(UsageError, match="needs torch") as caught:
            importlib.import_module("g3m.load.torch")
    finally:
        monkeypatch.undo()
        sys.modules["g3m.load.torch"] = kept
        sys.modules["g3m.load"].torch = kept
    assert all("pip install torch" in text for text in caught.value.hint)


def test_after_a_fork(data: Dataset) -> None:
    """A process forked in the middle of an epoch makes an epoch of its own, while its parent goes on."""
    script = """
        import os, sys, torch
        import g3m
        from g3m.load.torch import loader
        data = g3m.dataset(sys.argv[1])
        made = loader(data, 2, image_size=16, workers=2, last="even")
        epoch = iter(made)
        first = next(epoch)[2]
        child = os.fork()
        if child == 0:
            made.set_epoch(0)
            whole = [key for _, _, keys in made for key in keys]
            os._exit(0 if whole[:2] == first and len(set(whole)) == 23 else 1)
        rest = [key for _, _, keys in epoch for key in keys]
        print(len({*first, *rest}), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), data.folders[0].place],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("23 0\n", "")


@pytest.mark.parametrize(
    ("cores", "ranks", "expected"),
    [(1, "", 1), (8, "", 8), (64, "", 16), (64, "8", 8), (4, "8", 1), (8, "x", 8)],
)
def test_threads_fit_the_machine(
    cores: int, ranks: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread a core, at most 16; the ranks that torchrun starts on a machine share its cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert _fitting_workers() == expected


def test_resampling_is_proved_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch whose bytes come out wrong, as 2.0's do, or without vector code leaves resampling to Pillow."""

    def off(*of: Any) -> Any:
        return numpy.clip(bicubic(*of).astype(int) + 4, 0, 255)

    assert _is_as_pillow(bicubic)
    assert not _is_as_pillow(off)
    for name, value in (("bicubic", off), ("torch.backends.cpu.get_cpu_capability", lambda: "DEFAULT")):
        with monkeypatch.context() as patched:
            patched.setattr(name if "." in name else f"g3m.load.torch.{name}", value)
            assert _resample.__wrapped__() is None
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    assert _resample.__wrapped__() is bicubic
