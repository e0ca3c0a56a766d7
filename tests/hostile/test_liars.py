"""Every behaviour of liars.py, met by downloads and by lists, over every way: right bytes or a named error.

All cells are tried with G3M_SEARCH=all; else a sample of them, the same in every run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import random
import select
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.adapters.crowding import Fetcher
from tests.adapters.test_http import Tls, certificates, tls  # noqa: F401  # fixtures
from tests.hostile.liars import ELSEWHERE, LIARS, Liar
from tests.steps.conftest import bench, origins  # noqa: F401  # fixtures
from tests.wire import Proxy, Wire, read_head

from g3m.adapters import fence
from g3m.adapters.hosts import Hosts
from g3m.adapters.names import Names
from g3m.core.addresses import inside
from g3m.core.digest import Digest
from g3m.core.errors import Changed, ContentError, Interrupted, SourceError, Unreachable, all_errors
from g3m.core.events import RouteDropped
from g3m.core.outcomes import GOOD, REASONS
from g3m.core.proxies import Ways, find_ways
from g3m.core.recipe import Asset
from g3m.core.secrets import host_of
from g3m.lab import mischief as lab
from g3m.lab.messages import INVERTED
from g3m.lab.origin import Origin
from g3m.steps.find import part_path, present

NAME = "origin.g3m.test"
"""The liar's name where a proxy leads to it: nobody else knows it."""

TOKEN = "hf_CanaryCanaryCanary"
HALF = 12_000
GIVE_UP_S = 1.5

SHAPES = ("fresh", "resumed", "ranges")
COMPANIES = ("direct", "beside an honest one", "as the only mirror", "behind a proxy", "behind socks")


@dataclass(frozen=True, slots=True)
class Cell:
    """One download from one liar."""

    liar: str
    shape: str
    company: str
    pinned: bool

    def __str__(self) -> str:
        return f"{self.liar} - {self.shape} - {self.company} - {'pinned' if self.pinned else 'unpinned'}"


CELLS = tuple(itertools.starmap(Cell, itertools.product(LIARS, SHAPES, COMPANIES, (True, False))))
ALL = os.environ.get("G3M_SEARCH") == "all"


def _sampled() -> list[Cell]:
    """Two cells of each liar: one with a digest, and one without, where ranges are asked for."""
    dice = random.Random(8)
    pinned, unpinned = (
        [[cell for cell in CELLS if cell.liar == name and cell.pinned is pinned] for name in LIARS]
        for pinned in (True, False)
    )
    with_ranges = [[cell for cell in cells if cell.shape != "fresh"] for cells in unpinned]
    return [dice.choice(cells) for cells in (*pinned, *with_ranges)]


def test_the_catalogue_is_whole() -> None:
    """Forty behaviours and more, each once, and every kind of mischief that the lab knows among them."""
    assert len(LIARS) >= 40
    used = {type(part) for liar in LIARS.values() for part in _parts(liar.kind)}
    assert set(lab.KINDS) <= used


def _parts(kind: Any) -> Iterator[Any]:
    yield kind
    for name in ("first", "second", "kind"):
        if hasattr(kind, name):
            yield from _parts(getattr(kind, name))


@dataclass
class Scene:
    """A cell set up: who lies, what is asked for, and over which session."""

    bench: Any
    cell: Cell
    liar: Liar
    proxy: Proxy
    variables: dict[str, str]
    options: dict[str, Any]
    asset: Asset
    place: str

    def session(self, *, again: bool = False) -> Any:
        """A session for the cell; the second one meets honest servers."""
        impatient = self.liar.impatient and not again
        pieces = self.cell.shape == "ranges"
        return self.bench.session(
            pieces=pieces, impatient=impatient, variables=self.variables, **self.options
        )

    @property
    def liar_origin(self) -> Origin:
        origin: Origin = self.bench.mirror if self.cell.company == "as the only mirror" else self.bench.origin
        return origin


