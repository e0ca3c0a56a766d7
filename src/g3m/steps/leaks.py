"""leaks: which pictures of an evaluation set are also in other datasets, exactly or nearly.

Exact is by digest. What is near by hash is compared a second time (steps/second.py), because the answer
decides what a model is not trained with. One dataset is held at a time; a sample is one leak at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import TypeVar

from g3m.adapters.catalog import Catalog, DatasetRow
from g3m.adapters.likeness import Pairs, Pictures, exact_to, near_to, pictures
from g3m.adapters.session import Session
from g3m.core.alike import Leak, Leaks, Searched, Why, judged
from g3m.core.catalog import Shown
from g3m.core.errors import Bilingual, UnknownCatalog
from g3m.core.events import Event, TaskFinished, TaskStarted
from g3m.steps.alike import TASK, checked, told
from g3m.steps.holdings import folders_below
from g3m.steps.second import Second

LEAKS_LIMIT = 500_000
"""So many leaks are listed; a dataset with more of them is better left out as a whole."""

_AT_ONCE = 500

Item = TypeVar("Item")


def leaks(
    catalog: Catalog, evaluation: str, session: Session, datasets: Sequence[str] = ()
) -> Generator[Event, None, Leaks]:
    """Which samples of other datasets (all of the catalog by default) have a picture of the evaluation set.

    The session's guard makes the second comparison. UnknownDataset for a name that the catalog does not have,
    UnknownCatalog if the pictures of the evaluation set were never looked at.
    """
    rows = catalog.named([evaluation, *datasets])
    wanted = pictures(checked(catalog.looks(evaluation), session))
    if not len(wanted):
        raise UnknownCatalog(f"{evaluation}: its pictures were not looked at yet", hint=_hint(evaluation))
    others = [name for name in dict.fromkeys(datasets or rows) if name != evaluation]
    searched: list[Searched] = []
    folders = {
        name: folder for name, (folder, _) in folders_below(session).items()
    }  # the root may have moved
    with Second(session, folders) as second:
        hunt = _Hunt(catalog, wanted, session, second)
        for name in others:
            one = yield from hunt.search(rows[name])
            searched.append(one)
    return Leaks(
        evaluation=evaluation,
        samples=rows[evaluation].samples,
        looked=len(wanted),
        hit=len(hunt.hit),
        datasets=tuple(searched),
        pairs=tuple(hunt.found),
        refuted=hunt.refuted,
        is_cut=sum(one.exact + one.near + one.unsure for one in searched) > len(hunt.found),
        is_crowded=hunt.is_crowded,
    )


@dataclass(slots=True)
class _Hunt:
    """The search for the pictures of one evaluation set through several datasets."""

    catalog: Catalog
    wanted: Pictures
    session: Session
    second: Second
    found: list[Leak] = field(default_factory=list)
    hit: set[int] = field(default_factory=set)
    """Ids of samples of the evaluation set."""
    refuted: int = 0
    is_crowded: bool = False

    def search(self, row: DatasetRow) -> Generator[Event, None, Searched]:
        """One dataset: the same bytes, then near by hash and by the second comparison."""
        task = f"{TASK}{row.name}"
        yield TaskStarted(task=task, kind="alike", dataset=row.name)
        there = pictures(checked(self.catalog.looks(row.name), self.session))
        same = exact_to(there, self.wanted)
        close = yield from told(task, near_to(there, self.wanted), len(there), self.session)
        self.is_crowded = self.is_crowded or close.is_crowded
        # Asked the other way round: of several equal pictures in the evaluation set all are hit.
        self.hit.update(self.wanted.ids[exact_to(self.wanted, there).others].tolist())
        self._list_exact(there, same)
        is_exact = set(same.others.tolist())
        groups = groupby(close, key=lambda pair: pair[1])
        candidates = (
            (other, [pair[::2] for pair in group]) for other, group in groups if other not in is_exact
        )
        counts: Counter[Why] = Counter()
        for batch in _batches(candidates):
            self.session.check_stop()
            for leak in self._judge(there, batch):
                if leak is None:
                    self.refuted += 1
                else:
                    counts[leak.why] += 1
                    self._list(leak)
        yield TaskFinished(task=task, kind="alike", dataset=row.name, samples=len(there))
        return Searched(
            dataset=row.name,
            samples=row.samples,
            looked=len(there),
            exact=len(same),
            near=counts["near"],
            unsure=counts["unsure"],
        )

    def _list(self, leak: Leak) -> None:
        if len(self.found) < LEAKS_LIMIT:
            self.found.append(leak)

    def _list_exact(self, there: Pictures, same: Pairs) -> None:
        for batch in _batches(islice(same, LEAKS_LIMIT - len(self.found))):
            self.session.check_stop()
            mine = self._rows(there, (other for _, other, _ in batch))
            theirs = self._rows(self.wanted, (one for one, _, _ in batch))
            for one, other, _ in batch:
                if other in mine and one in theirs:  # not dropped meanwhile
                    self._list(_leak(mine[other], theirs[one]))

    def _judge(self, there: Pictures, batch: Sequence[_Candidate]) -> Iterator[Leak | None]:
        """What the second comparison says of samples that are alike by hash; None if it says no."""
        mine = self._rows(there, (other for other, _ in batch))
        theirs = self._rows(self.wanted, (one for _, near_ones in batch for one, _ in near_ones))
        wanted = [
            (mine[other], [(theirs[one], bits) for one, bits in near_ones if one in theirs])
            for other, near_ones in batch
            if other in mine
        ]
        values = self.second.compare([(row, [like for like, _ in likes]) for row, likes in wanted])
        for (row, likes), correlations in zip(wanted, values, strict=True):
            found = judged([(bits, value) for (_, bits), value in zip(likes, correlations, strict=True)])
            if found is None:
                yield None
                continue
            place, why = found
            like, bits = likes[place]
            self.hit.add(like.id)
            yield replace(_leak(row, like), why=why, bits=bits, correlation=correlations[place])

    def _rows(self, found: Pictures, places: Iterable[int]) -> dict[int, Shown]:
        """Samples by their place among the pictures; those that are not there any more are left out."""
        by_id = {int(found.ids[place]): place for place in places}
        return {by_id[row.id]: row for row in self.catalog.rows(by_id)}


_Candidate = tuple[int, list[tuple[int, int]]]
"""The place of a sample, and places in the evaluation set with the bits that differ, the nearest first."""


def _leak(row: Shown, like: Shown) -> Leak:
    return Leak(
        dataset=row.dataset,
        number=row.number,
        key=row.key,
        like_number=like.number,
        like_key=like.key,
        why="exact",
    )


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch


def _hint(name: str) -> Bilingual:
    command = f"g3m index {name} --pictures"
    return (f"`{command}` reads and decodes the pictures", f"运行 `{command}` 读取并解码图片")
