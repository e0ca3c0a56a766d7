"""adapters/sampling.py: the beginning of a file through a proxy, bounded, and what is no file is said to be none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.corelab import FILE_BYTES, PASSWORD, USER, Authority, Relay, free_port, make_authority, origin

from g3m.adapters import sampling
from g3m.adapters.curl import HttpOptions
from g3m.adapters.sampling import ONE_BYTE, Limits, Sample, Target, take_sample
from g3m.core.errors import Interrupted

LIMITS = Limits(read_s=0.5, whole_s=5.0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[str]:
    with origin(authority) as port:
        yield f"https://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    with origin(None) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def options(authority: Authority) -> HttpOptions:
    return HttpOptions(user_agent="g3m-test", variables={"SSL_CERT_FILE": str(authority.pem)})


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay().running() as relay:
        yield relay


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("tls", [True, False])
def test_a_sample(
    scheme: str, tls: bool, secure: str, plain: str, relay: Relay, options: HttpOptions
) -> None:
    """The whole range comes, over one connection of the proxy, with a time to the first byte and a rate."""
    base = secure if tls else plain
    target = Target(f"{base}/file", FILE_BYTES)
    sample = take_sample(target, f"{scheme}://127.0.0.1:{relay.port}", LIMITS, options)
    assert sample.problem == ""
    assert (sample.host, sample.done_bytes) == (base.partition("://")[2], FILE_BYTES)
    assert sample.first_byte_s > 0
    assert sample.rate_bytes_per_s > 100_000
    assert relay.served == 1


def test_one_byte(secure: str, relay: Relay, options: HttpOptions) -> None:
    """Where only the way matters, one byte is asked for and nothing is called a speed."""
    sample = take_sample(Target(f"{secure}/file"), f"http://127.0.0.1:{relay.port}", ONE_BYTE, options)
    assert (sample.done_bytes, sample.rate_bytes_per_s, sample.problem) == (1, None, "")


def test_a_slow_way_is_measured_and_cut(secure: str, options: HttpOptions) -> None:
    """After the time the sample ends, and its rate is that of the way."""
    with Relay(rate_bytes_per_s=400_000).running() as slow:
        began_s = time.monotonic()
        sample = take_sample(Target(f"{secure}/file"), f"http://127.0.0.1:{slow.port}", LIMITS, options)
        assert time.monotonic() - began_s < 20
    assert 100_000 < sample.rate_bytes_per_s < 800_000
    assert sample.done_bytes < FILE_BYTES


def test_silence_counts(secure: str, relay: Relay, options: HttpOptions) -> None:
    """A way that brings a little at once and then nothing is slow, not fast."""
    sample = take_sample(Target(f"{secure}/stall"), f"http://127.0.0.1:{relay.port}", LIMITS, options)
    assert sample.done_bytes == 200
    assert sample.rate_bytes_per_s < 500


def test_what_came_at_once_is_no_wonder() -> None:
    """Bytes that waited in buffers are not said to have come in a microsecond."""
    sample = Sample(host="h", first_byte_s=0.1, done_bytes=1_000_000, read_s=0.0001)
    assert 9_000_000 < sample.rate_bytes_per_s < 10_000_000
    assert replace(sample, read_s=2.0).rate_bytes_per_s == 500_000
    assert Sample(host="h").rate_bytes_per_s is None


@pytest.mark.parametrize(
    ("path", "size_bytes", "problem"),
    [
        ("/page", None, "a page in place of the file"),
        ("/missing", None, "answered with 404"),
        ("/file", 5, f"another file: {FILE_BYTES} bytes and not 5"),
        ("/round", None, "more than 5 redirects"),
        ("/down", None, "redirected from https to http"),
        ("/silent", None, "no answer within 0.3 s"),
    ],
)
def test_what_is_not_the_file(
    path: str, size_bytes: int | None, problem: str, secure: str, relay: Relay, options: HttpOptions
) -> None:
    """A block page that says 200, another file, a loop or silence is told from the file, and is no exception."""
    limits = Limits(read_s=0.5, whole_s=0.3 if path == "/silent" else 5.0)
    sample = take_sample(Target(secure + path, size_bytes), f"http://127.0.0.1:{relay.port}", limits, options)
    assert problem in sample.problem
    assert sample.host == secure.partition("://")[2]


def test_a_redirect_is_followed_by_a_new_connection(secure: str, relay: Relay, options: HttpOptions) -> None:
    """Where the file really is, is what is measured."""
    sample = take_sample(Target(f"{secure}/moved"), f"http://127.0.0.1:{relay.port}", LIMITS, options)
    assert (sample.problem, sample.done_bytes, relay.served) == ("", FILE_BYTES, 2)


def test_a_dead_proxy_is_a_problem_and_no_error(secure: str, options: HttpOptions) -> None:
    """The words are about the host and say nothing twice."""
    sample = take_sample(Target(f"{secure}/file"), f"http://127.0.0.1:{free_port()}", LIMITS, options)
    assert sample.problem
    assert not sample.problem.startswith(sample.host)
    assert (sample.done_bytes, sample.first_byte_s) == (0, None)


def test_a_login_is_used_and_never_shown(secure: str, options: HttpOptions) -> None:
    """The right one opens the proxy; the wrong one is not in what is said about it."""
    with Relay(login=True).running() as locked:
        for scheme in ("http", "socks5h"):
            right = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{locked.port}"
            assert take_sample(Target(f"{secure}/file"), right, ONE_BYTE, options).problem == ""
            wrong = take_sample(Target(f"{secure}/file"), right.replace("pass", "miss"), ONE_BYTE, options)
            assert wrong.problem
            assert "CANARY" not in repr(wrong)


def test_an_unknown_certificate_is_not_trusted(secure: str, relay: Relay) -> None:
    """A proxy that takes TLS apart is a problem; verification is never off."""
    options = HttpOptions(user_agent="g3m-test")
    sample = take_sample(Target(f"{secure}/file"), f"http://127.0.0.1:{relay.port}", ONE_BYTE, options)
    assert "no trusted TLS connection" in sample.problem


def test_the_watcher_is_told_our_port(
    secure: str, relay: Relay, options: HttpOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the connection is open, until he has seen enough; a short file is held open for him a little."""
    monkeypatch.setattr(sampling, "WATCH_EVERY_S", 0.01)
    ports: list[int] = []

    def watch(port: int) -> bool:
        ports.append(port)
        return len(ports) == 25

    sample = take_sample(Target(f"{secure}/file"), f"http://127.0.0.1:{relay.port}", ONE_BYTE, options, watch)
    assert sample.problem == ""
    assert len(ports) == 25
    assert len(set(ports)) == 1
    assert ports[0] != relay.port


def test_a_request_to_stop_ends_it(secure: str, options: HttpOptions) -> None:
    """Ctrl-C does not wait for the sample's end."""
    stopping = HttpOptions(user_agent="t", variables=options.variables, stopping=lambda: True)
    with Relay(rate_bytes_per_s=1000).running() as slow, pytest.raises(Interrupted):
        take_sample(Target(f"{secure}/file"), f"http://127.0.0.1:{slow.port}", LIMITS, stopping)
