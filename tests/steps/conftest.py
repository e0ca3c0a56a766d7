"""A bench for the network's steps: two local origins, a clock that nobody waits for, one asset at a time."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.parts import Part
from g3m.adapters.ports import Body, Fetcher
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import G3MError
from g3m.core.events import Event
from g3m.core.plan import Plan, Task, fetch_task, make_dataset_plan
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.secrets import mask
from g3m.lab.origin import Origin, Request
from g3m.runners.run import make_session
from g3m.steps.fetch import fetch
from g3m.steps.find import part_path, whole_path

BLOB_BYTES = 24_000
REQUEST_LIMIT = 60
"""More requests for one small file than any honest way of trying needs: then it is an endless loop."""

_names = itertools.count()


@dataclass
class Clock:
    """Time that passes only when somebody sleeps; `slept_s` is what was slept since the last look."""

    now_s: float = 1000.0
    slept_s: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s += seconds
        assert self.slept_s < 10_000, "an endless wait"

    def monotonic(self) -> float:
        return self.now_s


@dataclass
class Bounded:
    """The real HTTP, but an endless loop ends as a failed test."""

    http: Fetcher
    opened: list[str] = field(default_factory=list)

    def open(self, url: str, *, offset_bytes: int = 0, etag: str = "") -> AbstractContextManager[Body]:
        self.opened.append(url)
        assert len(self.opened) <= REQUEST_LIMIT, "an endless loop of requests"
        return self.http.open(url, offset_bytes=offset_bytes, etag=etag)


@dataclass
class Outcome:
    """How one fetch ended."""

    events: list[Event] = field(default_factory=list)
    error: G3MError | None = None

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]


@dataclass
class Bench:
    """One file on two origins, and what it takes to fetch it."""

    root: Path
    origin: Origin
    mirror: Origin
    blob: bytes
    folder: Path
    path: str
    clock: Clock = field(default_factory=Clock)

    def serve(self, *, google: bool = False, mirror: bytes | None = None) -> None:
        """Put the file on both origins; the mirror may hold other bytes."""
        for origin, content in ((self.origin, self.blob), (self.mirror, mirror or self.blob)):
            local = self.folder / f"{id(origin)}" / "blob.bin"
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(content)
            origin.mount(self.path, local, google=google)

    def asset(self, *origins: Origin, pinned: bool = True) -> Asset:
        """The file as an asset, at the origin alone unless said otherwise."""
        places = tuple(f"{origin.url}{self.path}" for origin in origins or (self.origin,))
        if not pinned:
            return Asset(name="blob.bin", places=places)
        digest = Digest("sha256", hashlib.sha256(self.blob).hexdigest())
        return Asset(name="blob.bin", places=places, size_bytes=len(self.blob), digests=(digest,))

    def session(self, **options: Any) -> Session:
        """A session below the root that waits for nobody."""
        made = make_session({"root": str(self.root), "stall_timeout_s": 0.1, **options}, {})
        made.store.prepare()
        return replace(
            made,
            http=Bounded(made.http),
            sleep=self.clock.sleep,
            monotonic=self.clock.monotonic,
            jitter=lambda: 1.0,
        )

    def plan(self, *assets: Asset) -> Plan:
        """A plan of one dataset `one` with these assets."""
        recipe = Recipe(
            name="one",
            title="One",
            folder="one/one",
            homepage="",
            licence="none",
            terms="",
            citation="",
            samples=SampleRule(reader="pairs"),
            expect=Expect(),
            assets=assets,
        )
        return Plan(datasets=(make_dataset_plan(recipe, assets, "none"),))

    def fetch(self, asset: Asset, session: Session) -> Outcome:
        """Run the fetch task of an asset to its end."""
        return run(fetch, fetch_task(asset, "one"), self.plan(asset), session)

    def keep_half(self, asset: Asset, session: Session, half: bytes, *, etag: str = "") -> None:
        """Leave what an earlier, killed run would have left: a part and its journal."""
        part = Part(part_path(session, asset), asset.digests, asset.size_bytes)
        part.restore()
        place = mask(asset.places[0])
        part.begin(place, etag or self.etag, len(self.blob))
        part.write(half, place)
        part.flush(place)
        part.close()

    @property
    def etag(self) -> str:
        """The validator that an honest origin shows for the file."""
        return f'"{hashlib.md5(self.blob).hexdigest()}"'

    @property
    def requests(self) -> list[Request]:
        """What was asked for this file, on both origins."""
        asked = [*self.origin.requests, *self.mirror.requests]
        return [request for request in asked if request.path == self.path]

    def whole(self, asset: Asset, session: Session) -> bytes | None:
        """What lies under the asset's final name."""
        path = whole_path(session, asset)
        return path.read_bytes() if path.exists() else None


def run(
    step: Callable[[Task, Plan, Session], Iterator[Event]], task: Task, plan: Plan, session: Session
) -> Outcome:
    """Collect the events of a step, and the error that ends it."""
    outcome = Outcome()
    try:
        for event in step(task, plan, session):
            outcome.events.append(event)
    except G3MError as error:
        outcome.error = error
    return outcome


@pytest.fixture(scope="session")
def origins() -> Iterator[tuple[Origin, Origin]]:
    """Two hosts that stay up; every test has a path of its own on them."""
    with Origin() as origin, Origin() as mirror:
        yield origin, mirror


@pytest.fixture
def bench(origins: tuple[Origin, Origin], tmp_path: Path) -> Bench:
    """An honest file at an origin and at a mirror."""
    for origin in origins:
        origin.be_honest()
        origin.forget_requests()
    blob = random.Random(7).randbytes(BLOB_BYTES)
    made = Bench(tmp_path / "data", *origins, blob, tmp_path / "hosts", f"/{next(_names)}/blob.bin")
    made.serve()
    return made
