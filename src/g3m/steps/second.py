"""second: compares pictures that are alike by hash again: the originals, made small and grey by the guard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from g3m.adapters.guard import GuardFailure
from g3m.adapters.local import LocalReader
from g3m.adapters.session import Session
from g3m.core.alike import correlation
from g3m.core.catalog import Shown
from g3m.core.errors import ContentError, G3MError, NotVerified, StorageError
from g3m.core.index import Index
from g3m.steps.examine import open_index
from g3m.steps.publish import INDEX

COMPARED_LIMIT = 50_000
"""Samples that are compared a second time in one search: some minutes."""

Group = tuple[Shown, Sequence[Shown]]
"""A sample, and those that it is alike to by hash."""

_READERS = 4
"""More than there are workers in most guards, so that none waits for the disk."""


class Originals:
    """The pictures of one dataset, by number, from the shards beside its index."""

    def __init__(self, folder: Path) -> None:
        self._index: Index = open_index(folder / INDEX)
        if self._index.folder:
            raise NotVerified(f"{folder}: its {INDEX} is for shards elsewhere")
        self._reader = LocalReader(folder)

    def picture(self, row: Shown) -> bytes:
        """The bytes of a sample's picture; NotVerified if the sample is not there (any more)."""
        if not row.number < len(self._index) or self._index.key(row.number) != row.key:
            raise NotVerified(f"{row.dataset}: has no sample {row.key} at {row.number}")
        place = self._index.place(row.number)
        at = self._index.image(place)
        if at < 0:
            raise NotVerified(f"{row.dataset}: {row.key} has no picture")
        return self._reader.read(self._index.shards[place[0]], place[2 * at + 1], place[2 * at + 2])

    def close(self) -> None:
        """Close the shards."""
        self._reader.close()


class Second:
    """Makes the second comparisons of one search; a context manager that closes what it has opened."""

    def __init__(self, session: Session, folders: Mapping[str, Path]) -> None:
        self._session = session
        self._folders = folders
        self._originals: dict[str, Originals | None] = {}
        self._left = COMPARED_LIMIT

    def __enter__(self) -> Second:
        return self

    def __exit__(self, *_: object) -> None:
        for originals in self._originals.values():
            if originals is not None:
                originals.close()

    def compare(self, groups: Sequence[Group]) -> list[list[float | None]]:
        """For each sample how much it correlates with each of the others that it is alike to.

        None where a picture cannot be read or decoded, and for all groups behind the limit.
        """
        now, self._left = groups[: self._left], max(0, self._left - len(groups))
        rows = {row.id: row for mine, others in now for row in (mine, *others)}
        for name in {row.dataset for row in rows.values()}:
            self._open(name)
        with ThreadPoolExecutor(_READERS) as pool:
            greys = dict(zip(rows, pool.map(self._grey, rows.values()), strict=True))
        told: list[list[float | None]] = []
        for mine, others in now:
            grey = greys[mine.id]
            told.append([_compared(grey, greys[other.id]) for other in others])
        return told + [[None] * len(others) for _, others in groups[len(now) :]]

    def _open(self, name: str) -> None:
        if name not in self._originals:
            try:
                self._originals[name] = Originals(self._folders[name])
            except (G3MError, OSError, ValueError, KeyError):
                self._originals[name] = None

    def _grey(self, row: Shown) -> bytes | None:
        originals, guard = self._originals[row.dataset], self._session.guard
        if originals is None or guard is None or self._session.stop.is_set():
            return None
        try:
            return guard.call("grey", originals.picture(row), {}).data
        except (GuardFailure, ContentError, StorageError):
            return None


def _compared(one: bytes | None, other: bytes | None) -> float | None:
    return None if one is None or other is None else correlation(one, other)
