"""arrange: captions and archive directories are read once; the sample list says what goes where.

The sample list (`.g3m/plan/DATASET.samples`) has one line a sample with the place of its image's bytes;
each `pack` task then reads its own range of lines and needs to know nothing of archives or captions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Protocol
from zlib import crc32

from g3m.adapters.disk import replacing, write_document
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.core.digest import Hasher, disagreement
from g3m.core.errors import BadArchive, DigestMismatch, NotRecognised
from g3m.core.events import Event, TaskFinished
from g3m.core.members import Member, Refusal, inside
from g3m.core.plan import DatasetPlan, Plan, Task
from g3m.core.receipt import (
    Arrangement,
    AssetReceipt,
    PlannedShard,
    Rejected,
    count_reasons,
    to_json,
)
from g3m.core.recipe import Asset
from g3m.core.samples import (
    Draft,
    Pick,
    Ref,
    coco_drafts,
    keep_last,
    narrative_drafts,
    shard_name,
    shard_number,
    slim_coco,
)
from g3m.steps.arrangement import check_rejected, list_path, read_arrangement, sources_present
from g3m.steps.duplicates import Duplicates
from g3m.steps.find import on_trust, read_receipt
from g3m.steps.pairs import pair_up
from g3m.steps.streamed import streamed_holding
from g3m.steps.unfold import Holding, unfold

LINE_LIMIT_BYTES = 16 * 2**20


class Listed(Protocol):
    """What can stand in a sample list."""

    def to_line(self) -> str: ...


def arrange(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Write the sample list of a dataset and its receipt; what stands already is kept."""
    dataset = plan.dataset(task.dataset)
    found = read_arrangement(dataset, session)
    if found is None or not sources_present(dataset, found, session):
        found = arrange_anew(dataset, session)
    yield TaskFinished(
        task=task.id,
        kind=task.kind,
        dataset=task.dataset,
        rejected=count_reasons(found.rejected),
    )


def arrange_anew(
    dataset: DatasetPlan, session: Session, ready: Mapping[str, Holding] | None = None
) -> Arrangement:
    """Arrange a dataset; `ready` has the members of assets that are not whole on the disk, by name."""
    arranger = _Arranger(dataset, session, ready or {})
    readers: dict[str, Callable[[], Iterator[tuple[int, Pick]]]] = {
        "coco_captions": arranger.coco,
        "localized_narratives": arranger.narratives,
        "pairs": arranger.pairs,
    }
    path = list_path(session, dataset.name)
    shards, size_bytes = write_list(path, readers[dataset.recipe.samples.reader](), session)
    if dataset.treatment.action("duplicate_image") == "reject":
        duplicates = Duplicates(dataset, arranger.sources, session)
        shards, size_bytes = write_list(path, duplicates.left_out(path, shards, arranger.rejected), session)
    found = Arrangement(
        identity=dataset.identity,
        sources=arranger.sources,
        shards=shards,
        list_size_bytes=size_bytes,
        rejected=tuple(arranger.rejected),
        form=arranger.form,
        notes={name: count for name, count in arranger.notes.items() if count},
    )
    check_rejected(dataset, found.samples, found.rejected, session)
    write_document(session.store.receipt(dataset.name, "arrange"), to_json(found))
    return found


def write_list(
    path: Path, picks: Iterable[tuple[int, Listed]], session: Session
) -> tuple[tuple[PlannedShard, ...], int]:
    """Write the list in shard order; returns each shard's range and the size of the list."""
    shards: list[PlannedShard] = []
    with replacing(path) as file:
        for number, group in groupby(picks, key=lambda item: item[0]):
            start, count, check = file.tell(), 0, 0
            for _, pick in group:
                session.check_stop()
                line = pick.to_line().encode()
                file.write(line)
                count, check = count + 1, crc32(line, check)
            name = shard_name(number)
            shards.append(PlannedShard(name=name, offset_bytes=start, samples=count, crc32=check))
        size_bytes = file.tell()
    return tuple(shards), size_bytes


