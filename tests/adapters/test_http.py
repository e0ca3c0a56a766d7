"""adapters/http.py and curl.py: documents and pools over a bad, lying or fenced network, with real sockets."""

from __future__ import annotations

import contextlib
import functools
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.wire import Proxy, Wire, read_head

from g3m.adapters import http as http_module
from g3m.adapters.curl import HttpOptions
from g3m.adapters.http import REDIRECT_LIMIT, Came, Ended, Headed, Http, Occurrence, Pool, Request
from g3m.core import proxies
from g3m.core.errors import (
    Changed,
    Interrupted,
    SettingsError,
    SourceError,
    Truncated,
    Unreachable,
)
from g3m.core.proxies import find_ways
from g3m.core.resume import Wanted, decide
from g3m.core.secrets import Secret, Token
from g3m.lab.mischief import (
    Cut,
    Gzip,
    NoLength,
    Redirect308,
    RedirectLoop,
    RedirectTo,
    Silence,
    Stall,
    Status,
)
from g3m.lab.origin import Origin

BLOB = random.Random(5).randbytes(200_000)
NAME = "origin.g3m.test"
"""A host that no resolver knows: whoever reaches it was carried there by a proxy."""


def _http(*, variables: dict[str, str] | None = None, connections: int = 16, **options: Any) -> Http:
    """A client that knows these variables, and the proxies that they name."""
    variables = variables or {}
    known = HttpOptions(user_agent="g3m-test", variables=variables, **{"stall_timeout_s": 0.3, **options})
    return Http(known, find_ways([], no_proxy=False, variables=variables), connections)


def _get(client: Http, url: str) -> tuple[int, bytes, str]:
    """A document: its status, its bytes, and where it came from."""
    with client.open(url) as response:
        return response.answer.status, b"".join(response.chunks()), response.url


def _happened(pool: Pool, timeout_s: float = 5.0) -> Iterator[Occurrence]:
    """What happens in a pool until every transfer is over."""
    end_s = time.monotonic() + timeout_s
    while pool._transfers or pool._happened:
        assert time.monotonic() < end_s, "a transfer that does not end"
        yield from pool.poll(0.05)


def _range(
    client: Http, url: str, start: int = 0, end: int | None = None, etag: str = ""
) -> tuple[int, bytes, str]:
    """The same over a pool, for a range of a file, on the best way."""
    status, body, found = 0, b"", ""
    with client.pool() as pool:
        pool.start(7, Request(url=url, way=client.ways.of(url)[0], start=start, end=end, etag=etag))
        for item in _happened(pool):
            assert item.key == 7
            if isinstance(item, Headed):
                assert not status, "two heads"
                status, found = item.answer.status, item.url
            elif isinstance(item, Came):
                assert status, "bytes before their head"
                body += b"".join(item.pieces)
            elif item.error is not None:
                raise item.error
    return status, body, found


