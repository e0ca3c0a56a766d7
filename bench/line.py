"""Serves files as bench/hostile.py does, over one line: the rate of a source is that of all its connections.

python bench/line.py SPEC.json    the same addresses, answers and counts
"""

from __future__ import annotations

from typing import Any

from hostile import BURST_S, Server, main
from link import Source


class Line(Server):
    """Connections take turns: each sends a step and waits until the line is free again."""

    def __init__(self, sources: list[Source], seed: int) -> None:
        super().__init__(sources, seed)
        self._free_s: dict[str, float] = {}

    def _sent(self, connection: Any, sent: int, now_s: float) -> None:
        super()._sent(connection, sent, now_s)
        source = connection.place.source
        if source.rate_bytes_per_s:
            free_s = max(self._free_s.get(source.name, 0.0), now_s - BURST_S)
            self._free_s[source.name] = free_s + sent / source.rate_bytes_per_s
            connection.ready_s = self._free_s[source.name]


if __name__ == "__main__":
    main(Line)
