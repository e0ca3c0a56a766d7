"""adapters/share.py: over real sockets, honest clients get their bytes and hostile ones get nowhere."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from g3m.adapters.beneath import open_beneath
from g3m.adapters.share import HEAD_LIMIT_BYTES, ShareOptions, ShareServer
from g3m.core.errors import UsageError
from g3m.core.secrets import Secret
from g3m.core.serving import Catalogue, SharedPath

TOKEN = "5ec2e75ec2e75ec2e75ec2e75ec2e75e"
BLOB = random.Random(3).randbytes(300_000)
LIMIT_S = 20.0


def wait_for(found: Callable[[], Any], what: str) -> Any:
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        if answer := found():
            return answer
        time.sleep(0.005)
    raise AssertionError(f"waited in vain for {what}")


class Box:
    """A folder with a whole file, a part and a secret beside it, served."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.root = folder / "root"
        (self.root / "sub").mkdir(parents=True)
        (folder / "secret").write_bytes(b"outside")
        (self.root / "unlisted").write_bytes(b"not listed")
        (self.root / "sub" / "blob").write_bytes(BLOB)
        (self.root / "part").write_bytes(BLOB[:1000])
        (self.root / "link").symlink_to(folder / "secret")
        self.paths = {
            "assets/1/blob": self.path("sub", "blob"),
            "assets/2/part": SharedPath(
                parts=("part",), size_bytes=len(BLOB), digest="sha256:2", ranges=((100, 1000),)
            ),
            "assets/3/link": SharedPath(parts=("link",), size_bytes=7, digest="sha256:3"),
            "assets/4/gone": self.path("gone"),
            "assets/5/short": SharedPath(parts=("part",), size_bytes=len(BLOB), digest="sha256:5"),
        }
        self.made = 0
        self.fail: Exception | None = None
        options = {"port": 0, "idle_s": 5.0, "head_s": 5.0, "refresh_s": 0.0, **options}
        self.server = ShareServer(
            lambda parts: open_beneath(self.root, parts),
            Secret(TOKEN),
            self.catalogue,
            ShareOptions(**options),
        )

    def path(self, *parts: str) -> SharedPath:
        return SharedPath(parts=parts, size_bytes=len(BLOB), digest="sha256:1")

    def catalogue(self) -> Catalogue:
        self.made += 1
        if self.fail is not None:
            raise self.fail
        return Catalogue(b'{"kind": "a list"}', dict(self.paths))

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=LIMIT_S)
        with contextlib.closing(connection):
            connection.request(
                method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def talk(self, data: bytes) -> bytes:
        """Send bytes as they are; everything that comes back until the other side ends the connection."""
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=LIMIT_S) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            received = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    received += piece
            return received


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Box]]:
    with contextlib.ExitStack() as stack:

        def made(**options: Any) -> Box:
            box = Box(tmp_path, **options)
            stack.enter_context(box.server)
            return box

        yield made


@pytest.fixture
def box(make: Callable[..., Box]) -> Box:
    return make()


def test_the_address_has_host_port_and_token(box: Box) -> None:
    """What is printed is what works; only loopback listens unless told otherwise."""
    assert box.server.url == f"http://127.0.0.1:{box.server.port}/{TOKEN}/"
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", box.server.port), timeout=1)


def test_the_list_and_a_file(box: Box) -> None:
    """The list is JSON; a file comes whole with its digest as validator, and is counted."""
    status, headers, body = box.get(f"/{TOKEN}/")
    assert (status, body, headers["content-type"]) == (200, b'{"kind": "a list"}', "application/json")
    status, headers, body = box.get(f"/{TOKEN}/assets/1/blob")
    assert (status, body == BLOB) == (200, True)
    assert headers["etag"] == '"sha256:1"'
    assert headers["accept-ranges"] == "bytes"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["server"] == "g3m"
    wait_for(lambda: box.server.sent_bytes == len(BLOB), "the count")


def test_head_is_get_without_a_body(box: Box) -> None:
    """Status and headers are the same, for the list, a file, a range and what is not there."""
    for path, headers in (
        ("", {}),
        ("assets/1/blob", {}),
        ("assets/1/blob", {"Range": "bytes=5-9"}),
        ("none", {}),
    ):
        got = box.get(f"/{TOKEN}/{path}", **headers)
        head = box.get(f"/{TOKEN}/{path}", "HEAD", **headers)
        for each in (got, head):
            each[1].pop("date")
        assert head == (got[0], got[1], b"")


