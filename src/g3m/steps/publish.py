"""publish: the receipts of a dataset become its manifest and the small files that other tools read.

    manifest.json      what is here, what it was made of, what was left out and why
    rejected.jsonl     every sample that was left out, with its reason
    findings.jsonl     what was found in samples that were packed, and whether it was fixed
    index.bin          where every member of every sample lies
    sizes.json         samples of each shard (open_clip and friends)
    _info.json         the same for readers of timm and pixparse sets
    wids-meta.json     the same for wids
    SHA256SUMS         for `sha256sum -c`
    README.md          what a person should know: licence, citation, counts (core/card.py)
    duplicates.txt     of gathered datasets: later samples whose pictures an earlier one has, too

The manifest is written last: where it stands, the dataset is whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from g3m.adapters.disk import read_document, remove, write_document
from g3m.adapters.plain import read_plain
from g3m.adapters.session import Session
from g3m.core.card import card
from g3m.core.errors import ContentError
from g3m.core.events import Event, Noted, TaskFinished
from g3m.core.gathering import READER, GatherPlan
from g3m.core.index import FIELDS, Head, Index
from g3m.core.indexing import joined, ordered
from g3m.core.plan import DatasetPlan, Plan, Task, asset_id
from g3m.core.receipt import (
    Arrangement,
    Found,
    Manifest,
    Rejected,
    ShardReceipt,
    add_counts,
    add_findings,
    count_findings,
    count_reasons,
    latest_reasons,
    to_json,
)
from g3m.core.receipt import manifest as parse_manifest
from g3m.steps.again import again_shards
from g3m.steps.arrangement import (
    asset_receipts,
    borrowed_path,
    check_rejected,
    list_path,
    read_arrangement,
    read_rejected,
    rejected_lines,
)
from g3m.steps.copies import COPIES, copy_lines
from g3m.steps.find import part_path, whole_path
from g3m.steps.findings import ByShard, finding_lines, findings_in, read_borrowed
from g3m.steps.pack import index_path, object_name, read_shard_receipt, shard_path, size_of
from g3m.steps.streamed import leftovers

MANIFEST = "manifest.json"
INDEX = "index.bin"
FINDINGS = "findings.jsonl"
COMPANIONS = (
    INDEX,
    "rejected.jsonl",
    FINDINGS,
    "sizes.json",
    "_info.json",
    "wids-meta.json",
    "SHA256SUMS",
    "README.md",
)


def companions(body: Manifest) -> tuple[str, ...]:
    """The small files that must stand beside a dataset's shards.

    A dataset made before findings were listed has no such list, and stays whole without it: to make the list,
    every picture would have to be looked at again. Its manifest tells, because it counts no findings either.
    """
    return tuple(name for name in COMPANIONS if name != FINDINGS or body.findings is not None)


def read_manifest(dataset: DatasetPlan, session: Session) -> Manifest | None:
    """The manifest of a dataset whatever plan it was made by, or None."""
    text = read_document(session.store.root / dataset.recipe.folder / MANIFEST)
    return None if text is None else parse_manifest(text)


def published(dataset: DatasetPlan, session: Session) -> Manifest | None:
    """The manifest if the dataset stands whole and belongs to this plan: sizes are compared, not bytes."""
    found = read_manifest(dataset, session)
    if found is None or found.identity != dataset.identity:
        return None
    try:
        whole = all(
            size_of(shard_path(dataset, shard.name, session), session) == shard.size_bytes
            for shard in found.shards
        )
        receipts = all(session.store.receipt(dataset.name, shard.name).is_file() for shard in found.shards)
        folder = session.store.root / dataset.recipe.folder
        beside = all(size_of(folder / name, session) is not None for name in companions(found))
    except OSError:
        return None
    planned = {shard.name for shard in again_shards(dataset.name, dataset.identity, session)}
    is_retried = planned <= {shard.name for shard in found.shards}
    return found if whole and receipts and beside and is_retried else None


def shard_names(dataset: DatasetPlan, session: Session) -> tuple[str, ...]:
    """The shards that the dataset must have, in order."""
    if dataset.recipe.samples.reader == "shards":
        return tuple(asset.name for asset in dataset.assets)
    found = read_arrangement(dataset, session)
    return tuple(shard.name for shard in found.shards) if found else ()


def publish(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Write the manifest and its companions, then clear what the dataset needed on its way."""
    dataset = plan.dataset(task.dataset)
    if session.shelf is not None:
        session.shelf.pull(dataset.name)
    borrowed = read_borrowed(session, dataset.name)
    receipts, findings = _gather(dataset, borrowed, session)
    arranged = read_arrangement(dataset, session)
    rejected = (
        *(arranged.rejected if arranged else _peer_rejected(dataset, receipts, session)),
        *(r for receipt in receipts for r in receipt.rejected),
    )
    counts = add_counts((count_reasons(rejected), latest_reasons(receipts)))
    made = replace(_manifest(dataset, receipts, arranged, session), rejected=counts, findings=findings)
    check_rejected(dataset, made.samples, rejected, session, latest_reasons(receipts))
    folder = session.store.root / dataset.recipe.folder
    files = _companions(dataset, made, rejected, session)
    # The receipts once more, because their findings were not all kept in memory.
    files[FINDINGS] = finding_lines(_receipts(dataset, session), borrowed)
    if isinstance(dataset, GatherPlan) and session.shelf is None:  # else every table would have to be fetched
        files[COPIES] = copy_lines(dataset, made.shards, session)
    for name, content in files.items():
        write_document(folder / name, content)
    if session.settings.keep_assets:
        write_document(_kept_mark(dataset, session), "")
    else:
        remove(_kept_mark(dataset, session))
    write_document(folder / MANIFEST, to_json(made))
    if session.shelf is not None:
        # With these another machine can ask once more for rows that failed, and needs no list for it.
        plans = (list_path(session, dataset.name), session.store.plan(f"{dataset.name}.gather.json"))
        kept = (*plans, session.store.receipt(dataset.name, "arrange"))
        paths = (*(path for path in kept if path.is_file()), *(folder / name for name in (*files, MANIFEST)))
        session.shelf.place([object_name(path, session) for path in paths])
    expected = made.expected_samples
    if expected is not None and expected != made.samples:
        text = f"{dataset.name}: {made.samples} samples packed, {expected} expected ({made.expected_source})"
        yield Noted(task=task.id, text=text)
    others = (other for other in plan.datasets if other.name != dataset.name)
    waiting = [other for other in others if published(other, session) is None]
    for path in used_up(dataset, waiting, session):
        remove(path)
    yield TaskFinished(
        task=task.id,
        kind=task.kind,
        dataset=task.dataset,
        output=f"{dataset.recipe.folder}/{MANIFEST}",
        samples=made.samples,
        size_bytes=made.size_bytes,
    )


