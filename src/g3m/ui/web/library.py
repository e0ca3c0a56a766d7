"""The data behind the pages: datasets and samples from the files, lists and figures from the catalog.

Everything may be asked from several threads. What a page looks like is not known here.
"""

from __future__ import annotations

import hashlib
import json
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from g3m.adapters.catalog import FILE, Catalog, open_catalog
from g3m.adapters.session import Session
from g3m.core.alike import Leaks
from g3m.core.browse import View
from g3m.core.catalog import Shown, names
from g3m.core.dropped import DROPPED, Record, parse
from g3m.core.errors import G3MError, UnknownCatalog, UnknownDataset
from g3m.core.index import ABSENT
from g3m.core.outline import entry
from g3m.core.receipt import Manifest
from g3m.core.recipe import Recipe
from g3m.core.structure import look
from g3m.load.captions import captions_of, text_of
from g3m.load.folder import Folder, open_folder
from g3m.runners.stats import leaks_in
from g3m.steps.holdings import folders_below
from g3m.ui.state import state_of
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

FRESH_S = 0.5
"""So long what was found on the disk is believed."""

PAIRS = 60
LINES = 200
LINE_BYTES = 2**20
_LISTS = ("rejected.jsonl", "findings.jsonl")

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Home:
    """A dataset that stands on the disk; `stamp` changes with it."""

    folder: Path
    body: Manifest | None
    stamp: str


