"""scan: one tar becomes the index of its samples, by its headers alone.

Samples are what core/reshard.py's `groups` forms; here is said which of them an index takes in, and under
which names. What was scanned is kept in a file beside the index that is being made, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from g3m.adapters import fsio
from g3m.adapters.session import Session
from g3m.core.errors import BadArchive, storage_error
from g3m.core.index import Index, is_field, pictures
from g3m.core.indexing import Rows, ordered
from g3m.core.members import Member, Refusal, basename
from g3m.core.reshard import Group, SourceShard, groups, image_place
from g3m.core.shard import Field
from g3m.steps.reshard import check_unchanged
from g3m.steps.survey import listed

TICK_SAMPLES = 512

_BESIDE_HINT = (
    "write the tar again with the members of a sample side by side, as after `tar --sort=name`",
    "请重新打包，使同一样本的成员相邻（例如 `tar --sort=name`）",
)
_FIELDS_HINT = (
    "a key ends at the first dot of a file's name: a key that has dots makes one sample of many",
    "键在文件名的第一个点处结束：若键中含有点，多个样本会被当作一个",
)
_RECORD = struct.Struct("<4sIII")
_MARK = b"G3MK"


@dataclass(frozen=True, slots=True)
class Scanned:
    """One tar: the index of its samples, and what is not in it; `first` is an example of each reason."""

    index: Index
    left_out: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    """Files that no reader takes for members of a sample: hidden ones, and those without an extension."""


def scan(source: SourceShard, *, is_ours: bool, session: Session, tick: Callable[[int], None]) -> Scanned:
    """Read the headers of a tar; BadArchive names the tar and the member that an index cannot describe.

    A tar of a dataset that g3m has packed gets the names of its index: the picture is `jpg`, whatever it is
    called in the tar. `tick` is told how far the scan came.
    """
    check_unchanged(source)
    left_out: dict[str, int] = {}
    first: dict[str, str] = {}
    ignored: list[str] = []
    rows = Rows()
    for number, group in enumerate(groups(_members(listed(source), ignored))):
        session.check_stop()
        fields = _our_fields(group) if is_ours else _fields(group)
        problem = _judge(group, fields, source)
        if problem:
            left_out[problem] = left_out.get(problem, 0) + 1
            first.setdefault(problem, f"{source.name}: {_example(group)}"[:300])
            continue
        try:
            rows.add(group.name, fields)
        except ValueError as error:
            raise BadArchive(f"{source.path}: {error}", hint=_FIELDS_HINT) from None
        if number % TICK_SAMPLES == 0:
            tick(fields[-1].offset)
    check_unchanged(source)
    index = Index(rows.encode(source.name, source.size_bytes))
    return Scanned(index, left_out, first, len(ignored))


def _members(items: Iterable[Member | Refusal], ignored: list[str]) -> Iterator[Member | Refusal]:
    """Those that have a key and an extension; WebDataset's own reader, too, steps over the others."""
    for item in items:
        if basename(item.name).find(".") > 0:
            yield item
        else:
            ignored.append("")


def _example(group: Group) -> str:
    """A member by which a group is found in its tar."""
    return group.members[0][1].name if group.members else group.name


def _fields(group: Group) -> list[Field]:
    return [Field(name.lower(), member.offset, member.size_bytes) for name, member in group.members]


def _our_fields(group: Group) -> list[Field]:
    found = _fields(group)
    place = image_place([one.extension for one in found])
    if place < 0:
        return found
    picture = Field("jpg", found[place].offset, found[place].size_bytes)
    return [picture, *(one for one in found if one.extension in ("json", "txt"))]


def _judge(group: Group, fields: list[Field], source: SourceShard) -> str:
    """The reason code for which a group is left out, or an empty text."""
    if group.problem == "duplicate_key" and group.members:
        # One whose members are all known already is a repetition; one that brings others was torn apart.
        extension, _ = group.members[0]
        words = f"{group.name}.{extension}: other members of this sample stand elsewhere"
        raise BadArchive(f"{source.path}: {words}", hint=_BESIDE_HINT)
    if group.problem:
        return group.problem
    extensions = [one.extension for one in fields]
    if not all(map(is_field, extensions)):
        return "unsafe_key"
    if len(set(extensions)) < len(extensions):
        return "duplicate"
    found = pictures(ordered(extensions))
    if not found:
        return "missing_image"
    return "" if fields[extensions.index(found[0])].size_bytes else "empty_image"


class Kept:
    """A file of finished scans, appended to; what a kill left half written at its end is cut off.

    Opening and writing raise NotWritable, NoSpace or StorageError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, int] = {}
        self._end = 0
        try:
            self._file = fsio.open_file(path, fsio.KEPT)
            while (body := self._read(self._end)) is not None:
                self._note(json.loads(body[0]), len(body[0]) + len(body[1]))
            fsio.truncate(self._file, self._end)
        except OSError as error:
            raise storage_error(error, path.parent) from error

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def find(self, source: SourceShard, *, is_ours: bool) -> Scanned | None:
        """What was found in this tar, if it is still the same."""
        at = self._places.get(_name(_facts(source, is_ours)))
        body = None if at is None else self._read(at)
        if body is None:
            return None
        facts = json.loads(body[0])
        return Scanned(Index(body[1]), facts["left_out"], facts["first"], facts["ignored"])

    def write(self, source: SourceShard, scanned: Scanned, *, is_ours: bool) -> None:
        """Append a finished scan."""
        facts = _facts(source, is_ours)
        facts |= {"left_out": scanned.left_out, "first": scanned.first, "ignored": scanned.ignored}
        text = json.dumps(facts).encode()
        body = text + scanned.index.data
        record = _RECORD.pack(_MARK, len(text), len(scanned.index.data), zlib.crc32(body)) + body
        try:
            fsio.write_all_at(self._file, record, self._end)
        except OSError as error:
            raise storage_error(error, self.path) from error
        self._note(facts, len(body))

    def _note(self, facts: dict[str, Any], body_bytes: int) -> None:
        self._places[_name(facts)] = self._end
        self._end += _RECORD.size + body_bytes

    def _read(self, at: int) -> tuple[bytes, bytes] | None:
        """The two parts of the record at a position, or None if no whole one stands there."""
        head = os.pread(self._file, _RECORD.size, at)
        if len(head) < _RECORD.size:
            return None
        mark, facts_bytes, index_bytes, checksum = _RECORD.unpack(head)
        if mark != _MARK:
            return None
        body = os.pread(self._file, facts_bytes + index_bytes, at + _RECORD.size)
        if len(body) < facts_bytes + index_bytes or zlib.crc32(body) != checksum:
            return None
        return body[:facts_bytes], body[facts_bytes:]


def _facts(source: SourceShard, is_ours: bool) -> dict[str, Any]:
    return {
        "name": source.name,
        "size_bytes": source.size_bytes,
        "changed_ns": source.changed_ns,
        "is_ours": is_ours,
    }


def _name(facts: dict[str, Any]) -> str:
    return json.dumps([facts[key] for key in ("name", "size_bytes", "changed_ns", "is_ours")])
