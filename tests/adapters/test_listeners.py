"""adapters/listeners.py: who listens, whose it is, and which of them are proxies."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.corelab import PASSWORD, FakeCore, Relay, free_port

from g3m.adapters import listeners
from g3m.adapters.listeners import (
    Listener,
    Socket,
    find_listeners,
    listening,
    look_at,
    owner_of,
    ports_beside,
    sockets_at,
)

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def words(address: str) -> str:
    """An address as the kernel of this machine prints it."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    parts = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return b"".join(part[::-1] if sys.byteorder == "little" else part for part in parts).hex().upper()


def line(address: str, port: int, *, uid: int = 0, inode: int = 1, state: str = "0A") -> str:
    zero = "00000000:00000000 00:00000000 00000000"
    return (
        f"   0: {words(address)}:{port:04X} 00000000:0000 {state} {zero} {uid:5} 0 {inode} 1 0 100 0 0 10 0\n"
    )


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with one process that listens twice, and other people's sockets."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(
        HEAD
        + line("127.0.0.1", 9090, uid=os.getuid(), inode=11)
        + line("127.0.0.1", 2080, uid=os.getuid(), inode=12)
        + line("0.0.0.0", 7890, uid=1234, inode=13)
        + line("127.0.0.1", 5000, inode=14, state="01")
    )
    (tmp_path / "net" / "tcp6").write_text(
        HEAD
        + line("::", 9090, uid=1234, inode=15)
        + line("::ffff:127.0.0.1", 7891, inode=16)
        + line("::1", 7892, inode=17)
    )
    for pid, inodes in (("7", [13, 15]), ("8", [12, 99, 11])):
        folder = tmp_path / pid / "fd"
        folder.mkdir(parents=True)
        (folder / "0").symlink_to("/dev/null")
        for number, inode in enumerate(inodes):
            (folder / str(number + 3)).symlink_to(f"socket:[{inode}]")
    return tmp_path


def test_the_kernels_tables_are_read(proc: Path) -> None:
    """Every listening socket with address, port, owner; connections are left out, mapped addresses unmapped."""
    assert listening(proc) == (
        Socket("127.0.0.1", 9090, os.getuid(), 11),
        Socket("127.0.0.1", 2080, os.getuid(), 12),
        Socket("0.0.0.0", 7890, 1234, 13),
        Socket("::", 9090, 1234, 15),
        Socket("127.0.0.1", 7891, 0, 16),
        Socket("::1", 7892, 0, 17),
    )


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    """A system without these files has no sockets to tell of, and that is no error."""
    assert listening(tmp_path) == ()
    assert ports_beside(9090, (), tmp_path) == ()


def test_the_socket_that_answers(proc: Path) -> None:
    """One for the very address hides one for every address; another address does not answer."""
    sockets = listening(proc)
    assert [item.inode for item in sockets_at(9090, sockets)] == [11]
    assert [item.inode for item in sockets_at(9090, sockets, "127.0.0.2")] == [15]
    assert [item.inode for item in sockets_at(7890, sockets)] == [13]
    assert sockets_at(7892, sockets) == ()
    assert [item.inode for item in sockets_at(7892, sockets, "::1")] == [17]


def test_ports_of_the_same_process(proc: Path) -> None:
    """sing-box does not tell its proxy's port, but the same process listens there."""
    assert ports_beside(9090, listening(proc), proc) == (2080,)
    assert ports_beside(7891, listening(proc), proc) == ()


def test_this_process_finds_itself() -> None:
    """On a real /proc: two sockets of ours belong to one process and are ours."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [item.getsockname()[1] for item in (one, two)]
        sockets = listening()
        assert ports[1] in ports_beside(ports[0], sockets)
        (found,) = sockets_at(ports[0], sockets)
        assert (found.address, owner_of(found.uid)) == ("127.0.0.1", "yours")


def test_whose_a_socket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, a service's of the system, another person's, or not known; only the third is not trusted."""
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    owners = [owner_of(uid) for uid in (1000, 0, 999, 1001, 65534, None)]
    assert owners == ["yours", "system", "system", "other", "other", ""]
    trusted = [Listener(port=1, speaks=("http",), owner=owner).is_trusted for owner in owners]
    assert trusted == [True, True, True, False, False, True]