@contextlib.contextmanager
def staged(bench: Any, cell: Cell, proxy_of: Callable[..., Proxy] = Proxy) -> Iterator[Scene]:  # noqa: F811
    """The two origins as the cell wants them, and a proxy where it wants one."""
    liar, lies = LIARS[cell.liar], bench.origin
    places = [bench.origin.url]
    options: dict[str, Any] = {}
    if cell.company == "beside an honest one":
        places.append(bench.mirror.url)
    elif cell.company == "as the only mirror":
        lies = bench.mirror
        options["mirrors"] = [{"prefix": f"{bench.origin.url}/", "places": [f"{bench.mirror.url}/"]}]
    elif cell.company.startswith("behind"):
        places = [f"http://{NAME}"]
    elsewhere = bench.origin if lies is bench.mirror else bench.mirror
    lies.mischief(bench.path, _to(liar.kind, elsewhere.url), times=liar.times, method=liar.method)
    bench.clock.speed = 400.0 if "absurd" in cell.liar else bench.clock.speed
    proxy = proxy_of({NAME: urlsplit(bench.origin.url).port, host_of(elsewhere.url).partition(":")[0]: 0})
    variables = {"HF_TOKEN": TOKEN, "G3M_HUB_TOKEN_HOSTS": f"{host_of(places[0])},{NAME}"}
    asset = Asset(name="blob.bin", places=tuple(f"{place}{bench.path}" for place in places))
    if cell.pinned:
        digest = Digest("sha256", hashlib.sha256(bench.blob).hexdigest())
        asset = replace(asset, size_bytes=len(bench.blob), digests=(digest,))
    scene = Scene(bench, cell, liar, proxy, variables, options, asset, places[0])
    if not cell.company.startswith("behind"):
        yield scene
        return
    socks = cell.company == "behind socks"
    with Wire(proxy.socks if socks else proxy.http) as wire:
        options["proxy"] = [f"{'socks5h' if socks else 'http'}://127.0.0.1:{wire.port}"]
        options["route"] = ["proxy"]
        yield scene


def _to(kind: Any, url: str) -> Any:
    """A redirect to the other host, which is known now."""
    return type(kind)(url) if getattr(kind, "url", "") == ELSEWHERE else kind


