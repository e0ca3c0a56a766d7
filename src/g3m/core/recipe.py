"""What a dataset is, written by a person: the recipe and its reading from TOML.

A recipe names assets (files at places), how samples come out of them, what is expected, and the
words that belong to the data: licence, terms, citation. It holds no code and no machine's paths.
`parse` either gives a whole `Recipe` or every problem it found, each with the key's path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from g3m.core.digest import Digest
from g3m.core.errors import RecipeError, SettingsError
from g3m.core.secrets import mask
from g3m.core.toml_table import Table
from g3m.core.treatment import CLASSES, Action, policy_problem

FORMAT = 1
READERS = ("coco_captions", "localized_narratives", "pairs", "shards", "urls")
COLUMNS = ("url", "caption", "sha256")
"""The keys of `[samples]` that name columns of a list."""

_PROBLEMS_SHOWN = 50

SCHEMES = ("https://", "http://", "hub://", "kaggle://")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_FORM = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_HOSTED = re.compile(r"hub://[\w.-]+/[\w.-]+@[0-9a-f]{40}/.+|kaggle://[\w.-]+/[\w.-]+")


_FORM_HINT = (
    "`g3m info DATASET` names the sources of a dataset; without --source the recipe's own is taken",
    "`g3m info 数据集` 会列出其数据来源；不加 --source 则使用配方的默认来源",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One remote file: its places in order of preference, its size in bytes and digests if known.

    `holds` are paths that an unpacked copy of the asset contains; with them a folder that a lab
    already has can stand in for the archive.
    """

    name: str
    places: tuple[str, ...]
    size_bytes: int | None = None
    digests: tuple[Digest, ...] = ()
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Assets that a hub lists: a dataset repository at one commit, and the names to take."""

    repository: str
    revision: str
    include: str

    def takes(self, path: str) -> bool:
        """Whether a file of the repository belongs to this dataset."""
        return fnmatchcase(path, self.include)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRule:
    """How samples come out of the assets.

    `images` and `captions` are `asset` or `asset/path inside`; `split` goes into each sample's json.
    `captions_digest` proves the captions also where they come out of an unpacked folder. The reader `urls`
    has the names of its lists' columns instead: `url`, `caption`, `sha256`.
    """

    reader: str
    images: str = ""
    captions: str = ""
    captions_digest: Digest | None = None
    split: str = ""
    url: str = ""
    caption: str = ""
    sha256: str = ""

    def facts(self) -> dict[str, Any]:
        """The part of a dataset's identity; columns only where there are some, as before there were any."""
        return {name: value for name, value in asdict(self).items() if value or name not in COLUMNS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What the source says it holds, and where it says so; compared with the count, never used as one."""

    samples: int | None = None
    source: str = ""
    download_bytes: int | None = None
    files: int | None = None
    rejected_fraction: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Another source of a dataset: its own assets, and terms of its own where they are not the recipe's."""

    assets: tuple[Asset, ...]
    samples: SampleRule
    expect: Expect
    terms: str = ""
    terms_zh: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole dataset description; `folder` is where its shards go below the root.

    `policy` says what happens to classes of findings (core/treatment.py); the settings may overrule it.
    `forms` are other sources by name, one of which `--source` takes instead of the recipe's own.
    """

    name: str
    title: str
    folder: str
    homepage: str
    licence: str
    terms: str
    citation: str
    samples: SampleRule
    expect: Expect
    assets: tuple[Asset, ...] = ()
    listing: Listing | None = None
    terms_zh: str = ""
    policy: Mapping[str, Action] = field(default_factory=dict)
    forms: Mapping[str, Form] = field(default_factory=dict)
    form: str = ""
    """Which of them this is; empty for the recipe's own source."""

    def as_form(self, name: str) -> Recipe:
        """The recipe with the source of that name; itself if it has none of that name."""
        form = self.forms.get(name)
        if form is None:
            return self
        terms = (form.terms, form.terms_zh) if form.terms else (self.terms, self.terms_zh)
        return replace(
            self,
            assets=form.assets,
            listing=None,
            samples=form.samples,
            expect=form.expect,
            terms=terms[0],
            terms_zh=terms[1],
            form=name,
        )


def parse(raw: Mapping[str, Any], *, file: str) -> Recipe:
    """Turn a TOML document into a recipe; RecipeError lists every problem as `file: key.path: problem`."""
    problems: list[str] = []
    top = Table(raw, "", problems)
    if (found := top.whole("format")) != FORMAT:
        top.note("format", f"must be {FORMAT}, found {found}; a newer g3m may be needed")
    recipe = Recipe(
        name=top.text("name", required=True, pattern=_NAME),
        title=top.text("title", required=True),
        folder=top.text("folder", required=True, pattern=_FOLDER),
        homepage=top.text("homepage"),
        licence=top.text("licence", required=True),
        terms=top.text("terms"),
        terms_zh=top.text("terms_zh"),
        citation=top.text("citation"),
        assets=tuple(_asset(table) for table in top.tables("assets")),
        listing=_listing(top.table("listing")),
        samples=(rule := _samples(top.table("samples") or Table({}, "samples", problems))),
        expect=_expect(top.table("expect") or Table({}, "expect", problems), rule.reader),
        policy=_policy(top.table("policy") or Table({}, "policy", problems)),
        forms=_forms(top.table("forms") or Table({}, "forms", problems)),
    )
    top.finish()
    _check_whole(recipe, top)
    if problems:
        more = [f"and {len(problems) - _PROBLEMS_SHOWN} more"] if len(problems) > _PROBLEMS_SHOWN else []
        raise RecipeError("\n".join(f"{file}: {one}" for one in [*problems[:_PROBLEMS_SHOWN], *more]))
    return recipe


def _asset(table: Table) -> Asset:
    digests = tuple(filter(None, (table.parse_digest("digests", text) for text in table.texts("digests"))))
    places = table.texts("places")
    if not places:
        table.note("places", "name at least one place")
    for place in places:
        if not place.startswith(SCHEMES):
            table.note("places", f"{mask(place)!r} must begin with one of {' '.join(SCHEMES)}")
        elif not place.startswith("http") and not _HOSTED.fullmatch(place):
            table.note("places", f"{place!r} must be hub://OWNER/NAME@COMMIT/PATH or kaggle://OWNER/NAME")
    asset = Asset(
        name=table.text("name", required=True, pattern=_FILE),
        places=places,
        size_bytes=table.whole("size_bytes"),
        digests=digests,
        holds=table.texts("holds"),
    )
    if not asset.digests and any(place.startswith("http://") for place in places):
        table.note("digests", "a file from an http:// place needs a digest: anybody on the way can alter it")
    table.finish()
    return asset


def _listing(table: Table | None) -> Listing | None:
    if table is None:
        return None
    listing = Listing(
        repository=table.text("repository", required=True, pattern=re.compile(r"[\w.-]+/[\w.-]+")),
        revision=table.text("revision", required=True, pattern=_REVISION),
        include=table.text("include", required=True),
    )
    table.finish()
    return listing


def _samples(table: Table) -> SampleRule:
    rule = SampleRule(
        reader=table.text("reader", required=True),
        images=table.text("images"),
        captions=table.text("captions"),
        captions_digest=table.digest("captions_digest"),
        split=table.text("split"),
        url=table.text("url"),
        caption=table.text("caption"),
        sha256=table.text("sha256"),
    )
    if rule.reader and rule.reader not in READERS:
        near = difflib.get_close_matches(rule.reader, READERS, n=1)
        known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(READERS)}"
        table.note("reader", f"{rule.reader!r} is not a reader; {known}")
    if rule.reader in ("coco_captions", "localized_narratives"):
        for key in ("images", "captions"):
            if not getattr(rule, key):
                table.note(key, f"the reader {rule.reader} needs it")
    unused = ("images", "captions", "captions_digest", "split") if rule.reader == "urls" else COLUMNS
    for key in unused:
        if getattr(rule, key):
            table.note(key, f"the reader {rule.reader} has no use for it")
    table.finish()
    return rule


