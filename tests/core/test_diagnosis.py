"""core/diagnosis.py, core/endings.py and core/verdicts.py: what was measured becomes a cause, and a command."""

from __future__ import annotations

import errno
import re
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.diagnosis import (
    CAUSES,
    PROXY_WIDE,
    SLOW_BYTES_PER_S,
    STAGES,
    THROTTLED_RATIO,
    WORKING,
    Hop,
    Probe,
    Speed,
    diagnose,
    fake_addresses,
    false_addresses,
)
from g3m.core.endings import Ending, ending_flags, rate_of, with_answer
from g3m.core.resume import Answer
from g3m.core.verdicts import Choice, Need, Outcome, Verdict, Way, choose, judge

HOST = "hub.example.org"
PROXY = "http://127.0.0.1:7890"
DIRECT, NAMED = Way(), Way(proxy=PROXY, origin="https_proxy")
FOUND = Way(proxy=PROXY, origin="listener")


def hop(stage: str = "done", *flags: str, **more: Any) -> Hop:
    status = {"status": 206, "size_bytes": 10} if stage in ("body", "done") else {}
    return Hop(**{"host": HOST, "stage": stage, "flags": frozenset(flags), **status, **more})


def key(*hops: Hop, wanted_bytes: int | None = 10, speeds: tuple[Speed, ...] = ()) -> str:
    return diagnose(Probe(hops=hops, wanted_bytes=wanted_bytes, speeds=speeds)).key


DIRECT_CASES = [
    (hop("dns", "unknown"), "dns-unknown"),
    (hop("dns", "timeout"), "dns-silent"),
    (hop("dns", "failed"), "dns-failed"),
    (hop("tcp", "timeout"), "silent"),
    (hop("tcp", "refused"), "refused"),
    (hop("tcp", "reset"), "refused"),
    (hop("tcp", "unreachable"), "no-route"),
    (hop("tls", "reset"), "tls-reset"),
    (hop("tls", "closed"), "tls-reset"),
    (hop("tls", "timeout"), "tls-silent"),
    (hop("tls", "name"), "tls-name"),
    (hop("tls", "untrusted"), "tls-untrusted"),
    (hop("tls", "dated"), "tls-dated"),
    (hop("tls", "file"), "tls-file"),
    (hop("tls", "no-tls"), "tls-broken"),
    (hop("answer", "timeout"), "mute"),
    (hop("answer", "reset"), "reset-request"),
    (hop("answer", "closed"), "hung-up"),
    (hop("done", "redirect-odd", status=302), "redirect-odd"),
    (hop("done", "redirect-down", status=302), "redirect-down"),
    (hop("done", "redirect-loop", status=302), "redirect-loop"),
    (hop("done", "redirect-inside", status=0), "redirect-inside"),
    (hop(status=401), "sign-in"),
    (hop(status=403), "forbidden"),
    (hop(status=451), "forbidden"),
    (hop(status=404), "missing"),
    (hop(status=410), "missing"),
    (hop(status=429), "busy"),
    (hop(status=503), "busy"),
    (hop(status=500), "failing"),
    (hop(status=418), "odd-status"),
    (hop("done", "page", "whole", status=200, size_bytes=900), "page"),
    (hop("done", "encoded"), "encoded"),
    (hop("done", "part", size_bytes=None), "part"),
    (hop("done", "no-listing", status=200), "no-listing"),
    (hop(size_bytes=11), "foreign"),
    (hop("done", "whole", status=200, size_bytes=11), "foreign"),
    (hop("body", "reset"), "cut-reset"),
    (hop("body", "timeout"), "cut-silent"),
    (hop("body", "closed"), "cut-short"),
    (hop("body", "reset", size_bytes=11), "foreign"),
    (hop("body", "reset", "resumes"), "breaks"),
    (hop("done", "whole", status=200), "whole-only"),
    (hop(), "works"),
    (hop(size_bytes=None), "works"),
]
PROXY_CASES = [
    (hop("tcp", "name"), "proxy-name"),
    (hop("tcp", "refused"), "proxy-dead"),
    (hop("tcp", "timeout"), "proxy-silent"),
    (hop("tcp", "unreachable"), "proxy-silent"),
    (hop("proxy", "refused", proxy_status=407), "proxy-login"),
    (hop("proxy", "refused", proxy_status=401), "proxy-login"),
    (hop("proxy", "login"), "proxy-login"),
    (hop("proxy", "closed", repair="socks5h://127.0.0.1:1"), "proxy-scheme"),
    (hop("proxy", "untrusted"), "proxy-tls"),
    (hop("proxy", "no-tls"), "proxy-tls"),
    (hop("proxy", "refused", proxy_status=502), "proxy-cannot"),
    (hop("proxy", "cannot"), "proxy-cannot"),
    (hop("proxy", "refused", proxy_status=403), "proxy-refuses"),
    (hop("proxy", "forbidden"), "proxy-refuses"),
    (hop("proxy", "timeout"), "proxy-mute"),
    (hop("proxy", "closed"), "proxy-hung-up"),
    (hop("proxy", "reset"), "proxy-hung-up"),
    (hop("tls", "reset"), "node"),
    (hop("tls", "timeout"), "node"),
    (hop("tls", "name"), "tls-name"),
    (hop("tls", "no-tls"), "tls-broken"),
    (hop("answer", "timeout"), "node"),
    (hop("answer", "closed"), "node"),
    (hop(status=407, scheme="http"), "proxy-login"),
    (hop(status=502, scheme="http"), "proxy-cannot"),
    (hop(status=502), "failing"),
    (hop(status=503), "busy"),
    (hop(), "works"),
]


