"""Proofs that work is done: receipts of tasks, and the manifest that merges a dataset's receipts.

Receipts and manifests hold no times, hosts or routes: the same input gives the same documents on
every machine. A receipt that cannot be read counts as absent, and its task is done again. Receipts end with a
checksum of all before it, so that one wrong bit makes them absent, too; the manifest is there to be edited.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from typing import Any, TypeVar

from g3m.core.digest import Digest
from g3m.core.members import refuse_name
from g3m.core.samples import clean
from g3m.core.shard import ShardSummary
from g3m.core.treatment import AS_IT_IS, CLASSES, Treatment

FORMAT = 1

_OF_ROWS = ("reasons", "again", "found")
"""Fields of receipts that are written for gathered shards only: those of others stay what they were."""

_CHECK = re.compile(r',\n "check": (\d{1,10})\n\}\n\Z')
"""The end of a receipt: the crc32 of what stands before it."""

_WHOLE_LIMIT = 2**63
_Made = TypeVar("_Made")
_Named = TypeVar("_Named", "PlannedShard", ShardSummary)
_WRONG = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading a damaged document may raise."""

Rejected = tuple[str, str, str]
"""Key, reason code and detail of a sample that was not packed."""

Found = tuple[str, str, str]
"""Key and class of a finding in a sample that was packed, and what was done: `kept` or `fixed`."""

NOTES = {
    "stray_files": "files that could not be used and belong to no sample; they stand among those left out",
    "overwritten": "samples that a later one of the same key and shard replaced, as in the old script",
    "renamed_keys": "samples whose key could not stay as it was in the source",
    "rewritten_shard": "ready shards that were written anew, because they held something unusable",
    "from_peer": "shards that were packed on another machine and taken on its word",
}
"""What the notes of a manifest count, beside the samples that were packed and those left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetReceipt:
    """An asset is here, whole and checked.

    `proof` says against what: `recipe` or `hub` (a digest pinned before the download), `mirror` (the same,
    listed by a mirror of the hub), `server` (a digest that came with the answer), `first use` (nothing to
    compare with: ours is recorded), `peer` (a shard that a peer packed: its own word), or `folder` (an
    unpacked copy stands in; its members are checked).
    """

    id: str
    name: str
    size_bytes: int
    digests: tuple[Digest, ...]
    proof: str
    path: str = ""
    """Where a copy of the user's own lies; empty if g3m fetched it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShard:
    """A shard to be packed: its range of lines in the sample list."""

    name: str
    offset_bytes: int
    samples: int
    crc32: int | None = None
    """Of these lines; None in receipts of before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """The receipt of `arrange`: which sample goes where, and what was rejected before packing."""

    identity: str
    sources: Mapping[str, str]
    """Source name to what it is: `asset:ID` or `spool:FILE`."""
    shards: tuple[PlannedShard, ...]
    list_size_bytes: int
    rejected: tuple[Rejected, ...]
    form: str = ""
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)


Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReceipt:
    """A shard stands under its final name.

    A shard of gathered rows names no row: `reasons` counts those that became no sample, `again` what had been
    said of the same rows before this shard tried them once more, and `found` classes by what was done.
    """

    identity: str
    shard: ShardSummary
    rejected: tuple[Rejected, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    findings: tuple[Found, ...] = ()
    reasons: Counts = field(default_factory=dict)
    again: Counts = field(default_factory=dict)
    found: Mapping[str, Counts] = field(default_factory=dict)

    @property
    def left_out(self) -> dict[str, int]:
        """How many samples or rows were left out, by reason."""
        return add_counts((count_reasons(self.rejected), self.reasons))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All receipts of a dataset merged: what is here, what it was made of, what is missing and why.

    `findings` counts by class, then by what was done. None: made before findings were listed.
    """

    dataset: str
    title: str
    folder: str
    identity: str
    parity: str
    licence: str
    homepage: str
    assets: tuple[AssetReceipt, ...]
    shards: tuple[ShardSummary, ...]
    rejected: Mapping[str, int]
    notes: Mapping[str, int]
    expected_samples: int | None = None
    expected_source: str = ""
    form: str = ""
    treatment: Treatment = AS_IT_IS
    findings: Mapping[str, Mapping[str, int]] | None = None

    @property
    def samples(self) -> int:
        return sum(shard.samples for shard in self.shards)

    @property
    def left_out(self) -> int:
        """How many samples were left out, without the files that belong to none."""
        return sum(self.rejected.values()) - self.notes.get("stray_files", 0)

    @property
    def seen(self) -> int:
        """How many samples the sources hold: each is packed, left out or overwritten."""
        return self.samples + self.left_out + self.notes.get("overwritten", 0)

    @property
    def size_bytes(self) -> int:
        return sum(shard.size_bytes for shard in self.shards)


