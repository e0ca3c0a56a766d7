"""adapters/probe.py: real sockets, real proxies and real TLS on loopback, good and bad."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.wire import Wire

from g3m.adapters import probe as probe_module
from g3m.adapters.curl import HttpOptions
from g3m.adapters.probe import REDIRECT_LIMIT, Aim, Limits, Reached, reach, resolve_name, sample
from g3m.core.diagnosis import diagnose
from g3m.core.secrets import Secret, Token
from g3m.lab.mischief import (
    Cut,
    Gzip,
    IgnoreRange,
    NoLength,
    Page,
    Redirect308,
    RedirectLoop,
    RedirectTo,
    Reset,
    Silence,
    Stall,
    Status,
    Trickle,
    WrongRange,
)
from g3m.lab.origin import Origin

BLOB = random.Random(3).randbytes(300_000)
CANARY = "CANARY77aa"
NAME = "origin.g3m-test.org"
"""A public name that only the tests' own resolver knows."""

LIMITS = Limits(dns_s=0.5, connect_s=1.0, total_s=2.0, stall_s=0.4, speak_s=0.4, first_s=0.2, sample_s=0.6)
OPTIONS = HttpOptions(user_agent="g3m-test")
LONG_S = 20.0
"""Longer than a loaded machine takes for anything here, and shorter than what is waited for in vain."""


def run(url: str, way: str = "", *, options: HttpOptions = OPTIONS, **more: Any) -> Reached:
    return reach(Aim(url=url, way=way, **{"wanted_bytes": len(BLOB), **more}), options, LIMITS)


def key(reached: Reached) -> str:
    return diagnose(reached.probe).key


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Origin]:
    (tmp_path / "blob.bin").write_bytes(BLOB)
    with Origin() as origin:
        origin.mount("/blob.bin", tmp_path / "blob.bin")
        yield origin


@pytest.fixture
def url(origin: Origin) -> str:
    return f"{origin.url}/blob.bin"


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _reset_after(connection: socket.socket) -> None:
    connection.recv(4096)
    _reset(connection)


def _hang_up(connection: socket.socket) -> None:
    connection.recv(4096)


