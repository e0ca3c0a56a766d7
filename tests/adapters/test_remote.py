"""adapters/remote.py and ranges.py: right bytes or a clear error, over bad, lying and real servers."""

from __future__ import annotations

import os
import pickle
import random
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bucket_host import without_variables
from tests.whole import test_real_servers as real_servers
from tests.whole.test_real_servers import Nginx, free_port, stop, wait_for_port

from g3m.adapters import ranges as ranges_module
from g3m.adapters import remote as remote_module
from g3m.adapters.remote import RemoteReader
from g3m.core.errors import (
    Changed,
    NotVerified,
    Refused,
    SettingsError,
    SourceError,
    Throttled,
    Unreachable,
)
from g3m.core.retry import Policy
from g3m.lab import mischief
from g3m.lab.origin import Origin

SIZE = 300_000
DATA = random.Random(5).randbytes(SIZE)
BLOCK = 2**16
QUICK = Policy(empty_attempts=3, throttled_attempts=3, first_wait_s=0.001, longest_wait_s=0.005)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two shards and a document."""
    made = tmp_path / "www"
    made.mkdir()
    (made / "00000.tar").write_bytes(DATA)
    (made / "00001.tar").write_bytes(DATA[::-1])
    (made / "note.txt").write_bytes(b"a note")
    (made / "empty").write_bytes(b"")
    return made


@pytest.fixture
def origin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    """A host of the lab that serves the folder below /d; no variable of the machine plays a part."""
    without_variables(monkeypatch)
    monkeypatch.delenv("G3M_CACHE", raising=False)
    monkeypatch.delenv("G3M_CACHE_LIMIT", raising=False)
    with Origin() as origin:
        origin.mount("/d", folder)
        yield origin


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers give a silent connection up soon."""
    monkeypatch.setattr(remote_module, "STALL_TIMEOUT_S", 0.3)


Opener = Callable[..., RemoteReader]


@pytest.fixture
def opened(origin: Origin, tmp_path: Path) -> Iterator[Opener]:
    """Opens readers of that folder with small blocks and little patience."""
    readers: list[RemoteReader] = []

    def open_(**options: Any) -> RemoteReader:
        known = {"cache": tmp_path / "cache", "block_bytes": BLOCK, "policy": QUICK, **options}
        readers.append(RemoteReader(known.pop("url", f"{origin.url}/d"), **known))
        return readers[-1]

    yield open_
    for reader in readers:
        reader.close()


def ranges_of(origin: Origin, name: str = "00000.tar") -> list[str]:
    """The ranges that were asked of a file, without the first look."""
    found = [one.headers.get("range", "") for one in origin.requests if one.path.endswith(name)]
    return [one for one in found if one != "bytes=0-0"]


def test_any_range(opened: Opener) -> None:
    """Ranges at the edges of blocks and of the file are the file's bytes, cold and from the cache."""
    spans = [
        (0, 1),
        (0, SIZE),
        (BLOCK - 1, 2),
        (BLOCK, BLOCK),
        (SIZE - 1, 1),
        (SIZE, 0),
        (5, 0),
        (70_000, 150_000),
    ]
    for _ in range(2):
        reader = opened()
        for offset, size in spans:
            assert reader.read("00000.tar", offset, size) == DATA[offset : offset + size]
    assert reader.read("00001.tar", 3, 5) == DATA[::-1][3:8]