@pytest.mark.parametrize(
    ("path", "wanted", "condition", "status", "body"),
    [
        ("assets/1/blob", "bytes=10-19", None, 206, BLOB[10:20]),
        ("assets/1/blob", "bytes=299990-", None, 206, BLOB[299990:]),
        ("assets/1/blob", "bytes=10-19", '"sha256:1"', 206, BLOB[10:20]),
        ("assets/1/blob", "bytes=10-19", '"another"', 200, BLOB),
        ("assets/1/blob", "bytes=300000-", None, 416, None),
        ("assets/2/part", "bytes=100-999", None, 206, BLOB[100:1000]),
        ("assets/2/part", "bytes=99-200", None, 416, None),
        ("assets/2/part", "bytes=900-1000", None, 416, None),
        ("assets/2/part", None, None, 404, None),
    ],
)
def test_ranges(
    box: Box, path: str, wanted: str | None, condition: str | None, status: int, body: bytes | None
) -> None:
    """What is there of a range comes as asked; what is not, not even in part, is a 416."""
    asked = {"Range": wanted, "If_Range": condition}
    got = box.get(f"/{TOKEN}/{path}", **{name: value for name, value in asked.items() if value is not None})
    assert got[0] == status
    assert body is None or got[2] == body


def test_curl_goes_on_where_it_stopped(box: Box, tmp_path: Path) -> None:
    """A real client resumes and gets the file."""
    out = tmp_path / "out"
    out.write_bytes(BLOB[:1234])
    url = f"{box.server.url}assets/1/blob"
    subprocess.run(
        ["curl", "-fsS", "--noproxy", "*", "-C", "-", "-o", str(out), url], check=True, timeout=LIMIT_S
    )
    assert out.read_bytes() == BLOB
    wait_for(lambda: box.server.sent_bytes == len(BLOB) - 1234, "the count")


