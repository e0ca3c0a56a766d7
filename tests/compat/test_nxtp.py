"""compat/nxtp.py: NXTP's trainer and evaluation run on our datasets with one import line changed."""

from __future__ import annotations

import inspect
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from tests.steps.offline import make, zip_of
from tests.whole.sources import my_recipe

import g3m
from g3m.adapters.recipes import Recipes
from g3m.compat.nxtp import FOLDERS, build_dataloader, build_preprocess
from g3m.core.errors import UnknownDataset
from g3m.lab.drawings import Drawing, draw

SIZE = 32
LIMIT_S = 120
TRAIN, OTHER, CHECKS = 23, 12, 11
TRAINER = Path(__file__).with_name("nxtp_trainer.txt")
"""No .py, because it imports a module of NXTP."""


def packed(root: Path, name: str, first: int, samples: int) -> None:
    """A dataset of drawings in the folder that NXTP's table has for the name."""
    work = root.parent / f"work-{name}"
    files: dict[str, bytes] = {}
    for number in range(samples):
        drawing = draw(5, first + number)
        files |= {f"k{number:02d}.jpg": drawing.jpeg, f"k{number:02d}.txt": text_of(drawing).encode()}
    archive = zip_of(work / "source" / "heap.zip", files)
    recipe = my_recipe(work / f"my_{name}.toml", [(archive, [])], {"reader": "pairs", "images": archive.name})
    made = make(recipe, archive)
    (root / FOLDERS[name]).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made.folder, root / FOLDERS[name])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root as NXTP's configuration names it: two sets to train on, one to check with."""
    found = tmp_path_factory.mktemp("nxtp") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("g3m.core.samples.SHARD_SAMPLES", 5)
        packed(found, "coco", 0, TRAIN)
        packed(found, "sbu", 100, OTHER)
        packed(found, "coco_valid", 200, CHECKS)
    return found


def text_of(drawing: Drawing) -> str:
    return " ".join(" ".join(drawing.captions).split())


def arguments(root: Path, **changes: Any) -> SimpleNamespace:
    given = {"data_root": str(root), "data_name": ("coco", "sbu"), "input_size": SIZE, "batch_size": 4}
    return SimpleNamespace(**{**given, "num_workers": 2, "pin_mem": True, "seed": 42, **changes})


def reference(jpeg: bytes, size: int = SIZE) -> torch.Tensor:
    """The preprocessing of the paper, step by step, with Pillow and torch alone."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    short = min(image.size)
    wide, high = (int(size * side / short) for side in image.size)
    image = image.resize((wide, high), Image.Resampling.BICUBIC)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    levels = numpy.array(image.crop((left, top, left + size, top + size)))
    floats = torch.from_numpy(levels).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(3, 1, 1)
    deviation = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)
    return floats.sub_(mean).div_(deviation)


def test_names_and_folders_are_those_of_the_recipes() -> None:
    """What `g3m get` makes lies where NXTP's table looks for it."""
    recipes = Recipes()
    for name, folder in FOLDERS.items():
        if name != "laion115m":  # a crawl that no recipe makes
            assert recipes.get(name).folder == folder


def test_it_is_called_as_the_original(root: Path) -> None:
    """Positions and names of the arguments are the original's."""
    assert list(inspect.signature(build_dataloader).parameters) == [
        "args",
        "global_rank",
        "world_size",
        "is_train",
    ]
    assert inspect.signature(build_dataloader).parameters["is_train"].default is True
    assert list(inspect.signature(build_preprocess).parameters) == ["input_size"]
    assert len(build_dataloader(arguments(root), 0, 1)) == (TRAIN + OTHER) // 4


def test_validation_is_in_order_once_and_bit_equal(root: Path) -> None:
    """Validation gives every sample once and in order, and each tensor has the bits of the paper's preprocessing."""
    for _ in range(2):
        loader = build_dataloader(arguments(root, data_name="coco_valid"), 0, 1, is_train=False)
        images, captions, keys = zip(*loader, strict=True)
        assert len(images) == len(loader) == 3
        assert [key for batch in keys for key in batch] == [f"my_coco_valid/k{n:02d}" for n in range(CHECKS)]
        drawings = [draw(5, 200 + number) for number in range(CHECKS)]
        assert [c for batch in captions for c in batch] == [text_of(drawing) for drawing in drawings]
        expected = torch.stack([reference(drawing.jpeg) for drawing in drawings])
        assert torch.equal(torch.cat(images), expected)


def test_validation_over_ranks(root: Path) -> None:
    """Over three ranks too: as many batches on each, every sample once."""
    args = arguments(root, data_name=["coco_valid"], batch_size=2)
    loaders = [build_dataloader(args, rank, 3, is_train=False) for rank in range(3)]
    assert {len(loader) for loader in loaders} == {2}
    keys = Counter(key for loader in loaders for _, _, batch in loader for key in batch)
    assert keys == Counter(f"my_coco_valid/k{n:02d}" for n in range(CHECKS))


