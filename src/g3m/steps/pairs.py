"""pairs: joins images and captions of a heap of files whose form is found out from their content."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g3m.adapters.disk import in_the_making, remove, replacing, write_document
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.tables import parquet_columns, read_parquet
from g3m.core.errors import NotRecognised
from g3m.core.members import Member, Refusal, basename, inside
from g3m.core.pairs import (
    CAPTION_COLUMNS,
    KEY_COLUMNS,
    Record,
    has_triplets,
    is_image,
    json_records,
    line_records,
    positions,
    stem,
    suffix,
    unique_keys,
)
from g3m.core.plan import DatasetPlan
from g3m.core.receipt import Rejected
from g3m.core.samples import Pick, Ref, caption_problem, readable
from g3m.steps.unfold import Holding

_SEEN_LIMIT = 8


@dataclass(slots=True)
class Paired:
    """What pairing gave: picks with their place in the order, and what was left out."""

    form: str
    picks: Iterable[tuple[int, Pick]]
    rejected: list[Rejected] = field(default_factory=list)
    spools: dict[str, str] = field(default_factory=dict)
    stray_files: int = 0
    """How many of the first of `rejected` are files that belong to no sample."""


def pair_up(dataset: DatasetPlan, holdings: Sequence[Holding], session: Session) -> Paired:
    """Recognise the form of a heap of files and join it; NotRecognised says what was seen."""
    heap = _Heap(dataset, session)
    folder = dataset.recipe.samples.images.partition("/")[2]
    for holding in holdings:
        heap.take(holding, folder)
    paired = heap.triplets() or heap.captioned() or heap.parquet()
    if paired is None:
        seen = ", ".join(heap.seen) or "nothing"
        raise NotRecognised(f"no captions were recognised; seen: {seen}")
    paired.rejected[:0] = heap.refused
    paired.stray_files = len(heap.refused)
    return paired


class _Heap:
    """All members of all holdings, by what their names promise."""

    def __init__(self, dataset: DatasetPlan, session: Session) -> None:
        self._dataset = dataset.name
        self._limit_bytes = dataset.treatment.caption_limit_bytes
        self._session = session
        self._paths: dict[str, Path] = {}
        self._refs: dict[str, Ref] = {}
        self.refused: list[Rejected] = []

    @property
    def seen(self) -> list[str]:
        """A few names, for a message."""
        return [ref.member.name for ref in list(self._refs.values())[:_SEEN_LIMIT]]

    def take(self, holding: Holding, folder: str) -> None:
        self._paths[holding.source] = holding.path
        for item in holding.members:
            self._session.check_stop()
            if isinstance(item, Refusal):
                self.refused.append((item.name[:200], item.reason, item.detail))
            elif inside(item.name, folder) is not None and "__MACOSX" not in item.name:
                self._refs[f"{holding.source}/{item.name}"] = Ref(holding.source, item)

    def triplets(self) -> Paired | None:
        """Images with a caption file of their own."""
        if not has_triplets(self._refs):
            return None
        groups: dict[str, dict[str, Ref]] = {}
        for name in sorted(self._refs):
            kind = "image" if is_image(name) else suffix(name)
            if kind in ("image", ".txt", ".json"):
                groups.setdefault(stem(name), {})[kind] = self._refs[name]
        paired = Paired("triplets", ())
        whole = []
        for name, group in groups.items():
            problem = _triplet_problem(group)
            if problem:
                if "image" in group or ".txt" in group:
                    paired.rejected.append((basename(name), problem, name))
            else:
                whole.append((name, group))
        keys = unique_keys(basename(name) for name, _ in whole)
        paired.picks = [
            (
                ordinal,
                Pick(
                    key, group["image"], group.get(".txt", ""), group.get(".json", {"path": basename(name)})
                ),
            )
            for ordinal, (key, (name, group)) in enumerate(zip(keys, whole, strict=True))
        ]
        return paired

    def captioned(self) -> Paired | None:
        """Images beside one caption file for all of them."""
        images = {name: ref for name, ref in self._refs.items() if is_image(name)}
        found = self._records()
        if found is None:
            return None
        form, records = found
        by_position = positions(list(images)) if form == "arrays" else None
        if by_position is not None:
            return self._by_position(records, {place: images[name] for place, name in by_position.items()})
        by_name = {basename(name): ref for name, ref in images.items()}
        keys = unique_keys(stem(record.image) for record in records)
        located = (
            (key, record, by_name.get(record.image)) for key, record in zip(keys, records, strict=True)
        )
        return _join(form, located, self._limit_bytes)

    def _by_position(self, records: list[Record], images: Mapping[int, Ref]) -> Paired:
        located = (
            (
                f"{record.position // 1000:04d}_{record.position % 1000:03d}",
                record,
                images.get(record.position),
            )
            for record in records
        )
        return _join("positions", located, self._limit_bytes)

    def _records(self) -> tuple[str, list[Record]] | None:
        texts: dict[str, Ref] = {}
        for name, ref in sorted(self._refs.items()):
            if suffix(name) == ".json":
                try:
                    found = json_records(json.loads(self._read(ref)))
                except (ValueError, RecursionError):
                    continue
                if found is not None:
                    return found
            elif suffix(name) == ".txt":
                texts[name] = ref
        urls = next((ref for name, ref in texts.items() if name.endswith("_urls.txt")), None)
        captions = next((ref for name, ref in texts.items() if name.endswith("_captions.txt")), None)
        if urls is None or captions is None:
            return None
        # What is no UTF-8 in a caption must be seen when it is packed.
        texts_by_line = self._read(captions).decode("utf-8", "surrogateescape")
        records = line_records(self._read(urls).decode("utf-8", "replace"), texts_by_line)
        if records is None:
            raise NotRecognised(
                f"{urls.member.name} and {captions.member.name} have different numbers of lines"
            )
        return "lines", records

    def _read(self, ref: Ref) -> bytes:
        with MemberReader(self._paths[ref.source]) as reader:
            return reader.read(ref.member)

    def parquet(self) -> Paired | None:
        """Rows with image bytes; the images are put into a spool, because rows cannot be read by range."""
        tables = [ref for name, ref in sorted(self._refs.items()) if suffix(name) == ".parquet"]
        if not tables:
            return None
        paired = Paired("table", [])
        spool = self._session.store.part(f"{self._dataset}-table.spool")
        paired.spools["table"] = f"spool:{spool.name}"
        with replacing(spool) as file:
            rows = ((row, _store(file, row)) for ref in tables for row in self._rows(ref))
            paired.picks = list(_picks_of_rows(rows, paired.rejected, self._limit_bytes))
        return paired

    def _rows(self, ref: Ref) -> Iterator[_Row]:
        path, temporary = self._as_file(ref)
        try:
            columns = parquet_columns(path)
            caption = next((name for name in CAPTION_COLUMNS if name in columns), None)
            key = next((name for name in KEY_COLUMNS if name in columns), None)
            if caption is None or "image" not in columns:
                raise NotRecognised(
                    f"{ref.member.name}: no caption and image among the columns {', '.join(columns)}"
                )
            wanted = [name for name in (key, caption, "image", "url") if name and name in columns]
            for row in read_parquet(path, wanted):
                self._session.check_stop()
                yield _Row(
                    str(row.get(key, "")) if key else "",
                    row["image"],
                    row[caption],
                    str(row.get("url") or ""),
                )
        finally:
            if temporary:
                remove(path)

    def _as_file(self, ref: Ref) -> tuple[Path, bool]:
        """A member as a file of its own, and whether that file is ours to delete."""
        path = self._paths[ref.source]
        if ref.member.method == "file":
            return path / ref.member.name, False
        if (
            ref.member.method == "raw"
            and ref.member.offset == 0
            and path.stat().st_size == ref.member.size_bytes
        ):
            return path, False
        target = in_the_making(self._session.store.part("table"))
        write_document(target, self._read(ref))
        return target, True


@dataclass(frozen=True, slots=True)
class _Row:
    key: str
    image: Any
    caption: Any
    url: str


def _store(file: Any, row: _Row) -> Ref | None:
    """Append a row's image to the spool; where it lies now, or None if it has none."""
    image = row.image.get("bytes") if isinstance(row.image, dict) else row.image
    if not isinstance(image, bytes):
        return None
    member = Member("image", "raw", file.tell(), len(image), len(image))
    file.write(image)
    return Ref("table", member)


