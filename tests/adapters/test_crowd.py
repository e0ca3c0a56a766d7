"""adapters/crowd.py: what becomes of a row, for everything that a host may do."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.crowding import Fetcher, drained, knowing
from tests.pictures_host import Asked, PicturesHost, away, picture, pictures_host
from tests.wire import Wire, read_head

from g3m.adapters.crowd import Wanted
from g3m.adapters.hosts import Hosts
from g3m.core.errors import Unreachable
from g3m.core.outcomes import REASONS
from g3m.core.proxies import find_ways
from g3m.core.secrets import Secret, Token

AFTER_THE_BODY = {"hash_mismatch", "too_small", "aspect", "dropped"}
"""Reasons that a fetch cannot give: they are of what came whole, or of what is not asked for."""


@pytest.fixture
def host() -> Iterator[PicturesHost]:
    with pictures_host() as host:
        yield host


@pytest.fixture
def fetch(host: PicturesHost) -> Iterator[Fetcher]:
    with knowing(host) as hosts:
        yield Fetcher(hosts)


def test_pictures_come_with_their_own_numbers(host: PicturesHost, fetch: Fetcher) -> None:
    """Three hundred rows of several hosts: every row its own bytes, whatever the order they came in."""
    found = fetch(host.url(f"good/{n}.jpg", name=f"h{n % 7}.test") for n in range(300))
    assert [got.body for got in found] == [picture(n) for n in range(300)]
    assert {(got.reason, got.attempts) for got in found} == {("", 1)}
    assert found[0].headers is not None
    assert found[0].headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("path", "reason", "detail"),
    [
        ("missing/1.jpg", "http_404", "404"),
        ("forbidden/1.jpg", "http_403", "403"),
        ("busy/1.jpg", "http_503", "503"),
        ("refuse/1.jpg", "unreachable", ""),
        ("cut/1.jpg", "partial", ""),
        ("empty/1.jpg", "empty", ""),
        ("noai/1.jpg", "opt_out", "noai"),
        ("huge/1.jpg", "too_big", "1000000000000"),
        ("big/1.jpg", "too_big", "1000000"),
        ("redirect/6/good/1.jpg", "redirects", "5"),
        ("loop/1.jpg", "redirects", "5"),
        (away("file:///etc/passwd"), "redirects", "neither http nor https"),
        (away("http://me:secret@a.test/1.jpg"), "redirects", "login"),
        (away("http://nowhere.invalid/1.jpg"), "name_unknown", ""),
        (away("http://169.254.169.254/latest"), "private_address", "link-local"),
        ("heads/1.jpg", "unreachable", ""),
    ],
)
def test_what_comes_of_a_row(host: PicturesHost, fetch: Fetcher, path: str, reason: str, detail: str) -> None:
    """Each bad answer has its reason, with words, and brings no bytes."""
    [got] = fetch([host.url(path, name="a.test")], body_bytes=1_000_000, retries=0)
    assert got.reason == reason
    assert detail in got.detail
    assert (got.body, got.headers) == (b"", None)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("good/4.jpg", picture(4)),
        ("redirect/5/good/4.jpg", picture(4)),
        ("chunked/4.jpg", picture(4)),
        ("gzip/4.jpg", picture(4)),
        ("short/4.jpg", picture(4)[: len(picture(4)) // 2]),
        ("cut-unsaid/4.jpg", picture(4)[: len(picture(4)) // 2]),
    ],
)
def test_what_comes_whole_as_a_transfer_is_good_here(
    host: PicturesHost, fetch: Fetcher, path: str, body: bytes
) -> None:
    """Whether it is a whole picture is for those who look at it."""
    [got] = fetch([host.url(path, name="a.test")])
    assert (got.reason, got.body) == ("", body)
    assert got.url.endswith("good/4.jpg") == ("good" in path)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "bad_url"),
        ("http://me:secret@a.test/1.jpg", "bad_url"),
        ("", "bad_url"),
        ("http://nowhere.invalid/1.jpg", "name_unknown"),
        ("http://169.254.169.254/latest", "private_address"),
        ("http://[fe80::1]/1.jpg", "private_address"),
    ],
)
def test_what_is_never_asked_for(fetch: Fetcher, url: str, reason: str) -> None:
    """Addresses that are none, names that are none, and places that are not public."""
    [got] = fetch([url])
    assert (got.reason, got.attempts) == (reason, 0)
    assert "secret" not in got.detail


@pytest.mark.parametrize("mood", ["hang", "drip", "head"])
def test_who_says_nothing_for_long_is_too_slow(host: PicturesHost, fetch: Fetcher, mood: str) -> None:
    """Silence, a byte now and then, a head without an end: libcurl's rule of bytes a second ends them."""
    [got] = fetch([host.url(f"{mood}/1.jpg", name="a.test")], idle_s=1.0, idle_bytes_per_s=5000)
    assert (got.reason, got.attempts) == ("too_slow", 1)
    assert "5000 bytes a second" in got.detail


