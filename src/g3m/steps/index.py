"""index: makes the index of a folder of WebDataset tars, whoever wrote them, by one scan of the headers.

The folder is found as for `g3m pack` (steps/ready.py), a tar is scanned by steps/scan.py, several at the same
time, because a scan of a slow disk waits. A folder that g3m made gets the index that it was published
with, and its manifest says how many samples must be found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from g3m.adapters.disk import clear_left, make_folder, remove, write_document
from g3m.adapters.session import Session
from g3m.core.errors import (
    BadArchive,
    G3MError,
    NotRecognised,
    NotVerified,
    SettingsError,
    StorageError,
)
from g3m.core.events import Event, Progressed, TaskFinished, TaskStarted
from g3m.core.index import ABSENT, FIELDS_LIMIT, Head, Index
from g3m.core.indexing import joined, ordered, repeated
from g3m.core.members import refuse_name
from g3m.core.receipt import Manifest
from g3m.core.reshard import SourceShard
from g3m.steps.examine import open_index
from g3m.steps.publish import INDEX
from g3m.steps.ready import find_source
from g3m.steps.scan import Kept, Scanned, scan

TASK = "index/"
TARS_AT_ONCE = 8
_TOLD = 20
_READ_BYTES = 2**20

_FOLDER_HINT = (
    "name the folder that holds the tars; one index describes all of them",
    "请给出存放 tar 的目录；一个索引描述其中所有 tar",
)
_FILE_HINT = ("name a file with --to, for example cc3m.bin", "请用 --to 指定一个文件，例如 cc3m.bin")
_PICTURE_HINT = (
    "a sample needs a picture called KEY.jpg, .jpeg, .png, .webp, .gif, .bmp or .tiff beside its other files",
    "样本须包含图片，文件名为 KEY.jpg、.jpeg、.png、.webp、.gif、.bmp 或 .tiff",
)
_FIELDS_HINT = (
    "put tars of different kinds into folders of their own, and index each",
    "请将不同种类的 tar 放入各自的目录，并分别建立索引",
)
_REPAIR_HINT = (
    "`g3m verify --structure --repair` looks closer, and makes only what is broken again",
    "`g3m verify --structure --repair` 会仔细检查，并只重做损坏的部分",
)
_AGAIN_HINT = (
    "another run worked on the same index; run the same command again",
    "另一个进程正在处理同一索引；请重新运行同一命令",
)


@dataclass(frozen=True, slots=True)
class Folder:
    """What is to be indexed: its tars in order, and its manifest if g3m made it. `path` is the index."""

    root: Path
    path: Path
    shards: tuple[SourceShard, ...]
    body: Manifest | None = None

    @property
    def kept(self) -> Path:
        """Where finished scans are kept until the index is written."""
        return self.path.with_name(f".{self.path.name}.scans")

    @property
    def away(self) -> str:
        """The folder of the shards as the index has to name it; empty: it lies beside them."""
        root = self.root.absolute()
        return "" if self.path.parent.resolve() == root.resolve() else str(root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """An index that stands: what it describes, and what of the folder it does not.

    `left_out` counts samples by reason, `first` has an example of each; `repeated` are samples whose key an
    earlier one has, `repeated_key` is one of those keys. Not `is_new`: it was up to date, nothing was read.
    """

    path: Path
    samples: int
    shards: int
    size_bytes: int
    fields: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    repeated: int = 0
    repeated_key: str = ""
    is_new: bool = True
    is_same: bool = False
    """Whether the same bytes stood there before."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A shard that the index does not fit: `missing`, `size`, `newer` or `extra`; the index: `structure`."""

    shard: str
    problem: str
    detail: str = ""


def find_folder(text: str, to: str, session: Session) -> Folder:
    """The folder that a user names, or the dataset below the root; UsageError if it cannot have an index."""
    path = Path(text).expanduser()
    if path.is_file():
        raise SettingsError(f"{text}: is a file", hint=_FOLDER_HINT)
    source = find_source([text], session)
    root = source.folders[0] if source.body is not None else path
    target = Path(to).expanduser() if to else root / INDEX
    if target.is_dir() or target.suffix == ".tar":
        raise SettingsError(f"{to}: is no name for an index", hint=_FILE_HINT)
    for shard in source.shards:
        if refuse_name(shard.name):
            raise NotRecognised(f"{shard.path!r}: no index can hold this name")
    return Folder(root, target, source.shards, source.body)


