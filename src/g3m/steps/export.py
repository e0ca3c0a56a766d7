"""export: says to other programs what stands on the disk. Shards, indexes and manifests are only read.

A snippet (nxtp, webdataset, open_clip) is text; files (wids, hf, energon) go beside the data, or all to
one place. A file that no export wrote is never replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from g3m.adapters import fsio
from g3m.adapters.disk import clear_left, make_folder, read_document, write_document
from g3m.adapters.session import Session
from g3m.core import energon, neighbours
from g3m.core.croissant import croissant
from g3m.core.digest import Hasher
from g3m.core.errors import Bilingual, NotWritable, SettingsError, UsageError, storage_error
from g3m.core.hub_card import hub_card, patterns
from g3m.core.neighbours import MARK, Part, by_split
from g3m.core.recipe import suggest
from g3m.steps.energon import DATABASE, META, UUID, write_tables
from g3m.steps.parts import Here, find

SNIPPETS = ("nxtp", "webdataset", "open_clip")
"""Formats that are text to be pasted or imported."""

WITH_FACTORS = ("open_clip", "energon")

_READ_BYTES = 2**20
_OURS_BYTES = 2**16

_HINT_TO: Bilingual = (
    "name a folder of your own with --to; the data is only read",
    "请用 --to 指定自己的目录；数据只会被读取",
)
_HINT_FOREIGN: Bilingual = (
    "it was not written by an export and stays; move it away, or name another place with --to",
    "该文件不是由导出写入的，将保持不变；请将其移走，或用 --to 指定其他位置",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export gave: the `text` of a snippet; files that were `written`, or `kept` because right."""

    format: str
    datasets: Mapping[str, int]
    """Samples by dataset."""
    text: str = ""
    written: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()


@dataclass(slots=True)
class _Files:
    """What is being written."""

    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def put(self, path: Path, content: str | bytes, *, ours: bool = False) -> None:
        """Write a file unless it is right already; UsageError if one stands there that no export wrote."""
        data = content.encode("utf-8") if isinstance(content, str) else content
        try:
            there = path.read_bytes() if path.exists() else None
        except OSError as error:
            raise storage_error(error, path) from error
        if there == data:
            self.kept.append(path)
            return
        if there is not None and not ours and MARK.encode() not in there[:_OURS_BYTES]:
            raise UsageError(f"{path}: stands there already", hint=_HINT_FOREIGN)
        write_document(path, data)
        self.written.append(path)


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be told of which datasets, and where it goes."""

    here: Sequence[Here]
    root: Path
    to: Path | None
    factors: Mapping[str, float]
    files: _Files

    @property
    def parts(self) -> list[Part]:
        return [one.part for one in self.here]


def export(
    kind: str,
    names: Sequence[str],
    session: Session,
    *,
    to: Path | None = None,
    factors: Mapping[str, float] | None = None,
) -> Exported:
    """Tell a program about datasets (all below the root by default), by the name of its format.

    `to` is a file or a folder in place of the usual one. `factors` say how often a dataset's samples come in
    an epoch. Raises UsageError, NotVerified or StorageError; nothing but exported files is ever changed.
    """
    if kind not in FORMATS:
        known = ", ".join(FORMATS)
        hint = (f"formats are {known}", f"可用格式：{known}")
        raise SettingsError(f"no export is called {kind!r}{suggest(kind, FORMATS)}", hint=hint)
    root = Path(os.path.abspath(session.store.root))
    where = None if to is None else Path(os.path.abspath(to))
    job = _Job(find(names, session), root, where, factors or {}, _Files())
    _check_factors(kind, job)
    try:
        text = _snippet(kind, job) if kind in SNIPPETS else ""
        if kind in _WRITERS:
            _WRITERS[kind](job)
    except NotWritable as error:
        raise NotWritable(error.message, hint=_HINT_TO) from None
    return Exported(
        format=kind,
        datasets={part.name: part.samples for part in job.parts},
        text=text,
        written=tuple(job.files.written),
        kept=tuple(job.files.kept),
    )


def _check_factors(kind: str, job: _Job) -> None:
    names = [part.name for part in job.parts]
    if job.factors and kind not in WITH_FACTORS:
        raise SettingsError(f"factor: {kind} knows none; {' and '.join(WITH_FACTORS)} do")
    for name, factor in job.factors.items():
        if name not in names:
            raise SettingsError(f"factor: {name!r} is not among {', '.join(names)}{suggest(name, names)}")
        if not 0 < factor < float("inf"):
            raise SettingsError(f"factor: {name}: {factor} is no number above 0")


def _snippet(kind: str, job: _Job) -> str:
    if kind == "open_clip":
        text = neighbours.open_clip(job.parts, job.factors)
    else:
        text = neighbours.nxtp(job.parts) if kind == "nxtp" else neighbours.webdataset(job.parts)
    if job.to is not None:
        job.files.put(job.to, text if MARK in text else f"# By `{MARK} {kind}`\n{text}")
    return text


def _write_wids(job: _Job) -> None:
    to, groups = job.to, by_split(job.parts)
    if to is not None and to.suffix == ".json":
        if len(groups) > 1:
            raise UsageError(f"{to}: {' and '.join(groups)} need a file each; name a folder with --to")
        members = next(iter(groups.values()))
        job.files.put(to, neighbours.wids(members, str(to.parent)))
        return
    for split, members in groups.items():
        folder = to or job.root
        text = neighbours.wids(members, str(folder))
        own = Path(members[0].place) / "wids-meta.json"
        if to is None and len(members) == 1 and own.is_file():
            job.files.kept.append(own)  # publishing wrote it
        else:
            job.files.put(folder / f"wids-{split}.json", text)


def _write_hf(job: _Job) -> None:
    folder = job.to or job.root
    parts = [_with_digests(part) for part in job.parts]
    found = [patterns(part, str(folder), _alone(part)) for part in parts]
    job.files.put(folder / "README.md", hub_card(parts, found))
    job.files.put(folder / "croissant.json", croissant(parts, str(folder)))


def _alone(part: Part) -> bool:
    """Whether the tars in a part's folder are its shards and nothing else."""
    there = {path.name for path in Path(part.place).glob("*.tar")}
    return there == {shard.name for shard in part.shards}


