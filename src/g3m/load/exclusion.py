"""Samples that are left out: lists of keys, matched once, and numbers that skip what was matched."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Union

from g3m.core.errors import Bilingual, SettingsError
from g3m.core.listed import BadLine, Wanted, key_line
from g3m.load.folder import Folder, tail

Listed = Union[str, "os.PathLike[str]", Iterable[Union[str, "os.PathLike[str]"]]]
"""The path of a list; or keys and paths. A text among several is a path if it names a file and has a dot."""

_EXAMPLES = 10
_HINT_LIST: Bilingual = (
    'a list has a line for each sample: KEY, DATASET/KEY, or JSON with "key"; give keys themselves as a list',
    '列表每行一个样本：键、数据集/键，或含 "key" 的 JSON；直接给出键时请用 Python 列表',
)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """What lists did: entries that they have, samples that they leave out, entries that matched nothing."""

    entries: int
    samples: int
    unmatched: int
    examples: tuple[str, ...] = ()
    """The first of those that matched nothing, sorted."""


class Kept:
    """Numbers without those of the samples that are left out; it takes memory for these alone.

    >>> [Kept(6, [0, 3, 4])[place] for place in range(3)]
    [1, 2, 5]
    """

    __slots__ = ("_before", "_length", "excluded")

    def __init__(self, length: int, excluded: Iterable[int] = ()) -> None:
        self.excluded = array("Q", excluded)
        self._length = length - len(self.excluded)
        # How many kept samples stand before each that is left out.
        self._before = array("Q", (number - place for place, number in enumerate(self.excluded)))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> int:
        """The number of the sample at a place among those kept; the place must be one."""
        return place + bisect_right(self._before, place)


def exclude(
    listed: Listed | None, folders: Sequence[Folder], names: Sequence[str]
) -> tuple[tuple[Kept, ...], Exclusion | None]:
    """Which samples of each folder stay, and what became of the lists' entries; SettingsError for a bad list.

    All samples with a key of the lists are left out, and what `g3m drop` has dropped. The entries of a list
    that stands in one of the folders are for that folder only.
    """
    if listed is None:
        return tuple(Kept(len(folder), folder.dropped()) for folder in folders), None
    homes = {folder.place: name for folder, name in zip(folders, names, strict=True)}
    wanted = Wanted(_read(listed, homes))
    kept, samples = [], 0
    for folder, name in zip(folders, names, strict=True):
        # The catalog may call it by its path below the root.
        entries = wanted.of(*dict.fromkeys((name, folder.name, tail(folder.place, 2))))
        found = (
            [(number, key) for number, key in enumerate(folder.keys()) if key in entries] if entries else []
        )
        kept.append(Kept(len(folder), sorted({number for number, _ in found}.union(folder.dropped()))))
        samples += len(found)
        for key in {key for _, key in found}:
            wanted.hit(entries[key])
    left = list(wanted.unmatched())
    return tuple(kept), Exclusion(wanted.entries, samples, len(left), tuple(left[:_EXAMPLES]))


def _read(listed: Listed, homes: Mapping[str, str]) -> set[tuple[str, str]]:
    """The dataset (or an empty text) and the key of each entry."""
    entries: set[tuple[str, str]] = set()
    for item in [Path(listed)] if isinstance(listed, (str, os.PathLike)) else listed:
        if isinstance(item, str) and not ("." in os.path.basename(item) and os.path.isfile(item)):
            entries.add(("", item))
            continue
        if not isinstance(item, (str, os.PathLike)):
            raise SettingsError(f"exclude: {item!r} is neither a key nor a path", hint=_HINT_LIST)
        path = Path(item).expanduser()
        home = homes.get(os.path.abspath(path.parent), "")
        entries.update((dataset or home, key) for dataset, key in _lines(path))
    return entries


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            for number, raw in enumerate(file, 1):
                if line := raw.strip():
                    try:
                        yield key_line(line)
                    except BadLine as error:
                        raise SettingsError(f"{path}, line {number}: {error}", hint=_HINT_LIST) from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}", hint=_HINT_LIST) from None