@pytest.fixture(params=[_get, _range], ids=["document", "pool"])
def get(request: pytest.FixtureRequest) -> Any:
    """Both ways to ask: what holds for one holds for the other."""
    return request.param


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this test 127.0.0.1 is a host like any other, which may be reached through a proxy, or directly."""
    monkeypatch.setattr(proxies, "_is_loopback", lambda host: False)


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    (tmp_path / "blob.bin").write_bytes(BLOB)
    with Origin() as origin:
        origin.mount("/blob.bin", tmp_path / "blob.bin", google=True)
        yield origin


@pytest.fixture
def url(origin: Origin) -> str:
    return f"{origin.url}/blob.bin"


def _says(*answers: bytes) -> Callable[[socket.socket], None]:
    """Give these bytes as the answer, whatever is asked, and close."""

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        for answer in answers:
            connection.sendall(answer)

    return handle


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


# What is asked, and what comes.


def test_a_file_comes_whole(origin: Origin, url: str) -> None:
    """Every byte, with the head in lower case, and nothing asked but the file, plainly."""
    with _http().open(url) as response:
        assert response.answer.status == 200
        assert response.answer.length_bytes == len(BLOB)
        assert response.answer.digests[0].algorithm == "md5"
        assert b"".join(response.chunks()) == BLOB
    (request,) = origin.requests
    assert request.method == "GET"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == "g3m-test"
    assert {"range", "if-range", "authorization", "cookie", "referer"}.isdisjoint(request.headers)


def test_a_range_with_a_validator(origin: Origin, url: str) -> None:
    """From a byte on, under the condition that the file is still the same."""
    with _http().open(url) as response:
        etag = response.answer.etag
    status, body, _ = _range(_http(), url, 150_000, etag=etag)
    assert (status, body) == (206, BLOB[150_000:])
    assert origin.requests[-1].headers["range"] == "bytes=150000-"
    assert origin.requests[-1].headers["if-range"] == etag
    status, body, _ = _range(_http(), url, 150_000, 160_000)
    assert (status, body) == (206, BLOB[150_000:160_000])
    assert origin.requests[-1].headers["range"] == "bytes=150000-159999"
    assert "if-range" not in origin.requests[-1].headers
    status, body, _ = _range(_http(), url, 0, 1)
    assert (status, body) == (206, BLOB[:1])
    status, body, _ = _range(_http(), url, 150_000, etag='"old"')
    assert (status, body) == (200, BLOB)


def test_a_range_behind_the_end(url: str) -> None:
    """416 is an answer like any other, and its Content-Range no promise."""
    with _http().pool() as pool:
        pool.start(0, Request(url=url, start=len(BLOB)))
        head = next(iter(_happened(pool)))
    assert isinstance(head, Headed)
    assert head.answer.status == 416
    assert head.answer.content_range is None


@pytest.mark.parametrize("code", [204, 401, 404, 429, 500, 503])
def test_every_status_is_an_answer(origin: Origin, url: str, code: int) -> None:
    """This layer judges nothing."""
    origin.mischief("*", Status(code, retry_after=3))
    with _http().open(url) as response:
        assert response.answer.status == code
        assert response.answer.headers["retry-after"] == "3"


def test_nothing_is_decompressed(origin: Origin, url: str) -> None:
    """A compressed answer comes as it was sent, so that it can be refused."""
    origin.mischief("*", Gzip())
    with _http().open(url) as response:
        assert response.answer.headers["content-encoding"] == "gzip"
        assert response.answer.etag == ""
        assert response.read()[:2] == b"\x1f\x8b"


def test_chunks_without_a_length(origin: Origin, url: str) -> None:
    """A chunked body ends where it says."""
    origin.mischief("*", NoLength())
    with _http().open(url) as response:
        assert response.answer.length_bytes is None
        assert response.read() == BLOB


def test_a_small_body_has_a_limit(url: str) -> None:
    """A listing that never ends does not fill the memory."""
    with _http().open(url) as response, pytest.raises(Changed, match="more than 1000 bytes"):
        response.read(1000)


def test_an_interim_answer_is_no_answer() -> None:
    """100 and 103 come before the head and leave nothing in it."""
    early = b"HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with Wire(_says(early + OK)) as wire, _http().open(wire.url) as response:
        assert response.answer.status == 200
        assert "x-early" not in response.answer.headers
        assert "link" not in response.answer.headers
        assert response.read() == b"hello"


def test_google_sends_its_hashes_in_two_lines() -> None:
    """x-goog-hash comes as crc32c and as md5, in any order: the md5 must not be lost."""
    md5, crc = b"x-goog-hash: md5=CY9rzUYh03PK3k6DJie09g==\r\n", b"x-goog-hash: crc32c=n03x6A==\r\n"
    for lines in (crc + md5, md5 + crc):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + lines + b"\r\n"
        with Wire(_says(answer)) as wire, _http().open(wire.url) as response:
            digests = response.answer.digests
        assert [digest.hex for digest in digests] == ["098f6bcd4621d373cade4e832627b4f6"]


# What breaks.


def test_bytes_that_came_before_a_cut_are_delivered() -> None:
    """Head, some bytes and the end of the connection in one go: the bytes count, then the error comes."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + bytes(20_000)

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(answer)
        time.sleep(0.01)

    lost = 0
    with Wire(handle) as wire:
        for number in range(5):
            got = b""
            with pytest.raises(Truncated), _http().open(wire.url) as response:
                # A slow disk: all of it waits in the socket when it is asked for.
                time.sleep(0.03 * (number % 2))
                for chunk in response.chunks():
                    got += chunk
            lost += 20_000 - len(got)
    assert lost == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"hello\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"HTTP/1.1 200 OK\r\n\0: x\r\nContent-Length: 9\r\n\r\nhello",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=lambda answer: ascii(answer[-24:]),
)
def test_what_is_no_http_is_a_named_error(answer: bytes, get: Any) -> None:
    """Whatever a host may say, it is an error of our tree or an honest body, and never a hang."""
    with Wire(_says(answer)) as wire:
        try:
            assert get(_http(), wire.url)[1] in (b"", b"hello")
        except SourceError as error:
            assert error.message


@pytest.mark.parametrize("status", [b"2" * 5000, b"2000", b"0200"])
def test_a_status_that_is_none(status: bytes) -> None:
    """A number that no answer has is no success, however it begins."""
    answer = b"HTTP/1.1 " + status + b" OK\r\nContent-Length: 5\r\n\r\nhello"
    with Wire(_says(answer)) as wire, pytest.raises(SourceError), _http().open(wire.url) as response:
        decide(Wanted(label="x"), response.answer)


def test_headers_without_end_are_left() -> None:
    """A server that sends headers for ever does not get our memory."""

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(20_000):
            connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 500))

    with Wire(handle) as wire, pytest.raises(Unreachable), _http().open(wire.url):
        pass


