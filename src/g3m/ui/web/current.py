"""What stands below a root at this moment: folders, what was dropped of them, the catalog.

Each is opened when it is asked for, kept as long as its files stay the same, and then opened anew. Several
threads may ask. What is read out of them is for collection.py.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from g3m.adapters.catalog import FILE, Catalog, open_catalog
from g3m.adapters.session import Session
from g3m.core.catalog import Shown
from g3m.core.dropped import DROPPED, Record
from g3m.core.errors import G3MError, NotVerified, UnknownCatalog, UnknownDataset
from g3m.core.receipt import Manifest
from g3m.load.folder import Folder, open_folder
from g3m.steps.dropped import read_record
from g3m.steps.holdings import folders_below
from g3m.ui.web.facts import NeedsCatalog, NotHere, Rewriting

FRESH_S = 0.5
"""So long the list of what stands on the disk is believed; what was dropped is asked for every time."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Home:
    """A dataset that stands on the disk; `stamp` changes with it."""

    folder: Path
    body: Manifest | None
    stamp: str


class Current:
    """The datasets and the catalog below the root of a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._lock = Lock()
        self._kept: dict[object, tuple[float, str, Any]] = {}
        self._making: dict[object, Lock] = {}
        self._catalog: Catalog | None = None
        self._catalog_stamp = ""

    def close(self) -> None:
        """Close the catalog."""
        with self._lock:
            if self._catalog:
                self._catalog.close()
            self._catalog = None

    # Datasets

    def homes(self) -> Mapping[str, Home]:
        """Every dataset that is here, by name."""
        now_s = time.monotonic()
        with self._lock:
            kept = self._kept.get("homes")
        if kept is None or now_s - kept[0] > FRESH_S:
            below = folders_below(self.session).items()
            kept = (now_s, "", {name: Home(folder, body, _stamp(folder)) for name, (folder, body) in below})
            with self._lock:
                self._kept["homes"] = kept
        homes: Mapping[str, Home] = kept[2]
        return homes

    def home(self, dataset: str) -> Home:
        """A dataset that is here, or NotHere."""
        try:
            return self.homes()[dataset]
        except KeyError:
            raise NotHere(dataset) from None

    def version(self, dataset: str) -> str:
        """A few letters that change with a dataset; empty for one that is not here."""
        home = self.homes().get(dataset)
        return hashlib.sha256(home.stamp.encode()).hexdigest()[:8] if home else ""

    def record(self, dataset: str) -> Record:
        """What was dropped of a dataset, as the disk says now; NotVerified if that cannot be known."""
        folder = self.home(dataset).folder
        return self._record(dataset, folder, _stamp(folder))

    @contextmanager
    def reading(self, dataset: str) -> Iterator[Folder]:
        """The folder of a dataset while it is read; Rewriting if its files are being exchanged meanwhile.

        NotHere if it is gone since the list of datasets was made.
        """
        home = self.home(dataset)
        place = home.folder
        before = _stamp(place)
        if self._record(dataset, place, before).rewriting:
            raise Rewriting(dataset)
        try:
            yield self.kept(("folder", dataset), before, lambda: open_folder(str(place)))
        except NotVerified:
            if _stamp(place) == before:
                raise
        except UnknownDataset:
            if _stamp(place) == home.stamp:
                raise
            raise NotHere(dataset) from None
        if _stamp(place) != before:
            raise Rewriting(dataset)

    def hidden(self) -> Mapping[str, Container[str]]:
        """Of each dataset the keys that must not be shown: all, where what was dropped is not known."""
        return {name: self._hidden(name) for name in self.homes()}

    def _hidden(self, dataset: str) -> Container[str]:
        try:
            return self.record(dataset).drops
        except G3MError:
            return _Everything()

    def standing(self, rows: Sequence[Shown]) -> tuple[Shown, ...]:
        """Those rows of the catalog whose numbers still mean their samples, and that were not dropped."""
        wrong: set[Shown] = set()
        for name in {row.dataset for row in rows} & self.homes().keys():
            own = [row for row in rows if row.dataset == name]
            hidden = self._hidden(name)
            wrong.update(row for row in own if row.key in hidden)
            try:
                with self.reading(name) as folder:
                    wrong.update(row for row in own if not _is_at(folder, row))
            except Rewriting:
                wrong.update(own)
            except G3MError:
                pass  # what cannot be opened is said on its card, and by each of its pictures
        return tuple(row for row in rows if row not in wrong)

    def _record(self, dataset: str, folder: Path, stamp: str) -> Record:
        return self.kept(("record", dataset), stamp, lambda: read_record(folder))

    # The catalog

    def catalog(self) -> Catalog | None:
        """The one that is there now; None if there is none that can be read."""
        path = self.session.store.work / FILE
        stamp = self.catalog_stamp()
        with self._lock:
            if self._catalog and stamp and stamp.split()[0] == self._catalog_stamp:
                return self._catalog
            if not stamp:
                return None
            try:
                found = open_catalog(path)
            except UnknownCatalog:
                return None
            if self._catalog is None:
                self._catalog = found
            else:  # it follows the path by itself, and others may be asking it
                found.close()
            self._catalog_stamp = stamp.split()[0]
            return self._catalog

    def must(self) -> Catalog:
        """The catalog, or NeedsCatalog."""
        catalog = self.catalog()
        if catalog is None:
            raise NeedsCatalog
        return catalog

    def catalog_stamp(self) -> str:
        """Changes with the catalog: which file it is, then what was written into it; empty without one."""
        try:
            state = (self.session.store.work / FILE).stat()
        except OSError:
            return ""
        return f"{state.st_dev}:{state.st_ino} {state.st_mtime_ns}:{state.st_size}"

    def kept(self, name: object, stamp: str, make: Callable[[], Value]) -> Value:
        """A value that is made anew when its stamp is another."""
        with self._lock:
            making = self._making.setdefault(name, Lock())
        with making:  # who asks for the same meanwhile waits, and does not make it once more
            kept = self._kept.get(name)
            if kept is None or kept[1] != stamp:
                self._kept[name] = kept = (0.0, stamp, make())
        value: Value = kept[2]
        return value


class _Everything:
    def __contains__(self, key: object) -> bool:
        return True


def _is_at(folder: Folder, row: Shown) -> bool:
    return row.number < len(folder) and folder.key(row.number) == row.key


def _stamp(folder: Path) -> str:
    made = []
    for name in ("manifest.json", "index.bin", DROPPED):
        with suppress(OSError):
            state = (folder / name).stat()
            made.append(f"{name} {state.st_ino} {state.st_mtime_ns} {state.st_size}")
    return "\n".join(made)
