"""Keeps what downloads learn of routes in `.g3m/network.json`, and reads it for the next one."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence

from g3m.adapters.disk import read_document, write_document
from g3m.adapters.session import Session
from g3m.core.errors import StorageError
from g3m.core.health import Health, Seen, dump, parse
from g3m.core.sources import Source

NAME = "network.json"


def recall(session: Session) -> Health:
    """What is known of routes, seen from this machine."""
    return parse(read_document(session.store.work / NAME) or "", platform.node())


def remember(session: Session, sources: Iterable[Source], liars: Sequence[str]) -> None:
    """Add what a download learned; a memory that cannot be written must not spoil it."""
    now_s = session.now().timestamp()
    learned = [_seen(source, now_s, source.route.place in liars) for source in sources]
    learned = [seen for seen in learned if seen.rate_bytes_per_s or seen.lied_s]
    if not learned:
        return
    path = session.store.work / NAME
    try:
        write_document(path, dump(read_document(path) or "", platform.node(), learned))
    except StorageError:
        return


def _seen(source: Source, now_s: float, lied: bool) -> Seen:
    route = source.route
    return Seen(
        host=route.place,
        way=route.way,
        rate_bytes_per_s=round(source.best_bytes_per_s, 1),
        connections=source.level,
        latency_s=round(source.latency_s, 4),
        seen_s=round(now_s),
        lied_s=round(now_s) if lied else 0.0,
    )
