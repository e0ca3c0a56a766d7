"""Packing ready shards anew: how members of foreign tars form samples, and where one shard ends.

A sample is what every WebDataset reader takes for one: neighbouring members whose names are equal up to the
first dot of the last component. Its members stay as they are and in their order; only its picture, the member
that `image_place` chooses, may be treated. Files are for steps/ready.py and steps/reshard.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from g3m.core.errors import SettingsError
from g3m.core.index import IMAGES
from g3m.core.members import Member, Refusal, basename, refuse_name
from g3m.core.plan import DatasetPlan, Task
from g3m.core.samples import KEY_LIMIT, safe_key
from g3m.core.shard import BLOCK_BYTES, NAME_LIMIT_BYTES, end_of_archive, padding

READER = "reshard"
LEAST_SHARD_BYTES = 1_000_000
_PIXEL_BYTES = 0.6
"""About what a pixel takes in a JPEG of quality 95."""

_NUMBER_ROOM = 10
_KEY = re.compile(r"[!-.0-~]{1,80}")
_ODD = re.compile(r"[^a-z0-9_.]")
_DOTS = re.compile(r"\.{2,}")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([KMGT]?)(I?)B?", re.ASCII)
_FACTORS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SIZE_HINT = (
    "write 500M or 8G (1000-based), 2GiB (1024-based), or the number of bytes; at least 1M",
    "请写成 500M、8G（按 1000 计）、2GiB（按 1024 计）或字节数；至少 1M",
)


def parse_size(text: str, name: str = "max-shard-bytes") -> int:
    """Bytes from `500M`, `8G`, `2GiB` or a number of bytes; 0 from an empty text.

    >>> parse_size("8G"), parse_size("1.5 gib"), parse_size("20000000"), parse_size("")
    (8000000000, 1610612736, 20000000, 0)
    """
    wanted = text.strip().upper()
    if not wanted:
        return 0
    found = _SIZE.fullmatch(wanted)
    if found is None or (found[3] and not found[2]):
        raise SettingsError(f"{name}: {text!r} is no size", hint=_SIZE_HINT)
    size_bytes = int(float(found[1]) * (1024 if found[3] else 1000) ** _FACTORS[found[2]])
    if size_bytes < LEAST_SHARD_BYTES:
        raise SettingsError(f"{name}: {text!r} is too small for a shard", hint=_SIZE_HINT)
    return size_bytes


@dataclass(frozen=True, slots=True)
class SourceShard:
    """One tar of the source: where it lies, a name that does not depend on that, and what it is known by.

    `stamp` is the digest that a manifest states, or else the time of its last change.
    """

    path: str
    name: str
    size_bytes: int
    changed_ns: int
    stamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReshardPlan(DatasetPlan):
    """A dataset made of ready shards. Without a limit each shard of the source gives one."""

    sources: tuple[SourceShard, ...]
    origin: str
    """What the source calls itself, for the manifest."""
    shard_samples: int = 0
    shard_limit_bytes: int = 0
    index: str = ""
    """The path of an index that describes every member of the source; empty: the tars are listed."""

    @property
    def source_bytes(self) -> int:
        return sum(source.size_bytes for source in self.sources)

    @property
    def shard_bytes(self) -> int | None:
        """What the shards take, the sizes of the source being a bound; with resizing `survey` estimates."""
        return 0 if self.treatment.resize else self.source_bytes

    @property
    def peak_bytes(self) -> int | None:
        return self.shard_bytes

    def first_tasks(self) -> tuple[Task, ...]:
        """Nothing is fetched: the source is read where it lies."""
        survey = Task(id=f"arrange/{self.name}", kind="arrange", dataset=self.name)
        return (survey, self.publish_task((survey,)))


@dataclass(frozen=True, slots=True)
class Bundle:
    """One sample of a ready shard: its new key, the number of its source, which member is the picture."""

    key: str
    source: int
    image: int
    members: tuple[tuple[str, int, int], ...]
    """Extension, offset and size in bytes, in the order in which they lie."""

    @property
    def tar_bytes(self) -> int:
        """What it takes in a shard: headers, content and padding."""
        return sum(BLOCK_BYTES + size + len(padding(size)) for _, _, size in self.members)

    def to_line(self) -> str:
        """One line of the sample list."""
        return json.dumps([self.key, self.source, self.image, self.members]) + "\n"

    @classmethod
    def from_line(cls, line: bytes) -> Bundle:
        key, source, image, members = json.loads(line)
        return cls(key, source, image, tuple((extension, at, size) for extension, at, size in members))

    def after_resizing(self, side: int) -> int:
        """About what it takes once its picture has `side` pixels; the picture may also stay as it is."""
        _, _, size_bytes = self.members[self.image]
        small = int(4 / 3 * side * side * _PIXEL_BYTES)
        return self.tar_bytes - max(size_bytes - small, 0)


@dataclass(slots=True)
class Group:
    """Neighbouring members of one key, as they are found; `problem` is a reason code."""

    name: str
    """The key with the folder in which the members lie."""
    members: list[tuple[str, Member]] = field(default_factory=list)
    problem: str = ""
    detail: str = ""


def groups(items: Iterable[Member | Refusal]) -> Iterator[Group]:
    """What the members of one tar form; a key that comes back later is a problem of the later group."""
    group: Group | None = None
    seen: set[int] = set()
    for item in items:
        name = item.name.removeprefix("./")
        last = basename(name)
        key, _, extension = last.partition(".")
        full = name[: len(name) - len(last)] + key
        if group is None or group.name != full:
            if group is not None:
                yield group
            group = Group(full)
            # Eight bytes of digest for each key: a tar of millions must not fill the memory.
            mark = int.from_bytes(blake2b(full.encode("utf-8", "replace"), digest_size=8).digest(), "big")
            if mark in seen:
                group.problem = "duplicate_key"
            seen.add(mark)
        if isinstance(item, Refusal):
            group.problem, group.detail = group.problem or item.reason, item.detail or item.name
        else:
            group.members.append((extension, item))
    if group is not None:
        yield group


def judge(group: Group) -> str:
    """The reason code for which a group is no sample, or an empty text."""
    if group.problem:
        return group.problem
    extensions = [plain_extension(extension) for extension, _ in group.members]
    if not basename(group.name) or not all(extensions):
        return "unsafe_key"
    if len(set(extensions)) < len(extensions):
        return "duplicate"
    place = image_place(extensions)
    if place < 0:
        return "missing_image"
    if not group.members[place][1].size_bytes:
        return "empty_image"
    key = plain_key(basename(group.name))
    room = max(len(key), min(len(key), KEY_LIMIT) + _NUMBER_ROOM)
    longest = max(len(extension) for extension in extensions)
    return "" if key and room + 1 + longest <= NAME_LIMIT_BYTES else "unsafe_key"


def plain_extension(extension: str) -> str:
    """The extension as a shard may hold it: `SEG.PNG` as `seg.png`, empty if nothing remains.

    >>> plain_extension("JPG"), plain_extension("left-eye.png"), plain_extension("..")
    ('jpg', 'left_eye.png', '')
    """
    return _DOTS.sub(".", _ODD.sub("_", extension.lower())).strip(".")


def plain_key(key: str) -> str:
    """The key as it is where a shard may hold it, else one that is close to it; empty if nothing remains.

    >>> plain_key("img-001(2)"), plain_key("été 7"), plain_key("é")
    ('img-001(2)', 't_7', '')
    """
    return key if _KEY.fullmatch(key) and not refuse_name(key) else safe_key(key)


def image_place(extensions: list[str]) -> int:
    """Which member is the picture: the best plain extension, else the first like `input.jpg`; -1: none.

    >>> image_place(["txt", "seg.png", "jpg"]), image_place(["a.png", "b.png"]), image_place(["cls"])
    (2, 0, -1)
    """
    plain = [(IMAGES.index(name), place) for place, name in enumerate(extensions) if name in IMAGES]
    if plain:
        return min(plain)[1]
    ends = (place for place, name in enumerate(extensions) if name.rpartition(".")[2] in IMAGES)
    return next(ends, -1)


class Partition:
    """Says which shard the next sample belongs to, and gives it a key that this shard has not yet."""

    def __init__(self, samples: int = 0, limit_bytes: int = 0) -> None:
        self._samples = samples
        self._limit_bytes = limit_bytes
        self._keys: dict[str, int] = {}
        self._bytes = 0
        self._source = -1
        self.number = -1
        self.renamed = 0

    def place(self, group: Group, source: int) -> Bundle:
        """The sample of a sound group; `number` is its shard from then on."""
        extensions = [plain_extension(extension) for extension, _ in group.members]
        members = tuple(
            (extension, member.offset, member.size_bytes)
            for extension, (_, member) in zip(extensions, group.members, strict=True)
        )
        own = basename(group.name)
        bundle = Bundle(plain_key(own), source, image_place(extensions), members)
        if self._is_full(bundle):
            self.number += 1
            self._keys, self._bytes = {}, 0
        self._source = source
        self._bytes += bundle.tar_bytes
        key = self._unused(bundle.key)
        self.renamed += key != own
        return Bundle(key, source, bundle.image, members)

    def _is_full(self, bundle: Bundle) -> bool:
        if self.number < 0:
            return True
        if not self._samples and not self._limit_bytes:
            return bundle.source != self._source
        if self._samples and len(self._keys) >= self._samples:
            return True
        size_bytes = self._bytes + bundle.tar_bytes
        return bool(self._limit_bytes) and size_bytes + len(end_of_archive(size_bytes)) > self._limit_bytes

    def _unused(self, key: str) -> str:
        """The key, or the first of `KEY_2`, `KEY_3` … that the shard has not."""
        made = key
        while made in self._keys:
            self._keys[key] += 1
            made = f"{key[:KEY_LIMIT]}_{self._keys[key]}"
        self._keys[made] = 1
        return made
