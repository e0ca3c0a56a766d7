"""search and sql as functions: the catalog asked by words, and by a SELECT."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from g3m.adapters.catalog import FILE, Answer, Catalog, open_catalog
from g3m.core.browse import View
from g3m.core.errors import Bilingual, NotVerified, UsageError
from g3m.core.query import BadQuery, parse
from g3m.runners.run import make_session

if TYPE_CHECKING:
    from g3m.load.dataset import Sample

_SHOWN_CHARACTERS = 60
_HINT_STALE: Bilingual = (
    "`g3m index` brings the catalog up to date",
    "运行 `g3m index` 可更新样本目录",
)
_TABLES = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY type DESC, rowid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A sample that was found: the `number` is its place in the dataset's index, `folder` where that lies."""

    key: str
    dataset: str
    caption: str
    shard: str
    number: int
    width: int
    height: int
    folder: Path

    def load(self) -> Sample:
        """Read the sample from its shard; NotVerified if another stands there by now."""
        from g3m.load.captions import text_of
        from g3m.load.dataset import Sample
        from g3m.load.folder import open_folder

        folder = open_folder(os.fspath(self.folder))
        try:
            parts = folder.parts(self.number) if self.number < len(folder) else None
        finally:
            folder.close()
        if parts is None or parts.key != self.key:
            words = (
                f"{self.folder}: sample {self.number} is not {self.key!r} any more: the shards have changed"
            )
            raise NotVerified(words, hint=_HINT_STALE)
        return Sample(parts.key, self.dataset, parts.image, text_of(parts.text), parts.json)


def search(text: str, *, dataset: str = "", limit: int = 20, **options: object) -> list[Hit]:
    """The first samples below `root`, or in one dataset, whose captions have the words of a query.

    All words; "a phrase"; a beginning*; one OR another; -without. `hit.load()` reads a hit's picture. Raises
    UsageError for a query without words, UnknownCatalog before `g3m index`, UnknownDataset for another name.
    """
    root = make_session(options).store
    with open_catalog(root.work / FILE) as catalog:
        return search_in(catalog, asked(catalog, text, dataset), root.root, limit)


def asked(catalog: Catalog, text: str, dataset: str = "") -> View:
    """The view of a search; UsageError for a query without words, UnknownDataset for an unknown dataset."""
    try:
        parse(text)
    except BadQuery as error:
        shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
        raise UsageError(f"the query {shown!r} cannot be answered", hint=error.both) from None
    catalog.named([dataset] if dataset else ())
    return View(query=text, dataset=dataset)


def search_in(catalog: Catalog, view: View, root: Path, limit: int) -> list[Hit]:
    """`search` of an open catalog."""
    folders = {row.name: root / row.folder for row in catalog.datasets()}
    rows = catalog.browse(view, limit).rows
    return [
        Hit(
            key=row.key,
            dataset=row.dataset,
            caption=row.caption,
            shard=row.shard,
            number=row.number,
            width=row.width,
            height=row.height,
            folder=folders[row.dataset],
        )
        for row in rows
    ]


def sql(text: str, *, limit: int = 1000, timeout_s: float = 10.0, **options: object) -> Answer:
    """The rows of one SELECT over the catalog, in which `samples` is the view for people; nothing is changed.

    UsageError says what is wrong with it, and which columns and tables there are.
    """
    with open_catalog(make_session(options).store.work / FILE) as catalog:
        return sql_in(catalog, text, limit, timeout_s)


def sql_in(catalog: Catalog, text: str, limit: int, timeout_s: float) -> Answer:
    """`sql` of an open catalog."""
    try:
        return catalog.sql(text, limit, timeout_s)
    except UsageError as error:
        if type(error) is not UsageError:  # the catalog's own, not the question's
            raise
        columns = ", ".join(catalog.sql("SELECT * FROM samples", limit=0).columns)
        tables = (name for (name,) in catalog.sql(_TABLES).rows if not name.startswith(("found_", "sqlite_")))
        there = f"there are: samples({columns}) and {', '.join(name for name in tables if name != 'samples')}"
        raise UsageError(f"{error.message}\n{there}", hint=error.hint) from None
