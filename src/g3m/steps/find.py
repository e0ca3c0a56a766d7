"""find: is an asset already here? Under a name of ours, or among what `--from` points at.

A file is recognised by its size and digest, whatever its name; where nothing is pinned, by its name. An
unpacked folder stands in for an archive if it holds the paths that the recipe names for it. Files of
the user's are read where they lie: never moved, changed or deleted.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from g3m.adapters.disk import read_document, remove, write_document
from g3m.adapters.session import Session
from g3m.core.digest import Hasher, disagreement
from g3m.core.errors import BadArchive, Bilingual, SettingsError
from g3m.core.events import Event, Noted, Progressed
from g3m.core.plan import DatasetPlan, Plan, Task, asset_id
from g3m.core.receipt import AssetReceipt, asset_receipt, to_json
from g3m.core.recipe import Asset
from g3m.core.routes import HUB_ENDPOINT

_ANEW: Bilingual = (
    "nobody states its digest, so it may have been cut on its way: run again to fetch it anew",
    "该文件没有公布的摘要，可能在传输中被截断：请重新运行以再次下载",
)

_READ_BYTES = 2**20
_DEPTH = 4
_CROWD = 5000


def whole_path(session: Session, asset: Asset) -> Path:
    """Where a fetched and verified asset of ours lies."""
    return session.store.part(f"{asset_id(asset)}-{asset.name}.whole")


def part_path(session: Session, asset: Asset) -> Path:
    """Where an asset grows while it is fetched."""
    return session.store.part(f"{asset_id(asset)}-{asset.name}.part")


def present(session: Session, asset: Asset) -> AssetReceipt | None:
    """The receipt of an asset that can be read right now, or None."""
    receipt = read_receipt(session, asset)
    if receipt is None:
        return None
    path = located(session, asset, receipt)
    if receipt.proof == "folder":
        return receipt if path.is_dir() else None
    try:
        return receipt if path.stat().st_size == receipt.size_bytes else None
    except OSError:
        return None


def read_receipt(session: Session, asset: Asset) -> AssetReceipt | None:
    """The receipt of an asset, also if its file has been used up since."""
    text = read_document(session.store.receipt("assets", asset_id(asset)))
    return None if text is None else asset_receipt(text)


def write_receipt(session: Session, receipt: AssetReceipt) -> None:
    """Record that an asset is here and checked."""
    write_document(session.store.receipt("assets", receipt.id), to_json(receipt))


def located(session: Session, asset: Asset, receipt: AssetReceipt) -> Path:
    """The path of a present asset: ours, or the user's own copy."""
    return Path(receipt.path) if receipt.path else whole_path(session, asset)


@contextmanager
def on_trust(session: Session, asset: Asset, receipt: AssetReceipt) -> Iterator[None]:
    """Reading an archive. One that is damaged, and that no digest has ever proved, may have been cut on its
    way without a sign: it is given up, and BadArchive says that the next run fetches it anew.
    """
    try:
        yield
    except BadArchive as error:
        if receipt.proof != "first use" or receipt.path:
            raise
        remove(session.store.receipt("assets", receipt.id))
        remove(whole_path(session, asset))
        raise BadArchive(error.message, hint=_ANEW) from error


def find(task: Task, asset: Asset, plan: Plan, session: Session) -> Iterator[Event]:
    """Look for an asset among the `--from` paths; writes its receipt if it is found."""
    dataset = plan.dataset(task.dataset)
    own = whole_path(session, asset)
    if own.is_file():
        # Fetched by a run that was killed before it could write the receipt.
        receipt = yield from _check(task, asset, own, session)
        if receipt is not None and asset.size_bytes in (None, receipt.size_bytes):
            write_receipt(session, replace(receipt, path=""))
            return
        remove(own)
    for root in _roots(session, dataset, only=len(plan.datasets) == 1):
        for path in _files(root.path):
            if _fits(path, asset, root):
                receipt = yield from _check(task, asset, path, session)
                if receipt is not None:
                    write_receipt(session, receipt)
                    return
        folder = _unpacked(root, asset)
        if folder is not None:
            yield Noted(task=task.id, text=f"the unpacked folder {folder} stands in for it")
            receipt = AssetReceipt(
                id=asset_id(asset),
                name=asset.name,
                size_bytes=0,
                digests=(),
                proof="folder",
                path=str(folder),
            )
            write_receipt(session, receipt)
            return


