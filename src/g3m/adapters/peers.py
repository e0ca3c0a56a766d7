"""Asking another machine's `g3m share` for its list.

Whatever goes wrong becomes an error that names the peer by its host: the rest of its address is a
secret, also in what the network has to say about it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock, Thread

from g3m.adapters.ports import Body, Fetcher
from g3m.core.digest import of_bytes
from g3m.core.errors import Changed, DigestMismatch, G3MError, Missing, Unreachable
from g3m.core.peers import LISTING_LIMIT_BYTES, Listing, SharedAsset, SharedFile, parse, scrub
from g3m.core.resume import Wanted, refusal
from g3m.core.secrets import host_of

TIME_LIMIT_S = 60.0
"""A peer that sends a document one byte at a time must not hold up anything."""


@dataclass(slots=True)
class Peer:
    """One peer: its list, path and facts of each file in it, and when to ask again (None: nothing grows)."""

    address: str
    way: str = ""
    listing: Listing | None = None
    files: dict[str, tuple[str, SharedAsset]] = field(default_factory=dict)
    again_s: float | None = 0.0
    asking: Thread | None = None
    told: str = ""


@dataclass(slots=True)
class PeerBook:
    """The peers of one session, and what is to be said about them; `lock` guards all of it."""

    opened: bool = False
    peers: list[Peer] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)


def list_peer(http: Fetcher, address: str, *, way: str = "") -> Listing:
    """What the peer at this address (see `peer_address`) shares now; SourceError if it does not say."""
    try:
        return parse(_document(http, address, way, LISTING_LIMIT_BYTES))
    except ValueError as error:
        raise Changed(f"peer {host_of(address)}: its list cannot be used: {error}") from None


def read_peer_file(http: Fetcher, address: str, path: str, file: SharedFile) -> bytes:
    """A small file of a shared dataset, as the list describes it; SourceError or DigestMismatch."""
    content = _document(http, address, "", file.size_bytes, path)
    if len(content) != file.size_bytes or of_bytes(content).hex != file.sha256:
        raise DigestMismatch(f"peer {host_of(address)}: {file.name} is not what its list says")
    return content


def _document(http: Fetcher, address: str, way: str, limit_bytes: int, path: str = "") -> bytes:
    host = host_of(address)
    try:
        with http.open(address + path, way=way) as body:
            if body.url != address + path:
                raise Changed(f"peer {host}: it redirects, which `g3m share` never does")
            if body.answer.status == 404:
                raise Missing(f"peer {host}: nothing there; is the address whole, and the share still open?")
            if body.answer.status != 200:
                raise refusal(Wanted(label=f"peer {host}"), body.answer)
            return _read(body, limit_bytes, host)
    except G3MError as error:
        words = scrub(error.message, address)
        error.message, error.args = words, (words,)
        raise error from None


def _read(body: Body, limit_bytes: int, host: str) -> bytes:
    until_s = time.monotonic() + TIME_LIMIT_S
    content = bytearray()
    for data in body.chunks():
        content += data
        if len(content) > limit_bytes:
            raise Changed(f"peer {host}: the answer has more than {limit_bytes} bytes")
        if time.monotonic() > until_s:
            raise Unreachable(f"peer {host}: the answer takes longer than {TIME_LIMIT_S:g} s")
    return bytes(content)
