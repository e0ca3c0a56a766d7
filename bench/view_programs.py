"""The programs of bench/view.py: servers that are started and asked over HTTP, and what draws without one."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from g3m.adapters.catalog import FILE

LIMIT_S = 60.0
DATASETTE_LIMIT_MS = 10_000
SQL = (
    "select s.id, d.name, h.name, h.first + (s.id & 16777215), s.key, c.text, s.width, s.height"
    " from found cross join sample s on s.id = found.rowid join caption c on c.id = s.id"
    " join shard h on h.id = s.id >> 24 join dataset d on d.id = h.dataset"
    " where found match :q{more} limit 60"
)
PILLOW = """
import io, sys, tarfile, time
from PIL import Image
begun_s, count = time.perf_counter(), 0
with tarfile.open(sys.argv[1]) as archive:
    for member in archive:
        if not member.name.endswith(".jpg"):
            continue
        image = Image.open(io.BytesIO(archive.extractfile(member).read()))
        image.draft("RGB", (256, 256))
        image.thumbnail((256, 256))
        image.save(io.BytesIO(), "JPEG", quality=82)
        count += 1
        if count == int(sys.argv[2]):
            break
print(count / (time.perf_counter() - begun_s))
"""
FIFTYONE = """
import importlib.metadata, time
print("fiftyone", importlib.metadata.version("fiftyone"), end="")
begun_s = time.perf_counter()
import fiftyone
fiftyone.Dataset("bench")
print(f": an empty dataset after {time.perf_counter() - begun_s:.1f} s")
"""


@dataclass(slots=True)
class Answer:
    """One answer, whole; seconds from the question to its last byte."""

    status: int
    body: bytes
    seconds: float


class Site:
    """A server at work, and one connection to it."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.port = parts.port or 80
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        self._head: dict[str, str] = {"Accept-Language": "en"}
        if parts.query:  # the token, for which there is a cookie
            self._connection.request("GET", f"{parts.path}?{parts.query}")
            welcome = self._connection.getresponse()
            welcome.read()
            self._head["Cookie"] = welcome.headers["Set-Cookie"].partition(";")[0]

    def ask(self, path: str, **parameters: object) -> Answer:
        """GET a page."""
        begun_s = time.perf_counter()
        address = f"{path}?{urlencode(parameters)}" if parameters else path
        try:
            answer = self._get(address)
        except ConnectionError:  # idle connections are closed after a while, and browsers ask again
            self._connection.close()
            answer = self._get(address)
        body = answer.read()
        return Answer(answer.status, body, time.perf_counter() - begun_s)

    def _get(self, address: str) -> http.client.HTTPResponse:
        self._connection.request("GET", address, headers=self._head)
        return self._connection.getresponse()

    def again(self) -> Site:
        """Another connection with the same right to ask."""
        other = Site(f"http://127.0.0.1:{self.port}/")
        other._head = self._head
        return other

    def close(self) -> None:
        self._connection.close()


@dataclass(slots=True)
class Started:
    """A server that answers: seconds from its command to its first whole answer of `/`, and that answer's."""

    site: Site
    seconds: float
    home: Answer
    process: subprocess.Popen[bytes]


@contextmanager
def g3m_view(root: Path, jobs: int = 2) -> Iterator[Started]:
    """`g3m view`, until its first answer; its address has the token."""
    flags = ["--root", str(root), "--port", "0", "--jobs", str(jobs), "--json"]
    begun_s = time.perf_counter()
    with _running([sys.executable, "-m", "g3m", "view", *flags], subprocess.PIPE) as process:
        assert process.stdout is not None
        site = Site(json.loads(process.stdout.readline())["address"])
        home = site.ask("/")
        yield Started(site, time.perf_counter() - begun_s, home, process)
        site.close()


@contextmanager
def datasette(peer: str, root: Path) -> Iterator[Started]:
    """datasette over the same file, told which table searches for which."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    metadata = root / "metadata.json"
    table = {"caption": {"fts_table": "found", "fts_pk": "id"}}
    metadata.write_text(json.dumps({"databases": {"g3m": {"tables": table}}}), encoding="utf-8")
    command = [peer, "-m", "datasette", "serve", str(root / ".g3m" / FILE), "--port", str(port)]
    command += ["--metadata", str(metadata), "--setting", "sql_time_limit_ms", str(DATASETTE_LIMIT_MS)]
    begun_s = time.perf_counter()
    # It writes a line for each request: a pipe that nobody reads would stop it.
    with _running([*command, "--setting", "suggest_facets", "off"], subprocess.DEVNULL) as process:
        while not _listens(port):
            if process.poll() is not None or time.perf_counter() - begun_s > LIMIT_S:
                raise RuntimeError("datasette does not start")
            time.sleep(0.005)
        site = Site(f"http://127.0.0.1:{port}/")
        home = site.ask("/")
        yield Started(site, time.perf_counter() - begun_s, home, process)
        site.close()


@contextmanager
def _running(command: Sequence[str], stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    kept = {**os.environ, "LANG": "C.UTF-8"}
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, env=kept)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def thumbnails(site: Site, paths: Sequence[str], connections: int = 6) -> float:
    """Seconds until all are there, asked for as a browser does: six at a time."""
    left = iter(paths)
    lock = threading.Lock()
    failed: list[int] = []

    def ask() -> None:
        own = site.again()
        while True:
            with lock:
                path = next(left, "")
            if not path:
                own.close()
                return
            answer = own.ask(path)
            if answer.status != 200 or not answer.body.startswith(b"\xff\xd8"):
                failed.append(answer.status)

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    begun_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, f"no pictures: {failed[:5]}"
    return time.perf_counter() - begun_s


def pillow(tar: Path, count: int) -> float:
    """Thumbnails a second by draft and thumbnail in a loop over tarfile."""
    done = subprocess.run(
        [sys.executable, "-c", PILLOW, str(tar), str(count)], capture_output=True, check=True, text=True
    )
    return float(done.stdout)


def fiftyone(peer: str, home: Path) -> str:
    """Whether FiftyOne starts here, in words."""
    kept = {**os.environ, "HOME": str(home), "FIFTYONE_DO_NOT_TRACK": "true"}
    try:
        done = subprocess.run(
            [peer, "-c", FIFTYONE], capture_output=True, text=True, timeout=LIMIT_S, check=False, env=kept
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"fiftyone: {error}"
    if done.returncode == 0:
        return done.stdout.strip()
    said = next((line for line in reversed(done.stderr.splitlines()) if "rror:" in line), "it does not start")
    return f"{done.stdout.strip()}: {said}"
