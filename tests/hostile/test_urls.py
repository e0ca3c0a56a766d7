"""The table of hostile URLs behind proxies, and as what a public host redirects a download to.

What a list may do over the direct way is tried in tests/adapters/test_hostile_urls.py.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pycurl
import pytest
from tests.adapters.crowding import Fetcher
from tests.adapters.test_hostile_urls import Trap, enemy, front_is_public
from tests.hostile.urls import EVIL, FRONT, LINES, URLS
from tests.pictures_host import PicturesHost, picture, pictures_host
from tests.wire import Proxy, Wire, read_head

from g3m.adapters import fence, http
from g3m.adapters.curl import HttpOptions
from g3m.adapters.hosts import Hosts
from g3m.adapters.http import Came, Ended, Headed, Http, Request
from g3m.adapters.names import Names
from g3m.core.addresses import inside, is_numeric
from g3m.core.errors import Changed, SourceError
from g3m.core.proxies import Ways, find_ways

WAYS = ("http", "socks5")
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    trap = Trap()
    try:
        yield trap
    finally:
        trap.close()


@pytest.fixture(scope="module")
def front() -> Iterator[PicturesHost]:
    with pictures_host((FRONT,)) as host:
        yield host


@contextmanager
def proxied(way: str, front: PicturesHost) -> Iterator[tuple[Proxy, Ways]]:
    """A proxy of a kind that knows the front's name, and would reach the trap by any other."""
    proxy = Proxy({"good.test": front.port, "unknown.invalid": front.port}, address=FRONT)
    with Wire(proxy.http if way == "http" else proxy.socks) as wire:
        url = f"{way}://127.0.0.1:{wire.port}"
        yield proxy, find_ways([url], no_proxy=False, variables={})


def _said(text: str, trap: Trap) -> str:
    return text.replace("PORT", str(trap.port))


def _locations(front: PicturesHost, trap: Trap) -> None:
    """`hop/N` at the front redirects to line N of the table."""

    async def hop(asked: Any) -> None:
        if "/" in asked.rest:
            await asked.answer(b"", status="404 Not Found")
            return
        location = _said(LINES[asked.number], trap).encode("utf-8").decode("latin-1").replace("\r\n", "\r\n ")
        head = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
        await asked.send(head.encode("latin-1"))

    front.moods["hop"] = hop


def test_the_catalogue_is_whole() -> None:
    """Thirty and more forms of addresses, and every other kind, each line once."""
    assert len(URLS["numbers"]) + len(URLS["version six"]) >= 30
    assert len(LINES) == len(set(LINES)) >= 80
    assert min(map(len, URLS.values())) >= 7


# A list, behind a proxy.


@pytest.mark.parametrize("way", WAYS)
def test_behind_a_proxy_no_line_of_a_list_is_asked_for(trap: Trap, front: PicturesHost, way: str) -> None:
    """What is refused without a proxy is refused with one: the proxy is not even told of it."""
    with proxied(way, front) as (proxy, ways), Hosts(ask_robots=False, names=_names()) as hosts:
        found = Fetcher(hosts, ways)(
            [_said(text, trap) for text in LINES], total_s=20, retries=0, alarm=False
        )
        assert {got.reason for got in found} == {"bad_url", "private_address"}
        assert proxy.asked == []
        # What nobody knows here is left to the proxy.
        [got] = Fetcher(hosts, ways)(
            ["http://unknown.invalid/good/1.jpg"], total_s=20, retries=0, alarm=False
        )
        assert got.body == picture(1)
        assert len(proxy.asked) == 1
    assert trap.connections() == 0


@pytest.mark.parametrize("way", WAYS)
def test_behind_a_proxy_no_redirect_of_a_list_is_followed(trap: Trap, front: PicturesHost, way: str) -> None:
    """The same for the hops of a public host that lies."""
    _locations(front, trap)
    with proxied(way, front) as (proxy, ways), Hosts(ask_robots=False, names=_names()) as hosts:
        rows = [f"http://good.test/hop/{number}.jpg" for number in range(len(LINES))]
        found = Fetcher(hosts, ways)(rows, total_s=20, retries=0, alarm=False)
        for text, got in zip(LINES, found, strict=True):
            # What is read as a path of the front's own is not there.
            at_home = got.reason == "http_404" and urlsplit(got.url).hostname == "good.test"
            assert at_home or got.reason in {"redirects", "private_address", "unreachable"}, text
            assert got.body == b""
        assert {_host_asked(line) for line in proxy.asked} == {"good.test"}
    assert trap.connections() == 0


def _names() -> Names:
    return Names(look_up=enemy, refuse=front_is_public, pauses_s=())


