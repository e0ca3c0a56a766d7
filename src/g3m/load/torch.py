"""A dataset as batches of tensors: the loader of a training run, and a torch Dataset for whoever has his own.

Here: torch, for all of load. What a loader is stands in load/loader.py, how threads make batches in
load/assemble.py, what is in them in load/pictures.py. Works with torch 2.0 and later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from hashlib import shake_256
from typing import Any, Literal

from g3m.adapters.pillow import load_pillow
from g3m.adapters.pixels import DEVIATION, MEAN, Preprocess, Resample, floats, square
from g3m.core.errors import NotVerified, SettingsError, UsageError
from g3m.core.order import Batches, Last, Order, Share, Shuffle
from g3m.core.permutation import mix
from g3m.load.assemble import Assembly, BrokenImage, Caption, Maker, Whole, make, substitutes
from g3m.load.dataset import Dataset
from g3m.load.loader import Batch, Loader, tell
from g3m.load.memory import Pool
from g3m.load.pictures import Compressed, Listed, Pixels, Source, Transform

try:
    import torch
    from torch.utils.data import DataLoader, default_collate
    from torch.utils.data import Dataset as MapDataset
except (ImportError, OSError) as error:
    raise UsageError(
        f"g3m.loader needs torch, which cannot be imported here: {error}",
        hint=("run: pip install torch", "请运行 pip install torch"),
    ) from error

__all__ = ["BrokenImage", "Images", "Loader", "Normalize", "collate", "loader", "normalize", "preprocess"]

Decode = Literal["fast", "near", "exact", "nvjpeg"]
Memory = Pool | Literal["fresh", "pinned", "shared"]

MOST_WORKERS = 16
NEIGHBOURS = 100
"""How many samples `Images` tries in the place of a broken one."""


@lru_cache(maxsize=16)
def _constants(device: Any) -> tuple[Any, Any, Any]:
    """255, mean and deviation, as tensors: by a number of Python's, CUDA multiplies with its reciprocal."""
    with torch.inference_mode(False):
        levels, mean, deviation = (
            torch.tensor(of, dtype=torch.float32, device=device) for of in (255.0, MEAN, DEVIATION)
        )
    return levels, mean.reshape(3, 1, 1), deviation.reshape(3, 1, 1)


def normalize(images: Any, dtype: Any = None) -> Any:
    """From uint8 (..., 3, height, width) on any device to CLIP's normalised floats, computed as float32.

    The same as `normalize=True` of the loader. `dtype` (torch.bfloat16, say) is the result's.
    """
    levels, mean, deviation = _constants(images.device)
    found = images.to(torch.float32).div(levels).sub_(mean).div_(deviation)
    return found if dtype is None else found.to(dtype)


class Normalize(torch.nn.Module):  # type: ignore[misc]
    """`normalize` as a module without parameters, to stand before a model."""

    def __init__(self, dtype: Any = None) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, images: Any) -> Any:
        return normalize(images, self.dtype)


def preprocess(size: int = 224) -> Callable[[Any], Any]:
    """What makes a float32 tensor (3, size, size) of a Pillow image, as `decode="exact"` does; it pickles."""
    return partial(_preprocessed, size)


def _preprocessed(size: int, image: Any) -> Any:
    import numpy

    return torch.from_numpy(floats(numpy.asarray(square(image.convert("RGB"), size))))


def bicubic(levels: Any, columns: int, rows: int, across: float, down: float) -> Any:
    """Levels (height, width, 3) scaled by torch: a Resample of adapters/pixels.py, faster than Pillow's."""
    planes = torch.from_numpy(levels).permute(2, 0, 1)[None]  # a view: torch keeps the order of memory
    made = torch.ops.aten._upsample_bicubic2d_aa(planes, (rows, columns), False, 1 / down, 1 / across)
    return made[0].permute(1, 2, 0).numpy()


@cache
def _resample() -> Resample | None:
    """torch's resampling if it has vector code for bytes and is right on this machine; None: Pillow's."""
    capability = getattr(getattr(torch.backends, "cpu", None), "get_cpu_capability", str)()  # not in 2.0
    return bicubic if "AVX" in capability and _is_as_pillow(bicubic) else None