@pytest.mark.parametrize("cell", CELLS if ALL else _sampled(), ids=str)
def test_right_bytes_or_a_named_error(bench: Any, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """One liar, one way: never a wrong file, never two versions in one, never a hang, no token for another host."""
    _call_loopback_public(monkeypatch)
    with staged(bench, cell) as scene:
        session = scene.session()
        if cell.shape == "resumed":
            bench.keep_half(scene.asset, session, bench.blob[:HALF])
        with _given_up(session, scene):
            outcome = bench.fetch(scene.asset, session)
        _judge(scene, session, outcome)
        _no_token_elsewhere(scene)
        assert "HEAD" not in {request.method for request in bench.requests}
        if outcome.error is not None:
            bench.origin.be_honest()
            bench.mirror.be_honest()
            assert bench.fetch(scene.asset, scene.session(again=True)).error is None
            assert bench.whole(scene.asset, session) == bench.blob


def _call_loopback_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this test 127.0.0.1 is a public host: what it redirects to is judged like that."""

    def public(address: str, allow_private: bool = False) -> str:
        return "" if address == "127.0.0.1" else inside(address, allow_private)

    monkeypatch.setattr(fence, "inside", public)


@contextlib.contextmanager
def _given_up(session: Any, scene: Scene) -> Iterator[None]:
    """Somebody who loses patience with what crawls, where there is nothing else."""
    if not scene.liar.crawls or (scene.cell.pinned and scene.cell.company == "beside an honest one"):
        yield
        return
    timer = threading.Timer(GIVE_UP_S, session.stop.set)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _judge(scene: Scene, session: Any, outcome: Any) -> None:
    """The right bytes with a receipt of theirs, or an error of the tree that names the place, and no file."""
    cell, bench = scene.cell, scene.bench  # noqa: F811
    whole, receipt = bench.whole(scene.asset, session), present(session, scene.asset)
    if outcome.error is None:
        assert _may_have_become(whole, scene)
        assert f"sha256:{hashlib.sha256(whole).hexdigest()}" in map(str, receipt.digests)
        assert not part_path(session, scene.asset).exists()
        return
    if scene.liar.crawls:
        assert isinstance(outcome.error, Interrupted)
    else:
        assert type(outcome.error) in all_errors()
        assert isinstance(outcome.error, (SourceError, ContentError))
        assert "origin" in outcome.error.message or host_of(scene.liar_origin.url) in outcome.error.message
        assert all(outcome.error.hint)
        assert outcome.of(RouteDropped)
    assert whole is receipt is None
    bench.remains(scene.asset, session)
    mends = scene.liar.mends == "always" or (scene.liar.mends == "pinned" and cell.pinned)
    beside = cell.company == "beside an honest one" and cell.pinned
    assert not (mends or beside), outcome.error.message


def _may_have_become(whole: bytes, scene: Scene) -> bool:
    """Whether these bytes are right; without a digest, whether nobody could have known better."""
    blob = scene.bench.blob
    if whole == blob:
        return True
    if scene.cell.pinned:
        return False
    believed = scene.liar.believed
    return (
        believed == "any"
        or (believed == "new" and whole == blob.translate(INVERTED))
        or (believed == "cut" and blob.startswith(whole))
    )


def _no_token_elsewhere(scene: Scene) -> None:
    """The token went to the place that it belongs to, over loopback, and to nobody else."""
    own = scene.place == scene.bench.origin.url
    for origin in (scene.bench.origin, scene.bench.mirror):
        for request in origin.requests:
            given = request.headers.get("authorization")
            assert given in ((None, f"Bearer {TOKEN}") if own and origin is scene.bench.origin else (None,))
    assert TOKEN.encode() not in b"".join(scene.proxy.heads)


# Proxies that meddle, and certificates that are not right.


@dataclass
class Meddler(Proxy):
    """A proxy that puts words of its own into the end of what it carries."""

    def carry(self, client: socket.socket, upstream: socket.socket) -> None:
        answer = _to_the_end(client, upstream)
        client.sendall(answer[:-100] + b"<script>".ljust(min(100, len(answer)), b" "))


@dataclass
class Keeper(Proxy):
    """A proxy that gives everybody the file as it was long ago, whole, with its own validator."""

    old: bytes = b""

    def carry(self, client: socket.socket, upstream: socket.socket) -> None:
        _to_the_end(client, upstream)
        head = f'HTTP/1.1 200 OK\r\nETag: "old"\r\nAge: 9999\r\nContent-Length: {len(self.old)}\r\n\r\n'
        client.sendall(head.encode() + self.old)


def _to_the_end(client: socket.socket, upstream: socket.socket) -> bytes:
    """What a server answers to a request, which a SOCKS proxy has to carry first."""
    ready, _, _ = select.select([client], [], [], 0.2)
    if ready:
        upstream.sendall(read_head(client).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    return b"".join(iter(lambda: upstream.recv(65536), b""))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("company", COMPANIES[3:])
@pytest.mark.parametrize("kind", [Meddler, Keeper])
def test_a_proxy_that_meddles(bench: Any, kind: type[Proxy], company: str, shape: str) -> None:  # noqa: F811
    """A pinned file never becomes what a proxy made of it; the next run, over an honest one, is right."""
    cell = Cell("HEAD says something else", shape, company, pinned=True)
    with staged(bench, cell, kind) as scene:
        if isinstance(scene.proxy, Keeper):
            scene.proxy.old = bench.blob.translate(INVERTED)
        session = scene.session()
        if shape == "resumed":
            bench.keep_half(scene.asset, session, bench.blob[:HALF])
        outcome = bench.fetch(scene.asset, session)
        assert isinstance(outcome.error, (SourceError, ContentError))
        assert bench.whole(scene.asset, session) is None
        assert TOKEN.encode() not in b"".join(scene.proxy.heads)
    with staged(bench, cell) as scene:
        assert bench.fetch(scene.asset, scene.session()).error is None
        assert bench.whole(scene.asset, session) == bench.blob


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("beside", [False, True], ids=["direct", "beside an honest one"])
@pytest.mark.parametrize("lie", ["other", "expired", "down"])
def test_tls_that_is_not_right(bench: Any, tls: Tls, lie: str, beside: bool, shape: str) -> None:  # noqa: F811
    """Another host's certificate, an old one, or a way out of TLS: a named error, and no token for the liar."""
    down = f"HTTP/1.1 302 Found\r\nLocation: {bench.mirror.url}{bench.path}\r\nContent-Length: 0\r\n\r\n"
    tls.answers[bench.path] = down.encode()
    asset = bench.asset()
    with Wire(functools.partial(tls.serve, name="host" if lie == "down" else lie)) as wire:
        place = f"https://127.0.0.1:{wire.port}{bench.path}"
        asset = replace(asset, places=(place, *(asset.places if beside else ())))
        variables = {**tls.trust, "HF_TOKEN": TOKEN, "G3M_HUB_TOKEN_HOSTS": "huggingface.co"}
        session = bench.session(pieces=shape == "ranges", variables=variables)
        if shape == "resumed":
            bench.keep_half(asset, session, bench.blob[:HALF])
        outcome = bench.fetch(asset, session)
    assert bench.mirror.requests == []
    assert TOKEN.encode() not in b"".join(tls.heads)
    if beside:
        assert outcome.error is None
        assert bench.whole(asset, session) == bench.blob
    else:
        assert isinstance(outcome.error, Changed if lie == "down" else Unreachable)
        assert (
            "from https to http" in outcome.error.message if lie == "down" else "TLS" in outcome.error.message
        )
        assert bench.whole(asset, session) is None


# Lists.

UNSEEN = {
    "cut, without a length",
    "a length that is too short",
    "the same size, other bytes",
    "one other byte",
    "404 as 200",
    "a new version, true to itself",
    "two versions in turns, cut",
    "a login page",
}
"""What comes whole, and is found out by the digest of the list, or when it is no picture; see test_gather.py."""


@pytest.mark.parametrize("company", ["direct", *COMPANIES[3:]])
def test_a_list_of_liars(bench: Any, company: str) -> None:  # noqa: F811
    """A row for each liar, all at once: right bytes, or a reason that is one of the reference, and nobody's token."""
    bench.origin.be_honest()
    paths = {name: f"/list{number}{bench.path}" for number, name in enumerate(LIARS)}
    for name, path in paths.items():
        bench.origin.mount(path, bench.folder / f"{id(bench.origin)}" / "blob.bin")
        liar = LIARS[name]
        kind = _to(liar.kind, f"http://other.test:{urlsplit(bench.mirror.url).port}")
        bench.origin.mischief(path, kind, times=liar.times, method=liar.method)
        bench.mirror.mount(path, bench.folder / f"{id(bench.mirror)}" / "blob.bin")
    here, there = (urlsplit(origin.url).port or 0 for origin in (bench.origin, bench.mirror))
    ports = {f"{number}.test": here for number in range(len(LIARS))}
    proxy = Proxy({**ports, "other.test": there, "unknown.test": here})
    with contextlib.ExitStack() as stack:
        ways = Ways()
        if company.startswith("behind"):
            socks = company == "behind socks"
            wire = stack.enter_context(Wire(proxy.socks if socks else proxy.http))
            address = f"{'socks5h' if socks else 'http'}://127.0.0.1:{wire.port}"
            ways = find_ways([address], no_proxy=False, variables={})
        hosts = stack.enter_context(Hosts(allow_private=True, ask_robots=False, names=_names(company)))
        rows = [f"http://{number}.test:{here}{path}" for number, path in enumerate(paths.values())]
        limits = {"total_s": 8, "idle_s": 1, "connect_s": 5, "body_bytes": 10**6, "alarm": False}
        found = Fetcher(hosts, ways)(rows, **limits)
    for name, got in zip(LIARS, found, strict=True):
        right = got.body == bench.blob
        if got.reason == GOOD:
            assert right or name in UNSEEN, name
        else:
            assert got.reason in REASONS or got.reason.startswith("http_"), name
            assert got.body == b""
        assert right or LIARS[name].mends != "always" or LIARS[name].times or name in NOT_CONTINUED, name
    for origin in (bench.origin, bench.mirror):
        assert not any("authorization" in request.headers for request in origin.requests)


NOT_CONTINUED = {"cut, with a length", "reset in the middle", "silence in the middle"}
"""A picture is asked for again from its first byte, so a server that always breaks off never delivers it."""


def _names(company: str) -> Names:
    """Every name is this machine; behind a proxy nobody here knows them."""

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        if company != "direct":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    return Names(allow_private=True, look_up=look_up, pauses_s=())