@dataclass(frozen=True, slots=True)
class _Root:
    """A `--from` path; `named` if it is meant for this dataset and no other."""

    path: Path
    named: bool


def _roots(session: Session, dataset: DatasetPlan, only: bool) -> Iterator[_Root]:
    for text in session.settings.source:
        name, separator, rest = text.partition("=")
        named = bool(separator) and name in (*session.recipes.names, dataset.name)
        path = Path(rest if named else text).expanduser()
        if not path.exists():
            raise SettingsError(f"--from {text}: there is nothing at {path}")
        if not named or name == dataset.name:
            yield _Root(path.absolute(), named or only)


def _files(root: Path) -> Iterator[Path]:
    """Files at a path and a few levels below; folders full of images are passed over."""
    if root.is_file():
        yield root
        return
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).parts) - len(root.parts)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if depth < _DEPTH else []
        if len(files) <= _CROWD:
            yield from (Path(folder, name) for name in sorted(files))


def _fits(path: Path, asset: Asset, root: _Root) -> bool:
    try:
        size_bytes = path.stat().st_size
    except OSError:
        return False
    if asset.size_bytes is not None:
        return size_bytes == asset.size_bytes
    return size_bytes > 0 and (path.name == asset.name or (root.named and path == root.path))


def _check(
    task: Task, asset: Asset, path: Path, session: Session
) -> Generator[Event, None, AssetReceipt | None]:
    """Hash a candidate; its receipt if the digest is the pinned one, else None."""
    try:
        hasher = yield from _hash(task, asset, path, session)
    except OSError as error:
        yield Noted(task=task.id, text=f"{path} is not used: it cannot be read ({error.strerror})")
        return None
    wrong = disagreement(asset.digests, hasher.digests())
    if wrong is not None:
        if path.name == asset.name:
            text = f"{path} is not used: its digest is {wrong[1]}, pinned is {wrong[0]}"
            yield Noted(task=task.id, text=text)
        return None
    yield Noted(task=task.id, text=f"taken from {path}")
    return AssetReceipt(
        id=asset_id(asset),
        name=asset.name,
        size_bytes=hasher.size_bytes,
        digests=hasher.digests(),
        proof=proof(asset, session),
        path=str(path),
    )


def _hash(task: Task, asset: Asset, path: Path, session: Session) -> Generator[Event, None, Hasher]:
    size_bytes = path.stat().st_size
    hasher = Hasher((digest.algorithm for digest in asset.digests), size_bytes=size_bytes)
    with open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            session.check_stop()
            hasher.update(data)
            yield Progressed(task=task.id, done_bytes=hasher.size_bytes, total_bytes=size_bytes)
    return hasher


def _holds_anything(folder: Path) -> bool:
    """Whether a folder has a file that is not empty."""
    return any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))


def proof(asset: Asset, session: Session, *, served: bool = False) -> str:
    """What an asset's digest was compared with; see AssetReceipt."""
    if not asset.places:
        return "peer"
    if not asset.digests:
        return "server" if served else "first use"
    if not asset.places[0].startswith("hub://"):
        return "recipe"
    return "hub" if session.settings.hub_endpoint == HUB_ENDPOINT else "mirror"


def _unpacked(root: _Root, asset: Asset) -> Path | None:
    """The folder that holds an unpacked copy of an asset, or None."""
    if not root.path.is_dir():
        return None
    if asset.size_bytes is None and not asset.holds:
        return root.path if root.named and _holds_anything(root.path) else None
    if not asset.holds:
        return None
    inner = sorted(path for path in root.path.iterdir() if path.is_dir() and not path.name.startswith("."))
    for folder in (root.path, *inner):
        if all((folder / name).exists() for name in asset.holds):
            return folder
    return None