def _with_digests(part: Part) -> Part:
    """Croissant wants a digest of every file: where nobody has stated one, the shard is read."""
    shards = tuple(
        shard if shard.sha256 else replace(shard, sha256=_sha256(path))
        for shard, path in zip(part.shards, part.paths, strict=True)
    )
    return replace(part, shards=shards)


def _sha256(path: str) -> str:
    hasher = Hasher()
    try:
        with open(path, "rb") as file:
            while data := file.read(_READ_BYTES):
                hasher.update(data)
    except OSError as error:
        raise storage_error(error, path) from error
    return hasher.digests()[0].hex


def _write_energon(job: _Job) -> None:
    root, to = job.root, job.to
    if to is not None and to != root and root in to.parents:
        # Whoever lists the tars below the root would take the links for more shards.
        raise UsageError(f"{to}: lies below the root {root}", hint=_HINT_TO)
    folder = root if to is None else to
    places = []
    for one in job.here:
        own = Path(one.part.place) if folder == root else folder / one.part.name
        if folder != root:
            _link_shards(one.part, own, job.files)
        _write_nv_meta(one, own, job.files)
        place = neighbours.below(str(own), str(folder))
        places.append(place if place.startswith("/") else f"./{place}")
    if len(places) > 1 or job.factors:
        job.files.put(folder / "metadataset.yaml", energon.blend_text(job.parts, places, job.factors))


def _link_shards(part: Part, folder: Path, files: _Files) -> None:
    """Symbolic links to shards in a folder that can be written."""
    for shard, path in zip(part.shards, part.paths, strict=True):
        link = folder / shard.name
        make_folder(link.parent)
        if link.is_symlink() and os.readlink(link) == path:
            files.kept.append(link)
            continue
        try:
            fsio.link_to(path, link)
        except FileExistsError:
            raise UsageError(f"{link}: stands there already", hint=_HINT_FOREIGN) from None
        except OSError as error:
            raise storage_error(error, link) from error
        files.written.append(link)
    try:
        fsio.sync_folder(folder)
    except OSError as error:
        raise storage_error(error, folder) from error


def _write_nv_meta(one: Here, folder: Path, files: _Files) -> None:
    """`.nv-meta` and the index of each tar; the stamp of all of it is written last."""
    part, meta = one.part, folder / META
    head, stamp = energon.dataset_text(part), energon.uuid_text(part)
    known = read_document(meta / "dataset.yaml")
    clear_left(meta.glob(".dataset.yaml.*.tmp"))  # of an export that was killed at its beginning
    if meta.exists() and any(meta.iterdir()) and MARK not in (known or ""):
        raise UsageError(f"{meta}: stands there already", hint=_HINT_FOREIGN)
    ours = known is not None
    # First, so that the next run knows an unfinished folder for one of ours.
    files.put(meta / "dataset.yaml", head)
    tables = [folder / f"{shard.name}.idx" for shard in part.shards]
    sizes = [8 * (shard.samples + 1) for shard in part.shards]
    whole = read_document(meta / UUID) == stamp and (meta / DATABASE).is_file()
    if whole and all(_size(path) == size for path, size in zip(tables, sizes, strict=True)):
        files.kept += [*tables, meta / DATABASE]
    else:
        for path, content in write_tables(part, one.index, folder):
            files.put(path, content, ours=ours)
        files.written.append(meta / DATABASE)
    files.put(meta / ".info.json", energon.info_text(part), ours=True)
    files.put(meta / "split.yaml", energon.split_text(part), ours=True)
    files.put(meta / UUID, stamp, ours=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


_WRITERS: Mapping[str, Callable[[_Job], None]] = {
    "wids": _write_wids,
    "hf": _write_hf,
    "energon": _write_energon,
}
FORMATS = (*SNIPPETS, *_WRITERS)
"""What can be exported."""
