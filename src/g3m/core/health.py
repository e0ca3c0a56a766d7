"""What earlier downloads learned of routes, with its age: speeds to begin with, and who lied.

A memory, not a truth: it only orders and sizes the first steps of the next download. It is kept for one
machine, because another one may sit in another network.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

FORMAT = 1
FRESH_S = 86_400.0
LIAR_S = 7 * 86_400.0
LIMIT = 500
MOST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A route as it was last seen: all connections together, one connection, and when (Unix time)."""

    host: str
    way: str = "direct"
    rate_bytes_per_s: float = 0.0
    connections: int = 0
    latency_s: float = 0.0
    seen_s: float = 0.0
    lied_s: float = 0.0
    """When it delivered wrong bytes; 0 if never."""

    def fresh(self, now_s: float) -> bool:
        """Whether its speed may be counted on."""
        return self.rate_bytes_per_s > 0 and 0 <= now_s - self.seen_s < FRESH_S

    def liar(self, now_s: float) -> bool:
        """Whether it lied of late."""
        return self.lied_s > 0 and now_s - self.lied_s < LIAR_S


Health = dict[tuple[str, str], Seen]


def parse(text: str, machine: str) -> Health:
    """The memory of a machine; nothing of what cannot be read."""
    try:
        rows = json.loads(text)["machines"][machine]
        found = [_seen(row) for row in rows[:LIMIT]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {(seen.host, seen.way): seen for seen in found if seen is not None}


def _seen(row: Any) -> Seen | None:
    try:
        numbers = {name: float(row[name]) for name in ("rate_bytes_per_s", "latency_s", "seen_s", "lied_s")}
        connections = int(row["connections"])
        if not all(0 <= number < 1e15 for number in numbers.values()) or not 0 <= connections <= MOST:
            return None
        return Seen(host=str(row["host"]), way=str(row["way"]), connections=connections, **numbers)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def dump(text: str, machine: str, learned: Iterable[Seen]) -> str:
    """The document with what was learned added; other machines' rows stay."""
    health = parse(text, machine)
    for seen in learned:
        before = health.get((seen.host, seen.way))
        lied_s = max(seen.lied_s, before.lied_s if before else 0.0)
        if before is not None and not seen.rate_bytes_per_s:
            seen = replace(before, lied_s=lied_s)  # noqa: PLW2901  # nothing new but the lie
        health[seen.host, seen.way] = replace(seen, lied_s=lied_s)
    rows = sorted(health.values(), key=lambda seen: -max(seen.seen_s, seen.lied_s))[:LIMIT]
    try:
        machines = json.loads(text)["machines"]
        machines = machines if isinstance(machines, dict) else {}
    except (ValueError, KeyError, TypeError, RecursionError):
        machines = {}
    body = {"format": FORMAT, "machines": {**machines, machine: [asdict(seen) for seen in rows]}}
    return json.dumps(body, indent=1) + "\n"
