"""examine: every sample of a shard that stands: its picture, its caption, its place in the index.

The picture is looked at (core/structure.py), or decoded in guarded processes, several at a time; what is said
of it comes in the order of the shard all the same. The bytes of the shard are hashed on the way, so that each
is read from the disk once.
"""

from __future__ import annotations

import importlib
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from g3m.adapters.guard import Guard
from g3m.adapters.mapped import mapped
from g3m.adapters.members import MemberReader
from g3m.adapters.tar import list_tar
from g3m.core.errors import BadArchive, NotVerified, StorageError
from g3m.core.index import IMAGES, Index
from g3m.core.members import Member, Refusal, basename
from g3m.core.receipt import Manifest
from g3m.core.shard import Entry, ShardSummary
from g3m.core.structure import Verdict, look
from g3m.core.treatment import CAPTION_LIMIT_BYTES, DECODED
from g3m.steps.ledger import UNUSABLE, Finding
from g3m.steps.publish import INDEX
from g3m.steps.twins import Twins, sample_key

Depth = Literal["digests", "structure", "deep"]

_LIKE_A_PICTURE = len(IMAGES)
"""The rank of extensions such as `left.png`, of which the first is the picture of a packed sample."""
_NO_PICTURE = _LIKE_A_PICTURE + 1
_OTHERS = ("txt", "json")


@dataclass(slots=True)
class _Sample:
    """The files of one key that stand beside one another."""

    key: str
    image: Member | None = None
    rank: int = _NO_PICTURE
    """Which of the extensions of pictures its image has."""
    others: dict[str, Member] = field(default_factory=dict)
    """Its caption and its json, by extension."""
    end: int = 0
    caption: tuple[str, ...] = ()
    """Classes of its caption."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One shard of a dataset, and where it stands among the others."""

    folder: Path
    dataset: str
    shard: ShardSummary
    number: int
    before: int
    """Samples in the shards before it."""
    samples: int
    """Samples of the whole dataset."""


def pieces(folder: Path, body: Manifest) -> Iterator[Piece]:
    """The shards of a dataset in their order."""
    before = 0
    for number, shard in enumerate(body.shards):
        yield Piece(folder, body.dataset, shard, number, before, body.samples)
        before += shard.samples


@dataclass(slots=True)
class Examined:
    """What was found in one shard: damage, and classes in the order of its samples."""

    is_looked: bool
    """Whether its samples were examined, and not its digest alone."""
    damage: list[Finding] = field(default_factory=list)
    classes: list[Finding] = field(default_factory=list)
    looked: int = 0
    decodable: int = 0
    twins: Twins = field(default_factory=Twins)


Pictures = Iterable[tuple[_Sample, bytes]]
Verdicts = Generator[tuple[_Sample, Verdict], None, None]
Judge = Callable[[Pictures], Verdicts]
"""Says what there is to say of pictures, in their order."""


@contextmanager
def judging(depth: Depth, jobs: int) -> Iterator[Judge]:
    """What looks at pictures at this depth, for the time of a verification."""
    if depth != "deep":
        yield _at_once
        return
    pool = ThreadPoolExecutor(jobs, "g3m-judge")
    guard = Guard(jobs)
    try:
        yield partial(_in_parallel, guard, pool, 2 * jobs)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        guard.close()  # whoever still waits for a worker is told so
        pool.shutdown()


def _at_once(pictures: Pictures) -> Verdicts:
    for sample, data in pictures:
        yield sample, Verdict(look(data).classes)


def _in_parallel(guard: Guard, pool: ThreadPoolExecutor, ahead: int, pictures: Pictures) -> Verdicts:
    waiting: deque[tuple[_Sample, Future[Verdict]]] = deque()
    failure: BadArchive | None = None
    source = iter(pictures)
    while failure is None:
        try:
            sample, data = next(source)
        except StopIteration:
            break
        except BadArchive as error:
            failure = error  # told behind the pictures before it, however many are under way
            break
        waiting.append((sample, pool.submit(guard.judge, data)))
        if len(waiting) >= ahead:
            sample, verdict = waiting.popleft()
            yield sample, verdict.result()
    for sample, verdict in waiting:
        yield sample, verdict.result()
    if failure is not None:
        raise failure