def test_training_is_shuffled_by_the_seed(root: Path) -> None:
    """The configuration's seed makes the order; a configuration without one works; epochs differ; sets are mixed."""

    def keys(**changes: Any) -> list[list[str]]:
        loader = build_dataloader(arguments(root, **changes), 0, 1)
        return [[key for _, _, batch in loader for key in batch] for _ in range(2)]

    first = keys()
    assert first == keys()
    assert first[0] != first[1]
    assert first != keys(seed=43)
    assert {key.partition("/")[0] for key in first[0][:16]} == {"my_coco", "my_sbu"}
    without = arguments(root)
    del without.seed
    assert len(list(build_dataloader(without, 0, 1))) == 8


def test_a_dropped_sample_comes_in_no_batch(root: Path, tmp_path: Path) -> None:
    """Neither in training nor in validation, before any shard is written anew."""
    shutil.copytree(root / FOLDERS["coco_valid"], tmp_path / FOLDERS["coco_valid"])
    (tmp_path / "keys.txt").write_text("k03\n")
    g3m.drop(keys=tmp_path / "keys.txt", root=tmp_path)
    args = arguments(tmp_path, data_name="coco_valid", batch_size=2)
    for is_train in (True, False):
        keys = {key for _, _, batch in build_dataloader(args, 0, 1, is_train=is_train) for key in batch}
        assert keys == {f"my_coco_valid/k{n:02d}" for n in range(CHECKS) if n != 3}


def test_names_are_taken_in_any_form(root: Path) -> None:
    """One name, a list or a tuple, in capitals too, as the table of the original takes them."""
    for name in ("coco", ["coco"], ("COCO",)):
        assert len(build_dataloader(arguments(root, data_name=name), 0, 1)) == TRAIN // 4


def test_what_is_not_there(root: Path) -> None:
    """A dataset that is not there is said by its name before an epoch begins; an empty folder counts for nothing."""
    with pytest.raises(UnknownDataset, match="cc3m") as missing:
        build_dataloader(arguments(root, data_name=["coco", "cc3m"]), 0, 1)
    assert "g3m get cc3m" in missing.value.hint[0]
    (root / FOLDERS["laion115m"]).mkdir(parents=True)
    with pytest.raises(UnknownDataset, match=r"laion115m.*index\.bin") as caught:
        build_dataloader(arguments(root, data_name="laion115m"), 0, 1)
    assert "g3m index" in caught.value.hint[0]
    (root / FOLDERS["laion115m"]).rmdir()


@pytest.mark.parametrize("size", [(320, 240), (100, 333), (SIZE, SIZE), (SIZE, 50), (9, 20)])
def test_preprocess_of_one_image(size: tuple[int, int]) -> None:
    """`build_preprocess`, as the inference script calls it: a Pillow image to a tensor with the same bits."""
    jpeg = draw(9, 1, *size).jpeg
    made = build_preprocess(SIZE)(Image.open(io.BytesIO(jpeg)))
    assert made.dtype == torch.float32
    assert made.is_contiguous()
    assert torch.equal(made, reference(jpeg))
    assert torch.equal(build_preprocess(SIZE)(Image.open(io.BytesIO(jpeg)).convert("RGB")), made)


def test_preprocess_leaves_the_image_alone() -> None:
    """A grey image is made RGB, and the caller's image is what it was."""
    image = Image.linear_gradient("L")
    before = image.tobytes()
    made = build_preprocess(SIZE)(image)
    assert made.shape == (3, SIZE, SIZE)
    assert (image.mode, image.tobytes()) == ("L", before)
    made.add_(1)  # it is the caller's own, to write to


def test_the_trainer_with_one_line_changed(root: Path, tmp_path: Path) -> None:
    """Two ranks train two epochs and evaluate: the same steps, one last step an epoch, no sample twice, none lost."""
    text = TRAINER.read_text(encoding="utf-8")
    assert text.count("from loader import build_dataloader\n") == 1
    changed = text.replace(
        "from loader import build_dataloader\n", "from g3m.compat.nxtp import build_dataloader\n"
    )
    (tmp_path / "trainer.py").write_text(changed, encoding="utf-8")
    config = {**vars(arguments(root, batch_size=3)), "epochs": 2, "gradient_accumulation_steps": 2}
    config |= {"test_dataset": "coco_valid", "rendezvous": f"file://{tmp_path / 'meeting'}"}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    processes = [
        subprocess.Popen(
            [sys.executable, "trainer.py", "config.json", "told"],
            cwd=tmp_path,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "GLOO_SOCKET_IFNAME": "lo",
                "RANK": rank,
                "WORLD_SIZE": "2",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in "01"
    ]
    said = []
    try:
        said = [process.communicate(timeout=LIMIT_S)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
    steps = (TRAIN + OTHER) // 2 // 3
    assert [one["length"] for one in told] == [steps] * 2
    assert [one["last_steps"] for one in told] == [2, 2]
    assert [one["updates"] for one in told] == [2 * -(-steps // 2)] * 2
    for epoch in range(2):
        seen = Counter(key for one in told for batch in one["epochs"][epoch] for key in batch)
        assert len(seen) == 2 * steps * 3
        assert set(seen.values()) == {1}
    checks = [one["checks"] for one in told]
    assert checks[0]["length"] == checks[1]["length"]
    assert checks[0]["paths"] + checks[1]["paths"] == [f"my_coco_valid/k{n:02d}.jpg" for n in range(CHECKS)]
