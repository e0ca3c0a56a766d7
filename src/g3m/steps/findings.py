"""findings: what was found in the samples that were packed, out of the receipts into `findings.jsonl`.

Where shards were packed on another machine, the list of that machine stands in for the receipts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from g3m.adapters.disk import read_document
from g3m.adapters.session import Session
from g3m.core.errors import ContentError
from g3m.core.receipt import Found, ShardReceipt

ByShard = Mapping[str, tuple[Found, ...]]


def borrowed_findings_path(session: Session, dataset: str) -> Path:
    """Where the list of what a peer found lies, if the peer packed the dataset."""
    return session.store.plan(f"{dataset}.peer-findings.jsonl")


def read_borrowed(session: Session, dataset: str) -> ByShard:
    """What a peer found, by shard; ContentError if its list was damaged here."""
    text = read_document(borrowed_findings_path(session, dataset)) or ""
    try:
        return read_findings(text)
    except ValueError as error:
        raise ContentError(f"{dataset}: the peer's list of findings is damaged ({error})") from None


def findings_in(receipt: ShardReceipt, borrowed: ByShard) -> tuple[Found, ...]:
    """What was found in one shard, wherever it was packed."""
    if "from_peer" in receipt.notes:
        return borrowed.get(receipt.shard.name, ())
    return receipt.findings


def finding_lines(receipts: Iterable[ShardReceipt], borrowed: ByShard) -> Iterator[bytes]:
    """The content of `findings.jsonl`, a shard at a time: there may be a finding for every sample."""
    for receipt in receipts:
        shard = receipt.shard.name
        rows = (
            {"shard": shard, "key": key, "class": name, "action": done}
            for key, name, done in findings_in(receipt, borrowed)
        )
        yield "".join(json.dumps(row) + "\n" for row in rows).encode()


def read_findings(text: str) -> dict[str, tuple[Found, ...]]:
    """The findings in the text of a `findings.jsonl`, by shard; ValueError if it is none."""
    found: dict[str, list[Found]] = {}
    try:
        for row in map(json.loads, text.splitlines()):
            finding = (str(row["key"]), str(row["class"]), str(row["action"]))
            found.setdefault(str(row["shard"]), []).append(finding)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return {shard: tuple(own) for shard, own in found.items()}