def to_json(document: AssetReceipt | Arrangement | ShardReceipt | Manifest) -> str:
    """The document as JSON with its format number; ends with a newline."""
    body = {"format": FORMAT, "kind": type(document).__name__, **asdict(document)}
    if isinstance(document, Manifest):
        body["treatment"] = document.treatment.to_dict()
        body["samples"], body["size_bytes"] = document.samples, document.size_bytes
        body["seen"] = document.seen
    if isinstance(document, ShardReceipt):
        body = {name: value for name, value in body.items() if value or name not in _OF_ROWS}
    # Lone surrogates, which names in a caption file may hold, cannot be written as UTF-8.
    text = clean(json.dumps(body, indent=1, ensure_ascii=False, default=str)) + "\n"
    if isinstance(document, Manifest):
        return text
    text = text.removesuffix("\n}\n")
    return f'{text},\n "check": {zlib.crc32(text.encode())}\n}}\n'


def asset_receipt(text: str) -> AssetReceipt | None:
    """Read an asset's receipt; None if it is not one of this format."""
    body = _body(text, "AssetReceipt")
    try:
        return None if body is None else _asset(body)
    except _WRONG:
        return None


@lru_cache(
    maxsize=2
)  # every task that packs a shard reads it, and it may list many thousand rejected samples
def arrangement(text: str) -> Arrangement | None:
    """Read the receipt of `arrange`; None if it is not one of this format."""
    body = _body(text, "Arrangement")
    try:
        if body is None:
            return None
        return Arrangement(
            identity=str(body["identity"]),
            sources={str(name): str(value) for name, value in body["sources"].items()},
            shards=tuple(_named(_make(PlannedShard, shard)) for shard in body["shards"]),
            list_size_bytes=_whole(body["list_size_bytes"]),
            rejected=_triples(body["rejected"]),
            form=str(body.get("form", "")),
            notes=_counts(body.get("notes", {})),
        )
    except _WRONG:
        return None


def shard_receipt(text: str) -> ShardReceipt | None:
    """Read a shard's receipt; None if it is not one of this format."""
    body = _body(text, "ShardReceipt")
    try:
        if body is None:
            return None
        return ShardReceipt(
            identity=str(body["identity"]),
            shard=_named(_make(ShardSummary, body["shard"])),
            rejected=_triples(body["rejected"]),
            notes=_counts(body["notes"]),
            findings=_triples(body.get("findings", ())),
            reasons=_counts(body.get("reasons", {})),
            again=_counts(body.get("again", {})),
            found={str(name): _counts(counts) for name, counts in body.get("found", {}).items()},
        )
    except _WRONG:
        return None


def manifest(text: str) -> Manifest | None:
    """Read a manifest; None if it is not one of this format."""
    body = _body(text, "Manifest")
    try:
        if body is None:
            return None
        for sum_of_others in ("samples", "size_bytes", "seen"):
            body.pop(sum_of_others, None)
        body["assets"] = tuple(_asset(asset) for asset in body["assets"])
        body["shards"] = tuple(_named(_make(ShardSummary, shard)) for shard in body["shards"])
        body["rejected"], body["notes"] = _counts(body["rejected"]), _counts(body["notes"])
        body["treatment"] = Treatment.from_dict(body.get("treatment", {}))
        findings = body.get("findings")
        if findings is not None:
            body["findings"] = {str(name): _counts(counts) for name, counts in findings.items()}
        made = _make(Manifest, body)
        return None if refuse_name(made.dataset) or refuse_name(made.folder) else made
    except _WRONG:
        return None


