"""One folder of shards with an index, on this machine or behind an address: checked, and read by number.

Here: what stands in the folder. Finding it by a name is for load/names.py; several of them as one, exclusions
and captions are for load/dataset.py.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g3m.adapters.local import LocalReader
from g3m.adapters.mapped import mapped
from g3m.adapters.ports import ShardReader
from g3m.core.dropped import DROPPED, BadRecord, Record
from g3m.core.dropped import parse as parse_record
from g3m.core.errors import Bilingual, G3MError, NotVerified, Refused, StorageError, UnknownDataset
from g3m.core.index import ABSENT, Index
from g3m.core.receipt import Manifest, manifest
from g3m.core.remote import SCHEMES
from g3m.core.secrets import mask
from g3m.core.shard import Entry

INDEX, MANIFEST = "index.bin", "manifest.json"
TEXT, JSON = "txt", "json"

GAP_LIMIT_BYTES = 64 * 1024
"""Members with at most so much between them are read at once; more would be read only to be thrown away."""

MEMBER_LIMIT_BYTES = 2**63
"""So much of a member is read where nothing is said: all of it."""

_BLOCKS, _BLOCK_BYTES = 64, 4096
"""What a digest looks at of a foreign index: all of it would take longer than the start of an epoch may."""

_HINT_REPAIR: Bilingual = (
    "`g3m verify --repair` makes what is broken again, and only that",
    "`g3m verify --repair` 只会重做损坏的部分",
)
_HINT_REWRITE: Bilingual = (
    "`g3m drop --rewrite` finishes what was begun there; then open it again",
    "请先运行 `g3m drop --rewrite` 完成未完成的重写，然后重新打开",
)
_HINT_REOPEN: Bilingual = (
    "open the dataset again, and begin its epoch anew: samples were dropped, so numbers mean others now",
    "请重新打开数据集并重新开始该轮：样本已被移除，编号对应的样本已改变",
)
_HINT_RECORD: Bilingual = (
    f"put back a copy of {DROPPED}: without it nobody knows which samples were dropped",
    f"请恢复 {DROPPED} 的备份：没有它就无法得知哪些样本已被移除",
)
_HINT_FILE: Bilingual = (
    "give the path of the index file: only then may it lead to another folder",
    "请直接给出索引文件的路径：只有这样它才能指向别的目录",
)
_HINT_REMOTE: Bilingual = (
    "give the address of a dataset's folder; `g3m index PATH` makes an index where the tars lie",
    "请给出数据集目录的地址；在 tar 所在的机器上运行 `g3m index 路径` 可建立索引",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """The members of a sample that loading looks at; empty where it has none."""

    key: str
    image: bytes
    text: bytes
    json: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """What belongs to one folder; `place` opens it again: its path, that of an index file, or an address."""

    place: str
    name: str
    manifest: Manifest | None
    index: Index
    reader: ShardReader
    record: Record = field(default_factory=Record)
    """What was dropped of it."""


class Folder:
    """The samples of one folder, by number. It never changes; threads and forked processes may share it."""

    def __init__(self, opened: Opened) -> None:
        self.place, self.name, self.manifest = opened.place, opened.name, opened.manifest
        self.shown = shown(self.place)
        self._index, self._reader, self._record = opened.index, opened.reader, opened.record
        self._dropped: list[int] | None = None
        fields = self._index.fields
        self._text, self._json = (fields.index(name) if name in fields else -1 for name in (TEXT, JSON))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_again, (self.place, self.digest))

    def __len__(self) -> int:
        return len(self._index)

    @property
    def shards(self) -> tuple[str, ...]:
        """The names of the shards, in order."""
        return self._index.shards

    @property
    def size_bytes(self) -> int:
        """How large all shards were when they were indexed; 0 where the index does not say it."""
        return sum(self._index.sizes)

    @property
    def digest(self) -> str:
        """Changes with the samples: made of the manifest's digests, or else of parts of the index."""
        found = hashlib.sha256()
        if self._record:
            found.update("\n".join(sorted(self._record.drops)).encode())
        if self.manifest is not None:
            for shard in self.manifest.shards:
                found.update(f"{shard.name} {shard.samples} {shard.sha256}\n".encode())
            return found.hexdigest()
        data = self._index.data
        found.update(f"{len(self)} {len(data)} {self.shards} {self._index.sizes}".encode())
        for number in range(_BLOCKS):
            start = len(data) * number // _BLOCKS
            found.update(data[start : start + _BLOCK_BYTES])
        return found.hexdigest()

    def dropped(self) -> list[int]:
        """The numbers of the samples that were dropped: they are here, and nobody is to see them."""
        if self._dropped is None:
            self._dropped = self._record.numbers(self.keys()) if self._record else []
        return self._dropped

    def keys(self) -> Iterator[str]:
        """Every key, in order, also of samples that were dropped."""
        try:
            yield from self._index.keys()
        except NotVerified as error:
            raise self._said(error) from None

    def key(self, number: int) -> str:
        """The key of a sample."""
        try:
            return self._index.key(number)
        except NotVerified as error:
            raise self._said(error) from None

    def parts(self, number: int, most_bytes: int = MEMBER_LIMIT_BYTES) -> Parts:
        """Key, image, text and json of a sample, by one read if they lie side by side; so much of each."""
        place = self._place(number)
        members = (self._index.image(place), self._text, self._json)
        return Parts(self.key(number), *self._read(number, place, members, most_bytes))

    def image_bytes(self, number: int) -> int:
        """How large the image of a sample is; 0 if it has none."""
        place = self._place(number)
        at = self._index.image(place)
        return place[2 * at + 2] if at >= 0 else 0

    def image_pieces(self, number: int, piece_bytes: int) -> Iterator[bytes]:
        """The image of a sample in pieces, each read when it is asked for."""
        place, left = self._place(number), self.image_bytes(number)
        offset = place[2 * self._index.image(place) + 1]
        while left:
            try:
                yield self._reader.read(self.shards[place[0]], offset, min(left, piece_bytes))
            except G3MError as error:
                raise self._said(error, f" (sample {self.key(number)})") from None
            offset, left = offset + piece_bytes, max(0, left - piece_bytes)

    def members(self, number: int, extensions: Sequence[str]) -> list[bytes]:
        """The members of a sample with these extensions, empty where it has none."""
        fields = self._index.fields
        members = [fields.index(name) if name in fields else -1 for name in extensions]
        return self._read(number, self._place(number), members)

    def where(self, number: int) -> tuple[str, Entry]:
        """The shard of a sample, its key, and where its members lie in that shard."""
        try:
            return self._index[number]
        except NotVerified as error:
            raise self._said(error) from None

    def starts(self) -> list[int]:
        """The number of each shard's first sample, and behind the last how many samples there are."""
        try:
            return self._index.starts()
        except NotVerified as error:
            raise self._said(error) from None

    def close(self) -> None:
        """Close the shards; reading on opens them again."""
        self._reader.close()

    def _place(self, number: int) -> tuple[int, ...]:
        try:
            return self._index.place(number)
        except NotVerified as error:
            raise self._said(error) from None

    def _read(
        self,
        number: int,
        place: tuple[int, ...],
        members: Sequence[int],
        most_bytes: int = MEMBER_LIMIT_BYTES,
    ) -> list[bytes]:
        """The bytes of fields by their numbers; empty for -1 and for what the sample does not have."""
        spans = [
            (place[2 * at + 1], min(place[2 * at + 2], most_bytes))
            if at >= 0 and place[2 * at + 2] != ABSENT
            else None
            for at in members
        ]
        there = [span for span in spans if span is not None]
        if not there:
            return [b""] * len(spans)
        shard = self._index.shards[place[0]]
        start = min(offset for offset, _ in there)
        size_bytes = max(offset + size for offset, size in there) - start
        try:
            if size_bytes - sum(size for _, size in there) > GAP_LIMIT_BYTES:
                return [self._reader.read(shard, *span) if span else b"" for span in spans]
            data = self._reader.read(shard, start, size_bytes)
        except G3MError as error:
            raise self._said(error, f" (sample {self.key(number)})") from None
        return [data[span[0] - start : span[0] - start + span[1]] if span else b"" for span in spans]

    def _said(self, error: G3MError, more: str = "") -> G3MError:
        """The same error with what is known here: which folder, which sample, what helps."""
        where = "" if self.shown in error.message else f"{self.shown}: "
        error.message = f"{where}{error.message}{more}"
        error.args = (error.message,)
        # Behind an address they know better, and who was told to open it again needs no repair.
        if isinstance(error, NotVerified) and not is_url(self.place) and error.hint != _HINT_REOPEN:
            error.hint = _HINT_REPAIR if self.manifest is not None else hint_index(self.shown)
        return error