def _forms(table: Table) -> dict[str, Form]:
    forms, problems = dict[str, Form](), table.problems
    for name in table.raw:
        one = table.table(name)
        if one is None:
            continue
        if not _FORM.fullmatch(name):
            table.note(name, f"the name does not fit {_FORM.pattern}")
        form = Form(
            assets=tuple(_asset(asset) for asset in one.tables("assets")),
            samples=(rule := _samples(one.table("samples") or Table({}, f"{one.path}.samples", problems))),
            expect=_expect(one.table("expect") or Table({}, f"{one.path}.expect", problems), rule.reader),
            terms=one.text("terms"),
            terms_zh=one.text("terms_zh"),
        )
        one.finish()
        _check_assets(form.assets, form.samples, one)
        forms[name] = form
    return forms


def _expect(table: Table, reader: str) -> Expect:
    tolerated = 1.0 if reader == "urls" else 0.01  # dead links are no reason to stop
    expect = Expect(
        samples=table.whole("samples"),
        source=table.text("source"),
        download_bytes=table.whole("download_bytes"),
        files=table.whole("files"),
        rejected_fraction=table.fraction("rejected_fraction", tolerated),
    )
    if expect.samples is not None and not expect.source:
        table.note("source", "say where the expected count comes from")
    table.finish()
    return expect