class Examiner:
    """Goes through shards of one dataset, each by itself; `samples` are those of the whole."""

    def __init__(self, folder: Path, samples: int, judge: Judge, check_stop: Callable[[], None]) -> None:
        self._judge, self._check_stop = judge, check_stop
        self._index: Index | None = None
        with suppress(OSError, ValueError):  # what is wrong with it is told elsewhere
            index = open_index(folder / INDEX)
            self._index = index if len(index) == samples else None
        # isal has zlib's interface and is several times as fast.
        self._crc32: Callable[[bytes], int] = zlib.crc32
        with suppress(ImportError):
            self._crc32 = importlib.import_module("isal.isal_zlib").crc32

    def shard(self, piece: Piece, reach: Callable[[int], Any], found: Examined) -> Iterator[int]:
        """Examine a shard; yields how far it came. `reach` is told which bytes are wanted before they are."""
        places: list[_Sample] = []
        try:
            with (
                MemberReader(piece.folder / piece.shard.name) as reader,
                closing(self._pictures(piece, reader, reach, found)) as pictures,
                closing(self._judge(pictures)) as verdicts,
            ):
                for sample, verdict in verdicts:
                    self._check_stop()
                    _take(piece, sample, verdict, found)
                    places.append(sample)
                    yield sample.end
        except BadArchive as error:
            found.damage.append(_finding(piece, "structure", error.message))
        except StorageError as error:
            found.damage.append(_finding(piece, "missing", error.message))
        else:
            if len(places) != piece.shard.samples:
                words = f"{len(places)} images, not {piece.shard.samples}"
                found.damage.append(_finding(piece, "structure", words))
            elif not found.damage:
                found.damage += self._compare_index(piece, places)

    def _pictures(
        self, piece: Piece, reader: MemberReader, reach: Callable[[int], Any], found: Examined
    ) -> Generator[tuple[_Sample, bytes], None, None]:
        """The samples of a shard with their pictures."""
        number, seen = piece.before, set[str]()
        for sample in _samples(list_tar(piece.folder / piece.shard.name), partial(_refuse, piece, found)):
            if sample.key in seen:
                words = f"members of sample {sample.key} stand in two places"
                found.damage.append(_finding(piece, "structure", words))
            seen.add(sample.key)
            if sample.image is None or not self._is_packed(sample, number):
                continue  # a mask, a note: no sample, and no loss
            number += 1
            self._check_stop()
            reach(sample.end)
            data = reader.read(sample.image)
            text = reader.read(sample.others["txt"]) if "txt" in sample.others else b""
            sample.caption = tuple(_caption_classes(text))
            found.twins.add(self._crc32(data), len(data), (piece.number, sample.image.offset))
            yield sample, data

    def _is_packed(self, sample: _Sample, number: int) -> bool:
        """Whether what has a picture is the sample of that number; of some only the index can tell."""
        if sample.rank < _LIKE_A_PICTURE:
            return True
        with suppress(IndexError, NotVerified):
            return self._index is not None and self._index.key(number) == sample.key
        return False

    def _compare_index(self, piece: Piece, samples: Sequence[_Sample]) -> Iterator[Finding]:
        """The index must have the key of each sample, and name the place where each of its files lies."""
        if self._index is None:
            return
        for number, sample in enumerate(samples, piece.before):
            try:
                stated = _stated(*self._index[number])
            except NotVerified:
                stated = None
            if stated != _found(piece.shard.name, sample, self._index.fields):
                words = f"does not agree with {piece.shard.name} from sample {sample.key} on"
                yield Finding(piece.dataset, INDEX, "structure", words)
                return


def _stated(shard: str, entry: Entry) -> tuple[Any, ...]:
    """What an index says of a sample: its shard, its key, and where its picture, caption and json lie."""
    named = {field.extension: (field.offset, field.size_bytes) for field in entry.fields}
    image = next((named[name] for name in IMAGES if name in named), None)
    return (shard, entry.key, image, *(named.get(name) for name in _OTHERS))


def _found(shard: str, sample: _Sample, fields: Sequence[str]) -> tuple[Any, ...]:
    """The same as it is in the shard."""
    others = (sample.others.get(name) if name in fields else None for name in _OTHERS)
    places = (None if one is None else (one.offset, one.size_bytes) for one in (sample.image, *others))
    return (shard, sample.key, *places)


def _take(piece: Piece, sample: _Sample, verdict: Verdict, found: Examined) -> None:
    found.looked += 1
    found.decodable += not set(UNUSABLE).intersection(verdict.classes)
    for name in (*verdict.classes, *sample.caption):
        detail = verdict.detail if name in (*DECODED, "bomb") else ""
        found.classes.append(_finding(piece, name, detail, sample.key))


def _refuse(piece: Piece, found: Examined, item: Refusal) -> None:
    found.damage.append(_finding(piece, "structure", f"{item.name}: {item.reason}"))


def _finding(piece: Piece, problem: str, detail: str, key: str = "") -> Finding:
    return Finding(piece.dataset, piece.shard.name, problem, detail, key)


def _samples(items: Iterable[Member | Refusal], refuse: Callable[[Refusal], None]) -> Iterator[_Sample]:
    """Neighbours of one key, as every WebDataset reader groups them: up to the first dot of the name."""
    sample: _Sample | None = None
    for item in items:
        if isinstance(item, Refusal):
            refuse(item)
            continue
        key, extension = sample_key(item.name), basename(item.name).partition(".")[2]
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key)
        rank = _rank(extension)
        if rank < sample.rank:
            sample.image, sample.rank = item, rank
        elif extension in _OTHERS:
            sample.others[extension] = item
        sample.end = item.offset + item.size_bytes
    if sample is not None:
        yield sample


def _rank(extension: str) -> int:
    if extension in IMAGES:
        return IMAGES.index(extension)
    return _LIKE_A_PICTURE if extension.rpartition(".")[2] in IMAGES else _NO_PICTURE


def _caption_classes(text: bytes) -> Iterator[str]:
    if not text.strip():
        yield "no_caption"
    if len(text) > CAPTION_LIMIT_BYTES:
        yield "caption_too_long"
    try:
        text.decode()
    except UnicodeDecodeError:
        yield "caption_not_utf8"


def open_index(path: Path) -> Index:
    """The index of a dataset, mapped; OSError or ValueError if it cannot be used."""
    return Index(mapped(path))
