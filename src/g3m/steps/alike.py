"""alike: notes in the catalog which samples have the same picture, or nearly, from their digests and hashes.

What is alike comes from adapters/likeness.py; no picture is read here. Which pictures of an evaluation set
are also elsewhere is the question of steps/leaks.py.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from g3m.adapters.catalog import Catalog
from g3m.adapters.likeness import Pairs, exact, near, pictures
from g3m.adapters.session import Session
from g3m.core.alike import SAME_BYTES
from g3m.core.events import Event, Progressed, TaskFinished, TaskStarted

TASK = "alike/"

_HASH_BYTES = 40

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Alike:
    """How many pictures were compared, and how many pairs were noted: of the same bytes, and near by hash."""

    pictures: int
    exact: int
    near: int
    is_crowded: bool = False


def find_alike(catalog: Catalog, session: Session) -> Generator[Event, None, Alike]:
    """Note in the catalog which of all pictures are alike, in place of what was noted before."""
    task = f"{TASK}all"
    yield TaskStarted(task=task, kind="alike", dataset="")
    generation, _ = catalog.generations()  # before the looks: what changes meanwhile is noticed
    found = pictures(checked(catalog.looks(), session))
    same = exact(found)
    close = yield from told(task, near(found), len(found), session)
    ids = found.ids.tolist()
    catalog.put_alike(_numbered(ids, same, close), generation)
    yield TaskFinished(task=task, kind="alike", dataset="", samples=len(found))
    return Alike(len(found), len(same), len(close), close.is_crowded)


def _numbered(ids: Sequence[int], same: Pairs, close: Pairs) -> Iterator[tuple[int, int, int]]:
    """Pairs as the catalog has them: ids, the smaller first, and the distance."""
    yield from ((ids[one], ids[other], SAME_BYTES) for one, other, _ in same)
    yield from ((ids[one], ids[other], bits + 1) for one, other, bits in close)


def told(
    task: str, steps: Generator[float, None, Pairs], count: int, session: Session
) -> Generator[Event, None, Pairs]:
    """What a search of adapters/likeness.py gives; on the way how far it is. Interrupted if asked to stop."""
    total_bytes = count * _HASH_BYTES
    while True:
        try:
            done = next(steps)
        except StopIteration as stop:
            pairs: Pairs = stop.value
            return pairs
        session.check_stop()
        yield Progressed(task=task, done_bytes=int(done * total_bytes), total_bytes=total_bytes)


def checked(items: Iterable[Item], session: Session) -> Iterator[Item]:
    """The same items, until somebody asks to stop."""
    for number, item in enumerate(items):
        if number % 10_000 == 0:
            session.check_stop()
        yield item
