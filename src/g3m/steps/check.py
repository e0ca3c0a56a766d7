"""check: does what stands on the disk still agree with the manifest, and what is in it?

Three depths. `digests`: every shard is hashed. `structure`: it is also read strictly, and the header and the
end of every picture and every caption are looked at (steps/examine.py). `deep`: every picture is decoded,
too. Nothing is changed here; `forget` makes the next run redo what is broken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from g3m.adapters.disk import read_document, remove
from g3m.adapters.session import Session
from g3m.core.digest import Hasher
from g3m.core.errors import UnknownDataset
from g3m.core.events import Event, Progressed
from g3m.core.receipt import Manifest, asset_receipt, manifest
from g3m.core.shard import ShardSummary
from g3m.steps.examine import Examined, Examiner, Judge, open_index
from g3m.steps.ledger import DAMAGE, UNUSABLE, Finding, Ledger
from g3m.steps.publish import COMPANIONS, FINDINGS, INDEX, MANIFEST, companions

_READ_BYTES = 2**20


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
    patterns = (f"*/*/{MANIFEST}", f"*/{MANIFEST}", MANIFEST)  # what `g3m pack` makes is its own root
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def _dataset_at(folder: Path, session: Session) -> str:
    """The dataset whose recipe names that folder, or the folder itself."""
    inside = folder.relative_to(session.store.root).as_posix()
    recipes = (session.recipes.get(name) for name in session.recipes.names)
    return next((recipe.name for recipe in recipes if recipe.folder == inside), inside)


def check(
    folder: Path, body: Manifest, session: Session, *, judge: Judge | None, ledger: Ledger
) -> Iterator[Event]:
    """Compare one dataset with its manifest; fills the ledger, yields progress in bytes.

    `judge` looks at the pictures; without one, shards are hashed and that is all.
    """
    before, task = 0, f"verify/{body.dataset}"
    examiner = Examiner(folder, body, judge, session) if judge is not None else None
    known = _known(folder, body)
    for number, shard in enumerate(body.shards):
        found = Examined()
        with ExitStack() as stack:
            passage = _Passage(folder / shard.name, shard, body.dataset, session, stack)
            for done in passage.go(examiner, number, found):
                yield Progressed(task=task, done_bytes=before + done, total_bytes=body.size_bytes)
        # Of a shard that is another one than was published, no index can be right.
        own = (finding for finding in found.damage if not (passage.damage and finding.shard == INDEX))
        ledger.add([*passage.damage, *own])
        ledger.add(found.classes, known=known)
        before += shard.size_bytes
    if examiner is not None:
        ledger.add(examiner.duplicates())
        ledger.looked[body.dataset], ledger.decoded[body.dataset] = examiner.looked, examiner.decodable
    ledger.add(_check_companions(folder, body))
    names = {shard.name for shard in body.shards}
    there = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*.tar")))
    ledger.add(
        Finding(body.dataset, name, "extra", "not in the manifest") for name in there if name not in names
    )


def _known(folder: Path, body: Manifest) -> frozenset[tuple[str, str]]:
    """Keys and classes of the unusable pictures that were found, and kept, when the dataset was packed."""
    if not set(UNUSABLE).intersection(body.findings or {}):
        return frozenset()
    known = set()
    for line in (read_document(folder / FINDINGS) or "").splitlines():
        try:
            row = json.loads(line)
            known.add((str(row["key"]), str(row["class"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return frozenset(pair for pair in known if pair[1] in UNUSABLE)


def _check_companions(folder: Path, body: Manifest) -> Iterator[Finding]:
    """The small files must be there, and the index must be whole."""
    for name in companions(body):
        if not (folder / name).is_file():
            yield Finding(body.dataset, name, "missing")
        elif name == INDEX:
            try:
                found = len(open_index(folder / name))
            except (OSError, ValueError) as error:
                yield Finding(body.dataset, name, "structure", str(error))
                continue
            if found != body.samples:
                yield Finding(body.dataset, name, "structure", f"{found} samples, not {body.samples}")


class _Passage:
    """One way through a shard: its bytes are hashed, and its samples examined where that is asked."""

    def __init__(
        self, path: Path, shard: ShardSummary, dataset: str, session: Session, stack: ExitStack
    ) -> None:
        self.damage: list[Finding] = []
        self._shard, self._dataset, self._session = shard, dataset, session
        self._hasher = Hasher()
        self._file: BinaryIO | None = None
        try:
            file = open(path, "rb", buffering=0)  # noqa: SIM115  # the stack closes it
            self._file = stack.enter_context(file)
            size_bytes = os.fstat(self._file.fileno()).st_size
        except FileNotFoundError:
            self._found("missing")
        except OSError as error:
            self._found("missing", f"cannot be read: {error.strerror}")
        else:
            if size_bytes != shard.size_bytes:
                self._found("size", f"{size_bytes} bytes, not {shard.size_bytes}")

    def go(self, examiner: Examiner | None, number: int, found: Examined) -> Iterator[int]:
        """Yields how many bytes are done."""
        if self._file is None:
            return
        is_sized = not self.damage
        if examiner is not None:
            told = 0
            for done in examiner.shard(number, self._hash if is_sized else lambda _: None, found):
                if done - told >= _READ_BYTES:
                    yield done
                    told = done
        while is_sized and self._hash(self._hasher.size_bytes + 1):
            yield self._hasher.size_bytes
        yield self._shard.size_bytes
        if is_sized and not self.damage:
            actual = self._hasher.digests()[0].hex
            if actual != self._shard.sha256:
                self._found("digest", f"sha256 {actual}, not {self._shard.sha256}")

    def _hash(self, end: int) -> bool:
        """Hash up to there, at least; whether there was something to hash."""
        started = self._hasher.size_bytes
        while self._file is not None and self._hasher.size_bytes < end and not self.damage:
            self._session.check_stop()
            try:
                data = self._file.read(_READ_BYTES)
            except OSError as error:
                self._found("missing", f"cannot be read: {error.strerror}")
                break
            if not data:
                break
            self._hasher.update(data)
        return self._hasher.size_bytes > started

    def _found(self, problem: str, detail: str = "") -> None:
        self.damage.append(Finding(self._dataset, self._shard.name, problem, detail))


def broken(findings: list[Finding]) -> set[tuple[str, str]]:
    """The shards that must be made again. A picture that never decoded is no damage."""
    return {(finding.dataset, finding.shard) for finding in findings if finding.problem in DAMAGE}


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