def differences(folder: Folder) -> list[Difference]:
    """How an index and its shards differ, by names, sizes and times; no shard is read."""
    try:
        index = open_index(folder.path)
        known = dict(zip(index.shards, index.sizes or _stated(folder), strict=True))
        made_ns = folder.path.stat().st_mtime_ns
    except FileNotFoundError:
        return [Difference(folder.path.name, "missing")]
    except (OSError, ValueError) as error:
        return [Difference(folder.path.name, "structure", str(error))]
    found = list(_shard_differences(folder.shards, known, made_ns))
    if folder.body is not None and len(index) != folder.body.samples:
        words = f"{len(index)} samples, not {folder.body.samples}"
        found.append(Difference(folder.path.name, "structure", words))
    if index.folder != folder.away:
        where = index.folder or "its own folder"
        found.append(Difference(folder.path.name, "structure", f"speaks of shards in {where}"))
    return found


def _stated(folder: Folder) -> list[int]:
    """The sizes that an index leaves to the manifest."""
    return [shard.size_bytes for shard in folder.body.shards] if folder.body is not None else []


def _shard_differences(
    shards: Iterable[SourceShard], known: dict[str, int], made_ns: int
) -> Iterator[Difference]:
    here = {shard.name: shard for shard in shards}
    for name in known:
        if name not in here:
            yield Difference(name, "missing")
    for name, shard in here.items():
        if name not in known:
            yield Difference(name, "extra", "not in the index")
        elif shard.size_bytes != known[name]:
            yield Difference(name, "size", f"{shard.size_bytes} bytes, not {known[name]}")
        elif shard.changed_ns > made_ns:
            yield Difference(name, "newer", "written after the index")


def index(folder: Folder, session: Session, *, force: bool = False) -> Generator[Event, None, Indexed]:
    """Write the index of a folder; what an earlier run has scanned of it is not scanned again.

    A folder whose index is up to date is left as it is, unless `force`. Raises BadArchive or StorageError
    that name each tar that cannot be read, with nothing written but what was scanned.
    """
    clear_left(folder.path.parent.glob(f".{folder.path.name}.*.tmp"))
    if not force and folder.body is None and not differences(folder):
        remove(folder.kept)  # of a run that was killed at its very end
        return _summary(folder, [], is_new=False)
    before = _digest(folder.path)
    make_folder(folder.path.parent)
    with Kept(folder.kept) as kept:
        found = yield from _scan_all(folder, kept, session)
        head = _head(folder, found, kept)
        write_document(folder.path, joined(head, lambda number: _again(folder, kept, number).index))
    remove(folder.kept)
    return _summary(folder, found, is_same=before == _digest(folder.path))


@dataclass(frozen=True, slots=True)
class _Found:
    """What of a scan is held in memory."""

    samples: int
    fields: tuple[str, ...]
    left_out: dict[str, int]
    first: dict[str, str]
    ignored: int


def _found(scanned: Scanned) -> _Found:
    used = scanned.index.fields if len(scanned.index) else ()
    return _Found(len(scanned.index), used, scanned.left_out, scanned.first, scanned.ignored)


def _scan_all(folder: Folder, kept: Kept, session: Session) -> Generator[Event, None, list[_Found]]:
    """Scan what was not scanned before, several tars at a time; one error for all that cannot be read."""
    is_ours = folder.body is not None
    found: dict[int, _Found] = {}
    missing: list[int] = []
    for number, shard in enumerate(folder.shards):
        earlier = kept.find(shard, is_ours=is_ours)
        if earlier is None:
            missing.append(number)
        else:
            found[number] = _found(earlier)
            yield _finished(shard, found[number])
    failures: dict[int, G3MError] = {}
    answers: SimpleQueue[Event | tuple[int, Scanned | BaseException]] = SimpleQueue()

    def work(number: int) -> None:
        shard = folder.shards[number]
        task = f"{TASK}{shard.name}"
        try:
            session.check_stop()
            answers.put(TaskStarted(task=task, kind="index", dataset="", total_bytes=shard.size_bytes))

            def tick(done_bytes: int) -> None:
                answers.put(Progressed(task=task, done_bytes=done_bytes, total_bytes=shard.size_bytes))

            answers.put((number, scan(shard, is_ours=is_ours, session=session, tick=tick)))
        except BaseException as error:  # noqa: BLE001  # it is raised where the answers are read
            answers.put((number, error))

    pool = ThreadPoolExecutor(session.settings.jobs or TARS_AT_ONCE, "g3m-index")
    try:
        for number in missing:
            pool.submit(work, number)
        while len(found) + len(failures) < len(folder.shards):
            session.check_stop()
            answer = answers.get()
            if isinstance(answer, Event):
                yield answer
                continue
            number, result = answer
            if isinstance(result, (BadArchive, StorageError)):
                failures[number] = result
            elif isinstance(result, BaseException):
                raise result
            else:
                kept.write(folder.shards[number], result, is_ours=is_ours)
                found[number] = _found(result)
                yield _finished(folder.shards[number], found[number])
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        _raise_all([failures[number] for number in sorted(failures)])
    return [found[number] for number in range(len(folder.shards))]