@pytest.mark.parametrize(("measured", "expected"), DIRECT_CASES)
def test_the_cause_of_a_direct_probe(measured: Hop, expected: str) -> None:
    """Every signature of a wall, a portal or a bad server has its own name."""
    assert key(measured) == expected


@pytest.mark.parametrize(("measured", "expected"), PROXY_CASES)
def test_the_cause_of_a_probe_through_a_proxy(measured: Hop, expected: str) -> None:
    """What the proxy does wrong is told from what happens behind it."""
    assert key(replace(measured, proxy=PROXY)) == expected


def test_every_cause_is_reached() -> None:
    """No sentence stands in the table for a cause that is never found."""
    found = {expected for _, expected in DIRECT_CASES + PROXY_CASES}
    assert found | {"dns-wrong", "slow", "throttled"} == set(CAUSES)
    assert set(CAUSES) >= WORKING
    assert set(CAUSES) >= PROXY_WIDE


@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_said_in_both_languages_with_the_same_gaps(name: str) -> None:
    """English is ASCII, Chinese is Chinese, both are short and show the same values."""
    english, chinese = CAUSES[name]
    gaps = [{found for _, found, _, _ in string.Formatter().parse(text) if found} for text in CAUSES[name]]
    assert gaps[0] == gaps[1]
    assert english.isascii()
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert max(map(len, CAUSES[name])) <= 64


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.9.9.9", "0.0.0.0", "192.168.1.1", "169.254.0.9", "240.0.0.1", "::1", "fe80::9"],
)
def test_an_address_that_no_public_host_has(address: str) -> None:
    """A failure behind a loopback, private or reserved answer is the resolver's; what works is not blamed."""
    wrong = hop("tcp", "refused", addresses=(address,))
    assert key(wrong) == "dns-wrong"
    assert address in diagnose(Probe(hops=(wrong,))).words[0]
    assert key(hop(addresses=(address,))) == "works"
    assert key(replace(wrong, proxy=PROXY)) == "proxy-dead"
    assert key(replace(wrong, host=f"{HOST}:8443")) == "dns-wrong"
    assert key(replace(wrong, addresses=(address, "93.184.216.34"))) == "refused"