def _policy(table: Table) -> dict[str, Action]:
    policy: dict[str, Action] = {}
    for name in CLASSES:
        action = table.text(name, required=name in table.raw)
        if not action:
            continue
        if problem := policy_problem(name, action):
            table.note(name, problem)
        policy[name] = action  # type: ignore[assignment]  # it is one of ACTIONS, or there is a problem
    table.finish()
    return policy


def _check_whole(recipe: Recipe, top: Table) -> None:
    if bool(recipe.assets) == (recipe.listing is not None):
        top.note("assets", "give either [[assets]] or a [listing]")
    if recipe.policy and recipe.samples.reader == "shards":
        top.note("policy", "the reader shards adopts shards as they are; leave the table out")
    if recipe.assets:
        _check_assets(recipe.assets, recipe.samples, top)
    elif recipe.samples.reader == "urls":
        top.note("listing", "the reader urls reads [[assets]]")


def _check_assets(assets: Sequence[Asset], rule: SampleRule, table: Table) -> None:
    """Whether names are used once, and what the rule speaks of is there."""
    if not assets:
        table.note("assets", "name at least one")
    names = [asset.name for asset in assets]
    for name in sorted({name for name in names if names.count(name) > 1}):
        table.note("assets", f"the name {name!r} is used twice")
    for key in ("images", "captions"):
        value = getattr(rule, key)
        if value and value.partition("/")[0] not in names:
            table.note(f"samples.{key}", f"{value.partition('/')[0]!r} is not an asset of this recipe")


def choose_form(recipes: Sequence[Recipe], form: str) -> tuple[Recipe, ...]:
    """The recipes with that source, as far as they have it; SettingsError if none of them does."""
    if not form or any(recipe.samples.reader == form for recipe in recipes):
        return tuple(recipe.as_form(form) for recipe in recipes)  # a list has its own source, which is urls
    known = sorted({name for recipe in recipes for name in recipe.forms})
    if form not in known:
        names = ", ".join(recipe.name for recipe in recipes)
        words = suggest(form, known) or (f"; known: {', '.join(known)}" if known else "; they have one only")
        raise SettingsError(f"--source {form}: no such source of {names}{words}", hint=_FORM_HINT)
    return tuple(recipe.as_form(form) for recipe in recipes)


def suggest(name: str, known: Sequence[str]) -> str:
    """A did-you-mean sentence for a dataset name, or an empty string."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
