"""Serves files as bench/hostile.py does, over one line: the rate of a source is that of all its connections.

python bench/line.py SPEC.json    the same addresses, answers and counts
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from hostile import BURST_S, Server
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


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sources = [Source(**item) for item in spec["sources"]]
    server = Line(sources, spec["seed"])
    told = {source.name: {"host": source.host, "port": source.port} for source in sources}
    print(json.dumps(told), flush=True)
    server.run()
    print(json.dumps(server.counts()), flush=True)


if __name__ == "__main__":
    main()
