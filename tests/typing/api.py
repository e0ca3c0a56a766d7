"""A user's file that uses the public functions: `mypy --strict` must understand all of it.

Nothing here is run by the tests; the types are the test.
"""

from __future__ import annotations

from pathlib import Path

import g3m
from g3m.core.events import Event, Progressed, TaskFailed, TaskFinished, to_dict
from g3m.core.plan import DatasetPlan, Plan
from g3m.core.receipt import Manifest
from g3m.load.dataset import Dataset, Sample
from g3m.load.exclusion import Exclusion
from g3m.load.torch import Loader
from g3m.runners.base import Summary
from g3m.runners.run import Report
from g3m.steps.export import Exported
from g3m.steps.index import Indexed
from g3m.steps.ledger import Finding


def what_it_costs(names: list[str]) -> int:
    """Bytes to download, as far as they are known."""
    made: Plan = g3m.plan(names, root="data", parity="nxtp")
    dataset: DatasetPlan
    total = 0
    for dataset in made.datasets:
        size: int | None = dataset.download_bytes
        total += size or 0
    body: dict[str, object] = made.to_dict()
    return total + len(body)


def made_smaller(source: Path) -> int:
    """Samples of a folder of tars, packed anew."""
    summary: Summary = g3m.pack(source, "small", image_size=256, max_shard_bytes="1G", on_event=show)
    again: Summary = g3m.pack(["a.tar", source / "b.tar"], source / "new", shard_size=1000)
    return summary.samples + again.samples


def show(event: Event) -> None:
    """A sink of one's own."""
    if isinstance(event, Progressed):
        done: int = event.done_bytes
        print(event.task, done, event.total_bytes)
    elif isinstance(event, (TaskFinished, TaskFailed)):
        print(event.kind, event.dataset, to_dict(event))


def fetch(root: Path) -> dict[str, int]:
    """Samples of each dataset, by name; what failed is printed."""
    try:
        summary: Summary = g3m.get(["coco_valid", "cc3m_valid"], root=str(root), jobs=4, on_event=show)
    except g3m.PartialError as error:
        failed: dict[str, str] = dict(error.failed)
        print(failed, error.exit_code)
        return {}
    except g3m.G3MError as error:
        english, chinese = error.hint
        print(error.code, error.message, english, chinese)
        raise
    manifests: dict[str, Manifest] = summary.manifests
    return {name: manifest.samples for name, manifest in manifests.items()}


def check(root: Path) -> bool:
    """Whether all below a root is as it was made; makes again what is not."""
    report: Report = g3m.verify(root=str(root), deep=True, on_event=lambda event: print(event.task))
    if not report.ok:
        report = g3m.verify(["coco_valid"], repair=True, root=str(root))
    finding: Finding
    for finding in report.findings:
        print(finding.dataset, finding.shard, finding.problem, finding.detail)
    return report.ok


def look(root: Path) -> tuple[bytes, str]:
    """The first picture and its text."""
    dataset: Dataset = g3m.dataset("coco_valid", root)
    length: int = len(dataset)
    first: Sample = dataset[0]
    texts: list[str] = [sample.text for sample in dataset if sample.meta.get("split") == "val2017"]
    dataset.close()
    image: bytes = first.image
    assert len(texts) <= length
    return image, first.text


def mixed(root: Path) -> list[str]:
    """Several datasets as one, with all that can be said about them."""
    indexed: Indexed = g3m.index(root / "tars", to=root / "tars.bin")
    with g3m.dataset(
        ["g3m", root / "tars.bin", "https://example.org/coco"],
        root=str(root),
        weights={"cc3m": 2.0, "sbu": 1},
        exclude=["000000000139", root / "leaked.txt"],
        captions="random",
    ) as dataset:
        names: tuple[str, ...] = dataset.names
        lengths: tuple[int, ...] = dataset.lengths
        weights: tuple[float, ...] | None = dataset.weights
        fingerprint: str = dataset.fingerprint
        exclusion: Exclusion | None = dataset.exclusion
        caption: str | tuple[str, ...] = dataset.caption(0, epoch=1, seed=7, sample=dataset.load(0))
        raw: tuple[bytes, bytes] = dataset.raw(0)
        label: bytes = dataset.member(0, "cls")
        sample: Sample = dataset[-1]
        captions: tuple[str, ...] = sample.captions
        width: int = sample.open().width
        print(names, lengths, weights, fingerprint, caption, raw, label, width, dataset.key(0), indexed)
        return [*captions, *(exclusion.examples if exclusion else ())]


def train(root: Path) -> None:
    """An epoch."""
    data = g3m.dataset(["coco"], root)
    loader: Loader = g3m.loader(data, batch_size=256, image_size=224, seed=0)
    for images, captions, keys in loader:
        print(images.shape, captions[0], keys[0])
    loader.load_state_dict(loader.state_dict())


def tell(root: Path) -> str:
    """What other programs read."""
    exported: Exported = g3m.export("open_clip", ["coco"], root=root)
    counts: dict[str, int] = dict(exported.datasets)
    print(counts, exported.written)
    return exported.text


def mistakes(root: Path) -> None:
    """What must not pass: mypy says so if one of these ignores is not needed."""
    g3m.get(7)  # type: ignore[arg-type]
    g3m.verify(deep="yes")  # type: ignore[arg-type]
    g3m.get(["coco"], on_event=len)  # type: ignore[arg-type]
    g3m.dataset("coco_valid", root)["first"]  # type: ignore[index]
    g3m.dataset("coco_valid", root, captions="longest")  # type: ignore[arg-type]
    g3m.dataset(7, root)  # type: ignore[arg-type]


VERSION: str = g3m.__version__