def _peer_rejected(
    dataset: DatasetPlan, receipts: Sequence[ShardReceipt], session: Session
) -> tuple[Rejected, ...]:
    """What was left out where the shards were packed, if that was not here."""
    if not any("from_peer" in receipt.notes for receipt in receipts):
        return ()
    try:
        return read_rejected(read_document(borrowed_path(session, dataset.name)) or "")
    except ValueError as error:
        raise ContentError(
            f"{dataset.name}: the peer's list of what it left out is damaged ({error})"
        ) from None


def _receipts(dataset: DatasetPlan, session: Session) -> Iterator[ShardReceipt]:
    for name in shard_names(dataset, session):
        receipt = read_shard_receipt(dataset, name, session)
        if receipt is None:
            raise ContentError(f"{dataset.name}: the receipt of {name} is missing; run again")
        yield receipt


def _gather(
    dataset: DatasetPlan, borrowed: ByShard, session: Session
) -> tuple[list[ShardReceipt], Mapping[str, Mapping[str, int]]]:
    """The receipts without their findings, and how many of those there are."""
    receipts: list[ShardReceipt] = []

    def findings() -> Iterator[tuple[Found, ...]]:
        for receipt in _receipts(dataset, session):
            receipts.append(replace(receipt, findings=()))
            yield findings_in(receipt, borrowed)

    counts = count_findings(findings())
    if isinstance(dataset, GatherPlan):  # the few that are named are among those that are counted
        counts = add_findings(receipt.found for receipt in receipts)
    return receipts, counts


