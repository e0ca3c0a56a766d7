"""What streaming leaves behind for the other steps: an archive that never lay on the disk whole.

    .g3m/plan/DATASET.stream        says that the dataset is streamed, and whether its archive was proved
    .g3m/parts/DATASET-SHARD.grown  a shard that grows: pictures at the places they will have in the end
    .g3m/parts/ID-0.spool           the members of a tar.gz, inflated while it came

From a zip, pictures come in the archive's order and go at once to where the finished shard has them: their
sizes are known from its directory, and everything between them from the captions. Packing then fills the
gaps. A tar.gz has no directory; its spool is packed as any other, and shrinks with every finished shard.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from g3m.adapters import fsio
from g3m.adapters.disk import read_document, remove, write_document
from g3m.adapters.session import Session
from g3m.adapters.tar import list_tar
from g3m.core.errors import BadArchive
from g3m.core.events import Event
from g3m.core.members import Member
from g3m.core.plan import DatasetPlan, Task, asset_id
from g3m.core.receipt import Arrangement, AssetReceipt
from g3m.core.recipe import Asset
from g3m.core.samples import Pick, Ref, readable
from g3m.core.shard import BLOCK_BYTES
from g3m.steps.arrangement import list_path
from g3m.steps.unfold import Holding, path_of

FORMAT = 1

Ahead = Callable[[int], Iterator[Event]]
"""Fetches what lies from an offset on, before everything else."""

LEAST_HOLE_BYTES = 2**14
"""A hole costs half a millisecond and frees whole blocks only: small pictures are not worth it."""

GROWN = "grown"
"""The kind of source whose members lie in the growing shards, see `path_of` in steps/unfold.py."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """How far the streaming of a dataset is; `proved` once the archive's digest agreed."""

    identity: str
    asset: str
    spool_bytes: int = 0
    proved: bool = False