@pytest.mark.parametrize(
    "name", ["mirror", "mirror.lan", "hub.corp.internal", "127.0.0.1:80", "[::1]:80", "10.0.0.1"]
)
def test_a_private_name_may_have_a_private_address(name: str) -> None:
    """A laboratory's own mirror is not called poisoned."""
    assert not false_addresses(hop("tcp", "refused", host=name, addresses=("10.0.0.1",)))


def test_a_fake_address_is_a_proxys_and_not_false() -> None:
    """198.18.0.0/15 is how a core in TUN mode answers names."""
    fake = hop("tls", "reset", addresses=("198.18.0.7",))
    assert fake_addresses(fake)
    assert not false_addresses(fake)
    assert key(fake) == "tls-reset"
    assert not fake_addresses(hop(addresses=("198.20.0.7",)))


def test_the_last_hop_counts() -> None:
    """A redirect to a blocked host is that host's cause, and the host is named."""
    first = hop(status=302, leads_to="cdn.example.org")
    cause = diagnose(Probe(hops=(first, hop("tcp", "timeout", host="cdn.example.org"))))
    assert (cause.key, cause.host, cause.works) == ("silent", "cdn.example.org", False)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((None,), "works"),
        ((5e6,), "works"),
        ((99_000.0,), "slow"),
        ((2e5, 8e5), "throttled"),
        ((30_000.0, 120_000.0), "throttled"),
        ((2e5, 3e5), "works"),
        ((2e4, 3e4), "slow"),
        ((5e5, None), "works"),
    ],
)
def test_speed(rates: tuple[float | None, ...], expected: str) -> None:
    """Slow is below 100 kB/s; throttled is what grows with the connections."""
    speeds = tuple(
        Speed(connections=count, body_bytes=1, seconds=1.0, rate_bytes_per_s=rate)
        for count, rate in zip((1, 4), rates, strict=False)
    )
    assert key(hop(), speeds=speeds) == expected
    assert diagnose(Probe(hops=(hop(),), speeds=speeds)).works
    known = [rate for rate in rates if rate is not None]
    assert Probe(hops=(hop(),), speeds=speeds).rate_bytes_per_s == (max(known) if known else None)


FLAGS = (
    "unknown",
    "failed",
    "timeout",
    "reset",
    "refused",
    "closed",
    "name",
    "untrusted",
    "login",
    "page",
    "whole",
)


@given(
    stage=st.sampled_from(STAGES),
    flags=st.frozensets(st.sampled_from(FLAGS)),
    status=st.integers(0, 599),
    proxy=st.sampled_from(["", PROXY]),
    addresses=st.lists(st.ip_addresses().map(str), max_size=2).map(tuple),
    size=st.none() | st.integers(0, 20),
)
def test_every_measurement_has_a_cause_in_words(
    stage: str, flags: frozenset[str], status: int, proxy: str, addresses: tuple[str, ...], size: int | None
) -> None:
    """Whatever was measured, there is a sentence in both languages without a gap."""
    measured = Hop(
        host=HOST, stage=stage, flags=flags, status=status, proxy=proxy, addresses=addresses, size_bytes=size
    )
    cause = diagnose(Probe(hops=(measured,), wanted_bytes=10))
    assert all(words and "{" not in words for words in cause.words)
    if stage != "done" and "resumes" not in flags:
        assert not cause.works


