"""A network that exists in numbers only: sources with speeds, latencies and vices, and a clock of its own."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from g3m.core.errors import SourceError, Throttled, Unreachable
from g3m.core.retry import Policy, decide
from g3m.core.routes import Route
from g3m.core.schedule import Limits, Schedule, Start, Stop, Transfer
from g3m.core.sources import Meter, Source
from g3m.core.spans import Spans

CHUNK_S = 0.02


@dataclass
class Link:
    """How one source behaves: bytes a second a connection, seconds of latency, and what goes wrong."""

    rate: float = 2e6
    latency_s: float = 0.02
    reset_bytes: float = 0
    """A connection breaks after so many bytes on average."""
    silent_bytes: float = 0
    """A connection falls silent after so many bytes on average."""
    most: int = 10_000
    """Connections above this are turned away with 503."""
    total: float = float("inf")
    """Bytes a second for all its connections together."""
    dead: bool = False
    """Refuses every connection."""
    hole: bool = False
    """Accepts, and says nothing ever."""
    until_s: float = float("inf")
    """When it dies."""
    lie_length: float = 0.0
    """The share of answers that end early, without an error."""


@dataclass
class Network:
    """Plays the part of steps/fetch.py and of the world: moves in, bytes and failures out."""

    links: list[Link]
    size_bytes: int
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    now_s: float = 100.0
    steps: int = 0
    delivered: int = 0
    """Bytes that servers sent, wanted or not."""
    failed: bool = False
    timeline: list[tuple[float, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.sources = [
            Source(
                route=Route(f"http://s{n}/f"), rank=n, cap=self.limits.connections, meter=Meter(self.now_s)
            )
            for n in range(len(self.links))
        ]
        self.schedule = Schedule(
            self.sources,
            size_bytes=self.size_bytes,
            written=Spans(),
            limits=self.limits,
            now_s=self.now_s,
        )
        self.queue: list[tuple[float, int, str, Transfer]] = []
        self.count = 0
        self.fate: dict[int, float] = {}
        self.asked: dict[int, int] = {}

    def at(self, after_s: float, what: str, transfer: Transfer) -> None:
        self.count += 1
        heapq.heappush(self.queue, (self.now_s + after_s, self.count, what, transfer))

    def run(self, limit_s: float = 100_000) -> float:
        """Seconds until the file is whole, or `failed`; an AssertionError if it takes too long."""
        begun_s = self.now_s
        schedule = self.schedule
        while not schedule.complete:
            self.steps += 1
            assert self.now_s - begun_s < limit_s, "a livelock"
            for move in schedule.step(self.now_s):
                if isinstance(move, Start):
                    self.start(move.transfer)
                elif isinstance(move, Stop):
                    schedule.ended(move.transfer, self.now_s)
                    if move.silent_s:
                        self.fail(move.transfer, Unreachable("silent"))
            self.check()
            if schedule.hopeless:
                self.failed = True
                break
            # As the real poll does: wait for the next thing to happen, a tenth of a second at most.
            if self.queue and self.queue[0][0] <= self.now_s + 0.1:
                self.now_s = max(self.now_s, self.queue[0][0])
                while self.queue and self.queue[0][0] <= self.now_s:
                    _, _, what, transfer = heapq.heappop(self.queue)
                    if transfer.key in schedule.transfers:
                        getattr(self, what)(transfer)
            else:
                self.now_s += 0.1
        return self.now_s - begun_s

    def check(self) -> None:
        """What must hold at every moment."""
        live = self.schedule.transfers.values()
        assert len(live) <= self.limits.total_connections
        for source in self.sources:
            assert self.schedule.connections(source) <= self.limits.connections
        assert all(0 <= t.start <= t.position for t in live)

    def link(self, transfer: Transfer) -> Link:
        return self.links[transfer.source.rank]

    def start(self, transfer: Transfer) -> None:
        link = self.link(transfer)
        self.asked[transfer.key] = transfer.end
        if link.dead or self.now_s >= link.until_s:
            self.at(link.latency_s, "refuse", transfer)
        elif not link.hole:
            vice = [
                self.random.expovariate(1 / mean) for mean in (link.reset_bytes, link.silent_bytes) if mean
            ]
            self.fate[transfer.key] = min(vice, default=float("inf"))
            if self.random.random() < link.lie_length:
                self.asked[transfer.key] = transfer.start + (transfer.end - transfer.start) // 2
            self.at(2 * link.latency_s, "head", transfer)

    def refuse(self, transfer: Transfer) -> None:
        self.schedule.ended(transfer, self.now_s)
        self.fail(transfer, Unreachable("refused"))

    def head(self, transfer: Transfer) -> None:
        link = self.link(transfer)
        if (
            sum(
                t.source is transfer.source and t.headed_s is not None
                for t in self.schedule.transfers.values()
            )
            >= link.most
        ):
            self.schedule.ended(transfer, self.now_s)
            self.fail(transfer, Throttled("busy"))
            return
        self.schedule.headed(transfer, self.now_s)
        self.at(CHUNK_S, "flow", transfer)

    def flow(self, transfer: Transfer) -> None:
        link, schedule = self.link(transfer), self.schedule
        if self.now_s >= link.until_s:
            return
        rate = min(link.rate, link.total / max(schedule.connections(transfer.source), 1))
        size = max(int(rate * CHUNK_S), 1)
        left = self.asked[transfer.key] - transfer.position
        fate = self.fate[transfer.key]
        ends = "done" if size >= left else ""
        size = min(size, left)
        if transfer.gained_bytes + size > fate:
            size = max(int(fate) - transfer.gained_bytes, 0)
            ends = "reset" if link.reset_bytes else "silent"
        self.delivered += size
        if size:
            fresh = schedule.received(transfer, size, self.now_s)
            self.timeline.append((self.now_s, transfer.source.rank, sum(b - a for a, b in fresh)))
            if schedule.over(transfer, fresh):
                schedule.ended(transfer, self.now_s)
                return
        if ends == "silent":
            return
        if ends:
            schedule.ended(transfer, self.now_s)
            if ends == "reset" or transfer.position < transfer.end:
                self.fail(transfer, Unreachable(ends))
            return
        self.at(CHUNK_S, "flow", transfer)

    def fail(self, transfer: Transfer, error: SourceError) -> None:
        """As steps/fetch.py treats a failure, in short."""
        source, gained = transfer.source, transfer.gained_bytes
        admitted = self.schedule.admitted(source)
        if admitted and not gained:
            source.refused_one_more(admitted, 0.0, self.now_s, said=isinstance(error, Throttled))
            return
        source.history = source.history.after(error, gained)
        verdict = decide(self.policy, error, source.history, self.random.random())
        if verdict.action == "drop":
            source.spent = True
            source.rest(30.0, self.now_s)
        elif verdict.wait_s:
            source.rest(verdict.wait_s, self.now_s)