def is_url(place: str) -> bool:
    """Whether a place is an address and not a path."""
    return place.partition("://")[0] in SCHEMES and "://" in place


def shown(place: str) -> str:
    """A place as it may be printed."""
    return mask(place) if is_url(place) else place


def absolute(path: str) -> str:
    """A path that stays the same when the working folder changes."""
    return os.path.abspath(os.path.expanduser(path))


def tail(place: str, depth: int) -> str:
    """The last so many components of a path or an address, which begins with its host.

    >>> tail("/data/a/train", 2), tail("https://host/coco/", 1), tail("s3://coco", 1)
    ('a/train', 'coco', 'coco')
    """
    return "/".join([part for part in place.partition("://")[2 * is_url(place)].split("/") if part][-depth:])


def hint_index(place: str) -> Bilingual:
    """What makes an index of tars that are not g3m's own."""
    place = shlex.quote(place)
    return (
        f"`g3m index {place}` makes an index of the tars there; `g3m get NAME` makes a dataset that has one",
        f"`g3m index {place}` 可为其中的 tar 建立索引；`g3m get 名称` 生成的数据集自带索引",
    )


def open_folder(place: str) -> Folder:
    """The folder at a path, a path of an index file or an address; UnknownDataset if there is no index."""
    return _open_remote(place) if is_url(place) else _open_local(absolute(place))


