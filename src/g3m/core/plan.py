"""The plan: recipes resolved at one moment, every asset pinned and every task numbered.

`recipe : plan = pyproject : lock file`. A plan is made by steps/resolve.py, can be printed and
compared, and says what it costs before a byte moves. Which shards a dataset has is known once its
captions have been read; steps/arrange.py then adds the `pack` tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from g3m.core.digest import of_bytes, of_facts, strongest
from g3m.core.recipe import Asset, Recipe
from g3m.core.samples import SHARD_SAMPLES
from g3m.core.treatment import AS_IT_IS, Treatment

FORMAT = 1
PACK_FORMAT = 1
"""Rises when the same input would give other shard bytes; part of a dataset's identity."""

LEAST_WINDOW_BYTES = 2**25
WINDOW_SHARE = 32
PACKED_AT_ONCE = 4

Packing = Literal["gathered", "renamed", "found", "streamed", "spooled", "in-place"]
"""Each picture comes from its own URL; ready shards get a name; the form is found out by content; the
archive is used up while it comes; it is inflated once to a spool; members are read from it in the order of
the shards, wherever they lie."""

Kind = Literal["fetch", "arrange", "pack", "adopt", "publish"]
Parity = Literal["none", "nxtp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The smallest thing that is scheduled, retried and receipted; it owns its outputs alone.

    `asset` is the id of the asset that a `fetch` or `adopt` task handles; `shard` the file that a
    `pack` or `adopt` task makes; `offset_bytes` and `samples` its range of the dataset's sample list.
    """

    id: str
    kind: Kind
    dataset: str
    needs: tuple[str, ...] = ()
    asset: str = ""
    shard: str = ""
    offset_bytes: int = 0
    samples: int = 0
    size_bytes: int = 0
    streamed: bool = False
    """The asset is used up while it comes in, and never lies on the disk whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetPlan:
    """One dataset of a plan. `identity` changes exactly when the packed bytes could.

    `estimated` is true when a listing could not be asked: sizes are the recipe's figures then, and
    the plan cannot be run.
    """

    recipe: Recipe
    assets: tuple[Asset, ...]
    parity: Parity
    identity: str
    estimated: bool = False
    treatment: Treatment = AS_IT_IS
    stream: bool = False

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def download_bytes(self) -> int | None:
        """The sum of the assets' sizes, or the recipe's figure where a size is unknown."""
        sizes = [asset.size_bytes for asset in self.assets]
        if sizes and None not in sizes:
            return sum(size for size in sizes if size is not None)
        return self.recipe.expect.download_bytes

    @property
    def files(self) -> int | None:
        return len(self.assets) or self.recipe.expect.files

    @property
    def peak_bytes(self) -> int | None:
        """Disk needed at the worst moment: ready shards are moved, archives stand beside the shards.

        A .tar.gz is inflated once to a spool, so that its members can be read in any order.
        """
        total = self.download_bytes
        if total is None or self.recipe.samples.reader == "shards":
            return total
        streamed = self.streamed
        if streamed is not None and streamed.size_bytes is not None:
            size_bytes = streamed.size_bytes
            # From a spool, shards are copied one by one; a growing shard is the shard.
            copied = min(PACKED_AT_ONCE * self._one_shard_bytes, self.shard_bytes or 0)
            copied = 0 if streamed.name.endswith(".zip") else copied
            return total + window_bytes(size_bytes) + copied
        spooled = sum(a.size_bytes or 0 for a in self.assets if a.name.endswith((".tar.gz", ".tgz")))
        return 2 * total + spooled

    @property
    def _one_shard_bytes(self) -> int:
        """About the size of one shard."""
        shards = max((self.recipe.expect.samples or 0) // SHARD_SAMPLES, 1)
        return (self.shard_bytes or 0) // shards

    @property
    def streamed(self) -> Asset | None:
        """The archive that is used up while it comes in, if that was asked for and can be.

        It must be pinned, and hold the pictures while captions come in another file.
        """
        rule = self.recipe.samples
        if not self.stream or rule.reader not in ("coco_captions", "localized_narratives"):
            return None
        if self.treatment.action("duplicate_image") == "reject":
            return None  # equal pictures are found before the first shard is packed
        images, captions = rule.images.partition("/")[0], rule.captions.partition("/")[0]
        asset = next((asset for asset in self.assets if asset.name == images), None)
        if asset is None or images == captions or not asset.digests or asset.size_bytes is None:
            return None
        if images.endswith(".zip"):
            # The place of a picture in its shard must be known before its bytes: also the size of its json.
            return asset if self.parity == "none" or rule.reader == "coco_captions" else None
        return asset if images.endswith((".tar.gz", ".tgz")) else None

    @property
    def packing(self) -> Packing:
        """How the members of the archive come into the order of the shards."""
        rule = self.recipe.samples
        if rule.reader == "urls":
            return "gathered"
        if rule.reader == "shards":
            return "renamed"
        if rule.reader == "pairs":
            return "found"
        if self.streamed is not None:
            return "streamed"
        return "spooled" if rule.images.partition("/")[0].endswith((".tar.gz", ".tgz")) else "in-place"

    @property
    def shard_bytes(self) -> int | None:
        """About what the finished shards take: the size of what holds the images."""
        images = self.recipe.samples.images.partition("/")[0]
        sizes = [asset.size_bytes for asset in self.assets if asset.name == images]
        return sizes[0] if sizes and sizes[0] is not None else self.download_bytes

    def asset(self, name: str) -> Asset:
        """The asset with that name."""
        return next(asset for asset in self.assets if asset.name == name)

    def first_tasks(self) -> tuple[Task, ...]:
        """The tasks that are known before any byte moved."""
        fetches = [fetch_task(asset, self.name) for asset in self.assets]
        streamed = self.streamed
        if streamed is not None:
            own = fetch_task(streamed, self.name)
            others = tuple(task.id for task in fetches if task.id != own.id)
            changed = replace(own, streamed=True, needs=others)
            fetches = [changed if task.id == own.id else task for task in fetches]
        if self.recipe.samples.reader == "shards":
            middle = [
                Task(
                    id=f"adopt/{self.name}/{asset.name}",
                    kind="adopt",
                    dataset=self.name,
                    needs=(fetch.id,),
                    asset=asset_id(asset),
                    shard=asset.name,
                    size_bytes=asset.size_bytes or 0,
                )
                for asset, fetch in zip(self.assets, fetches, strict=True)
            ]
        else:
            needs = tuple(task.id for task in fetches)
            middle = [Task(id=f"arrange/{self.name}", kind="arrange", dataset=self.name, needs=needs)]
        return (*fetches, *middle, self.publish_task(middle))

    def publish_task(self, shards: Sequence[Task]) -> Task:
        """The last task of a dataset: it needs every shard."""
        needs = tuple(task.id for task in shards)
        return Task(id=f"publish/{self.name}", kind="publish", dataset=self.name, needs=needs)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will be done: datasets in order, each asset fetched once even if two datasets share it."""

    datasets: tuple[DatasetPlan, ...]

    def dataset(self, name: str) -> DatasetPlan:
        return next(dataset for dataset in self.datasets if dataset.name == name)

    @cached_property
    def assets(self) -> dict[str, Asset]:
        """Every asset once, by id."""
        return {asset_id(asset): asset for dataset in self.datasets for asset in dataset.assets}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of `g3m plan --json`; places are shown as the recipes name them."""
        return {"format": FORMAT, "datasets": [_dataset_dict(dataset) for dataset in self.datasets]}


def fetch_task(asset: Asset, dataset: str) -> Task:
    """The task that brings an asset; its id is the asset's, so that two datasets share one task."""
    identifier = asset_id(asset)
    return Task(
        id=f"fetch/{identifier}-{asset.name}",
        kind="fetch",
        dataset=dataset,
        asset=identifier,
        size_bytes=asset.size_bytes or 0,
    )


def window_bytes(size_bytes: int) -> int:
    """How much of a streamed archive of this size lies on the disk at a time."""
    return max(LEAST_WINDOW_BYTES, size_bytes // WINDOW_SHARE)


def asset_id(asset: Asset) -> str:
    """16 hexadecimal digits: of the digest where one is pinned, else of the first place."""
    digest = strongest(asset.digests)
    return of_bytes((str(digest) if digest else asset.places[0]).encode()).hex[:16]


def identify(recipe: Recipe, assets: Sequence[Asset], parity: Parity, treatment: Treatment = AS_IT_IS) -> str:
    """The identity of a dataset's shards: everything that decides their bytes, and nothing else."""
    facts: dict[str, Any] = {
        "pack_format": PACK_FORMAT,
        "parity": parity,
        "folder": recipe.folder,
        "samples": recipe.samples.facts(),
        "assets": [[asset.name, asset_id(asset), asset.size_bytes] for asset in assets],
    }
    if treated := treatment.to_dict():
        facts["treatment"] = treated
    return of_facts(facts).hex


def make_dataset_plan(
    recipe: Recipe,
    assets: Sequence[Asset],
    parity: Parity,
    *,
    treatment: Treatment = AS_IT_IS,
    estimated: bool = False,
) -> DatasetPlan:
    """Pin a recipe to the assets that were resolved for it, and to what is done with its pictures."""
    return DatasetPlan(
        recipe=recipe,
        assets=tuple(assets),
        parity=parity,
        identity=identify(recipe, assets, parity, treatment),
        estimated=estimated,
        treatment=treatment,
    )


def _dataset_dict(dataset: DatasetPlan) -> dict[str, Any]:
    recipe = dataset.recipe
    return {
        "name": recipe.name,
        "folder": recipe.folder,
        "identity": dataset.identity,
        "parity": dataset.parity,
        "treatment": dataset.treatment.to_dict(),
        "packing": dataset.packing,
        "estimated": dataset.estimated,
        "download_bytes": dataset.download_bytes,
        "shard_bytes": dataset.shard_bytes,
        "peak_bytes": dataset.peak_bytes,
        "expected_samples": recipe.expect.samples,
        "expected_source": recipe.expect.source,
        "licence": recipe.licence,
        "assets": [
            {
                "id": asset_id(asset),
                "name": asset.name,
                "size_bytes": asset.size_bytes,
                "digests": [str(digest) for digest in asset.digests],
                "places": list(asset.places),
            }
            for asset in dataset.assets
        ],
    }
