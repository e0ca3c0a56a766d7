"""check: does what stands on the disk still agree with the manifest, and what is in it?

Three depths. `digests`: every shard is hashed. `structure`: it is also read strictly, and the header and the
end of every picture and every caption are looked at (steps/examine.py). `deep`: every picture is decoded,
too. Nothing is changed here; `forget` makes the next run redo what is broken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from g3m.adapters.disk import read_document, remove
from g3m.adapters.session import Session
from g3m.core.digest import Hasher
from g3m.core.dropped import DROPPED
from g3m.core.errors import NotVerified, UnknownDataset
from g3m.core.events import Event, Progressed
from g3m.core.index import FIELDS, IMAGES
from g3m.core.receipt import Manifest, asset_receipt, manifest
from g3m.steps.dropped import read_record
from g3m.steps.examine import Examined, Examiner, Judge, Piece, open_index, pieces
from g3m.steps.ledger import DAMAGE, UNUSABLE, Finding, Ledger
from g3m.steps.publish import COMPANIONS, FINDINGS, INDEX, MANIFEST, companions, counted
from g3m.steps.twins import Twins

_READ_BYTES = 2**20

Walk = Callable[[Path, Manifest], Iterator[Event | Examined]]
"""Goes through the shards of a dataset: events, and what was found in each, in the order of the shards."""


def manifests(session: Session, names: tuple[str, ...]) -> dict[Path, Manifest]:
    """Folder and manifest of the datasets below the root: those named, or all."""
    found: dict[Path, Manifest] = {}
    for path in _paths(MANIFEST, session):
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
    """A finding for each manifest below the root that cannot be read, or is gone."""
    paths = [path for path in _paths(MANIFEST, session) if manifest(read_document(path) or "") is None]
    # It is written last: a folder that has all the other small files was published, or was about to be.
    others = [name for name in COMPANIONS if name != FINDINGS]
    folders = (path.parent for path in _paths(INDEX, session))
    bare = (folder for folder in folders if all((folder / name).is_file() for name in others))
    gone = [folder for folder in bare if not (folder / MANIFEST).exists()]
    return [
        *(
            Finding(_dataset_at(path.parent, session), MANIFEST, "structure", "cannot be read")
            for path in paths
        ),
        *(Finding(_dataset_at(folder, session), MANIFEST, "missing") for folder in gone),
    ]


def _paths(name: str, session: Session) -> list[Path]:
    """The files of that name in the folders where datasets are."""
    root = session.store.root
    patterns = (f"*/*/{name}", f"*/{name}", name)  # what `g3m pack` makes is its own root
    return [path for pattern in patterns for path in sorted(root.glob(pattern))]


def _dataset_at(folder: Path, session: Session) -> str:
    """The dataset whose recipe names that folder, or the folder itself."""
    inside = folder.relative_to(session.store.root).as_posix()
    recipes = (session.recipes.get(name) for name in session.recipes.names)
    return next((recipe.name for recipe in recipes if recipe.folder == inside), inside)


def check(
    folder: Path,
    body: Manifest,
    session: Session,
    *,
    judge: Judge | None,
    ledger: Ledger,
    walk: Walk | None = None,
) -> Iterator[Event]:
    """Compare one dataset with its manifest; fills the ledger, yields progress in bytes.

    `judge` looks at the pictures; without one, shards are hashed and that is all. A `walk` goes through the
    shards in place of this thread, and has a judge of its own.
    """
    known, twins = _known(folder, body), Twins()
    for item in _walk_here(folder, body, session, judge) if walk is None else walk(folder, body):
        if isinstance(item, Event):
            yield item
            continue
        ledger.add(item.damage)
        ledger.add(item.classes, known=known)
        twins.take(item.twins)
        if item.is_looked:
            ledger.looked[body.dataset] = ledger.looked.get(body.dataset, 0) + item.looked
            ledger.decoded[body.dataset] = ledger.decoded.get(body.dataset, 0) + item.decodable
    ledger.add(_duplicates(twins, folder, body, session))
    ledger.add(_check_companions(folder, body))
    ledger.add(_check_record(folder, body))
    names = {shard.name for shard in body.shards}
    there = (str(path.relative_to(folder)) for path in sorted(folder.rglob("*.tar")))
    ledger.add(
        Finding(body.dataset, name, "extra", "not in the manifest") for name in there if name not in names
    )


def _walk_here(
    folder: Path, body: Manifest, session: Session, judge: Judge | None
) -> Iterator[Event | Examined]:
    before, task = 0, f"verify/{body.dataset}"
    examiner = None if judge is None else Examiner(folder, body.samples, judge, session.check_stop)
    for piece in pieces(folder, body):
        found = Examined(is_looked=examiner is not None)
        for done in go_through(piece, examiner, session.check_stop, found):
            yield Progressed(task=task, done_bytes=before + done, total_bytes=body.size_bytes)
        yield found
        before += piece.shard.size_bytes


def go_through(
    piece: Piece, examiner: Examiner | None, check_stop: Callable[[], None], found: Examined
) -> Iterator[int]:
    """Hash one shard, and examine it if there is an examiner; yields how many of its bytes are done."""
    with ExitStack() as stack:
        passage = _Passage(piece, check_stop, stack)
        yield from passage.go(examiner, found)
    # Of a shard that is another one than was published, no index can be right.
    own = (finding for finding in found.damage if not (passage.damage and finding.shard == INDEX))
    found.damage = [*passage.damage, *own]


def _duplicates(twins: Twins, folder: Path, body: Manifest, session: Session) -> Iterator[Finding]:
    """A finding for each picture that an earlier sample has, too, byte for byte."""
    names = [shard.name for shard in body.shards]
    for place, key, first, first_key in twins.pairs([folder / name for name in names]):
        session.check_stop()
        words = f"the same as {first_key} in {names[first[0]]}"
        yield Finding(body.dataset, names[place[0]], "duplicate_image", words, key)


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


def _check_record(folder: Path, body: Manifest) -> Iterator[Finding]:
    """The record of dropped samples must be readable, and no exchange of shards may be under way."""
    try:
        if read_record(folder).rewriting:
            words = "shards are being written anew; `g3m drop --rewrite` finishes it"
            yield Finding(body.dataset, DROPPED, "structure", words)
    except NotVerified as error:
        yield Finding(body.dataset, DROPPED, "structure", error.message)


def _check_companions(folder: Path, body: Manifest) -> Iterator[Finding]:
    """The small files must be there, the index must be whole, and what only counts must say the same."""
    told = counted(body)
    for name in companions(body):
        if not (folder / name).is_file():
            yield Finding(body.dataset, name, "missing")
        elif name in told and read_document(folder / name) != told[name]:
            yield Finding(body.dataset, name, "structure", f"does not agree with {MANIFEST}")
        elif name == INDEX and (problem := _index_problem(folder / name, body)):
            yield Finding(body.dataset, name, "structure", problem)


def _index_problem(path: Path, body: Manifest) -> str:
    """What is wrong with an index, as far as it can be said without the shards; empty if that is nothing."""
    try:
        index = open_index(path)
        if not index.intact:
            return "is not as it was written"
        if (found := sum(1 for _ in index.keys())) != body.samples:  # noqa: SIM118  # each is looked at
            return f"{found} samples, not {body.samples}"
        if index.shards != tuple(shard.name for shard in body.shards):
            return f"speaks of other shards than {MANIFEST}"
        if odd := set(index.fields).difference(FIELDS, IMAGES):
            return f"speaks of files called {', '.join(sorted(odd))}"
        misplaced = index.first_misplaced([shard.samples for shard in body.shards])
    except (OSError, ValueError) as error:
        return str(error)
    except NotVerified as error:
        return error.message
    return "" if misplaced < 0 else f"no file can lie where it has those of sample {index.key(misplaced)}"


class _Passage:
    """One way through a shard: its bytes are hashed, and its samples examined where that is asked."""

    def __init__(self, piece: Piece, check_stop: Callable[[], None], stack: ExitStack) -> None:
        self.damage: list[Finding] = []
        self._piece, self._shard, self._check_stop = piece, piece.shard, check_stop
        self._hasher = Hasher()
        self._file: BinaryIO | None = None
        try:
            file = open(piece.folder / piece.shard.name, "rb", buffering=0)  # noqa: SIM115  # the stack closes it
            self._file = stack.enter_context(file)
            size_bytes = os.fstat(self._file.fileno()).st_size
        except FileNotFoundError:
            self._found("missing")
        except OSError as error:
            self._found("missing", f"cannot be read: {error.strerror}")
        else:
            if size_bytes != self._shard.size_bytes:
                self._found("size", f"{size_bytes} bytes, not {self._shard.size_bytes}")

    def go(self, examiner: Examiner | None, found: Examined) -> Iterator[int]:
        """Yields how many bytes are done."""
        if self._file is None:
            return
        is_sized = not self.damage
        if examiner is not None:
            told = 0
            for done in examiner.shard(self._piece, self._hash if is_sized else lambda _: None, found):
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
            self._check_stop()
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
        self.damage.append(Finding(self._piece.dataset, self._shard.name, problem, detail))


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