@pytest.mark.parametrize(
    ("ending", "flags"),
    [
        (Ending(), set()),
        (Ending(7, "Could not connect", 111), {"refused"}),
        (Ending(7, "Could not connect", 113), {"unreachable"}),
        (Ending(7, "Could not connect", 101), {"unreachable"}),
        (Ending(7, "Could not connect", 13), {"unreachable"}),
        (Ending(7, "Could not connect", 110), {"timeout"}),
        (Ending(7, "Could not connect", 104), {"reset"}),
        (Ending(28, "Connection timed out after 4001 milliseconds"), {"timeout"}),
        (Ending(35, "Recv failure: Connection reset by peer", 104), {"reset"}),
        (Ending(35, "OpenSSL SSL_connect: Connection reset by peer in connection to h:443"), {"reset"}),
        (
            Ending(35, "TLS connect error: error:0A000126:SSL routines::unexpected eof while reading"),
            {"closed"},
        ),
        (Ending(35, "TLS connect error: error:0A00010B:SSL routines::wrong version number"), {"no-tls"}),
        (Ending(60, "SSL: no alternative certificate subject name matches target host name 'h'"), {"name"}),
        (Ending(60, "SSL certificate problem: certificate has expired"), {"dated"}),
        (Ending(60, "SSL certificate problem: certificate is not yet valid"), {"dated"}),
        (Ending(60, "SSL certificate problem: unable to get local issuer certificate"), {"untrusted"}),
        (Ending(60, "SSL certificate problem: self-signed certificate"), {"untrusted"}),
        (Ending(77, "error adding trust anchors from file"), {"file"}),
        (Ending(5, "Could not resolve proxy: p"), {"name"}),
        (Ending(18, "transfer closed with 9 bytes remaining"), {"closed"}),
        (Ending(52, "Empty reply from server"), {"closed"}),
        (Ending(56, "Recv failure: Connection reset by peer", 104), {"reset"}),
        (Ending(56, "Proxy CONNECT aborted"), {"closed"}),
        (Ending(97, "User was rejected", 0, 33), {"login"}),
        (Ending(97, "No authentication method was acceptable.", 0, 12), {"login"}),
        (Ending(97, "cannot complete SOCKS5 connection", 0, 19), {"cannot"}),
        (Ending(97, "cannot complete SOCKS5 connection", 0, 23), {"forbidden"}),
        (Ending(97, "Received invalid version", 0, 2), {"no-socks"}),
        (Ending(97, "Recv failure: Connection reset by peer", 104, 15), {"reset"}),
        (Ending(97, "proxy closed connection", 0, 15), {"closed"}),
    ],
)
def test_how_a_request_ended(ending: Ending, flags: set[str]) -> None:
    """libcurl's codes and sentences, as they were seen, become words of our own."""
    assert ending_flags(ending) == flags


SOCKS = [
    "OK",
    "BAD_ADDRESS_TYPE",
    "BAD_VERSION",
    "CLOSED",
    "GSSAPI",
    "GSSAPI_PERMSG",
    "GSSAPI_PROTECTION",
    "IDENTD",
    "IDENTD_DIFFER",
    "LONG_HOSTNAME",
    "LONG_PASSWD",
    "LONG_USER",
    "NO_AUTH",
    "RECV_ADDRESS",
    "RECV_AUTH",
    "RECV_CONNECT",
    "RECV_REQACK",
    "REPLY_ADDRESS_TYPE_NOT_SUPPORTED",
    "REPLY_COMMAND_NOT_SUPPORTED",
    "REPLY_CONNECTION_REFUSED",
    "REPLY_GENERAL_SERVER_FAILURE",
    "REPLY_HOST_UNREACHABLE",
    "REPLY_NETWORK_UNREACHABLE",
    "REPLY_NOT_ALLOWED",
    "REPLY_TTL_EXPIRED",
    "REPLY_UNASSIGNED",
    "REQUEST_FAILED",
    "RESOLVE_HOST",
    "SEND_AUTH",
    "SEND_CONNECT",
    "SEND_REQUEST",
    "UNKNOWN_FAIL",
    "UNKNOWN_MODE",
    "USER_REJECTED",
]
"""libcurl's reasons of a failed SOCKS handshake (CURLPX_...), in the order of their numbers."""


