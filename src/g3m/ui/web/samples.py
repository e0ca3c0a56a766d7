"""Samples for the pages: lists by the catalog or by number, and all about one.

What is shown of a sample is read from its shard; what a list of the catalog says is shown only where index
and record of the dataset agree with it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from g3m.adapters.catalog import Catalog
from g3m.core.browse import View
from g3m.core.catalog import Shown, names
from g3m.core.errors import G3MError
from g3m.core.outline import entry
from g3m.core.structure import look
from g3m.load.captions import captions_of, text_of
from g3m.load.folder import Folder
from g3m.ui.web.current import Current
from g3m.ui.web.facts import Detail, Gone, Grid, Member, NeedsCatalog, NotHere, Rewriting

MOST_BYTES = 64_000_000
"""Of a picture, a text or a json no more is read at once: the largest picture that is drawn has so much."""

ALIKE = 24
"""So many look-alikes stand on the page of a sample; there may be thousands."""


def browse(current: Current, view: View, limit: int) -> Grid:
    """A page of samples: by the catalog, or by number where that does not know all of them."""
    catalog = current.catalog()
    if view.dataset and current.record(view.dataset).rewriting:
        raise Rewriting(view.dataset)
    if catalog is None and view.is_filtered:
        raise NeedsCatalog
    lacking = _lacking(current, catalog, view.dataset)
    if catalog is None or (lacking and not view.is_filtered):
        return _by_number(current, view, limit)
    rows, total = catalog.browse(view, limit), catalog.count(view)
    shown = current.standing(rows.rows)
    return Grid(
        view=view,
        shown=shown,
        next=replace(view, after=rows.last, before=0) if rows.has_after else None,
        previous=replace(view, before=rows.first, after=0) if rows.has_before else None,
        total=total.samples,
        total_is_bound=total.is_bound,
        is_behind=len(shown) < len(rows.rows),
        lacking=lacking,
    )


def _lacking(current: Current, catalog: Catalog | None, dataset: str) -> int:
    """How many samples of a dataset, or of all, are not in the catalog."""
    known = {row.name: row.samples for row in catalog.datasets()} if catalog else {}
    lacking = 0
    for name in [dataset] if dataset else current.homes():
        with suppress(G3MError, Rewriting):
            held = sum(not drop.shard for drop in current.record(name).drops.values())
            with current.reading(name) as folder:
                lacking += max(0, len(folder) - held - known.get(name, 0))
    return lacking


def _by_number(current: Current, view: View, limit: int) -> Grid:
    lengths = {}
    for name in [view.dataset] if view.dataset else current.homes():
        try:
            with current.reading(name) as folder:
                lengths[name] = len(folder)
        except (G3MError, Rewriting):
            if view.dataset:
                raise
    total = sum(lengths.values())
    start = max(0, view.before - 1 - limit) if view.before else view.after
    end = min(total, start + limit)
    shown: list[Shown] = []
    base = 0
    for name, length in lengths.items():
        numbers = range(max(start - base, 0), min(end - base, length))
        base += length
        if numbers:
            shown += _numbered(current, name, numbers)
    # A cursor of 0 says "from the start", so those before a place are counted from 1.
    return Grid(
        view=view,
        shown=tuple(shown),
        next=replace(view, after=end, before=0) if end < total else None,
        previous=replace(view, before=start + 1, after=0) if start else None,
        total=total,
    )


def _numbered(current: Current, dataset: str, numbers: Iterable[int]) -> list[Shown]:
    made = []
    with current.reading(dataset) as folder:
        for number in numbers:
            try:
                made.append(shown_at(current, dataset, folder, number))
            except Gone:
                continue
            except G3MError:  # one damaged shard hides no other; its pictures say what is wrong
                made.append(_unread(dataset, folder, number))
    return made


def _unread(dataset: str, folder: Folder, number: int) -> Shown:
    """A sample of which only the index is known."""
    shard, found = folder.where(number)
    return Shown(
        id=0,
        dataset=dataset,
        shard=shard,
        number=number,
        key=found.key,
        caption="",
        width=0,
        height=0,
        size_bytes=folder.image_bytes(number),
        words=0,
        host="",
        format="",
        flags=("unreadable",),
    )


def shown_at(current: Current, dataset: str, folder: Folder, number: int) -> Shown:
    """A sample as lists show it, read from its shard; NotHere, or Gone if it was dropped."""
    refuse(current, dataset, folder, number)
    parts, (shard, _) = folder.parts(number, MOST_BYTES), folder.where(number)
    seen, size_bytes = look(parts.image) if parts.image else None, folder.image_bytes(number)
    if seen and size_bytes > len(parts.image):  # nothing is said of an end that was not read
        seen = replace(seen, classes=tuple(set(seen.classes) - {"broken", "no_end", "trailing"}))
    made = entry(parts.key, seen, size_bytes, parts.text, parts.json)
    return Shown(
        id=0,
        dataset=dataset,
        shard=shard,
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


def sample(current: Current, dataset: str, number: int) -> Detail:
    """All about one sample; NotHere, or Gone if it was dropped."""
    catalog = current.catalog()
    with current.reading(dataset) as folder:
        shown = shown_at(current, dataset, folder, number)
        known = catalog.row(dataset, number) if catalog else None
        if known is not None and known.key == shown.key:
            shown = replace(shown, id=known.id, flags=known.flags)
        parts, (_, place) = folder.parts(number, MOST_BYTES), folder.where(number)
        if parts.text:
            # Whole, and with the null bytes that the catalog cannot hold.
            shown = replace(shown, caption=text_of(parts.text).strip())
        gone = folder.dropped()
        like = catalog.alike_of(shown.id)[:ALIKE] if catalog and shown.id else []
        standing = set(current.standing([other for other, _ in like]))
        return Detail(
            shown=shown,
            shard=shown.shard,
            members=tuple(Member(one.extension, one.offset, one.size_bytes) for one in place.fields),
            folder=folder.place,
            captions=captions_of(text_of(parts.text), parts.json),
            json_text=parts.json.decode("utf-8", "replace"),
            meta=_mapping(parts.json),
            loads_as=number - bisect_left(gone, number) if gone else None,
            before=_neighbour(folder, number, -1),
            after=_neighbour(folder, number, 1),
            alike=tuple((other, far) for other, far in like if other in standing),
        )


def refuse(current: Current, dataset: str, folder: Folder, number: int) -> None:
    """NotHere for a number that no sample has, Gone for one that was dropped."""
    if not 0 <= number < len(folder):
        raise NotHere(f"{dataset} {number}")
    record, key = current.record(dataset), folder.key(number)
    if key in record:
        raise Gone(record.drops[key].reason)


def _neighbour(folder: Folder, number: int, step: int) -> int | None:
    """The nearest sample before or behind one that was not dropped."""
    gone = folder.dropped()
    number += step
    while 0 <= number < len(folder):
        at = bisect_left(gone, number)
        if at == len(gone) or gone[at] != number:
            return number
        number += step
    return None


def _mapping(data: bytes) -> Mapping[str, Any] | None:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
