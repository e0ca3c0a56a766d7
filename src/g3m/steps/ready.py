"""ready: finds the shards that `g3m pack` is to pack anew, and makes the plan for it.

A source is a dataset below the root by its name, or folders and files of WebDataset tars. It is only ever
opened for reading. Where it goes may not be a folder that holds anything else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from g3m.adapters.disk import read_document
from g3m.adapters.session import Session
from g3m.core.digest import of_facts
from g3m.core.errors import NotRecognised, NotVerified, OtherOptions, SettingsError, UnknownDataset
from g3m.core.plan import PACK_FORMAT, Plan
from g3m.core.receipt import Manifest, manifest
from g3m.core.recipe import Expect, Recipe, SampleRule
from g3m.core.reshard import READER, ReshardPlan, SourceShard
from g3m.core.samples import safe_key
from g3m.core.treatment import treatment_for
from g3m.steps.check import manifests
from g3m.steps.publish import INDEX, MANIFEST

FORM = "shards of"
"""How the form of a dataset begins that was made here; its index does not name all members of a sample."""

ONLY_GET = ("duplicate_image", "no_caption", "caption_too_long", "caption_not_utf8")
"""Classes that `g3m get` treats and `g3m pack` does not: it changes nothing but pictures."""

_HINT_ONLY_GET = (
    "leave it out here: captions and equal pictures are looked at by `g3m get`",
    "此处请去掉该项：标题与重复图片由 `g3m get` 处理",
)
_HINT_SOURCE = (
    "give a dataset that stands under --root (`g3m status`), or folders and files of WebDataset tars",
    "请给出 --root 下已有的数据集（见 `g3m status`），或 WebDataset tar 文件及其所在目录",
)
_HINT_FOLDER = (
    "name a folder with --to that does not exist yet, or is empty",
    "请用 --to 指定一个尚不存在或为空的目录",
)
OTHER_FOLDER_HINT = (
    "name another folder with --to; this one stays as it is",
    "请用 --to 指定其他目录；此目录保持不变",
)


@dataclass(frozen=True, slots=True)
class Source:
    """The shards to be packed anew, and the dataset that they are, if they are one of g3m's."""

    shards: tuple[SourceShard, ...]
    folders: tuple[Path, ...]
    name: str
    body: Manifest | None = None

    @property
    def index(self) -> str:
        """The path of an index that names every member; only of a dataset that `get` has packed."""
        if self.body is None or self.body.form.startswith(FORM):
            return ""
        return str(self.folders[0] / INDEX)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where one shard ends and the next begins: at so many samples or bytes, whichever comes first."""

    samples: int = 0
    limit_bytes: int = 0


def find_source(texts: Sequence[str], session: Session) -> Source:
    """The source that a user names; UnknownDataset if it is nothing that could be packed."""
    if len(texts) == 1 and os.sep not in texts[0] and texts[0] in _here(session):
        folder, body = next(iter(manifests(session, (texts[0],)).items()))
        return _dataset(folder, body)
    found: list[tuple[str, Path]] = []
    for text in texts:
        path = Path(text).expanduser()
        if not path.exists():
            where = session.store.root
            raise UnknownDataset(f"{text!r}: no dataset under {where} and no path", hint=_HINT_SOURCE)
        if path.is_dir() and len(texts) == 1:
            stands = manifest(read_document(path / MANIFEST) or "")
            if stands is not None:
                return _dataset(path, stands)
        found += _tars(path)
    if not found:
        raise NotRecognised(f"{', '.join(texts)}: holds no .tar file", hint=_HINT_SOURCE)
    if len({path.resolve() for _, path in found}) < len(found):
        raise SettingsError(f"{', '.join(texts)}: a tar is named twice", hint=_HINT_SOURCE)
    shards = tuple(_shard(name, path) for name, path in found)
    folders = tuple({path.resolve().parent: None for _, path in found})
    name = Path(texts[0]).expanduser().resolve().name
    return Source(shards, folders, name if len(texts) == 1 else f"{name} and others")


def _here(session: Session) -> set[str]:
    return {body.dataset for body in manifests(session, ()).values()}


def _tars(path: Path) -> list[tuple[str, Path]]:
    """The tars at a path in the order of their names relative to it; hidden ones are not seen."""
    if not path.is_dir():
        return [(path.name, path)]
    inside = (one.relative_to(path) for one in path.rglob("*.tar") if one.is_file())
    shown = [one for one in inside if not any(part.startswith(".") for part in one.parts)]
    return [(one.as_posix(), path / one) for one in sorted(shown, key=lambda one: one.as_posix())]


def _shard(name: str, path: Path, stamp: str = "") -> SourceShard:
    state = path.stat()
    stamp = stamp or str(state.st_mtime_ns)
    return SourceShard(str(path.resolve()), name, state.st_size, state.st_mtime_ns, stamp)


def _dataset(folder: Path, body: Manifest) -> Source:
    """A dataset of g3m's: its manifest says which shards it has and what they are known by."""
    shards = []
    for summary in body.shards:
        path = folder / summary.name
        if not path.is_file() or path.stat().st_size != summary.size_bytes:
            raise NotVerified(f"{path}: is not as the manifest says")
        shards.append(_shard(summary.name, path, summary.sha256))
    return Source(tuple(shards), (folder.resolve(),), body.dataset, body)


