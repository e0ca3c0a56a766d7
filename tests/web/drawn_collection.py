"""A collection without files: what the pages are given in their tests, with texts that nobody should trust."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from g3m.core.alike import Leak, Leaks, Searched
from g3m.core.browse import View
from g3m.core.catalog import Shown
from g3m.core.query import parse
from g3m.core.tally import Snapshot
from g3m.ui.web.facts import (
    Card,
    Detail,
    Gone,
    Grid,
    LeftOut,
    LeftOutPage,
    Member,
    NeedsCatalog,
    NotHere,
    Pair,
    PairPage,
    Shard,
)
from g3m.ui.web.pages import Pages

HOSTILE = "<script>alert(1)</script> \"onload='x' {{ 7*7 }} \u202etfel\u202c\x00\ufeff \ud800 &lt;"
"""Markup, quotes, template braces, letters that turn the line, a null, a mark of byte order, half a character."""


def shown(number: int = 0, **more: Any) -> Shown:
    """A row of a list."""
    base = Shown(
        id=number + 1,
        dataset="coco_valid",
        shard="00000.tar",
        number=number,
        key=f"{number:012d}",
        caption="A red bus beside a double decker",
        width=640,
        height=480,
        size_bytes=48_123,
        words=7,
        host="farm1.example.org",
        format="jpeg",
        flags=(),
    )
    return replace(base, **more)


@dataclass
class DrawnCollection:
    """Answers as the collection does, with what it was given."""

    rows: Sequence[Shown] = field(default_factory=lambda: [shown(number) for number in range(3)])
    card: Card = field(
        default_factory=lambda: Card(
            name="coco_valid", title="COCO 2017, validation", state="done", samples=5000, expected=5100,
            expected_source="the paper", size_bytes=812_000_000, shards=2, planned_shards=2, licence="CC BY 4.0",
            homepage="https://cocodataset.org", missing={"missing_image": 99, "http_404": 1}, catalogued=5000, looked=True,
        )
    )  # fmt: skip
    cataloged: bool = True
    charts: dict[str, list[tuple[str, int]]] = field(
        default_factory=lambda: {
            "words": [("4", 10), ("5-6", 400), ("7-", 3)],
            "format": [("jpeg", 413)],
            "word": [("bus", 50)],
            "flag": [("grayscale", 4)],
            "host": [("a.example", 4)],
        }
    )
    detail: Detail | None = None
    left: LeftOutPage = field(
        default_factory=lambda: LeftOutPage(
            rows=(LeftOut(key="k1", reason="http_404", detail="gone", shard="00000"),), after="7"
        )
    )
    duplicates: tuple[Pair, ...] = ()
    found: Leaks | None = None
    alike: tuple[int, int] | None = (3, 0)
    total: int | None = 3
    asked: list[View] = field(default_factory=list)

    def cards(self) -> list[Card]:
        return [self.card]

    def datasets(self) -> list[str]:
        return [self.card.name, "cc3m"]

    def has_catalog(self) -> bool:
        return self.cataloged

    def version(self, dataset: str) -> str:
        return "v1"

    def browse(self, view: View, limit: int = 60) -> Grid:
        self.asked.append(view)
        if view.is_filtered and not self.cataloged:
            raise NeedsCatalog
        if view.query:
            parse(view.query)
        following = replace(view, after=60) if not view.after else None
        return Grid(view=view, shown=tuple(self.rows), next=following, total=self.total)

    def sample(self, dataset: str, number: int) -> Detail:
        if dataset == "gone":
            raise Gone("asked by its author")
        if not 0 <= number < len(self.rows):
            raise NotHere(f"{dataset} {number}")
        return self.detail or Detail(
            shown=self.rows[number],
            shard="00000.tar",
            members=(Member("jpg", 512, 48_123), Member("txt", 49_152, 33)),
            folder="/data/coco/coco_valid",
            captions=("one", "two"),
            json_text='{"a": 1}',
            meta={"a": 1},
            before=None if number == 0 else number - 1,
            after=number + 1,
            alike=((shown(2), 0), (shown(1), 4)),
        )

    def stats(self, dataset: str) -> dict[str, list[tuple[str, int]]]:
        if not self.cataloged:
            raise NeedsCatalog
        return self.charts

    def alike_counts(self, dataset: str) -> tuple[int, int] | None:
        return self.alike

    def pairs(self, dataset: str, after: int = 0) -> PairPage:
        return PairPage(pairs=self.duplicates, after=9 if self.duplicates else 0, is_whole=self.card.looked)

    def leaks(self, evaluation: str) -> Leaks:
        return self.found or Leaks(evaluation=evaluation, samples=10, looked=0)

    def shards(self, dataset: str) -> list[Shard]:
        if dataset != self.card.name:
            raise NotHere(dataset)
        return [
            Shard(name="00000.tar", number=0, first=0, samples=2998, size_bytes=9_000_000, sha256="ab" * 32)
        ]

    def left_out(self, dataset: str, after: str = "") -> LeftOutPage:
        return self.left

    def keys(self, view: View) -> Iterator[tuple[str, str]]:
        return ((row.dataset, row.key) for row in self.rows)


class DrawnLive:
    """A run as it is told."""

    def __init__(self, state: Snapshot | None = None, holder: str = "", recent: Sequence[str] = ()) -> None:
        self._told = (state, holder, list(recent))

    def state(self) -> Snapshot | None:
        return self._told[0]

    def holder(self) -> str:
        return self._told[1]

    def recent(self) -> list[str]:
        return self._told[2]


def a_leak(**more: Any) -> Leaks:
    """An evaluation set of which one sample is trained on."""
    searched = Searched(dataset="cc3m", samples=100, looked=100, exact=1)
    leak = Leak(dataset="cc3m", number=4, key="k4", like_number=1, like_key="e1", why="exact")
    made = Leaks(evaluation="coco_valid", samples=10, looked=10, hit=1, datasets=(searched,), pairs=(leak,))
    return replace(made, **more)


def client(
    collection: DrawnCollection | None = None, live: DrawnLive | None = None, **more: Any
) -> TestClient:
    """The pages behind a client that follows no redirect and raises no error of the server."""
    pages = Pages(collection or DrawnCollection(), live, **more)  # type: ignore[arg-type]
    app = Starlette(routes=pages.routes(), exception_handlers=pages.exception_handlers())
    return TestClient(app, raise_server_exceptions=False, base_url="http://127.0.0.1")
