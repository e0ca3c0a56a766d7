"""Who delivered wrong bytes? Asked when a whole file has not the pinned digest.

Each place's bytes are sampled and compared with what another place says. The one that disagrees most,
and among equals the one that the recipe names last, is suspected: its bytes are claimed no longer and
fetched from the others, while what comes is compared with what was there. If the digest agrees then, the
culprit is known to the byte. If not, the next one is suspected; whoever was innocent comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from g3m.adapters.http import Came, Ended, Headed, Request
from g3m.adapters.parts import Difference
from g3m.core.errors import SourceError
from g3m.core.events import Event, Noted, RouteDropped
from g3m.core.resume import Wanted, decide
from g3m.core.secrets import host_of
from g3m.core.sources import Source
from g3m.core.spans import Span

if TYPE_CHECKING:
    from g3m.steps.fetch import Download

WRONG_LIMIT = 2
"""How often a place that is alone may deliver wrong bytes: once may be the line, twice is the place."""

SUSPECTED = "suspected of wrong bytes"

SAMPLES = 3
SAMPLE_BYTES = 2**20
LEAST_SAMPLE_BYTES = 2**16
SAMPLE_S = 10.0


@dataclass(slots=True)
class Suspects:
    """What is known against the places of one download, by their names."""

    convictions: dict[str, int] = field(default_factory=dict)
    accused: dict[str, Difference] = field(default_factory=dict)
    """Suspected places, with what their bytes turned out to be when others came instead."""
    rounds: int = 0
    forgiven: set[str] = field(default_factory=set)

    @property
    def liars(self) -> list[str]:
        """The hosts whose bytes were proved wrong."""
        proved = [name for name, found in self.accused.items() if found.size_bytes]
        return [host_of(name) for name in (*proved, *self.convictions)]

    def convict(self, name: str) -> bool:
        """Count a proven case; True if it is one too many."""
        self.convictions[name] = self.convictions.get(name, 0) + 1
        return self.convictions[name] >= WRONG_LIMIT

    def report(self, download: Download) -> Iterator[Event]:
        """The digest agrees at last: name the places whose bytes were others, and say where."""
        self.hear(download)
        for name, found in self.accused.items():
            if found.size_bytes:
                plural = "" if found.size_bytes == 1 else "s"
                wrong = f"{found.size_bytes} wrong byte{plural}, the first at {found.first}"
                text = f"{host_of(name)} had delivered {wrong}; they were replaced"
                yield Noted(task=download.task.id, text=text)

    def hear(self, download: Download) -> None:
        """Keep what the last refetch showed of the one suspected last."""
        if self.accused:
            self.accused[next(reversed(self.accused))] = download.part.difference


def examine(download: Download) -> Iterator[Event]:
    """Choose whom to suspect, and give its bytes up; raises the mismatch when there is no way left."""
    suspects, part = download.suspects, download.part
    suspects.hear(download)
    suspects.rounds += 1
    shares = part.bytes_of_places()
    if suspects.rounds > 2 * len(download.schedule.sources) + 2 and download.last_error is not None:
        raise download.last_error
    if len(shares) == 1:
        name = next(iter(shares))
        yield from _convict(name, download)
    else:
        name = _choose(shares, download)
        suspects.accused[name] = Difference()
        yield from _exclude(name, SUSPECTED, download)
    download.schedule.forget(part.suspect(name))


def forgive(download: Download) -> bool:
    """Whether somebody comes back when nobody is left: who was only suspected, once. The others may have been
    the liars, and have gone for another reason before it was proved.
    """
    suspects = download.suspects
    sources = [one for one in download.schedule.sources if one.dropped == SUSPECTED]
    back = [one for one in sources if _name(one) not in suspects.forgiven]
    for source in back:
        source.dropped = ""
        suspects.forgiven.add(_name(source))
    return bool(back)


def _convict(name: str, download: Download) -> Iterator[Event]:
    """Every byte came from one place, so it is proved; those it had brought under suspicion come back."""
    suspects = download.suspects
    others = [s for s in download.schedule.sources if _name(s) != name]
    for source in others:
        if (
            source.dropped
            and _name(source) in suspects.accused
            and not suspects.convictions.get(_name(source))
        ):
            source.dropped = ""
    suspects.accused = {name: Difference()}
    twice = suspects.convict(name)
    if twice or any(not source.dropped for source in others):
        yield from _exclude(name, "it delivered wrong bytes", download)


def _choose(shares: dict[str, int], download: Download) -> str:
    """The place that others disagree with most; among equals the one that is trusted least."""
    votes = dict.fromkeys(shares, 0)
    for name in shares:
        for witness in _witnesses(name, download):
            for span in _samples(download.part.spans_of(name), witness):
                theirs = _ask(witness, span, download)
                if theirs is not None and theirs != download.part.read(*span):
                    votes[name] += 1
                    if _name(witness) in votes:
                        votes[_name(witness)] += 1
            break
    trust = {_name(source): source.rank for source in reversed(download.schedule.sources)}
    sources = download.schedule.sources
    able = [name for name in shares if any(_name(s) != name and not s.dropped for s in sources)]
    able = able or list(shares)  # who alone can deliver what is missing is not to be sent away
    fresh = [name for name in able if name not in download.suspects.accused] or able
    return max(fresh, key=lambda name: (votes[name], trust.get(name, len(trust))))


def _witnesses(name: str, download: Download) -> list[Source]:
    """Other places that work, the best trusted first."""
    sources = [s for s in download.schedule.sources if _name(s) != name and not s.dropped and not s.spent]
    return sorted(sources, key=lambda source: (not source.good, source.rank))


def _samples(spans: list[Span], witness: Source) -> list[Span]:
    """Up to three ranges of a place's bytes: the first, the middle and the last."""
    chosen = {number: spans[number] for number in (0, len(spans) // 2, len(spans) - 1) if spans}
    rate = witness.rate_bytes_per_s or SAMPLE_BYTES
    length = int(min(max(rate, LEAST_SAMPLE_BYTES), SAMPLE_BYTES))
    return [(start, min(end, start + length)) for start, end in list(chosen.values())[:SAMPLES]]


def _ask(source: Source, span: Span, download: Download) -> bytes | None:
    """A range as a source has it, or None if it does not say in time."""
    session, data = download.session, bytearray()
    end_s = session.monotonic() + SAMPLE_S
    start, end = span
    with session.http.pool() as pool:
        pool.start(0, Request(url=source.route.url, way=source.route.proxy, start=start, end=end))
        while session.monotonic() < end_s and len(data) < end - start:
            session.check_stop()
            for item in pool.poll(0.1):
                if isinstance(item, Headed):
                    wanted = Wanted(
                        label=source.route.place, offset_bytes=start, size_bytes=download.asset.size_bytes
                    )
                    try:
                        if decide(wanted, item.answer).offset_bytes != start:
                            return None
                    except SourceError:
                        return None
                elif isinstance(item, Came):
                    data += b"".join(item.pieces)
                elif isinstance(item, Ended) and len(data) < end - start:
                    return None
    return bytes(data[: end - start]) if len(data) >= end - start else None


def _exclude(name: str, reason: str, download: Download) -> Iterator[RouteDropped]:
    """Use a place no more, over whichever way."""
    for source in download.schedule.sources:
        if _name(source) == name and not source.dropped:
            yield download.drop(source, reason)


def _name(source: Source) -> str:
    return source.route.name