class Library:
    """The datasets below the root of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = Lock()
        self._kept: dict[object, tuple[float, str, Any]] = {}
        self._catalog: tuple[str, Catalog] | None = None

    def close(self) -> None:
        """Close the catalog."""
        with self._lock:
            if self._catalog:
                self._catalog[1].close()
            self._catalog = None

    # Datasets

    def datasets(self) -> list[str]:
        """The names of those that are here."""
        return list(self._homes())

    def version(self, dataset: str) -> str:
        """A few letters that change with a dataset; empty for one that is not here."""
        home = self._homes().get(dataset)
        return hashlib.sha256(home.stamp.encode()).hexdigest()[:8] if home else ""

    def has_catalog(self) -> bool:
        """Whether there is one that can be read."""
        return self._open() is not None

    def cards(self) -> list[Card]:
        """One for each dataset here, then one for each that is only known."""
        catalog = self._open()
        rows = {row.name: row for row in catalog.datasets()} if catalog else {}
        known = {name: self._session.recipes.get(name) for name in self._session.recipes.names}
        homes = self._homes()
        made = []
        for name, home in homes.items():
            card = self._card(name, home, known.get(name))
            row = rows.get(name)
            if row is not None:
                card = replace(
                    card, catalogued=row.samples, looked=row.shards > 0 and row.looked == row.shards
                )
            made.append(card)
        for name, recipe in known.items():
            if name not in homes:
                state = state_of(name, None, self._session)
                made.append(
                    Card(
                        name=name,
                        title=recipe.title,
                        state="part" if state == "part" else "none",
                        expected=recipe.expect.samples,
                        licence=recipe.licence,
                        homepage=recipe.homepage,
                    )
                )
        return made

    def _card(self, name: str, home: _Home, recipe: Recipe | None) -> Card:
        body, problem, folder = home.body, "", None
        try:
            folder = self._folder(name)
        except G3MError as error:
            problem = error.message
        record = self._record(name)
        samples = body.samples if body else len(folder) if folder else 0
        files = [] if body else list(home.folder.glob("*.tar"))
        return Card(
            name=name,
            title=body.title if body else name,
            state="done",
            folder=str(home.folder),
            samples=samples - len(record),
            expected=body.expected_samples if body else None,
            expected_source=body.expected_source if body else "",
            size_bytes=body.size_bytes if body else sum(path.stat().st_size for path in files),
            shards=len(body.shards) if body else len(folder.shards) if folder else 0,
            licence=body.licence if body else recipe.licence if recipe else "",
            homepage=body.homepage if body else "",
            missing=body.rejected if body else {},
            findings=(body.findings or {}) if body else {},
            problem=problem,
            dropped=len(record),
        )

    # Samples

    def browse(self, view: View, limit: int = 60) -> Grid:
        """A page of samples: by the catalog, or by number where nothing else is asked."""
        catalog = self._open()
        if catalog is None:
            if view.is_filtered:
                raise NeedsCatalog
            return self._by_number(view, limit)
        if view.dataset and view.dataset not in self._homes():
            raise NotHere(view.dataset)
        rows, total = catalog.browse(view, limit), catalog.count(view)
        return Grid(
            view=view,
            shown=rows.rows,
            next=replace(view, after=rows.last, before=0) if rows.has_after else None,
            previous=replace(view, before=rows.first, after=0) if rows.has_before else None,
            total=total.samples,
            total_is_bound=total.is_bound,
        )

    def _by_number(self, view: View, limit: int) -> Grid:
        homes = self._homes()
        if view.dataset and view.dataset not in homes:
            raise NotHere(view.dataset)
        chosen = [view.dataset] if view.dataset else list(homes)
        lengths = {}
        for name in chosen:
            with suppress(G3MError):
                lengths[name] = len(self._folder(name))
        total = sum(lengths.values())
        start = max(0, view.before - 1 - limit) if view.before else view.after
        end = min(total, start + limit)
        shown, base = [], 0
        for name, length in lengths.items():
            for number in range(max(start - base, 0), min(end - base, length)):
                with suppress(Gone):
                    shown.append(self._shown(name, number))
            base += length
        # A cursor of 0 says "from the start", so those before a place are counted from 1.
        return Grid(
            view=view,
            shown=tuple(shown),
            next=replace(view, after=end, before=0) if end < total else None,
            previous=replace(view, before=start + 1, after=0) if start else None,
            total=total,
        )

    def _shown(self, dataset: str, number: int) -> Shown:
        folder = self._folder(dataset)
        if not 0 <= number < len(folder):
            raise NotHere(f"{dataset} {number}")
        key = folder.key(number)
        self._refuse(dataset, key)
        parts = folder.parts(number)
        made = entry(
            key, look(parts.image) if parts.image else None, len(parts.image), parts.text, parts.json
        )
        return Shown(
            id=0,
            dataset=dataset,
            shard=folder.shards[folder._place(number)[0]],
            number=number,
            key=made.key,
            caption=made.caption,
            width=made.width,
            height=made.height,
            size_bytes=made.size_bytes,
            words=made.words,
            host=made.host,
            format=made.format,
            flags=names(made.flags),
        )

    def sample(self, dataset: str, number: int) -> Detail:
        """All about one sample; NotHere, or Gone if it was dropped."""
        shown = self._shown(dataset, number)
        folder, catalog = self._folder(dataset), self._open()
        known = catalog.row(dataset, number) if catalog else None
        if known is not None and known.key == shown.key:
            shown = replace(shown, id=known.id, flags=known.flags)
        place, index = folder._place(number), folder._index
        members = tuple(
            Member(name, place[2 * at + 1], place[2 * at + 2])
            for at, name in enumerate(index.fields)
            if place[2 * at + 2] != ABSENT
        )
        parts = folder.parts(number)
        if parts.text:
            # Whole, and with the null bytes that the catalog cannot hold.
            shown = replace(shown, caption=text_of(parts.text).strip())
        return Detail(
            shown=shown,
            shard=shown.shard,
            members=members,
            folder=folder.place,
            captions=captions_of(text_of(parts.text), parts.json),
            json_text=parts.json.decode("utf-8", "replace"),
            meta=_mapping(parts.json),
            loads_as=self._loads_as(dataset, number),
            before=self._neighbour(dataset, number, -1),
            after=self._neighbour(dataset, number, 1),
            alike=tuple(catalog.alike_of(shown.id)) if catalog and shown.id else (),
        )

    def image(self, dataset: str, number: int) -> tuple[bytes, str]:
        """The picture's bytes as they are, and what changes when they might."""
        folder = self._folder(dataset)
        if not 0 <= number < len(folder):
            raise NotHere(f"{dataset} {number}")
        self._refuse(dataset, folder.key(number))
        return folder.parts(number).image, self.version(dataset)

    def _neighbour(self, dataset: str, number: int, step: int) -> int | None:
        folder, record = self._folder(dataset), self._record(dataset)
        number += step
        while 0 <= number < len(folder):
            if not record or folder.key(number) not in record:
                return number
            number += step
        return None

    def _loads_as(self, dataset: str, number: int) -> int | None:
        record = self._record(dataset)
        if not record:
            return None
        folder, stamp = self._folder(dataset), self._home(dataset).stamp
        gone = self._kept_by(("gone", dataset), stamp, lambda: record.numbers(folder.keys()))
        return number - bisect_left(gone, number)

    def _refuse(self, dataset: str, key: str) -> None:
        record = self._record(dataset)
        if key in record:
            raise Gone(record.drops[key].reason)

    # What the catalog knows

    def stats(self, dataset: str) -> Mapping[str, Sequence[tuple[str, int]]]:
        """The charts of a dataset, or ("") of all."""
        return self._must().tallies(dataset)

    def pairs(self, dataset: str, after: int) -> PairPage:
        """Samples that look alike."""
        found = self._must().pairs(dataset, after, PAIRS)
        more = found[-1][0] if len(found) == PAIRS else 0
        return PairPage(tuple(Pair(one=one, other=other, distance=far) for _, one, other, far in found), more)

    def leaks(self, evaluation: str) -> Leaks:
        """Which samples of other datasets have a picture of this one; it takes seconds, and is kept."""
        catalog = self._must()
        if evaluation not in self._homes():
            raise NotHere(evaluation)
        state = (self._session.store.work / FILE).stat()
        stamp = f"{state.st_mtime_ns} {state.st_size}"
        try:
            return self._kept_by(
                ("leaks", evaluation), stamp, lambda: leaks_in(catalog, evaluation, self._session)
            )
        except (UnknownCatalog, UnknownDataset):
            return Leaks(evaluation=evaluation, samples=0, looked=0)

    def keys(self, view: View) -> Iterator[tuple[str, str]]:
        """Dataset and key of every sample of a view."""
        catalog = self._open()
        if catalog is not None:
            return catalog.keys(view)
        if view.is_filtered:
            raise NeedsCatalog
        return (
            (name, key)
            for name in ([view.dataset] if view.dataset else list(self._homes()))
            for key in self._folder(name).keys()  # noqa: SIM118  # a folder is no mapping
            if key not in self._record(name)
        )

    # Lists beside the shards

    def shards(self, dataset: str) -> Sequence[Shard]:
        """The shards of a dataset, in order."""
        home, folder = self._home(dataset), self._folder(dataset)
        if home.body is not None:
            made, first = [], 0
            for number, one in enumerate(home.body.shards):
                made.append(
                    Shard(
                        name=one.name,
                        number=number,
                        first=first,
                        samples=one.samples,
                        size_bytes=one.size_bytes,
                        sha256=one.sha256,
                    )
                )
                first += one.samples
            return made
        ends = [
            bisect_right(range(len(folder)), number, key=lambda at: folder._place(at)[0])
            for number in range(len(folder.shards))
        ]
        return [
            Shard(name=name, number=number, first=first, samples=end - first)
            for number, (name, first, end) in enumerate(zip(folder.shards, [0, *ends], ends, strict=False))
        ]

    def left_out(self, dataset: str, after: str = "") -> LeftOutPage:
        """Lines of rejected.jsonl, then of findings.jsonl, from a place on."""
        folder = self._home(dataset).folder
        file, _, place = after.partition(":")
        start = int(place) if place.isdecimal() and len(place) < 18 else 0
        rows: list[LeftOut] = []
        for name in _LISTS[_LISTS.index(file) if file in _LISTS else 0 :]:
            with suppress(FileNotFoundError), open(folder / name, "rb") as lines:
                lines.seek(start)
                while len(rows) < LINES and (line := lines.readline(LINE_BYTES)):
                    if (row := _left_out(line, found=name == _LISTS[1])) is not None:
                        rows.append(row)
                if len(rows) == LINES:
                    return LeftOutPage(rows=tuple(rows), after=f"{name}:{lines.tell()}")
            start = 0
        return LeftOutPage(rows=tuple(rows))

    # What is kept for a moment

    def _homes(self) -> Mapping[str, _Home]:
        return self._fresh("homes", self._look)

    def _look(self) -> Mapping[str, _Home]:
        return {
            name: _Home(folder, body, _stamp(folder))
            for name, (folder, body) in folders_below(self._session).items()
        }

    def _home(self, dataset: str) -> _Home:
        try:
            return self._homes()[dataset]
        except KeyError:
            raise NotHere(dataset) from None

    def _folder(self, dataset: str) -> Folder:
        home = self._home(dataset)
        return self._kept_by(("folder", dataset), home.stamp, lambda: open_folder(str(home.folder)))

    def _record(self, dataset: str) -> Record:
        home = self._home(dataset)
        return self._kept_by(("record", dataset), home.stamp, lambda: _read_record(home.folder))

    def _open(self) -> Catalog | None:
        path = self._session.store.work / FILE
        try:
            state = path.stat()
        except OSError:
            return None
        stamp = f"{state.st_dev} {state.st_ino}"
        with self._lock:
            if self._catalog and self._catalog[0] == stamp:
                return self._catalog[1]
            try:
                catalog = open_catalog(path)
            except UnknownCatalog:
                return None
            # The one before is closed when nobody asks it any more.
            self._catalog = (stamp, catalog)
            return catalog

    def _must(self) -> Catalog:
        catalog = self._open()
        if catalog is None:
            raise NeedsCatalog
        return catalog

    def _fresh(self, name: object, make: Callable[[], Value]) -> Value:
        """A value that is made anew every half second, if somebody asks."""
        now_s = time.monotonic()
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or now_s - kept[0] > FRESH_S:
            kept = (now_s, "", make())
            with self._lock:
                self._kept[name] = kept
        value: Value = kept[2]
        return value

    def _kept_by(self, name: object, stamp: str, make: Callable[[], Value]) -> Value:
        """A value that is made anew when its stamp is another."""
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or kept[1] != stamp:
            kept = (0.0, stamp, make())
            with self._lock:
                self._kept[name] = kept
        value: Value = kept[2]
        return value


def _stamp(folder: Path) -> str:
    made = []
    for name in ("manifest.json", "index.bin", DROPPED):
        with suppress(OSError):
            state = (folder / name).stat()
            made.append(f"{name} {state.st_ino} {state.st_mtime_ns} {state.st_size}")
    return "\n".join(made)


def _read_record(folder: Path) -> Record:
    try:
        return parse((folder / DROPPED).read_text("utf-8"))
    except FileNotFoundError:
        return Record()


def _mapping(data: bytes) -> Mapping[str, Any] | None:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _left_out(line: bytes, *, found: bool) -> LeftOut | None:
    """A line of a list; None for one that cannot be read."""
    try:
        row = json.loads(line)
        reason = row.get("reason") or row.get("class") or ""
        detail = row.get("detail") or row.get("image") or row.get("action") or ""
        return LeftOut(
            key=str(row.get("key", "")),
            reason=str(reason),
            detail=str(detail),
            shard=str(row.get("shard", "")),
            found=found,
        )
    except (ValueError, AttributeError, RecursionError):
        return None