def test_every_block_is_fetched_once(opened: Opener, origin: Origin) -> None:
    """Reading all of a shard in small pieces costs its size once, and nothing the second time."""
    reader = opened()
    for _ in range(2):
        got = [reader.read("00000.tar", at, min(5000, SIZE - at)) for at in range(0, SIZE, 5000)]
        assert b"".join(got) == DATA
    looks = 1  # the first byte, which tells the version; the manifest is not there
    missing = [one.sent_bytes for one in origin.requests if one.status == 404]
    assert reader.fetched_bytes == SIZE + looks
    assert len(ranges_of(origin)) == -(-SIZE // BLOCK)
    assert reader.requests == len(origin.requests)
    assert len(missing) == 1
    again = opened()
    assert again.read("00000.tar", 0, SIZE) == DATA
    assert again.fetched_bytes == looks


def test_neighbouring_blocks_are_one_request(opened: Opener, origin: Origin) -> None:
    """Only what is missing is asked for, and neighbours together."""
    reader = opened()
    reader.read("00000.tar", 2 * BLOCK, 1)
    reader.read("00000.tar", 0, SIZE)
    assert ranges_of(origin) == [
        f"bytes={2 * BLOCK}-{3 * BLOCK - 1}",
        f"bytes=0-{2 * BLOCK - 1}",
        f"bytes={3 * BLOCK}-{SIZE - 1}",
    ]


def test_a_long_read_is_several_requests(
    opened: Opener, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request asks for more than its bound, with the cache and without."""
    monkeypatch.setattr(remote_module, "REQUEST_BYTES", 2 * BLOCK)
    for reader in (opened(), opened(limit_bytes=0)):
        origin.forget_requests()
        assert reader.read("00000.tar", 0, SIZE) == DATA
        assert len(ranges_of(origin)) == 3


def test_without_a_cache_exactly_what_is_asked_for_comes(
    opened: Opener, origin: Origin, tmp_path: Path
) -> None:
    """With a limit of 0 no byte too many comes, and none is written."""
    reader = opened(limit_bytes=0)
    assert reader.read("00000.tar", 1000, 777) == DATA[1000:1777]
    assert ranges_of(origin) == ["bytes=1000-1776"]
    assert reader.fetched_bytes == 777 + 1
    assert not (tmp_path / "cache").exists()


def test_a_spoilt_block_is_fetched_again(opened: Opener, tmp_path: Path) -> None:
    """A block that was changed on the disk is noticed, and fetched anew."""
    opened().read("00000.tar", 0, SIZE)
    blocks = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(blocks) == -(-SIZE // BLOCK)
    for path in blocks:
        content = bytearray(path.read_bytes())
        content[-7] ^= 4
        path.write_bytes(content)
    reader = opened()
    assert reader.read("00000.tar", 0, SIZE) == DATA
    assert reader.fetched_bytes == SIZE + 1


def test_a_cache_that_cannot_be_written(
    opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading goes on, in exact ranges, and it is said once."""
    (tmp_path / "cache").write_bytes(b"")
    reader = opened()
    assert reader.read("00000.tar", 0, 10) == DATA[:10]
    before = reader.fetched_bytes
    assert reader.read("00000.tar", 1000, 10) == DATA[1000:1010]
    assert reader.fetched_bytes == before + 10
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_documents(opened: Opener, origin: Origin) -> None:
    """A document comes whole and as it is now; one that is missing is None, an empty one empty."""
    reader = opened()
    assert reader.document("note.txt") == b"a note"
    assert reader.document("empty") == b""
    assert reader.document("nothing") is None
    assert reader.document("00000.tar") == DATA
    origin.mischief("*/note.txt", mischief.Changed(), times=None)
    assert reader.document("note.txt") == bytes(255 - value for value in b"a note")


def test_beyond_the_end_is_said(opened: Opener) -> None:
    """A read beyond the end, or of a shard that is not there, names the shard, and asks for nothing."""
    reader = opened()
    for offset, size in ((0, SIZE + 1), (SIZE, 1), (-1, 5), (5, -1)):
        with pytest.raises(NotVerified, match=r"/d/00000\.tar: is cut"):
            reader.read("00000.tar", offset, size)
    with pytest.raises(NotVerified, match=r"/d/00002\.tar: not found"):
        reader.read("00002.tar", 0, 1)
    with pytest.raises(NotVerified, match="no name of a file"):
        reader.read("../secret", 0, 1)


def test_sizes_must_be_those_that_are_planned(opened: Opener) -> None:
    """With sizes given, a shard of another size is refused before a byte of it is used."""
    reader = opened(sizes={"00000.tar": SIZE, "00001.tar": SIZE + 1})
    assert reader.read("00000.tar", 0, 3) == DATA[:3]
    with pytest.raises(NotVerified, match=f"00001.tar: has {SIZE} bytes on the server, {SIZE + 1} by"):
        reader.read("00001.tar", 0, 3)


@pytest.mark.parametrize("limit_bytes", [None, 0])
def test_a_shard_that_changes_is_said(opened: Opener, origin: Origin, limit_bytes: int | None) -> None:
    """Another version on the server is an error that names the shard; its bytes are never mixed with the old."""
    reader = opened(limit_bytes=limit_bytes)
    reader.read("00000.tar", 0, 10)
    origin.mischief("*/00000.tar", mischief.Changed(), times=None)
    with pytest.raises(NotVerified, match=r"/d/00000\.tar: changed on the server.*another ETag") as caught:
        reader.read("00000.tar", BLOCK, 10)
    assert "again" in caught.value.hint[0]
    new = opened(limit_bytes=limit_bytes)
    assert new.read("00000.tar", 0, 10) == bytes(255 - value for value in DATA[:10])


def test_a_shard_that_is_replaced_in_the_middle_of_a_request(opened: Opener, origin: Origin) -> None:
    """What came before a broken connection is not joined with the rest of another version."""
    reader = opened(limit_bytes=0)
    reader.read("00000.tar", 0, 1)
    origin.mischief("*/00000.tar", mischief.Cut(after_bytes=1000))
    origin.mischief("*/00000.tar", mischief.Changed(), times=None)
    with pytest.raises(NotVerified, match="changed on the server"):
        reader.read("00000.tar", 0, 5000)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (mischief.IgnoreRange(), "does not answer ranges"),
        (mischief.WrongRange(shift_bytes=5), "asked for"),
        (mischief.WrongRange(shift_bytes=-5), "asked for|Content-Range"),
        (mischief.Page(), "web page"),
        (mischief.Gzip(), "does not answer ranges|encoding"),
        (mischief.Encoding("br"), "encoding"),
        (mischief.RedirectLoop(), "redirects"),
        (mischief.RedirectTo("ftp://127.0.0.1"), "no web address"),
        (mischief.Status(302), "no web address"),
    ],
)
@pytest.mark.parametrize("at", ["first look", "later"])
def test_servers_that_lie(opened: Opener, origin: Origin, bad: Any, words: str, at: str) -> None:
    """Whatever is not the range that was asked for is refused at once, with the reason."""
    reader = opened()
    if at == "later":
        reader.read("00000.tar", 0, 1)
    origin.forget_requests()
    origin.mischief("*/00000.tar", bad, times=None)
    with pytest.raises(Changed, match=words):
        reader.read("00000.tar", BLOCK + 10, 10)
    assert len(origin.requests) <= 6
    origin.be_honest()
    assert reader.read("00000.tar", BLOCK + 10, 10) == DATA[BLOCK + 10 : BLOCK + 20]