# A download: its place may be anywhere, the redirects of a public one may not.


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives libcurl an enemy's answers; the front's address is public, as for lists."""
    answers: dict[str, tuple[str, ...]] = {}
    make = http.make_handle

    def made(url: str, *rest: Any) -> pycurl.Curl:
        easy, parts = make(url, *rest), urlsplit(url)
        known = answers.get((parts.hostname or "").rstrip("."))
        if known:
            addresses = ",".join(f"[{one}]" if ":" in one else one for one in known)
            easy.setopt(pycurl.RESOLVE, [f"{parts.hostname}:{parts.port or 80}:{addresses}"])
        return easy

    def public(address: str, allow_private: bool = False) -> str:
        return "" if address == FRONT else inside(address, allow_private)

    monkeypatch.setattr(http, "make_handle", made)
    monkeypatch.setattr(fence, "inside", public)
    return lambda **changed: answers.update({name.replace("_", "."): to for name, to in changed.items()})


def _client(ways: Ways | None = None, **options: Any) -> Http:
    return Http(HttpOptions(user_agent="g3m-test", stall_timeout_s=5, **options), ways)


def _ask(client: Http, url: str, **more: Any) -> tuple[int, bytes, str]:
    """One request of a pool to its end."""
    status, body, led = 0, b"", ""
    end_s = time.monotonic() + PATIENCE_S
    with client.pool() as pool:
        pool.start(0, Request(url=url, way=client.ways.of(more.get("place") or url)[0], **more))
        while True:
            assert time.monotonic() < end_s, "a request that does not end"
            for item in pool.poll(0.1):
                if isinstance(item, Headed):
                    status, led = item.answer.status, item.url
                elif isinstance(item, Came):
                    body += b"".join(item.pieces)
                elif isinstance(item, Ended):
                    if item.error is not None:
                        raise item.error
                    return status, body, led


def _judged(client: Http, url: str) -> tuple[str, str]:
    """What a request ended with: the words of its error, or nothing and the host that answered."""
    try:
        return "", urlsplit(_ask(client, url)[2]).hostname or ""
    except SourceError as error:
        return error.message, ""


@pytest.mark.parametrize("way", ["direct", *WAYS])
def test_no_redirect_of_a_public_host_takes_a_download_inside(
    trap: Trap, front: PicturesHost, resolver: Any, way: str
) -> None:
    """Every line of the table as a `Location`: an error of ours, and nothing was connected to."""
    _locations(front, trap)
    resolver(
        good_test=(FRONT,), **{name.replace(".", "_"): to for name, to in EVIL.items() if "%" not in to[0]}
    )
    if way == "direct":
        found = [
            _judged(_client(), front.url(f"hop/{number}.jpg", name="good.test"))
            for number in range(len(LINES))
        ]
        assert {host for _, host in found} == {"", "good.test"}
    else:
        with proxied(way, front) as (proxy, ways):
            client = _client(ways)
            found = [_judged(client, f"http://good.test/hop/{number}.jpg") for number in range(len(LINES))]
        # Names are the proxy's to know: only numbers can be judged here.
        hosts = [_host_asked(line) for line in proxy.asked]
        assert "good.test" in hosts
        assert not any(is_numeric(host) for host in hosts)
    assert sum("not public" in words for words, _ in found) >= (70 if way == "direct" else 45)
    assert trap.connections() == 0


def _host_asked(line: str) -> str:
    """The host in what a proxy was asked: `GET http://host:port/path`, `CONNECT host:port` or `name host:port`."""
    target = line.partition(" ")[2]
    return urlsplit(target if "://" in target else f"//{target}").hostname or ""


def test_the_error_says_what_it_is_and_what_to_do(trap: Trap, front: PicturesHost, resolver: Any) -> None:
    """Both hosts, the kind of address, and a hint in both languages; no path and no query."""
    resolver(good_test=(FRONT,), loopback_test=("127.0.0.1",))
    for target in (f"http://127.0.0.1:{trap.port}/x?secret", f"http://loopback.test:{trap.port}/x?secret"):
        _lead(front, target)
        with pytest.raises(Changed) as caught:
            _ask(_client(), front.url("lead", name="good.test"))
        assert "good.test" in caught.value.message
        assert "this machine" in caught.value.message
        assert "secret" not in caught.value.message
        assert all("--allow-private" in words for words in caught.value.hint)
    assert trap.connections() == 0


def _lead(front: PicturesHost, *targets: str) -> None:
    """`lead` at the front redirects to each of these in turn, then to the last for ever."""
    left = list(targets)

    async def lead(asked: Any) -> None:
        target = left.pop(0) if len(left) > 1 else left[0]
        await asked.answer(b"", f"Location: {target}", status="302 Found")

    front.moods["lead"] = lead


def _inner() -> Wire:
    """A server inside: whoever gets an answer of it came in."""

    def answer(connection: socket.socket) -> None:
        while head := read_head(connection):
            body = b"inside " + head.split()[1]
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    return Wire(answer)


def test_a_place_that_is_not_public_may_lead_about(front: PicturesHost, resolver: Any) -> None:
    """A lab's own mirror may send its users to the lab's own storage, and on from there."""
    resolver(lab_test=("127.0.0.1",), store_test=("127.0.0.1",), good_test=(FRONT,))
    with _inner() as store:

        def lead(connection: socket.socket) -> None:
            read_head(connection)
            head = f"HTTP/1.1 302 Found\r\nLocation: http://store.test:{store.port}/x\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())

        with Wire(lead) as lab:
            client, place = _client(), f"http://lab.test:{lab.port}/"
            status, body, led = _ask(client, place)
            assert (status, body) == (200, b"inside /x")
            # What it had led to may be asked for again, as what a place inside had named, and not otherwise.
            assert _ask(client, led, place=place, inside=True)[1] == b"inside /x"
            with pytest.raises(Changed, match="not public"):
                _ask(client, led, place=place)


def test_the_user_may_allow_it(front: PicturesHost, resolver: Any) -> None:
    """--allow-private lets a public host lead into private networks, and never to what hands out credentials."""
    resolver(good_test=(FRONT,))
    with _inner() as store:
        _lead(front, f"{store.url}/x", "http://169.254.169.254/latest/")
        client = _client(allow_private=True)
        assert _ask(client, front.url("lead", name="good.test"))[1] == b"inside /x"
        with pytest.raises(Changed, match="metadata"):
            _ask(client, front.url("lead", name="good.test"))


def test_rebinding_at_the_redirect(trap: Trap, front: PicturesHost, resolver: Any) -> None:
    """A name that was the public host's a moment ago, and is this machine's at the hop, is not connected to."""
    resolver(evil_test=(FRONT,))
    client = _client()
    assert _ask(client, front.url("good/1.jpg", name="evil.test"))[1] == picture(1)
    _lead(front, f"http://evil.test:{trap.port}/x")
    resolver(evil_test=("127.0.0.1",), good_test=(FRONT,))
    with pytest.raises(Changed, match="not public"):
        _ask(client, front.url("lead", name="good.test"))
    assert trap.connections() == 0


def test_rebinding_of_where_a_redirect_had_led(trap: Trap, front: PicturesHost, resolver: Any) -> None:
    """The next range goes to where the first was sent, and is checked like it."""
    _lead(front, front.url("good/1.jpg", name="cdn.test"))
    resolver(good_test=(FRONT,), cdn_test=(FRONT,))
    place = front.url("lead", name="good.test")
    _, body, led = _ask(_client(), place)
    assert body == picture(1)
    resolver(cdn_test=("127.0.0.1",))
    for url in (led, f"http://cdn.test:{trap.port}/x"):
        with pytest.raises(Changed, match="not public"):
            _ask(_client(), url, place=place, start=5)
    assert trap.connections() == 0


def test_a_name_with_one_good_and_one_bad_address(trap: Trap, front: PicturesHost, resolver: Any) -> None:
    """Of several addresses only those that are public are connected to."""
    resolver(good_test=(FRONT,), both_test=("127.0.0.1", FRONT))
    _lead(front, f"http://both.test:{front.port}/good/1.jpg", f"http://both.test:{trap.port}/x")
    client, place = _client(), front.url("lead", name="good.test")
    assert _ask(client, place)[1] == picture(1)
    with pytest.raises(SourceError):
        _ask(client, place)
    assert trap.connections() == 0


def test_an_open_connection_inside_is_no_way_in(front: PicturesHost, resolver: Any) -> None:
    """A connection to a lab's mirror that is kept for its next request is not used for a redirect from outside."""
    resolver(good_test=(FRONT,), lab_test=("127.0.0.1",))
    with _inner() as lab:
        client = _client()
        for _ in range(2):
            assert _ask(client, f"http://lab.test:{lab.port}/mine")[1] == b"inside /mine"
        assert lab.connections == 1
        for host in ("lab.test", "LAB.test", "lab.test."):
            _lead(front, f"http://{host}:{lab.port}/yours")
            with pytest.raises(SourceError):
                _ask(client, front.url("lead", name="good.test"))
        assert lab.connections == 1
        assert _ask(client, f"http://lab.test:{lab.port}/mine")[1] == b"inside /mine"


def test_a_chain_of_good_hops_does_not_help(trap: Trap, front: PicturesHost, resolver: Any) -> None:
    """Where the chain began decides, however many public hosts lie between."""
    resolver(good_test=(FRONT,), other_test=(FRONT,), loopback_test=("127.0.0.1",))
    other = front.url("lead", name="other.test")
    _lead(front, other, other, f"http://loopback.test:{trap.port}/")
    with pytest.raises(Changed, match=r"good\.test.*loopback\.test.*not public"):
        _ask(_client(), front.url("lead", name="good.test"))
    assert trap.connections() == 0


def test_what_a_tunnel_answers_counts_as_public() -> None:
    """The addresses that proxy programs in TUN mode give to names are let through, and nothing beside them."""
    assert [
        inside(address) for address in ("198.18.0.7", "198.19.255.255", "fc00::7", "fdfe:dcba:9876::3")
    ] == [""] * 4
    assert all(map(inside, ("192.168.0.1", "198.51.100.1", "fc00:4000::1", "fd00::1", "169.254.169.254")))
