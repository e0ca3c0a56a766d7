"""Reads shards that lie behind HTTP(S) or in S3, range by range, with a bounded cache on the local disk.

Only here: what is asked for, what is kept, and who waits for whom. Requests are made by adapters/ranges.py,
files of the cache by adapters/cache.py (like session.py, this module opens other adapters and stands outside
their independence); what may be believed is core/remote.py. Nothing is signed and no token is sent.

A reader may be shared by threads, survives a fork (the child opens its own connections) and can be pickled.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from g3m.adapters.cache import BlockCache
from g3m.adapters.curl import HttpOptions
from g3m.adapters.http import Http
from g3m.adapters.ranges import Ranges
from g3m.core.blocks import BLOCK_BYTES, Piece, extent, name_of, pieces, runs
from g3m.core.errors import Missing, NotVerified, Refused
from g3m.core.proxies import find_ways
from g3m.core.receipt import manifest
from g3m.core.remote import (
    MISSING,
    Version,
    accept,
    compare,
    file_address,
    first_look,
    folder_address,
    parse_size,
)
from g3m.core.resume import Answer
from g3m.core.retry import Policy
from g3m.core.secrets import mask

LIMIT_BYTES = 20 * 10**9
STALL_TIMEOUT_S = 30.0
REQUEST_BYTES = 8 * 2**20
"""More than this is asked for in several requests, so that a broken one costs little."""

POLICY = Policy(empty_attempts=8)
_USER_AGENT = "g3m/0.1 (reads shards)"


@dataclass(slots=True)
class _Flight:
    """A block that some thread is fetching; others wait for it."""

    landed: Event = field(default_factory=Event)
    data: bytes | None = None


@dataclass(slots=True)
class _Live:
    """What belongs to one process: connections, what was learnt of each file, blocks under way."""

    ranges: Ranges
    lock: Lock = field(default_factory=Lock)
    versions: dict[str, Version] = field(default_factory=dict)
    looking: dict[str, Lock] = field(default_factory=dict)
    flights: dict[str, _Flight] = field(default_factory=dict)
    planned: Mapping[str, int] | None = None


class RemoteReader:
    """The files of one remote folder by ranges of bytes.

    `url` is https://HOST/PATH/, http://HOST/PATH/ or s3://BUCKET/PATH/. Blocks are kept in `cache` (by
    default G3M_CACHE, else the user's cache folder), `limit_bytes` of them at most (by default
    G3M_CACHE_LIMIT, else 20 GB); with a limit of 0 nothing is kept and exactly what is asked for is fetched.
    A shard must have the size that `sizes` says, or without it the folder's manifest.
    """

    def __init__(
        self,
        url: str,
        *,
        cache: Path | None = None,
        limit_bytes: int | None = None,
        sizes: Mapping[str, int] | None = None,
        block_bytes: int = BLOCK_BYTES,
        policy: Policy = POLICY,
    ) -> None:
        self.folder = folder_address(url, os.environ)
        self.cache = _open_cache(cache, limit_bytes)
        self._bucket = url.startswith("s3://")
        self._block_bytes = block_bytes
        self._policy = policy
        self._sizes = None if sizes is None else dict(sizes)
        self._lives: dict[int, _Live] = {}

    def __repr__(self) -> str:
        return f"<g3m remote reader of {mask(self.folder)}>"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_lives": {}}

    @property
    def fetched_bytes(self) -> int:
        """How many bytes of bodies came over the network in this process, also those thrown away."""
        return self._live().ranges.fetched_bytes

    @property
    def requests(self) -> int:
        """How many requests this process sent."""
        return self._live().ranges.requests

    def read(self, shard: str, offset: int, size_bytes: int) -> bytes:
        """Bytes of a shard from `offset` on: as many as asked for.

        Raises NotVerified if the shard is not there, ends before, has another size than the manifest says or
        changed on the server, and SourceError if it cannot be had.
        """
        live = self._live()
        version = live.versions.get(shard) or self._learn(live, shard)
        return self._read(live, file_address(self.folder, shard), version, (offset, offset + size_bytes))

    def document(self, name: str) -> bytes | None:
        """A file of the folder whole, as it is now on the server, or None if it is not there."""
        live = self._live()
        try:
            version = self._look(live, name)
        except Missing:
            return None
        return self._read(live, file_address(self.folder, name), version, (0, version.size_bytes))

    def close(self) -> None:
        """Close this process's connections and forget what was learnt; reading again opens new ones."""
        self._lives.pop(os.getpid(), None)

    def _live(self) -> _Live:
        """What belongs to this process: after a fork nothing that libcurl holds may be touched."""
        pid = os.getpid()
        live = self._lives.get(pid)
        if live is not None:
            return live
        for other in list(self._lives):
            # Freed here, the parent's connections would say goodbye to their servers in its name.
            inherited = self._lives.pop(other, None)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(inherited))
        options = HttpOptions(
            user_agent=_USER_AGENT, stall_timeout_s=STALL_TIMEOUT_S, variables=dict(os.environ)
        )
        ways = find_ways([], no_proxy=False, variables=os.environ)
        return self._lives.setdefault(pid, _Live(Ranges(Http(options, ways), self._policy)))

    def _learn(self, live: _Live, shard: str) -> Version:
        """Size and validator of a shard: asked for once, and compared with the manifest."""
        with live.lock:
            looking = live.looking.setdefault(shard, Lock())
        with looking:
            if shard not in live.versions:
                address = file_address(self.folder, shard)
                try:
                    version = self._look(live, shard)
                except Missing as error:
                    raise NotVerified(error.message, hint=MISSING) from error
                planned = self._planned(live) if self._sizes is None else self._sizes
                compare(address, version, planned.get(shard))
                live.versions[shard] = version
            return live.versions[shard]

    def _look(self, live: _Live, name: str) -> Version:
        """Ask for the first byte: the answer names size and validator, and shows that ranges work."""
        address = file_address(self.folder, name)
        found: list[Version] = []

        def check(answer: Answer, _came: int) -> int:
            found.append(first_look(address, answer, bucket=self._bucket))
            return 1 if found[-1].size_bytes else 0

        live.ranges.fetch(address, (0, 1), check)
        return found[-1]

    def _planned(self, live: _Live) -> Mapping[str, int]:
        """The sizes of the shards by the folder's manifest; nothing where there is none to be read."""
        with live.lock:
            looking = live.looking.setdefault("", Lock())
        with looking:
            if live.planned is None:
                try:
                    text = self.document("manifest.json")
                except Refused:  # what S3 says of an object that is missing
                    text = None
                body = manifest(text.decode("utf-8", "replace")) if text else None
                live.planned = {shard.name: shard.size_bytes for shard in body.shards} if body else {}
            return live.planned

    def _read(self, live: _Live, address: str, version: Version, span: tuple[int, int]) -> bytes:
        start, end = span
        if not 0 <= start <= end <= version.size_bytes:
            raise NotVerified(
                f"{mask(address)}: is cut: wanted are bytes {start} to {end}, it has {version.size_bytes}"
            )
        source = _Source(live, address, version)
        # Without a validator nobody could tell an old block from a new one.
        if not version.validator or self.cache.limit_bytes <= 0:
            return self._range(source, span)
        wanted = pieces(start, end - start, self._block_bytes)
        found = {piece.number: self._kept(source, piece) for piece in wanted}
        missing = [number for number, data in found.items() if data is None]
        if missing and not self.cache.usable:
            return self._range(source, span)
        fetched = self._blocks(source, missing) if missing else {}
        return b"".join(
            found[piece.number] or fetched[piece.number][piece.start : piece.end] for piece in wanted
        )

    def _range(self, source: _Source, span: tuple[int, int]) -> bytes:
        """Bytes from the server, in requests of a bounded size."""
        parts = []
        for start in range(span[0], span[1], REQUEST_BYTES):
            end = min(start + REQUEST_BYTES, span[1])

            def check(answer: Answer, came: int, start: int = start, end: int = end) -> int:
                rest = (start + came, end)
                accept(source.address, rest, answer, source.version, bucket=self._bucket)
                return rest[1] - rest[0]

            parts.append(source.live.ranges.fetch(source.address, (start, end), check))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _blocks(self, source: _Source, numbers: Iterable[int]) -> dict[int, bytes]:
        """Whole blocks: those that another thread is fetching are waited for, the others are fetched."""
        live, names = source.live, {number: self._name(source, number) for number in numbers}
        mine: dict[int, _Flight] = {}
        theirs: dict[int, _Flight] = {}
        with live.lock:
            for number, name in names.items():
                flight = live.flights.get(name)
                if flight is None:
                    mine[number] = live.flights[name] = _Flight()
                else:
                    theirs[number] = flight
        try:
            self._fill(source, mine)
        finally:
            with live.lock:
                for number, flight in mine.items():
                    del live.flights[names[number]]
                    flight.landed.set()
        found: dict[int, bytes] = {}
        for number, flight in (mine | theirs).items():
            flight.landed.wait()
            # Whoever was waited for may have had no luck: then the error shall be one's own.
            found[number] = (
                self._range(source, self._extent(source, number)) if flight.data is None else flight.data
            )
        return found

    def _fill(self, source: _Source, mine: Mapping[int, _Flight]) -> None:
        """Fetch blocks, neighbours in one request, and keep them."""
        missing = []
        for number, flight in mine.items():
            # It may have come between looking into the cache and saying that it is on its way.
            start, end = self._extent(source, number)
            flight.data = self._kept(source, Piece(number, 0, end - start))
            if flight.data is None:
                missing.append(number)
        for first, last in runs(missing, max(1, REQUEST_BYTES // self._block_bytes)):
            low = self._extent(source, first)[0]
            data = self._range(source, (low, self._extent(source, last - 1)[1]))
            for number in range(first, last):
                start, end = self._extent(source, number)
                block = data[start - low : end - low]
                mine[number].data = block
                self.cache.put(self._name(source, number), block)

    def _kept(self, source: _Source, piece: Piece) -> bytes | None:
        start, end = self._extent(source, piece.number)
        return self.cache.get(self._name(source, piece.number), end - start, piece.start, piece.end)

    def _extent(self, source: _Source, number: int) -> tuple[int, int]:
        return extent(number, source.version.size_bytes, self._block_bytes)

    def _name(self, source: _Source, number: int) -> str:
        version = source.version
        return name_of(source.address, version.validator, version.size_bytes, (self._block_bytes, number))


@dataclass(frozen=True, slots=True)
class _Source:
    """One version of one file, and the connections to it."""

    live: _Live
    address: str
    version: Version


def _open_cache(folder: Path | None, limit_bytes: int | None) -> BlockCache:
    """The cache that was asked for, else the one of the variables, else the user's."""
    if limit_bytes is None:
        limit = os.environ.get("G3M_CACHE_LIMIT")
        limit_bytes = parse_size(limit, "G3M_CACHE_LIMIT") if limit else LIMIT_BYTES
    if folder is None:
        if os.environ.get("G3M_CACHE"):
            folder = Path(os.environ["G3M_CACHE"]).expanduser() / "shards"
        else:
            import platformdirs

            folder = Path(platformdirs.user_cache_dir("g3m")) / "shards"
    return BlockCache(folder, limit_bytes)