def test_a_server_that_sends_too_much(opened: Opener, origin: Origin) -> None:
    """More bytes than were announced for the range are never handed on."""
    reader = opened(limit_bytes=0)
    reader.read("00000.tar", 0, 1)
    origin.mischief("*/00000.tar", mischief.NoLength(), times=None)
    assert reader.read("00000.tar", 10, 10) == DATA[10:20]


def test_a_body_that_is_longer_than_its_range(tmp_path: Path) -> None:
    """A server that says the right range and sends more, without a length, is found out."""
    body = b'HTTP/1.1 206 Partial\r\nContent-Range: bytes %d-%d/100\r\nETag: "a"\r\nConnection: close\r\n\r\n'
    answers = [body % (0, 0) + b"x", body % (10, 19) + b"y" * 50]
    with _Scripted(answers) as url, pytest.raises(Changed, match="more bytes than were asked for"):
        RemoteReader(url, limit_bytes=0, sizes={}, policy=QUICK).read("a.tar", 10, 10)
    with _Scripted([body % (0, 0) + b"x", *[body % (10, 19) + b"y" * 5] * 9]) as url:
        reader = RemoteReader(url, limit_bytes=0, sizes={}, policy=QUICK)
        with pytest.raises(SourceError):
            reader.read("a.tar", 10, 10)


