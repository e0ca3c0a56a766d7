"""borrow: a dataset that a peer has packed is taken over shard by shard, in place of its archives.

Only with --trust-peers. The plan's identity must be the peer's, each shard must have the digest of the
peer's list and is looked through as a ready shard is. That is the peer's word: no digest of packed shards
is pinned anywhere. So the receipts of these shards say `peer`, and the manifest counts them (`from_peer` in
its notes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from g3m.adapters.disk import write_document
from g3m.adapters.peers import read_peer_file
from g3m.adapters.session import Session
from g3m.core.errors import Changed, ContentError, SourceError
from g3m.core.peers import SharedDataset
from g3m.core.plan import DatasetPlan, Plan
from g3m.core.receipt import Rejected
from g3m.core.secrets import host_of
from g3m.steps.arrangement import borrowed_path, read_arrangement, read_rejected, rejected_lines
from g3m.steps.dropped import record_of
from g3m.steps.find import present
from g3m.steps.findings import borrowed_findings_path, read_findings
from g3m.steps.peers import peer_listings, shard_asset
from g3m.steps.publish import FINDINGS, published

REJECTED = "rejected.jsonl"
LIST_LIMIT_BYTES = 256 * 2**20


def borrow(plan: Plan, session: Session, note: Callable[[str], None]) -> Plan:
    """The plan, in which datasets that a peer has ready are made of its shards; `note` is told of each.

    What was begun here goes on here, and what can be packed from archives that are here needs nobody's word.
    """
    if not session.settings.trust_peers or session.settings.offline:
        return plan
    return replace(plan, datasets=tuple(_borrowed(one, session, note) for one in plan.datasets))


def _borrowed(dataset: DatasetPlan, session: Session, note: Callable[[str], None]) -> DatasetPlan:
    own = dataset.recipe.samples.reader == "shards" or dataset.estimated
    own = own or published(dataset, session) is not None or read_arrangement(dataset, session) is not None
    own = own or bool(record_of(dataset, session))  # a peer's shards may hold what was dropped here
    if own or all(present(session, asset) is not None for asset in dataset.assets):
        return dataset
    for address, listing in peer_listings(session):
        found = [
            one for one in listing.datasets if (one.name, one.identity) == (dataset.name, dataset.identity)
        ]
        if found and found[0].shards:
            try:
                rejected = _rejected(address, found[0], session)
                findings = _findings(address, found[0], session)
            except (SourceError, ContentError) as error:
                note(f"{dataset.name}: {error.message}; packed here instead")
                continue
            write_document(borrowed_path(session, dataset.name), rejected_lines(rejected))
            write_document(borrowed_findings_path(session, dataset.name), findings)
            note(f"{dataset.name}: packed by {host_of(address)}, whose word is the only proof of its shards")
            rule = replace(dataset.recipe.samples, reader="shards")
            assets = tuple(shard_asset(shard) for shard in found[0].shards)
            return replace(dataset, recipe=replace(dataset.recipe, samples=rule), assets=assets)
    return dataset


def _rejected(address: str, dataset: SharedDataset, session: Session) -> tuple[Rejected, ...]:
    """What the peer left out when it packed."""
    file = next((one for one in dataset.files if one.name == REJECTED), None)
    if file is None or file.size_bytes > LIST_LIMIT_BYTES:
        raise Changed(f"peer {host_of(address)}: it does not say what it left out")
    text = read_peer_file(session.http, address, dataset.path(REJECTED), file)
    try:
        return read_rejected(text.decode())
    except ValueError:
        raise Changed(f"peer {host_of(address)}: its list of what it left out cannot be read") from None


def _findings(address: str, dataset: SharedDataset, session: Session) -> str:
    """What the peer found when it packed; nothing from a peer that did so before findings were listed."""
    file = next((one for one in dataset.files if one.name == FINDINGS), None)
    if file is None:
        return ""
    if file.size_bytes > LIST_LIMIT_BYTES:
        raise Changed(f"peer {host_of(address)}: its list of findings is too long")
    try:
        text = read_peer_file(session.http, address, dataset.path(FINDINGS), file).decode()
        read_findings(text)
    except ValueError:
        raise Changed(f"peer {host_of(address)}: its list of findings cannot be read") from None
    return text
