"""The same way against servers that others wrote: nginx, and moto as S3."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.whole.conftest import Opener
from tests.whole.disk import check_all_whole, litter, tree

from g3m.adapters.parts import claimed_bytes
from g3m.adapters.session import Session
from g3m.core.errors import Interrupted
from g3m.core.events import Event, Progressed, Retrying
from g3m.core.receipt import Manifest
from g3m.core.retry import Policy
from g3m.lab.mischief import Trickle
from g3m.lab.world import PREFIXES, World
from g3m.runners.run import get_in, make_session, verify_in

pytestmark = pytest.mark.usefixtures("small_shards")

DATASETS = ["coco", "coco_valid", "openimages_v7_valid"]
BUCKETS = ("images.cocodataset.org", "open-images-dataset")

NGINX_CONFIG = """
daemon off;
master_process off;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log;
events {{ worker_connections 64; }}
http {{
    log_format ranged '"$request" $status $body_bytes_sent "$http_range"';
    access_log {prefix}/access.log ranged;
    default_type application/octet-stream;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {files}; {extra} }}
    }}
}}
"""


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(process: subprocess.Popen[bytes], port: int, limit_s: float = 30.0) -> None:
    """Return once somebody listens; an AssertionError if the process ends or time runs out."""
    end_s = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        assert time.monotonic() < end_s, f"nothing listens on {port}"
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server that a test started, and wait for it."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=10)


class Nginx:
    """nginx with a configuration and a folder of its own."""

    def __init__(self, prefix: Path, files: Path) -> None:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert program, "this test needs nginx: `apt-get install nginx-light`"
        self._program = program
        self._prefix, self.files = prefix, files
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        prefix.mkdir()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[str]:
        """The lines of the access log."""
        return (self._prefix / "access.log").read_text().splitlines()

    def start(self, extra: str = "") -> None:
        config = self._prefix / "nginx.conf"
        words = {"prefix": self._prefix, "port": self._port, "files": self.files, "extra": extra}
        config.write_text(NGINX_CONFIG.format(**words))
        self._process = subprocess.Popen(
            [
                self._program,
                "-p",
                str(self._prefix),
                "-c",
                str(config),
                "-e",
                str(self._prefix / "error.log"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self._process, self._port)

    def kill(self) -> None:
        """SIGKILL: connections break in the middle."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=10)
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            stop(self._process)
            self._process = None