@pytest.mark.parametrize(("number", "name"), list(enumerate(SOCKS)))
def test_why_a_socks_proxy_failed(number: int, name: str) -> None:
    """Each reason of libcurl's is what it says: no SOCKS, a login, a refusal by rule, a host that cannot be reached."""
    if name == "BAD_VERSION":
        flag = "no-socks"
    elif name == "REPLY_NOT_ALLOWED":
        flag = "forbidden"
    elif name in ("NO_AUTH", "RECV_AUTH", "SEND_AUTH", "USER_REJECTED"):
        flag = "login"
    else:
        flag = (
            "cannot" if name.startswith("REPLY_") or name in ("REQUEST_FAILED", "RESOLVE_HOST") else "closed"
        )
    assert ending_flags(Ending(97, "SOCKS", 0, number)) == {flag}
    assert ending_flags(Ending(96, "SOCKS", 0, number)) == {"closed"}
    assert ending_flags(Ending(7, "SOCKS", 0, number)) == {"refused"}


@pytest.mark.parametrize(
    ("name", "flag"),
    [("EPERM", "unreachable"), ("EACCES", "unreachable"), ("ENETDOWN", "unreachable"), ("ENETUNREACH", "unreachable"),
     ("EHOSTDOWN", "unreachable"), ("EHOSTUNREACH", "unreachable"), ("ECONNRESET", "reset"), ("EPIPE", "closed"), ("EINTR", "closed"),
     ("ENOENT", "closed"), ("EADDRNOTAVAIL", "closed"), ("ECONNABORTED", "closed"), ("ENOBUFS", "closed"), ("EALREADY", "closed")],
)  # fmt: skip
def test_the_error_numbers_of_linux(name: str, flag: str) -> None:
    """A way that is forbidden, down or not there is unreachable; numbers beside them in the table are not."""
    assert ending_flags(Ending(56, "Recv failure", getattr(errno, name))) == {flag}


def test_the_codes_that_need_no_words() -> None:
    """A name, a cut, a time limit, an empty answer and a missing file have codes of their own; their neighbours have none."""
    told = {5: "name", 18: "closed", 28: "timeout", 52: "closed", 77: "file"}
    assert ending_flags(Ending(0, "reset by peer", errno.ECONNRESET)) == set()
    for code in range(1, 100):
        if code != 60:
            assert ending_flags(Ending(code, "reset by peer")) == {told.get(code, "reset")}
    assert ending_flags(Ending(7, "Failed", errno.ETIMEDOUT)) == {"timeout"}
    assert ending_flags(Ending(56, "Failed", errno.ETIMEDOUT)) == {"closed"}


@pytest.mark.parametrize(
    "sign",
    [
        "wrong version number",
        "packet length too long",
        "unknown protocol",
        "HTTP request",
        "Record Layer failure",
    ],
)
def test_no_tls(sign: str) -> None:
    """Each sentence of the TLS libraries for an answer in the clear, in any letters."""
    assert ending_flags(Ending(35, f"error: {sign}")) == {"no-tls"}


@pytest.mark.parametrize("words", ["the subject name is not h", "it does not match", "hostname mismatch"])
def test_a_certificate_of_another_name(words: str) -> None:
    """Each sentence of the TLS libraries for a certificate of another host."""
    assert ending_flags(Ending(60, words)) == {"name"}


@pytest.mark.parametrize(
    ("status", "headers", "flags", "size_bytes"),
    [
        (206, {"content-range": "bytes 0-9/100", "content-encoding": "Identity"}, set(), 100),
        (206, {"content-range": "bytes 1-9/100"}, {"part"}, 100),
        (200, {"content-type": "application/xhtml+xml", "content-encoding": ""}, {"whole", "page"}, None),
        (201, {"content-type": "x-text/html"}, set(), None),
        (206, {"content-range": "bytes 0-9/100", "content-length": "10"}, set(), 100),
        (206, {"content-range": "bytes 5-9/100"}, {"part"}, 100),
        (206, {"content-length": "10"}, {"part"}, None),
        (206, {"content-range": "bytes 0-9/*"}, set(), None),
        (200, {"content-length": "100"}, {"whole"}, 100),
        (200, {"content-type": "Text/HTML; charset=utf-8"}, {"whole", "page"}, None),
        (200, {"content-encoding": "gzip"}, {"whole", "encoded"}, None),
        (404, {"content-length": "3"}, set(), 3),
    ],
)
def test_what_an_answer_says(
    status: int, headers: dict[str, str], flags: set[str], size_bytes: int | None
) -> None:
    """Size, page, encoding and range come from the head of the answer."""
    seen = with_answer(Hop(host=HOST), Answer(status=status, headers=headers), ranged=True)
    assert (seen.status, seen.flags, seen.size_bytes) == (status, flags, size_bytes)