def _is_as_pillow(resample: Resample) -> bool:
    """Whether noise comes out within two levels of Pillow's: that of torch 2.0 for bytes is off by dozens."""
    import numpy

    levels = numpy.frombuffer(shake_256(b"noise").digest(3 * 75 * 60), numpy.uint8).reshape(60, 75, 3).copy()
    pillow = load_pillow()
    expected = numpy.asarray(pillow.fromarray(levels).resize((50, 40), pillow.Resampling.BICUBIC))
    made = resample(levels, 50, 40, 75 / 50, 60 / 40)
    return int(numpy.abs(made.astype(int) - expected.astype(int)).max()) <= 2


@dataclass(frozen=True, slots=True)
class _Look:
    """What the pictures of a batch are to be; ValueError if they cannot be that."""

    image_size: int = 224
    decode: Decode = "near"
    normalize: bool = True
    transform: Callable[[Any], Any] | None = None
    preprocess: Preprocess = field(init=False)

    def __post_init__(self) -> None:
        decode = "exact" if self.decode == "nvjpeg" else self.decode
        object.__setattr__(self, "preprocess", Preprocess(self.image_size, decode))

    @property
    def on_device(self) -> bool:
        return self.decode == "nvjpeg" and self.transform is None

    def maker(self, source: Source, memory: Memory) -> Maker:
        """What makes batches of such pictures."""
        if self.transform is not None:
            stacked = partial(_stacked, pinned=memory == "pinned")
            return Listed(source, Transform(self.transform), stacked)
        if self.on_device:
            return Listed(source, Compressed(self.preprocess), list)
        dtype = "float32" if self.normalize else "uint8"
        return Pixels(source, self.preprocess, _resample(), partial(_empty, self.image_size, dtype, memory))


def _empty(size: int, kind: str, memory: Memory, count: int) -> tuple[Any, Any]:
    """Memory for so many pictures that no batch still held has; if pinned, torch's own cache sees to that."""
    shape = (count, 3, size, size)
    if isinstance(memory, Pool):
        rows = memory.array(shape, kind)
        return torch.from_numpy(rows), rows
    dtype = getattr(torch, kind)
    if memory == "shared" and count:
        # As default_collate does in a worker process: its parent gets this memory itself.
        plain = torch.empty(0, dtype=dtype)
        storage = plain._typed_storage()._new_shared(count * 3 * size * size, device=plain.device)
        images = plain.new(storage).resize_(*shape)
    else:
        images = torch.empty(shape, dtype=dtype, pin_memory=memory == "pinned")
    return images, images.numpy()


def _stacked(items: list[Any], pinned: bool = False) -> Any:
    import numpy

    if all(isinstance(item, numpy.ndarray) for item in items):
        images = torch.from_numpy(numpy.stack(items))  # torch would warn of Pillow's, which are not writable
    else:
        images = default_collate(items)
    return images.pin_memory() if pinned and isinstance(images, torch.Tensor) else images


