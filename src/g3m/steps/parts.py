"""parts: datasets as exports see them: where their shards lie, what is counted, which members there are.

A name is a dataset's below the root, a group's, or the path of a folder with an index, or of an index that
lies elsewhere. Without a manifest the index counts.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from g3m.adapters.disk import read_document
from g3m.adapters.session import Session
from g3m.core.errors import Bilingual, NotVerified, UnknownDataset, UsageError
from g3m.core.index import Index
from g3m.core.neighbours import Part, below, split_of
from g3m.core.receipt import Manifest, manifest
from g3m.core.recipe import Recipe, suggest
from g3m.core.shard import ShardSummary
from g3m.steps.check import manifests
from g3m.steps.dropped import refuse_held
from g3m.steps.examine import open_index
from g3m.steps.publish import INDEX, MANIFEST

_HINT_NAMES: Bilingual = (
    "`g3m status` shows what is here; a folder of tars needs `g3m index PATH` first",
    "`g3m status` 会列出已有内容；其他 tar 目录需先运行 `g3m index 路径`",
)
_HINT_INDEX: Bilingual = (
    "`g3m verify --repair` makes the index of a dataset of g3m's again, `g3m index PATH` that of other tars",
    "`g3m verify --repair` 会重做 g3m 自己数据集的索引；其他 tar 请运行 `g3m index 路径`",
)
_HINT_TWICE: Bilingual = (
    "export them one after the other, each with a --to of its own",
    "请分别导出，并各自用 --to 指定位置",
)


@dataclass(frozen=True, slots=True)
class Here:
    """A dataset that stands on this disk, and its index."""

    part: Part
    index: Index


def find(names: Sequence[str], session: Session) -> list[Here]:
    """The datasets of these names, groups and paths of folders, or all below the root; each once."""
    standing = manifests(session, ())
    folders: dict[Path, Manifest | None] = {}
    if not names:
        folders.update(standing)
    for name in names:
        folders.update(_named(name, standing, session))
    if not folders:
        raise UnknownDataset(f"no dataset is under {session.store.root}", hint=_HINT_NAMES)
    found: dict[str, Here] = {}
    for folder, body in folders.items():
        one = _open(Path(os.path.abspath(folder)), body, session)
        other = found.setdefault(one.part.name.lower(), one)
        if other.part.place != one.part.place:
            both = f"{other.part.place} and {one.part.place}"
            raise UsageError(f"two datasets are called {one.part.name!r}: {both}", hint=_HINT_TWICE)
    return list(found.values())


def _named(
    name: str, standing: Mapping[Path, Manifest], session: Session
) -> Iterator[tuple[Path, Manifest | None]]:
    wanted = session.recipes.groups.get(name, (name,))
    if not any(body.dataset in wanted for body in standing.values()):
        path = Path(name).expanduser()
        if path.is_file():
            yield path, None
            return
        if path.is_dir():
            body = manifest(read_document(path / MANIFEST) or "")
            if body is None and not (path / INDEX).is_file():
                raise UnknownDataset(f"{path}: has neither {MANIFEST} nor {INDEX}", hint=_HINT_NAMES)
            yield path, body
            return
    for member in wanted:
        found = [(folder, body) for folder, body in standing.items() if body.dataset == member]
        if not found:
            near = suggest(member, [body.dataset for body in standing.values()])
            raise UnknownDataset(f"{member!r} is not under {session.store.root}{near}", hint=_HINT_NAMES)
        yield from found


def _open(folder: Path, body: Manifest | None, session: Session) -> Here:
    path = folder if folder.is_file() else folder / INDEX
    try:
        index = open_index(path)
    except (OSError, ValueError) as error:
        raise NotVerified(f"{path}: cannot be used: {error}", hint=_HINT_INDEX) from None
    place = folder if body else Path(os.path.abspath(path.parent / index.folder))
    refuse_held(place, index)
    shards = body.shards if body else _counted(place, index)
    stated = sum(shard.samples for shard in shards)
    if len(index) != stated:
        raise NotVerified(
            f"{folder}: {INDEX} has {len(index)} samples, {MANIFEST} {stated}", hint=_HINT_INDEX
        )
    counts = index.counts()
    name = body.dataset if body else re.sub(r"[^\w.-]+", "_", place.name) or "root"
    recipe = session.recipes.get(name) if body and name in session.recipes.names else None
    root = os.path.abspath(session.store.root)
    part = Part(
        name=name,
        place=str(place),
        folder="." if str(place) == root else below(str(place), root),
        shards=shards,
        split=split_of(name, recipe.samples.split if recipe else ""),
        fields=tuple(counts),
        common=tuple(name for name, count in counts.items() if count == len(index)),
    )
    return Here(_described(part, body, recipe), index)


def _described(part: Part, body: Manifest | None, recipe: Recipe | None) -> Part:
    """The words that belong to the data: the manifest's, and the recipe's where it is known."""
    if body is not None:
        part = replace(part, title=body.title, licence=body.licence, homepage=body.homepage)
    if recipe is not None:
        part = replace(part, terms=recipe.terms, citation=recipe.citation)
    return part


def _counted(place: Path, index: Index) -> tuple[ShardSummary, ...]:
    """The shards of an index without a manifest; in it the samples stand in the order of the shards."""
    sums = dict(_sums(place))
    samples = range(len(index))
    starts = [
        bisect_left(samples, number, key=lambda at: index.place(at)[0])
        for number in range(len(index.shards) + 1)
    ]
    shards = []
    for number, name in enumerate(index.shards):
        try:
            size_bytes = (place / name).stat().st_size
        except OSError as error:
            raise NotVerified(f"{place / name}: {error.strerror}", hint=_HINT_INDEX) from None
        if index.sizes and index.sizes[number] != size_bytes:
            raise NotVerified(f"{place / name}: changed since it was indexed", hint=_HINT_INDEX)
        count = starts[number + 1] - starts[number]
        shards.append(ShardSummary(name, count, size_bytes, sums.get(name, "")))
    return tuple(shards)


def _sums(folder: Path) -> Iterator[tuple[str, str]]:
    for line in (read_document(folder / "SHA256SUMS") or "").splitlines():
        if found := re.fullmatch(r"([0-9a-f]{64}) [ *](.+)", line):
            yield found[2], found[1]