@pytest.fixture(scope="module")
def files(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn files where the public hosts have them, as a folder to serve."""
    folder = tmp_path_factory.mktemp("files")
    drawn = world.sources
    places = {
        "s3/images.cocodataset.org/zips": (drawn.coco.train, drawn.coco.valid),
        "s3/images.cocodataset.org/annotations": (drawn.coco.annotations,),
        "s3/open-images-dataset/tar": (drawn.open_images.images,),
        "gcs/localized-narratives/annotations": (drawn.open_images.narratives,),
    }
    for place, paths in places.items():
        (folder / place).mkdir(parents=True)
        for path in paths:
            shutil.copy(path, folder / place / path.name)
    return folder


@pytest.fixture
def nginx(files: Path, tmp_path: Path) -> Iterator[Nginx]:
    """An nginx that is not started yet."""
    server = Nginx(tmp_path / "nginx", files)
    yield server
    server.stop()


@pytest.fixture
def expected(world: World, tmp_path: Path, open_session: Opener) -> dict[str, str]:
    """What the drawn origin gives for the same datasets."""
    get_in(DATASETS, open_session(tmp_path / "expected"), [])
    return tree(tmp_path / "expected")


def session_at(url: str, root: Path, world: World) -> Session:
    """A session whose mirrors lead to a server, with no credentials and no other way out."""
    mirrors = [{"prefix": prefix, "places": [url + path]} for prefix, path in PREFIXES.items()]
    session = make_session({"root": str(root), "recipes": [str(world.recipes)], "mirrors": mirrors}, {})
    return replace(session, policy=Policy(empty_attempts=40, first_wait_s=0.05, longest_wait_s=0.2))


def sent_bytes(lines: list[str]) -> int:
    """How many bytes of bodies nginx sent, by its log."""
    return sum(int(line.split('" ')[1].split()[1]) for line in lines)


def test_nginx_serves_whole_files(
    nginx: Nginx, expected: dict[str, str], tmp_path: Path, world: World
) -> None:
    """From nginx come the same bytes as from the lab, each file once."""
    nginx.start()
    made = get_in(DATASETS, session_at(nginx.url, tmp_path / "data", world), []).manifests
    assert sorted(made) == sorted(DATASETS)
    assert tree(tmp_path / "data") == expected
    assert len({line.split()[1] for line in nginx.requests}) == 5
    assert all('" 206 ' in line or '" 200 ' in line for line in nginx.requests)
    files = nginx.files.rglob("*.*")
    assert sent_bytes(nginx.requests) <= 1.5 * sum(path.stat().st_size for path in files)


def test_nginx_serves_the_rest_of_a_file(
    nginx: Nginx, expected: dict[str, str], tmp_path: Path, world: World
) -> None:
    """A run that was stopped in the middle asks nginx for what is missing only, and ends with the same bytes."""
    nginx.start("limit_rate 60k;")
    session = session_at(nginx.url, tmp_path / "data", world)

    def stop_midway(event: Event) -> None:
        if (
            isinstance(event, Progressed)
            and event.task.endswith("train2017.zip")
            and event.done_bytes > 60_000
        ):
            session.stop.set()

    with pytest.raises(Interrupted):
        get_in(DATASETS, session, [stop_midway])
    nginx.stop()
    (part,) = (tmp_path / "data").rglob("*train2017.zip.part")
    kept, before = claimed_bytes(part), len(nginx.requests)
    assert kept > 50_000
    nginx.start()
    get_in(DATASETS, session_at(nginx.url, tmp_path / "data", world), [])
    ranges = [line for line in nginx.requests[before:] if "zips/train2017.zip" in line]
    assert all('" 206 ' in line for line in ranges)
    assert not any('"bytes=0-' in line for line in ranges)
    assert sent_bytes(ranges) <= world.sources.coco.train.stat().st_size - kept // 2
    assert tree(tmp_path / "data") == expected
    assert litter(tmp_path / "data") == []


def test_nginx_killed_in_the_middle_is_waited_for(
    nginx: Nginx, expected: dict[str, str], tmp_path: Path, world: World
) -> None:
    """nginx on a slow line is killed in a transfer and started again: the same run goes on where it was."""
    nginx.start("limit_rate 60k;")
    events: list[Event] = []
    killed: list[threading.Thread] = []

    def start_again() -> None:
        time.sleep(0.2)
        nginx.start()

    def watch(event: Event) -> None:
        events.append(event)
        if isinstance(event, Progressed) and event.done_bytes > 50_000 and not killed:
            nginx.kill()
            killed.append(threading.Thread(target=start_again))
            killed[0].start()

    try:
        get_in(DATASETS, session_at(nginx.url, tmp_path / "data", world), [watch])
    finally:
        for thread in killed:
            thread.join(timeout=30)
    assert killed
    assert any(isinstance(event, Retrying) for event in events)
    for task in {event.task for event in events}:
        done = [event.done_bytes for event in events if isinstance(event, Progressed) and event.task == task]
        assert done == sorted(done), "bytes were thrown away"
    assert tree(tmp_path / "data") == expected
    assert check_all_whole(tmp_path / "data") == 12


@dataclass(frozen=True)
class S3:
    """A running moto server and its log of requests."""

    url: str
    log: Path

    def answers(self, status: int) -> list[str]:
        """The lines about GETs with that status."""
        return [line for line in self.log.read_text().splitlines() if "GET" in line and f" {status} " in line]


@pytest.fixture(scope="module")
def s3(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A moto server with the public buckets, filled in parts as the real ones were."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=output,
            stderr=output,
        )
        try:
            wait_for_port(process, port, limit_s=60)
            url = f"http://127.0.0.1:{port}"
            _fill(url, files / "s3")
            yield S3(url, log)
        finally:
            stop(process)


def _fill(url: str, folder: Path) -> None:
    """Put the files of each bucket's folder into a public bucket of that name."""
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config

    client: Any = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
    )
    parts = TransferConfig(multipart_threshold=6 * 2**20, multipart_chunksize=5 * 2**20)
    for bucket in BUCKETS:
        client.create_bucket(Bucket=bucket, ACL="public-read")
        for path in sorted((folder / bucket).rglob("*.*")):
            key = path.relative_to(folder / bucket).as_posix()
            client.upload_file(str(path), bucket, key, ExtraArgs={"ACL": "public-read"}, Config=parts)
    client.close()