@dataclass(frozen=True, slots=True)
class _Workshop:
    """How a loader's batches are made; `decoder` only if that is done on a device."""

    look: _Look
    workers: int
    processes: bool
    prefetch: int
    pinned: bool
    ranks_given: bool
    pool: Pool
    decoder: Any = None

    def begin(self, source: Source, todo: Batches, step: int) -> tuple[Iterator[Whole], Maker]:
        maker = self.look.maker(source, "pinned" if self.pinned else self.pool)
        if self.processes:
            return self._processes(source, _Rest(todo, step)), maker
        if self.workers:
            return Assembly(maker, todo, step, workers=self.workers, ahead=self.prefetch), maker
        return (make(maker, numbers) for numbers in _Rest(todo, step)), maker

    def finish(self, batch: Whole, data: Dataset) -> Whole:
        if self.decoder is None:
            return batch
        found = _decoded(self.decoder, batch, data)
        return replace(found, images=normalize(found.images)) if self.look.normalize else found

    def ranks(self) -> tuple[int, int] | None:
        return None if self.ranks_given else _ranks(None, None)

    def _processes(self, source: Source, rest: _Rest) -> Iterator[Whole]:
        """The batches by PyTorch's own DataLoader, whose processes end with this generator."""
        maker = self.look.maker(source, "shared" if self.workers else "fresh")
        generator = torch.Generator()  # its own, so that the global one stays as it is
        generator.manual_seed(mix(source.seed, source.epoch) >> 1)
        made = DataLoader(
            _Made(maker),
            sampler=rest,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.workers,
            pin_memory=self.pinned,
            generator=generator,
            **({"prefetch_factor": self.prefetch} if self.workers else {}),
        )
        coming = iter(made)
        try:
            for sent in coming:
                batch = sent.batch
                del sent  # a batch that is handed out is not held here
                yield batch
                del batch
        finally:
            # By name: the traceback of an error holds the iterator, which would end them only when it goes.
            getattr(coming, "_shutdown_workers", bool)()


class _Rest:
    """The batches from a step on, as a sampler."""

    def __init__(self, of: Batches, begin: int) -> None:
        self._of = of
        self._begin = begin

    def __len__(self) -> int:
        return max(0, len(self._of) - self._begin)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return (self._of[step] for step in range(self._begin, len(self._of)))


class _Sent:
    """A batch on its way from a worker process; DataLoader pins what has such a method."""

    def __init__(self, batch: Whole) -> None:
        self.batch = batch

    def pin_memory(self) -> _Sent:
        if isinstance(self.batch.images, torch.Tensor):
            self.batch.images = self.batch.images.pin_memory()
        return self