def test_nobody_listens() -> None:
    """A closed port is Unreachable with host and port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}"), _http().open(f"http://127.0.0.1:{port}/"):
        pass


def test_a_name_that_nobody_knows() -> None:
    """DNS failures are said as such."""
    with pytest.raises(Unreachable, match=f"{NAME} cannot be resolved"), _http().open(f"http://{NAME}/"):
        pass


def test_a_stall_is_closed(origin: Origin, url: str) -> None:
    """No byte for as long as was said: the connection is closed, the bytes before it count."""
    origin.mischief("*", Stall(1000, 60))
    started_s, got = time.monotonic(), b""
    with pytest.raises(Unreachable, match=r"no byte for 0\.3 s"), _http().open(url) as response:
        for chunk in response.chunks():
            got += chunk
    assert got == BLOB[:1000]
    assert 0.25 < time.monotonic() - started_s < 30


def test_silence_is_closed(origin: Origin, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes the request and says nothing is left."""
    monkeypatch.setattr(http_module, "CONNECT_TIMEOUT_S", 0)
    origin.mischief("*", Silence(for_s=5))
    with pytest.raises(Unreachable, match="no byte"), _http().open(url):
        pass


def test_a_trickle_is_no_stall() -> None:
    """A slow link is not a dead one: every byte counts as life."""

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        for _ in range(4):
            time.sleep(0.15)
            connection.sendall(b"x")

    with Wire(handle) as wire:
        assert _get(_http(), wire.url)[:2] == (200, b"xxxx")


def test_a_stop_is_heard(origin: Origin, url: str) -> None:
    """Ctrl-C ends a silent download long before its patience would."""
    origin.mischief("*", Stall(1000, 60))
    stop = threading.Event()
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    started_s = time.monotonic()
    client = _http(stall_timeout_s=30, stopping=stop.is_set)
    with pytest.raises(Interrupted), client.open(url) as response:
        response.read()
    assert time.monotonic() - started_s < 20
    timer.join()


def test_a_response_left_early_closes_its_connection() -> None:
    """Who stops reading keeps no socket open."""
    ended = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
            while True:
                connection.sendall(bytes(65536))
        except OSError:
            ended.set()

    with Wire(handle) as wire:
        with _http().open(wire.url) as response:
            assert next(response.chunks())
        assert ended.wait(0.9)