@pytest.mark.parametrize(
    "bad",
    [
        mischief.Cut(after_bytes=0),
        mischief.Cut(after_bytes=100),
        mischief.Reset(after_bytes=50_000),
        mischief.Silence(),
        mischief.Stall(after_bytes=100, for_s=600),
        mischief.Status(500),
        mischief.Status(503),
        mischief.Status(429, retry_after=0),
        mischief.Longer(by_bytes=10),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_what_breaks_is_tried_again(opened: Opener, origin: Origin, bad: Any) -> None:
    """Two bad answers in a row cost two requests, and no byte is wrong or doubled."""
    reader = opened()
    reader.read("00001.tar", 0, 1)
    origin.mischief("*/00000.tar", bad, times=2)
    assert reader.read("00000.tar", 0, SIZE) == DATA


def test_only_the_rest_is_asked_for_again(opened: Opener, origin: Origin) -> None:
    """What came before the connection broke is kept."""
    reader = opened(limit_bytes=0)
    reader.read("00000.tar", 0, 1)
    origin.forget_requests()
    origin.mischief("*/00000.tar", mischief.Cut(after_bytes=60_000), times=2)
    assert reader.read("00000.tar", 1000, 200_000) == DATA[1000:201_000]
    assert ranges_of(origin) == ["bytes=1000-200999", "bytes=61000-200999", "bytes=121000-200999"]


@pytest.mark.parametrize(
    ("bad", "error", "requests"),
    [
        (mischief.Status(500), Unreachable, 3),
        (mischief.Status(503), Throttled, 3),
        (mischief.Silence(), Unreachable, 3),
        (mischief.Status(404), NotVerified, 1),
        (mischief.Status(403), Refused, 1),
        (mischief.Status(418), Changed, 1),
    ],
)
def test_patience_ends(
    opened: Opener, origin: Origin, bad: Any, error: type[Exception], requests: int
) -> None:
    """What stays broken ends after as many attempts as the policy has; what cannot get better, at once."""
    reader = opened()
    origin.mischief("*/00000.tar", bad, times=None)
    with pytest.raises(error):
        reader.read("00000.tar", 0, 1)
    assert len(origin.requests) == requests


def test_a_mistyped_host_does_not_take_long(opened: Opener, origin: Origin) -> None:
    """As long as nothing answered, little is tried; a host that did answer has all of the policy's patience."""
    reader = opened(policy=Policy(empty_attempts=7, first_wait_s=0.001, longest_wait_s=0.005))
    origin.mischief("*", mischief.Status(500), times=None)
    with pytest.raises(Unreachable):
        reader.document("note.txt")
    assert len(origin.requests) == ranges_module.FIRST_ATTEMPTS
    origin.be_honest()
    reader.document("note.txt")
    origin.forget_requests()
    origin.mischief("*", mischief.Status(500), times=None)
    with pytest.raises(Unreachable):
        reader.document("note.txt")
    assert len(origin.requests) == 7


def test_patience_ends_in_time(opened: Opener, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that sends a few bytes for ever, or asks to wait for an hour, is given up when the time is over."""
    monkeypatch.setattr(ranges_module, "PATIENCE_S", 0.5)
    reader = opened()
    reader.read("00000.tar", 0, 1)
    origin.mischief("*/00000.tar", mischief.Trickle(2000), times=None)
    began_s = time.monotonic()
    with pytest.raises(Unreachable, match=r"not done after 0\.5 s"):
        reader.read("00000.tar", BLOCK, BLOCK)
    origin.be_honest()
    origin.mischief("*/00000.tar", mischief.Status(503, retry_after=3600), times=None)
    with pytest.raises(Throttled):
        reader.read("00000.tar", BLOCK, BLOCK)
    assert time.monotonic() - began_s < 10


def test_a_redirect_is_followed_and_remembered(opened: Opener, origin: Origin, folder: Path) -> None:
    """Where a hub leads is asked directly for a while; if that ends, the hub is asked again, at once."""
    origin.mount("/far", folder)
    origin.mischief("/d/00000.tar", mischief.RedirectTo(f"{origin.url}/far/00000.tar"), times=None)
    reader = opened(limit_bytes=0)
    for at in range(0, 50, 10):
        assert reader.read("00000.tar", at, 10) == DATA[at : at + 10]
    paths = [one.path for one in origin.requests if one.path.endswith("00000.tar")]
    assert paths == ["/d/00000.tar", *["/far/00000.tar"] * 6]
    origin.mischief("/far/00000.tar", mischief.Status(403))
    origin.forget_requests()
    assert reader.read("00000.tar", 0, 10) == DATA[:10]
    assert [one.path for one in origin.requests] == ["/far/00000.tar", "/d/00000.tar", "/far/00000.tar"]


def test_a_host_without_validators_is_read_without_a_cache(tmp_path: Path) -> None:
    """Where nothing tells one version from another, no block is kept that could be an old one."""
    body = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes %d-%d/100\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    with _Scripted([body % (0, 0, 1) + b"x", body % (10, 19, 10) + b"y" * 10]) as url:
        reader = RemoteReader(url, cache=tmp_path / "c", sizes={}, policy=QUICK)
        assert reader.read("a.tar", 10, 10) == b"y" * 10
        reader.close()
    assert not (tmp_path / "c").exists()


def test_many_threads(opened: Opener, origin: Origin) -> None:
    """Threads that jump about read right bytes; a block that several want at once is fetched once."""
    reader, wrong, gate = opened(), [], threading.Barrier(12)

    def work(seed: int) -> None:
        random_ = random.Random(seed)
        gate.wait(timeout=10)
        for _ in range(60):
            at, size = random_.randrange(SIZE - 1000), random_.randrange(1000)
            if reader.read("00000.tar", at, size) != DATA[at : at + size]:
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []
    assert reader.fetched_bytes == SIZE + 1
    assert len([one for one in origin.requests if one.path.endswith("00000.tar")]) <= 1 + -(-SIZE // BLOCK)


def test_a_block_that_came_meanwhile(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that another process kept between looking for it and asking for it is not fetched again."""
    opened().read("00000.tar", 0, 10)
    reader = opened()
    get, asked = reader.cache.get, []

    def late(*arguments: Any) -> bytes | None:
        asked.append(arguments)
        return None if len(asked) == 1 else get(*arguments)

    monkeypatch.setattr(reader.cache, "get", late)
    assert reader.read("00000.tar", 0, 10) == DATA[:10]
    assert (len(asked), reader.fetched_bytes) == (2, 1)


@pytest.mark.usefixtures("impatient")
def test_threads_that_wait_for_one_that_fails(opened: Opener, origin: Origin) -> None:
    """If whoever fetches a block has no luck, the others get it themselves, or an error of their own."""
    reader = opened(policy=Policy(empty_attempts=1))
    reader.read("00000.tar", 0, 1)
    origin.mischief("*/00000.tar", mischief.Stall(after_bytes=100, for_s=0.6), times=1)
    gate = threading.Barrier(4)
    results: list[bytes | SourceError] = []

    def work() -> None:
        gate.wait(timeout=10)
        try:
            results.append(reader.read("00000.tar", BLOCK, 10))
        except SourceError as error:
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(results) == 4
    assert sum(isinstance(result, SourceError) for result in results) <= 1
    assert {result for result in results if isinstance(result, bytes)} == {DATA[BLOCK : BLOCK + 10]}


def test_connections_are_kept(nginx: Nginx, opened: Opener) -> None:
    """A thread's requests go over one connection, and closing gives it back."""
    reader = opened(url=nginx.url, limit_bytes=0, sizes={})
    seen: set[str] = set()
    for at in range(20):
        reader.read("00000.tar", at * 1000, 1000)
        seen |= _connections(nginx)
    assert (reader.requests, len(seen)) == (21, 1)
    reader.close()
    assert _connections(nginx) == set()
    assert reader.read("00000.tar", 5, 5) == DATA[5:10]


def _connections(server: Nginx) -> set[str]:
    """The connections to a server that are open, by their ports on the client's side."""
    port, open_ = f"{int(server.url.rpartition(':')[2]):04X}", "01"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[2].endswith(f":{port}") and row[3] == open_}


def test_pickling(opened: Opener) -> None:
    """A reader that was used travels to another process and reads there, from the same cache."""
    reader = opened(sizes={"00000.tar": SIZE})
    reader.read("00000.tar", 0, 10)
    again = pickle.loads(pickle.dumps(reader))
    assert again.read("00000.tar", 0, 10) == DATA[:10]
    assert again.fetched_bytes == 1
    assert repr(again) == repr(reader)
    again.close()


def test_a_fork_opens_its_own_connections(origin: Origin, tmp_path: Path) -> None:
    """Parent and children read at once through a reader that was used before the fork, while threads read, too."""
    script = """
        import os, sys, threading
        from pathlib import Path
        from g3m.adapters.remote import RemoteReader
        reader = RemoteReader(sys.argv[1], limit_bytes=0, sizes={})
        data = reader.read("00000.tar", 0, 300000)
        def right(seed):
            return all(
                reader.read("00000.tar", at, 3000) == data[at : at + 3000]
                for at in range(seed, 290000, 7001)
            )
        stop = threading.Event()
        def load():
            while not stop.is_set():
                assert right(3)
        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        children = []
        for number in range(4):
            child = os.fork()
            if child == 0:
                before = reader.requests
                good = right(number) and before == 0
                reader.close()
                os._exit(0 if good else 1)
            children.append(child)
        good = right(11)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        stop.set()
        for thread in threads:
            thread.join()
        print(good and right(12), codes)
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), f"{origin.url}/d"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("True [0, 0, 0, 0]\n", "")


def test_where_the_cache_is(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables say where the cache is and how large it may be; without them it is the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert RemoteReader(f"{origin.url}/d").cache.folder == tmp_path / "xdg" / "g3m" / "shards"
    assert RemoteReader(f"{origin.url}/d").cache.limit_bytes == 20 * 10**9
    monkeypatch.setenv("G3M_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("G3M_CACHE_LIMIT", "3G")
    assert RemoteReader(f"{origin.url}/d").cache.folder == tmp_path / "mine" / "shards"
    assert RemoteReader(f"{origin.url}/d").cache.limit_bytes == 3 * 10**9
    assert RemoteReader(f"{origin.url}/d", cache=tmp_path, limit_bytes=5).cache.folder == tmp_path
    monkeypatch.setenv("G3M_CACHE_LIMIT", "lots")
    with pytest.raises(SettingsError, match="G3M_CACHE_LIMIT"):
        RemoteReader(f"{origin.url}/d")


def test_a_proxy_of_the_variables_is_used(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go over the proxy that the variables name, never around it; its login is not shown."""
    port = free_port()
    monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
    reader = RemoteReader("http://shards.g3m.test/d", limit_bytes=0, policy=Policy(empty_attempts=1))
    with pytest.raises(Unreachable) as caught:
        reader.read("00000.tar", 0, 1)
    assert "secret" not in str(caught.value)
    with _Scripted([b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"], port=port) as _:
        assert reader.document("nothing") is None
    reader.close()


class _Scripted:
    """A server that gives one answer a connection, as they are, and knows nothing of HTTP."""

    def __init__(self, answers: list[bytes], port: int = 0) -> None:
        self._answers = answers
        self._socket = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/d/"

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(timeout=10)

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)


# Servers that others wrote


@pytest.fixture
def nginx(folder: Path, tmp_path: Path) -> Iterator[Nginx]:
    server = Nginx(tmp_path / "nginx", folder)
    server.start()
    yield server
    server.stop()


def test_nginx(nginx: Nginx, opened: Opener, folder: Path) -> None:
    """nginx answers as expected: each byte of a shard crosses once, and a shard replaced in its place is noticed."""
    reader = opened(url=nginx.url)
    assert b"".join(reader.read("00000.tar", at, 10_000) for at in range(0, SIZE, 10_000)) == DATA
    assert reader.fetched_bytes == SIZE + 1
    assert reader.document("note.txt") == b"a note"
    assert reader.document("empty") == b""
    assert reader.document("nothing") is None
    reader.read("00001.tar", 0, 10)
    (folder / "new").write_bytes(DATA)
    os.utime(folder / "new", (1, 1))
    os.replace(folder / "new", folder / "00001.tar")
    with pytest.raises(NotVerified, match=r"00001\.tar: changed on the server"):
        reader.read("00001.tar", SIZE - 10, 10)
    assert opened(url=nginx.url).read("00001.tar", SIZE - 10, 10) == DATA[-10:]


def test_nginx_goes_away_and_comes_back(nginx: Nginx, opened: Opener) -> None:
    """A server that is restarted in the middle of reading costs waiting, and no wrong byte."""
    patient = Policy(empty_attempts=60, first_wait_s=0.05, longest_wait_s=0.1)
    reader = opened(url=nginx.url, limit_bytes=0, policy=patient)
    reader.read("00000.tar", 0, 10)
    nginx.kill()
    again = threading.Timer(0.3, nginx.start)
    again.start()
    try:
        assert reader.read("00000.tar", 10, 50_000) == DATA[10:50_010]
    finally:
        again.join(timeout=30)


def test_nginx_without_ranges(folder: Path, tmp_path: Path, opened: Opener) -> None:
    """nginx that was told not to answer ranges is refused, with what helps."""
    server = Nginx(tmp_path / "nginx", folder)
    server.start("max_ranges 0;")
    try:
        with pytest.raises(Changed, match="does not answer ranges") as caught:
            opened(url=server.url).read("00000.tar", 0, 10)
        assert "nginx" in caught.value.hint[0]
    finally:
        server.stop()


@pytest.fixture
def secure(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nginx]:
    """nginx over TLS, whose certificate nobody trusts yet; its log ends with the number of the connection."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "host.key"]
    names = ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, "-out", "host.pem", "-days", "2", *names],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=20,
    )
    config = real_servers.NGINX_CONFIG.replace(
        "listen 127.0.0.1:{port};",
        f"listen 127.0.0.1:{{port}} ssl; ssl_certificate {tmp_path}/host.pem; ssl_certificate_key {tmp_path}/host.key;",
    )
    monkeypatch.setattr(real_servers, "NGINX_CONFIG", config.replace('"$http_range"', "$connection"))
    server = Nginx(tmp_path / "nginx", folder)
    server.start()
    yield server
    server.stop()


def test_tls(secure: Nginx, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """https is read if the certificate is trusted, and not otherwise."""
    url = secure.url.replace("http:", "https:")
    with pytest.raises(Unreachable, match="TLS"):
        RemoteReader(url, limit_bytes=0, policy=QUICK).read("00000.tar", 0, 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "host.pem"))
    reader = RemoteReader(url, limit_bytes=0, policy=QUICK)
    assert reader.read("00000.tar", 5, 100) == DATA[5:105]
    reader.close()


def test_a_forked_child_that_ends_disturbs_nobody(secure: Nginx, origin: Origin, tmp_path: Path) -> None:
    """A child that read and ended in good order did not say goodbye on its parent's TLS connection."""
    script = """
        import os, sys
        from g3m.adapters.remote import RemoteReader
        reader = RemoteReader(sys.argv[1], limit_bytes=0, sizes={})
        data = reader.read("00000.tar", 0, 3000)
        child = os.fork()
        assert reader.read("00000.tar", 7, 100) == data[7:107]
        if child:
            assert os.waitpid(child, 0)[1] == 0
            assert reader.read("00000.tar", 9, 100) == data[9:109]
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), secure.url.replace("http:", "https:")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "SSL_CERT_FILE": str(tmp_path / "host.pem")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    connections = [line.split()[-1] for line in secure.requests]
    assert len(connections) == 4 + 2
    assert len(set(connections)) == 2


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An S3 server with a public object, one that is not, and a manifest that nobody may see."""
    port = free_port()
    with open(tmp_path_factory.mktemp("moto") / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
        try:
            wait_for_port(process, port, limit_s=60)
            url = f"http://127.0.0.1:{port}"
            _fill(url)
            yield url
        finally:
            stop(process)


def _fill(url: str) -> None:
    import boto3
    from botocore.config import Config

    client: Any = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(s3={"addressing_style": "path"}),
    )
    client.create_bucket(Bucket="shards", ACL="public-read")
    client.put_object(Bucket="shards", Key="coco/00000.tar", Body=DATA, ACL="public-read")
    client.put_object(Bucket="shards", Key="coco/00001.tar", Body=DATA, ACL="private")
    client.put_object(Bucket="shards", Key="coco/manifest.json", Body=b"{}", ACL="private")
    client.close()


def test_s3(bucket: str, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public object of a bucket is read by its s3:// address at the endpoint that the variable names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    reader = opened(url="s3://shards/coco")
    assert b"".join(reader.read("00000.tar", at, 10_000) for at in range(0, SIZE, 10_000)) == DATA
    assert reader.fetched_bytes < SIZE + 1000
    assert reader.document("nothing") is None


def test_s3_that_is_not_public(bucket: str, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that is not public is refused, and the words say that nothing is signed."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECRET")
    with pytest.raises(Refused, match=r"shards/coco/00001\.tar: the server refused \(HTTP 403\)") as caught:
        opened(url="s3://shards/coco").read("00001.tar", 0, 10)
    assert "not signed" in caught.value.hint[0]
    assert "签名" in caught.value.hint[1]
