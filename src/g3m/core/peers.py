"""The list that `g3m share` shows and `--peer` reads: what a machine has, and which bytes of it.

Here: the document, how strictly it is read, and how the address of a peer is shown. The list is a
stranger's word. Addresses are made from ids and names by rule and never taken from it, and the bytes
are proved by the plan's digests. The last part of a peer's address is a secret: what is shown of one
is its scheme and host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from g3m.core.digest import Digest
from g3m.core.errors import SettingsError
from g3m.core.secrets import host_of
from g3m.core.spans import Spans

FORMAT = 1
KIND = "g3m share"
LISTING_LIMIT_BYTES = 32 * 2**20
ASSETS_LIMIT = 100_000
DATASETS_LIMIT = 1_000
SHARDS_LIMIT = 100_000
FILES_LIMIT = 100
RANGES_LIMIT = 4_096
SIZE_LIMIT_BYTES = 2**53
"""More than any file has; up to here every reader of JSON understands the number."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_DATASET = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_ID = re.compile(r"[0-9a-f]{16}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HINT = (
    "give the address that `g3m share` printed, such as http://HOST:8318/TOKEN/",
    "请使用 `g3m share` 打印的地址，例如 http://HOST:8318/TOKEN/",
)

Range = tuple[int, int]
"""The first byte, and the byte behind the last."""

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAsset:
    """A file of a plan: whole (`ranges` is None), or only so much of it."""

    id: str
    name: str
    size_bytes: int
    digest: Digest
    ranges: tuple[Range, ...] | None = None

    @property
    def path(self) -> str:
        """Where it is below a peer's address."""
        return f"assets/{self.id}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """A finished shard (`samples` says how many are in it), or a small file beside the shards (0)."""

    name: str
    size_bytes: int
    sha256: str
    samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDataset:
    """A published dataset: the identity of its plan, its shards in order, the small files."""

    name: str
    identity: str
    shards: tuple[SharedFile, ...]
    files: tuple[SharedFile, ...]

    def path(self, file: str) -> str:
        """Where a shard or a small file is below a peer's address."""
        return f"datasets/{self.name}/{file}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Everything that a machine shares at one moment."""

    assets: tuple[SharedAsset, ...] = ()
    datasets: tuple[SharedDataset, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether something in it is still growing."""
        return any(asset.ranges is not None for asset in self.assets)


@dataclass(frozen=True, slots=True)
class PeerPlace:
    """An asset at a peer, and the way on which the peer answered (a proxy, or empty: direct).

    The address holds the token: only `place` is for people and records.
    """

    url: str = field(repr=False)
    ranges: tuple[Range, ...] | None = None
    way: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        return host_of(self.url)


def may_be_shared(name: str) -> bool:
    """Whether a file name can stand in a list and in an address as it is."""
    return _NAME.fullmatch(name) is not None


def merge_ranges(ranges: Iterable[Range], size_bytes: int) -> tuple[Range, ...]:
    """The ranges in order, joined where they touch, within the size; the largest if there are too many.

    >>> merge_ranges([(4, 8), (0, 4), (10, 30)], 20)
    ((0, 8), (10, 20))
    """
    merged = list(Spans((max(start, 0), min(end, size_bytes)) for start, end in ranges))
    if len(merged) > RANGES_LIMIT:
        merged = sorted(sorted(merged, key=lambda one: one[0] - one[1])[:RANGES_LIMIT])
    return tuple(merged)


def holds(ranges: Sequence[Range] | None, start: int, end: int) -> bool:
    """Whether all bytes from `start` up to `end` are among the ranges; None stands for the whole."""
    return ranges is None or any(first <= start and end <= last for first, last in ranges)


def build(listing: Listing) -> str:
    """The list as JSON; ends with a newline."""
    assets = [
        {
            "id": asset.id,
            "name": asset.name,
            "size_bytes": asset.size_bytes,
            "digest": str(asset.digest),
            "path": asset.path,
            "ranges": None if asset.ranges is None else [list(one) for one in asset.ranges],
        }
        for asset in listing.assets
    ]
    datasets = [
        {
            "name": dataset.name,
            "identity": dataset.identity,
            "shards": [_file_body(dataset, shard) for shard in dataset.shards],
            "files": [_file_body(dataset, file) for file in dataset.files],
        }
        for dataset in listing.datasets
    ]
    return json.dumps({"format": FORMAT, "kind": KIND, "assets": assets, "datasets": datasets}) + "\n"


def _file_body(dataset: SharedDataset, file: SharedFile) -> dict[str, Any]:
    facts = {"name": file.name, "size_bytes": file.size_bytes, "sha256": file.sha256}
    return {**facts, "samples": file.samples, "path": dataset.path(file.name)}


def parse(text: str | bytes) -> Listing:
    """Read a peer's list; ValueError says in a few plain words what is wrong with it."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(body, dict) or body.get("kind") != KIND:
        raise ValueError("it is no list of `g3m share`")
    if body.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}: another version of g3m made it")
    listing = Listing(
        assets=_all(body, "assets", ASSETS_LIMIT, _asset),
        datasets=_all(body, "datasets", DATASETS_LIMIT, _dataset),
    )
    if sum(len(dataset.shards) for dataset in listing.datasets) > SHARDS_LIMIT:
        raise ValueError(f"it names more than {SHARDS_LIMIT} shards")
    return listing


