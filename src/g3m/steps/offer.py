"""offer: what of a root can be shared, as the files lie there at this moment. Nothing is changed.

    finished assets      `.g3m/parts/*.whole` with a receipt
    growing assets       the ranges that the journal beside a part claims; only with a pinned digest and size
    ready shards         a shard with a digest that a plan pins is that asset (CC3M)
    packed datasets      the shards and small files of a published dataset, by its own manifest

A copy of the user's own, for which only a receipt lies here, is not shared. Datasets are known by their
recipes; where those need a hub's listing, by the one that an earlier run kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from g3m.adapters.beneath import open_beneath
from g3m.adapters.disk import read_document
from g3m.adapters.parts import claimed
from g3m.adapters.session import Session
from g3m.core.digest import Digest, Hasher, disagreement, strongest
from g3m.core.peers import (
    Listing,
    SharedAsset,
    SharedDataset,
    SharedFile,
    build,
    may_be_shared,
    merge_ranges,
)
from g3m.core.plan import DatasetPlan, asset_id
from g3m.core.receipt import AssetReceipt, shard_receipt
from g3m.core.recipe import Asset
from g3m.core.serving import Catalogue, SharedPath
from g3m.core.shard import ShardSummary
from g3m.steps.dropped import read_record, record_of, refuse_held, still_held
from g3m.steps.examine import open_index
from g3m.steps.find import part_path, read_receipt, whole_path
from g3m.steps.pack import shard_path
from g3m.steps.publish import COMPANIONS, INDEX, MANIFEST, companions, read_manifest
from g3m.steps.resolve import resolve

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry of the list, and the file behind it."""

    entry: SharedAsset
    file: Path


def known_datasets(session: Session, names: Sequence[str] = ()) -> tuple[DatasetPlan, ...]:
    """The plans of datasets (all by default) whose assets are known without asking a network."""
    offline = replace(session, settings=replace(session.settings, offline=True))
    plan = resolve(names or session.recipes.names, offline, estimate=True)
    return tuple(dataset for dataset in plan.datasets if not dataset.estimated)


def offer(datasets: Sequence[DatasetPlan], session: Session) -> tuple[Listing, Catalogue]:
    """What these datasets have here: the list, and the file behind each path of it."""
    assets: dict[str, _Found] = {}
    dropped = [dataset for dataset in datasets if record_of(dataset, session)]
    closed = {asset_id(asset) for dataset in dropped for asset in dataset.assets}
    for dataset in datasets:
        for asset in dataset.assets:
            may_be = may_be_shared(asset.name) and asset_id(asset) not in closed
            one = _asset(asset, dataset, session) if may_be else None
            if one is not None:
                assets.setdefault(one.entry.id, one)
    shared = [found for dataset in datasets if (found := _published(dataset, session)) is not None]
    listing = Listing(
        assets=tuple(found.entry for found in assets.values()), datasets=tuple(whole for whole, _ in shared)
    )
    paths = {
        found.entry.path: SharedPath(
            parts=_below(found.file, session),
            size_bytes=found.entry.size_bytes,
            digest=str(found.entry.digest),
            ranges=found.entry.ranges,
        )
        for found in assets.values()
    }
    for whole, folder in shared:
        for file in (*whole.shards, *whole.files):
            paths[whole.path(file.name)] = SharedPath(
                parts=_below(folder / file.name, session),
                size_bytes=file.size_bytes,
                digest=f"sha256:{file.sha256}",
            )
    return listing, Catalogue(build(listing).encode(), paths)


def refuse_dropped(datasets: Sequence[DatasetPlan], session: Session) -> None:
    """NotVerified if shards that would be offered still hold samples that were dropped."""
    for dataset in datasets:
        folder = session.store.root / dataset.recipe.folder
        if record_of(dataset, session) and read_manifest(dataset, session) is not None:
            refuse_held(folder, open_index(folder / INDEX))


def _holds_dropped(folder: Path) -> bool:
    record = read_record(folder)
    if not record:
        return False
    try:
        return bool(record.rewriting or still_held(folder, open_index(folder / INDEX)))
    except (OSError, ValueError):
        return True


