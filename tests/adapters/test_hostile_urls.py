"""Lists written by an enemy: whatever a URL or a host says, nothing of this machine or its networks is reached.

Two places listen on loopback. The front stands for the public Internet: its address alone is called public
here, so that redirects and name servers can be tried. The trap stands for what must not be reached: it counts
every connection, also one that asks for nothing.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from tests.adapters.crowding import Fetcher
from tests.hostile.urls import EVIL, FRONT, LINES
from tests.pictures_host import PicturesHost, away, picture, pictures_host

from g3m.adapters.crowd import Got
from g3m.adapters.hosts import Hosts
from g3m.adapters.names import GOOD_FOR_S, Names
from g3m.core.addresses import refusal

TRAPPED = ("127.0.0.1", "127.0.0.2", "::1")


class Trap:
    """A port that is listened on at several addresses of this machine; the kernel takes connections for it."""

    def __init__(self) -> None:
        self._sockets = [socket.create_server((TRAPPED[0], 0), backlog=128)]
        self.port: int = self._sockets[0].getsockname()[1]
        for address in TRAPPED[1:]:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with contextlib.suppress(OSError):  # a machine may have no IPv6
                self._sockets.append(socket.create_server((address, self.port), family=family))

    def connections(self) -> int:
        """How many came since the last time, whether they said anything or not."""
        count = 0
        for listener in self._sockets:
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
                    count += 1
        return count

    def close(self) -> None:
        for listener in self._sockets:
            listener.close()


@pytest.fixture
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


def enemy(host: str, *_: Any, **__: Any) -> list[Any]:
    """The enemy's name server: what is not of his list is the front."""
    answers = EVIL.get(host, (FRONT,) if host.endswith(".test") else ())
    if not answers:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answers]


def front_is_public(address: str) -> str:
    return "" if address == FRONT else refusal(address)


@contextmanager
def fetching(
    look_up: Callable[..., list[Any]] = enemy, refuse: Callable[[str], str] = front_is_public, **options: Any
) -> Iterator[Fetcher]:
    """Fetches as a run does with private addresses off; the user's own check is the real one, but for the front."""
    names = Names(look_up=look_up, refuse=refuse, pauses_s=(), **options)
    with Hosts(ask_robots=False, names=names) as hosts:
        yield Fetcher(hosts)


def one(fetch: Fetcher, url: str) -> Got:
    [got] = fetch([url], total_s=10, connect_s=5, retries=0, alarm=False)
    return got


REFUSED = {"bad_url", "private_address"}


@pytest.mark.parametrize("text", LINES, ids=ascii)
def test_no_url_reaches_the_trap(trap: Trap, text: str) -> None:
    """No spelling of a URL, and no answer of a name server, leads to this machine, and the reason says so."""
    with fetching() as fetch:
        got = one(fetch, text.replace("PORT", str(trap.port)))
    assert trap.connections() == 0
    assert got.reason in REFUSED
    assert (got.body, got.headers) == (b"", None)
    assert "pw" not in got.detail


@pytest.mark.parametrize("text", LINES, ids=ascii)
def test_no_redirect_reaches_the_trap(trap: Trap, front: PicturesHost, text: str) -> None:
    """The same, where a public host redirects to it: the hop is judged like a row of the list."""
    target = text.replace("PORT", str(trap.port))
    # What has no scheme is a path of the front's own.
    home = text.startswith("127.0.0.1:")

    async def hop(asked: Any) -> None:
        location = target.encode("utf-8").decode("latin-1").replace("\r\n", "\r\n ")
        await asked.send(
            f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode("latin-1")
        )

    front.moods["hop"] = hop
    with fetching() as fetch:
        got = one(fetch, front.url("hop/1.jpg", name="good.test"))
    assert trap.connections() == 0
    assert got.body == b""
    assert got.reason in {"redirects", "private_address", "unreachable"} | ({"http_404"} if home else set())


@pytest.mark.parametrize("before", range(6))
def test_chains(trap: Trap, front: PicturesHost, before: int) -> None:
    """A chain of redirects ends at the trap's door, however many good hops come before it; six are too many."""
    path = away(f"http://loopback.test:{trap.port}/a.jpg")
    with fetching() as fetch:
        got = one(fetch, front.url(f"redirect/{before}/{path}" if before else path, name="good.test"))
    assert trap.connections() == 0
    assert got.reason == ("redirects" if before == 5 else "private_address")


def test_too_many_good_hops(front: PicturesHost) -> None:
    """Five redirects are followed and six are not, wherever they lead."""
    with fetching() as fetch:
        assert one(fetch, front.url("redirect/5/good/1.jpg", name="good.test")).body == picture(1)
        assert one(fetch, front.url("redirect/6/good/1.jpg", name="good.test")).reason == "redirects"


