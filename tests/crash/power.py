"""What may lie on a disk after its power went at any moment of a recorded run.

The model is that of a disk which owes nothing but what fsync said: bytes of a file are there once a later
fsync of that file came back, a name is there once a later fsync of its folder came back. Of all the rest any
part may be there. From each moment some such parts are taken: nothing, everything, names without bytes,
bytes without names, everything but one of the last four changes, and random halves; what was lost of a file
is missing, or zeros.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.trace import (
    Change,
    Lost,
    Named,
    NewFolder,
    Removed,
    Renamed,
    Resize,
    Synced,
    SyncedFolder,
    Trace,
    Write,
    Zeros,
)

NAMES = (Named, NewFolder, Removed, Renamed)
LAST = 4
HALVES = 3

Disk = dict[str, "bytes | None"]
"""The content of each path; None is a folder."""


@dataclass(frozen=True)
class Cut:
    """The power went after so many changes; which of those that nothing covers are on the disk all the same."""

    moment: int
    kept: str
    """In words, for the message of a test."""
    lost: frozenset[int]
    zeros: bool = False


def cuts(changes: Sequence[Change], seed: int = 0) -> Iterator[Cut]:
    """Every moment of a run with each of the parts that may be there."""
    for moment in range(len(changes) + 1):
        loose = loose_changes(changes[:moment])
        names = frozenset(one for one in loose if isinstance(changes[one], NAMES))
        data = loose - names
        yield Cut(moment, "nothing more", loose)
        yield Cut(moment, "everything", frozenset())
        yield Cut(moment, "names", data)
        yield Cut(moment, "names, and zeros for bytes", data, zeros=True)
        yield Cut(moment, "bytes", names)
        for one in sorted(loose)[-LAST:]:
            yield Cut(moment, f"all but change {one}", frozenset({one}))
        chance = random.Random(f"{seed}/{moment}")
        for number in range(HALVES):
            half = frozenset(one for one in sorted(loose) if chance.random() < 0.5)
            yield Cut(moment, f"half {number}", half, zeros=chance.random() < 0.5)


def loose_changes(changes: Sequence[Change]) -> frozenset[int]:
    """The changes that no later fsync covers, by their numbers."""
    files: set[int] = set()
    folders: set[str] = set()
    loose = set()
    for number in range(len(changes) - 1, -1, -1):
        change = changes[number]
        if isinstance(change, Synced):
            files.add(change.file)
        elif isinstance(change, SyncedFolder):
            folders.add(change.path)
        elif isinstance(change, Lost):
            files.discard(change.file)
        elif isinstance(change, NAMES):
            if os.path.dirname(change.path) not in folders:
                loose.add(number)
        elif change.file not in files:
            loose.add(number)
    return frozenset(loose)


def disk_after(trace: Trace, before: Mapping[str, bytes], cut: Cut) -> Disk:
    """What lies below the root; `before` are the contents that lay there at first."""
    names: dict[str, int | None] = dict(trace.before)
    data = {file: bytearray(before[path]) for path, file in trace.before.items()}
    for path in before:
        for parent in Path(path).parents:
            if str(parent).startswith(trace.root):
                names[str(parent)] = None
    names[trace.root] = None
    for number, change in enumerate(trace.changes[: cut.moment]):
        if number not in cut.lost:
            _apply(names, data, change)
        elif cut.zeros and isinstance(change, Write):
            content = data.setdefault(change.file, bytearray())
            content.extend(bytes(max(0, change.offset + len(change.data) - len(content))))
    disk: Disk = {}
    for path, file in names.items():
        if all(names.get(str(parent), 0) is None for parent in _parents(path, trace.root)):
            disk[path] = None if file is None else bytes(data.get(file, b""))
    return disk


def _apply(names: dict[str, int | None], data: dict[int, bytearray], change: Change) -> None:
    if isinstance(change, Write):
        content = data.setdefault(change.file, bytearray())
        content.extend(bytes(max(0, change.offset - len(content))))
        content[change.offset : change.offset + len(change.data)] = change.data
    elif isinstance(change, Resize):
        content = data.setdefault(change.file, bytearray())
        if not change.only_longer:
            del content[change.size :]
        content.extend(bytes(max(0, change.size - len(content))))
    elif isinstance(change, Zeros):
        content = data.setdefault(change.file, bytearray())
        size = max(0, min(change.size, len(content) - change.offset))
        content[change.offset : change.offset + size] = bytes(size)
    elif isinstance(change, Named):
        names[change.path] = change.file
    elif isinstance(change, NewFolder):
        names[change.path] = None
    elif isinstance(change, Removed):
        names.pop(change.path, None)
    elif isinstance(change, Renamed) and change.old in names:
        for path in [one for one in names if one == change.old or one.startswith(f"{change.old}/")]:
            names[change.path + path[len(change.old) :]] = names.pop(path)


def _parents(path: str, root: str) -> Iterator[str]:
    while path != root:
        path = os.path.dirname(path)
        yield path


def lay_down(disk: Disk, recorded: str, root: Path) -> None:
    """Make a folder hold exactly such a disk."""
    shutil.rmtree(root, ignore_errors=True)
    for path, content in sorted(disk.items()):
        place = root / os.path.relpath(path, recorded)
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def states(
    trace: Trace, before: Mapping[str, bytes], keep: Callable[[Cut], bool] = lambda _: True
) -> Iterator[tuple[Cut, Disk]]:
    """Every different disk once, with the first cut that leaves it."""
    seen: set[bytes] = set()
    for cut in cuts(trace.changes):
        if not keep(cut):
            continue
        disk = disk_after(trace, before, cut)
        digest = hashlib.sha256()
        for path, content in sorted(disk.items()):
            digest.update(
                f"{path}\0{None if content is None else len(content)}\0".encode(errors="surrogateescape")
            )
            digest.update(content or b"")
        if digest.digest() not in seen:
            seen.add(digest.digest())
            yield cut, disk
