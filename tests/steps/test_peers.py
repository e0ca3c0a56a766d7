"""steps/peers.py: what neighbours have is asked for once, proved by the plan, and never costs the run."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from g3m.adapters.beneath import open_beneath
from g3m.adapters.parts import claimed
from g3m.adapters.session import Session
from g3m.adapters.share import ShareOptions, ShareServer
from g3m.core.digest import Digest
from g3m.core.errors import G3MError, Unreachable
from g3m.core.events import Noted, Progressed, RouteChosen
from g3m.core.peers import Listing, PeerPlace, Range, SharedAsset, build
from g3m.core.plan import Plan, asset_id, fetch_task, make_dataset_plan
from g3m.core.recipe import Asset, Expect, Recipe, SampleRule
from g3m.core.secrets import Secret
from g3m.core.serving import Catalogue, SharedPath
from g3m.lab.mischief import Trickle
from g3m.lab.origin import Origin
from g3m.runners.run import make_session
from g3m.steps import peers as peers_module
from g3m.steps.fetch import fetch
from g3m.steps.find import part_path, whole_path
from g3m.steps.peers import REFRESH_S, RETRY_S, peer_listings, peer_notes, peer_places

TOKEN = "5ec2e75ec2e75ec2e75ec2e75ec2e75e"
ASSET = Asset(name="a.zip", places=("https://h/a",), size_bytes=100, digests=(Digest("sha256", "a" * 64),))


def shared(ranges: tuple[Range, ...] | None = None, **change: Any) -> SharedAsset:
    facts = {"id": asset_id(ASSET), "name": "a.zip", "size_bytes": 100, "digest": ASSET.digests[0]}
    return SharedAsset(**{**facts, **change}, ranges=ranges)


@dataclass
class Neighbour:
    """A share whose list can be changed, and which counts how often it is asked."""

    listing: Listing = field(default_factory=Listing)
    text: bytes | None = None
    asked: int = 0
    url: str = ""

    def catalogue(self) -> Catalogue:
        self.asked += 1
        return Catalogue(build(self.listing).encode() if self.text is None else self.text, {})


@pytest.fixture
def neighbour() -> Iterator[Callable[..., Neighbour]]:
    with contextlib.ExitStack() as stack:

        def open_one(*assets: SharedAsset) -> Neighbour:
            made = Neighbour(Listing(assets=assets))
            options = ShareOptions(port=0, refresh_s=0.0)
            server = ShareServer(lambda _: contextlib.nullcontext(), Secret(TOKEN), made.catalogue, options)
            made.url = stack.enter_context(server).url
            return made

        yield open_one


@dataclass
class Clock:
    now_s: float = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(tmp_path: Path, clock: Clock) -> Callable[..., Session]:
    def make(*addresses: str, **options: Any) -> Session:
        made = make_session(
            {"root": str(tmp_path), "peer": list(addresses), "stall_timeout_s": 0.5, **options}, {}
        )
        return replace(made, monotonic=lambda: clock.now_s)

    return make


def settle(session: Session) -> None:
    """Wait for whoever asks beside us."""
    for peer in peers_module._book(session).peers:
        if peer.asking is not None:
            peer.asking.join(20)


def test_a_peer_is_a_place(neighbour: Callable[..., Neighbour], session: Callable[..., Session]) -> None:
    """A file with the same id, size and digest has an address there, made from id and name."""
    box = neighbour(shared())
    one = session(box.url)
    assert peer_places(one, ASSET) == (PeerPlace(f"{box.url}assets/{asset_id(ASSET)}/a.zip", None),)
    assert peer_notes(one) == ()
    assert [listing for _, listing in peer_listings(one)] == [box.listing]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0" * 16},
        {"size_bytes": 101},
        {"digest": Digest("sha256", "b" * 64)},
        {"digest": Digest("md5", "b" * 32)},
        {"ranges": ()},
    ],
)
def test_what_is_not_the_same_file_is_no_place(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session], change: dict[str, Any]
) -> None:
    """Another id, size or digest, or a part of which nothing is there yet."""
    assert peer_places(session(neighbour(shared(**change)).url), ASSET) == ()


@pytest.mark.parametrize("change", [{"digests": ()}, {"size_bytes": None}])
def test_an_unpinned_file_is_not_taken_from_a_peer(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session], change: dict[str, Any]
) -> None:
    """A peer's word proves nothing, so it is not even asked."""
    loose = replace(ASSET, **change)
    box = neighbour(shared(id=asset_id(loose)))
    assert peer_places(session(box.url), loose) == ()
    assert box.asked == 0