def test_a_document_is_asked_for_whole() -> None:
    """Where no part was asked for, a whole answer is right and a part is not."""
    assert with_answer(Hop(host=HOST), Answer(status=200, headers={}), ranged=False).flags == set()
    part = Answer(status=206, headers={"content-range": "bytes 0-9/100"})
    assert with_answer(Hop(host=HOST), part, ranged=False).flags == {"part"}


@pytest.mark.parametrize(
    ("marks", "rate"),
    [
        ([], None),
        ([(0.0, 0)], None),
        ([(0.0, 0), (0.1, 900_000)], None),
        ([(0.0, 0), (0.1, 2_000_000)], 20_000_000),
        ([(0.0, 0), (1.0, 1000)], 1000),
        ([(0.0, 0), (0.4, 100), (0.9, 1000), (1.0, 1600)], 2500),
        ([(3.0, 0), (3.0, 2_000_000)], None),
        ([(0.0, 0), (0.3, 300)], 1000),
        ([(0.0, 0), (0.299, 300)], None),
        ([(0.0, 0), (0.1, 1_000_000)], 10_000_000),
        ([(0.0, 0), (0.1, 999_999)], None),
        ([(1.0, 0), (2.0, 100), (3.0, 400)], 300),
        ([(1.0, 50), (1.9, 100), (2.1, 200), (3.0, 210)], 100),
    ],
)
def test_rate(marks: list[tuple[float, int]], rate: float | None) -> None:
    """The second half of the time counts; too little says nothing, and no time at all is no division by zero."""
    assert rate_of(marks) == (rate if rate is None else pytest.approx(rate))


def test_the_rate_of_a_transfer_that_was_over_early() -> None:
    """All of it counts: a pause near its end says nothing about what the way can carry."""
    marks = [(0.0, 0), (0.1, 7_900_000), (0.5, 8_000_000)]
    assert rate_of(marks, whole=True) == pytest.approx(16_000_000)
    assert rate_of(marks) == pytest.approx(250_000)
    assert rate_of(marks[:1], whole=True) is None
    assert rate_of([(1.0, 0), (1.0, 8_000_000)], whole=True) is None
    assert rate_of([(1.0, 100), (1.5, 500), (2.0, 600)], whole=True) == pytest.approx(500)
    assert Ending() == Ending(0, "", 0, 0)


def outcome(place: str, way: Way, rate: float | None = None, *, works: bool = True, **more: Any) -> Outcome:
    return Outcome(place=place, way=way, works=works, rate_bytes_per_s=rate, **more)


NEEDS = (
    Need(dataset="cc3m", places=("hub",), size_bytes=1000),
    Need(dataset="coco", places=("s3", "http://coco"), size_bytes=600),
    Need(dataset="coco", places=("s3",), size_bytes=400),
)


def test_a_dataset_is_carried_if_each_of_its_parts_is() -> None:
    """The fastest route to each part; the time is the sum, the rate the slowest."""
    outcomes = [
        outcome("hub", DIRECT, works=False),
        outcome("s3", DIRECT, 100),
        outcome("s3", NAMED, 50),
        outcome("http://coco", DIRECT, 200),
    ]
    cc3m, coco = judge(NEEDS, outcomes)
    assert (cc3m.carried, cc3m.missing, cc3m.seconds) == (False, ("hub",), None)
    assert coco.carriers == (outcomes[3], outcomes[1])
    assert (coco.seconds, coco.rate_bytes_per_s, coco.size_bytes) == (600 / 200 + 400 / 100, 100, 1000)