def _silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def _says(*answers: bytes) -> Callable[[socket.socket], None]:
    """One answer for each message, then the end."""

    def handle(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(4096)
            connection.sendall(answer)
        connection.recv(4096)

    return handle


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that is taken and does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The system's resolver, replaced: a name's addresses, an error, or an event to wait for."""
    known: dict[str, Any] = {NAME: ["127.0.0.1"]}

    def answer(host: str, port: object, **_: object) -> list[Any]:
        found = known[host]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, threading.Event):
            found.wait(2 * LONG_S)
            return []
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(probe_module.socket, "getaddrinfo", answer)
    return known


# What works.


def test_a_file_that_can_be_fetched(origin: Origin, url: str) -> None:
    """One ranged GET of the file: size, status and times; 64 KiB and no more are asked for."""
    reached = run(url)
    (hop,) = reached.probe.hops
    assert (hop.stage, hop.status, hop.size_bytes, hop.code) == ("done", 206, len(BLOB), 0)
    assert hop.host == origin.url.partition("//")[2]
    assert (hop.scheme, hop.proxy, hop.body_bytes) == ("http", "", 65536)
    assert 0 < hop.tcp_s <= hop.answer_s  # type: ignore[operator]
    assert key(reached) == "works"
    (request,) = origin.requests
    assert request.method == "GET"
    assert request.headers["range"] == "bytes=0-65535"
    assert request.headers["user-agent"] == "g3m-test"


def test_a_document_comes_whole(url: str) -> None:
    """A listing is read to its end, without a range."""
    reached = run(url, document=True)
    assert reached.document == BLOB
    assert key(reached) == "works"


def test_a_redirect_is_a_hop_of_its_own(origin: Origin, url: str) -> None:
    """Every hop is reported; of the target only the host, though its query is signed."""
    target = f"{origin.url.replace('127.0.0.1', 'localhost')}/blob.bin?X-Amz-Signature={CANARY}"
    origin.mischief("/first", RedirectTo(target))
    reached = run(f"{origin.url}/first?token={CANARY}")
    first, second = reached.probe.hops
    assert (first.status, first.leads_to, first.stage) == (302, second.host, "done")
    assert second.host.startswith("localhost:")
    assert (second.status, key(reached), diagnose(reached.probe).host) == (206, "works", second.host)
    assert CANARY not in repr(reached)
    assert reached.url == target


# What walls and bad servers do.


@pytest.mark.parametrize(
    ("scheme", "handle", "expected"),
    [
        ("https", _reset_after, "tls-reset"),
        ("https", _hang_up, "tls-reset"),
        ("https", _silent, "tls-silent"),
        ("https", _says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls-broken"),
        ("http", _reset_after, "reset-request"),
        ("http", _hang_up, "hung-up"),
        ("http", _silent, "mute"),
    ],
)
def test_a_connection_that_goes_nowhere(
    scheme: str, handle: Callable[[socket.socket], None], expected: str
) -> None:
    """Reset, closed, silent, or something else than TLS: each is told apart, in a bounded time."""
    with Wire(handle) as wire:
        began_s = time.monotonic()
        reached = run(f"{scheme}://127.0.0.1:{wire.port}/x")
        assert key(reached) == expected
        assert time.monotonic() - began_s < LONG_S


def test_a_reset_that_may_come_before_the_greeting() -> None:
    """Whether a reset at once falls before or behind the end of connecting is up to the kernel's clock."""
    with Wire(_reset) as wire:
        reached = run(f"https://127.0.0.1:{wire.port}/x")
    assert key(reached) in ("tls-reset", "refused")
    assert reached.probe.hops[0].flags == {"reset"}


def test_a_port_where_nobody_listens(dead_port: int) -> None:
    """Refused at once."""
    (hop,) = run(f"https://127.0.0.1:{dead_port}/x").probe.hops
    assert (hop.stage, hop.flags, hop.code, hop.tcp_s) == ("tcp", {"refused"}, 7, None)


MISCHIEF = [
    (Status(401), "sign-in"),
    (Status(403), "forbidden"),
    (Status(404), "missing"),
    (Status(429), "busy"),
    (Status(500), "failing"),
    (Page(), "page"),
    (Gzip(), "encoded"),
    (IgnoreRange(), "whole-only"),
    (WrongRange(shift_bytes=5), "part"),
    (Cut(after_bytes=1000), "cut-short"),
    (Reset(after_bytes=1000), "cut-reset"),
    (Stall(after_bytes=1000, for_s=30), "cut-silent"),
    (Silence(for_s=30), "mute"),
    (Silence(), "hung-up"),
    (RedirectLoop(), "redirect-loop"),
    (RedirectTo("ftp://elsewhere/x"), "redirect-odd"),
    (NoLength(), "works"),
]


@pytest.mark.parametrize(("mischief", "expected"), MISCHIEF, ids=lambda value: type(value).__name__)
def test_mischief(origin: Origin, url: str, mischief: Any, expected: str) -> None:
    """Every lie and every break of the lab has its cause."""
    origin.mischief("*", mischief, times=None)
    assert key(run(url)) == expected


def test_a_file_of_another_size(url: str) -> None:
    """A 206 of another file is a lie, however well it is formed."""
    reached = run(url, wanted_bytes=len(BLOB) + 1)
    assert key(reached) == "foreign"
    assert str(len(BLOB)) in diagnose(reached.probe).words[0]
    assert key(run(url, wanted_bytes=None)) == "works"


def test_a_redirect_to_a_blocked_host(origin: Origin, url: str, dead_port: int) -> None:
    """A mirror that answers 308 to a host that does not: that host and its cause are named."""
    origin.mischief("*", Redirect308(f"http://localhost:{dead_port}"))
    reached = run(url)
    cause = diagnose(reached.probe)
    assert [hop.status for hop in reached.probe.hops] == [308, 0]
    assert (cause.key, cause.host) == ("refused", f"localhost:{dead_port}")


def test_redirects_have_an_end(origin: Origin, url: str) -> None:
    """Five hops are followed, as a download follows them."""
    origin.mischief("*", RedirectLoop(), times=None)
    assert len(run(url).probe.hops) == REDIRECT_LIMIT + 1
    assert len(origin.requests) == REDIRECT_LIMIT + 1


def test_it_stops_when_it_is_told_to(origin: Origin, url: str) -> None:
    """Ctrl-C does not wait for a silent host."""
    origin.mischief("*", Silence(for_s=60))
    began_s = time.monotonic()
    patient = Limits(total_s=60, stall_s=60, speak_s=60, first_s=60)
    reach(Aim(url=url, wanted_bytes=len(BLOB)), HttpOptions(user_agent="t", stopping=lambda: True), patient)
    assert time.monotonic() - began_s < LONG_S


# Names.


@pytest.mark.parametrize(
    ("error", "flag"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no"), "unknown"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), "failed"),
        (UnicodeError("label too long"), "failed"),
    ],
)
def test_a_name_that_is_not_resolved(names: dict[str, Any], error: Exception, flag: str) -> None:
    """No such name is something else than a resolver that fails."""
    names[NAME] = error
    assert resolve_name(NAME, 5) == ((), flag)
    (hop,) = run(f"https://{NAME}/x").probe.hops
    assert (hop.stage, hop.flags, hop.code) == ("dns", {flag}, 0)


def test_a_resolver_that_hangs(names: dict[str, Any]) -> None:
    """A silent resolver costs a bounded time, though the system's call cannot be ended."""
    names[NAME] = threading.Event()
    began_s = time.monotonic()
    assert key(run(f"https://{NAME}/x")) == "dns-silent"
    assert LIMITS.dns_s <= time.monotonic() - began_s < LONG_S
    names[NAME].set()


def test_the_address_that_was_answered_is_used(names: dict[str, Any], origin: Origin) -> None:
    """What is reported is what was connected to; no second question goes to the resolver."""
    port = origin.url.rpartition(":")[2]
    (hop,) = run(f"http://{NAME}:{port}/blob.bin").probe.hops
    assert (hop.addresses, hop.status) == (("127.0.0.1",), 206)
    assert origin.requests[0].headers["host"] == f"{NAME}:{port}"


def test_a_poisoned_name(names: dict[str, Any], dead_port: int) -> None:
    """A public name at 127.0.0.1 where nothing answers: the resolver lies."""
    reached = run(f"https://{NAME}:{dead_port}/x")
    assert key(reached) == "dns-wrong"
    assert "127.0.0.1" in diagnose(reached.probe).words[0]


def test_a_proxy_resolves_for_itself(names: dict[str, Any], dead_port: int) -> None:
    """Through a proxy the system's resolver is not asked for the host."""
    del names[NAME]
    names["127.0.0.1"] = ["127.0.0.1"]
    (hop,) = run(f"https://{NAME}/x", f"socks5h://127.0.0.1:{dead_port}").probe.hops
    assert (hop.addresses, hop.stage) == ((), "tcp")


# TLS.


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=20)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of our own, a certificate for the tests' host, one for another, and an old one."""
    folder = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    (folder / "empty").write_text("")
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca=one\n[one]\nnew_certs_dir=.\ndatabase=empty\nserial=serial\ndefault_md=sha256\n"
        "policy=any\ncopy_extensions=copy\nunique_subject=no\nrand_serial=yes\n[any]\ncommonName=supplied\n"
    )
    _openssl(
        folder,
        "req",
        "-x509",
        *curve,
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-days",
        "2",
        "-subj",
        "/CN=lab",
    )
    dates = {"host": ("20200101000000Z", "20490101000000Z"), "old": ("20200101000000Z", "20200102000000Z")}
    for name, host in (
        ("host", f"DNS:{NAME},IP:127.0.0.1"),
        ("other", "DNS:other.test"),
        ("old", "IP:127.0.0.1"),
    ):
        extension = ("-addext", f"subjectAltName={host}")
        _openssl(
            folder,
            "req",
            *curve,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
            *extension,
        )
        begin, end = dates.get(name, dates["host"])
        signed = (
            "ca",
            "-batch",
            "-config",
            "ca.conf",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            f"{name}.csr",
        )
        _openssl(folder, *signed, "-out", f"{name}.pem", "-notext", "-startdate", begin, "-enddate", end)
    return folder


