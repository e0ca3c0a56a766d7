"""peers: which of a plan's files the machines of `--peer` have, asked for once and kept.

A peer is one more place for a file whose size and digest are pinned: every byte of it is proved by the
plan. A peer that cannot be reached, or whose list cannot be used, costs a note and never the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from threading import Thread

from g3m.adapters.peers import Peer, PeerBook, list_peer
from g3m.adapters.session import Session
from g3m.core.digest import Digest
from g3m.core.errors import G3MError, Interrupted, SettingsError, Unreachable
from g3m.core.peers import Listing, PeerPlace, SharedAsset, SharedFile, peer_address
from g3m.core.plan import asset_id
from g3m.core.recipe import Asset
from g3m.core.routes import Route, chosen

REFRESH_S = 30.0
"""How old the list of a peer may be on which something still grows."""

RETRY_S = 300.0
"""How long a peer that did not answer is left alone."""

PATIENCE_S = 5.0
"""How long the first question waits for an answer; what comes later is known to the next question."""

_COUNTED = re.compile(r"\d+ (?:ms|milliseconds|bytes|out of)\b")
"""What differs in an error from one time to the next, though the trouble is the same."""


def peer_places(session: Session, asset: Asset) -> tuple[PeerPlace, ...]:
    """Where the peers have an asset, in the order of `--peer`; empty without a pinned size and digest."""
    if not session.settings.peer or session.settings.offline:
        return ()
    if asset.size_bytes is None or not asset.digests:
        return ()
    wanted = asset_id(asset)
    found = ((peer, peer.files[wanted]) for peer in _asked(session) if wanted in peer.files)
    return tuple(
        PeerPlace(peer.address + path, shared.ranges, peer.way)
        for peer, (path, shared) in found
        if _same(shared, asset) and shared.ranges != ()
    )


def peer_listings(session: Session) -> Iterator[tuple[str, Listing]]:
    """The address and the list of every peer that answers."""
    for peer in _asked(session):
        if peer.listing is not None:
            yield peer.address, peer.listing


def peer_notes(session: Session) -> tuple[str, ...]:
    """What went wrong with peers since the last call, each thing once: for `Noted` events."""
    book = _book(session)
    with book.lock:
        notes, book.notes = tuple(book.notes), []
    return notes


def _same(shared: SharedAsset, asset: Asset) -> bool:
    return shared.size_bytes == asset.size_bytes and shared.digest in asset.digests


def _book(session: Session) -> PeerBook:
    """The session's peers, from its settings the first time."""
    book = session.peers
    with book.lock:
        if not book.opened:
            book.opened = True
            for text in dict.fromkeys(session.settings.peer):
                try:
                    book.peers.append(Peer(peer_address(text)))
                except SettingsError as error:
                    book.notes.append(error.message)
    return book


def _asked(session: Session) -> list[Peer]:
    """The peers, each asked if it is time; only a peer that never answered yet is waited for, for a while.

    Asking goes on beside the caller, who may have a download to look after.
    """
    book = _book(session)
    waited_for: list[Thread] = []
    with book.lock:
        for peer in book.peers:
            if peer.asking is None and peer.again_s is not None and session.monotonic() >= peer.again_s:
                first = peer.listing is None and not peer.told
                peer.asking = Thread(target=_ask, args=(peer, book, session), name="g3m-peer", daemon=True)
                peer.asking.start()
                waited_for += [peer.asking] if first else []
    for asking in waited_for:
        asking.join(PATIENCE_S)
    return book.peers


def _ask(peer: Peer, book: PeerBook, session: Session) -> None:
    listing, way, problem = None, "", ""
    for route in _routes(peer.address, session):
        try:
            listing, way, problem = list_peer(session.http, peer.address, way=route.proxy), route.proxy, ""
            break
        except Unreachable as error:
            problem = problem or error.message  # what the first way said
        except Interrupted:
            break
        except G3MError as error:
            problem = error.message
            break
    now_s = session.monotonic()
    with book.lock:
        peer.listing, peer.way = listing, way
        peer.files = _files(listing) if listing else {}
        peer.again_s = now_s + (REFRESH_S if listing else RETRY_S)
        if listing is not None and not listing.partial:
            peer.again_s = None
        plain = _COUNTED.sub("", problem)
        if problem and plain != peer.told:
            book.notes.append(f"{problem}; going on without it")
        peer.asking, peer.told = None, plain


def _files(listing: Listing) -> dict[str, tuple[str, SharedAsset]]:
    """Everything in a list by the id that it has as an asset; a packed shard is one of its digest."""
    shards = (
        (dataset.path(shard.name), shard_asset(shard))
        for dataset in listing.datasets
        for shard in dataset.shards
    )
    files = {asset_id(asset): (path, _described(asset)) for path, asset in shards}
    return files | {asset.id: (asset.path, asset) for asset in listing.assets}


def shard_asset(shard: SharedFile) -> Asset:
    """A peer's shard as an asset: it has no place but peers, and its digest is the peer's word."""
    digest = Digest("sha256", shard.sha256)
    return Asset(name=shard.name, places=(), size_bytes=shard.size_bytes, digests=(digest,))


def _described(asset: Asset) -> SharedAsset:
    return SharedAsset(
        id=asset_id(asset), name=asset.name, size_bytes=asset.size_bytes or 0, digest=asset.digests[0]
    )


def _routes(address: str, session: Session) -> tuple[Route, ...]:
    """The ways to a peer that --route allows, the direct one first: a peer is a neighbour as a rule."""
    proxies = [way for way in session.ways.of(address) if way]
    return chosen([Route(address, way) for way in ("", *proxies)], session.settings.route)