class Rebinding:
    """A name server that is honest once."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]


@pytest.mark.parametrize("name", ["evil.test", "localhost", "a.localhost"])
def test_rebinding(trap: Trap, front: PicturesHost, name: str) -> None:
    """A name that leads home after it was checked is connected to where it led when it was checked."""
    server = Rebinding(FRONT, "127.0.0.1")
    clock = [0.0]
    with fetching(server, monotonic=lambda: clock[0]) as fetch:
        assert one(fetch, front.url("good/1.jpg", name=name)).body == picture(1)
        # At the front's address nobody listens on the trap's port; at the trap's somebody would.
        assert one(fetch, f"http://{name}:{trap.port}/a.jpg").reason == "unreachable"
        hop = front.url(away(f"http://{name}:{trap.port}/a.jpg"), name=name)
        assert one(fetch, hop).reason == "unreachable"
        assert server.asked == 1
        clock[0] = GOOD_FOR_S + 1
        assert one(fetch, f"http://{name}:{trap.port}/a.jpg").reason == "private_address"
        assert server.asked == 2
    assert trap.connections() == 0


def test_rebinding_within_one_crowd(trap: Trap, front: PicturesHost) -> None:
    """The same within one task, whose connections and answers are used again."""
    server = Rebinding(FRONT, "127.0.0.1")
    urls = [front.url(f"good/{number}.jpg", name="evil.test") for number in range(5)]
    urls += [f"http://evil.test:{trap.port}/{number}.jpg" for number in range(5)]
    urls += [
        front.url(away(f"http://evil.test:{trap.port}/{number}.jpg"), name="evil.test") for number in range(5)
    ]
    with fetching(server) as fetch:
        found = fetch(urls, total_s=10, connect_s=5, retries=0, alarm=False)
    assert trap.connections() == 0
    assert [got.body for got in found[:5]] == [picture(number) for number in range(5)]
    assert {got.reason for got in found[5:]} <= {"unreachable", "private_address"}
    assert server.asked == 1


def test_last_check(trap: Trap) -> None:
    """What slips through every other check is stopped where the socket is opened."""
    calls: list[str] = []

    def tired(address: str) -> str:
        calls.append(address)
        return "" if len(calls) == 1 else refusal(address)

    with fetching(refuse=tired) as fetch:
        got = one(fetch, f"http://loopback.test:{trap.port}/a.jpg")
    assert trap.connections() == 0
    assert got.reason == "private_address"
    assert calls[:2] == ["127.0.0.1", "127.0.0.1"]


def test_the_real_resolver(trap: Trap) -> None:
    """With the system's own resolver and the check as it is by default, this machine's name is refused."""
    hosts = ("localhost", "LOCALHOST.")
    with Hosts(ask_robots=False) as known:
        found = Fetcher(known)(
            [f"http://{host}:{trap.port}/a.jpg" for host in hosts], total_s=10, retries=0, alarm=False
        )
    assert trap.connections() == 0
    assert {got.reason for got in found} == {"private_address"}


def test_robots_txt_is_no_way_in(trap: Trap, front: PicturesHost) -> None:
    """A robots.txt that redirects to this machine is not fetched from it."""
    path = away(f"http://loopback.test:{trap.port}/robots.txt")

    async def robots(asked: Any) -> None:
        await asked.answer(b"", f"Location: /{path}", status="302 Found")

    front.moods["robots.txt"] = robots
    try:
        names = Names(look_up=enemy, refuse=front_is_public, pauses_s=())
        with Hosts(names=names) as hosts:
            got = one(Fetcher(hosts), front.url("good/1.jpg", name="good.test"))
    finally:
        del front.moods["robots.txt"]
    assert trap.connections() == 0
    assert got.reason in ("", "private_address")
    assert front.asked[unquote(path)] == 1


def test_no_credential_is_sent(front: PicturesHost) -> None:
    """Nothing goes to a host of a list but its name, the path and who asks, on every hop."""
    with fetching() as fetch:
        got = one(fetch, front.url("redirect/1/good/7.jpg", name="good.test"))
    assert got.body == picture(7)
    for path in ("redirect/1/good/7.jpg", "good/7.jpg"):
        assert set(front.last_headers[path]) == {"host", "user-agent", "accept", "accept-encoding"}


def test_the_trap_works(trap: Trap, front: PicturesHost) -> None:
    """Where everything is allowed the same URLs and redirects do reach the trap: the tests above see what they must."""
    with fetching(refuse=lambda _: "") as fetch:
        direct = f"http://loopback.test:{trap.port}/a.jpg"
        for url in (direct, f"http://127.0.0.2:{trap.port}/", front.url(away(direct), name="good.test")):
            [got] = fetch([url], total_s=1, retries=0, alarm=False)
            assert got.reason == "timeout"
            assert trap.connections() == 1
