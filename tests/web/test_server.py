"""The server: one line with an address, only for its owner, and gone when asked to go."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.web.conftest import LIMIT_S, Root, View, copied, viewing, wait_for
from tests.web.crawl import Client

from g3m.core.errors import UsageError
from g3m.ui.web.server import _listen, _SocketFile


def test_a_taken_port_is_passed_over() -> None:
    """The next free one is used; none at all is an error with what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        listening, served = _listen(port, None)
        with listening:
            assert port < served.port == listening.getsockname()[1]
            assert listening.getsockname()[0] == "127.0.0.1"


def test_a_path_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    """Only a socket that nobody answers at is replaced."""
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(UsageError):
        _listen(0, path)
    assert path.read_text() == "mine"
    old = tmp_path / "old.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(old))
    with _listen(0, old)[0], pytest.raises(UsageError):
        _listen(0, old)


def test_only_a_refusal_says_that_a_socket_is_dead(tmp_path: Path) -> None:
    """One of another kind, or whose owner is busy, is somebody's; it is neither waited for nor taken."""
    other, full = tmp_path / "datagram", tmp_path / "full"
    with ExitStack() as stack:
        datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagram.bind(str(other))
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(str(full))
        busy.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            waiting.connect_ex(str(full))
        for path in (other, full):
            with pytest.raises(UsageError):
                _listen(0, path)
            assert path.is_socket()


def test_what_is_no_place_for_a_socket_is_refused_with_advice(tmp_path: Path) -> None:
    """A folder that is not there, a link, a path that is too long."""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "no" / "folder", tmp_path / "link", tmp_path / ("x" * 200)):
        with pytest.raises(UsageError) as refused:
            _listen(0, path)
        assert refused.value.hint and ("shorter" in refused.value.hint[0]) == (len(path.name) == 200)
    assert not (tmp_path / "elsewhere").exists()


def test_a_socket_of_somebody_else_stays_when_this_one_ends(tmp_path: Path) -> None:
    """Whoever took its name meanwhile keeps it."""
    path = tmp_path / "g3m.sock"
    with _listen(0, path)[0]:
        own = _SocketFile(path)
        path.unlink()
        path.write_text("another's")
        own.remove()
        assert path.exists()
    path.unlink()
    with _listen(0, path)[0]:
        _SocketFile(path).remove()
        assert not path.exists()


def test_two_at_one_port(bare_root: Root) -> None:
    """The second takes the next free one, says so, and has a token of its own."""
    with viewing(bare_root) as first:
        port = int(first.origin.rpartition(":")[2])
        with bare_root.start("view", "--port", str(port)) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=LIMIT_S)
        own, token = address.partition("?t=")[::2]
        assert own != f"{first.origin}/" and token not in first.address
        assert f"Port {port} is taken" in err


def test_a_root_that_is_taken_away_and_comes_back(bare_root: Root, tmp_path: Path) -> None:
    """While it is served: every page is answered, pictures too, and then all is there again; also another root."""
    root = copied(bare_root, tmp_path)
    paths = ("/", "/browse", "/stats", "/downloads", "/help", "/sample/sbu/0", "/picture/sbu/0?side=256")
    with viewing(root) as view:
        client = Client(view.address)
        assert {client.get(path).status for path in paths} == {200}
        root.path.rename(tmp_path / "away")
        wait_for(lambda: client.get("/sample/sbu/0").status == 404, "the page to notice")
        assert {client.get(path).status for path in paths} <= {200, 404}
        root.path.mkdir()
        (tmp_path / "away" / "sbu").rename(root.path / "sbu")
        wait_for(lambda: client.get("/sample/sbu/0").status == 200, "the page to notice")
        assert client.get("/picture/sbu/0?side=256").headers["content-type"] == "image/jpeg"
        assert client.get("/sample/coco_valid/0").status == 404