def test_one_connection_carries_many_requests(box: Box) -> None:
    """Keep-alive: the refusals in between do not end it."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", box.server.port, timeout=LIMIT_S)
    ) as connection:
        for path, status in (("assets/1/blob", 200), ("none", 404), ("assets/2/part", 404), ("", 200)):
            connection.request("GET", f"/{TOKEN}/{path}")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status
            assert box.server.connections == 1


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/{TOKEN}",
        f"/{TOKEN[:-1]}/",
        f"/{TOKEN}0/",
        f"/{TOKEN.upper()}/",
        f"/%35{TOKEN[1:]}/",
        f"//{TOKEN}x/",
        f"/x/{TOKEN}/",
        "/assets/1/blob",
        "/?token=" + TOKEN,
        "/ö/",
    ],
)
def test_without_the_token_there_is_nothing(box: Box, path: str) -> None:
    """Every other address is the same 404, with the same body; the catalogue is not even made."""
    answer = box.talk(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert answer.endswith(b"\r\n\r\n404 Not Found\n")
    assert box.made == 0


@pytest.mark.parametrize(
    "path",
    [
        "unlisted",
        "sub/blob",
        f"../{TOKEN}/assets/1/blob",
        "assets/1/../1/blob",
        "assets/1/blob/",
        "assets/1/%62lob",
        "../secret",
        "..%2fsecret",
        "%2e%2e/secret",
        "....//secret",
        "/etc/passwd",
        "assets/1/blob%00",
        "assets\\1\\blob",
        "assets/3/link",
        "assets/4/gone",
        "assets/5/short",
    ],
)
def test_only_what_the_list_names_and_what_is_there_is_served(box: Box, path: str) -> None:
    """Traversal in every spelling, files beside, links out of the root, files of another size: 404."""
    answer = box.talk(f"GET /{TOKEN}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"outside" not in answer
    assert b"not listed" not in answer
    assert box.server.sent_bytes == 0


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"\r\n", b""),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET /a b c HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /" + TOKEN.encode() + b"/ HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /" + TOKEN.encode() + b"/\r\n\r\n", b""),
        (b"POST /" + TOKEN.encode() + b"/ HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"501"),
        (b"PUT /" + TOKEN.encode() + b"/assets/1/blob HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", b"501"),
        (b"DELETE /" + TOKEN.encode() + b"/assets/1/blob HTTP/1.1\r\n\r\n", b"501"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 70_000, b"431"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 5000, b"431"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000, b"431"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", b"431"),
    ],
)
def test_bad_requests(box: Box, request_text: bytes, status: bytes) -> None:
    """They get a short answer or none, the connection ends, and nothing of the request is repeated."""
    answer = box.talk(request_text)
    assert answer.startswith(b"HTTP/1.1 " + status if status else b"")
    assert not status or b"Connection: close" in answer
    assert TOKEN.encode() not in answer
    assert b"nonsense" not in answer
    assert len(answer) < 1000
    assert box.get(f"/{TOKEN}/")[0] == 200


def test_a_body_does_not_pass_for_a_request(box: Box) -> None:
    """A GET with a body is answered, and the connection ends behind it."""
    inner = f"GET /{TOKEN}/assets/1/blob HTTP/1.1\r\n\r\n".encode()
    for header in (f"Content-Length: {len(inner)}", "Transfer-Encoding: chunked"):
        answer = box.talk(f"GET /{TOKEN}/ HTTP/1.1\r\n{header}\r\n\r\n".encode() + inner)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in answer


def test_a_head_has_a_bound_in_all(box: Box) -> None:
    """Many small headers count together; a head below the bound is read."""
    small = b"".join(b"H%02d: %s\r\n" % (number, b"x" * 100) for number in range(80))
    assert len(small) < HEAD_LIMIT_BYTES
    head = f"GET /{TOKEN}/ HTTP/1.1\r\nConnection: close\r\n".encode()
    assert box.talk(head + small + b"\r\n").startswith(b"HTTP/1.1 200 ")
    large = b"".join(b"H%02d: %s\r\n" % (number, b"x" * 300) for number in range(80))
    assert box.talk(head + large + b"\r\n").startswith(b"HTTP/1.1 431 ")


def test_a_slow_head_ends(make: Callable[..., Box]) -> None:
    """A byte now and then does not keep a connection: the whole head has its time."""
    box = make(idle_s=30.0, head_s=0.3)
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", box.server.port), timeout=LIMIT_S) as connection:
        connection.settimeout(0.05)
        ended = False
        while not ended and time.monotonic() - began_s < LIMIT_S:
            try:
                connection.sendall(b"G")
                ended = connection.recv(10) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                ended = True
    assert ended
    wait_for(lambda: box.server.connections == 0, "the end of the connection")


def test_who_says_nothing_is_not_kept(make: Callable[..., Box]) -> None:
    """An idle connection ends, at the beginning and behind an answer."""
    box = make(idle_s=0.2)
    assert box.talk(b"") == b""
    assert box.talk(f"GET /{TOKEN}/ HTTP/1.1\r\n\r\n".encode()).endswith(b'{"kind": "a list"}')


def test_who_takes_nothing_is_not_kept(make: Callable[..., Box]) -> None:
    """A client that asks for a large file and does not read loses its connection."""
    box = make(idle_s=0.3)
    size_bytes = 64 * 2**20
    with open(box.root / "large", "wb") as file:
        file.truncate(size_bytes)
    box.paths["large"] = SharedPath(parts=("large",), size_bytes=size_bytes, digest="sha256:1")
    with socket.create_connection(("127.0.0.1", box.server.port), timeout=LIMIT_S) as connection:
        connection.sendall(f"GET /{TOKEN}/large HTTP/1.1\r\n\r\n".encode())
        wait_for(lambda: box.server.connections == 1, "the connection")
        wait_for(lambda: box.server.connections == 0, "its end")
    assert box.server.sent_bytes < size_bytes


def test_connections_have_a_bound(make: Callable[..., Box]) -> None:
    """One more is told to come later, at once; when one leaves there is room again."""
    box = make(connections=3)
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", box.server.port), timeout=LIMIT_S))
            for _ in range(3)
        ]
        wait_for(lambda: box.server.connections == 3, "three connections")
        for _ in range(5):
            answer = box.talk(b"")
            assert answer == b"" or answer.startswith(b"HTTP/1.1 503 ")
            assert answer == b"" or b"Retry-After: 1\r\n" in answer
        assert box.server.connections == 3
        held[0].close()
        wait_for(lambda: box.server.connections == 2, "the end of one")
        assert box.get(f"/{TOKEN}/")[0] == 200


def test_one_address_cannot_take_all_connections(make: Callable[..., Box]) -> None:
    """The bound for one client is smaller: another still gets through."""
    box = make(host="0.0.0.0", connections=4, host_connections=2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", box.server.port), timeout=LIMIT_S))
        wait_for(lambda: box.server.connections == 2, "two connections")
        assert b" 200 " not in box.talk(f"GET /{TOKEN}/ HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        other = http.client.HTTPConnection(
            "127.0.0.1", box.server.port, timeout=LIMIT_S, source_address=("127.0.0.9", 0)
        )
        with contextlib.closing(other):
            other.request("GET", f"/{TOKEN}/")
            assert other.getresponse().read() == b'{"kind": "a list"}'


def test_a_storm_of_clients(box: Box) -> None:
    """Fifty at once, some of whom leave in the middle: the others have every byte, and nothing is left."""
    wrong: list[str] = []

    def client(number: int) -> None:
        if number % 3 == 0:
            with socket.create_connection(("127.0.0.1", box.server.port), timeout=LIMIT_S) as connection:
                connection.sendall(f"GET /{TOKEN}/assets/1/blob HTTP/1.1\r\n\r\n".encode())
                connection.recv(100)
            return
        start = number * 1000
        status, _, body = box.get(f"/{TOKEN}/assets/1/blob", Range=f"bytes={start}-{start + 99_999}")
        if status != 206 or body != BLOB[start : start + 100_000]:
            wrong.append(f"{number}: {status} {len(body)}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    wait_for(lambda: box.server.connections == 0, "the end of all")


def test_a_file_that_shrinks_ends_the_connection(make: Callable[..., Box]) -> None:
    """A part may be cut while it is read: the client is told at once that it has not everything."""
    box = make(idle_s=2 * LIMIT_S)
    box.paths["assets/2/part"] = SharedPath(
        parts=("part",), size_bytes=len(BLOB), digest="sha256:2", ranges=((0, 2000),)
    )
    began_s = time.monotonic()
    with pytest.raises(http.client.IncompleteRead):
        box.get(f"/{TOKEN}/assets/2/part", Range="bytes=0-1999")
    assert time.monotonic() - began_s < LIMIT_S


def test_a_catalogue_that_fails_is_one_error(box: Box) -> None:
    """The client gets a 500 without words; the server goes on, and the next try works."""
    box.fail = RuntimeError(f"something with {TOKEN}")
    status, _, body = box.get(f"/{TOKEN}/")
    assert (status, body) == (500, b"500 Internal Server Error\n")
    box.fail = None
    assert box.get(f"/{TOKEN}/")[0] == 200


def test_the_catalogue_is_kept_for_a_while(make: Callable[..., Box]) -> None:
    """Many requests do not read the disk many times."""
    box = make(refresh_s=60.0)
    for _ in range(5):
        assert box.get(f"/{TOKEN}/")[0] == 200
    assert box.made == 1


def test_stopping_ends_everything_at_once(tmp_path: Path) -> None:
    """With idle and busy connections open, stopping waits for none of them, and leaves neither thread nor descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    box = Box(tmp_path, idle_s=2 * LIMIT_S, head_s=2 * LIMIT_S)
    with open(box.root / "large", "wb") as file:
        file.truncate(64 * 2**20)
    box.paths["large"] = SharedPath(parts=("large",), size_bytes=64 * 2**20, digest="sha256:1")
    with contextlib.ExitStack() as stack:
        with box.server:
            address = ("127.0.0.1", box.server.port)
            clients = [
                stack.enter_context(socket.create_connection(address, timeout=LIMIT_S)) for _ in range(4)
            ]
            for client in clients[:2]:
                client.sendall(f"GET /{TOKEN}/large HTTP/1.1\r\n\r\n".encode())
            wait_for(lambda: box.server.connections == 4, "four connections")
            began_s = time.monotonic()
        assert time.monotonic() - began_s < LIMIT_S
        assert box.server.connections == 0
        with pytest.raises(OSError):
            socket.create_connection(address, timeout=1)
    assert [thread for thread in threading.enumerate() if thread.name == "g3m-share"] == []
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before, "closed descriptors")


