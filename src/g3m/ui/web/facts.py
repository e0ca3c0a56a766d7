"""What a page shows, as values: made by collection.py and its parts, drawn by pages.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from g3m.core.browse import View
from g3m.core.catalog import Shown
from g3m.core.errors import G3MError
from g3m.core.tally import Snapshot

State = Literal["done", "part", "none"]


class NeedsCatalog(Exception):  # said as what it is
    """A question that only the catalog can answer, and there is none yet: `g3m index` makes it."""


class NotHere(LookupError):
    """There is no such dataset or sample; the text says which."""


class Gone(LookupError):
    """The sample was dropped; the text is the reason."""


class Rewriting(LookupError):
    """Shards of a dataset are being exchanged at this moment; the text says of which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One dataset: what is here of it, what its source states, what is missing and why.

    `state`: `done` (published, or a folder with an index), `part` (begun; this is what its receipts say, and
    none of its samples can be shown yet), `none` (known by its recipe only).
    """

    name: str
    title: str
    state: State
    folder: str = ""
    samples: int = 0
    expected: int | None = None
    expected_source: str = ""
    size_bytes: int = 0
    shards: int = 0
    planned_shards: int | None = None
    """Of one that was begun: how many there will be, as soon as that is known."""
    licence: str = ""
    homepage: str = ""
    is_recipe: bool = False
    """Whether `g3m get` knows it by this name."""
    first: tuple[int, ...] = ()
    """The numbers of its first few samples that can be shown."""
    missing: Mapping[str, int] = field(default_factory=dict)
    """Samples or rows that were left out, by reason."""
    findings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Classes of findings in what is here, by what was done."""
    problem: str = ""
    """Why a dataset that stands here cannot be opened; empty if it can."""
    is_rewriting: bool = False
    """Whether its shards are being exchanged at this moment."""
    dropped: int = 0
    catalogued: int = 0
    """How many of its samples are in the catalog."""
    looked: bool = False
    """Whether the pictures of all of them were looked at, too (`g3m index --pictures`)."""

    @property
    def to_come(self) -> int | None:
        """How many more samples the source states than there are; None where it states nothing."""
        return None if self.expected is None else max(0, self.expected - self.samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A page of a list of samples, and where it goes on."""

    view: View
    shown: tuple[Shown, ...]
    next: View | None = None
    previous: View | None = None
    total: int | None = None
    total_is_bound: bool = False
    """Whether there are at least `total`, and perhaps more."""
    is_behind: bool = False
    """Whether rows are left out, because the catalog is older than the shards."""
    lacking: int = 0
    """How many samples are here and were not searched, because they are not in the catalog."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a sample: its extension, where its bytes begin in the shard, and how many there are."""

    extension: str
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """All about one sample."""

    shown: Shown
    shard: str
    members: tuple[Member, ...]
    folder: str = ""
    """Where the shards lie, as one would open it with g3m.dataset."""
    captions: tuple[str, ...] = ()
    json_text: str = ""
    meta: Mapping[str, Any] | None = None
    """The json as a mapping; None if it is none."""
    before: int | None = None
    after: int | None = None
    """The numbers of the neighbours in the same dataset."""
    alike: tuple[tuple[Shown, int], ...] = ()
    """Samples whose pictures are the same (0) or nearly so, with their distance."""
    loads_as: int | None = None
    """Its number in g3m.dataset, which leaves out what was dropped; None: the same as here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two samples whose pictures are the same bytes (distance 0) or look alike."""

    one: Shown
    other: Shown
    distance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPage:
    """A page of them; `after` is what to ask for next, 0 at the end. `is_whole`: all were compared."""

    pairs: tuple[Pair, ...]
    after: int = 0
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard of a dataset; `number` is its place, `first` the number of its first sample."""

    name: str
    number: int
    first: int
    samples: int
    size_bytes: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A sample or row that was left out, or is here with a finding (`found`); `detail` is in the log's words.

    `url`: where a row of a list leads, without what its query says.
    """

    key: str
    reason: str
    detail: str = ""
    shard: str = ""
    url: str = ""
    found: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutPage:
    """A page of them; `after` is what to ask for next, empty at the end.

    A page may hold few rows, or none, and not be the last: it ends after so much was read. `problem`: a
    table that could not be read, and is passed over.
    """

    rows: tuple[LeftOut, ...]
    after: str = ""
    problem: G3MError | None = None


class Live(Protocol):
    """What is known of the run at work."""

    def state(self) -> Snapshot | None:
        """Its state; None if there never was one."""

    def holder(self) -> str:
        """Who runs it, as `host:process`; empty if nobody does."""

    def recent(self) -> list[str]:
        """What went wrong or was noted of late, the newest first."""