def reshard_plan(source: Source, to: Path, cut: Cut, session: Session) -> Plan:
    """The plan for packing a source into a folder; OtherOptions if that folder may not be written to."""
    settings = session.settings
    treatment = treatment_for({}, settings)
    for line in settings.policy:
        if line.partition("=")[0].strip() in ONLY_GET:
            raise SettingsError(f"--policy {line}: g3m pack treats pictures only", hint=_HINT_ONLY_GET)
    facts = {
        "pack_format": PACK_FORMAT,
        "sources": [[shard.name, shard.size_bytes, shard.stamp] for shard in source.shards],
        "cut": [cut.samples, cut.limit_bytes],
        "treatment": treatment.to_dict(),
    }
    body = source.body
    origin = f"{FORM} {source.name}" + (f" ({body.identity[:16]})" if body else "")
    dataset = ReshardPlan(
        recipe=_recipe(source, _name(to, session), session),
        assets=(),
        parity="none",
        identity=of_facts(facts).hex,
        treatment=treatment,
        sources=source.shards,
        origin=origin,
        shard_samples=cut.samples,
        shard_limit_bytes=cut.limit_bytes,
        index=source.index,
    )
    _check_target(dataset, source, to)
    return Plan(datasets=(dataset,))


def _name(to: Path, session: Session) -> str:
    """The name of the folder, but never that of a recipe: `verify --repair` would fetch that one anew."""
    name = safe_key(to.resolve().name) or "packed"
    return f"{name}_packed" if name in (*session.recipes.names, *session.recipes.groups) else name


def _recipe(source: Source, name: str, session: Session) -> Recipe:
    """What is known of the data: the words of the source's own recipe, if it has one."""
    body = source.body
    expect = Expect()
    if body is not None:
        expect = Expect(samples=body.samples, source=f"the manifest of {body.dataset}")
    rule = SampleRule(reader=READER)
    made = Recipe(
        name=name,
        title=body.title if body else source.name,
        folder=".",
        homepage=body.homepage if body else "",
        licence=body.licence if body else "that of the source",
        terms="",
        citation="",
        samples=rule,
        expect=expect,
    )
    if body is None or body.dataset not in session.recipes.names:
        return made
    known = session.recipes.get(body.dataset)
    return replace(made, terms=known.terms, terms_zh=known.terms_zh, citation=known.citation)


def _check_target(dataset: ReshardPlan, source: Source, to: Path) -> None:
    """The folder is new, empty or ours, and neither it nor the source lies within the other."""
    target = to.resolve()
    for folder in source.folders:
        if target == folder or target in folder.parents or folder in target.parents:
            raise OtherOptions(
                f"{to}: the source {folder} and this folder lie within one another", hint=OTHER_FOLDER_HINT
            )
    if to.exists() and not to.is_dir():
        raise OtherOptions(f"{to}: is no folder", hint=_HINT_FOLDER)
    body = manifest(read_document(to / MANIFEST) or "")
    if body is not None and body.identity != dataset.identity:
        words = f"{to} holds {body.dataset}, made from another source or with other options"
        raise OtherOptions(words, hint=OTHER_FOLDER_HINT)
    begun = to / ".g3m" / "receipts" / dataset.name / "arrange.json"
    if body is None and not begun.is_file():
        others = sorted(path.name for path in to.iterdir() if path.name != ".g3m") if to.is_dir() else []
        if others:
            raise OtherOptions(f"{to}: is not empty, it holds {others[0]}", hint=_HINT_FOLDER)