def test_without_peers_or_network_nobody_is_asked(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session]
) -> None:
    """No --peer, or --offline: no place and no request."""
    box = neighbour(shared())
    assert peer_places(session(), ASSET) == ()
    assert peer_places(session(box.url, offline=True), ASSET) == ()
    assert box.asked == 0


def test_each_peer_is_asked_once(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session], clock: Clock
) -> None:
    """Many files, many copies of the session, the same address twice, hours: one request for a finished list."""
    box = neighbour(shared())
    one = session(box.url, box.url)
    for _ in range(5):
        assert len(peer_places(replace(one, settings=replace(one.settings, jobs=2)), ASSET)) == 1
        clock.now_s += 3600
    assert box.asked == 1


def test_many_threads_ask_once(neighbour: Callable[..., Neighbour], session: Callable[..., Session]) -> None:
    """Files fetched at the same time wait for one answer."""
    box = neighbour(shared())
    one = session(box.url)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(peer_places(one, ASSET)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert box.asked == 1
    settle(one)
    assert len(peer_places(one, ASSET)) == 1


def test_a_growing_list_is_read_again(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session], clock: Clock
) -> None:
    """Where something grows the list is asked for again after half a minute, beside the caller, until all is whole."""
    box = neighbour(shared(((0, 10),)))
    one = session(box.url)
    assert peer_places(one, ASSET)[0].ranges == ((0, 10),)
    box.listing = Listing(assets=(shared(((0, 50),)),))
    clock.now_s = REFRESH_S - 1
    peer_places(one, ASSET)
    settle(one)
    assert peer_places(one, ASSET)[0].ranges == ((0, 10),)
    clock.now_s = REFRESH_S
    peer_places(one, ASSET)
    settle(one)
    assert peer_places(one, ASSET)[0].ranges == ((0, 50),)
    box.listing = Listing(assets=(shared(),))
    clock.now_s = 2 * REFRESH_S
    peer_places(one, ASSET)
    settle(one)
    assert peer_places(one, ASSET)[0].ranges is None
    clock.now_s = 1000 * REFRESH_S
    peer_places(one, ASSET)
    settle(one)
    assert box.asked == 3


def test_a_peer_that_is_away_costs_a_note(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session], clock: Clock
) -> None:
    """One note without the token, the other peer is used, and much later it is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = f"http://127.0.0.1:{listener.getsockname()[1]}/{TOKEN}/"
    box = neighbour(shared())
    one = session(gone, box.url)
    assert [place.place for place in peer_places(one, ASSET)] == [box.url.split("/")[2]]
    for _ in range(3):
        peer_places(one, ASSET)
    settle(one)
    notes = peer_notes(one)
    assert len(notes) == 1
    assert gone.split("/")[2] in notes[0]
    assert "going on without it" in notes[0]
    assert TOKEN not in notes[0]
    clock.now_s = RETRY_S
    peer_places(one, ASSET)
    settle(one)
    assert peer_notes(one) == ()  # the same trouble is no news


def test_the_same_trouble_is_no_news(
    session: Callable[..., Session], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other milliseconds in an error are told once, another error is told."""
    said = ["Failed to connect after 0 ms", "Failed to connect after 1 ms", "answered 503"]

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise Unreachable(said[0])

    monkeypatch.setattr("g3m.steps.peers.list_peer", fail)
    one = session(f"http://127.0.0.1:9/{TOKEN}/")
    told = []
    while said:
        peer_places(one, ASSET)
        settle(one)
        told.append(len(peer_notes(one)))
        said.pop(0)
        clock.now_s += RETRY_S
    assert told == [1, 0, 1]