def read_streamed(dataset: DatasetPlan, session: Session) -> Streamed | None:
    """What was streamed for this plan, or None."""
    try:
        body = json.loads(read_document(_path(dataset, session)) or "")
        if body.pop("format") != FORMAT:
            return None
        found = Streamed(**body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return found if found.identity == dataset.identity else None


def write_streamed(dataset: DatasetPlan, found: Streamed, session: Session) -> None:
    """Record how far it is."""
    write_document(_path(dataset, session), json.dumps({"format": FORMAT, **asdict(found)}) + "\n")


def is_begun(name: str, session: Session) -> bool:
    """Whether streaming of a dataset was begun: it goes on as it began, whatever the next run is told."""
    return session.store.plan(f"{name}.stream").exists()


def _path(dataset: DatasetPlan, session: Session) -> Path:
    return session.store.plan(f"{dataset.name}.stream")


def grown_path(dataset: str, shard: str, session: Session) -> Path:
    """Where a shard grows."""
    return session.store.part(f"{dataset}-{shard}.grown")


def spool_path(asset: Asset, session: Session) -> Path:
    """Where the members of a streamed tar.gz lie."""
    return session.store.part(f"{asset_id(asset)}-0.spool")


def is_whole(dataset: DatasetPlan, asset: Asset, session: Session) -> bool:
    """Whether an asset was streamed to its end and proved."""
    found = read_streamed(dataset, session)
    return found is not None and found.proved and found.asset == asset_id(asset)


def streamed_holding(dataset: DatasetPlan, asset: Asset, session: Session) -> Holding | None:
    """The members of a streamed tar.gz, or None."""
    found, spool = read_streamed(dataset, session), spool_path(asset, session)
    if found is None or not found.proved or not found.spool_bytes or found.asset != asset_id(asset):
        return None
    if not spool.is_file() or spool.stat().st_size != found.spool_bytes:
        return None
    return Holding(asset.name, f"spool:{spool.name}", spool, list_tar(spool))


def leftovers(dataset: DatasetPlan, session: Session) -> list[Path]:
    """Everything that streaming a dataset has left."""
    parts = session.store.work / "parts"
    # A glob would take those of a dataset whose name begins with this one's, too.
    own = re.compile(re.escape(dataset.name) + r"-[0-9]+\.tar\.(grown|used)")
    found = [path for path in parts.glob("*.tar.*") if own.fullmatch(path.name)]
    return [*found, *(path for path in [_path(dataset, session)] if path.exists())]


def bytes_here(dataset: DatasetPlan, session: Session) -> int:
    """How much of the disk growing shards and a streamed spool take."""
    paths = [path for path in leftovers(dataset, session) if path.suffix == ".grown"]
    if dataset.streamed is not None:
        paths.append(spool_path(dataset.streamed, session))
    return sum(512 * path.stat().st_blocks for path in paths if path.exists())


def forget_streamed(dataset: DatasetPlan, session: Session) -> None:
    """Throw away what was streamed, and first the arrangement and the spool: nobody may pack from them."""
    found = leftovers(dataset, session)
    if not found:
        return
    remove(session.store.receipt(dataset.name, "arrange"))
    images = dataset.recipe.samples.images.partition("/")[0]
    spools = [spool_path(asset, session) for asset in dataset.assets if asset.name == images]
    for path in (*spools, *(spool.with_suffix(".points") for spool in spools), *found):
        remove(path)


def grown_shard(dataset: DatasetPlan, found: Arrangement, shard: str, session: Session) -> Path | None:
    """The growing shard of a streamed dataset; None if the dataset was not streamed from a zip.

    BadArchive, and streaming forgotten, if it should be there and is not.
    """
    if not is_grown(found.sources):
        return None
    path = grown_path(dataset.name, shard, session)
    if not path.is_file():
        forget_streamed(dataset, session)
        raise BadArchive(f"{path}: the growing shard is gone; run again")
    return path


def is_grown(sources: Mapping[str, str]) -> bool:
    """Whether members of one of the sources lie in growing shards."""
    return any(where.startswith(f"{GROWN}:") for where in sources.values())


def source_path(
    where: str, task: Task, assets: dict[str, tuple[Asset, AssetReceipt]], session: Session
) -> Path:
    """The file that a source's members are read from when a shard is packed."""
    if where.startswith(f"{GROWN}:"):
        return grown_path(task.dataset, task.shard, session)
    return path_of(where, assets, session)


def shard_picks(lines: BinaryIO, count: int, sources: Mapping[str, str]) -> Iterator[Pick]:
    """The next picks of a sample list, with their pictures where they lie by now."""
    if not is_grown(sources):
        for _ in range(count):
            yield Pick.from_line(lines.readline())
        return
    for pick, place in grown_picks(lines, count):
        member, source = pick.image.member, pick.image.source
        if sources[source].startswith(f"{GROWN}:"):
            moved = Member(member.name, "raw", place, member.size_bytes, member.size_bytes, member.crc32)
            yield replace(pick, image=Ref(source, moved))
        else:
            yield pick


def release(dataset: DatasetPlan, task: Task, session: Session) -> None:
    """Give back what only a finished shard needed: its growing file, or its members in a streamed spool."""
    remove(grown_path(dataset.name, task.shard, session))
    found = read_streamed(dataset, session)
    if found is None or not found.spool_bytes:
        return
    source = dataset.recipe.samples.images.partition("/")[0]
    spool = spool_path(dataset.asset(source), session)
    write_document(_used_path(dataset, task.shard, session), "")
    shared = _shared(list_path(session, dataset.name), source)
    with ExitStack() as stack:
        lines = stack.enter_context(open(list_path(session, dataset.name), "rb"))
        file = fsio.open_file(spool, fsio.THERE)
        stack.callback(os.close, file)
        lines.seek(task.offset_bytes)
        for _ in range(task.samples):
            image = Pick.from_line(lines.readline()).image
            start, size_bytes = image.member.offset, image.member.size_bytes
            if image.source == source and size_bytes >= LEAST_HOLE_BYTES and start not in shared:
                fsio.punch(file, start, start + size_bytes)


@lru_cache(maxsize=1)
def _shared(samples: Path, source: str) -> frozenset[int]:
    """Where members of a source begin that several samples need."""
    seen: set[int] = set()
    again: set[int] = set()
    with open(samples, "rb") as lines:
        for line in lines:
            image = Pick.from_line(line).image
            if image.source == source:
                (again if image.member.offset in seen else seen).add(image.member.offset)
    return frozenset(again)


def check_unused(dataset: DatasetPlan, shard: str, session: Session) -> None:
    """BadArchive, and streaming forgotten, if a shard's members in the spool have been given back already."""
    if _used_path(dataset, shard, session).exists():
        forget_streamed(dataset, session)
        raise BadArchive(f"{dataset.name}: {shard} is gone, and so is what it was made of; run again")


def _used_path(dataset: DatasetPlan, shard: str, session: Session) -> Path:
    return session.store.part(f"{dataset.name}-{shard}.used")


def grown_picks(lines: BinaryIO, count: int) -> Iterator[tuple[Pick, int]]:
    """The next picks of a sample list, and where in the growing shard the picture of each lies.

    That is its place in the finished shard, if no sample before it is rejected or changed in size.
    """
    position = 0
    for _ in range(count):
        pick = Pick.from_line(lines.readline())
        yield pick, position + BLOCK_BYTES
        meta, text = json.dumps(pick.meta).encode(), readable(str(pick.text)).encode()
        for size in (pick.image.member.size_bytes, len(meta), len(text)):
            position += BLOCK_BYTES + size + -size % BLOCK_BYTES