def _manifest(
    dataset: DatasetPlan,
    receipts: Sequence[ShardReceipt],
    arranged: Arrangement | None,
    session: Session,
) -> Manifest:
    """What the receipts say together, but for what was left out and found."""
    recipe = dataset.recipe
    known = asset_receipts(dataset, session)
    notes = (receipt.notes for receipt in receipts)
    return Manifest(
        dataset=recipe.name,
        title=recipe.title,
        folder=recipe.folder,
        identity=dataset.identity,
        parity=dataset.parity,
        licence=recipe.licence,
        homepage=recipe.homepage,
        # Where a copy of the user's lay is a matter of that machine.
        assets=tuple(replace(receipt, path="") for _, receipt in known.values()),
        shards=tuple(receipt.shard for receipt in receipts),
        rejected={},
        notes=add_counts((arranged.notes if arranged else {}, *notes)),
        expected_samples=recipe.expect.samples,
        expected_source=recipe.expect.source,
        form=READER if isinstance(dataset, GatherPlan) else arranged.form if arranged else "",
        treatment=dataset.treatment,
    )


def _companions(
    dataset: DatasetPlan, made: Manifest, rejected: Sequence[Rejected], session: Session
) -> dict[str, str | Iterator[bytes]]:
    return {
        INDEX: _index(dataset, made, session),
        "rejected.jsonl": rejected_lines(rejected),
        **counted(made),
        "README.md": card(dataset.recipe, made),
    }


def counted(made: Manifest) -> dict[str, str]:
    """The small files that follow from a manifest alone."""
    names = [shard.name for shard in made.shards]
    counts = [shard.samples for shard in made.shards]
    split = {"name": made.dataset, "filenames": names, "shard_lengths": counts, "num_samples": made.samples}
    wids = [{"url": shard.name, "nsamples": shard.samples} for shard in made.shards]
    return {
        "sizes.json": json.dumps(dict(zip(names, counts, strict=True)), indent=1) + "\n",
        "_info.json": json.dumps({"name": made.dataset, "splits": {made.dataset: split}}, indent=1) + "\n",
        "wids-meta.json": json.dumps({"wids_version": 1, "shardlist": wids}, indent=1) + "\n",
        "SHA256SUMS": "".join(f"{shard.sha256}  {shard.name}\n" for shard in made.shards),
    }


def _index(dataset: DatasetPlan, made: Manifest, session: Session) -> Iterator[bytes]:
    """The indexes of all shards as one, in pieces: a shard at a time, however many samples there are."""
    names = tuple(shard.name for shard in made.shards)

    def part(number: int) -> Index:
        return _shard_index(dataset, names[number], session)

    fields: tuple[str, ...] = FIELDS
    if isinstance(dataset, GatherPlan):  # pictures have the extensions of their formats
        fields = ordered({name for number in range(len(names)) for name in part(number).fields})
    return joined(Head(shards=names, samples=made.samples, fields=fields), part)


def _shard_index(dataset: DatasetPlan, name: str, session: Session) -> Index:
    """The index that packing left; where it is missing the shard's task has to be done again."""
    path = index_path(dataset.name, name, session)
    if session.shelf is not None:
        session.shelf.fetch(object_name(path, session))
    try:
        return Index(read_plain(path))
    except (OSError, ValueError) as error:
        remove(session.store.receipt(dataset.name, name))
        raise ContentError(f"{dataset.name}: the index of {name} is missing; run again ({error})") from None


def _kept_mark(dataset: DatasetPlan, session: Session) -> Path:
    """Says that the archives of a published dataset were kept on purpose: no later run deletes them."""
    return session.store.plan(f"{dataset.name}.kept")


def used_up(dataset: DatasetPlan, waiting: Sequence[DatasetPlan], session: Session) -> list[Path]:
    """Files that a published dataset needed on its way and needs no more: assets and spools of ours.

    An asset that a dataset still waits for stays, and so does all that was kept on purpose.
    """
    if session.settings.keep_assets or _kept_mark(dataset, session).exists():
        return leftovers(dataset, session)
    needed = {asset_id(asset) for other in waiting for asset in other.assets}
    found = []
    for asset in dataset.assets:
        if asset_id(asset) not in needed:
            part = part_path(session, asset)  # of a run that came too late
            found += [whole_path(session, asset), part, part.with_suffix(".journal")]
    arranged = read_arrangement(dataset, session)
    for where in arranged.sources.values() if arranged else ():
        kind, _, name = where.partition(":")
        if kind == "spool":
            found.append(session.store.part(name))
    found += leftovers(dataset, session)
    return [path for path in found if path.is_file()]
