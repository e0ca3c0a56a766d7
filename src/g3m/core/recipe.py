"""What a dataset is, written by a person: the recipe and its reading from TOML.

A recipe names assets (files at places), how samples come out of them, what is expected, and the
words that belong to the data: licence, terms, citation. It holds no code and no machine's paths.
`parse` either gives a whole `Recipe` or every problem it found, each with the key's path.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from g3m.core.digest import Digest
from g3m.core.errors import RecipeError
from g3m.core.secrets import mask
from g3m.core.treatment import CLASSES, Action, policy_problem

FORMAT = 1
READERS = ("coco_captions", "localized_narratives", "pairs", "shards")
SCHEMES = ("https://", "http://", "hub://", "kaggle://")

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_HOSTED = re.compile(r"hub://[\w.-]+/[\w.-]+@[0-9a-f]{40}/.+|kaggle://[\w.-]+/[\w.-]+")


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
    `captions_digest` proves the captions also where they come out of an unpacked folder.
    """

    reader: str
    images: str = ""
    captions: str = ""
    captions_digest: Digest | None = None
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What the source says it holds, and where it says so; compared with the count, never used as one."""

    samples: int | None = None
    source: str = ""
    download_bytes: int | None = None
    files: int | None = None
    rejected_fraction: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole dataset description; `folder` is where its shards go below the root.

    `policy` says what happens to classes of findings (core/treatment.py); the settings may overrule it.
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


@dataclass(slots=True)
class _Table:
    """One TOML table being read: fetches typed keys, notes problems with their path."""

    raw: Mapping[str, Any]
    path: str
    problems: list[str]
    seen: set[str] = field(default_factory=set)

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def note(self, key: str, problem: str) -> None:
        self.problems.append(f"{self._at(key)}: {problem}")

    def _take(self, key: str, kind: type, word: str) -> Any:
        self.seen.add(key)
        value = self.raw.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.note(key, f"must be {word}, not {type(value).__name__}")
            return None
        return value

    def text(self, key: str, *, required: bool = False, pattern: re.Pattern[str] | None = None) -> str:
        value = self._take(key, str, "text")
        if value is None or not value.strip():
            if required and key in self.raw and value is not None:
                self.note(key, "must not be empty")
            elif required and key not in self.raw:
                self.note(key, "is missing")
            return ""
        if pattern is not None and not pattern.fullmatch(value):
            self.note(key, f"{value!r} does not fit {pattern.pattern}")
        return str(value).strip()

    def whole(self, key: str) -> int | None:
        value: int | None = self._take(key, int, "a whole number")
        if value is not None and value < 0:
            self.note(key, "must not be negative")
            return None
        return value

    def fraction(self, key: str, default: float) -> float:
        value = self.raw.get(key, default)
        self.seen.add(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            self.note(key, "must be a number from 0 to 1")
            return default
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._take(key, list, "a list of texts") or []
        if not all(isinstance(item, str) for item in value):
            self.note(key, "must be a list of texts")
            return ()
        return tuple(value)

    def digest(self, key: str) -> Digest | None:
        text = self.text(key)
        return self.parse_digest(key, text) if text else None

    def parse_digest(self, key: str, text: str) -> Digest | None:
        try:
            return Digest.parse(text)
        except ValueError as error:
            self.note(key, str(error))
            return None

    def table(self, key: str) -> _Table | None:
        value = self._take(key, dict, "a table")
        return None if value is None else _Table(value, self._at(key), self.problems)

    def tables(self, key: str) -> list[_Table]:
        value = self._take(key, list, "a list of tables") or []
        found = []
        for number, item in enumerate(value):
            if isinstance(item, dict):
                found.append(_Table(item, f"{self._at(key)}[{number}]", self.problems))
            else:
                self.note(key, "must be a list of tables")
        return found

    def finish(self) -> None:
        for key in self.raw:
            if key not in self.seen:
                near = difflib.get_close_matches(key, self.seen, n=1)
                self.note(key, "unknown key" + (f"; did you mean {near[0]!r}?" if near else ""))


def parse(raw: Mapping[str, Any], *, file: str) -> Recipe:
    """Turn a TOML document into a recipe; RecipeError lists every problem as `file: key.path: problem`."""
    problems: list[str] = []
    top = _Table(raw, "", problems)
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
        samples=_samples(top.table("samples") or _Table({}, "samples", problems)),
        expect=_expect(top.table("expect") or _Table({}, "expect", problems)),
        policy=_policy(top.table("policy") or _Table({}, "policy", problems)),
    )
    top.finish()
    _check_whole(recipe, top)
    if problems:
        raise RecipeError("\n".join(f"{file}: {problem}" for problem in problems))
    return recipe


def _asset(table: _Table) -> Asset:
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


def _listing(table: _Table | None) -> Listing | None:
    if table is None:
        return None
    listing = Listing(
        repository=table.text("repository", required=True, pattern=re.compile(r"[\w.-]+/[\w.-]+")),
        revision=table.text("revision", required=True, pattern=_REVISION),
        include=table.text("include", required=True),
    )
    table.finish()
    return listing


def _samples(table: _Table) -> SampleRule:
    rule = SampleRule(
        reader=table.text("reader", required=True),
        images=table.text("images"),
        captions=table.text("captions"),
        captions_digest=table.digest("captions_digest"),
        split=table.text("split"),
    )
    if rule.reader and rule.reader not in READERS:
        near = difflib.get_close_matches(rule.reader, READERS, n=1)
        known = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(READERS)}"
        table.note("reader", f"{rule.reader!r} is not a reader; {known}")
    if rule.reader in ("coco_captions", "localized_narratives"):
        for key in ("images", "captions"):
            if not getattr(rule, key):
                table.note(key, f"the reader {rule.reader} needs it")
    table.finish()
    return rule


def _expect(table: _Table) -> Expect:
    expect = Expect(
        samples=table.whole("samples"),
        source=table.text("source"),
        download_bytes=table.whole("download_bytes"),
        files=table.whole("files"),
        rejected_fraction=table.fraction("rejected_fraction", 0.01),
    )
    if expect.samples is not None and not expect.source:
        table.note("source", "say where the expected count comes from")
    table.finish()
    return expect


def _policy(table: _Table) -> dict[str, Action]:
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


def _check_whole(recipe: Recipe, top: _Table) -> None:
    if bool(recipe.assets) == (recipe.listing is not None):
        top.note("assets", "give either [[assets]] or a [listing]")
    names = [asset.name for asset in recipe.assets]
    for name in sorted({name for name in names if names.count(name) > 1}):
        top.note("assets", f"the name {name!r} is used twice")
    if recipe.policy and recipe.samples.reader == "shards":
        top.note("policy", "the reader shards adopts shards as they are; leave the table out")
    if recipe.assets:
        for key in ("images", "captions"):
            value = getattr(recipe.samples, key)
            if value and value.partition("/")[0] not in names:
                top.note(f"samples.{key}", f"{value.partition('/')[0]!r} is not an asset of this recipe")


def suggest(name: str, known: Sequence[str]) -> str:
    """A did-you-mean sentence for a dataset name, or an empty string."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