class _Arranger:
    """Reads one dataset's captions and archives; notes sources and rejected samples as it goes."""

    def __init__(self, dataset: DatasetPlan, session: Session, ready: Mapping[str, Holding]) -> None:
        self._dataset = dataset
        self._ready = ready
        self._rule = dataset.recipe.samples
        self._session = session
        self.sources: dict[str, str] = {}
        self.rejected: list[Rejected] = []
        self.notes = {"overwritten": 0, "stray_files": 0}
        self.form = ""
        self._limit_bytes = dataset.treatment.caption_limit_bytes

    def coco(self) -> Iterator[tuple[int, Pick]]:
        """Samples of COCO: captions from its JSON, images by file name."""
        name = self._rule.captions
        try:
            with self._captions() as file:
                document = json.loads(file.read(), object_hook=slim_coco)
        except (ValueError, RecursionError) as error:
            raise BadArchive(f"{name}: not a JSON document ({error})") from None
        extra = self._dataset.parity == "none"
        drafts = coco_drafts(
            document, self._rule.split, extra=extra, file=name, caption_limit_bytes=self._limit_bytes
        )
        yield from self._match(drafts)

    def narratives(self) -> Iterator[tuple[int, Pick]]:
        """Samples of Localized Narratives: one a line, the whole line as json under parity."""
        exact = self._dataset.parity == "nxtp"
        # Parsing needs the interpreter and inflating the archive does not: beside it, parsing costs no time.
        with self._captions() as file, ThreadPoolExecutor(1, "g3m-captions") as beside:
            drafts = narrative_drafts(
                self._lines(file), number_repeats=not exact, caption_limit_bytes=self._limit_bytes
            )
            parsed = beside.submit(list, drafts)
            yield from self._match(_result(parsed), overwrite=exact, whole_record=exact)

    def pairs(self) -> Iterator[tuple[int, Pick]]:
        """Samples whose form is found out from the content."""
        holdings: list[Holding] = []
        for asset in self._dataset.assets:
            holdings += [self._hold(holding) for holding in self._unfold(asset.name, nested=True)]
        found = pair_up(self._dataset, holdings, self._session)
        self.form = found.form
        self.sources |= found.spools
        self.rejected += found.rejected
        self.notes["stray_files"] += found.stray_files
        for ordinal, pick in found.picks:
            yield shard_number(ordinal), pick

    def _match(
        self, drafts: Iterable[Draft], *, overwrite: bool = False, whole_record: bool = False
    ) -> Iterator[tuple[int, Pick]]:
        """Join drafts with the images of the archive, shard by shard."""
        images, refused = self._images()
        keys: set[str] = set()
        for number, group in groupby(drafts, key=lambda draft: shard_number(draft.ordinal)):
            for draft in self._keep_last(group) if overwrite else group:
                image = images.get(draft.image)
                refusal = refused.pop(draft.image, None) if image is None else None
                problem = draft.problem or self._problem(draft, image, refusal)
                if not problem and not overwrite and draft.key in keys:
                    problem = "duplicate_key"
                if problem or image is None:
                    self.rejected.append((draft.key, problem, draft.image))
                    continue
                keys.add(draft.key)
                meta = self._record(draft) if whole_record else draft.meta
                yield number, Pick(draft.key, image, draft.text, meta)
        self.rejected += ((item.name[:200], item.reason, item.detail) for item in refused.values())
        self.notes["stray_files"] += len(refused)

    def _keep_last(self, group: Iterable[Draft]) -> list[Draft]:
        drafts = list(group)
        kept = keep_last(drafts)
        self.notes["overwritten"] += len(drafts) - len(kept)
        return kept

    @staticmethod
    def _problem(draft: Draft, image: Ref | None, refused: Refusal | None) -> str:
        if not draft.key:
            return "unsafe_key"
        if image is None:
            return refused.reason if refused else "missing_image"
        return "" if image.member.size_bytes else "empty_image"

    def _record(self, draft: Draft) -> Ref:
        """The whole line of a draft, as a range of its caption file."""
        offset, length = draft.line or (0, 0)
        return Ref(self._rule.captions, Member("record", "raw", offset, length, length))

    def _images(self) -> tuple[dict[str, Ref], dict[str, Refusal]]:
        """Images by their name inside the recipe's folder, and what was refused by the same names."""
        asset_name, _, folder = self._rule.images.partition("/")
        images: dict[str, Ref] = {}
        refused: dict[str, Refusal] = {}
        for holding in self._unfold(asset_name):
            self._hold(holding)
            for item in holding.members:
                self._session.check_stop()
                name = inside(item.name, folder)
                if isinstance(item, Refusal):
                    refused[name or item.name] = item
                elif name is not None:
                    images.setdefault(name, Ref(holding.source, item))
        if not images:
            raise NotRecognised(f"{asset_name}: holds no files in the folder {folder!r}")
        return images, refused

    def _unfold(self, asset_name: str, *, nested: bool = False) -> Iterator[Holding]:
        asset = self._dataset.asset(asset_name)
        ready = self._ready.get(asset_name) or streamed_holding(self._dataset, asset, self._session)
        if ready is not None:
            yield ready
            return
        receipt = read_receipt(self._session, asset)
        if receipt is None:
            raise BadArchive(f"{asset_name}: its receipt is gone; run again")
        with on_trust(self._session, asset, receipt):
            for holding in unfold(asset, receipt, self._session, nested=nested):
                yield replace(holding, members=self._members(holding, asset, receipt))

    def _members(self, holding: Holding, asset: Asset, receipt: AssetReceipt) -> Iterator[Member | Refusal]:
        with on_trust(self._session, asset, receipt):
            yield from holding.members

    def _hold(self, holding: Holding) -> Holding:
        self.sources[holding.source] = holding.where
        return holding

    @contextmanager
    def _captions(self) -> Iterator[BinaryIO]:
        """The caption file, wherever it lies; its digest is checked if the recipe pins it."""
        asset_name, _, inner = self._rule.captions.partition("/")
        for holding in self._unfold(asset_name):
            for item in holding.members:
                if isinstance(item, Member) and (not inner or item.name.removeprefix("./") == inner):
                    self.sources[self._rule.captions] = holding.where
                    with MemberReader(holding.path) as reader:
                        self._check_captions(reader, item)
                        yield reader.open(item)
                    return
        raise NotRecognised(f"{asset_name}: holds no file {inner!r}")

    def _check_captions(self, reader: MemberReader, member: Member) -> None:
        pinned = self._rule.captions_digest
        if pinned is None:
            return
        hasher = Hasher([pinned.algorithm])
        with reader.open(member) as file:
            while data := file.read(2**20):
                hasher.update(data)
        wrong = disagreement([pinned], hasher.digests())
        if wrong is not None:
            raise DigestMismatch(
                f"{self._rule.captions}: the digest is {wrong[1]}, the official one is {wrong[0]}"
            )

    def _lines(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        """Offset and content of each line; blank lines are passed over, a giant one is an error."""
        offset = 0
        while line := file.readline(LINE_LIMIT_BYTES + 1):
            self._session.check_stop()
            if len(line) > LINE_LIMIT_BYTES:
                raise BadArchive(f"line at byte {offset} has more than {LINE_LIMIT_BYTES} bytes")
            if line.strip():
                yield offset, line.rstrip(b"\n")
            offset += len(line)


def _result(parsed: Future[list[Draft]]) -> Iterator[Draft]:
    """What was parsed beside, waited for only when it is wanted."""
    yield from parsed.result()
