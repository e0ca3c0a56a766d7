"""check: does what stands on the disk still agree with the manifest?

By default every shard is hashed. `deep` also walks each shard with the strict tar reader and decodes
every image. Nothing is changed here; `forget` makes the next run redo what is broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from g3m.adapters.disk import read_document, remove
from g3m.adapters.image import verdict
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.tar import list_tar
from g3m.core.digest import Hasher
from g3m.core.errors import BadArchive, UnknownDataset
from g3m.core.events import Event, Progressed
from g3m.core.index import Index
from g3m.core.members import Refusal, basename
from g3m.core.receipt import Manifest, asset_receipt, manifest
from g3m.core.shard import ShardSummary
from g3m.steps.publish import COMPANIONS, INDEX, MANIFEST

_READ_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as the manifest says.

    `problem`: missing, size, digest, structure, image, or extra (a shard that the manifest does not name).
    """

    dataset: str
    shard: str
    problem: str
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def manifests(session: Session, names: tuple[str, ...]) -> dict[Path, Manifest]:
    """Folder and manifest of the datasets below the root: those named, or all."""
    found: dict[Path, Manifest] = {}
    for path in _manifest_paths(session):
        body = manifest(read_document(path) or "")
        if body is not None and (not names or body.dataset in names):
            found[path.parent] = body
    here = {body.dataset for body in found.values()}
    for name in names:
        if name not in here:
            raise UnknownDataset(
                f"{name!r} is not under {session.store.root}",
                hint=(f"make it with `g3m get {name}`", f"请先运行 `g3m get {name}`"),
            )
    return found


def unreadable(session: Session) -> list[Finding]:
    """A finding for each manifest below the root that cannot be read."""
    paths = [path for path in _manifest_paths(session) if manifest(read_document(path) or "") is None]
    return [
        Finding(_dataset_at(path.parent, session), MANIFEST, "structure", "cannot be read") for path in paths
    ]


def _manifest_paths(session: Session) -> list[Path]:
    root = session.store.root
    return [path for pattern in ("*/*", "*") for path in sorted(root.glob(f"{pattern}/{MANIFEST}"))]


def _dataset_at(folder: Path, session: Session) -> str:
    """The dataset whose recipe names that folder, or the folder itself."""
    inside = folder.relative_to(session.store.root).as_posix()
    recipes = (session.recipes.get(name) for name in session.recipes.names)
    return next((recipe.name for recipe in recipes if recipe.folder == inside), inside)


def check(
    folder: Path, body: Manifest, session: Session, *, deep: bool, findings: list[Finding]
) -> Iterator[Event]:
    """Compare one dataset with its manifest; appends to `findings`, yields progress in bytes."""
    done, task = 0, f"verify/{body.dataset}"
    for shard in body.shards:
        path = folder / shard.name
        for size_bytes in _check_shard(path, shard, body.dataset, session, findings):
            yield Progressed(task=task, done_bytes=done + size_bytes, total_bytes=body.size_bytes)
        done += shard.size_bytes
        if deep and path.is_file():
            yield from _look_inside(path, shard, body.dataset, session, findings)
    findings += _check_companions(folder, body)
    known = {shard.name for shard in body.shards}
    there = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*.tar")))
    strays = (
        Finding(body.dataset, name, "extra", "not in the manifest") for name in there if name not in known
    )
    findings.extend(strays)


def _check_companions(folder: Path, body: Manifest) -> Iterator[Finding]:
    """The small files must be there, and the index must be whole."""
    for name in COMPANIONS:
        if not (folder / name).is_file():
            yield Finding(body.dataset, name, "missing")
        elif name == INDEX:
            try:
                found = len(Index((folder / name).read_bytes()))
            except (OSError, ValueError) as error:
                yield Finding(body.dataset, name, "structure", str(error))
                continue
            if found != body.samples:
                yield Finding(body.dataset, name, "structure", f"{found} samples, not {body.samples}")


def _check_shard(
    path: Path, shard: ShardSummary, dataset: str, session: Session, findings: list[Finding]
) -> Iterator[int]:
    try:
        size_bytes = path.stat().st_size
    except OSError:
        findings.append(Finding(dataset, shard.name, "missing"))
        return
    if size_bytes != shard.size_bytes:
        findings.append(Finding(dataset, shard.name, "size", f"{size_bytes} bytes, not {shard.size_bytes}"))
        return
    hasher = Hasher()
    try:
        with open(path, "rb") as file:
            while data := file.read(_READ_BYTES):
                session.check_stop()
                hasher.update(data)
                yield hasher.size_bytes
    except OSError as error:
        findings.append(Finding(dataset, shard.name, "missing", f"cannot be read: {error.strerror}"))
        return
    actual = hasher.digests()[0].hex
    if actual != shard.sha256:
        findings.append(Finding(dataset, shard.name, "digest", f"sha256 {actual}, not {shard.sha256}"))


def _look_inside(
    path: Path, shard: ShardSummary, dataset: str, session: Session, findings: list[Finding]
) -> Iterator[Event]:
    images = 0
    try:
        with MemberReader(path) as reader:
            for item in list_tar(path):
                session.check_stop()
                if isinstance(item, Refusal):
                    findings.append(Finding(dataset, shard.name, "structure", f"{item.name}: {item.reason}"))
                elif basename(item.name).partition(".")[2] == "jpg":
                    images += 1
                    found = verdict(reader.read(item))
                    if found != "ok":
                        findings.append(Finding(dataset, shard.name, "image", f"{item.name}: {found}"))
                    yield Progressed(
                        task=f"verify/{dataset}/{shard.name}", done_bytes=images, total_bytes=shard.samples
                    )
    except BadArchive as error:
        findings.append(Finding(dataset, shard.name, "structure", error.message))
        return
    if images != shard.samples:
        findings.append(Finding(dataset, shard.name, "structure", f"{images} images, not {shard.samples}"))


def broken(findings: list[Finding]) -> set[tuple[str, str]]:
    """The shards that must be made again. A picture that never decoded is no damage."""
    return {
        (finding.dataset, finding.shard)
        for finding in findings
        if finding.problem in ("missing", "size", "digest", "structure")
    }


def forget(shards: set[tuple[str, str]], session: Session) -> None:
    """Drop what proves the broken parts of a dataset, so that the next run makes them again.

    A shard stays until then: its receipt goes. A small file goes itself.
    """
    for dataset, name in shards:
        remove(session.store.receipt(dataset, name))
    broken_sets = {dataset for dataset, _ in shards}
    for folder, body in manifests(session, ()).items():
        if body.dataset in broken_sets:
            for name in COMPANIONS:
                if (body.dataset, name) in shards:
                    remove(folder / name)
            _distrust(body, session)


def _distrust(body: Manifest, session: Session) -> None:
    """Copies of the user's own are hashed anew: a broken shard may be a second name of one."""
    for asset in body.assets:
        path = session.store.receipt("assets", asset.id)
        receipt = asset_receipt(read_document(path) or "")
        if receipt is not None and receipt.path:
            remove(path)