def _body(text: str, kind: str) -> dict[str, Any] | None:
    check = _CHECK.search(text)
    try:
        if check and zlib.crc32(text[: check.start()].encode()) != int(check[1]):
            return None
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(body, dict):
        body.pop("check", None)
    if not isinstance(body, dict) or body.pop("format", None) != FORMAT or body.pop("kind", None) != kind:
        return None
    return body


def _asset(body: dict[str, Any]) -> AssetReceipt:
    digests = tuple(Digest.parse(f"{item['algorithm']}:{item['hex']}") for item in body["digests"])
    made = _make(AssetReceipt, {**body, "digests": digests})
    if refuse_name(made.id):
        raise ValueError(f"{made.id!r} leads elsewhere")
    return made


def _make(kind: type[_Made], values: Mapping[str, Any]) -> _Made:
    """The value with these fields; TypeError if one that is a text or a whole number holds anything else."""
    made = kind(**values)
    for item in fields(made):  # type: ignore[arg-type]  # every kind here is a dataclass
        value = getattr(made, item.name)
        if item.type == "int" or (item.type == "int | None" and value is not None):
            _whole(value)
        elif item.type == "str" and not isinstance(value, str):
            raise TypeError(f"{item.name} is no text")
    return made


def _named(made: _Named) -> _Named:
    """The value, whose name is joined to a path; ValueError if that would lead out of its folder."""
    if refuse_name(made.name):
        raise ValueError(f"{made.name!r} leads elsewhere")
    return made


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _WHOLE_LIMIT:
        raise TypeError("no count")
    return value


def _triples(items: Iterable[Sequence[str]]) -> tuple[tuple[str, str, str], ...]:
    return tuple((str(key), str(name), str(word)) for key, name, word in items)


def _counts(items: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): _whole(count) for name, count in items.items()}


def count_reasons(rejected: Iterable[Rejected]) -> dict[str, int]:
    """How many were rejected for each reason, by name of the reason."""
    counts: dict[str, int] = {}
    for _, reason, _ in rejected:
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))


def count_findings(parts: Iterable[Iterable[Found]]) -> dict[str, dict[str, int]]:
    """How many findings there are of each class, by what was done; the gravest class first."""
    counts: dict[str, dict[str, int]] = {}
    for part in parts:
        for _, name, done in part:
            own = counts.setdefault(name, {})
            own[done] = own.get(done, 0) + 1
    known = [*(name for name in CLASSES if name in counts), *sorted(counts.keys() - CLASSES.keys())]
    return {name: dict(sorted(counts[name].items())) for name in known}


def add_findings(parts: Iterable[Mapping[str, Counts]]) -> dict[str, dict[str, int]]:
    """The sum of counts of findings, in the order of `count_findings`."""
    total: dict[str, dict[str, int]] = {}
    for part in parts:
        for name, counts in part.items():
            total[name] = add_counts((total.get(name, {}), counts))
    known = [*(name for name in CLASSES if name in total), *sorted(total.keys() - CLASSES.keys())]
    return {name: total[name] for name in known}


def latest_reasons(receipts: Iterable[ShardReceipt]) -> dict[str, int]:
    """How many rows became no sample, by the reason that was last given of each; zeros are left out."""
    total: dict[str, int] = {}
    for receipt in receipts:
        for counts, sign in ((receipt.reasons, 1), (receipt.again, -1)):
            for name, count in counts.items():
                total[name] = total.get(name, 0) + sign * count
    return {name: count for name, count in sorted(total.items()) if count}


def add_counts(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of several counts, by name."""
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items()))