def _finished(shard: SourceShard, found: _Found) -> Event:
    return TaskFinished(
        task=f"{TASK}{shard.name}",
        kind="index",
        dataset="",
        output=shard.name,
        size_bytes=shard.size_bytes,
        samples=found.samples,
        rejected=found.left_out,
    )


def _raise_all(errors: list[G3MError]) -> None:
    lines = [error.message for error in errors[:_TOLD]]
    if len(errors) > _TOLD:
        lines.append(f"and {len(errors) - _TOLD} more")
    raise type(errors[0])("\n".join(lines), hint=errors[0].hint)


def _head(folder: Folder, found: list[_Found], kept: Kept) -> Head:
    """What the index begins with; an error if the tars do not fit into one index or to the manifest."""
    samples = sum(one.samples for one in found)
    names = tuple(shard.name for shard in folder.shards)
    sizes = tuple(shard.size_bytes for shard in folder.shards)
    if folder.body is not None:
        lines = [
            f"{folder.root / name}: {one.samples} samples, not {shard.samples} as the manifest says"
            for name, one, shard in zip(names, found, folder.body.shards, strict=True)
            if one.samples != shard.samples
        ]
        if lines:
            raise NotVerified("\n".join(lines[:_TOLD]), hint=_REPAIR_HINT)
        return Head(shards=names, samples=samples, sizes=sizes if folder.away else (), folder=folder.away)
    if not samples:
        seen = next((text for one in found for text in one.first.values()), "there are no files in the tars")
        raise NotRecognised(f"{folder.root}: no sample with a picture is in it ({seen})", hint=_PICTURE_HINT)
    fields: set[str] = set()
    for number, one in enumerate(found):
        new = [name for name in one.fields if name not in fields]
        fields.update(new)
        if len(fields) > FIELDS_LIMIT:
            member = _first_with(new[-1], _again(folder, kept, number).index)
            words = f"{member} is of one kind more than the {FIELDS_LIMIT} an index can have"
            raise BadArchive(f"{folder.shards[number].path}: {words}", hint=_FIELDS_HINT)
    return Head(shards=names, samples=samples, fields=ordered(fields), sizes=sizes, folder=folder.away)


def _first_with(name: str, index: Index) -> str:
    """The first member of this kind."""
    at = 2 * index.fields.index(name) + 2
    return next(f"{index.key(one)}.{name}" for one in range(len(index)) if index.place(one)[at] != ABSENT)


def _again(folder: Folder, kept: Kept, number: int) -> Scanned:
    found = kept.find(folder.shards[number], is_ours=folder.body is not None)
    if found is None:
        raise StorageError(f"{kept.path}: was changed by somebody else", hint=_AGAIN_HINT)
    return found


def _digest(path: Path) -> bytes:
    """What tells the bytes of an index from others; nothing if there are none."""
    hasher = hashlib.blake2b()
    with suppress(OSError), open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            hasher.update(data)
        return hasher.digest()
    return b""


def _summary(folder: Folder, found: list[_Found], *, is_new: bool = True, is_same: bool = False) -> Indexed:
    left_out: dict[str, int] = {}
    first: dict[str, str] = {}
    for one in found:
        for reason, count in one.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + count
            first.setdefault(reason, one.first[reason])
    made = open_index(folder.path)
    repeats, repeated_key = repeated(made.keys)
    return Indexed(
        path=folder.path,
        samples=len(made),
        shards=len(made.shards),
        size_bytes=sum(shard.size_bytes for shard in folder.shards),
        fields=made.counts(),
        left_out=left_out,
        first=first,
        ignored=sum(one.ignored for one in found),
        repeated=repeats,
        repeated_key=repeated_key,
        is_new=is_new,
        is_same=is_same,
    )
