"""What arranging a dataset leaves behind: the sample list, its receipt, and the tasks that follow from it.

Other steps read it here; steps/arrange.py writes it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from g3m.adapters.disk import read_document, remove, write_document
from g3m.adapters.session import Session
from g3m.core.dropped import REASON
from g3m.core.errors import BadArchive, StorageError, TooManyRejected
from g3m.core.gathering import GatherPlan
from g3m.core.plan import DatasetPlan, Task, asset_id
from g3m.core.receipt import Arrangement, AssetReceipt, Rejected, add_counts, arrangement, count_reasons
from g3m.core.recipe import Asset
from g3m.steps.again import again_shards
from g3m.steps.find import read_receipt
from g3m.steps.unfold import path_of

_ROWS_HINT = (
    "look at the reasons; --max-rejected raises the limit, `g3m gather --retry-failed` asks once more",
    "请查看原因；--max-rejected 可放宽限制，`g3m gather --retry-failed` 会再次尝试",
)
_PRIVATE_HINT = (
    "if these are servers of your own, begin anew in another folder with --allow-private",
    "如果这些是你自己的服务器，请加上 --allow-private 并换一个目录重新开始",
)
_LIST_HINT = (
    "run the same command again: the list is made anew, and what is packed already is kept",
    "请重新运行同一命令：列表会重新生成，已打包的内容会保留",
)


def list_path(session: Session, dataset: str) -> Path:
    """Where the sample list of a dataset lies."""
    return session.store.plan(f"{dataset}.samples")


def asset_receipts(dataset: DatasetPlan, session: Session) -> dict[str, tuple[Asset, AssetReceipt]]:
    """Every asset of the dataset that has a receipt, by id."""
    found = {}
    for asset in dataset.assets:
        receipt = read_receipt(session, asset)
        if receipt is not None:
            found[asset_id(asset)] = (asset, receipt)
    return found


def read_arrangement(dataset: DatasetPlan, session: Session) -> Arrangement | None:
    """The arrangement if it belongs to this plan and its sample list is whole; with the shards of retries."""
    text = read_document(session.store.receipt(dataset.name, "arrange"))
    found = None if text is None else arrangement(text)
    if found is None or found.identity != dataset.identity:
        return None
    try:
        whole = list_path(session, dataset.name).stat().st_size == found.list_size_bytes
    except OSError:
        return None
    if not whole or not isinstance(dataset, GatherPlan):
        return found if whole else None
    added = again_shards(dataset.name, dataset.identity, session)
    return replace(found, shards=(*found.shards, *(shard.planned for shard in added))) if added else found


def shard_lines(dataset: str, found: Arrangement, shard: str, session: Session) -> BytesIO:
    """The lines of one shard; BadArchive if they are not as they were written: then they are made anew."""
    path = list_path(session, dataset)
    ends = [*(planned.offset_bytes for planned in found.shards[1:]), found.list_size_bytes]
    for planned, end in zip(found.shards, ends, strict=True):
        if planned.name == shard:
            try:
                with open(path, "rb") as lines:
                    lines.seek(planned.offset_bytes)
                    data = lines.read(max(end - planned.offset_bytes, 0))
            except OSError as error:
                raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
            if planned.crc32 in (None, zlib.crc32(data)):
                return BytesIO(data)
    remove(session.store.receipt(dataset, "arrange"))
    raise BadArchive(f"{path}: the lines of {shard} are not as they were written", hint=_LIST_HINT)


def sources_present(dataset: DatasetPlan, found: Arrangement, session: Session) -> bool:
    """Whether every source of an arrangement can still be read."""
    assets = asset_receipts(dataset, session)
    try:
        return all(path_of(where, assets, session).exists() for where in found.sources.values())
    except KeyError:
        return False


def pack_tasks(dataset: DatasetPlan, found: Arrangement) -> tuple[Task, ...]:
    """One task for each shard of an arrangement."""
    return tuple(
        Task(
            id=f"pack/{dataset.name}/{shard.name}",
            kind="pack",
            dataset=dataset.name,
            needs=(f"arrange/{dataset.name}",),
            shard=shard.name,
            offset_bytes=shard.offset_bytes,
            samples=shard.samples,
        )
        for shard in found.shards
    )


def check_rejected(
    dataset: DatasetPlan,
    samples: int,
    rejected: Sequence[Rejected],
    session: Session,
    counted: Mapping[str, int] | None = None,
) -> None:
    """Stop a dataset of which too much is unusable, and leave the list of it; `counted` are in no list.

    What is left out because the policy says so, or was dropped, was asked for, and is not unusable.
    """
    limit = session.settings.max_rejected
    limit = dataset.recipe.expect.rejected_fraction if limit < 0 else limit
    counts, policy = add_counts((count_reasons(rejected), counted or {})), dataset.treatment.policy
    total = samples + sum(counts.values())
    asked_for = {REASON, *(reason for reason, action in policy.items() if action == "reject")}
    unusable = {reason: count for reason, count in counts.items() if reason not in asked_for}
    if samples == 0 or sum(unusable.values()) > limit * total:
        shown = unusable if samples else counts
        words = ", ".join(f"{count} {reason}" for reason, count in shown.items()) or "none found"
        head = f"{dataset.name}: {sum(shown.values())} of {total} samples are unusable ({words})"
        if counted:
            is_private = 2 * counts.get("private_address", 0) > total
            hint = _PRIVATE_HINT if is_private else _ROWS_HINT
            raise TooManyRejected(f"{head}; the tables beside the shards say which", hint=hint)
        path = session.store.plan(f"{dataset.name}.rejected.jsonl")
        write_document(path, rejected_lines(rejected))
        raise TooManyRejected(f"{head}; all are listed in {path}")


def borrowed_path(session: Session, dataset: str) -> Path:
    """Where the list of what a peer left out lies, if the peer packed the dataset."""
    return session.store.plan(f"{dataset}.peer-rejected.jsonl")


def read_rejected(text: str) -> tuple[Rejected, ...]:
    """The samples in a list of `rejected_lines`; ValueError if it is none."""
    try:
        rows = [json.loads(line) for line in text.splitlines()]
        return tuple((str(row["key"]), str(row["reason"]), str(row["detail"])) for row in rows)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def rejected_lines(rejected: Sequence[Rejected]) -> str:
    """The list of rejected samples as JSON lines."""
    rows = ({"key": key, "reason": reason, "detail": detail} for key, reason, detail in rejected)
    return "".join(json.dumps(row) + "\n" for row in rows)
