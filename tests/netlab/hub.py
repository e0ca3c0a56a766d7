"""Starts hosts of the hub's kind in the lab and reads what they wrote down."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.netlab.lab import ADDRESSES, Lab
from tests.netlab.servers import Command, Place

STUB = Path(__file__).with_name("hub_stub.py")


@dataclass(frozen=True)
class HubHost:
    """A running host and the requests it saw."""

    log: Path

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    @property
    def authorizations(self) -> set[str]:
        """Every Authorization header that arrived here; an empty text for a request without one."""
        found = set()
        for request in self.requests:
            headers = {name.lower(): value for name, value in request["headers"].items()}
            found.add(headers.get("authorization", ""))
        return found

    @property
    def paths(self) -> list[str]:
        return [request["path"] for request in self.requests]


@contextmanager
def hub_host(lab: Lab, leg: str, host: str, behaviour: str, files: Path, to: str = "") -> Iterator[HubHost]:
    """Serve a folder as `host` from the machine `origin` or `mirror`; `to` is where redirects lead."""
    folder = lab.spaces.folder / f"hub-{host}"
    folder.mkdir(exist_ok=True)
    log = folder / "requests.jsonl"
    log.unlink(missing_ok=True)

    def make(place: Place) -> Command:
        config = {
            "address": ADDRESSES[host],
            "certificate": str(place.authority.certificate(host)),
            "key": str(place.authority.key(host)),
            "files": str(files),
            "behaviour": behaviour,
            "to": to,
            "log": str(log),
        }
        return Command(
            (sys.executable, STUB, place.write_json("hub.json", config)), (f"{ADDRESSES[host]}:443",)
        )

    process = lab.start(f"hub-{host}", lab.hosts[leg], make)
    try:
        yield HubHost(log)
    finally:
        lab.hosts[leg].stop(process)
