"""A real `g3m view`, spoken to byte by byte: what it answers to those who are not a browser, and what it never says."""

from __future__ import annotations

import re
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from tests.web.conftest import LIMIT_S, Root, View, viewing, wait_for

from g3m.ui.web.doorway import MOST_CONNECTIONS

POLICY = "default-src 'none'"


class Told:
    """One answer, taken apart."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.lines = [line.partition(": ")[::2] for line in lines]
        self.head = {name.lower(): value for name, value in self.lines}


class Caller:
    """Speaks to a server over plain sockets."""

    def __init__(self, view: View) -> None:
        parts = urlsplit(view.address)
        self.port = int(parts.port or 0)
        self.token = view.address.partition("?t=")[2]
        told = self.ask(f"/?t={self.token}", cookie="")
        self.welcome = told
        self.cookie = told.head["set-cookie"].partition(";")[0]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), LIMIT_S)

    def send(self, data: bytes) -> bytes:
        """All that comes back until the other side closes; it may do so before it has read everything."""
        found = bytearray()
        with self.connect() as plain:
            try:
                plain.sendall(data)
                while piece := plain.recv(65536):
                    found += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
        return bytes(found)

    def ask(
        self, path: str, *more: str, method: str = "GET", host: str | None = None, cookie: str | None = None
    ) -> Told:
        cookie = self.cookie if cookie is None else cookie
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {f'127.0.0.1:{self.port}' if host is None else host}",
            *more,
        ]
        lines += [f"Cookie: {cookie}"] if cookie else []
        return Told(self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")))


@pytest.fixture(scope="module")
def shared(bare_root: Root) -> Iterator[View]:
    """A running page that these tests share."""
    with viewing(bare_root) as view:
        yield view


@pytest.fixture(scope="module")
def caller(shared: View) -> Caller:
    """Somebody who was let in once."""
    return Caller(shared)


REFUSED = [
    (401, "/", {"cookie": ""}),
    (401, "/?t=wrong", {"cookie": ""}),
    (401, "/static/page.css", {"cookie": ""}),
    (401, "/live", {"cookie": ""}),
    (401, "/keys.txt", {"cookie": "g3m_0123456789ab=wrong"}),
    (421, "/", {"host": "evil.example"}),
    (421, "/", {"host": "127.0.0.1.evil.example"}),
    (421, "/", {"host": "169.254.169.254"}),
    (405, "/", {"method": "POST"}),
    (405, "/", {"method": "CONNECT"}),
    (405, "/", {"method": "OPTIONS"}),
    (404, "/nothing", {}),
    (404, "/picture/none/1?side=256", {}),
    (404, "/sample/coco_valid/99999999", {}),
    (404, "/sample/coco_valid/-1", {}),
    (400, "/browse?after=x", {}),
]


@pytest.mark.parametrize(("status", "path", "more"), REFUSED)
def test_refusals_carry_the_policy_and_no_secret(
    caller: Caller, status: int, path: str, more: dict[str, str]
) -> None:
    """Each with its status, the headers of every answer, and not a word of the token."""
    told = caller.ask(path, **more)
    assert told.status == status
    assert told.head["content-security-policy"].startswith(POLICY)
    assert told.head["x-content-type-options"] == "nosniff" and told.head["referrer-policy"] == "no-referrer"
    assert caller.token.encode() not in told.body and "set-cookie" not in told.head


@pytest.mark.parametrize(
    "line",
    [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Origin: http://evil.example",
        "Origin: null",
    ],
)
def test_what_another_page_makes_the_browser_ask_is_refused(caller: Caller, line: str) -> None:
    """Also from another port of this machine, to which the browser sends the same cookies."""
    assert caller.ask("/", line).status == 403
    assert caller.ask("/picture/coco_valid/0?side=256", line).status == 403


def test_the_token_is_in_the_first_answer_only(caller: Caller) -> None:
    """As a cookie that no script reads; the address to go to is without it, and so is every page."""
    told = caller.welcome
    assert told.status == 303 and told.head["location"] == "/" and told.body == b""
    words = {word.strip().lower() for word in told.head["set-cookie"].split(";")[1:]}
    assert words == {"httponly", "samesite=strict", "path=/"} and told.head["cache-control"] == "no-store"
    for path in ("/", "/browse", "/sample/coco_valid/0", "/downloads", "/help", "/nothing"):
        page = caller.ask(path)
        assert caller.token.encode() not in page.body
        assert not any(caller.token in value for name, value in page.lines)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/%2e%2e/pages.py",
        "/static/..%2f..%2fcli.py",
        "/static//etc/passwd",
        "/static/%00page.css",
        "/static/page.css%00.svg",
        "/picture/../../etc/passwd/0?side=256",
        "/picture/%2e%2e%2f%2e%2e%2fetc/0?side=256",
        "/picture//0?side=256",
        "/original/..%2f..%2f/0",
        "/sample/%ff%fe/0",
        "/..%5c..%5cwindows",
    ],
)
def test_no_path_leads_out(caller: Caller, path: str) -> None:
    """What names no file of the page and no sample is not there, however it is written."""
    told = caller.ask(path)
    assert told.status == 404 and b"root:" not in told.body and b"import" not in told.body


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: line\r\nbad header\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: a\r\n" * 40_000 + b"\r\n",
        b"GET /\x80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
    ids=["tls", "two hosts", "no header", "long line", "long header", "many headers", "no ascii"],
)
def test_what_is_no_request_is_refused_with_the_policy(caller: Caller, data: bytes) -> None:
    """Nothing that cannot be read keeps a connection, memory or the server."""
    answer = caller.send(data)
    if answer or len(data) < 1000:  # too much at once may be cut off before the answer is read
        told = Told(answer)
        assert told.status == 400 and told.head["content-security-policy"].startswith(POLICY)
    assert caller.ask("/").status == 200


def test_an_upgrade_is_a_request_like_others(caller: Caller) -> None:
    """There are no web sockets, whatever else is installed."""
    told = caller.ask("/", "Upgrade: websocket", "Sec-WebSocket-Key: x", cookie="")
    assert told.status == 401


def test_head_says_the_same_without_the_body(caller: Caller) -> None:
    """The same status and type, nothing behind it."""
    for path in ("/", "/picture/coco_valid/0?side=256", "/static/page.css", "/original/coco_valid/0"):
        whole, head = caller.ask(path), caller.ask(path, method="HEAD")
        assert (head.status, head.head["content-type"]) == (whole.status, whole.head["content-type"])
        assert head.body == b"" and whole.body


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Content-Length: 5", "", "hello"), 200),
        (("Transfer-Encoding: chunked", "", "5", "hello", "0", ""), 200),
        (("Transfer-Encoding: gzip",), 400),
        (("Content-Length: 5", "Content-Length: 6"), 400),
        (("Content-Length: -1",), 400),
        (("Transfer-Encoding : chunked",), 400),
    ],
    ids=["length", "chunks", "unknown", "two lengths", "negative", "blank"],
)
def test_a_body_is_not_asked_for(caller: Caller, lines: tuple[str, ...], status: int) -> None:
    """It changes no answer, and one that could be read in two ways is refused."""
    head = (f"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {caller.cookie}", "Connection: close")
    data = "\r\n".join([*head, *lines, "", ""]).encode()
    assert Told(caller.send(data)).status == status


def test_questions_in_a_row_are_answered_in_order(caller: Caller) -> None:
    """Sent at once; a refusal among them stops none of the others."""
    ask = "GET {} HTTP/1.1\r\nHost: {}\r\nCookie: " + caller.cookie + "\r\n{}\r\n"
    paths = [("/", "localhost"), ("/nothing", "localhost"), ("/", "evil.example"), ("/help", "localhost")]
    lines = [ask.format(*one, "Connection: close\r\n" if one is paths[-1] else "") for one in paths]
    answer = caller.send("".join(lines).encode())
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404", b"421", b"200"]


@pytest.mark.parametrize(
    "target", ["http://evil.example/", "http://127.0.0.1/", "*", "evil.example:80", "/\\evil.example"]
)
def test_a_whole_address_is_no_page(caller: Caller, target: str) -> None:
    """The pages are no proxy, and nothing of the target is believed."""
    told = caller.ask(target)
    assert told.status == 404 and "location" not in told.head


def test_guessing_is_no_use(caller: Caller) -> None:
    """Every wrong token is the same to the one who guesses, however near it is."""
    near = [caller.token[:-1], caller.token + "a", caller.token[:-1] + "é", caller.token.swapcase(), "", "\0"]
    told = {
        (one.status, one.body, one.head.get("set-cookie"))
        for guess in near
        for one in (
            caller.ask(f"/?t={quote(guess)}", cookie=""),
            caller.ask("/", cookie=caller.cookie.partition("=")[0] + "=" + quote(guess)),
        )
    }
    assert len(told) == 1 and {status for status, _, _ in told} == {401}


def test_ranges_are_not_cut(caller: Caller) -> None:
    """A part of a picture or a file is the whole."""
    for path in ("/picture/coco_valid/0?side=256", "/original/coco_valid/0", "/static/page.css"):
        told = caller.ask(path, "Range: bytes=0-9")
        assert told.status == 200 and len(told.body) > 10


def test_pictures_never_come_as_they_are(caller: Caller) -> None:
    """The bytes for the page are drawn anew; the original can only be saved."""
    drawn, original = caller.ask("/picture/coco_valid/0?side=2048"), caller.ask("/original/coco_valid/0")
    assert drawn.head["content-type"] == "image/jpeg" and drawn.body != original.body
    assert original.head["content-type"] == "application/octet-stream"
    assert original.head["content-disposition"].startswith("attachment")


def test_what_a_browser_may_keep(caller: Caller) -> None:
    """Pictures and files that name their version for good, pages not without asking."""
    page = caller.ask("/browse").body.decode()
    for found in (
        re.search(r'src="(/picture/[^"]*v=[^"]*)"', page),
        re.search(r'href="(/static/page.css[^"]*)"', page),
    ):
        assert found
        assert "immutable" in caller.ask(found[1].replace("&amp;", "&")).head["cache-control"]
    for path in ("/", "/browse", "/sample/coco_valid/0", "/keys.txt"):
        assert re.search("no-cache|no-store", caller.ask(path).head["cache-control"])


def test_who_is_slow_holds_up_nobody(caller: Caller) -> None:
    """Half a request, and a big answer that nobody reads, beside one that is answered."""
    with ExitStack() as stack:
        for _ in range(20):
            half = stack.enter_context(caller.connect())
            half.sendall(b"GET / HTTP/1.1\r\nHost: 127")
        deaf = stack.enter_context(caller.connect())
        deaf.sendall(
            f"GET /static/htmx.min.js HTTP/1.1\r\nHost: localhost\r\nCookie: {caller.cookie}\r\n\r\n".encode()
            * 50
        )
        assert caller.ask("/").status == 200


def test_a_thousand_connections_keep_nobody_out(shared: View, caller: Caller) -> None:
    """Those silent for longest go; the page is answered meanwhile, and nothing is left of them afterwards."""
    folder = Path(f"/proc/{shared.process.pid}/fd")
    before = len(list(folder.iterdir()))
    with ExitStack() as stack:
        held = [stack.enter_context(caller.connect()) for _ in range(1000)]
        assert caller.ask("/").status == 200
        wait_for(lambda: len(list(folder.iterdir())) <= before + MOST_CONNECTIONS + 20, "the others to go")
        lost = 0
        for plain in held[:500]:
            try:
                lost += plain.recv(1) == b""
            except ConnectionResetError:
                lost += 1
        assert lost == 500
        late = stack.enter_context(caller.connect())
        late.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert late.recv(12) == b"HTTP/1.1 401"
    assert shared.process.poll() is None and caller.ask("/").status == 200
    # Threads and pictures keep a few of their own.
    wait_for(lambda: len(list(folder.iterdir())) <= before + 20, "their descriptors to be closed")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_and_takes_the_socket_away(
    bare_root: Root, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Also while somebody follows a run and another has asked half a question; not a word about what broke."""
    path = tmp_path / "g3m.sock"
    with bare_root.start("view", "--socket", str(path)) as process:
        assert process.stdout is not None and process.stdout.readline().strip() == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as stream, socket.socket(socket.AF_UNIX) as half:
            stream.settimeout(LIMIT_S)
            stream.connect(str(path))
            stream.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert stream.recv(12) == b"HTTP/1.1 200"
            half.connect(str(path))
            half.sendall(b"GET")
            process.send_signal(number)
            out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == code and not path.exists()
    assert "Traceback" not in err and "Warning" not in err and out == ""


def test_nothing_of_what_is_asked_is_logged(bare_root: Root) -> None:
    """The token stands in the one line that hands it out, and nowhere else."""
    with viewing(bare_root) as view:
        caller = Caller(view)
        caller.ask("/?t=wrong", cookie="")
        caller.send(b"nonsense\r\n\r\n")
        view.process.send_signal(signal.SIGINT)
        assert view.process.stdout is not None and view.process.stderr is not None
        told = view.process.stdout.read() + view.process.stderr.read()
    assert caller.token not in told and "nonsense" not in told and "wrong" not in told
