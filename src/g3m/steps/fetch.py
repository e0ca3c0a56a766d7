"""fetch: one asset becomes verified bytes on the disk. Here is the only retry loop of the program.

Every route is used at once: core/schedule.py says who fetches which bytes, this module carries it out
and decides what becomes of a route that fails; answers.py takes what comes. Bytes of several places
are mixed only under one pinned digest. An asset without one is fetched from one place at a time, from
several connections only if its validator is a strong one. A file gets its name when its digest agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from g3m.adapters.http import Came, Ended, Headed, Occurrence, Pool, Request
from g3m.adapters.parts import Part
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import (
    Advice,
    Changed,
    DigestMismatch,
    G3MError,
    Interrupted,
    Refused,
    Replaced,
    SettingsError,
    SourceError,
    Throttled,
    Unreachable,
)
from g3m.core.events import (
    Event,
    Noted,
    Progressed,
    Retrying,
    RouteDropped,
    RoutesMeasured,
    RouteSpeed,
    TaskFinished,
)
from g3m.core.health import Health
from g3m.core.plan import Plan, Task, asset_id
from g3m.core.receipt import AssetReceipt
from g3m.core.recipe import Asset
from g3m.core.retry import decide as decide_retry
from g3m.core.routes import Route, candidates
from g3m.core.schedule import UNKNOWN_BYTES, Schedule, Stop, Transfer
from g3m.core.secrets import host_of
from g3m.core.sources import Meter, Source
from g3m.core.spans import Spans
from g3m.steps.answers import take_bytes, take_end, take_head
from g3m.steps.find import find, part_path, present, proof, whole_path, write_receipt
from g3m.steps.memory import recall, remember
from g3m.steps.peers import peer_notes, peer_places
from g3m.steps.suspects import Suspects, examine, forgive

RENEW_LIMIT = 5
"""How often an unpinned file may be begun anew because the server shows another version."""

TICK_S = 0.25
POLL_S = 0.1
SLOW_BYTES_PER_S = 2**18
"""Under --bwlimit a connection more than each such share gains nothing."""
TELLING_BYTES = 2**23
"""A smaller file says little about the speed of a route."""

_NO_ROUTE = (
    "`g3m info NAME` shows the places; ways are direct, proxy, or the host of a proxy",
    "`g3m info NAME` 会列出各地址；线路可为 direct、proxy 或代理主机名",
)
LATER_S = 30.0
"""When a route that failed as often as the policy allows is tried once more, while others work."""


def fetch(task: Task, plan: Plan, session: Session) -> Iterator[Event]:
    """Make an asset present: find it, or download and verify it."""
    asset = plan.assets[task.asset]
    receipt = present(session, asset)
    if receipt is None:
        yield from find(task, asset, plan, session)
        receipt = present(session, asset)
    if receipt is None:
        if session.settings.offline:
            raise Unreachable(f"{asset.name} is not here, and --offline forbids to fetch it")
        receipt = yield from _download(task, asset, session)
    yield TaskFinished(
        task=task.id, kind=task.kind, dataset=task.dataset, output=asset.name, size_bytes=receipt.size_bytes
    )


def _download(task: Task, asset: Asset, session: Session) -> Generator[Event, None, AssetReceipt]:
    part = Part(part_path(session, asset), asset.digests, asset.size_bytes)
    try:
        download = Download(task, asset, session, part)
        yield from download.prepare()
        yield from download.run()
        receipt = download.receipt()
        # First the receipt: without the file it says nothing, and with it no kill can come between.
        write_receipt(session, receipt)
        part.finish(whole_path(session, asset), receipt.size_bytes)
        download.remember()
    finally:
        part.close()
    return receipt


@dataclass(slots=True, eq=False)
class Download:
    """One asset on its way: the routes at work, and what has been learned of them."""

    task: Task
    asset: Asset
    session: Session
    part: Part
    schedule: Schedule = field(init=False)
    pool: Pool = field(init=False)
    expected: tuple[Digest, ...] = ()
    served: bool = False
    """Whether the expected digests are a server's word."""
    last_error: G3MError | None = None
    reasons: dict[str, str] = field(default_factory=dict)
    suspects: Suspects = field(default_factory=Suspects)
    health: Health = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    attend: Callable[[], None] = lambda: None
    """Called in every turn of the loop: whoever uses the bytes up while they come has a word there."""
    used: bool = False
    """Whether the bytes are used up while they come."""
    hidden_bytes: int = 0
    """Bytes that are not wanted yet: they count as written in the schedule, and are not."""
    renewed: int = 0
    ticked_s: float = 0.0
    etag: str = ""
    names: list[str] = field(default_factory=list)
    """The places of the sources for journals, by rank."""
    addresses: dict[int, str] = field(default_factory=dict)
    """Where the redirects of a source led, by its rank."""
    inside: dict[int, bool] = field(default_factory=dict)
    """Whether they began at a place that is not public."""
    told: set[int] = field(default_factory=set)
    asked: dict[int, int] = field(default_factory=dict)
    """The end of the range that a transfer asked for; what it has promised may be less by now."""

    @property
    def pinned(self) -> bool:
        """Whether one digest proves every byte, wherever it comes from."""
        return bool(self.asset.digests) and self.asset.size_bytes is not None

    def prepare(self) -> Iterator[Event]:
        """Find the routes and what an earlier run has left; SettingsError if no route is allowed."""
        session, settings, asset = self.session, self.session.settings, self.asset
        routes = candidates(asset.places, settings.endpoints, settings.mirrors, session.ways, settings.route)
        peers = (Route(place.url, place.way, peer=True) for place in peer_places(session, asset))
        self.routes = (*routes, *peers)
        if not self.routes:
            raise SettingsError(
                f"{asset.name}: --route {' '.join(settings.route)} leaves no route to it", hint=_NO_ROUTE
            )
        self.health = recall(session)
        kept = self.part.restore()
        yield Progressed(task=self.task.id, done_bytes=kept.size_bytes, total_bytes=asset.size_bytes or 0)
        if kept:
            yield Noted(task=self.task.id, text=f"{kept.size_bytes} bytes are here from an earlier run")
        for text in peer_notes(session):
            yield Noted(task=self.task.id, text=text)

    def receipt(self) -> AssetReceipt:
        """What proves, after `run`, that the asset came and is right."""
        return AssetReceipt(
            id=asset_id(self.asset),
            name=self.asset.name,
            size_bytes=self.schedule.size_bytes,
            digests=self.part.digests(),
            proof=proof(self.asset, self.session, served=self.served),
        )

    def remember(self) -> None:
        """Keep what was learned of the routes, for later runs."""
        if self.schedule.size_bytes >= TELLING_BYTES or self.suspects.liars:
            remember(self.session, self.schedule.sources, self.suspects.liars)

    def run_ahead(self, start: int) -> Iterator[Event]:
        """Fetch what lies from `start` on, before everything else: the directory of an archive is there."""
        with self.session.http.pool() as self.pool:
            self._begin(self.routes)
            self.hidden_bytes = start - sum(e - s for s, e in self.schedule.written.within(0, start))
            self.schedule.written.add(0, start)
            while self.sources_left and not self.schedule.complete:
                yield from self._fetch_all()
            self.hidden_bytes = 0
        if not self.schedule.complete:
            raise self._no_route_left()

    def run(self) -> Iterator[Event]:
        """Fetch and verify every byte; raises the last error, with every route's, if nobody delivers."""
        self.expected = self.asset.digests
        groups = [self.routes] if self.pinned else _one_place_each(self.routes, self.part.places)
        with self.session.http.pool() as self.pool:
            for number, group in enumerate(groups):
                if number:
                    self.part.restart()
                self._begin(group)
                while self.sources_left or forgive(self):
                    yield from self._fetch_all()
                    if self.schedule.complete and (yield from self._verified()):
                        yield self._progress()
                        return
        raise self._no_route_left()

    @property
    def sources_left(self) -> bool:
        """Whether there is a route to go on with, or nothing left to fetch."""
        return self.schedule.complete or not self.schedule.hopeless

    def _begin(self, routes: Sequence[Route]) -> None:
        """A new schedule over these routes, from what the part holds."""
        now_s, limits = self.session.monotonic(), self.session.limits
        sources = [self._source(route, rank) for rank, route in enumerate(routes)]
        kept, size = self.part.claimed(), self.asset.size_bytes
        if not self.pinned:
            name = routes[0].name if routes else ""
            self.etag = self.part.places.get(name, "")
            if not self.etag and kept:
                self.part.restart()
                kept = Spans()
            size = size or (self.part.announced_bytes if kept else None)
            if kept and self.part.announced_digests and not self.asset.digests:
                self.expected, self.served = tuple(map(Digest.parse, self.part.announced_digests)), True
        self.schedule = Schedule(
            sources,
            size_bytes=size,
            written=kept,
            limits=limits,
            now_s=now_s,
            room=lambda source: self.pool.has_room(self._address(source)),
        )
        self.schedule.solo = not self.pinned
        self.names = [route.name for route in routes]
        self.addresses, self.inside, self.told, self.asked = {}, {}, set(), {}

    def _source(self, route: Route, rank: int) -> Source:
        """A source that begins with what is known of its route."""
        now_s, unix_s = self.session.monotonic(), self.session.now().timestamp()
        cap, limit = self.session.limits.connections, self.session.pace.rate_bytes_per_s
        if limit is not None:
            cap = min(cap, max(1, int(limit / SLOW_BYTES_PER_S)))
        source = Source(route=route, rank=rank, cap=cap, meter=Meter(now_s))
        if route.peer:
            source.has = self._peer_has(route)
        seen = self.health.get((route.place, route.way))
        if seen is not None:
            source.reserve = seen.liar(unix_s)
            if seen.fresh(unix_s) and seen.connections:
                source.first_level = max(seen.connections, 1)
                source.rate_bytes_per_s = seen.rate_bytes_per_s / seen.connections
        return source

    def _peer_has(self, route: Route) -> Spans | None:
        """Which ranges a peer has by now; None: all."""
        places = {place.url: place.ranges for place in peer_places(self.session, self.asset)}
        ranges = places.get(route.url, ())
        return None if ranges is None else Spans(ranges)

    def _address(self, source: Source) -> str:
        return self.addresses.get(source.rank, source.route.url)

    # The loop

    def _fetch_all(self) -> Iterator[Event]:
        """Let the schedule and the network work until every byte is written, or no route is left."""
        schedule, session = self.schedule, self.session
        try:
            while not schedule.complete:
                session.check_stop()
                self.attend()
                schedule.forget(self.part.lost())  # before anything is handed out, or it comes twice
                now_s = session.monotonic()
                for move in schedule.step(now_s):
                    if isinstance(move, Stop):
                        yield from self._stop(move)
                    else:
                        self._start(move.transfer)
                if schedule.hopeless:
                    return
                yield from self._keep_pace()
                for item in self.pool.poll(POLL_S):
                    yield from self._take(item)
                    if self.schedule is not schedule:
                        return  # begun anew
                    if schedule.complete:
                        break
                yield from self._tick()
        except (Interrupted, SourceError):
            self.part.flush()
            raise
        finally:
            for transfer in list(schedule.transfers.values()):
                self.end(transfer)

    def _keep_pace(self) -> Iterator[Event]:
        """Leave what comes in the sockets, if it has come faster than --bwlimit allows."""
        while (wait_s := min(self.session.pace.wait_s(), POLL_S)) > 0:
            self.session.check_stop()
            self.session.sleep(wait_s)
            for transfer in self.schedule.transfers.values():
                transfer.active_s += wait_s  # it was not listened to
            yield from self._tick()

    def _start(self, transfer: Transfer) -> None:
        end = None if transfer.end == UNKNOWN_BYTES else transfer.end
        self.asked[transfer.key] = transfer.end
        transfer.address = self._address(transfer.source)
        self.pool.start(
            transfer.key,
            Request(
                url=transfer.address,
                way=transfer.source.route.proxy,
                start=transfer.start,
                end=end,
                etag=self.etag,
                place=transfer.source.route.url,
                inside=self.inside.get(transfer.source.rank, False),
            ),
        )

    def end(self, transfer: Transfer) -> None:
        """Close a connection, if it is still open, and free what it had promised."""
        self.pool.cancel(transfer.key)
        self.schedule.ended(transfer, self.session.monotonic())
        self.asked.pop(transfer.key, None)

    def _stop(self, move: Stop) -> Iterator[Event]:
        self.end(move.transfer)
        if move.silent_s:
            host = host_of(self._address(move.transfer.source))
            silence = f"{host}: no byte for {move.silent_s:.1f} s, connection closed"
            yield from self._failed(move.transfer, Unreachable(silence))

    def _take(self, item: Occurrence) -> Iterator[Event]:
        """Something happened to a transfer."""
        transfer = self.schedule.transfers.get(item.key)
        if transfer is None:
            return
        try:
            if isinstance(item, Headed):
                yield from take_head(self, transfer, item)
            elif isinstance(item, Came):
                take_bytes(self, transfer, item.pieces)
            elif isinstance(item, Ended):
                self.end(transfer)
                if item.error is not None:
                    raise item.error
                take_end(self, transfer)
        except SourceError as error:
            self.end(transfer)
            yield from self._failed(transfer, error)

    # Failures

    def _failed(self, transfer: Transfer, error: SourceError) -> Iterator[Event]:
        """A transfer broke: go on at once, let its route rest, or drop it."""
        source, now_s = transfer.source, self.session.monotonic()
        place, way = source.route.place, source.route.way
        self.last_error = error
        if not self.pinned and not self.etag and self.schedule.written:
            # Without a validator nothing says that what comes next is the same file.
            yield from self._renew(source, error)
            return
        if source.whole_only and transfer.start and isinstance(error, Changed):
            yield self._retrying(source, error.message, 0.0)
            return  # now it is known: it is asked for the whole, when nothing else is left
        if transfer.address != source.route.url and not transfer.fresh_bytes:
            # A signed address has expired, or the node behind it died: the place will name another.
            if self.addresses.get(source.rank) == transfer.address:
                del self.addresses[source.rank]
            if error.advice is Advice.OTHER_PLACE:
                return
        if isinstance(error, Replaced) and not self.pinned:
            yield from self._renew(source, error)
            return
        gained = transfer.fresh_bytes
        admitted = self.schedule.admitted(source)
        if admitted and not gained and isinstance(error, (Throttled, Unreachable)):
            wait_s = getattr(error, "after_s", 0.0)
            source.refused_one_more(admitted, wait_s, now_s, said=isinstance(error, Throttled))
            yield self._retrying(source, error.message, wait_s)
            return
        source.history = source.history.after(error, gained)
        # A signed address that expired on the way to it is no refusal by the place.
        judged = Unreachable(error.message) if transfer.redirected and isinstance(error, Refused) else error
        verdict = decide_retry(self.session.policy, judged, source.history, self.session.jitter())
        self.reasons[f"{source.route.name} ({way})"] = error.message
        if verdict.action == "again":
            if verdict.wait_s:
                source.rest(verdict.wait_s, now_s)
            yield self._retrying(source, error.message, verdict.wait_s)
        elif judged.advice is Advice.OTHER_PLACE and not source.spent and not source.whole_only:
            yield self.drop(source, error.message)
        else:
            source.spent = True
            source.rest(LATER_S, now_s)
            yield RouteDropped(task=self.task.id, place=place, way=way, reason=error.message)

    def _retrying(self, source: Source, reason: str, wait_s: float) -> Retrying:
        route = source.route
        return Retrying(
            task=self.task.id, place=route.place, way=route.way, reason=reason, wait_s=round(wait_s, 2)
        )

    def drop(self, source: Source, reason: str) -> RouteDropped:
        source.dropped = reason
        for transfer in [t for t in self.schedule.transfers.values() if t.source is source]:
            self.end(transfer)
        self.reasons[f"{source.route.name} ({source.route.way})"] = reason
        return RouteDropped(task=self.task.id, place=source.route.place, way=source.route.way, reason=reason)

    def _renew(self, source: Source, error: SourceError) -> Iterator[Event]:
        """The file on the server is, or may be, a new one; nothing says that the old one was better."""
        if self.renewed >= RENEW_LIMIT:
            yield self.drop(source, error.message)
            return
        self.renewed += 1
        yield Noted(task=self.task.id, text=f"{error.message}; begun anew")
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Throw the bytes away, and with them what the server had said of the whole."""
        for transfer in list(self.schedule.transfers.values()):
            self.end(transfer)
        self.part.restart()
        self.expected, self.served = self.asset.digests, False
        before = self.schedule
        self._begin([source.route for source in before.sources])
        for source, former in zip(self.schedule.sources, before.sources, strict=True):
            source.dropped, source.spent, source.history = former.dropped, former.spent, former.history

    def _no_route_left(self) -> G3MError:
        """The last error, with what every route said."""
        kind = type(self.last_error) if self.last_error else Unreachable
        lines = "".join(f"\n  {route}: {reason}" for route, reason in self.reasons.items())
        hint = self.last_error.hint if self.last_error else None
        return kind(f"{self.asset.name}: no place delivered it{lines}", hint=hint)

    # The digest

    def _verified(self) -> Generator[Event, None, bool]:
        """Whether the digest of the file is the expected one; if not, what is doubtful is fetched anew."""
        self.part.settle(self.session.check_stop)
        lost = self.part.lost()
        if lost:
            yield Noted(
                task=self.task.id, text=f"{len(lost)} pieces were not on the disk as recorded; fetched again"
            )
            self.schedule.forget(lost)
            return False
        wrong = self.part.wrong(self.expected)
        if wrong is None:
            yield from self.suspects.report(self)
            return True
        short = [f"{digest.algorithm} {digest.hex[:12]}…" for digest in wrong]
        names = ", ".join(dict.fromkeys(map(host_of, self.part.bytes_of_places())))
        text = f"the bytes from {names} have {short[1]}, pinned is {short[0]}"
        self.last_error = DigestMismatch(f"{self.asset.name}: {text}")
        if self.used:
            raise self.last_error  # wrong bytes may have been taken out, and replacing them would not help
        yield Noted(task=self.task.id, text=f"{text}; looking for the culprit")
        if not self.pinned:
            yield from self._distrust_all()
        else:
            yield from examine(self)
        return False

    def _distrust_all(self) -> Iterator[Event]:
        """Without a pinned digest there is one place, and it contradicts itself."""
        source = self.schedule.sources[0]
        if self.suspects.convict(source.route.name):
            for one in self.schedule.sources:
                yield self.drop(one, "it delivered wrong bytes twice")
        self._begin_anew()

    # What people see

    def _tick(self) -> Iterator[Event]:
        now_s = self.session.monotonic()
        if now_s - self.ticked_s < TICK_S:
            return
        self.ticked_s = now_s
        for source in self.schedule.sources:
            if source.has is not None:
                source.has = self._peer_has(source.route)
            source.best_bytes_per_s = max(source.best_bytes_per_s, source.meter.rate(now_s))
        yield self._progress()
        yield RoutesMeasured(
            task=self.task.id,
            routes=tuple(
                RouteSpeed(
                    place=source.route.place,
                    way=source.route.way,
                    connections=self.schedule.connections(source),
                    rate_bytes_per_s=round(source.meter.rate(now_s), 1),
                    done_bytes=source.meter.total_bytes,
                )
                for source in self.schedule.sources
            ),
        )

    def _progress(self) -> Progressed:
        size = self.schedule.size_bytes
        return Progressed(
            task=self.task.id,
            done_bytes=self.schedule.written.size_bytes - self.hidden_bytes,
            total_bytes=0 if size == UNKNOWN_BYTES else size,
        )


def _one_place_each(routes: Sequence[Route], kept: dict[str, str]) -> list[list[Route]]:
    """The routes by place; the place whose bytes are here already comes first."""
    groups: dict[str, list[Route]] = {}
    for route in routes:
        groups.setdefault(route.url, []).append(route)
    return sorted(groups.values(), key=lambda group: group[0].name not in kept)
