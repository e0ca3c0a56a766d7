"""How long one connection may ask and read, and who has to go when there are too many; the server runs in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import uvicorn
from tests.web.conftest import LIMIT_S, wait_for

from g3m.ui.web import doorway
from g3m.ui.web.doorway import Doorway

PIECE = bytes(65536)
PIECES = 400
"""More than the kernel keeps for somebody who does not read."""

WHOLE = b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n"
SHORT = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def app(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """`/big` is some megabytes, in pieces; `/never` says nothing; all else is a word."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/never":
        while (await receive())["type"] != "http.disconnect":
            pass
    for _ in range(PIECES if scope["path"] == "/big" else 0):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body", "body": b"over"})


class Running:
    """A server on a thread, and its connections."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server, self.port = server, port

    @property
    def held(self) -> int:
        return len(self.server.server_state.connections)

    def connect(self, said: bytes = b"") -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), LIMIT_S)
        plain.sendall(said)
        return plain

    def ask(self, said: bytes = SHORT) -> bytes:
        with self.connect(said) as plain:
            return all_of(plain)


def all_of(plain: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = bytearray()
    try:
        while data := plain.recv(2**20):
            found += data
    except ConnectionResetError:
        pass
    return bytes(found)


@contextmanager
def serving() -> Iterator[Running]:
    config = uvicorn.Config(
        app, http=Doorway, ws="none", loop="asyncio", log_config=None, lifespan="off", access_log=False
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_for(lambda: server.started, "the server")
            yield Running(server, port)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(LIMIT_S)


@pytest.fixture
def running() -> Iterator[Running]:
    """A server of this test's own."""
    with serving() as found:
        yield found


def test_who_reads_nothing_is_given_up(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when his answer is written already and only he does not take it; an idle one is not meant."""
    monkeypatch.setattr(doorway, "READING_S", 0.05)
    with running.connect(WHOLE), running.connect() as idle:
        wait_for(lambda: running.held == 1, "the deaf one to be given up")
        idle.sendall(SHORT)
        assert all_of(idle).startswith(b"HTTP/1.1 200")


class Pipe:
    """A transport that tells how much of what was written is not taken yet."""

    def __init__(self, *unread_bytes: int) -> None:
        self.unread_bytes = list(unread_bytes)
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes.pop(0)

    def abort(self) -> None:
        self.is_aborted = True


@pytest.mark.parametrize(
    ("unread", "is_given_up"),
    [
        ((0, 0, 0), False),
        ((900, 800, 1), False),
        ((900, 0, 900), False),
        ((900, 900, 900), True),
        ((0, 900, 901), True),
        ((0, 0, 900), False),
    ],
)
def test_a_slow_reader_is_not_a_deaf_one(unread: tuple[int, ...], is_given_up: bool) -> None:
    """As long as anything is taken between two looks, there is time."""
    loop: Any = type("Loop", (), {"call_later": staticmethod(lambda *_: None)})
    door: Any = Doorway.__new__(Doorway)
    door.loop, door.transport = loop, Pipe(*unread)
    for _ in unread:
        if not door.transport.is_aborted:
            door._look()
    assert door.transport.is_aborted == is_given_up


def test_who_was_written_to_anew_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same fill level twice is no proof when it was lower in between."""
    loop: Any = type("Loop", (), {"call_later": staticmethod(lambda *_: None)})
    door: Any = Doorway.__new__(Doorway)
    door.loop, door.transport = loop, Pipe(900, 900, 900)
    door.flow = type("Flow", (), {"resume_writing": staticmethod(lambda: None)})
    door._look()
    door.resume_writing()
    door._look()
    assert not door.transport.is_aborted
    door._look()
    assert door.transport.is_aborted


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: local",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf of a body",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT",
    ],
    ids=["nothing", "half a head", "half a body", "half a second head"],
)
def test_who_does_not_finish_his_question_is_given_up(
    running: Running, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """However little he says, and also if he had an answer before."""
    monkeypatch.setattr(doorway, "ASKING_S", 0.05)
    running.server.config.timeout_keep_alive = 3600
    with running.connect(said) as plain:
        if b"\r\n\r\n" in said:
            assert plain.recv(12) == b"HTTP/1.1 200"
            plain.sendall(b"x")
        all_of(plain)
    wait_for(lambda: running.held == 0, "the connection to be closed")


def test_a_body_without_end_is_not_kept(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends on and on is cut off, and what he sends is thrown away."""
    monkeypatch.setattr(doorway, "ASKING_S", 0.2)
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
    with running.connect(head) as plain, pytest.raises((ConnectionResetError, BrokenPipeError)):
        while True:
            plain.sendall(PIECE)


def test_the_one_silent_for_longest_makes_room(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newcomer is answered; who is being answered stays."""
    monkeypatch.setattr(doorway, "MOST_CONNECTIONS", 4)
    with ExitStack() as stack:
        busy = stack.enter_context(running.connect(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        assert busy.recv(12) == b"HTTP/1.1 200"
        silent = [stack.enter_context(running.connect()) for _ in range(3)]
        wait_for(lambda: running.held == 4, "all to be taken")
        assert running.ask().startswith(b"HTTP/1.1 200")
        assert all_of(silent[0]) == b""
        for one in silent[1:]:
            one.sendall(SHORT)
            assert all_of(one).startswith(b"HTTP/1.1 200")


def test_where_all_are_answered_a_newcomer_is_told_so(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Politely, with the headers of every answer; and those before go on."""
    monkeypatch.setattr(doorway, "MOST_CONNECTIONS", 2)
    with ExitStack() as stack:
        for _ in range(2):
            busy = stack.enter_context(running.connect(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            assert busy.recv(12) == b"HTTP/1.1 200"
        answer = running.ask(b"")
        assert answer.startswith(b"HTTP/1.1 503") and b"default-src 'none'" in answer
        assert running.held == 2
    wait_for(lambda: running.held == 0, "all to be gone")
    assert running.ask().startswith(b"HTTP/1.1 200")


def test_who_does_not_read_makes_room_for_who_does(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large answers that nobody takes do not keep the pages from others."""
    monkeypatch.setattr(doorway, "MOST_CONNECTIONS", 4)
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(running.connect(WHOLE))
        wait_for(
            lambda: sum(one.flow.write_paused for one in list(running.server.server_state.connections)) == 4,
            "their answers to be stuck",
        )
        assert running.ask().startswith(b"HTTP/1.1 200")