def _tls(folder: Path, name: str, answer: bytes, connection: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    with contextlib.suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
        if secure.recv(4096):
            secure.sendall(answer)


PART = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    ("name", "trusted", "expected"),
    [
        ("host", "ca.pem", "works"),
        ("host", "", "tls-untrusted"),
        ("other", "ca.pem", "tls-name"),
        ("old", "ca.pem", "tls-dated"),
        ("host", "nowhere.pem", "tls-file"),
    ],
)
def test_tls(certificates: Path, name: str, trusted: str, expected: str) -> None:
    """A certificate of another host, of nobody we know, or out of date; and one that is right."""
    variables = {"SSL_CERT_FILE": str(certificates / trusted)} if trusted else {}
    options = HttpOptions(user_agent="t", variables=variables)
    with Wire(functools.partial(_tls, certificates, name, PART)) as wire:
        reached = run(f"https://127.0.0.1:{wire.port}/x", options=options, wanted_bytes=5)
    assert key(reached) == expected
    assert (reached.probe.hops[0].tls_s is not None) == (expected == "works")


def test_a_poisoned_name_with_another_hosts_certificate(names: dict[str, Any], certificates: Path) -> None:
    """A public name that is answered with 127.0.0.1, where another host's certificate waits."""
    options = HttpOptions(user_agent="t", variables={"SSL_CERT_FILE": str(certificates / "ca.pem")})
    with Wire(functools.partial(_tls, certificates, "other", PART)) as wire:
        reached = run(f"https://{NAME}:{wire.port}/x", options=options)
        assert (key(reached), reached.probe.hops[0].flags) == ("dns-wrong", {"name"})