@pytest.mark.parametrize("options", [{"host": "203.0.113.7"}, {"host": "no such host"}, {"host": "a" * 70}])
def test_where_nobody_can_listen(tmp_path: Path, options: dict[str, Any]) -> None:
    """A usage error that names the place, and nothing stays open."""
    with pytest.raises(UsageError, match="cannot listen at"):
        Box(tmp_path, **options)


def test_a_port_that_is_taken(box: Box, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The second server is told so, with the way out."""
    with pytest.raises(UsageError, match="in use") as caught:
        Box(tmp_path_factory.mktemp("second"), port=box.server.port)
    assert "--port" in caught.value.hint[0]


def test_an_address_of_six(make: Callable[..., Box]) -> None:
    """IPv6 works, with brackets in the address."""
    box = make(host="::1")
    assert box.server.url.startswith("http://[::1]:")
    with contextlib.closing(
        http.client.HTTPConnection("::1", box.server.port, timeout=LIMIT_S)
    ) as connection:
        connection.request("GET", f"/{TOKEN}/")
        assert connection.getresponse().status == 200


def test_everywhere_has_the_name_of_the_machine(make: Callable[..., Box]) -> None:
    """An address that means all cannot be handed on; the host's name can."""
    assert make(host="0.0.0.0").server.url.startswith(f"http://{socket.gethostname()}:")