def test_an_unknown_speed_or_size_gives_no_time() -> None:
    """No time is invented."""
    (verdict,) = judge(NEEDS[:1], [outcome("hub", DIRECT)])
    assert verdict == Verdict(dataset="cc3m", carriers=(outcome("hub", DIRECT),), size_bytes=1000)
    (verdict,) = judge([replace(NEEDS[0], size_bytes=None)], [outcome("hub", DIRECT, 9)])
    assert (verdict.seconds, verdict.size_bytes, verdict.carried) == (None, None, True)


@pytest.mark.parametrize(
    ("outcomes", "command"),
    [
        ([outcome("hub", DIRECT, 9), outcome("s3", DIRECT, 9)], "g3m get cc3m coco"),
        ([outcome("hub", NAMED, 9), outcome("s3", DIRECT, 9)], "g3m get cc3m coco"),
        ([outcome("hub", FOUND, 9), outcome("s3", DIRECT, 9)], f"g3m get cc3m coco --proxy {PROXY}"),
        ([outcome("hub", FOUND, 9, works=False), outcome("s3", DIRECT, 9)], "g3m get coco"),
        (
            [outcome("hub", DIRECT, 9), outcome("hub", FOUND, 17), outcome("s3", DIRECT, 90)],
            "g3m get cc3m coco",
        ),
        (
            [outcome("hub", DIRECT, 9), outcome("hub", FOUND, 99), outcome("s3", DIRECT, 90)],
            f"g3m get cc3m coco --proxy {PROXY}",
        ),
        (
            [
                outcome("hub", NAMED, works=False, proxy_broken=True),
                outcome("hub", DIRECT, 9),
                outcome("s3", DIRECT, 9),
            ],
            "g3m get cc3m coco --no-proxy",
        ),
        (
            [outcome("hub", NAMED, works=False), outcome("hub", DIRECT, 9), outcome("s3", DIRECT, 9)],
            "g3m get cc3m coco",
        ),
        ([outcome("hub", DIRECT, works=False)], ""),
        ([], ""),
    ],
)
def test_one_command(outcomes: list[Outcome], command: str) -> None:
    """The shortest line that brings most; a proxy is only added where it brings more or saves half the time."""
    assert choose(NEEDS, outcomes).command == command


def test_another_endpoint() -> None:
    """Where the mirror fails and the hub works, HF_ENDPOINT is in the line; where both work, it is not."""
    needs = [Need(dataset="cc3m", places=("mirror", "hub"), size_bytes=9)]
    other = outcome("hub", DIRECT, 9, endpoint="https://hub")
    failing = outcome("mirror", DIRECT, works=False)
    assert choose(needs, [failing, other]).command == "HF_ENDPOINT=https://hub g3m get cc3m"
    assert choose(needs, [outcome("mirror", DIRECT, 9), other]).command == "g3m get cc3m"


def test_the_same_speed_needs_no_words() -> None:
    """Among equals that is taken which is in use already, and then that which needs no proxy."""
    needs = [Need(dataset="cc3m", places=("hub",), size_bytes=90)]
    plain, said, moved = (
        outcome("hub", NAMED, 9),
        outcome("hub", FOUND, 9),
        outcome("hub", DIRECT, 9, endpoint="https://hub"),
    )
    for outcomes in ([said, moved, plain], [plain, moved, said], [moved, said, plain]):
        assert judge(needs, outcomes)[0].carriers == (plain,)
    assert judge(needs, [moved, said])[0].carriers == (said,)
    assert judge(needs, [plain, outcome("hub", FOUND, 10)])[0].seconds == 9.0
    assert judge(needs, [outcome("hub", FOUND), outcome("hub", DIRECT, 0.5)])[0].rate_bytes_per_s == 0.5