def test_several_threads_share_a_client(url: str) -> None:
    """One client, eight downloads at a time, each whole."""
    client, bodies = _http(), []
    threads = [threading.Thread(target=lambda: bodies.append(_get(client, url)[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert bodies == [BLOB] * 8


# Pools.


def _kept_open(connection: socket.socket) -> None:
    """Answer request after request on one connection."""
    while read_head(connection):
        connection.sendall(OK)


def test_many_transfers_at_a_time(origin: Origin, url: str) -> None:
    """Twenty ranges side by side, each whole and under its own key."""
    got: dict[int, bytes] = dict.fromkeys(range(20), b"")
    ended: list[int] = []
    with _http().pool() as pool:
        for key in got:
            pool.start(key, Request(url=url, start=key * 10_000, end=key * 10_000 + 10_000))
        for item in _happened(pool):
            if isinstance(item, Came):
                got[item.key] += b"".join(item.pieces)
            elif isinstance(item, Ended):
                assert item.error is None
                ended.append(item.key)
    assert b"".join(got.values()) == BLOB
    assert sorted(ended) == sorted(got)


def test_a_connection_serves_the_next_request() -> None:
    """In one pool, in the next pool, and for documents in between: the handshake is paid once."""
    client = _http()
    with Wire(_kept_open) as wire:
        for _ in range(3):
            assert _range(client, wire.url)[1] == b"hello"
            assert _get(client, wire.url)[1] == b"hello"
        assert wire.connections == 1


def test_two_pools_share_nothing_while_both_work(url: str) -> None:
    """Two downloads of one session, in two threads: what happens in one is not told to the other."""
    client = _http()
    with client.pool() as one, client.pool() as other:
        one.start(1, Request(url=url))
        other.start(2, Request(url=url))
        assert {item.key for item in _happened(one)} == {1}
        assert {item.key for item in _happened(other)} == {2}


def test_what_is_cancelled_is_told_no_more() -> None:
    """After a cancel nothing of that transfer comes, its connection is closed, the others go on."""
    ended = threading.Event()

    def handle(connection: socket.socket) -> None:
        if b"/endless" not in read_head(connection):
            connection.sendall(OK)
            return
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
            while True:
                connection.sendall(bytes(65536))
        except OSError:
            ended.set()

    client = _http()
    with Wire(handle) as wire, client.pool() as pool:
        pool.start(1, Request(url=f"{wire.url}/endless"))
        pool.start(2, Request(url=wire.url))
        host = wire.url[7:]
        assert client.open_connections(host) == 2
        seen: list[Occurrence] = []
        for item in _happened(pool):
            seen.append(item)
            if item.key == 1 and isinstance(item, Came):
                pool.cancel(1)
                seen.clear()
                assert client.open_connections(host) <= 1
        assert {item.key for item in seen} <= {2}
        assert ended.wait(0.9)
        pool.cancel(1)
        assert client.open_connections(host) == 0
        pool.start(1, Request(url=wire.url))
        assert [type(item) for item in _happened(pool)] == [Headed, Came, Ended]


def test_a_pool_that_is_left_closes_everything() -> None:
    """Whatever is under way when a pool is left, also by an error, is given up."""
    ended = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
        with contextlib.suppress(OSError):
            connection.recv(1)
        ended.set()

    client = _http()
    with Wire(handle) as wire:
        with pytest.raises(ZeroDivisionError), client.pool() as pool:
            pool.start(1, Request(url=wire.url))
            for item in _happened(pool):
                if isinstance(item, Came):
                    raise ZeroDivisionError
        assert ended.wait(0.9)
        assert client.open_connections(wire.url[7:]) == 0
        with client.pool() as pool:
            assert pool.poll(0) == []


def test_room_is_counted_over_all_pools() -> None:
    """The connections that a host may have are those of the session, and each end gives one back."""
    release = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        release.wait(5)
        connection.sendall(OK)

    client = _http(connections=3)
    with Wire(handle) as wire, client.pool() as one, client.pool() as other:
        for key, pool in enumerate((one, one, other)):
            assert pool.has_room(wire.url)
            pool.start(key, Request(url=wire.url))
        assert not one.has_room(f"{wire.url}/else")
        assert not other.has_room(wire.url)
        assert one.has_room("http://127.0.0.1:1/")
        release.set()
        for pool in (one, other):
            list(_happened(pool))
        assert one.has_room(wire.url)
        assert client.open_connections(wire.url[7:]) == 0


def test_a_redirect_moves_the_count_to_the_next_host(origin: Origin, url: str) -> None:
    """A transfer counts for the host that it is connected to at the moment."""
    release = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        release.wait(5)
        connection.sendall(OK)

    client = _http()
    with Wire(handle) as wire, client.pool() as pool:
        origin.mischief("*", RedirectTo(wire.url))
        pool.start(0, Request(url=url))
        while not wire.connections:
            assert pool.poll(0.05) == []
        assert client.open_connections(origin.url[7:]) == 0
        assert client.open_connections(wire.url[7:]) == 1
        release.set()
        list(_happened(pool))
    assert client.open_connections(wire.url[7:]) == 0


def test_one_broken_transfer_leaves_the_others(origin: Origin, url: str) -> None:
    """Errors come under their own key: refused, cut and redirected in circles beside one that is right."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    origin.mischief("*", Cut(1000), times=1)
    with Wire(_hops(REDIRECT_LIMIT + 1)) as wire, _http().pool() as pool:
        pool.start(1, Request(url=url, start=5))
        while not origin.requests:
            pool._work()
        for key, address in ((2, f"http://127.0.0.1:{port}/"), (3, f"{wire.url}/0"), (4, url)):
            pool.start(key, Request(url=address))
        errors = {item.key: item.error for item in _happened(pool) if isinstance(item, Ended)}
    assert {key: type(error) for key, error in errors.items()} == {
        1: Truncated,
        2: Unreachable,
        3: Changed,
        4: type(None),
    }


def test_bytes_before_a_break_come_first_in_a_pool() -> None:
    """Head, bytes, error, in this order, although all of it came in one go."""
    answer = b"HTTP/1.1 206 X\r\nContent-Range: bytes 0-49999/50000\r\nContent-Length: 50000\r\n\r\n"
    with Wire(_says(answer + bytes(20_000))) as wire, _http().pool() as pool:
        pool.start(1, Request(url=wire.url, end=50_000))
        items = list(_happened(pool))
    assert isinstance(items[0], Headed)
    assert items[0].answer.content_range == (0, 49_999, 50_000)
    assert sum(len(piece) for item in items if isinstance(item, Came) for piece in item.pieces) == 20_000
    assert isinstance(items[-1], Ended)
    assert isinstance(items[-1].error, Truncated)
    assert [type(item) for item in items].count(Ended) == 1


def test_the_body_of_a_redirect_is_not_told(origin: Origin, url: str) -> None:
    """Of a redirect's own text nothing comes, and where it led is known."""
    with Origin() as other:
        origin.mischief("*", RedirectTo(f"{other.url}/missing"))
        assert _range(_http(), url)[2] == f"{other.url}/missing"


@pytest.mark.parametrize("transfers", [0, 1])
def test_an_idle_pool_waits(transfers: int) -> None:
    """A pool in which nothing happens takes the time that it was given, and no processor."""
    release = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        release.wait(5)

    with Wire(handle) as wire, _http().pool() as pool:
        for key in range(transfers):
            pool.start(key, Request(url=wire.url))
        while transfers and not wire.connections:
            pool.poll(0.01)
        begun_s, used_s = time.monotonic(), time.thread_time()
        for _ in range(4):
            assert pool.poll(0.1) == []
        assert time.monotonic() - begun_s >= 0.3
        assert time.thread_time() - used_s < 0.1
        took_s = []
        for _ in range(5):
            begun_s = time.monotonic()
            assert pool.poll(0) == []
            took_s.append(time.monotonic() - begun_s)
        assert min(took_s) < 0.1
        release.set()


def test_pools_in_threads(url: str) -> None:
    """Eight downloads of one session at a time, each in a pool of its own."""
    client, bodies = _http(), []
    threads = [threading.Thread(target=lambda: bodies.append(_range(client, url, 10)[1])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert bodies == [BLOB[10:]] * 8
    assert client.open_connections(url.split("/")[2]) == 0


# Redirects.


def _hops(count: int) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        number = int(read_head(connection).split()[1].lstrip(b"/") or b"0")
        if number >= count:
            connection.sendall(OK)
        else:
            connection.sendall(
                b"HTTP/1.1 302 Found\r\nLocation: /%d\r\nContent-Length: 0\r\n\r\n" % (number + 1)
            )

    return handle


def test_five_redirects_are_followed_and_six_are_not() -> None:
    """The limit is where it is said to be."""
    with Wire(_hops(REDIRECT_LIMIT)) as wire:
        assert _get(_http(), f"{wire.url}/0") == (200, b"hello", f"{wire.url}/{REDIRECT_LIMIT}")
    with Wire(_hops(REDIRECT_LIMIT + 1)) as wire:
        with pytest.raises(Changed, match="more than 5 redirects"), _http().open(f"{wire.url}/0"):
            pass
        assert wire.connections == REDIRECT_LIMIT + 1


def test_a_loop_is_refused(origin: Origin, url: str, get: Any) -> None:
    """A redirect to itself ends."""
    origin.mischief("*", RedirectLoop(), times=None)
    with pytest.raises(Changed, match="redirects"):
        get(_http(), url)
    assert len(origin.requests) == REDIRECT_LIMIT + 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["/b/file?x=1", "file?x=1", "../b/file?x=1", "{url}/b/file?x=1", "//{host}/b/file?x=1"]
)
def test_locations_of_every_form(status: int, location: str) -> None:
    """Absolute, relative to the path, to the host, to the scheme; with every status and the range kept."""
    asked: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        head = read_head(connection)
        asked.append(head)
        if head.split()[1] == b"/b/file?x=1":
            connection.sendall(OK)
        else:
            target = location.format(url=wire.url, host=wire.url[7:]).encode()
            connection.sendall(
                b"HTTP/1.1 %d X\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, target)
            )

    with Wire(handle) as wire:
        assert _range(_http(), f"{wire.url}/b/start", 7)[:2] == (200, b"hello")
    assert all(b"Range: bytes=7-" in head for head in asked)
    assert all(head.startswith(b"GET ") for head in asked)


def test_a_relative_location_is_of_the_hop_that_said_it(get: Any) -> None:
    """From one host to another, and there to a neighbour of the page: the neighbour is the other host's."""

    def second(connection: socket.socket) -> None:
        if read_head(connection).split()[1] == b"/there/next":
            connection.sendall(OK)
        else:
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: next\r\nContent-Length: 0\r\n\r\n")

    with Wire(second) as other:
        answer = f"HTTP/1.1 302 Found\r\nLocation: {other.url}/there/x\r\nContent-Length: 0\r\n\r\n"
        with Wire(_says(answer.encode())) as wire:
            assert get(_http(), f"{wire.url}/here/x") == (200, b"hello", f"{other.url}/there/next")


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "javascript:alert(1)",
        "data:text/plain,x",
        "",
        "http://",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://127.0.0.1:1/\x7f",
        "http://127.0.0.1:1/a b",
        "http://127.0.0.1:1/\u00e9",
        "http://\u00e9.test/",
    ],
)
def test_a_location_that_leads_nowhere(location: str, get: Any) -> None:
    """Other schemes, and what is no address, are named errors, and nothing of them is opened."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location.encode()
    with Wire(_says(answer)) as wire, pytest.raises(SourceError):
        get(_http(), wire.url)


@pytest.mark.parametrize("scheme", ["file", "ftp", "gopher", "data", "dict", "smb"])
def test_another_scheme_is_refused_by_name(scheme: str) -> None:
    """A redirect out of the web is refused before libcurl sees it, and the host is not asked again."""
    answer = f"HTTP/1.1 302 Found\r\nLocation: {scheme}://127.0.0.1/x\r\nContent-Length: 0\r\n\r\n"
    with Wire(_says(answer.encode())) as wire, pytest.raises(Changed, match="no web address"):
        _get(_http(), wire.url)


def test_a_redirect_without_a_location() -> None:
    """A redirect to nowhere is refused."""
    answer = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
    with Wire(_says(answer)) as wire, pytest.raises(Changed, match="redirected"), _http().open(wire.url):
        pass


@pytest.mark.parametrize("mischief", [RedirectTo, Redirect308])
def test_the_token_stays_with_its_host(
    origin: Origin, url: str, get: Any, mischief: Any, tmp_path: Path
) -> None:
    """Away and back again: only the token's own host ever sees it."""
    host = url.split("/")[2]
    token = Token(Secret("Bearer canary"), frozenset([host]))
    with Origin() as other:
        other.mount("/blob.bin", tmp_path / "blob.bin")
        origin.mischief("*", mischief(other.url))
        other.mischief("*", mischief(origin.url))
        assert get(_http(tokens=[token]), url)[1] == BLOB
        assert [request.headers.get("authorization") for request in origin.requests] == ["Bearer canary"] * 2
        assert [request.headers.get("authorization") for request in other.requests] == [None]


def test_two_tokens_for_two_hosts(origin: Origin, url: str, get: Any, tmp_path: Path) -> None:
    """Each host gets its own, in one chain of redirects."""
    with Origin() as other:
        other.mount("/blob.bin", tmp_path / "blob.bin")
        origin.mischief("*", RedirectTo(other.url))
        tokens = [
            Token(Secret("Bearer one"), frozenset([origin.url[7:]])),
            Token(Secret("Basic two"), frozenset([other.url[7:]])),
        ]
        assert get(_http(tokens=tokens), url)[0] == 200
        assert origin.requests[0].headers["authorization"] == "Bearer one"
        assert other.requests[0].headers["authorization"] == "Basic two"


def test_errors_mask_what_is_signed(origin: Origin) -> None:
    """The query of a link, and user info, do not get into a message."""
    url = f"http://me:canary@{origin.url[7:]}/blob.bin?X-Amz-Signature=canary&x=canary"
    origin.mischief("*", RedirectLoop(), times=None)
    with pytest.raises(Changed) as caught, _http().open(url):
        pass
    assert "canary" not in caught.value.message
    origin.be_honest()
    origin.mischief("*", Stall(10, 5))
    with pytest.raises(Unreachable) as stalled, _http().open(url) as response:
        response.read()
    assert "canary" not in stalled.value.message
    assert "X-Amz-Signature=***" in stalled.value.message


def test_netrc_is_not_read(origin: Origin, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No password of the user's goes out that g3m was not given."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    _get(_http(), url)
    assert "authorization" not in origin.requests[0].headers


# Proxies.


def _port(url: str) -> int:
    return urlsplit(url).port or 0


def test_http_proxy_carries_a_request(origin: Origin) -> None:
    """A name that only the proxy knows is reached through it, in absolute form."""
    proxy = Proxy({NAME: _port(origin.url)})
    with Wire(proxy.http) as wire:
        client = _http(variables={"http_proxy": wire.url})
        status, body, url = _range(client, f"http://{NAME}/blob.bin?a=b", 10)
    assert (status, body, url) == (206, BLOB[10:], f"http://{NAME}/blob.bin?a=b")
    assert proxy.asked == [f"GET http://{NAME}/blob.bin?a=b"]


@pytest.mark.parametrize(
    "variables",
    [{"HTTP_PROXY": "{url}"}, {"all_proxy": "{url}"}, {"ALL_PROXY": "{url}/"}, {"http_proxy": "{host}"}],
)
def test_the_proxys_variables(origin: Origin, variables: dict[str, str]) -> None:
    """Upper case, for all schemes, with a slash or without a scheme: all mean the same proxy."""
    proxy = Proxy({NAME: _port(origin.url)})
    with Wire(proxy.http) as wire:
        found = {name: value.format(url=wire.url, host=wire.url[7:]) for name, value in variables.items()}
        assert _get(_http(variables=found), f"http://{NAME}/blob.bin")[1] == BLOB
    assert len(proxy.asked) == 1


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks", "SOCKS5"])
def test_socks_resolves_remotely(origin: Origin, scheme: str) -> None:
    """The name goes to the proxy unresolved: a poisoned DNS at home does no harm."""
    proxy = Proxy({NAME: _port(origin.url)})
    with Wire(proxy.socks) as wire:
        variables = {"all_proxy": f"{scheme}://127.0.0.1:{wire.port}"}
        assert _get(_http(variables=variables), f"http://{NAME}/blob.bin")[1] == BLOB
    assert proxy.asked == [f"name {NAME}:80"]


def test_loopback_goes_direct(origin: Origin, url: str) -> None:
    """This machine is never asked through a proxy."""
    proxy = Proxy({})
    with Wire(proxy.http) as wire:
        assert _get(_http(variables={"all_proxy": wire.url}), url)[0] == 200
        assert _get(_http(variables={"all_proxy": wire.url}), url.replace("127.0.0.1", "0.0.0.0"))[0] == 200
    assert proxy.asked == []


def test_what_the_user_excludes_goes_direct(origin: Origin, far: None) -> None:
    """no_proxy is heard, for documents and ranges."""
    proxy = Proxy({})
    with Wire(proxy.http) as wire:
        client = _http(variables={"all_proxy": wire.url, "no_proxy": "127.0.0.1"})
        assert _get(client, f"{origin.url}/blob.bin")[0] == 200
        assert _range(client, f"{origin.url}/blob.bin", 5)[0] == 206
    assert proxy.asked == []


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks4"])
@pytest.mark.parametrize("target", ["http", "https"])
def test_a_dead_proxy_never_means_direct(
    origin: Origin, far: None, get: Any, scheme: str, target: str
) -> None:
    """A host that could be reached directly is not, if its proxy is dead: it fails aloud."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = _http(variables={"all_proxy": f"{scheme}://user:canary@127.0.0.1:{port}"})
    with pytest.raises(Unreachable) as caught:
        get(client, f"{target}://127.0.0.1:{_port(origin.url)}/blob.bin")
    assert "canary" not in caught.value.message
    assert origin.requests == []


def test_a_proxy_that_cannot_be_resolved(origin: Origin, far: None) -> None:
    """A proxy's name with a typing error is said to be the proxy's."""
    client = _http(variables={"http_proxy": "http://proxy.g3m.test:3128"})
    with pytest.raises(Unreachable, match="proxy"), client.open(f"http://127.0.0.1:{_port(origin.url)}/"):
        pass
    assert origin.requests == []


@pytest.mark.parametrize("proxy", ["quic://127.0.0.1:1", "ftp://127.0.0.1:1", "://x", "file:///x"])
def test_a_proxy_of_no_use_is_a_setting_that_is_not_right(origin: Origin, proxy: str) -> None:
    """A scheme that cannot be a proxy is refused before anything goes out."""
    with pytest.raises(SettingsError):
        _get(_http(variables={"all_proxy": proxy}), f"{origin.url}/blob.bin")
    assert origin.requests == []


def test_the_process_environment_is_not_read(
    origin: Origin, url: str, far: None, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the variables a session was given count: libcurl does not look for itself."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(_http(), url)[0] == 200


def test_a_proxy_refuses(origin: Origin, far: None) -> None:
    """A proxy that wants a password, or does not know the host, is an error or an answer, never direct."""
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    with Wire(_says(answer)) as wire:
        client = _http(variables={"http_proxy": wire.url, "https_proxy": wire.url})
        with client.open(f"http://127.0.0.1:{_port(origin.url)}/blob.bin") as response:
            assert response.answer.status == 407
        with contextlib.suppress(SourceError), client.open("https://127.0.0.1:1/") as response:
            assert response.answer.status == 407
    proxy = Proxy({})
    with Wire(proxy.socks) as wire:
        client = _http(variables={"all_proxy": f"socks5://127.0.0.1:{wire.port}"})
        with pytest.raises(Unreachable), client.open(f"http://127.0.0.1:{_port(origin.url)}/blob.bin"):
            pass
    assert origin.requests == []


def test_the_proxy_is_chosen_anew_for_every_hop(origin: Origin, get: Any) -> None:
    """A redirect from a proxied host to loopback leaves the proxy, and one to a proxied host enters it."""
    proxy = Proxy({NAME: _port(origin.url)})
    for number, first in enumerate((f"http://{NAME}/blob.bin", f"{origin.url}/blob.bin")):
        other = origin.url if number == 0 else f"http://{NAME}"
        origin.mischief("*", RedirectTo(other))
        with Wire(proxy.http) as wire:
            client = _http(variables={"http_proxy": wire.url}, allow_private=True)
            assert get(client, first)[2] == f"{other}/blob.bin"
    assert proxy.asked == [f"GET http://{NAME}/blob.bin"] * 2


def test_a_token_does_not_go_through_a_proxy_in_the_clear(origin: Origin) -> None:
    """Over plain http a token is sent to nobody but loopback, so no proxy can read it."""
    proxy = Proxy({NAME: _port(origin.url)})
    token = Token(Secret("Bearer canary"), frozenset([NAME]))
    with Wire(proxy.http) as wire:
        _get(_http(variables={"http_proxy": wire.url}, tokens=[token]), f"http://{NAME}/blob.bin")
    assert b"canary" not in proxy.heads[0]


def test_a_proxys_password_goes_to_the_proxy_alone(origin: Origin) -> None:
    """The origin does not see how one signs in at the proxy."""
    proxy = Proxy({NAME: _port(origin.url)})
    with Wire(proxy.http) as wire:
        client = _http(variables={"http_proxy": f"http://me:canary@127.0.0.1:{wire.port}"})
        assert _get(client, f"http://{NAME}/blob.bin")[0] == 200
    assert b"Proxy-Authorization: Basic bWU6Y2FuYXJ5" in proxy.heads[0]
    assert "proxy-authorization" not in origin.requests[0].headers


# TLS.


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=20)


@dataclass
class Tls:
    """A certificate authority and a server under it that answers what `answers` says, by path."""

    folder: Path
    answers: dict[str, bytes]
    heads: list[bytes] = field(default_factory=list)

    def context(self, name: str = "host") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def serve(self, connection: socket.socket, name: str = "host") -> None:
        with self.context(name).wrap_socket(connection, server_side=True) as secure:
            head = read_head(secure)
            if not head:
                return  # the client did not like our certificate
            self.heads.append(head)
            secure.sendall(self.answers.get(head.split()[1].decode(), OK))

    @property
    def trust(self) -> dict[str, str]:
        return {"SSL_CERT_FILE": str(self.folder / "ca.pem")}


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of our own, a certificate for the lab's hosts, one for another host and an expired one."""
    folder = tmp_path_factory.mktemp("tls")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    _openssl(
        folder,
        "req",
        "-x509",
        *key,
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=lab ca",
    )
    for name, hosts, days in (
        ("host", f"IP:127.0.0.1,IP:0.0.0.0,DNS:{NAME}", "2"),
        ("other", "DNS:other.g3m.test", "2"),
        ("expired", "IP:127.0.0.1", "-1"),
    ):
        (folder / f"{name}.ext").write_text(f"subjectAltName={hosts}\n")
        _openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = [
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        ]
        if days.startswith("-"):
            signed += ["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]
        else:
            signed += ["-days", days]
        try:
            _openssl(folder, *signed, "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        except subprocess.CalledProcessError:
            # An older openssl cannot set dates here; a certificate for nobody is refused as well.
            (folder / f"{name}.ext").write_text("subjectAltName=DNS:nobody.g3m.test\n")
            usual = [*signed[: signed.index("-CAcreateserial") + 1], "-days", "2"]
            _openssl(folder, *usual, "-extfile", f"{name}.ext", "-out", f"{name}.pem")
    return folder


@pytest.fixture
def tls(certificates: Path) -> Tls:
    return Tls(certificates, {})


def test_tls_is_trusted_with_the_users_file(tls: Tls) -> None:
    """SSL_CERT_FILE, or CURL_CA_BUNDLE, makes a lab's own authority known."""
    with Wire(tls.serve) as wire:
        url = f"https://127.0.0.1:{wire.port}/"
        assert _get(_http(variables=tls.trust), url)[:2] == (200, b"hello")
        bundle = {"CURL_CA_BUNDLE": tls.trust["SSL_CERT_FILE"]}
        assert _get(_http(variables=bundle), url)[:2] == (200, b"hello")


@pytest.mark.parametrize(
    ("name", "variables"),
    [("host", {}), ("host", {"SSL_CERT_FILE": "/nowhere.pem"}), ("other", None), ("expired", None)],
)
def test_tls_is_refused(tls: Tls, name: str, variables: dict[str, str] | None) -> None:
    """An unknown authority, a missing file, another host's or an old certificate: Unreachable says TLS."""
    token = Token(Secret("Bearer canary"), frozenset(["127.0.0.1"]))
    with Wire(functools.partial(tls.serve, name=name)) as wire:
        client = _http(variables=tls.trust if variables is None else variables, tokens=[token])
        with pytest.raises(Unreachable, match="TLS"), client.open(f"https://127.0.0.1:{wire.port}/"):
            pass
    assert tls.heads == []


def test_plain_http_on_a_tls_port(origin: Origin, tls: Tls) -> None:
    """A host that answers https with http is no trusted host."""
    client = _http(variables=tls.trust)
    with pytest.raises(Unreachable, match="TLS"), client.open(f"https://127.0.0.1:{_port(origin.url)}/"):
        pass


def test_no_step_down_from_https_to_http(origin: Origin, tls: Tls, get: Any) -> None:
    """A redirect out of TLS is refused, and the plain host is not asked."""
    location = f"HTTP/1.1 302 Found\r\nLocation: {origin.url}/blob.bin\r\nContent-Length: 0\r\n\r\n"
    tls.answers["/down"] = location.encode()
    with Wire(tls.serve) as wire, pytest.raises(Changed, match="from https to http"):
        get(_http(variables=tls.trust), f"https://127.0.0.1:{wire.port}/down")
    assert origin.requests == []


def test_a_step_up_from_http_to_https(tls: Tls) -> None:
    """A redirect into TLS is followed and verified."""
    with Wire(tls.serve) as secure:
        target = f"https://127.0.0.1:{secure.port}/"
        answer = f"HTTP/1.1 301 Moved\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        with Wire(_says(answer)) as plain:
            assert _get(_http(variables=tls.trust), plain.url) == (200, b"hello", target)
            with pytest.raises(Unreachable, match="TLS"):
                _get(_http(), plain.url)


@pytest.mark.parametrize("spelling", ["https", "HTTPS"])
def test_tls_through_an_http_proxy(tls: Tls, spelling: str) -> None:
    """CONNECT to a name that only the proxy knows; its own answer is not the host's head."""
    token = Token(Secret("Bearer canary"), frozenset([NAME]))
    with Wire(tls.serve) as wire:
        proxy = Proxy({NAME: wire.port})
        with Wire(proxy.http) as way:
            variables = {**tls.trust, "https_proxy": way.url}
            with _http(variables=variables, tokens=[token]).open(f"{spelling}://{NAME}/x") as response:
                assert response.answer.status == 200
                assert "x-proxy" not in response.answer.headers
                assert response.answer.length_bytes == 5
                assert response.read() == b"hello"
    assert proxy.asked == [f"CONNECT {NAME}:443"]
    assert b"canary" not in b"".join(proxy.heads)
    assert b"Authorization: Bearer canary" in tls.heads[0]


def test_tls_through_a_socks_proxy(tls: Tls) -> None:
    """A SOCKS proxy carries TLS without seeing into it."""
    with Wire(tls.serve) as wire:
        proxy = Proxy({NAME: wire.port})
        with Wire(proxy.socks) as way:
            variables = {**tls.trust, "https_proxy": f"socks5://127.0.0.1:{way.port}"}
            assert _get(_http(variables=variables), f"https://{NAME}/x")[:2] == (200, b"hello")
    assert proxy.asked == [f"name {NAME}:443"]


def test_a_proxy_that_cannot_reach_the_host(tls: Tls) -> None:
    """CONNECT refused by the proxy is an error that costs no token."""
    proxy = Proxy({})
    with Wire(proxy.http) as way:
        client = _http(variables={**tls.trust, "https_proxy": way.url})
        with contextlib.suppress(Unreachable), client.open(f"https://{NAME}/x") as response:
            assert response.answer.status == 502


def test_options_show_no_secret() -> None:
    """Printing the options of a client prints neither tokens nor variables."""
    options = HttpOptions(
        user_agent="x", tokens=[Token(Secret("Bearer canary"), frozenset())], variables={"HF_TOKEN": "canary"}
    )
    assert "canary" not in repr(options)
