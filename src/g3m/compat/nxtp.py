"""The loader that NXTP's trainer and evaluation call, over our datasets: one import line changes.

    from g3m.compat.nxtp import build_dataloader, build_preprocess     # instead of: from loader import ...

Here: their arguments, the names and folders of their table, and what training and validation ask for. What
differs from the loader that this replaces stands in docs/guides/nxtp.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from g3m.load.dataset import dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from g3m.load.loader import Loader

FOLDERS = {
    "cc3m": "cc3m/cc3m",
    "cc3m_valid": "cc3m/cc3m_valid",
    "coco": "coco/coco_train",
    "coco_valid": "coco/coco_valid",
    "laion115m": "laion115m/laion115m",
    "openimages_v7_valid": "openimages_v7/openimages_v7_valid",
    "sbu": "sbu/sbu",
}
"""Where NXTP's table has each dataset below the root of the data, and where our recipes put theirs."""


class Arguments(Protocol):
    """What is read of the trainer's configuration; `seed` too, where it has one."""

    @property
    def data_root(self) -> str: ...
    @property
    def data_name(self) -> str | Sequence[str]: ...
    @property
    def input_size(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def num_workers(self) -> int: ...
    @property
    def pin_mem(self) -> bool: ...


def build_dataloader(args: Arguments, global_rank: int, world_size: int, is_train: bool = True) -> Loader:
    """Batches of one rank: float32 (batch, 3, input_size, input_size), captions, keys; each `iter` an epoch.

    Training takes full batches of a shuffled epoch; validation every sample once over all ranks, as stored.
    The length is the same on every rank. UnknownDataset if a dataset is not there.
    """
    from g3m.load.torch import loader

    root = Path(args.data_root)
    names = [args.data_name] if isinstance(args.data_name, str) else args.data_name
    return loader(
        dataset([_place(root, name.lower()) for name in names], root=root),
        args.batch_size,
        image_size=args.input_size,
        seed=getattr(args, "seed", 0),
        shuffle="full" if is_train else "none",
        last="drop" if is_train else "even",
        decode="exact",
        workers=args.num_workers,
        rank=global_rank,
        world=world_size,
        pin_memory=None if args.pin_mem else False,
    )


def build_preprocess(input_size: int) -> Callable[[Any], Any]:
    """What makes a float32 tensor (3, input_size, input_size) of a Pillow image, as the loader does."""
    from g3m.load.torch import preprocess

    return preprocess(input_size)


def _place(root: Path, name: str) -> str:
    """The folder of NXTP's table if it is there, else the name, to be looked for below the root."""
    folder = root / FOLDERS.get(name, name)
    return str(folder.absolute()) if name in FOLDERS and folder.is_dir() else name
