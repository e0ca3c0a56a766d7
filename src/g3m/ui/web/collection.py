"""The data behind the pages: samples from the shards, lists and figures from the catalog.

Everything may be asked from several threads. What stands open is kept in current.py; what a page looks like
is not known here. Nothing that was dropped is handed out, whatever the catalog or an address says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from g3m.adapters.session import Session
from g3m.core.alike import Leaks
from g3m.core.browse import View
from g3m.core.errors import UnknownCatalog, UnknownDataset
from g3m.ui.web.cards import cards
from g3m.ui.web.current import Current
from g3m.ui.web.facts import (
    Card,
    Detail,
    Grid,
    LeftOutPage,
    NeedsCatalog,
    Pair,
    PairPage,
    Shard,
)
from g3m.ui.web.left_out import left_out
from g3m.ui.web.samples import browse, refuse, sample

PAIRS = 60
PIECE_BYTES = 2**18


class Collection:
    """The datasets below the root of a session."""

    def __init__(self, session: Session) -> None:
        self._current = Current(session)

    def close(self) -> None:
        """Close the catalog."""
        self._current.close()

    # Datasets

    def datasets(self) -> list[str]:
        """The names of those that are here."""
        return list(self._current.homes())

    def version(self, dataset: str) -> str:
        """A few letters that change with a dataset; empty for one that is not here."""
        return self._current.version(dataset)

    def has_catalog(self) -> bool:
        """Whether there is one that can be read."""
        return self._current.catalog() is not None

    def cards(self) -> list[Card]:
        """One for each dataset here, then for each that was begun, then for each that is only known."""
        return cards(self._current)

    def shards(self, dataset: str) -> Sequence[Shard]:
        """The shards of a dataset, in order."""
        body = self._current.home(dataset).body
        with self._current.reading(dataset) as folder:
            starts = folder.starts()
        known = body.shards if body is not None else ()
        return [
            Shard(
                name=name,
                number=number,
                first=starts[number],
                samples=starts[number + 1] - starts[number],
                size_bytes=known[number].size_bytes if known else None,
                sha256=known[number].sha256 if known else "",
            )
            for number, name in enumerate(folder.shards)
        ]

    def left_out(self, dataset: str, after: str = "") -> LeftOutPage:
        """Why samples and rows are not here, from a place on."""
        return left_out(self._current, dataset, after)

    # Samples

    def browse(self, view: View, limit: int = 60) -> Grid:
        """A page of samples: by the catalog, or by number where that does not know all of them."""
        return browse(self._current, view, limit)

    def sample(self, dataset: str, number: int) -> Detail:
        """All about one sample; NotHere, or Gone if it was dropped."""
        return sample(self._current, dataset, number)

    def image_bytes(self, dataset: str, number: int) -> int:
        """How large a picture is; NotHere, or Gone if it was dropped."""
        with self._current.reading(dataset) as folder:
            refuse(self._current, dataset, folder, number)
            return folder.image_bytes(number)

    def image(self, dataset: str, number: int, most_bytes: int) -> bytes:
        """The picture's bytes as they are, no more than the first so many."""
        with self._current.reading(dataset) as folder:
            refuse(self._current, dataset, folder, number)
            return next(folder.image_pieces(number, most_bytes), b"")

    def image_pieces(self, dataset: str, number: int) -> Iterator[bytes]:
        """All bytes of a picture, piece by piece."""
        with self._current.reading(dataset) as folder:
            refuse(self._current, dataset, folder, number)
            yield from folder.image_pieces(number, PIECE_BYTES)

    # What the catalog knows

    def stats(self, dataset: str) -> Mapping[str, Sequence[tuple[str, int]]]:
        """The charts of a dataset, or ("") of all."""
        catalog = self._current.must()
        if dataset:
            self._current.home(dataset)
        return catalog.tallies(dataset)

    def alike_counts(self, dataset: str) -> tuple[int, int] | None:
        """How many samples have the bytes of an earlier picture, and how many are near one.

        None where it is not known: nothing was looked at, or pictures have changed since they were compared.
        """
        catalog = self._current.must()
        names = [row.name for row in catalog.datasets() if dataset in ("", row.name) and row.looked]
        return catalog.alike_counts(names) if names and catalog.is_alike_current() else None

    def pairs(self, dataset: str, after: int) -> PairPage:
        """Samples that look alike."""
        catalog = self._current.must()
        homes = [self._current.home(dataset)] if dataset else list(self._current.homes().values())
        found = catalog.pairs(dataset, after, PAIRS + 1)
        standing = set(self._current.standing([row for _, *both, _ in found for row in both]))
        pairs = [
            Pair(one=one, other=other, distance=far)
            for _, one, other, far in found[:PAIRS]
            if one in standing and other in standing
        ]
        looked = {row.folder for row in catalog.datasets() if row.shards and row.looked == row.shards}
        root = self._current.session.store.root
        return PairPage(
            pairs=tuple(pairs),
            after=found[PAIRS - 1][0] if len(found) > PAIRS else 0,
            is_whole=catalog.is_alike_current()
            and bool(homes)
            and all(home.folder.relative_to(root).as_posix() in looked for home in homes),
        )

    def leaks(self, evaluation: str) -> Leaks:
        """Which samples of other datasets have a picture of this one; it takes seconds, and is kept."""
        from g3m.runners.stats import leaks_in  # with all that runs tasks: the first page needs none of it

        catalog = self._current.must()
        self._current.home(evaluation)
        stamp = self._current.catalog_stamp()
        session = self._current.session
        try:
            found = self._current.kept(
                ("leaks", evaluation), stamp, lambda: leaks_in(catalog, evaluation, session)
            )
        except (UnknownCatalog, UnknownDataset):
            return Leaks(evaluation=evaluation, samples=0, looked=0)
        hidden = self._current.hidden()
        pairs = [
            one
            for one in found.pairs
            if one.key not in hidden.get(one.dataset, ()) and one.like_key not in hidden[evaluation]
        ]
        return replace(found, pairs=tuple(pairs))

    def keys(self, view: View) -> Iterator[tuple[str, str]]:
        """Dataset and key of every sample of a view."""
        catalog = self._current.catalog()
        if catalog is None and view.is_filtered:
            raise NeedsCatalog
        names = [view.dataset] if view.dataset else list(self._current.homes())
        hidden = self._current.hidden()
        if view.dataset:
            self._current.home(view.dataset)
        found = catalog.keys(view) if catalog else self._all_keys(names)
        return ((name, key) for name, key in found if key not in hidden.get(name, ()))

    def _all_keys(self, datasets: Iterable[str]) -> Iterator[tuple[str, str]]:
        for name in datasets:
            with self._current.reading(name) as folder:
                yield from ((name, key) for key in folder.keys())  # noqa: SIM118  # a folder is no mapping