def test_half_the_time_is_not_enough_for_a_longer_line() -> None:
    """A proxy is only proposed if it takes less than half the time, or brings a dataset more."""
    needs = [Need(dataset="cc3m", places=("hub",), size_bytes=100)]
    assert choose(needs, [outcome("hub", DIRECT, 10), outcome("hub", FOUND, 20)]).command == "g3m get cc3m"
    assert (
        choose(needs, [outcome("hub", DIRECT, 10), outcome("hub", FOUND, 20.1)]).command
        == f"g3m get cc3m --proxy {PROXY}"
    )


def test_a_way_is_said_if_nothing_else_names_it() -> None:
    """A proxy of the command line, or one that was found running, has to be said; one of a variable or a file has not."""
    origins = ("--proxy", "listener", "https_proxy", "g3m.toml", "")
    assert [Way(proxy="p", origin=origin).must_be_said for origin in origins] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_missing_part_is_named_once() -> None:
    """All places of the parts that nothing carries, each once; what nothing at all carries has no speed."""
    (verdict,) = judge([NEEDS[1], NEEDS[2]], [])
    assert (verdict.missing, verdict.carriers, verdict.rate_bytes_per_s, verdict.seconds) == (
        ("s3", "http://coco"),
        (),
        None,
        None,
    )
    assert verdict.size_bytes == 1000
    (verdict,) = judge([NEEDS[1], NEEDS[2]], [outcome("s3", DIRECT, 10)])
    assert (verdict.carriers, verdict.seconds) == ((outcome("s3", DIRECT, 10),), 100.0)


def test_a_command_is_quoted() -> None:
    """A name from a file cannot become a second command."""
    line = Choice(datasets=("./a b;rm.toml",), proxy="http://***@h:1").command
    assert line == "g3m get './a b;rm.toml' --proxy 'http://***@h:1'"


def test_the_words_of_a_diagnosis() -> None:
    """The stages in their order, what counts as slow and as throttled, and which causes concern a whole proxy."""
    assert STAGES == ("dns", "tcp", "proxy", "tls", "answer", "body", "done")
    assert (SLOW_BYTES_PER_S, THROTTLED_RATIO) == (100_000, 2.0)
    assert {"works", "slow", "throttled", "breaks", "whole-only"} == WORKING
    assert {
        f"proxy-{word}" for word in ("name", "dead", "silent", "scheme", "login", "tls", "mute")
    } == PROXY_WIDE
    assert set(CAUSES) >= WORKING | PROXY_WIDE
    assert all(english and chinese for english, chinese in CAUSES.values())
    hop = Hop(host="a")
    assert (hop.scheme, hop.proxy, hop.stage, hop.code, hop.status, hop.proxy_status, hop.body_bytes) == (
        "https",
        "",
        "done",
        0,
        0,
        0,
        0,
    )
    assert (hop.flags, hop.addresses, hop.leads_to, hop.repair, hop.signed_in, hop.size_bytes) == (
        frozenset(),
        (),
        "",
        "",
        False,
        None,
    )
    assert (hop.dns_s, hop.tcp_s, hop.tls_s, hop.answer_s) == (None,) * 4


def test_where_slow_and_throttled_begin() -> None:
    """Exactly twice as fast is not throttled, exactly 100 kB a second not slow; without a measurement it works."""

    def verdict(*rates: tuple[int, float | None]) -> str:
        speeds = tuple(
            Speed(connections=count, body_bytes=1, seconds=1.0, rate_bytes_per_s=rate)
            for count, rate in rates
        )
        return diagnose(Probe(hops=(Hop(host="a.example", status=206),), speeds=speeds)).key

    assert verdict((1, 1e6), (4, 2e6)) == "works"
    assert verdict((1, 1e6), (4, 2.0001e6)) == "throttled"
    assert verdict((1, 100_000)) == "works"
    assert verdict((1, 99_999)) == "slow"
    assert verdict((4, 99_999)) == "slow"
    assert verdict() == verdict((1, None)) == "works"
