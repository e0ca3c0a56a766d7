"""Who fetches which bytes, and when a connection is given up: the whole policy of a download, pure.

The file is handed out in order, a few seconds' worth a request, the fastest source first; so what is
written stays close to one range, and its digest can follow. When nothing is left to hand out, the idle
take from the slow: the tail of what the slowest has before it, or all of it, if it crawls. A silent
connection is closed and what it was to bring is free again. Bytes are counted where they are first
written: `written` only grows, and whoever arrives second is sent home.

Nothing here waits, connects or looks at a clock; the tests drive it over simulated networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from g3m.core.sources import Meter, Source
from g3m.core.spans import Span, Spans

AWAY_S = 5.0
FAR_S = 0.1
UNKNOWN_BYTES = 2**62
"""The end of a file whose size nobody has said yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The measures of the policy: bytes and seconds."""

    connections: int = 16
    total_connections: int = 32
    first_piece_bytes: int = 2**20
    least_piece_bytes: int = 2**18
    most_piece_bytes: int = 2**23
    horizon_s: float = 6.0
    stall_s: float = 30.0
    """The longest silence that is borne; with a known latency much less is."""
    least_stall_s: float = 4.0
    head_s: float = 20.0
    eager_head_s: float = 3.0
    """The patience with a source's first answer while another source delivers."""
    thrift_after_s: float = 5.0
    thrift_for_s: float = 3.0
    thrift_left_s: float = 60.0
    thrift_again_s: float = 120.0


@dataclass(slots=True, eq=False, kw_only=True)
class Transfer:
    """One request under way: it has promised the bytes from `position` to `end`."""

    key: int
    source: Source
    start: int
    end: int
    begun_s: float
    position: int
    active_s: float
    meter: Meter
    headed_s: float | None = None
    fresh_bytes: int = 0
    """Bytes of it that nobody else had brought."""
    address: str = ""
    """What was asked for: the place, or where its redirects had led."""
    redirected: bool = False
    """Whether its answer came from elsewhere than the place."""
    skip: bool = False
    """It brings bytes that are there already, on its way to those that are not."""

    @property
    def left_bytes(self) -> int:
        return max(self.end - self.position, 0)

    @property
    def gained_bytes(self) -> int:
        return self.position - self.start


@dataclass(frozen=True, slots=True)
class Start:
    """Open a connection: ask this source for this range."""

    transfer: Transfer


@dataclass(frozen=True, slots=True)
class Stop:
    """Close a connection; `silent_s` is how long it said nothing, 0 if it is merely not needed any more."""

    transfer: Transfer
    silent_s: float = 0.0


Move = Start | Stop


@dataclass(slots=True)
class _Trial:
    """Half of a source's connections are given back for a moment: does anything get slower?"""

    source: Source
    former_level: int
    former_rate: float
    begun_s: float
    settled_bytes: int = -1


