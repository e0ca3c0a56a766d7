"""traces: what below `.g3m` still holds pictures or words of samples that were dropped and rewritten.

Archives and spools that were kept, lists of samples with their captions, rows that were asked for again. All
of it can be fetched or made again, and is then read without these samples. A copy of the user's own, such
as the lists of a gathered dataset or what --from names, is not touched.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from g3m.adapters.disk import remove, write_document
from g3m.adapters.session import Session
from g3m.core.gathering import READER
from g3m.core.receipt import Manifest
from g3m.steps.again import AgainShard, again_shards, write_again
from g3m.steps.dropped import read_record
from g3m.steps.ledger import FILE as VERIFIED
from g3m.steps.ready import FORM
from g3m.steps.remade import blank_rows

if TYPE_CHECKING:
    from g3m.steps.drop import Place

_PARTS = (".whole", ".part", ".journal", ".spool", ".points")


def remove_traces(place: Place, body: Manifest, session: Session) -> tuple[str, ...]:
    """Remove them; the names of downloads that went."""
    record, store = read_record(place.folder), place.store(session)
    if not record:
        return ()
    removed = []
    for path in _downloads(body, store.work / "parts"):
        removed.append(path.name)
        remove(path)
    for path in [*_working(body, store.work / "parts"), *_half_written(place.folder, store.work)]:
        remove(path)
    remove(store.plan(f"{body.dataset}.kept"))
    remove(store.work / VERIFIED)
    if body.form == READER:
        _blank(place, body, record.drops.keys(), session)
    elif not body.form.startswith(FORM):  # that of `g3m pack` names places only
        remove(store.plan(f"{body.dataset}.samples"))
    return tuple(removed)


def _downloads(body: Manifest, parts: Path) -> Iterator[Path]:
    """Everything that was fetched of the dataset's assets, or was made of one on the way."""
    for asset in body.assets:
        yield from sorted(path for path in parts.glob(f"{asset.id}-*") if path.suffix in _PARTS)


def _working(body: Manifest, parts: Path) -> Iterator[Path]:
    """What was made of its shards on the way, and nothing of a dataset whose name begins like this one's."""
    own = re.compile(re.escape(body.dataset) + r"-(.+?\.tar)\.(?:.*\.)?(?:grown|used|making|exchange)")
    names = {shard.name for shard in body.shards}
    for path in parts.glob(f"{body.dataset}-*"):
        found = own.fullmatch(path.name)
        if found and found[1] in names:
            yield path


def _half_written(folder: Path, work: Path) -> Iterator[Path]:
    """Documents of runs that were killed; those of locks may be another's of this moment."""
    found = [*folder.glob(".*.tmp"), *work.rglob("*.tmp")]
    yield from (path for path in found if ".lock" not in path.name)


def _blank(place: Place, body: Manifest, keys: Collection[str], session: Session) -> None:
    """Take addresses and captions of dropped rows out of the tables, also where an earlier try stands."""
    numbers: set[int] = set()
    for shard in body.shards:
        stem = shard.name.removesuffix(".tar")
        own = {key for key in keys if key.startswith(stem)}
        if own:
            numbers |= blank_rows(place.folder / shard.name, own)
    work = replace(session, store=place.store(session), shelf=None)
    retried = again_shards(body.dataset, body.identity, work)
    if not retried or not numbers:
        return
    for shard in body.shards:
        blank_rows(place.folder / shard.name, (), numbers)
    kept = {one.file for one in _blank_again(body, retried, numbers, work)}
    for path in work.store.plan("x").parent.glob(f"{body.dataset}.again-*.jsonl"):
        if path.name not in kept:  # also those that a killed run had written anew
            remove(path)


def _blank_again(
    body: Manifest, retried: Sequence[AgainShard], numbers: Collection[int], session: Session
) -> Sequence[AgainShard]:
    """Write the rows of retries anew under another name, then the plan that names them; gives what it has."""
    files = list(dict.fromkeys(shard.file for shard in retried))
    made: list[AgainShard] = []
    for file in files:
        data = session.store.plan(file).read_bytes()
        pieces, offset = [], 0
        for shard in (one for one in retried if one.file == file):
            lines = data[shard.offset_bytes : shard.offset_bytes + shard.size_bytes].splitlines()
            piece = b"".join(_blanked(line, numbers) for line in lines)
            check = zlib.crc32(piece)
            made.append(replace(shard, offset_bytes=offset, size_bytes=len(piece), check=check))
            pieces.append(piece)
            offset += len(piece)
        whole = b"".join(pieces)
        if whole == data:
            continue
        name = f"{file.partition('.jsonl')[0]}.{zlib.crc32(whole):08x}.jsonl"
        write_document(session.store.plan(name), whole)
        made = [replace(one, file=name) if one.file == file else one for one in made]
    if [one.file for one in made] != [one.file for one in retried]:
        write_again(body.dataset, body.identity, made, session)
    return made


def _blanked(line: bytes, numbers: Collection[int]) -> bytes:
    number, *rest, reason = json.loads(line)
    if number not in numbers:
        return line + b"\n"
    del rest
    return json.dumps([number, "", "", "", {}, reason]).encode() + b"\n"