class _Made(MapDataset):  # type: ignore[misc]
    """Whole batches by the numbers of their samples."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker

    def __getitem__(self, numbers: tuple[int, ...]) -> _Sent:
        return _Sent(make(self._maker, numbers))


def _as_it_is(item: Any) -> Any:
    return item


def _decoded(decoder: Any, batch: Whole, data: Dataset) -> Whole:
    """A batch of compressed pictures, decoded on a device; what it cannot decode gives way to what it can."""
    images, reasons = decoder(batch.images)
    if not reasons:
        return replace(batch, images=images)
    broken, rows = list(batch.broken), list(batch.rows)
    for place, reason in sorted(reasons.items()):
        sample = data.load(batch.numbers[place])
        # A place that was given to another sample before speaks of that one.
        if rows[place][0] == f"{sample.dataset}/{sample.key}":
            broken.append(BrokenImage(sample.dataset, sample.key, reason))
    usable = [place not in reasons for place in range(len(rows))]
    for place, source in substitutes(usable):
        images[place] = images[source]
        rows[place] = rows[source]
    good = next((batch.numbers[place] for place in reversed(range(len(rows))) if usable[place]), None)
    return Whole(batch.numbers, images, rows, tuple(broken), good)


class Images(MapDataset):  # type: ignore[misc]
    """The dataset for any DataLoader and any sampler: [number] is (image (3, size, size), caption, key).

    In the place of a picture that cannot be decoded comes the next one that can; its key says which. `epoch`
    may be set, for the caption policy `random`.
    """

    def __init__(
        self,
        data: Dataset,
        *,
        image_size: int = 224,
        normalize: bool = True,
        decode: Literal["fast", "near", "exact"] = "near",
        transform: Callable[[Any], Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.data = data
        self.epoch = 0
        self._seed = seed
        self._seen_broken: set[BrokenImage] = set()
        try:
            self._look = _Look(image_size, decode, normalize, transform)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        if self._look.on_device:
            raise SettingsError("decode='nvjpeg' takes whole batches: use g3m.loader")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> tuple[Any, Caption, str]:
        size = len(self)
        if not -size <= number < size:
            raise IndexError(number)
        maker = self._look.maker(Source(self.data, self.epoch, self._seed), "fresh")
        if isinstance(maker, Listed):
            maker = replace(maker, collate=_as_it_is)
        tried = range(number, number + min(size, NEIGHBOURS))
        for candidate in tried:
            batch = make(maker, (candidate % size,))
            if batch.good is not None:
                ((key, caption),) = batch.rows
                return batch.images[0], caption, key
            if not self._seen_broken.issuperset(batch.broken):
                self._seen_broken.update(batch.broken)
                tell(batch.broken[0])
        raise NotVerified(
            f"{self.data.key(number % size)}: none of {len(tried)} samples from it on can be decoded"
        )


def collate(rows: Sequence[tuple[Any, Caption, str]]) -> Batch:
    """What DataLoader is to make of samples of `Images`: images stacked, captions and keys as lists."""
    return _stacked([row[0] for row in rows]), [row[1] for row in rows], [row[2] for row in rows]


def loader(  # noqa: PLR0913  # keywords of a person who trains, most of them rarely used
    data: Dataset,
    batch_size: int,
    *,
    image_size: int = 224,
    seed: int = 0,
    shuffle: Shuffle = "full",
    last: Last = "drop",
    normalize: bool = True,
    decode: Decode = "near",
    workers: int | None = None,
    processes: bool = False,
    rank: int | None = None,
    world: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    prefetch: int = 2,
    pin_memory: bool | None = None,
) -> Loader:
    """Batches (images (B, 3, size, size), captions, keys) of one rank; every `iter()` is the next epoch.

    `batch_size` is a rank's. Images are CLIP's normalised float32, with `normalize=False` uint8, or what
    `transform` makes of a Pillow image in RGB. `shuffle`: full, block, none. `last`: drop, pad, even.
    `decode`: fast, near, exact, nvjpeg. `workers` are threads, or with `processes=True` processes; None: one
    for each core, shared by the ranks of a machine, at most 16; 0: no others. At most `prefetch` batches are
    made ahead (by each process). `rank` and `world`: None takes torch.distributed's, or RANK and WORLD_SIZE.
    docs/guides/loading.md says more. Raises SettingsError and UsageError.
    """
    given = rank is not None or world is not None
    rank, world = _ranks(rank, world)
    workers = _fitting_workers() if workers is None else workers
    if workers < 0 or prefetch < 1:
        raise SettingsError(f"workers must be 0 or more and prefetch 1 or more, not {workers} and {prefetch}")
    try:
        look = _Look(image_size, decode, normalize, transform)
        order = Order(data.lengths, data.weights, seed, shuffle)
        share = Share(rank, world, batch_size, last)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    decoder = None
    if look.on_device:
        from g3m.load.nvjpeg import DeviceDecoder

        decoder = DeviceDecoder(look.preprocess)
    pinned = (torch.cuda.is_available() if pin_memory is None else pin_memory) and decoder is None
    pool = Pool(prefetch + 1)
    workshop = _Workshop(look, workers, processes, prefetch, pinned, given, pool, decoder)
    return Loader(data, order, share, workshop)


def _fitting_workers() -> int:
    """One for each core that this process may use, less what torchrun's other ranks on the machine take."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "")
    beside = int(ranks) if ranks.isdecimal() else 1
    return max(1, min(cores // max(1, beside), MOST_WORKERS))


def _ranks(rank: int | None, world: int | None) -> tuple[int, int]:
    """Rank and world as given, of torch.distributed, of RANK and WORLD_SIZE, or 0 of 1.

    Never Slurm's: a script under sbatch sees the numbers of one task, whatever it starts.
    """
    if rank is not None and world is not None:
        return rank, world
    if rank is not None or world is not None:
        raise SettingsError("rank and world belong together: give both or neither")
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return int(group.get_rank()), int(group.get_world_size())
    texts = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if texts == (None, None):
        return 0, 1
    try:
        return int(texts[0] or ""), int(texts[1] or "")
    except ValueError:
        raise SettingsError(
            f"RANK is {texts[0]!r} and WORLD_SIZE {texts[1]!r}: both must be numbers, or both be absent"
        ) from None
