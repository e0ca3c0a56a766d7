"""growing: members of a zip go to where the finished shards will have them, in whatever order they come.

The zip's directory is fetched first; with the captions it says where in which shard each picture will lie.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from g3m.adapters import fsio
from g3m.adapters.members import MemberReader
from g3m.adapters.parts import Part
from g3m.adapters.session import Session
from g3m.adapters.zip import directory_offset, list_zip
from g3m.core.errors import BadArchive, storage_error
from g3m.core.events import Event
from g3m.core.members import Member
from g3m.core.plan import DatasetPlan, asset_id, window_bytes
from g3m.core.receipt import PlannedShard
from g3m.core.recipe import Asset
from g3m.steps.arrange import arrange_anew
from g3m.steps.arrangement import list_path, read_arrangement
from g3m.steps.streamed import GROWN, Ahead, grown_path, grown_picks, is_grown
from g3m.steps.unfold import Holding

TAIL_BYTES = 2**17
"""Enough for the end record and the longest comment; the directory before it is asked for by name."""

KEPT_BYTES = 0
STEPS_IN_WINDOW = 4
OPEN_FILES = 64
WAIT_S = 0.2


class Growing:
    """Takes the members of a zip out, and puts them where they belong."""

    spool_bytes = 0

    def __init__(self, dataset: DatasetPlan, asset: Asset, part: Part, session: Session) -> None:
        self._dataset, self._asset, self._part, self._session = dataset, asset, part, session
        self._files: OrderedDict[str, int] = OrderedDict()
        self._items: list[tuple[Member, int]] = []
        self._wanted: dict[int, list[tuple[str, int]]] = {}
        self.least_window_bytes = 0

    def intact(self) -> bool:
        """Whether everything that was taken out is still there."""
        found = read_arrangement(self._dataset, self._session)
        if found is None or not is_grown(found.sources):
            return False
        return all(self._path(shard.name).is_file() for shard in found.shards)

    def prepare(self, ahead: Ahead) -> Iterator[Event]:
        """Fetch the directory, arrange the samples, and learn where each picture goes."""
        size_bytes = self._asset.size_bytes or 0
        tail = max(0, size_bytes - TAIL_BYTES)
        yield from self._fetch(ahead, tail)
        start = directory_offset(self._part.path)
        yield from self._fetch(ahead, min(start, tail))
        members = list(list_zip(self._part.path))
        where = f"{GROWN}:{asset_id(self._asset)}"
        holding = Holding(self._asset.name, where, self._part.path, iter(members))
        found = arrange_anew(self._dataset, self._session, {self._asset.name: holding})
        self._place(found.shards)
        plain = [item for item in members if isinstance(item, Member)]
        ends = [*(member.offset for member in plain[1:]), start]
        self._items = list(zip(plain, ends, strict=True))
        extents = (end - before for before, end in pairwise([0, *(end for _, end in self._items)]))
        self.least_window_bytes = STEPS_IN_WINDOW * max(extents, default=0)

    def _fetch(self, ahead: Ahead, start: int) -> Iterator[Event]:
        if not self._part.claimed().covers(start, self._asset.size_bytes or 0):
            yield from ahead(start)
            self._part.flush()

    def _place(self, shards: tuple[PlannedShard, ...]) -> None:
        """Where each member goes; every shard that is not finished has its file from now on."""
        with open(list_path(self._session, self._dataset.name), "rb") as lines:
            for shard in shards:
                path = self._path(shard.name)
                if not path.exists():
                    self._open(shard.name)
                self._session.check_stop()
                lines.seek(shard.offset_bytes)
                for pick, place in grown_picks(lines, shard.samples):
                    if pick.image.source == self._asset.name:
                        self._wanted.setdefault(pick.image.member.offset, []).append((shard.name, place))

    def follow(self, stopping: Callable[[], bool], drop: Callable[[int, int], None]) -> None:
        """Take out one member after the other as the front passes it; `drop` what is used up and synced."""
        part, window = self._part, window_bytes(self._asset.size_bytes or 0)
        step = max(self.least_window_bytes, window) // STEPS_IN_WINDOW
        with MemberReader(part.path) as reader:
            for member, end in self._items:
                if end <= part.dropped:
                    continue
                while not part.wait_front(end, WAIT_S):
                    if stopping():
                        return
                self._take(member, reader)
                if end - part.dropped >= step:
                    self.sync()
                    drop(end, KEPT_BYTES)

    def _take(self, member: Member, reader: MemberReader) -> None:
        places = self._wanted.get(member.offset, ())
        if not places:
            return
        try:
            data = reader.read(member)
        except BadArchive:
            return  # its place stays empty: packing finds that out by the checksum, and says so
        for shard, place in places:
            try:
                fsio.write_all_at(self._open(shard), data, place)
            except OSError as error:
                raise storage_error(error, self._path(shard)) from error

    def _open(self, shard: str) -> int:
        file = self._files.get(shard, -1)
        if file < 0:
            if len(self._files) >= OPEN_FILES:
                _, oldest = self._files.popitem(last=False)
                fsio.sync_data(oldest)
                os.close(oldest)
            try:
                file = fsio.open_file(self._path(shard), fsio.KEPT)
            except OSError as error:
                raise storage_error(error, self._path(shard)) from error
            self._files[shard] = file
        self._files.move_to_end(shard)
        return file

    def _path(self, shard: str) -> Path:
        return grown_path(self._dataset.name, shard, self._session)

    def sync(self) -> None:
        """Put everything that was taken out on the disk."""
        for shard, file in self._files.items():
            try:
                fsio.sync_data(file)
            except OSError as error:
                raise storage_error(error, self._path(shard)) from error

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.popitem()[1])