def test_a_lying_peer_costs_a_note(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session], clock: Clock
) -> None:
    """A list that cannot be used is refused whole; when it is good again, it is used."""
    box = neighbour(shared())
    box.text = build(box.listing).encode().replace(b'"size_bytes": 100', b'"size_bytes": -1')
    one = session(box.url)
    assert peer_places(one, ASSET) == ()
    assert "its list cannot be used: size_bytes" in peer_notes(one)[0]
    box.text = None
    clock.now_s = RETRY_S
    peer_places(one, ASSET)
    settle(one)
    assert len(peer_places(one, ASSET)) == 1
    assert peer_notes(one) == ()


def test_a_peer_that_leaves_is_no_place_any_more(
    neighbour: Callable[..., Neighbour], session: Callable[..., Session], clock: Clock
) -> None:
    """Its places go with it, and a note says so."""
    box = neighbour(shared(((0, 10),)))
    one = session(box.url)
    assert len(peer_places(one, ASSET)) == 1
    box.text = b"gone mad"
    clock.now_s = REFRESH_S
    peer_places(one, ASSET)
    settle(one)
    assert peer_places(one, ASSET) == ()
    assert len(peer_notes(one)) == 1


def test_a_slow_peer_does_not_hold_up_the_caller(
    session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks waits a moment, then goes on; what comes later is there the next time."""
    monkeypatch.setattr(peers_module, "PATIENCE_S", 0.05)
    go = threading.Event()

    def slow(*_: Any, **__: Any) -> Listing:
        assert go.wait(20)
        return Listing(assets=(shared(),))

    monkeypatch.setattr(peers_module, "list_peer", slow)
    one = session(f"http://box/{TOKEN}/")
    assert peer_places(one, ASSET) == ()
    go.set()
    settle(one)
    assert len(peer_places(one, ASSET)) == 1


def test_an_address_that_is_none_is_told_once(session: Callable[..., Session]) -> None:
    """A slip in --peer becomes a note without the token, and is not asked."""
    one = session(f"box:8318/{TOKEN}")
    assert peer_places(one, ASSET) == ()
    assert len(notes := peer_notes(one)) == 1
    assert TOKEN not in notes[0]
    assert peer_notes(one) == ()


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        ({}, [""]),
        ({"proxy": ["http://127.0.0.1:9"]}, ["", "http://127.0.0.1:9"]),
        ({"proxy": ["http://127.0.0.1:9"], "route": ["proxy"]}, ["http://127.0.0.1:9"]),
        ({"proxy": ["http://127.0.0.1:9"], "route": ["direct"]}, [""]),
        ({"route": ["elsewhere"]}, []),
    ],
)
def test_a_neighbour_is_asked_directly_first(
    session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], ways: list[str]
) -> None:
    """A proxy is for when the direct way does not lead there, and --route is obeyed."""
    tried: list[str] = []

    def ask(_: Any, address: str, *, way: str) -> Listing:
        tried.append(way)
        if way == ways[-1]:
            return Listing(assets=(shared(),))
        raise Unreachable("not this way")

    monkeypatch.setattr(peers_module, "list_peer", ask)
    one = session(f"http://box.g3m.test/{TOKEN}/", **options)
    assert [place.way for place in peer_places(one, ASSET)] == ways[-1:]
    assert tried == ways
    assert peer_notes(one) == ()


@pytest.mark.parametrize("ranges", [None, ((0, 2_000_000),), ((1_500_000, 3_000_000),)])
def test_a_peer_and_a_slow_source_together_make_the_file(
    tmp_path: Path, ranges: tuple[Range, ...] | None
) -> None:
    """The engine takes what the peer has from the peer, the rest from the source, and writes the token nowhere."""
    blob = random.Random(5).randbytes(3_000_000)
    (tmp_path / "blob.bin").write_bytes(blob)
    digest = Digest("sha256", hashlib.sha256(blob).hexdigest())
    with Origin() as origin:
        origin.mount("/blob.bin", tmp_path / "blob.bin")
        origin.mischief("*", Trickle(bytes_per_s=300_000), times=None)
        asset = Asset(
            name="blob.bin", places=(f"{origin.url}/blob.bin",), size_bytes=len(blob), digests=(digest,)
        )
        entry = SharedAsset(
            id=asset_id(asset), name="blob.bin", size_bytes=len(blob), digest=digest, ranges=ranges
        )
        served = SharedPath(parts=("blob.bin",), size_bytes=len(blob), digest=str(digest), ranges=ranges)
        catalogue = Catalogue(build(Listing(assets=(entry,))).encode(), {entry.path: served})
        server = ShareServer(
            lambda parts: open_beneath(tmp_path, parts),
            Secret(TOKEN),
            lambda: catalogue,
            ShareOptions(port=0),
        )
        with server:
            one = make_session({"root": str(tmp_path / "data"), "peer": [server.url]}, {})
            one.store.prepare()
            events = list(fetch(fetch_task(asset, "one"), plan_of(asset), one))
            host = server.url.split("/")[2]
    assert whole_path(one, asset).read_bytes() == blob
    assert host in {event.place for event in events if isinstance(event, RouteChosen)}
    assert [event for event in events if isinstance(event, Noted)] == []
    assert server.sent_bytes > 500_000
    assert TOKEN not in repr(events)
    assert all(TOKEN.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def plan_of(asset: Asset) -> Plan:
    recipe = Recipe(
        name="one",
        title="One",
        folder="one/one",
        homepage="",
        licence="none",
        terms="",
        citation="",
        samples=SampleRule(reader="pairs"),
        expect=Expect(),
        assets=(asset,),
    )
    return Plan(datasets=(make_dataset_plan(recipe, (asset,), "none"),))


def test_the_journal_of_a_stopped_download_names_the_peer_by_its_host(tmp_path: Path) -> None:
    """What stays on the disk between two runs holds no token either."""
    blob = random.Random(6).randbytes(3_000_000)
    (tmp_path / "blob.bin").write_bytes(blob)
    digest = Digest("sha256", hashlib.sha256(blob).hexdigest())
    asset = Asset(
        name="blob.bin", places=("http://127.0.0.1:1/blob.bin",), size_bytes=len(blob), digests=(digest,)
    )
    ranges = ((0, 1_000_000),)
    entry = SharedAsset(
        id=asset_id(asset), name="blob.bin", size_bytes=len(blob), digest=digest, ranges=ranges
    )
    served = SharedPath(parts=("blob.bin",), size_bytes=len(blob), digest=str(digest), ranges=ranges)
    catalogue = Catalogue(build(Listing(assets=(entry,))).encode(), {entry.path: served})
    server = ShareServer(
        lambda parts: open_beneath(tmp_path, parts), Secret(TOKEN), lambda: catalogue, ShareOptions(port=0)
    )
    one = make_session({"root": str(tmp_path / "data"), "peer": [server.url]}, {})
    one.store.prepare()
    error = ""
    with server:
        try:
            for event in fetch(fetch_task(asset, "one"), plan_of(asset), one):
                assert TOKEN not in repr(event)
                if isinstance(event, Progressed) and event.done_bytes:
                    one.stop.set()
        except G3MError as caught:
            error = caught.message
    assert TOKEN not in error
    claims = claimed(part_path(one, asset))
    assert claims
    assert all(end <= 1_000_000 for _, end in claims)
    journal = part_path(one, asset).with_suffix(".journal").read_bytes()
    assert server.url.split("/")[2].encode() in journal
    assert TOKEN.encode() not in journal