@pytest.fixture
def s3_session(s3: S3, world: World) -> Callable[[Path], Session]:
    """Opens a session without credentials whose mirrors are [[mirrors]] of a config file onto that server."""

    def opened(root: Path) -> Session:
        mirrors = [
            {"prefix": "https://s3.amazonaws.com/", "places": [f"{s3.url}/"]},
            {"prefix": "http://images.cocodataset.org/", "places": [f"{s3.url}/images.cocodataset.org/"]},
            {
                "prefix": "https://open-images-dataset.s3.amazonaws.com/",
                "places": [f"{s3.url}/open-images-dataset/"],
            },
            {"prefix": "https://storage.googleapis.com/", "places": [f"{world.origin.url}/gcs/"]},
        ]
        return make_session({"root": str(root), "recipes": [str(world.recipes)], "mirrors": mirrors}, {})

    return opened


def test_public_objects_come_from_s3_without_credentials(
    s3_session: Callable[[Path], Session], expected: dict[str, str], tmp_path: Path, world: World
) -> None:
    """Buckets in path style, objects public: nobody signs anything and the same bytes come out."""
    world.origin.forget_requests()
    made: dict[str, Manifest] = get_in(DATASETS, s3_session(tmp_path / "data"), []).manifests
    assert sorted(made) == sorted(DATASETS)
    assert tree(tmp_path / "data") == expected
    assert {Path(request.path).name for request in world.origin.requests} == {
        world.sources.open_images.narratives.name
    }


def test_s3_serves_the_rest_of_an_object(
    s3: S3,
    s3_session: Callable[[Path], Session],
    expected: dict[str, str],
    tmp_path: Path,
    world: World,
    open_session: Opener,
) -> None:
    """What was begun at another host and stopped is continued from S3 by a range; the digest joins the two."""
    world.origin.mischief("*/train2017.zip", Trickle(200_000), times=None)
    session = open_session(tmp_path / "data")

    def stop_midway(event: Event) -> None:
        if (
            isinstance(event, Progressed)
            and event.task.endswith("train2017.zip")
            and event.done_bytes > 30_000
        ):
            session.stop.set()

    with pytest.raises(Interrupted):
        get_in(DATASETS, session, [stop_midway])
    before = len(s3.answers(206))
    events: list[Event] = []
    get_in(DATASETS, s3_session(tmp_path / "data"), [events.append])
    begun: dict[str, int] = {}
    for event in events:
        if isinstance(event, Progressed):
            begun.setdefault(event.task, event.done_bytes)
    assert [name for name, done in begun.items() if name.startswith("fetch/") and done] == [
        next(name for name in begun if name.endswith("train2017.zip"))
    ]
    assert max(done for name, done in begun.items() if name.endswith("train2017.zip")) > 30_000
    assert len(s3.answers(206)) > before
    assert tree(tmp_path / "data") == expected
    assert verify_in([], s3_session(tmp_path / "data"), [], deep=True, repair=False).ok