def test_a_row_has_so_many_seconds_for_all_its_hops(host: PicturesHost, fetch: Fetcher) -> None:
    """Redirects that take their time each use up the time of the row."""

    async def stroll(asked: Asked) -> None:
        await asyncio.sleep(0.4)
        await asked.answer(b"", f"Location: /stroll/{asked.number + 1}", status="302 Found")

    host.moods["stroll"] = stroll
    found = fetch([host.url("hang/1.jpg"), host.url("stroll/1")], total_s=1.0, redirects=50)
    assert [got.reason for got in found] == ["timeout", "timeout"]
    assert 2 <= sum(host.asked[f"stroll/{n}"] for n in range(1, 50)) <= 3


def test_a_port_where_nobody_listens_is_unreachable(fetch: Fetcher) -> None:
    """And is tried again, but not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    [got] = fetch([f"http://a.test:{port}/1.jpg"], retries=1)
    assert (got.reason, got.attempts) == ("unreachable", 2)


def test_a_name_that_fails_now_may_be_known_another_time(host: PicturesHost) -> None:
    """The resolver's own trouble is told from a name that does not exist."""

    def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_AGAIN, "the server did not answer")

    with knowing(host, look_up=look_up) as hosts:
        [got] = Fetcher(hosts)(["http://a.test/1.jpg"])
    assert got.reason == "name_failed"


def test_what_is_connected_to_is_checked_once_more(host: PicturesHost) -> None:
    """An address that passes the look-up and is refused at the socket is not connected to."""
    asked: Counter[str] = Counter()

    def refuse(address: str) -> str:
        asked[address] += 1
        return "" if asked[address] == 1 else "not this one"

    with knowing(host, refuse=refuse) as hosts:
        [got] = Fetcher(hosts)([host.url("good/1.jpg", name="a.test")])
    assert (got.reason, got.detail) == ("private_address", "not this one")
    assert host.connections == 0
    assert asked == {"127.0.0.1": 2}


def test_the_address_that_was_checked_is_the_one_that_is_used() -> None:
    """A name with an odd port and address is reached although no resolver knows it; a second try goes elsewhere."""
    with pictures_host(["127.0.0.9"]) as host:

        def look_up(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in ("127.0.0.8", "127.0.0.9")]

        with knowing(host, look_up=look_up) as hosts:
            [got] = Fetcher(hosts)([host.url("good/1.jpg", name="nowhere.invalid")])
    assert (got.reason, got.attempts) == ("", 2)


def test_nobody_is_told_more_than_needed(host: PicturesHost) -> None:
    """The head of a request: an honest agent, no credential, no cookie, nothing compressed."""

    async def bait(asked: Asked) -> None:
        await asked.answer(picture(1), "Set-Cookie: who=you")

    host.moods["bait"] = bait
    with knowing(host) as hosts:
        fetcher = Fetcher(hosts)
        crowd = fetcher.crowd()
        with crowd:
            assert "secret" not in repr(crowd._wire._options)
        fetcher(host.url("bait/1.jpg", name="a.test") for _ in range(3))
    headers = host.last_headers["bait/1.jpg"]
    assert sorted(headers) == ["accept", "accept-encoding", "host", "user-agent"]
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"] == "g3m-test/1"