def _open_remote(place: str) -> Folder:
    from g3m.adapters.remote import RemoteReader

    reader = RemoteReader(place)
    body = _manifest(shown(place), reader)
    index_data = reader.document(INDEX)
    if index_data is None:
        raise UnknownDataset(f"{shown(place)}: has no {INDEX}", hint=_HINT_REMOTE)
    index = _index(shown(place), memoryview(index_data), body, _HINT_REMOTE)
    reader = RemoteReader(place, sizes=_sizes(index))
    name = body.dataset if body is not None else tail(place, 1)
    return Folder(Opened(place, name, body, index, reader, _record(shown(place), reader)))


def _open_local(place: str) -> Folder:
    home, file = os.path.split(place) if os.path.isfile(place) else (place, INDEX)
    if not os.path.isdir(home):
        raise UnknownDataset(f"{home}: there is no such folder", hint=hint_index(home))
    stamp = _stamp(home)
    # First, because while shards are exchanged the index may not fit.
    record = _record(home, LocalReader(Path(home)))
    body = _manifest(home, LocalReader(Path(home))) if file == INDEX else None
    index_data = _mapped(Path(home) / file)
    if index_data is None:
        raise UnknownDataset(f"{home}: has no {file}", hint=hint_index(home))
    index = _index(place, index_data, body, _HINT_REPAIR if body is not None else hint_index(home))
    if index.folder and place == home:
        # Whoever may write into a folder must not make its readers look elsewhere.
        raise NotVerified(f"{place}: its {INDEX} is for shards in {index.folder}", hint=_HINT_FILE)
    if _stamp(home) != stamp:  # what was read may be half of before and half of now
        return _open_local(place)
    lies = index.folder or home
    if index.folder:
        stamp, record = _stamp(lies), _record(lies, LocalReader(Path(lies)))
    name = body.dataset if body is not None else tail(lies, 1)
    again = home if file == INDEX and not index.folder else place
    own = LocalReader(Path(lies), _sizes(index), _unchanged(lies, stamp, record))
    return Folder(Opened(again, name, body, index, own, record))


