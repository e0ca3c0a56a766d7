"""What arranging a dataset leaves behind: the sample list, its receipt, and the tasks that follow from it.

Other steps read it here; steps/arrange.py writes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from g3m.adapters.disk import read_document, write_document
from g3m.adapters.session import Session
from g3m.core.errors import TooManyRejected
from g3m.core.plan import DatasetPlan, Task, asset_id
from g3m.core.receipt import Arrangement, AssetReceipt, Rejected, arrangement, count_reasons
from g3m.core.recipe import Asset
from g3m.steps.find import read_receipt
from g3m.steps.unfold import path_of


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
    """The arrangement if it belongs to this plan and its sample list is whole."""
    text = read_document(session.store.receipt(dataset.name, "arrange"))
    found = None if text is None else arrangement(text)
    if found is None or found.identity != dataset.identity:
        return None
    try:
        whole = list_path(session, dataset.name).stat().st_size == found.list_size_bytes
    except OSError:
        return None
    return found if whole else None


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
    dataset: DatasetPlan, samples: int, rejected: Sequence[Rejected], session: Session
) -> None:
    """Stop a dataset of which too much is unusable, and leave the list of it.

    What is left out because the policy says so was asked for, and does not count as unusable.
    """
    limit = session.settings.max_rejected
    limit = dataset.recipe.expect.rejected_fraction if limit < 0 else limit
    total = samples + len(rejected)
    policy = dataset.treatment.policy
    unusable = [row for row in rejected if policy.get(row[1]) != "reject"]
    if samples == 0 or len(unusable) > limit * total:
        path = session.store.plan(f"{dataset.name}.rejected.jsonl")
        write_document(path, rejected_lines(rejected))
        shown = unusable if samples else rejected
        counts = count_reasons(shown).items()
        words = ", ".join(f"{count} {reason}" for reason, count in counts) or "none found"
        head = f"{dataset.name}: {len(shown)} of {total} samples are unusable"
        raise TooManyRejected(f"{head} ({words}); all are listed in {path}")


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