def test_no_step_down_from_tls(names: dict[str, Any], certificates: Path, origin: Origin, url: str) -> None:
    """A redirect from https to http is named and not followed."""
    options = HttpOptions(user_agent="t", variables={"SSL_CERT_FILE": str(certificates / "ca.pem")})
    answer = f"HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n".encode()
    with Wire(functools.partial(_tls, certificates, "host", answer)) as wire:
        assert key(run(f"https://127.0.0.1:{wire.port}/x", options=options)) == "redirect-down"
    assert origin.requests == []


# Proxies.


@contextlib.contextmanager
def _process(port: int, *command: str) -> Iterator[int]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end_s = time.monotonic() + 5
            while time.monotonic() < end_s:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.01)
            yield port
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def http_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real tinyproxy that wants the login me:good."""
    port = _free_port()
    config = tmp_path_factory.mktemp("tinyproxy") / "tinyproxy.conf"
    config.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 20\nBasicAuth me good\n")
    with _process(port, "tinyproxy", "-d", "-c", str(config)) as port:
        yield port


@pytest.fixture(scope="module")
def socks_proxy() -> Iterator[int]:
    """A real microsocks that wants the login me:good."""
    port = _free_port()
    with _process(port, "microsocks", "-i", "127.0.0.1", "-p", str(port), "-u", "me", "-P", "good") as port:
        yield port


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("http://me:good@127.0.0.1:{http}", "works"),
        ("socks5h://me:good@127.0.0.1:{socks}", "works"),
        ("http://me:bad@127.0.0.1:{http}", "proxy-login"),
        ("http://127.0.0.1:{http}", "proxy-login"),
        ("socks5h://me:bad@127.0.0.1:{socks}", "proxy-login"),
        ("socks5h://127.0.0.1:{socks}", "proxy-login"),
        ("http://me:good@127.0.0.1:{socks}", "proxy-scheme"),
        ("socks5h://me:good@127.0.0.1:{http}", "proxy-scheme"),
        ("https://me:good@127.0.0.1:{http}", "proxy-scheme"),
        ("http://me:good@127.0.0.1:{dead}", "proxy-dead"),
        ("socks5h://me:good@127.0.0.1:{dead}", "proxy-dead"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_real_proxies(
    certificates: Path,
    origin: Origin,
    http_proxy: int,
    socks_proxy: int,
    dead_port: int,
    way: str,
    expected: str,
    scheme: str,
) -> None:
    """tinyproxy and microsocks: with the right login, the wrong one, none, and under a wrong scheme."""
    way = way.format(http=http_proxy, socks=socks_proxy, dead=dead_port)
    options = HttpOptions(user_agent="t", variables={"SSL_CERT_FILE": str(certificates / "ca.pem")})
    with Wire(functools.partial(_tls, certificates, "host", PART)) as wire:
        url = f"{origin.url}/blob.bin" if scheme == "http" else f"https://127.0.0.1:{wire.port}/x"
        reached = run(url, way, options=options, wanted_bytes=len(BLOB) if scheme == "http" else 5)
    (hop,) = reached.probe.hops
    if "me:bad" in way and str(http_proxy) in way and scheme == "http":
        expected = "sign-in"  # tinyproxy says 401 to a wrong login, which the host could have said
    assert key(reached) == expected
    assert "good" not in repr(reached)
    assert "bad" not in repr(reached)
    right = (
        f"socks5h://127.0.0.1:{socks_proxy}" if str(socks_proxy) in way else f"http://127.0.0.1:{http_proxy}"
    )
    assert hop.repair == (right if expected == "proxy-scheme" else "")
    assert hop.proxy == f"{way.partition('://')[0]}://{way.rpartition('@')[2].rpartition('//')[2]}"


CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
SOCKS_GOOD = (b"\x05\x00", b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")


@pytest.mark.parametrize(
    ("scheme", "handle", "expected"),
    [
        ("http", _silent, "proxy-mute"),
        ("http", _hang_up, "proxy-hung-up"),
        ("http", _reset_after, "proxy-hung-up"),
        ("http", _says(b"HTTP/1.1 403 Forbidden\r\n\r\n"), "proxy-refuses"),
        ("http", _says(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), "proxy-cannot"),
        ("http", _says(CONNECTED), "node"),
        ("socks5h", _says(*SOCKS_GOOD), "node"),
        ("socks5h", _says(SOCKS_GOOD[0], b"\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"), "proxy-cannot"),
        ("socks5h", _says(SOCKS_GOOD[0], b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"), "proxy-refuses"),
        ("https", _silent, "proxy-mute"),
    ],
)
def test_proxies_that_fail(scheme: str, handle: Callable[[socket.socket], None], expected: str) -> None:
    """A proxy that is silent, hangs up, refuses, or takes the connection while its node leads nowhere."""
    with Wire(handle) as wire:
        assert key(run("https://nobody.g3m-test.org/x", f"{scheme}://127.0.0.1:{wire.port}")) == expected


def test_each_hop_takes_its_own_proxy(origin: Origin, url: str, http_proxy: int) -> None:
    """Where an exception excludes the host of a redirect, that hop goes direct."""
    origin.mischief("/first", RedirectTo(url.replace("127.0.0.1", "localhost")))
    way = f"http://me:good@127.0.0.1:{http_proxy}"
    reached = run(f"{origin.url}/first", way, through=lambda way, url: "" if "localhost" in url else way)
    assert [bool(hop.proxy) for hop in reached.probe.hops] == [True, False]
    assert key(reached) == "works"
    assert ["via" in request.headers for request in origin.requests] == [True, False]


@pytest.mark.parametrize("host", ["127.0.0.1", "0x7f.1", NAME])
def test_no_public_host_leads_inside(origin: Origin, names: dict[str, Any], host: str) -> None:
    """Nothing is asked there, by number or by name; `--allow-private` opens it."""
    port = origin.url.rpartition(":")[2]
    answer = f"HTTP/1.1 302 Found\r\nLocation: http://{host}:{port}/blob.bin\r\nContent-Length: 0\r\n\r\n"

    def reached(options: HttpOptions) -> Reached:
        with Wire(_says(answer.encode())) as wire:
            way = f"http://127.0.0.1:{wire.port}"  # where a public host is asked by its name
            place = "http://public.g3m-test.org/x"
            return run(place, way, options=options, through=lambda way, url: way if url == place else "")

    inside = reached(OPTIONS)
    assert inside.probe.hops[-1].flags == {"redirect-inside"}
    assert key(inside) == ("dns-wrong" if host == NAME else "redirect-inside")
    assert origin.requests == []
    if host != "0x7f.1":
        assert key(reached(replace(OPTIONS, allow_private=True))) == "works"
        assert len(origin.requests) == 1


def test_a_token_goes_to_its_own_host_only(origin: Origin, url: str) -> None:
    """The host of the token sees it, the host of the redirect does not, and the probe says so."""
    host = origin.url.partition("//")[2]
    token = Token(Secret(f"Bearer {CANARY}"), frozenset([host]))
    origin.mischief("/first", RedirectTo(url.replace("127.0.0.1", "localhost")))
    reached = run(f"{origin.url}/first", options=HttpOptions(user_agent="t", tokens=[token]))
    assert [hop.signed_in for hop in reached.probe.hops] == [True, False]
    assert ["authorization" in request.headers for request in origin.requests] == [True, False]
    assert CANARY not in repr(reached)


# Speed.


def test_a_throttled_host(origin: Origin, url: str) -> None:
    """Where each connection is limited, four bring four times as much."""
    reached = run(url)
    origin.mischief("*", Trickle(bytes_per_s=40_000), times=None)
    one, broken = sample(reached, 1, OPTIONS, LIMITS)
    assert (one.connections, broken) == (1, "")
    assert one.rate_bytes_per_s == pytest.approx(40_000, rel=0.5)
    four, _ = sample(reached, 4, OPTIONS, LIMITS)
    assert four.connections == 4
    assert four.rate_bytes_per_s == pytest.approx(160_000, rel=0.5)


def test_a_sample_is_bounded(origin: Origin, url: str) -> None:
    """Neither more bytes than agreed, nor more time; the connections ask for different parts."""
    reached = run(url)
    origin.forget_requests()
    limits = Limits(sample_bytes=100_000)
    began_s = time.monotonic()
    speed, _ = sample(reached, 4, OPTIONS, limits)
    assert speed.body_bytes == 100_000
    assert time.monotonic() - began_s < LONG_S
    assert {request.headers["range"] for request in origin.requests} == {
        f"bytes={start}-{start + 24_999}" for start in (0, 25_000, 50_000, 75_000)
    }
    assert speed.rate_bytes_per_s is None


@pytest.mark.parametrize(
    ("mischief", "flag"),
    [
        (Reset(after_bytes=200_000), "reset"),
        (Cut(after_bytes=200_000), "closed"),
        (Stall(after_bytes=200_000, for_s=60), "timeout"),
    ],
)
def test_a_break_behind_the_first_bytes(origin: Origin, url: str, mischief: Any, flag: str) -> None:
    """What the first bytes did not show, the sample finds: a wall that cuts in the middle of the file."""
    reached = run(url)
    origin.mischief("*", mischief, times=None)
    began_s = time.monotonic()
    speed, broken = sample(reached, 1, OPTIONS, replace(LIMITS, total_s=60, sample_s=60))
    assert (broken, speed.body_bytes) == (flag, 200_000)
    assert time.monotonic() - began_s < LONG_S


def test_nothing_is_left_open(url: str) -> None:
    """After probes and samples no descriptor is open that was not before; the origin's own close with them."""
    run(url)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        sample(run(url), 4, OPTIONS, LIMITS)
    end_s = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < end_s:
        time.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before