def _below(path: Path, session: Session) -> tuple[str, ...]:
    return path.relative_to(session.store.root).parts


def _asset(asset: Asset, dataset: DatasetPlan, session: Session) -> _Found | None:
    """A finished asset, or the ready shard that it became, or what there is of it."""
    receipt = read_receipt(session, asset)
    if (
        receipt is not None
        and receipt.proof != "folder"
        and disagreement(asset.digests, receipt.digests) is None
    ):
        whole = whole_path(session, asset)
        if _size(whole) == receipt.size_bytes:
            return _entry(asset, receipt, whole)
        shard = _ready_shard(asset, receipt, dataset, session)
        if shard is not None:
            return shard
    digest = strongest(asset.digests)
    if digest is None or asset.size_bytes is None:
        return None
    part = part_path(session, asset)
    there = min(_size(part) or 0, asset.size_bytes)
    ranges = merge_ranges(claimed(part), there) if there else ()
    if not ranges:
        return None
    entry = SharedAsset(
        id=asset_id(asset), name=asset.name, size_bytes=asset.size_bytes, digest=digest, ranges=ranges
    )
    return _Found(entry, part)


def _entry(asset: Asset, receipt: AssetReceipt, file: Path) -> _Found | None:
    digest = strongest(asset.digests) or strongest(receipt.digests)
    if digest is None:
        return None
    entry = SharedAsset(id=asset_id(asset), name=asset.name, size_bytes=receipt.size_bytes, digest=digest)
    return _Found(entry, file)


def _ready_shard(
    asset: Asset, receipt: AssetReceipt, dataset: DatasetPlan, session: Session
) -> _Found | None:
    """The shard that an asset was adopted as, if it kept its bytes."""
    if dataset.recipe.samples.reader != "shards":
        return None
    done = shard_receipt(read_document(session.store.receipt(dataset.name, asset.name)) or "")
    if done is None or Digest("sha256", done.shard.sha256) not in receipt.digests:
        return None
    path = shard_path(dataset, asset.name, session)
    return _entry(asset, receipt, path) if _size(path) == receipt.size_bytes else None


def _published(dataset: DatasetPlan, session: Session) -> tuple[SharedDataset, Path] | None:
    """A packed dataset that stands whole, by its own manifest, with its folder."""
    if dataset.recipe.samples.reader == "shards":
        return None
    body = read_manifest(dataset, session)
    if body is None or body.dataset != dataset.name or not body.shards:
        return None
    folder = session.store.root / dataset.recipe.folder
    if _holds_dropped(folder):
        return None
    if not all(
        may_be_shared(shard.name) and _size(folder / shard.name) == shard.size_bytes for shard in body.shards
    ):
        return None
    files = tuple(_small_files(folder, session))
    if not {file.name for file in files} >= {MANIFEST, *companions(body)}:
        return None
    shards = tuple(map(_shard, body.shards))
    return SharedDataset(name=dataset.name, identity=body.identity, shards=shards, files=files), folder


def _shard(shard: ShardSummary) -> SharedFile:
    return SharedFile(
        name=shard.name, size_bytes=shard.size_bytes, sha256=shard.sha256, samples=shard.samples
    )


def _small_files(folder: Path, session: Session) -> Iterator[SharedFile]:
    root = session.store.root
    for name in (MANIFEST, *COMPANIONS):
        try:
            state = os.stat(folder / name)
            sha256 = _sha256(root, _below(folder / name, session), state.st_mtime_ns, state.st_size)
        except OSError:
            continue
        yield SharedFile(name=name, size_bytes=state.st_size, sha256=sha256)


@lru_cache(maxsize=1024)  # an index may have some hundred megabytes; it is read again when it changed
def _sha256(root: Path, parts: tuple[str, ...], _mtime_ns: int, _size_bytes: int) -> str:
    hasher = Hasher()
    with open_beneath(root, parts) as file:
        while data := file.read(_READ_BYTES):
            hasher.update(data)
    return hasher.digests()[0].hex


def _size(path: Path) -> int | None:
    try:
        return path.stat(follow_symlinks=False).st_size
    except OSError:
        return None