def _stamp(home: str) -> tuple[int, ...]:
    """Changes with the record of what was dropped."""
    try:
        state = os.stat(os.path.join(home, DROPPED))
    except OSError:
        return ()
    return (state.st_ino, state.st_mtime_ns, state.st_size)


def _unchanged(home: str, stamp: tuple[int, ...], before: Record) -> Callable[[str], None]:
    """Refuses a shard that was written anew since its index was read: its size may be the same."""

    def check(shard: str) -> None:
        if _stamp(home) == stamp:
            return
        if _parsed(home, LocalReader(Path(home))).rewrote(shard, before):
            raise NotVerified(f"{home}: {shard} was written anew since it was opened", hint=_HINT_REOPEN)

    return check


def _index(place: str, index_data: memoryview, body: Manifest | None, hint: Bilingual) -> Index:
    """The index, with the sizes of the shards, if it is the one of its manifest; else NotVerified."""
    try:
        index = Index(index_data)
        if body is None:
            return index
        _compare(index, body)
        return Index(index_data, [shard.size_bytes for shard in body.shards])
    except ValueError as error:
        raise NotVerified(f"{place}: its index cannot be used: {error}", hint=hint) from None


def _sizes(index: Index) -> dict[str, int]:
    return dict(zip(index.shards, index.sizes, strict=True)) if index.sizes else {}


def _compare(index: Index, body: Manifest) -> None:
    """ValueError where an index is not that of a manifest."""
    if (len(index), index.shards) != (body.samples, tuple(shard.name for shard in body.shards)):
        raise ValueError(
            f"it has {len(index)} samples in {len(index.shards)} shards,"
            f" the manifest has {body.samples} in {len(body.shards)}"
        )


def _manifest(place: str, reader: ShardReader) -> Manifest | None:
    """The manifest of a dataset of g3m's; None where there is none, or another program's."""
    try:
        text = (reader.document(MANIFEST) or b"").decode("utf-8", "replace")
    except Refused:  # what S3 says where there is nothing, and a listing is not allowed
        return None
    body = manifest(text)
    if body is None and '"kind": "Manifest"' in text:
        raise NotVerified(f"{place}: {MANIFEST} cannot be read", hint=_HINT_REPAIR)
    return body


def _record(place: str, reader: ShardReader) -> Record:
    """What was dropped from a folder; NotVerified if that cannot be known, or shards are being exchanged."""
    try:
        record = _parsed(place, reader)
    except Refused:
        return Record()
    if record.rewriting:
        raise NotVerified(f"{place}: its shards are being written anew", hint=_HINT_REWRITE)
    return record


def _parsed(place: str, reader: ShardReader) -> Record:
    data = reader.document(DROPPED)
    try:
        return parse_record(None if data is None else data.decode("utf-8"))
    except (BadRecord, UnicodeDecodeError) as error:
        raise NotVerified(f"{place}: {DROPPED} cannot be used: {error}", hint=_HINT_RECORD) from None


def _mapped(path: Path) -> memoryview | None:
    """A file as if it were in memory; None if it is not there."""
    try:
        return mapped(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:  # nothing can be mapped of an empty file
        return memoryview(b"")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from None


def _again(place: str, digest: str) -> Folder:
    """The same folder in another process; NotVerified if it holds something else by now."""
    folder = open_folder(place)
    if folder.digest != digest:
        raise NotVerified(f"{folder.shown}: was another dataset when it was opened first")
    return folder
