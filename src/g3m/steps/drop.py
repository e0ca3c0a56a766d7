"""drop: samples that lists of keys or addresses name are put into the record beside their shards.

From then on nobody sees them: not the loader, not the catalog, not exports or peers, not a shard that is made
again. The shards themselves are changed by steps/rewrite.py alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from g3m.adapters.disk import Store, read_document, remove
from g3m.adapters.local import LocalReader
from g3m.adapters.session import Session
from g3m.core.dropped import DROPPED, Drop, may_name, same_url, url_line
from g3m.core.errors import BadArchive, Bilingual, NotVerified, SettingsError, UnknownDataset
from g3m.core.gathering import READER
from g3m.core.index import ABSENT, Index
from g3m.core.listed import BadLine, Wanted, key_line
from g3m.core.receipt import Manifest, manifest
from g3m.steps.dropped import read_record
from g3m.steps.examine import open_index
from g3m.steps.outcome import names_beside, read_table
from g3m.steps.publish import INDEX, MANIFEST
from g3m.steps.record import forget_in_catalogs, is_same, record_drops

if TYPE_CHECKING:
    from g3m.adapters.ports import Shelf

EXAMPLES = 10
_STOP_SAMPLES = 4096
_KEYS_HINT: Bilingual = (
    'a list has a line for each sample: KEY, DATASET/KEY, or JSON with "key"',
    '列表每行一个样本：键、数据集/键，或含 "key" 的 JSON',
)
_URLS_HINT: Bilingual = (
    'a list has a web address in each line, or JSON with "url"',
    '列表每行一个网址，或含 "url" 的 JSON',
)
_FOLDER_HINT: Bilingual = (
    "`g3m status` shows what is here; name a dataset, or a folder with an index.bin",
    "`g3m status` 会列出已有内容；请给出数据集名称或含有 index.bin 的目录",
)
_INDEX_HINT: Bilingual = (
    "`g3m verify --repair` makes the index of a dataset again, `g3m index PATH` that of other tars",
    "`g3m verify --repair` 会重做数据集的索引；其他 tar 请运行 `g3m index 路径`",
)
_KEYS_ONLY_HINT: Bilingual = (
    "give --keys, or bring the dataset to a disk; tables of addresses stand beside what `g3m gather` makes",
    "请使用 --keys，或先把数据集复制到磁盘；只有 `g3m gather` 生成的数据集附带网址表",
)
_ELSEWHERE_HINT: Bilingual = (
    "name the folder in which the shards lie; `g3m index PATH` makes an index there",
    "请给出分片所在的目录；`g3m index 路径` 可在其中建立索引",
)


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with shards and an index, by its name in the catalog; `body` is the manifest of g3m's own."""

    folder: Path
    name: str
    body: Manifest | None = None
    shelf: Shelf | None = None
    """The bucket in which it lies; then `folder` has no more than its small files."""

    @property
    def has_record(self) -> bool:
        """Whether anything was ever dropped of it."""
        return (self.folder / DROPPED).exists()

    def store(self, session: Session) -> Store:
        """The root that it belongs to: what `g3m pack` and `g3m gather` make is its own."""
        parts = Path(self.body.folder).parts if self.body is not None else ()
        root = self.folder.absolute()
        for part in reversed(parts):
            if root.name != part:
                return session.store
            root = root.parent
        return Store(root)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lists found in one dataset: `new` samples to be dropped, and how many were dropped before."""

    place: Place
    new: tuple[Drop, ...] = ()
    before: int = 0
    samples: int = 0
    """How many samples of the shards the entries mean, new or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What lists asked for, and what became of it."""

    entries: int
    found: tuple[Found, ...]
    unmatched: int
    examples: tuple[str, ...] = ()
    """The first entries that matched nothing."""


@dataclass(slots=True)
class Lists:
    """The entries of the lists that a user gave, and the name of the list that named each first."""

    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)


def places(names: Sequence[str], session: Session) -> list[Place]:
    """The folders of the named datasets, groups and paths, or of all below the root; each once.

    Tars with an index are datasets, too. A place has the name that it has in the catalog.
    """
    from g3m.steps.holdings import folders_below  # only here: who packs needs no database

    below = [Place(folder, name, body) for name, (folder, body) in folders_below(session).items()]
    found: dict[Path, Place] = {}
    for name in names:
        if "://" in name:
            place = _in_bucket(name, session)
            found[place.folder] = place
            continue
        wanted, path = session.recipes.groups.get(name, (name,)), Path(name).expanduser()
        own = [one for one in below if one.name in wanted or (one.body and one.body.dataset in wanted)]
        own = own or [one for one in below if is_same(one.folder, path)]
        if not own:
            if not path.is_dir():
                raise UnknownDataset(f"{name!r} is not under {session.store.root}", hint=_FOLDER_HINT)
            made = manifest(read_document(path / MANIFEST) or "")
            own = [Place(path, made.dataset if made else path.resolve().name, made)]
        found |= {one.folder: one for one in own}
    if not names:
        found = {one.folder: one for one in below}
    if not found:
        raise UnknownDataset(f"no dataset is under {session.store.root}", hint=_FOLDER_HINT)
    return list(found.values())


def _in_bucket(address: str, session: Session) -> Place:
    from g3m.steps.drop_objects import bring  # only here: obstore is an extra

    shelf, folder, body = bring(address, session)
    return Place(folder, body.dataset, body, shelf)


def read_lists(keys: Sequence[Path], urls: Sequence[Path], here: Sequence[Place]) -> Lists:
    """The entries of lists; SettingsError names the line that is none.

    The entries of a list that stands beside the shards of a dataset are for that dataset only.
    """
    lists = Lists()
    homes = {place.folder.resolve(): place.name for place in here}
    for path in keys:
        home = homes.get(Path(os.path.realpath(path)).parent, "")
        for number, line in _lines(path, _KEYS_HINT):
            try:
                dataset, key = key_line(line)
            except BadLine as error:
                raise SettingsError(f"{path}, line {number}: {error}", hint=_KEYS_HINT) from None
            lists.keys.setdefault((dataset or home, key), path.name)
    for path in urls:
        for number, line in _lines(path, _URLS_HINT):
            try:
                lists.urls.setdefault(url_line(line), path.name)
            except BadLine as error:
                raise SettingsError(f"{path}, line {number}: {error}", hint=_URLS_HINT) from None
    return lists


def _lines(path: Path, hint: Bilingual) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            for number, raw in enumerate(file, 1):
                if line := raw.strip():
                    yield number, line
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}", hint=hint) from None


def search(lists: Lists, here: Sequence[Place], reason: str, session: Session) -> Dropped:
    """Which samples of which datasets the entries mean; nothing is written."""
    wanted = Wanted(lists.keys)
    urls_left = set(lists.urls)
    found = []
    for place in here:
        record, index = read_record(place.folder), index_of(place)
        named: dict[str, str] = {}
        entries = wanted.of(place.name)
        samples = 0
        for key in index.keys() if entries else ():
            if key in entries:
                samples += 1
                wanted.hit(entries[key])
                named.setdefault(key, lists.keys[entries[key][0]])
        # What was dropped and rewritten stands in no index any more, and the entry is right all the same.
        for key in record.drops.keys() & entries.keys():
            wanted.hit(entries[key])
            named.setdefault(key, lists.keys[entries[key][0]])
        for key, url in _with_urls(place, index, lists.urls, session) if lists.urls else ():
            session.check_stop()
            samples += key not in named
            urls_left.discard(url)
            named.setdefault(key, lists.urls[url])
        new = tuple(Drop(key, reason, source) for key, source in named.items() if key not in record)
        found.append(Found(place=place, new=new, before=len(named) - len(new), samples=samples))
    left = sorted([*wanted.unmatched(), *urls_left])
    return Dropped(
        entries=wanted.entries + len(lists.urls),
        found=tuple(found),
        unmatched=len(left),
        examples=tuple(left[:EXAMPLES]),
    )


def index_of(place: Place) -> Index:
    """The index of a folder; NotVerified if it cannot be used."""
    path = place.folder / INDEX
    try:
        index = open_index(path)
    except (OSError, ValueError) as error:
        raise NotVerified(f"{path}: cannot be used: {error}", hint=_INDEX_HINT) from None
    if index.folder:
        raise NotVerified(f"{path}: is for shards in {index.folder}", hint=_ELSEWHERE_HINT)
    return index


def _with_urls(
    place: Place, index: Index, urls: Mapping[str, str], session: Session
) -> Iterator[tuple[str, str]]:
    """The keys of samples, and of rows that became none, whose address is wanted; with that address."""
    body = place.body
    if body is not None and body.form == READER:
        own = replace(session, shelf=place.shelf, store=Store(place.folder))
        for shard in body.shards:
            session.check_stop()
            try:
                for row in read_table(place.folder / shard.name, own, ("url", "key")):
                    if (url := same_url(row["url"])) in urls:
                        yield str(row["key"]), url
            except BadArchive:  # a table that was deleted: the samples' json tells, below
                if place.shelf is not None:
                    raise
            if place.shelf is not None:
                for name in names_beside(shard.name)[:2]:
                    remove(place.folder / name)
    elif place.shelf is not None:
        raise SettingsError(f"{place.shelf.address}: the addresses stand in its shards", hint=_KEYS_ONLY_HINT)
    if place.shelf is None:
        yield from _in_json(place, index, urls, session)


def _in_json(
    place: Place, index: Index, urls: Mapping[str, str], session: Session
) -> Iterator[tuple[str, str]]:
    """The same out of the json of each sample: any of its texts that is an address."""
    if "json" not in index.fields:
        return
    at, wanted = index.fields.index("json"), {url.encode() for url in urls}
    with closing(LocalReader(place.folder)) as reader:
        for number in range(len(index)):
            if number % _STOP_SAMPLES == 0:
                session.check_stop()
            spot = index.place(number)
            if spot[2 * at + 2] == ABSENT:
                continue
            data = reader.read(index.shards[spot[0]], spot[2 * at + 1], spot[2 * at + 2])
            for url in _addresses(data) if may_name(data, wanted) else ():
                if url in urls:
                    yield index.key(number), url


def _addresses(data: bytes) -> Iterable[str]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    values = body.values() if isinstance(body, dict) else ()
    return [url for value in values if (url := same_url(value))]


def drop_found(dropped: Dropped, session: Session) -> None:
    """Put what was found into the records, and take all that they name out of the catalogs."""
    for found in dropped.found:
        if found.place.shelf is not None:
            from g3m.steps.drop_objects import record_objects  # only here: obstore is an extra

            record_objects(found.place.shelf, found.place.folder, found.new, session)
        elif found.new or found.before:  # a run that was killed may have recorded them, and no more
            record_drops(found.place.folder, found.new, session)
            forget_in_catalogs(found.place.folder, session)