# What listens.


@pytest.mark.parametrize(
    ("relay", "speaks", "login", "url"),
    [
        (Relay(), ("http", "socks5"), False, "http"),
        (Relay(speaks=("http",)), ("http",), False, "http"),
        (Relay(speaks=("socks5",)), ("socks5",), False, "socks5h"),
        (Relay(login=True), ("http", "socks5"), True, "http"),
        (Relay(speaks=("http",), login=True), ("http",), True, "http"),
        (Relay(speaks=("socks5",), login=True), ("socks5",), True, "socks5h"),
    ],
)
def test_proxies_are_told_apart(relay: Relay, speaks: tuple[str, ...], login: bool, url: str) -> None:
    """Each by what it speaks, and whether it wants a login; the address prefers HTTP."""
    with relay.running():
        found = look_at(relay.port, listening())
    assert found is not None
    assert (found.speaks, found.wants_login, found.owner) == (speaks, login, "yours")
    assert found.url == f"{url}://127.0.0.1:{relay.port}"
    assert PASSWORD not in repr(found)


@contextlib.contextmanager
def answering(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does as `serve` says with every connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(5)
                        serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def saying(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return serve


@pytest.mark.parametrize(
    ("answer", "is_proxy"),
    [
        (b"HTTP/1.1 200 Connection established\r\n\r\n", True),
        (b"HTTP/1.0 403 Forbidden\r\n\r\n", True),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", True),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"HTTP/1.1 405 Method Not Allowed\r\n\r\n", False),
        (b"HTTP/1.1 501 Not Implemented\r\n\r\n", False),
        (b"HTTP/2 200 OK\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False),
        (b"\x05", False),
        (b"\x04\x00", False),
        (b"", False),
    ],
)
def test_what_is_a_proxy_and_what_is_not(answer: bytes, is_proxy: bool) -> None:
    """A web server, a login shell, a database or half an answer is not taken for a proxy."""
    with answering(saying(answer)) as port:
        assert (look_at(port, listening()) is not None) is is_proxy


def test_a_silent_server_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says nothing is left after the timeout, and one byte in time does not hold us longer."""
    monkeypatch.setattr(listeners, "ANSWER_TIMEOUT_S", 0.1)
    with answering(lambda connection: connection.recv(1) and None) as port:
        assert look_at(port, listening()) is None


def test_a_real_web_server_is_no_proxy() -> None:
    """Python's own server answers CONNECT as web servers do."""
    assert not hasattr(BaseHTTPRequestHandler, "do_CONNECT")
    with FakeCore().running() as core:
        assert look_at(core.port, listening()) is None


def test_only_what_listens_is_asked() -> None:
    """In the order of the ports, each once, and a port where nobody listens is left out."""
    with Relay().running() as one, Relay(speaks=("socks5",)).running() as two:
        ports = [two.port, free_port(), one.port, two.port]
        assert [item.port for item in find_listeners(ports)] == [two.port, one.port]


def test_without_proc_the_ports_are_tried(tmp_path: Path) -> None:
    """Where the system does not tell who listens, a proxy is found all the same, and belongs to nobody known."""
    with Relay().running() as relay:
        (found,) = find_listeners([relay.port, free_port()], tmp_path)
    assert (found.port, found.owner, found.uid, found.is_trusted) == (relay.port, "", None, True)


def test_another_users_proxy_is_seen_as_such(tmp_path: Path) -> None:
    """The owner comes from the socket that answers, whoever it is."""
    (tmp_path / "net").mkdir()
    with Relay().running() as relay:
        (tmp_path / "net" / "tcp").write_text(HEAD + line("127.0.0.1", relay.port, uid=4321))
        (found,) = find_listeners([relay.port], tmp_path)
    assert (found.owner, found.uid, found.is_trusted) == ("other", 4321, False)
