"""rewrite: shards that hold dropped samples are written anew without them, and exchanged.

    new shards in .g3m/parts, on the disk ──> the record names them (`rewriting`) ──> renamed over the old
    ──> index, receipts, tables, small files ──> manifest ──> the record says where the samples lay

From the second step on it is finished by whoever comes next (`finish`), as often as that takes. Until then
nobody reads by an index that may not fit: the loader, exports and peers look at the record first. The bytes
are those that packing gives without these samples, so that a repair gives them, too.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from g3m.adapters.disk import publish, read_document, remove
from g3m.adapters.members import MemberReader
from g3m.adapters.session import Session
from g3m.adapters.shards import ShardWriter
from g3m.adapters.tar import list_tar
from g3m.core.dropped import DROPPED, Drop, Exchange, Record
from g3m.core.errors import Bilingual, NotVerified, SettingsError, storage_error
from g3m.core.events import Event, Progressed, TaskFinished, TaskStarted
from g3m.core.members import Member, Refusal, basename
from g3m.core.pairs import unique_keys
from g3m.core.receipt import Manifest, manifest
from g3m.core.shard import ShardSummary
from g3m.steps.adopt import FIELD_OF
from g3m.steps.drop import Place, index_of
from g3m.steps.dropped import read_record
from g3m.steps.publish import MANIFEST
from g3m.steps.record import change_record, forget_in_catalogs
from g3m.steps.remade import remake
from g3m.steps.traces import remove_traces

ROUND_BYTES = 8_000_000_000
"""So much is written before it is exchanged: the disk needs room for a round, and for no more."""

Tick = Callable[[], object]

_SUFFIX = ".exchange"
_READ_BYTES = 2**20
_REPAIR_HINT: Bilingual = (
    "`g3m verify --repair` makes it again, and then without the dropped samples",
    "`g3m verify --repair` 会重做该分片，并且不含已移除的样本",
)
_FOREIGN_HINT: Bilingual = (
    "g3m did not make these shards: `g3m pack PATH --to FOLDER` makes a copy without the dropped samples",
    "这些分片不是由 g3m 生成的：`g3m pack 路径 --to 目录` 可生成不含已移除样本的副本",
)
_BUCKET_HINT: Bilingual = (
    "copy it to a disk (`aws s3 sync`), run `g3m drop --rewrite` there, and put that into an empty prefix",
    "请先把该前缀复制到磁盘（`aws s3 sync`），在其中运行 `g3m drop --rewrite`，再上传到空的前缀",
)
_ALL_HINT: Bilingual = (
    f"delete its shards, index.bin, {MANIFEST} and .g3m/receipts/DATASET; keep {DROPPED}: `get` goes by it",
    f"请删除其分片、index.bin、{MANIFEST} 和 .g3m/receipts/数据集；请保留 {DROPPED}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """What a rewriting did: shards, samples that are gone, bytes that are freed, files removed."""

    shards: int = 0
    samples: int = 0
    freed_bytes: int = 0
    removed: tuple[str, ...] = ()


def rewrite(place: Place, session: Session, tick: Tick) -> Generator[Event, None, Rewritten]:
    """Write the shards anew that hold dropped samples; the caller holds the lease of the root.

    `tick` is called again and again, for that lease.
    """
    if place.shelf is not None:
        raise SettingsError(
            f"{place.shelf.address}: shards in a bucket are not written anew", hint=_BUCKET_HINT
        )
    if place.body is None:
        raise SettingsError(f"{place.folder}: has no {MANIFEST}", hint=_FOREIGN_HINT)
    finish(place.folder, session, tick)
    body, before = _manifest(place.folder), read_record(place.folder)
    held = _held(place, before)
    samples = sum(len(keys) for keys in held.values())
    if samples == body.samples and samples:
        raise SettingsError(f"{place.name}: all of its samples were dropped", hint=_ALL_HINT)
    parts = place.store(session).work / "parts"
    for path in parts.glob(f"{body.dataset}-*{_SUFFIX}"):
        remove(path)  # of a run that ended before the record named it
    task = f"drop/{place.name}"
    wanted = [shard for shard in body.shards if shard.name in held]
    total_bytes = sum(shard.size_bytes for shard in wanted)
    if wanted:
        yield TaskStarted(task=task, kind="drop", dataset=place.name, total_bytes=total_bytes)
    done_bytes = 0
    for shards in _rounds(wanted):
        exchanges = []
        for shard in shards:
            part = parts / f"{body.dataset}-{shard.name}.{secrets.token_hex(4)}{_SUFFIX}"
            is_adopted = shard.name in {asset.name for asset in body.assets}
            source = Source(place.folder / shard.name, shard, is_adopted)
            exchanges.append(_write_anew(source, held[shard.name], part, tick))
            session.check_stop()
            done_bytes += shard.size_bytes
            yield Progressed(task=task, done_bytes=done_bytes, total_bytes=total_bytes)
        _change(place, session, {}, tuple(exchanges))
        finish(place.folder, session, tick)
    removed = remove_traces(place, body, session)
    forget_in_catalogs(place.folder, session)
    after = _manifest(place.folder)
    if wanted:
        yield TaskFinished(
            task=task, kind="drop", dataset=place.name, size_bytes=after.size_bytes, samples=after.samples
        )
    return Rewritten(
        shards=len(wanted),
        samples=body.samples - after.samples,
        freed_bytes=body.size_bytes - after.size_bytes,
        removed=removed,
    )


def finish(folder: Path, session: Session, tick: Tick) -> bool:
    """End an exchange of shards that was begun; whether there was one. Doing it twice does no harm."""
    record = read_record(folder)
    if not record.rewriting:
        return False
    body = _manifest(folder)
    place = Place(folder, body.dataset, body)
    parts = place.store(session).work / "parts"
    for exchange in record.rewriting:
        part, final = parts / exchange.part, folder / exchange.shard.name
        if part.is_file():
            publish(part, final)
    done = [one for one in record.rewriting if _sha256(folder / one.shard.name, tick) == one.shard.sha256]
    remake(place, body, done, session)
    drops = {
        key: replace(record.drops.get(key, Drop(key)), shard=one.shard.name)
        for one in done
        for key in one.keys
    }
    _change(place, session, drops, ())
    return True


def finish_all(folders: Sequence[Path], session: Session) -> None:
    """End what was begun in these folders, under the lease of the root."""
    if any(read_record(folder).rewriting for folder in folders):
        with session.store.lease() as lease:
            for folder in folders:
                finish(folder, session, lease.beat)


def _manifest(folder: Path) -> Manifest:
    body = manifest(read_document(folder / MANIFEST) or "")
    if body is None:
        raise NotVerified(f"{folder / MANIFEST}: cannot be read", hint=_REPAIR_HINT)
    return body


def _held(place: Place, record: Record) -> dict[str, set[str]]:
    """The dropped keys that each shard still holds, by its name."""
    index = index_of(place)
    numbers, held = record.numbers(index.keys()), dict[str, set[str]]()
    for number in numbers:
        held.setdefault(index.shards[index.place(number)[0]], set()).add(index.key(number))
    return held


def _rounds(shards: Sequence[ShardSummary]) -> Iterator[list[ShardSummary]]:
    found: list[ShardSummary] = []
    for shard in shards:
        if found and sum(one.size_bytes for one in found) + shard.size_bytes > ROUND_BYTES:
            yield found
            found = []
        found.append(shard)
    if found:
        yield found


def _change(place: Place, session: Session, drops: dict[str, Drop], exchanges: tuple[Exchange, ...]) -> None:
    """Write the record anew; what somebody dropped meanwhile stays in it."""
    change_record(place.folder, lambda record: Record(dict(record.drops) | drops, exchanges), session)


@dataclass(frozen=True, slots=True)
class Source:
    """A shard to be written anew: where it lies, what the manifest says of it, if a publisher packed it."""

    path: Path
    shard: ShardSummary
    is_adopted: bool


def _write_anew(source: Source, keys: set[str], part: Path, tick: Tick) -> Exchange:
    """The shard without the samples of these keys, as a file of its own; NotVerified if it is damaged."""
    if _sha256(source.path, tick) != source.shard.sha256:
        raise NotVerified(f"{source.path}: is not as the manifest says", hint=_REPAIR_HINT)
    groups = [(key, found) for key, found in _groups(source.path) if key.removeprefix("./") not in keys]
    with MemberReader(source.path) as reader, ShardWriter(part) as writer:
        if source.is_adopted:  # as steps/adopt.py does it
            groups = [(key, _of_layout(members)) for key, members in groups]
            groups = [(key, members) for key, members in groups if members]
            names = list(unique_keys(basename(key) for key, _ in groups))
        else:
            names = [key for key, _ in groups]
        for key, (_, members) in zip(names, groups, strict=True):
            writer.add(key, [(extension, reader.read(member)) for extension, member in members])
            tick()
        made = writer.close()
    summary = ShardSummary(source.shard.name, made.samples, made.size_bytes, made.sha256)
    return Exchange(summary, part.name, tuple(sorted(keys)))


Members = list[tuple[str, Member]]


def _groups(path: Path) -> Iterator[tuple[str, Members]]:
    """Neighbours of one key, up to the first dot of the last part of the name."""
    before, members = None, Members()
    for item in list_tar(path):
        if isinstance(item, Refusal):
            continue
        name = basename(item.name)
        key, _, extension = name.partition(".")
        key = item.name[: len(item.name) - len(name)] + key
        if key != before and before is not None:
            yield before, members
            members = []
        before = key
        members.append((extension, item))
    if before is not None:
        yield before, members


def _of_layout(members: Members) -> Members:
    """Picture, json and text under the names that the layout has for them, in its order."""
    named = {FIELD_OF[extension.lower()]: one for extension, one in members if extension.lower() in FIELD_OF}
    return [(name, named[name]) for name in ("jpg", "json", "txt") if name in named]


def _sha256(path: Path, tick: Tick) -> str:
    """The digest of a file, empty if there is none."""
    found = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while data := file.read(_READ_BYTES):
                found.update(data)
                tick()
    except FileNotFoundError:
        return ""
    except OSError as error:  # not taken for another file: an exchange would be given up
        raise storage_error(error, path) from error
    return found.hexdigest()