def _all(
    body: Mapping[str, Any], key: str, limit: int, read: Callable[[Mapping[str, Any]], Made]
) -> tuple[Made, ...]:
    items = body.get(key)
    if not isinstance(items, list) or len(items) > limit:
        raise ValueError(f"{key}: not a list of at most {limit}")
    if not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{key}: not a list of objects")
    return tuple(read(item) for item in items)


def _asset(body: Mapping[str, Any]) -> SharedAsset:
    size_bytes, ranges = _whole(body, "size_bytes"), body.get("ranges")
    return SharedAsset(
        id=_text(body, "id", _ID),
        name=_text(body, "name", _NAME),
        size_bytes=size_bytes,
        digest=_digest(body),
        ranges=None if ranges is None else _ranges(ranges, size_bytes),
    )


def _dataset(body: Mapping[str, Any]) -> SharedDataset:
    return SharedDataset(
        name=_text(body, "name", _DATASET),
        identity=_text(body, "identity", _SHA256),
        shards=_all(body, "shards", SHARDS_LIMIT, _file),
        files=_all(body, "files", FILES_LIMIT, _file),
    )


def _file(body: Mapping[str, Any]) -> SharedFile:
    return SharedFile(
        name=_text(body, "name", _NAME),
        size_bytes=_whole(body, "size_bytes"),
        sha256=_text(body, "sha256", _SHA256),
        samples=_whole(body, "samples"),
    )


def _text(body: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{key}: does not fit {pattern.pattern}")
    return value


def _whole(body: Mapping[str, Any], key: str) -> int:
    value = body.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= SIZE_LIMIT_BYTES:
        raise ValueError(f"{key}: no number from 0 to 2^53")
    return value


def _digest(body: Mapping[str, Any]) -> Digest:
    value = body.get("digest")
    if not isinstance(value, str):
        raise ValueError("digest: no text")
    try:
        return Digest.parse(value)
    except ValueError:
        raise ValueError("digest: not ALGORITHM:HEX") from None


def _ranges(value: Any, size_bytes: int) -> tuple[Range, ...]:
    if not isinstance(value, list) or len(value) > RANGES_LIMIT:
        raise ValueError(f"ranges: not a list of at most {RANGES_LIMIT}")
    found: list[Range] = []
    reached = -1
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(number) is int for number in pair):
            raise ValueError("ranges: not pairs of numbers")
        start, end = pair
        if not reached < start < end <= size_bytes:
            raise ValueError("ranges: not in order within the file")
        found.append((start, end))
        reached = end
    return tuple(found)


def peer_address(text: str) -> str:
    """The address of a peer with its closing slash; SettingsError, without the token, if it is none."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or not parts.path.strip("/") or not text.isascii():
        raise SettingsError("--peer: an address that cannot be used", hint=_HINT)
    if parts.username is not None or any(letter.isspace() for letter in text):
        raise SettingsError(f"--peer: {host_of(text)}: an address without a login is needed", hint=_HINT)
    return text if text.endswith("/") else f"{text}/"


def shown(address: str) -> str:
    """A peer's address for people: the path, in which the token is, left out.

    >>> shown("http://box:8318/0123456789abcdef/assets/1/a.zip")
    'http://box:8318/***/'
    """
    scheme = address.partition("://")[0]
    return f"{scheme}://{host_of(address)}/***/" if scheme in ("http", "https") else "(unreadable address)"


def scrub(text: str, address: str) -> str:
    """A message with every part of a peer's path that may be its token blotted out.

    >>> scrub("http://box/t0ken-t0ken/assets/x: HTTP 500", "http://box/t0ken-t0ken/")
    'http://box/***/assets/x: HTTP 500'
    """
    try:
        secrets = urlsplit(address).path.split("/")
    except ValueError:
        return "(unreadable address)"
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