def _picks_of_rows(
    rows: Iterable[tuple[_Row, Ref | None]], rejected: list[Rejected], limit_bytes: int
) -> Iterator[tuple[int, Pick]]:
    seen: dict[str, int] = {}
    for ordinal, (row, image) in enumerate(rows):
        name = row.key or f"{ordinal:09d}"
        key = next(iter(unique_keys([name])))
        seen[key] = seen.get(key, 0) + 1
        key = key if seen[key] == 1 else f"{key}_{seen[key]}"
        text = str(row.caption or "").strip()
        problem = _image_problem(image) or caption_problem(text, limit_bytes)
        if problem or image is None:
            rejected.append((key, problem, name))
            continue
        yield ordinal, Pick(key, image, text, {"path": name, "cap": readable(text), "url": row.url})


def _join(form: str, located: Iterable[tuple[str, Record, Ref | None]], limit_bytes: int) -> Paired:
    """Records with their images; those without are rejected but keep their place in the order."""
    paired = Paired(form, [])
    picks: list[tuple[int, Pick]] = []
    for ordinal, (key, record, image) in enumerate(located):
        text = record.caption.strip()
        problem = _image_problem(image) or caption_problem(text, limit_bytes)
        if problem or image is None:
            paired.rejected.append((key, problem, record.url or record.image))
            continue
        meta = {"path": record.image, "cap": readable(text), "url": record.url}
        picks.append((ordinal, Pick(key, image, text, meta)))
    paired.picks = picks
    return paired


def _image_problem(image: Ref | None) -> str:
    if image is None:
        return "missing_image"
    return "" if image.member.size_bytes else "empty_image"


def _triplet_problem(group: Mapping[str, Ref]) -> str:
    if "image" not in group:
        return "missing_image"
    if not group["image"].member.size_bytes:
        return "empty_image"
    return "" if ".txt" in group or ".json" in group else "no_caption"
