"""remade: what stands beside exchanged shards is made to fit them: index, receipts, tables, manifest.

Everything follows from the manifest and what was exchanged, so doing it once more changes nothing. Of a
sample that is gone, lists and tables keep the key and the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from g3m.adapters.disk import publish, remove, write_document
from g3m.adapters.plain import read_plain
from g3m.adapters.session import Session
from g3m.adapters.tables import change_parquet
from g3m.core.card import card
from g3m.core.dropped import REASON, Exchange
from g3m.core.errors import G3MError, storage_error
from g3m.core.gathering import READER, GatherPlan
from g3m.core.index import Head, Index
from g3m.core.indexing import cut, joined
from g3m.core.outcomes import status_of
from g3m.core.receipt import Manifest, count_findings, shard_receipt, to_json
from g3m.core.recipe import Expect, Recipe, SampleRule
from g3m.core.reshard import SourceShard
from g3m.steps.copies import COPIES, copy_lines
from g3m.steps.examine import open_index
from g3m.steps.gathered import kept_plan
from g3m.steps.outcome import names_beside
from g3m.steps.publish import FINDINGS, INDEX, MANIFEST, counted
from g3m.steps.scan import scan

if TYPE_CHECKING:
    from g3m.steps.drop import Place

REJECTED = "rejected.jsonl"
_TERMS = re.compile(r"^Licence: [^\n]*\n\n(.*?)\n\n## Counts$", re.DOTALL | re.MULTILINE)
_CITATION = re.compile(r"^## Cite\n\n```bibtex\n(.*?)\n```$", re.DOTALL | re.MULTILINE)


def remake(place: Place, body: Manifest, done: Sequence[Exchange], session: Session) -> None:
    """Make all that stands beside the shards fit those that were exchanged; the manifest comes last."""
    folder, changed = place.folder, {one.shard.name: one for one in done}
    if not changed:
        return
    shards = tuple(changed[one.name].shard if one.name in changed else one for one in body.shards)
    made = replace(body, shards=shards)
    parts = _index(folder, made, changed, session)
    gone = body.samples - made.samples
    if gone:
        counts = {**body.rejected, REASON: body.rejected.get(REASON, 0) + gone}
        made = replace(made, rejected=dict(sorted(counts.items())))
    for one in done:
        _receipt(place, body, one, parts[one.shard.name], session)
        if body.form == READER:
            blank_rows(folder / one.shard.name, one.keys)
            _figures(folder / one.shard.name, one.shard.samples)
    keys = [(one.shard.name, key) for one in done for key in one.keys]
    if body.form != READER:
        _rejected(folder / REJECTED, [key for _, key in keys])
    made = _findings(folder, made, set(keys))
    if body.form == READER:
        _copies(place, made, {key for _, key in keys}, session)
    for name, text in counted(made).items():
        write_document(folder / name, text)
    readme = folder / "README.md"
    write_document(readme, card(_recipe(made, _text(readme)), made))
    write_document(folder / MANIFEST, to_json(made))


def _index(
    folder: Path, made: Manifest, changed: Mapping[str, Exchange], session: Session
) -> dict[str, bytes]:
    """Write the index anew; gives the own index of each exchanged shard."""
    index = open_index(folder / INDEX)
    names = tuple(shard.name for shard in made.shards)
    starts = index.starts()
    fresh: dict[str, bytes] = {}
    for name in changed:
        state = (folder / name).stat()
        source = SourceShard(str(folder / name), name, state.st_size, state.st_mtime_ns, "")
        is_ours = made.form != READER
        fresh[name] = bytes(scan(source, is_ours=is_ours, session=session, tick=lambda _: None).index.data)

    def part(number: int) -> Index:
        name = names[number]
        return Index(fresh[name] if name in fresh else cut(index, starts[number], starts[number + 1], name))

    head = Head(shards=names, samples=made.samples, fields=index.fields)
    write_document(folder / INDEX, joined(head, part))
    return fresh


def _receipt(place: Place, body: Manifest, one: Exchange, index: bytes, session: Session) -> None:
    """The receipt of an exchanged shard, and its index; where there is none it is not missed."""
    path = place.store(session).receipt(body.dataset, one.shard.name)
    receipt = shard_receipt(_text(path))
    if receipt is None:
        return
    write_document(path.with_suffix(".index"), index)
    gone = receipt.shard.samples - one.shard.samples
    if body.form == READER:
        reasons = (
            {**receipt.reasons, REASON: receipt.reasons.get(REASON, 0) + gone} if gone else receipt.reasons
        )
        receipt = replace(receipt, reasons=dict(sorted(reasons.items())))
    else:
        rejected = [row for row in receipt.rejected if row[0] not in one.keys or row[1] != REASON]
        receipt = replace(receipt, rejected=(*rejected, *((key, REASON, "") for key in one.keys)))
    findings = tuple(row for row in receipt.findings if row[0] not in one.keys)
    write_document(path, to_json(replace(receipt, shard=one.shard, findings=findings)))


def _text(path: Path) -> str:
    """What is to be written anew, empty if there is none; StorageError, not less, if it cannot be read."""
    try:
        return read_plain(path).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise storage_error(error, path) from error


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in _text(path).splitlines():
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict):  # a person may have written there
                yield row


def _rejected(path: Path, keys: Sequence[str]) -> None:
    known = set(keys)
    rows = [
        row for row in _json_lines(path) if str(row.get("key")) not in known or row.get("reason") != REASON
    ]
    rows += ({"key": key, "reason": REASON, "detail": ""} for key in keys)
    write_document(path, "".join(json.dumps(row) + "\n" for row in rows))


def _findings(folder: Path, made: Manifest, gone: Collection[tuple[str, str]]) -> Manifest:
    """The list of findings without the samples that are gone; counted anew where it names every finding."""
    if made.findings is None:
        return made
    rows = [
        row
        for row in _json_lines(folder / FINDINGS)
        if (str(row.get("shard")), str(row.get("key"))) not in gone
    ]
    write_document(folder / FINDINGS, "".join(json.dumps(row) + "\n" for row in rows))
    if made.form == READER:  # the tables name most of them, and do not say which were fixed
        return made
    whole = (row for row in rows if row.keys() >= {"key", "class", "action"})
    found = [(str(row["key"]), str(row["class"]), str(row["action"])) for row in whole]
    return replace(made, findings=count_findings([found]))


def blank_rows(shard: Path, keys: Collection[str] = (), numbers: Collection[int] = ()) -> set[int]:
    """Leave of some rows of a gathered shard's table the key and the reason; gives the rows' numbers."""
    wanted, blanked = set(keys), set[int]()

    def change(row: Mapping[str, Any]) -> Mapping[str, Any]:
        if row["key"] not in wanted and row["row"] not in numbers:
            return row
        blanked.add(row["row"])
        reason = row["reason"] or REASON
        kept = {"key": row["key"], "reason": reason, "row": row["row"], "found": ""}
        empty = dict.fromkeys(row)
        return {**empty, **kept, "status": status_of(reason), "error_message": reason}

    parquet, lines, _ = (shard.with_name(name) for name in names_beside(shard.name))
    if parquet.is_file():
        part = parquet.with_name(f".{parquet.name}.exchange.tmp")
        remove(part)
        change_parquet(parquet, part, change)
        publish(part, parquet)
    elif lines.is_file():
        rows = [change(row) for row in _json_lines(lines)]
        write_document(lines, "".join(json.dumps(dict(row)) + "\n" for row in rows))
    return blanked


def _figures(shard: Path, samples: int) -> None:
    """The sums beside a gathered shard that has fewer samples now."""
    path = shard.with_name(names_beside(shard.name)[2])
    try:
        body = json.loads(_text(path))
        reasons = {
            name: count for name, count in body["status_dict"].items() if name not in ("success", REASON)
        }
        gone = body["count"] - samples - sum(reasons.values())
        sums = {"failed_to_download": 0, "failed_to_resize": 0}
        if gone:
            reasons = dict(sorted([*reasons.items(), (REASON, gone)]))
        for name, count in reasons.items():
            sums[status_of(name)] += count
        good = {"success": samples} if samples else {}
        body |= {"successes": samples, **sums, "status_dict": {**good, **reasons}}
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # not ours any more
    write_document(path, json.dumps(body, indent=4) + "\n")


def _copies(place: Place, made: Manifest, gone: set[str], session: Session) -> None:
    """The list of equal pictures; where the plan is not known any more, the old one without what is gone."""
    path = place.folder / COPIES
    with suppress(G3MError):
        plan, _ = kept_plan(place.folder)
        dataset = plan.datasets[0]
        if isinstance(dataset, GatherPlan):
            own = replace(session, store=place.store(session), shelf=None)
            write_document(path, copy_lines(dataset, made.shards, own))
            return
    prefix = f"{made.dataset}/"
    lines = [line for line in _text(path).splitlines() if line.removeprefix(prefix) not in gone]
    if path.is_file():
        write_document(path, "".join(f"{line}\n" for line in lines))


def _recipe(made: Manifest, readme: str) -> Recipe:
    """What the page beside the shards says of the recipe, which may have changed since."""
    terms, citation = _TERMS.search(readme), _CITATION.search(readme)
    names = {asset.name for asset in made.assets}
    is_ready = bool(made.shards) and made.shards[0].name in names
    return Recipe(
        name=made.dataset,
        title=made.title,
        folder=made.folder,
        homepage=made.homepage,
        licence=made.licence,
        terms=terms[1] if terms else "",
        citation=citation[1] if citation else "",
        samples=SampleRule(reader="shards" if is_ready else ""),
        expect=Expect(),
    )