def test_a_socket_is_its_owners_alone(bare_root: Root, tmp_path: Path) -> None:
    """Mode 0600, no token, pages as at a port; it is taken away at the end."""
    path = tmp_path / "g3m.sock"
    with bare_root.start("view", "--socket", str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(LIMIT_S)
            plain.connect(str(path))
            plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost:9000\r\nConnection: close\r\n\r\n")
            answer = http.client.HTTPResponse(plain)
            answer.begin()
            assert answer.status == 200 and b"coco_valid" in answer.read()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0 and f"-L 8317:{path}" in err and "Traceback" not in err
    assert not path.exists()


def test_over_ssh_the_line_to_paste_is_said(bare_root: Root) -> None:
    """With the port that was taken in the end; at home nothing is said of it."""
    with bare_root.start(
        "view", "--port", "0", "--json", USER="ana", SSH_CONNECTION="10.0.0.9 5 10.0.0.7 22"
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["ssh"] == f"ssh -N -L {told['port']}:127.0.0.1:{told['port']} ana@10.0.0.7"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)


def test_a_dataset_or_a_folder_can_be_named(bare_root: Root) -> None:
    """A dataset is the first page, a path is the root; what is neither is said at once, with the nearest name."""
    with bare_root.start("view", "coco_valid", "--port", "0") as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert "/browse?dataset=coco_valid&t=" in address
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    with bare_root.start(
        "view", str(bare_root.path / "coco" / "coco_valid"), "--port", "0", "--json"
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["root"] == str(bare_root.path / "coco" / "coco_valid")
        client = Client(told["address"])
        assert client.get("/sample/coco_valid/0").status == 200
        assert client.get("/sample/sbu/0").status == 404
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_S)
    for wrong in ("coco_vali", "./nothing/here"):
        with bare_root.start("view", wrong) as process:
            out, err = process.communicate(timeout=LIMIT_S)
            assert process.returncode == 2 and not out and "Traceback" not in err
            assert wrong.startswith(".") or "coco_valid" in err


def test_who_watches_a_run_does_not_hold_the_server(bare_root: Root, tmp_path: Path) -> None:
    """An open stream is told the state, and ends with the server."""
    root = copied(bare_root, tmp_path)
    with root.start("view", "--port", "0") as process:
        assert process.stdout is not None
        client = Client(process.stdout.readline().strip())
        connection = http.client.HTTPConnection(client.host, timeout=LIMIT_S)
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        connection.request("GET", "/live?lang=zh", headers={"Cookie": cookie})
        stream = connection.getresponse()
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.readline() == b"event: part\n" and stream.readline().startswith(b"data: ")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT_S)
        connection.close()
        assert process.returncode == 0 and "Traceback" not in err


def test_a_token_of_another_start_is_none(view: View) -> None:
    """Each start has its own, long enough not to be guessed; without it there is nothing."""
    token = view.address.partition("?t=")[2]
    assert len(token) >= 32
    connection = http.client.HTTPConnection(view.origin.removeprefix("http://"), timeout=LIMIT_S)
    for address in ("/", "/?t=" + token[:-1], "/static/page.css", "/picture/sbu/0?side=256", "/live"):
        connection.request("GET", address)
        answer = connection.getresponse()
        assert answer.status == 401 and b"sbu" not in answer.read()
    connection.close()


def test_many_pictures_at_once_are_answered(view: View) -> None:
    """A page of the grid asks for sixty."""
    from concurrent.futures import ThreadPoolExecutor

    client = Client(view.address)
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda number: client.get(f"/picture/coco_valid/{number}?side=256"), range(60))
        )
    assert {answer.status for answer in answers} == {200}


def test_importing_the_command_imports_no_server() -> None:
    """`g3m --help` stays light."""
    code = "import sys, g3m.ui.cli; print([name for name in ('asyncio', 'starlette', 'uvicorn', 'jinja2') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT_S, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]", done.stderr