def test_tokens_stay_at_home(host: PicturesHost) -> None:
    """A credential that the session has for a host is not sent to it from a list."""
    from g3m.adapters.crowd import Crowd, Wanted
    from g3m.adapters.curl import HttpOptions
    from g3m.core.manners import CrowdLimits
    from g3m.core.proxies import Ways

    token = Token(Secret("Bearer hidden"), frozenset({"127.0.0.1"}))
    options = HttpOptions(user_agent="g3m-test", tokens=[token])
    with knowing(host) as hosts, Crowd(options, Ways(), hosts, CrowdLimits()) as crowd:
        [got] = drained(crowd, [Wanted(0, host.url("good/1.jpg"))])
    assert got.reason == ""
    assert "authorization" not in host.last_headers["good/1.jpg"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of our own for the names of these tests."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=lab"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:a.test"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=20)
    return folder / "cert.pem"


@pytest.fixture
def secure(certificate: Path) -> Iterator[PicturesHost]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with pictures_host(tls=context) as host:
        yield host


def test_tls_is_verified(secure: PicturesHost, certificate: Path) -> None:
    """A trusted certificate for this name and no other."""
    urls = [secure.url("good/1.jpg", name=name) for name in ("a.test", "b.test")]
    with knowing(secure) as hosts:
        trusting = Fetcher(hosts, variables=(("SSL_CERT_FILE", str(certificate)),))
        assert [got.reason for got in trusting(urls)] == ["", "tls"]
        assert [got.reason for got in Fetcher(hosts)(urls)] == ["tls", "tls"]


def test_no_step_back_from_https(secure: PicturesHost, certificate: Path) -> None:
    """A redirect from https to http is the end of the row."""
    with knowing(secure) as hosts:
        fetcher = Fetcher(hosts, variables=(("SSL_CERT_FILE", str(certificate)),))
        [got] = fetcher([secure.url("downgrade/good/1.jpg", name="a.test")])
    assert (got.reason, got.detail) == ("redirects", "a redirect from https to http")


def test_every_reason_of_a_fetch_has_its_test() -> None:
    """Whoever adds a reason for a fetch adds a test that produces it."""
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_crowd*.py"))
    missing = [reason for reason in REASONS if f'"{reason}"' not in text]
    assert set(missing) <= AFTER_THE_BODY


@pytest.mark.parametrize("status", ["2" * 5000, "2000", "99", "\u00b2\u00b2\u00b2", "-12"])
def test_a_status_that_is_none(status: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A number that no answer has is a row that failed, and says nothing on the terminal."""
    answer = f"HTTP/1.1 {status} OK\r\nContent-Length: 5\r\n\r\nhello".encode("latin-1")

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(answer)

    with Wire(handle) as wire, Hosts(allow_private=True, ask_robots=False) as hosts:
        [got] = Fetcher(hosts)([f"{wire.url}/1.jpg"], total_s=10, retries=0, alarm=False)
    assert got.reason in ("empty", "unreachable")
    assert got.body == b""
    assert capfd.readouterr().err == ""


# Proxies. The host of pictures is one for its own names.


def _ways(*proxies: str) -> Any:
    return find_ways(list(proxies), no_proxy=False, variables={})


def test_a_proxy_carries_rows_and_a_dead_one_is_passed_over(host: PicturesHost) -> None:
    """The first proxy is dead: each row comes over the second, and after some failures at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with knowing(host) as hosts:
        fetcher = Fetcher(hosts, ways=_ways(dead, f"http://127.0.0.1:{host.port}"))
        found = fetcher((host.url(f"good/{n}.jpg", name="a.test") for n in range(60)), requests=9)
        assert hosts._states["a.test"].allowed == 16, "the host was blamed for the proxy"
    assert [got.body for got in found] == [picture(n) for n in range(60)]
    tries = Counter(got.attempts for got in found)
    assert host.proxied == 60
    assert set(tries) == {1, 2}
    assert tries[2] <= 30, "the dead one was tried again and again"


def test_after_the_last_proxy_comes_the_direct_way(host: PicturesHost) -> None:
    """Only a failure of the network leads to another way; an answer is an answer."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with knowing(host) as hosts:
        fetcher = Fetcher(hosts, ways=_ways(dead))
        good, missing = fetcher([host.url(path, name="a.test") for path in ("good/1.jpg", "missing/1.jpg")])
    assert (good.reason, good.attempts) == ("", 2)
    assert (missing.reason, missing.attempts) == ("http_404", 2)
    assert host.proxied == 0


def test_names_are_checked_here_too_before_a_proxy_is_asked(host: PicturesHost) -> None:
    """What leads to a private address is refused; a name that only the proxy knows is left to it."""

    def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
        if name == "inside.test":
            return [(socket.AF_INET, 1, 6, "", ("169.254.169.254", 0))]
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with knowing(host, look_up=look_up) as hosts:
        fetcher = Fetcher(hosts, ways=_ways(f"http://127.0.0.1:{host.port}"))
        inside, outside = fetcher(
            host.url("good/1.jpg", name=name) for name in ("inside.test", "outside.invalid")
        )
    assert inside.reason == "private_address"
    assert (outside.reason, host.proxied) == ("", 1)


def test_behind_a_proxy_program_that_answers_for_names(host: PicturesHost) -> None:
    """With its port named, names are left to it (fake-ip); without, nothing is asked for."""

    def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, 1, 6, "", ("198.18.0.7", 0))]

    with knowing(host, look_up=look_up) as hosts:
        named = Fetcher(hosts, ways=_ways(f"http://127.0.0.1:{host.port}"))
        (good,) = named([host.url("good/1.jpg", name="a.test")])
        assert (good.reason, host.proxied) == ("", 1)
        (bare,) = Fetcher(hosts)([host.url("good/1.jpg", name="a.test")])
        assert (bare.reason, bare.detail, bare.attempts) == ("stand_in", "198.18.0.7", 0)
        assert host.proxied == 1
        with pytest.raises(Unreachable, match="fake-ip"):
            Fetcher(hosts)(host.url(f"good/{n}.jpg", name=f"h{n % 9}.test") for n in range(60))


def test_a_name_that_only_a_proxy_knows_stays_with_the_proxies(host: PicturesHost) -> None:
    """Many rows that break never send the others over the direct way, where their names do not exist."""

    def look_up(name: str, *_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    paths = [*(f"refuse/{n}.jpg" for n in range(40)), *(f"good/{n}.jpg" for n in range(40))]
    with knowing(host, look_up=look_up) as hosts:
        fetcher = Fetcher(hosts, ways=_ways(f"http://127.0.0.1:{host.port}"))
        rows = [host.url(path, name=f"{n}.test") for n, path in enumerate(paths)]
        found = fetcher(rows, requests=4, alarm=False)
    assert {got.reason for got in found[:40]} == {"unreachable"}
    assert [got.body for got in found[40:]] == [picture(n) for n in range(40)]


# Nothing stays behind.


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_stays_open_after_a_crowd(host: PicturesHost) -> None:
    """Sockets, threads and handles go with the crowd, even if it is left in the middle."""
    before, threads = _descriptors(), set(threading.enumerate())
    for _ in range(3):
        with knowing(host) as hosts:
            paths = [f"good/{n}.jpg" for n in range(40)] + [
                "cut/1.jpg",
                "hang/1.jpg",
                "refuse/1.jpg",
                "big/1.jpg",
            ]
            urls = [host.url(path, name=f"h{n % 5}.test") for n, path in enumerate(paths)]
            with Fetcher(hosts).crowd() as crowd:
                from g3m.adapters.crowd import Wanted

                for count, _ in enumerate(
                    crowd.fetch((Wanted(n, url) for n, url in enumerate(urls)), lambda: True)
                ):
                    if count > 20:
                        break
    assert set(threading.enumerate()) <= threads
    deadline = 200
    while _descriptors() > before + 1 and deadline:  # the server's own ends close in its thread
        deadline -= 1
        threading.Event().wait(0.02)
    assert _descriptors() <= before + 1


def test_connections_are_used_again(host: PicturesHost, fetch: Fetcher) -> None:
    """Two hundred rows of one host over as many connections as may be open at once."""
    found = fetch((host.url(f"good/{n}.jpg", name="a.test") for n in range(200)), per_host=4)
    assert {got.reason for got in found} == {""}
    assert host.connections <= 4


def test_words_of_a_host_hold_nothing_but_letters(host: PicturesHost, fetch: Fetcher) -> None:
    """libcurl quotes headers that it refuses: what is no UTF-8 in them could not be written into a table."""

    async def odd(asked: Asked) -> None:
        await asked.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \xff\x1b]0;x, chunked\r\n\r\n")

    host.moods["odd"] = odd
    [got] = fetch([host.url("odd/1.jpg", name="a.test")], retries=0)
    assert got.reason in ("unreachable", "partial")
    assert got.detail.isprintable()


def test_nothing_is_held_of_what_was_handed_over(host: PicturesHost, fetch: Fetcher) -> None:
    """A handle that waits for its next request keeps no body: there are hundreds of them."""
    wanted = [Wanted(n, host.url(f"good/{n}.jpg", name="a.test")) for n in range(32)]
    with fetch.crowd(per_host=32) as crowd:
        assert all(got.body for got in drained(crowd, wanted))
        assert crowd._wire._free
        assert not any(slot.reply.body or slot.pieces or slot.owner for slot in crowd._wire._free)


def test_a_small_answer_does_not_become_a_huge_one(host: PicturesHost, fetch: Fetcher) -> None:
    """Compressed zeros of many hosts at once would otherwise fill the memory."""

    async def bomb(asked: Asked) -> None:
        await asked.answer(gzip.compress(bytes(2**24)), "Content-Encoding: gzip")

    host.moods["bomb"] = bomb
    [got] = fetch([host.url("bomb/1.jpg", name="a.test")])
    assert (got.reason, got.body) == ("too_big", b"")


def test_names_are_looked_up_in_the_second_run_of_a_session_too(host: PicturesHost) -> None:
    """`verify --repair` gathers one dataset after the other: the end of the first is not the end of names."""
    with knowing(host) as hosts:
        for name in ("a.test", "b.test"):
            with hosts:
                [got] = Fetcher(hosts)([host.url("good/1.jpg", name=name)])
            assert got.reason == ""
