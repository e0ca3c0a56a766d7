"""adapters/peers.py: a peer's list comes over the real network or becomes an error without the token."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from g3m.adapters import peers as peers_module
from g3m.adapters.curl import HttpOptions
from g3m.adapters.http import Http
from g3m.adapters.peers import list_peer
from g3m.adapters.share import ShareOptions, ShareServer
from g3m.core.digest import Digest
from g3m.core.errors import Changed, Missing, SourceError, Throttled, Unreachable
from g3m.core.peers import Listing, SharedAsset, build
from g3m.core.secrets import Secret
from g3m.core.serving import Catalogue

TOKEN = "5ec2e75ec2e75ec2e75ec2e75ec2e75e"
LISTING = Listing(
    assets=(
        SharedAsset(
            id="0" * 16, name="a.zip", size_bytes=5, digest=Digest("sha256", "a" * 64), ranges=((0, 3),)
        ),
    )
)
BODY = build(LISTING).encode()

Answer = Callable[[socket.socket], None]


def client() -> Http:
    return Http(HttpOptions(user_agent="g3m-test", stall_timeout_s=0.5))


@pytest.fixture
def impostor() -> Iterator[Callable[[Answer], str]]:
    """Something that answers at a peer's address in a way of its own; gives the address."""
    with contextlib.ExitStack() as stack:

        def begin(answer: Answer) -> str:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(20)

            def serve() -> None:
                with contextlib.suppress(OSError), listener.accept()[0] as connection:
                    connection.settimeout(20)
                    connection.recv(65536)
                    answer(connection)

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            return f"http://127.0.0.1:{listener.getsockname()[1]}/{TOKEN}/"

        yield begin


def reply(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])
    return lambda connection: connection.sendall(f"{head}\r\n\r\n".encode() + body)


def test_the_list_of_a_real_share() -> None:
    """What a share serves is what its reader gets."""
    server = ShareServer(
        lambda parts: contextlib.nullcontext(),
        Secret(TOKEN),
        lambda: Catalogue(BODY, {}),
        ShareOptions(port=0),
    )
    with server:
        assert list_peer(client(), server.url) == LISTING
        with pytest.raises(Missing, match="nothing there"):
            list_peer(client(), server.url.replace(TOKEN, TOKEN[::-1]))


def cut(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY[:20])


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b" " * 65536)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply(b"{}"), Changed, "its list cannot be used: it is no list"),
        (reply(b"\xff\xfe\x00"), Changed, "it is no JSON"),
        (reply(b"<html>" + TOKEN.encode()), Changed, "it is no JSON"),
        (reply(json.dumps({**json.loads(BODY), "format": 2}).encode()), Changed, "another version"),
        (reply(BODY.replace(b'"a.zip"', b'"../a"')), Changed, "name: does not fit"),
        (reply(b"", "404 Not Found"), Missing, "nothing there"),
        (reply(b"", "503 Busy", "Retry-After: 1"), Throttled, "busy"),
        (reply(b"", "500 Broken"), Unreachable, "HTTP 500"),
        (reply(BODY, "206 Partial Content"), Changed, "HTTP 206"),
        (reply(b"", "302 Found", f"Location: http://127.0.0.1:1/{TOKEN}/elsewhere"), SourceError, ""),
        (cut, SourceError, ""),
        (lambda connection: None, Unreachable, ""),
        (endless, Changed, "more than 2000 bytes"),
    ],
)
def test_what_a_peer_must_not_do(
    impostor: Callable[[Answer], str],
    answer: Answer,
    kind: type[SourceError],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every lie and every failure is a source's error that names the host and never the token."""
    monkeypatch.setattr(peers_module, "LISTING_LIMIT_BYTES", 2000)
    address = impostor(answer)
    with pytest.raises(kind) as caught:
        list_peer(client(), address)
    assert words in caught.value.message
    assert "127.0.0.1" in caught.value.message
    for text in (caught.value.message, str(caught.value), repr(caught.value)):
        assert TOKEN not in text


def test_a_peer_that_redirects_is_no_peer(impostor: Callable[[Answer], str]) -> None:
    """A list is not taken from another address, even if it is a good one."""
    good = impostor(reply(BODY))
    with pytest.raises(Changed, match="redirects") as caught:
        list_peer(client(), impostor(reply(b"", "307 Elsewhere", f"Location: {good}")))
    assert TOKEN not in caught.value.message


def test_nobody_there() -> None:
    """A closed port is an error with the host."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}") as caught:
        list_peer(client(), f"http://127.0.0.1:{port}/{TOKEN}/")
    assert TOKEN not in str(caught.value)


def test_a_list_byte_by_byte_has_an_end(
    impostor: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that always sends a little is given up after a time."""
    monkeypatch.setattr(peers_module, "TIME_LIMIT_S", 0.3)
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                connection.sendall(b" ")

    address = impostor(drip)
    try:
        with pytest.raises(Unreachable, match="takes longer"):
            list_peer(client(), address)
    finally:
        stop.set()


def test_the_way_is_used() -> None:
    """A list can be asked for over a proxy: it is the proxy that is spoken to."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(20)
        seen: list[bytes] = []

        def serve() -> None:
            with proxy.accept()[0] as connection:
                seen.append(connection.recv(65536))
                reply(BODY)(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        way = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        assert list_peer(client(), f"http://peer.g3m.test:8318/{TOKEN}/", way=way) == LISTING
        thread.join()
    assert seen[0].startswith(f"GET http://peer.g3m.test:8318/{TOKEN}/ HTTP/1.1\r\n".encode())
