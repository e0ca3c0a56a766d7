"""A bench for the network's steps: two local origins, a clock that runs fast, one asset at a time."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters import http
from g3m.adapters.http import Http, Pool
from g3m.adapters.parts import Part, claimed, claimed_bytes
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import G3MError
from g3m.core.events import Event
from g3m.core.plan import Plan, Task, fetch_task, make_dataset_plan
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.retry import Policy
from g3m.core.schedule import Limits
from g3m.core.secrets import mask
from g3m.lab.origin import Origin, Request
from g3m.runners.run import make_session
from g3m.steps.fetch import fetch
from g3m.steps.find import part_path, whole_path

BLOB_BYTES = 24_000
PIECE_BYTES = 1000
REQUEST_LIMIT = 60
"""More requests for one small file in one piece than any honest way of trying needs."""

HANG_S = 60.0
"""Longer than any fetch on a bench may take, in seconds of the wall."""

SPEED = 40.0
CALM = 0.01
"""The speed for who counts bytes or requests: however long the machine stalls, nobody seems to crawl, and no
second connection races for the bytes of the first. Nothing may rest there."""

GLANCE_S = 0.02
"""The most that passes between two looks at the clock, in seconds of the wall; the rest is the machine's stall."""

PATIENT = Limits(
    connections=4, total_connections=8, stall_s=400, least_stall_s=200, head_s=400, eager_head_s=200
)
IMPATIENT = replace(PATIENT, stall_s=6, least_stall_s=6, head_s=12, eager_head_s=6)
"""A silence of an eighth of a second is the end of a connection; the measures are of the fast clock."""

_names = itertools.count()


@dataclass
class Clock:
    """Time that runs forty times as fast as on the wall, stalls left out; it ends what hangs as a failed test."""

    speed: float = SPEED
    begun_s: float = field(default_factory=time.monotonic)
    now_s: float = 1000.0
    _seen_s: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def monotonic(self) -> float:
        with self._lock:
            seen_s, self._seen_s = self._seen_s, time.monotonic()
            assert self._seen_s - self.begun_s < HANG_S, "a fetch that does not end"
            self.now_s += min(self._seen_s - seen_s, GLANCE_S) * self.speed
            return self.now_s

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self.speed)


class Bounded(Http):
    """The real HTTP, but an endless loop ends as a failed test."""

    limit = REQUEST_LIMIT

    def __init__(self, made: Http) -> None:
        super().__init__(made.options, made.ways, made.connections)
        self.asked: list[http.Request] = []
        self.most = 0
        """The most connections that one host had at a time."""

    def pool(self) -> Pool:
        pool = super().pool()
        start = pool.start

        def counted(key: int, request: http.Request) -> None:
            self.asked.append(request)
            assert len(self.asked) <= self.limit, "an endless loop of requests"
            start(key, request)
            self.most = max(self.most, *self._open.values())

        pool.start = counted  # type: ignore[method-assign]
        return pool


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

    def session(
        self,
        *,
        impatient: bool = False,
        pieces: bool = False,
        variables: dict[str, str] | None = None,
        **options: Any,
    ) -> Session:
        """A session below the root over the fast clock; `pieces` cuts the file into many small ones."""
        made = make_session({"root": str(self.root), **options}, variables or {})
        made.store.prepare()
        bounded, limits = Bounded(made.http), IMPATIENT if impatient else PATIENT
        limits = replace(limits, connections=min(limits.connections, made.settings.connections))
        if pieces:
            limits = replace(
                limits,
                first_piece_bytes=PIECE_BYTES,
                least_piece_bytes=PIECE_BYTES,
                most_piece_bytes=2 * PIECE_BYTES,
            )
            bounded.limit = 10 * REQUEST_LIMIT
        return replace(
            made,
            http=bounded,
            limits=limits,
            sleep=self.clock.sleep,
            monotonic=self.clock.monotonic,
            jitter=lambda: 1.0,
            policy=Policy(throttled_attempts=3),
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

    def keep_half(
        self, asset: Asset, session: Session, half: bytes, *, etag: str = "", place: int = 0
    ) -> None:
        """Leave what an earlier, killed run would have left: a part and its journal."""
        part = Part(part_path(session, asset), asset.digests, asset.size_bytes)
        part.restore()
        name = mask(asset.places[place])
        part.begin(name, etag or self.etag, len(self.blob))
        part.write(0, 0, [half], name)
        part.flush()
        part.settle()
        part.close()

    def remains(self, asset: Asset, session: Session) -> dict[tuple[int, int], bytes]:
        """What a failed fetch left and the next one will build on: the same by every reckoning."""
        path = part_path(session, asset)
        told = claimed(path)
        part = Part(path, asset.digests, asset.size_bytes)
        try:
            kept = part.restore()
            if kept:
                part.settle()
            assert part.lost() == []
            assert list(kept) == told
            assert kept.size_bytes == claimed_bytes(path)
            return {(start, end): part.read(start, end) for start, end in kept}
        finally:
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
def bench(origins: tuple[Origin, Origin], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An honest file at an origin and at a mirror."""
    monkeypatch.setattr("g3m.steps.fetch.POLL_S", 0.01)
    for name in ("fsync", "fdatasync"):  # nobody cuts the power here, and syncing is most of a test's time
        monkeypatch.setattr(os, name, lambda descriptor: None)
    for origin in origins:
        origin.be_honest()
        origin.forget_requests()
    blob = random.Random(7).randbytes(BLOB_BYTES)
    made = Bench(tmp_path / "data", *origins, blob, tmp_path / "hosts", f"/{next(_names)}/blob.bin")
    made.serve()
    return made