class Schedule:
    """The state of one download: what is written, who is at work, what comes next."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        size_bytes: int | None,
        written: Spans,
        limits: Limits,
        now_s: float,
        room: Callable[[Source], bool] = lambda _: True,
    ) -> None:
        """`room` says whether a host may have one more connection, whoever else uses it."""
        self.sources = list(sources)
        self.size_bytes = UNKNOWN_BYTES if size_bytes is None else size_bytes
        self.written = written
        self.limits = limits
        self.solo = False
        """One connection only: the file has no validator, so parts of two answers could differ."""
        self.ceiling = UNKNOWN_BYTES
        """Nothing behind it is begun: whoever uses the file up from its front has not come so far."""
        self.transfers: dict[int, Transfer] = {}
        self.meter = Meter(now_s)
        self._room = room
        self._keys = 0
        self._trial: _Trial | None = None
        self._trial_after_s = now_s + limits.thrift_after_s

    # What happened

    def headed(self, transfer: Transfer, now_s: float) -> None:
        """A right answer began."""
        transfer.headed_s = transfer.active_s = now_s
        transfer.meter = Meter(now_s)
        transfer.source.answered(now_s - transfer.begun_s, now_s)

    def received(self, transfer: Transfer, size_bytes: int, now_s: float) -> list[Span]:
        """Bytes came at the transfer's position: the ranges among them that are to be written."""
        start = transfer.position
        transfer.position = start + size_bytes
        transfer.active_s = now_s
        transfer.meter.add(size_bytes, now_s)
        fresh = list(self.written.gaps(start, min(transfer.position, transfer.end)))
        gained = 0
        for begin, stop in fresh:
            self.written.add(begin, stop)
            gained += stop - begin
        transfer.fresh_bytes += gained
        self.meter.add(gained, now_s)
        transfer.source.received(gained, now_s)
        return fresh

    def over(self, transfer: Transfer, fresh: Sequence[Span]) -> bool:
        """After `received`: whether it has done its part, or somebody else has."""
        if transfer.position >= transfer.end:
            return True
        return not fresh and not transfer.skip

    def ended(self, transfer: Transfer, now_s: float) -> None:
        """A transfer is over, for whatever reason; what it left is free again."""
        self.transfers.pop(transfer.key, None)
        source = transfer.source
        if _settled(transfer, now_s):
            source.rate_bytes_per_s = transfer.meter.rate(now_s)
        elif transfer.gained_bytes > 0 and not source.rate_bytes_per_s:
            source.rate_bytes_per_s = transfer.meter.rate(now_s)  # short, but better than nothing

    def forget(self, spans: Sequence[Span]) -> None:
        """Bytes that turned out wrong or lost are to be fetched again."""
        for start, end in spans:
            self.written.remove(start, end)

    # What is known

    @property
    def complete(self) -> bool:
        """Whether every byte is written."""
        return self.written.covers(0, self.size_bytes)

    @property
    def hopeless(self) -> bool:
        """Whether no source is left that could deliver."""
        return not self.transfers and all(source.dropped or source.spent for source in self.sources)

    def connections(self, source: Source) -> int:
        """How many transfers of a source are under way."""
        return sum(transfer.source is source for transfer in self.transfers.values())

    def flowing(self, source: Source) -> int:
        """How many of them have brought bytes."""
        return sum(t.source is source and t.gained_bytes > 0 for t in self.transfers.values())

    def admitted(self, source: Source) -> int:
        """How many of them the server has answered."""
        return sum(t.source is source and t.headed_s is not None for t in self.transfers.values())

    def rate(self, source: Source, now_s: float) -> float:
        """Bytes a second of one connection of a source: measured now, or remembered."""
        rates = [
            transfer.meter.rate(now_s)
            for transfer in self.transfers.values()
            if transfer.source is source and _settled(transfer, now_s)
        ]
        if rates:
            source.rate_bytes_per_s = sum(rates) / len(rates)
        return source.rate_bytes_per_s

    # What to do

    def step(self, now_s: float) -> Iterator[Move]:
        """What is to be done now; each move is taken as done when the next one is asked for."""
        yield from self._stop(now_s)
        yield from self._fill(now_s)
        for source in self.sources:
            if source.good:
                source.grow(self.connections(source), self.flowing(source), now_s)
        yield from self._try_fewer(now_s)

    def _stop(self, now_s: float) -> Iterator[Move]:
        others = {id(source) for source in self.sources if source.good}
        for transfer in list(self.transfers.values()):
            silent_s = now_s - transfer.active_s
            if silent_s >= self._patience_s(transfer, bool(others - {id(transfer.source)})):
                yield Stop(transfer, silent_s)

    def _patience_s(self, transfer: Transfer, others: bool) -> float:
        """How long a transfer may be silent."""
        limits, source = self.limits, transfer.source
        if transfer.headed_s is not None:
            # Where others of the same source flow, silence is this connection's own.
            least_s = limits.least_stall_s / (2 if self.flowing(source) > 1 else 1)
            return min(limits.stall_s, max(least_s, 8 * source.latency_s))
        longest = min(limits.head_s, limits.stall_s)
        if not others and not source.good:
            return longest
        eager_s = max(limits.eager_head_s, 8 * source.latency_s)
        return min(longest, eager_s * 2.0 ** min(source.history.empty, 5))

    def _fill(self, now_s: float) -> Iterator[Move]:
        """Give every source that may have one more connection something to do."""
        while len(self.transfers) < (1 if self.solo else self.limits.total_connections):
            for source in self._ready(now_s):
                span = self._span_for(source, now_s)
                if span is not None and self._room(source):
                    yield Start(self._begin(source, span, now_s))
                    break
            else:
                return

    def _ready(self, now_s: float) -> list[Source]:
        """The sources that may have one more: first those that have to prove themselves, then the fast."""
        ready = [s for s in self.sources if s.may_start(self.connections(s), now_s)]
        if any(not (_last_resort(source) or _away(source, now_s)) for source in self.sources):
            ready = [source for source in ready if not _last_resort(source)]
        return sorted(ready, key=lambda s: (s.good, -self.rate(s, now_s) if s.good else 0.0, s.rank))

    def _begin(self, source: Source, span: Span, now_s: float) -> Transfer:
        self._keys += 1
        transfer = Transfer(
            key=self._keys,
            source=source,
            start=span[0],
            end=span[1],
            begun_s=now_s,
            position=span[0],
            active_s=now_s,
            meter=Meter(now_s),
            skip=source.whole_only,
        )
        self.transfers[transfer.key] = transfer
        return transfer

    def _span_for(self, source: Source, now_s: float) -> Span | None:
        if source.whole_only:
            return None if self.transfers else (0, self.size_bytes)
        free = self._first_free(source)
        if free is None:
            return self._take_over(source, now_s)
        start, end = free
        if self.size_bytes == UNKNOWN_BYTES or self.solo:
            return free
        length = self._length(source, now_s)
        # No crumb is left behind that would cost a request of its own.
        return (start, end) if end - start < 1.5 * length else (start, start + length)

    def _first_free(self, source: Source) -> Span | None:
        """The first range that is neither written nor promised, and that the source has."""
        promised = Spans((t.position, t.end) for t in self.transfers.values())
        for start, end in self.written.gaps(0, min(self.size_bytes, self.ceiling)):
            for gap in promised.gaps(start, end):
                for span in [gap] if source.has is None else source.has.within(*gap):
                    return span
        return None

    def _length(self, source: Source, now_s: float) -> int:
        """A few seconds' worth, and less when the end is near: half of the source's fair share."""
        limits, rate = self.limits, self.rate(source, now_s)
        if not rate:
            # Far away a small first piece costs a round trip for little.
            most = 8 * limits.first_piece_bytes if source.latency_s > FAR_S else 0
            share = (self.size_bytes - self.written.size_bytes) // (2 * limits.connections)
            return max(min(share, most), limits.first_piece_bytes)
        everybody = rate + sum(self.rate(t.source, now_s) for t in self.transfers.values())
        left = self.size_bytes - self.written.size_bytes
        wanted = min(rate * limits.horizon_s, left * rate / everybody / 2, limits.most_piece_bytes)
        far = min(25 * rate * source.latency_s, left * rate / everybody / 2)
        return int(max(wanted, far, limits.least_piece_bytes, 2 * rate * source.latency_s))

    def _take_over(self, source: Source, now_s: float) -> Span | None:
        """Part of what the slowest has before it, if this source would be through sooner."""
        victim, finish_s, begin = None, 0.0, 0
        active = list(self.transfers.values())
        for transfer in active:
            gap = next(self.written.gaps(transfer.position, transfer.end), None)
            eta_s = self._eta_s(transfer, now_s)
            if gap is None or eta_s <= finish_s:
                continue
            rivals = [t for t in active if t is not transfer and gap[0] <= t.position < transfer.end]
            if any(self._eta_s(rival, now_s) < math.inf for rival in rivals):
                continue  # somebody runs this race already, and may win it
            victim, finish_s, begin = transfer, eta_s, gap[0]
        known = self.rate(source, now_s)
        rate = known or self.meter.rate(now_s) / max(len(self.transfers), 1)
        if victim is None or (not rate and finish_s < math.inf):
            return None
        if source.has is not None and not source.has.covers(begin, victim.end):
            return None
        if not rate:
            return begin, victim.end  # nobody has delivered yet: whoever answers first
        left, wait_s = victim.end - begin, source.latency_s
        if not known and left < self.limits.least_piece_bytes and finish_s > self.limits.horizon_s:
            return begin, victim.end  # a little that takes long: try it, who knows
        alone_s = left / rate + wait_s
        if finish_s > 3 * alone_s + 0.5:
            return begin, victim.end  # it crawls: a race for all of it
        share = (finish_s - wait_s) / finish_s * left * rate / (rate + left / finish_s)
        if share < self.limits.least_piece_bytes / 4 or finish_s < 1.5 * (share / rate + wait_s) + 0.1:
            return None
        middle = victim.end - int(share)
        if middle <= begin or middle >= victim.end:
            return None
        end, victim.end = victim.end, middle
        return middle, end

    def _eta_s(self, transfer: Transfer, now_s: float) -> float:
        """Seconds until a transfer has brought all: by its own speed, or by its source's if it is young."""
        source, left = transfer.source, transfer.left_bytes
        young_s = 2 * source.latency_s + 0.5
        if transfer.headed_s is None or now_s - transfer.headed_s < 0.3:
            late_s = now_s - transfer.begun_s - young_s
            known = self.rate(source, now_s) if source.good else 0.0
            if late_s < 0:
                return left / known + source.latency_s if known else 0.0
            return left / known + 4 * late_s if known else math.inf
        return left / max(transfer.meter.rate(now_s), 1.0)

    def _try_fewer(self, now_s: float) -> Iterator[Move]:
        """Now and then half of a source's connections are given back; if nothing is lost, for good."""
        if self._trial is not None:
            self._judge(self._trial, now_s)
            return
        rate = self.meter.rate(now_s)
        left = self.size_bytes - self.written.size_bytes
        if now_s < self._trial_after_s or not rate or left / rate < self.limits.thrift_left_s:
            return
        busy = [s for s in self.sources if s.good and 2 < s.level == self.connections(s)]
        self._trial_after_s = now_s + self.limits.thrift_after_s
        if not busy:
            return
        source = max(busy, key=lambda s: s.level)
        self._trial = _Trial(source, source.level, rate, now_s)
        source.level, source.grown_s = source.level // 2, math.inf
        mine = [transfer for transfer in self.transfers.values() if transfer.source is source]
        for transfer in sorted(mine, key=lambda t: -t.position)[: len(mine) - source.level]:
            yield Stop(transfer)

    def _judge(self, trial: _Trial, now_s: float) -> None:
        limits, source = self.limits, trial.source
        settle_s = 0.5 + source.latency_s
        if trial.settled_bytes < 0:
            if now_s - trial.begun_s >= settle_s:
                trial.settled_bytes, trial.begun_s = self.meter.total_bytes, now_s
            return
        passed_s = now_s - trial.begun_s
        rate = (self.meter.total_bytes - trial.settled_bytes) / max(passed_s, 0.05)
        plainly_slower = passed_s >= 1.0 and rate < 0.75 * trial.former_rate
        if passed_s < limits.thrift_for_s and not plainly_slower:
            return
        self._trial = None
        if not source.good:
            return  # it failed meanwhile, and begins anew anyway
        source.grown_s = now_s + limits.thrift_again_s
        if rate >= 0.88 * trial.former_rate:
            self._trial_after_s = now_s + limits.thrift_after_s
        else:
            source.level = trial.former_level
            self._trial_after_s = now_s + limits.thrift_again_s


def _away(source: Source, now_s: float) -> bool:
    """Whether nothing is to be expected of a source for some time."""
    return bool(source.dropped) or source.spent or source.rest_until_s > now_s + AWAY_S


def _last_resort(source: Source) -> bool:
    return source.whole_only or source.reserve


def _settled(transfer: Transfer, now_s: float) -> bool:
    """Whether a transfer has run long enough for its speed to mean something."""
    return transfer.headed_s is not None and now_s - transfer.headed_s >= 0.2
