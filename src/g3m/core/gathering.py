"""A dataset that is a list of URLs: which lists, which columns, and how their rows become tasks.

A task is so many rows, and makes one shard. What becomes of a row is in core/outcomes.py; how lists are
read is for adapters/lists.py, and fetching for steps/gather.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from g3m.core.digest import of_facts
from g3m.core.errors import SettingsError
from g3m.core.plan import DatasetPlan, identify
from g3m.core.recipe import Recipe
from g3m.core.settings import Settings
from g3m.core.treatment import Action, Treatment, treatment_for

READER = "urls"
"""The reader of recipes of lists; also the form of what was gathered, in arrangement and manifest."""

_PART_HINT = (
    "write I/N with I from 0 to N - 1, such as $SLURM_ARRAY_TASK_ID/16 in an array of 0-15",
    "请写成 I/N，I 从 0 到 N-1，例如数组 0-15 中的 $SLURM_ARRAY_TASK_ID/16",
)
TASK_ROWS = 10_000
KEY_DIGITS = 5
"""Digits of a shard's number, as far as they suffice: `00042.tar`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a list mean what; empty: there is none. `keep` are carried into json and table."""

    url: str = "url"
    caption: str = "caption"
    sha256: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which pictures are too small or too narrow, by what their headers say; 0: no limit."""

    least_side: int = 0
    most_aspect: float = 0.0

    def refuse(self, width: int, height: int) -> str:
        """Why a picture of this size in pixels is left out: `too_small`, `aspect`, or an empty text.

        A size that is not known (0) is no reason.

        >>> Filters(least_side=200).refuse(640, 199), Filters(most_aspect=3).refuse(600, 200)
        ('too_small', '')
        """
        shorter, longer = min(width, height), max(width, height)
        if shorter < 1:
            return ""
        if shorter < self.least_side:
            return "too_small"
        return "aspect" if self.most_aspect and longer > self.most_aspect * shorter else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathering:
    """What decides which rows become samples, and their bytes, beside the treatment of pictures."""

    columns: Columns = field(default_factory=Columns)
    filters: Filters = field(default_factory=Filters)
    on_mismatch: Literal["reject", "keep"] = "reject"
    task_rows: int = TASK_ROWS


@dataclass(frozen=True, slots=True)
class ListSource:
    """One file of rows: a name that does not depend on where it lies, and what it is known by.

    `path` is where a list of the user's own lies; a list that is fetched has the id of its `asset` instead.
    """

    name: str
    path: str = ""
    asset: str = ""
    size_bytes: int = 0
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring rows of one list: bytes of a text from `start` to before `end`, or rows of a table."""

    source: int
    start: int
    end: int
    rows: int
    check: int = 0
    """The crc32 of these bytes; 0 for a table, whose pages have checksums of their own."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one task: `first` is the number of its first row among all rows of all lists."""

    first: int
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        return sum(span.rows for span in self.spans)

    def to_line(self) -> str:
        """One line of the sample list."""
        spans = [[span.source, span.start, span.end, span.rows, span.check] for span in self.spans]
        return json.dumps([self.first, spans]) + "\n"

    @classmethod
    def from_line(cls, line: bytes) -> Batch:
        first, spans = json.loads(line)
        return cls(first, tuple(Span(*span) for span in spans))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a list as it came: nothing of it is trusted yet. `number` counts over all lists."""

    number: int
    url: str
    caption: str
    sha256: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherPlan(DatasetPlan):
    """A dataset made of rows. Its assets are the lists that are fetched; `sources` all lists, in order."""

    sources: tuple[ListSource, ...]
    gathering: Gathering = field(default_factory=Gathering)

    @property
    def shard_bytes(self) -> int | None:
        """Nobody knows how large the pictures behind a list are, nor how many of them are still there."""
        return None

    @property
    def peak_bytes(self) -> int | None:
        """What is known to be needed on the way: the lists."""
        return self.download_bytes


DEFAULT_POLICY: Mapping[str, Action] = {"bomb": "reject", "no_end": "reject"}
"""What strangers' servers send is not kept where it can hurt or stop who reads it; settings may overrule it.
`broken` is not among them, because to find it every picture must be decoded."""


def gathering_for(columns: Columns, settings: Settings, task_rows: int = TASK_ROWS) -> Gathering:
    """How rows become samples under the settings."""
    # The table of options allows no other word.
    on_mismatch: Literal["reject", "keep"] = settings.hash_mismatch  # type: ignore[assignment]
    filters = Filters(least_side=settings.min_side, most_aspect=settings.max_aspect)
    return Gathering(columns=columns, filters=filters, on_mismatch=on_mismatch, task_rows=task_rows)


def treatment_of_rows(recipe_policy: Mapping[str, Action], settings: Settings) -> Treatment:
    """The treatment of gathered pictures: the settings', then the recipe's, then `DEFAULT_POLICY`."""
    return treatment_for({**DEFAULT_POLICY, **recipe_policy}, settings)


def gather_plan(
    recipe: Recipe, sources: Sequence[ListSource], gathering: Gathering, treatment: Treatment
) -> GatherPlan:
    """Pin a recipe to its lists, in order; those that are fetched are the recipe's assets.

    The identity holds what decides which rows there are and what becomes of their pictures. Which of them
    hosts still give is not decided by a plan.
    """
    facts = {
        "base": identify(recipe, recipe.assets, "none", treatment),
        "gathering": asdict(gathering),
        "sources": [[source.name, source.asset, source.size_bytes, source.stamp] for source in sources],
    }
    return GatherPlan(
        recipe=recipe,
        assets=recipe.assets,
        parity="none",
        identity=of_facts(facts).hex,
        treatment=treatment,
        sources=tuple(sources),
        gathering=gathering,
    )


def parse_part(text: str) -> tuple[int, int] | None:
    """Which part of how many a process does; None: all of it. SettingsError if it is neither.

    >>> parse_part("3/16"), parse_part("")
    ((3, 16), None)
    """
    if not text:
        return None
    number, slash, count = text.partition("/")
    digits = number.isascii() and number.isdigit() and count.isascii() and count.isdigit()
    if not (slash and digits and len(text) <= 12 and int(number) < int(count)):
        raise SettingsError(f"part: {text!r} is no part of a whole", hint=_PART_HINT)
    return int(number), int(count)


def shard_name(number: int) -> str:
    """The name of a task's shard.

    >>> shard_name(42)
    '00042.tar'
    """
    return f"{number:0{KEY_DIGITS}d}.tar"


def row_key(shard: str, place: int, task_rows: int) -> str:
    """The key of a row: the number of its shard and its place in the task, as img2dataset makes them.

    >>> row_key("00042.tar", 7, 10_000), row_key("00001.tar", 7, 1_000)
    ('000420007', '00001007')
    """
    return f"{shard.removesuffix('.tar')}{place:0{len(str(task_rows - 1))}d}"
