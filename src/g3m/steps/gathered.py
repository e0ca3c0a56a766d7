"""gathered: makes the plan for lists that a user names, and keeps it below the root.

Whoever continues it, or asks again for what failed, need not name the lists once more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from g3m.adapters.disk import read_document, write_document
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import OtherOptions, UnknownDataset
from g3m.core.gathering import (
    READER,
    Columns,
    Filters,
    Gathering,
    GatherPlan,
    ListSource,
    gather_plan,
    treatment_of_rows,
)
from g3m.core.plan import Plan
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.samples import safe_key
from g3m.core.seal import sealed, unsealed
from g3m.core.treatment import Treatment
from g3m.steps.lists import find_lists
from g3m.steps.publish import MANIFEST

FORMAT = 2
_WORDS = ("name", "title", "folder", "homepage", "licence", "terms", "terms_zh", "citation")

_HINT_FOLDER = (
    "name a folder with --to that does not exist yet, or is empty",
    "请用 --to 指定一个尚不存在或为空的目录",
)
_HINT_LISTS = (
    "name the lists: `g3m gather LIST --to FOLDER`",
    "请指定列表：`g3m gather 列表 --to 目录`",
)


def plan_of_lists(lists: Sequence[str], gathering: Gathering, session: Session) -> Plan:
    """The plan for lists that a user names, into the root of the session.

    OtherOptions if that folder holds something else; and what finding the lists raises.
    """
    sources, assets = find_lists(lists, session)
    root = session.store.root
    _check_target(root)
    name = safe_key(root.resolve().name).lower() or "gathered"
    if name in (*session.recipes.names, *session.recipes.groups):
        name = f"{name}_gathered"
    recipe = _recipe(name, sources, assets, gathering.columns)
    dataset = gather_plan(recipe, sources, gathering, treatment_of_rows({}, session.settings))
    return Plan(datasets=(dataset,))


def _recipe(name: str, sources: Sequence[ListSource], assets: Sequence[Asset], columns: Columns) -> Recipe:
    shown = ", ".join(source.name for source in sources[:3]) + (" and others" if len(sources) > 3 else "")
    return Recipe(
        name=name,
        title=f"Pictures of {shown}",
        folder=".",
        homepage="",
        licence="that of each picture",
        terms="",
        citation="",
        samples=SampleRule(reader=READER, url=columns.url, caption=columns.caption, sha256=columns.sha256),
        expect=Expect(rejected_fraction=1.0),
        assets=tuple(assets),
    )


def _check_target(root: Path) -> None:
    """The folder is new, empty or ours."""
    if root.exists() and not root.is_dir():
        raise OtherOptions(f"{root}: is no folder", hint=_HINT_FOLDER)
    if root.is_dir() and not (root / ".g3m").is_dir() and not (root / MANIFEST).is_file():
        others = sorted(path.name for path in root.iterdir())
        if others:
            raise OtherOptions(f"{root}: is not empty, it holds {others[0]}", hint=_HINT_FOLDER)


def keep_plan(dataset: GatherPlan, session: Session) -> None:
    """Record what is gathered, before anything of it is done."""
    recipe = dataset.recipe
    words = {name: getattr(recipe, name) for name in _WORDS}
    body = {
        "format": FORMAT,
        "identity": dataset.identity,
        "recipe": {**words, "samples": recipe.samples.facts(), "expect": asdict(recipe.expect)},
        "assets": [
            [asset.name, asset.places, asset.size_bytes, [str(digest) for digest in asset.digests]]
            for asset in dataset.assets
        ],
        "sources": [asdict(source) for source in dataset.sources],
        "gathering": asdict(dataset.gathering),
        "treatment": dataset.treatment.to_dict(),
    }
    text = sealed(body)
    if read_document(_path(dataset.name, session)) != text:
        write_document(_path(dataset.name, session), text)


def kept_plan(to: Path) -> tuple[Plan, Path]:
    """The plan of what was gathered into a folder, and its root; UnknownDataset if nothing was."""
    for root, folder in _roots(to):
        for path in sorted((root / ".g3m" / "plan").glob("*.gather.json")):
            dataset = _read(read_document(path) or "")
            if dataset is not None and Path(dataset.recipe.folder) == folder:
                return Plan(datasets=(dataset,)), root
    raise UnknownDataset(f"{to}: nothing was gathered there", hint=_HINT_LISTS)


def _roots(to: Path) -> Iterator[tuple[Path, Path]]:
    """Where the work on a dataset in a folder may be recorded: there, or one or two folders above."""
    place = Path(os.path.abspath(to))
    for root in (place, *place.parents[:2]):
        yield root, place.relative_to(root)


def _read(text: str) -> GatherPlan | None:
    """A plan that was kept; None if it was changed since, cannot be read, or would be another one by now."""
    try:
        body = unsealed(text)
        if body["format"] != FORMAT:
            return None
        words, wish = body["recipe"], body["gathering"]
        recipe = Recipe(
            **{name: words[name] for name in _WORDS},
            samples=SampleRule(**words["samples"]),
            expect=Expect(**words["expect"]),
            assets=tuple(
                Asset(
                    name=name,
                    places=tuple(places),
                    size_bytes=size,
                    digests=tuple(map(Digest.parse, digests)),
                )
                for name, places, size, digests in body["assets"]
            ),
        )
        columns = {**wish["columns"], "keep": tuple(wish["columns"]["keep"])}
        gathering = Gathering(
            **{**wish, "columns": Columns(**columns), "filters": Filters(**wish["filters"])}
        )
        sources = [ListSource(**source) for source in body["sources"]]
        dataset = gather_plan(recipe, sources, gathering, Treatment.from_dict(body["treatment"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return dataset if dataset.identity == body["identity"] else None


def _path(name: str, session: Session) -> Path:
    return session.store.plan(f"{name}.gather.json")
