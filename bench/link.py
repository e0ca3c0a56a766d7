"""Sources between a contestant and a file: described, started in a process of their own, stopped."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("hostile.py")
BUCKET_S = 0.05


@dataclass(slots=True)
class Source:
    """One place and how it behaves; what is 0 does not happen. `folder` holds what it serves."""

    name: str
    folder: str = ""
    kind: str = "serve"
    rate_bytes_per_s: float = 0
    round_trip_s: float = 0
    reset_mean_bytes: float = 0
    silence_mean_bytes: float = 0
    limit: int = 0
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def base(self) -> str:
        return f"http://{self.host}:{self.port}"

    def url(self, name: str) -> str:
        """The address of a file of its folder."""
        return f"{self.base}/bench/{name}"


class Link:
    """A running server, seen from the program that started it."""

    def __init__(self, process: subprocess.Popen[str], sources: list[Source]) -> None:
        self._process = process
        self.sources = sources
        self.counts: dict[str, Any] = {}

    def stop(self) -> None:
        """End it; `counts` is known from then on."""
        text, _ = self._process.communicate()
        self.counts = json.loads(text)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def sent_bytes(self) -> int:
        """Bytes of bodies that left all sources."""
        return sum(place["sent_bytes"] for place in self.counts["places"].values())


@contextmanager
def serving(sources: list[Source], folder: Path, seed: int = 1) -> Iterator[Link]:
    """Sources in a process of their own; the counts are there after the block."""
    spec = folder / f"link-{time.monotonic_ns()}.json"
    body = [asdict(source) for source in sources]
    spec.write_text(json.dumps({"seed": seed, "sources": body}), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        known = [Source(**{**item, **told[item["name"]]}) for item in body]
        link = Link(process, known)
        yield link
        link.stop()
    finally:
        spec.unlink()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
