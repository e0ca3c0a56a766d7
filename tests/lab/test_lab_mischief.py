"""Every kind of mischief does what it says, as often as it was told, and then honesty returns."""

from __future__ import annotations

import gzip
import http.client
import re
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from g3m.lab.messages import Delivery
from g3m.lab.mischief import (
    KINDS,
    Changed,
    Cut,
    Encoding,
    Flip,
    Gzip,
    IgnoreRange,
    Longer,
    NoLength,
    Page,
    Redirect308,
    RedirectLoop,
    RedirectTo,
    Reset,
    Shorter,
    Silence,
    Stall,
    Status,
    Trickle,
    WrongRange,
)
from g3m.lab.origin import Origin

BLOB_BYTES = 300_000
BLOB = "*/blob.bin"
Fetch = Callable[..., Any]


def test_every_kind_is_tested() -> None:
    """A kind that nobody tests cannot be trusted to spoil anything."""
    for kind in KINDS:
        words = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", "_", kind.__name__).lower()
        assert any(name.startswith(f"test_{words}") for name in globals()), kind


@pytest.mark.parametrize("after_bytes", [0, 1, 65_536, 100_001])
def test_cut(origin: Origin, address: str, blob: Path, fetch: Fetch, after_bytes: int) -> None:
    """The body ends in good order after exactly so many bytes, though more were announced."""
    origin.mischief(BLOB, Cut(after_bytes))
    answer = fetch(address)
    assert (answer.status, answer.error) == (200, "IncompleteRead")
    assert answer.headers["content-length"] == str(BLOB_BYTES)
    assert answer.body == blob.read_bytes()[:after_bytes]
    assert origin.requests[-1].sent_bytes == after_bytes
    assert fetch(address).body == blob.read_bytes()


@pytest.mark.parametrize("after_bytes", [0, 1, 65_536, 200_000])
def test_reset(origin: Origin, address: str, blob: Path, fetch: Fetch, after_bytes: int) -> None:
    """The connection is reset, and what was sent before has arrived."""
    origin.mischief(BLOB, Reset(after_bytes))
    answer = fetch(address)
    assert (answer.status, answer.error) == (200, "ConnectionResetError")
    assert answer.body == blob.read_bytes()[:after_bytes]
    assert fetch(address).error is None


def test_cut_counts_from_the_begin_of_the_answer(
    origin: Origin, address: str, blob: Path, fetch: Fetch
) -> None:
    """In a range, `after_bytes` are bytes of the range."""
    origin.mischief(BLOB, Cut(10))
    answer = fetch(address, Range="bytes=1000-1999")
    assert answer.body == blob.read_bytes()[1000:1010]


def test_stall(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """Silence in the middle trips an impatient client; the rest follows for one that waits."""
    origin.mischief(BLOB, Stall(after_bytes=1000, for_s=60))
    origin.mischief(BLOB, Stall(after_bytes=1000, for_s=0.6))
    impatient = fetch(address, timeout_s=1.0)
    assert (impatient.body, impatient.error) == (blob.read_bytes()[:1000], "TimeoutError")
    started_s = time.monotonic()
    patient = fetch(address)
    assert patient.body == blob.read_bytes()
    assert 0.6 <= time.monotonic() - started_s < 30


def test_silence(origin: Origin, address: str, fetch: Fetch) -> None:
    """Nothing at all is answered: at once as on a stale connection, or after a wait."""
    origin.mischief(BLOB, Silence())
    with pytest.raises(http.client.RemoteDisconnected):
        fetch(address)
    origin.mischief(BLOB, Silence(for_s=60))
    with pytest.raises(TimeoutError):
        fetch(address, timeout_s=0.1)
    assert [request.status for request in origin.requests] == [0, 0]
    assert fetch(address).status == 200


def test_trickle(origin: Origin, address: str, fetch: Fetch) -> None:
    """Bytes come at the rate that was said."""
    origin.mischief(BLOB, Trickle(bytes_per_s=100_000))
    started_s = time.monotonic()
    answer = fetch(address, Range="bytes=0-39999")
    assert len(answer.body) == 40_000
    assert 0.35 < time.monotonic() - started_s < 30


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=70000-80000", "bytes=-299000"])
def test_flip(origin: Origin, address: str, fetch: Fetch, asked: str) -> None:
    """One byte is wrong, the same one in whatever range it comes."""
    honest = fetch(address, Range=asked)
    origin.mischief(BLOB, Flip(offset=70_001))
    spoiled = fetch(address, Range=asked)
    wrong = [
        place
        for place, (one, other) in enumerate(zip(honest.body, spoiled.body, strict=True))
        if one != other
    ]
    first = int(honest.headers["content-range"].split()[1].split("-")[0])
    assert [first + place for place in wrong] == [70_001]
    assert spoiled.headers["etag"] == honest.headers["etag"]


def test_flip_waits_for_the_range_that_has_its_byte(
    origin: Origin, address: str, blob: Path, fetch: Fetch
) -> None:
    """Requests that the mischief has no hold on do not use it up."""
    origin.mischief(BLOB, Flip(offset=5_000))
    for asked, is_spoiled in (("bytes=0-4999", False), ("bytes=5000-", True), ("bytes=0-", False)):
        answer = fetch(address, Range=asked)
        first = 5_000 if is_spoiled else 0
        assert (answer.body != blob.read_bytes()[first : first + len(answer.body)]) is is_spoiled
    assert fetch(address, method="HEAD").status == 200


def test_ignore_range(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """A range is answered with 200 and everything."""
    origin.mischief(BLOB, IgnoreRange())
    assert fetch(address).status == 200
    answer = fetch(address, Range="bytes=5-9")
    assert (answer.status, answer.body) == (200, blob.read_bytes())
    assert fetch(address, Range="bytes=5-9").status == 206


def test_wrong_range(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """Content-Range names other bytes than were asked for and are sent."""
    origin.mischief(BLOB, WrongRange(shift_bytes=100))
    answer = fetch(address, Range="bytes=1000-1999")
    assert (answer.status, answer.body) == (206, blob.read_bytes()[1000:2000])
    assert answer.headers["content-range"] == f"bytes 1100-2099/{BLOB_BYTES}"


def test_status(origin: Origin, address: str, fetch: Fetch) -> None:
    """Any status, with Retry-After and a body of one's own if wanted."""
    origin.mischief(BLOB, Status(503, retry_after=7))
    origin.mischief(BLOB, Status(429, retry_after="Thu, 01 Jan 2026 00:00:00 GMT", body="slower"))
    busy, throttled, honest = fetch(address), fetch(address), fetch(address)
    assert (busy.status, busy.headers["retry-after"]) == (503, "7")
    assert b"SlowDown" in busy.body
    assert (throttled.status, throttled.body) == (429, b"slower")
    assert throttled.headers["retry-after"].endswith("GMT")
    assert honest.status == 200


def test_page(origin: Origin, address: str, fetch: Fetch) -> None:
    """A captive portal answers everything, ranges too, with 200 and its own page."""
    origin.mischief(BLOB, Page())
    answer = fetch(address, Range="bytes=0-99")
    assert (answer.status, answer.error) == (200, None)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")
    assert "etag" not in answer.headers


def test_gzip(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """The file comes compressed, unasked, without length and with a weak ETag."""
    origin.mischief(BLOB, Gzip(), times=2)
    answer = fetch(address, Range="bytes=0-99", Accept_Encoding="identity")
    assert (answer.status, answer.headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(answer.body) == blob.read_bytes()
    assert "content-length" not in answer.headers
    assert answer.headers["etag"].startswith('W/"')
    assert origin.requests[-1].sent_bytes == len(answer.body)
    assert requests.get(address, timeout=30).content == blob.read_bytes()


def test_encoding(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """The header claims an encoding, and the bytes are plain."""
    origin.mischief(BLOB, Encoding("gzip"))
    answer = fetch(address)
    assert (answer.headers["content-encoding"], answer.body) == ("gzip", blob.read_bytes())


def test_changed(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """Another version: same length, other validators and bytes, true to itself under conditions."""
    old = fetch(address)
    origin.mischief(BLOB, Changed(), times=None)
    new = fetch(address)
    assert len(new.body) == len(old.body)
    assert all(one != other for one, other in zip(new.body, old.body, strict=True))
    assert new.headers["etag"] != old.headers["etag"]
    assert new.headers["last-modified"] != old.headers["last-modified"]
    resumed = fetch(address, Range="bytes=10-19", If_Range=old.headers["etag"])
    assert (resumed.status, resumed.body) == (200, new.body)
    joined = fetch(address, Range="bytes=10-19", If_Range=new.headers["etag"])
    assert (joined.status, joined.body) == (206, new.body[10:20])
    origin.be_honest()
    assert fetch(address).body == blob.read_bytes()


def test_shorter(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """Fewer bytes are announced than sent: the client takes it for a whole answer."""
    origin.mischief(BLOB, Shorter(by_bytes=1000))
    answer = fetch(address)
    assert (answer.status, answer.error) == (200, None)
    assert answer.body == blob.read_bytes()[:-1000]
    assert origin.requests[-1].sent_bytes == BLOB_BYTES


def test_longer(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """More bytes are announced than come before the connection closes."""
    origin.mischief(BLOB, Longer(by_bytes=1000))
    answer = fetch(address)
    assert answer.headers["content-length"] == str(BLOB_BYTES + 1000)
    assert (answer.body, answer.error) == (blob.read_bytes(), "IncompleteRead")


def test_no_length(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """The body comes in chunks, whole or as a range, and the connection stays usable."""
    origin.mischief(BLOB, NoLength(), times=2)
    whole, part = fetch(address), fetch(address, Range="bytes=5-9")
    assert whole.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in whole.headers
    assert (whole.body, whole.error) == (blob.read_bytes(), None)
    assert (part.status, part.body) == (206, blob.read_bytes()[5:10])
    origin.mischief(BLOB, NoLength())
    with requests.Session() as session:
        assert session.get(address, timeout=30).content == session.get(address, timeout=30).content


def test_redirect_to(origin: Origin, address: str, fetch: Fetch) -> None:
    """A 302 leads to a given URL, or with a bare host to the same path there."""
    origin.mischief(BLOB, RedirectTo("http://127.0.0.1:1/login"))
    answer = fetch(address)
    assert (answer.status, answer.headers["location"]) == (302, "http://127.0.0.1:1/login")
    origin.mischief(BLOB, RedirectTo("http://127.0.0.1:1"))
    answer = fetch(f"{address}?a=b")
    assert answer.headers["location"] == "http://127.0.0.1:1/files/blob.bin?a=b"


def test_redirect_308(origin: Origin, address: str, blob: Path) -> None:
    """A 308 leads on as a mirror does that wants no strangers."""
    with Origin() as other:
        other.mount("/files", blob.parent)
        origin.mischief(BLOB, Redirect308(other.url))
        answer = requests.get(address, timeout=30)
        assert answer.history[0].status_code == 308
        assert answer.content == blob.read_bytes()
        assert len(other.requests) == 1


def test_redirect_loop(origin: Origin, address: str) -> None:
    """A redirect to itself ends only with the client's patience."""
    origin.mischief(BLOB, RedirectLoop(), times=None)
    with pytest.raises(requests.TooManyRedirects):
        requests.get(f"{address}?a=b", timeout=30)
    assert {request.query for request in origin.requests} == {"a=b"}


def test_mischief_is_written_in_the_record(origin: Origin, address: str, fetch: Fetch) -> None:
    """The record tells which answers were spoiled, by what, and which were not."""
    origin.mischief(BLOB, Status(500), times=2)
    origin.mischief(BLOB, Cut(5))
    for _ in range(4):
        fetch(address)
    names = [request.mischief for request in origin.requests]
    assert names == ["Status", "Status", "Cut", None]


def test_mischief_may_be_kept_to_one_method_and_path(origin: Origin, address: str, fetch: Fetch) -> None:
    """Other paths and other methods stay honest."""
    origin.mischief("/other/*", Status(500), times=None)
    origin.mischief(BLOB, Status(403), times=None, method="HEAD")
    assert fetch(address).status == 200
    assert fetch(address, method="HEAD").status == 403
    assert fetch(f"{origin.url}/other/x").status == 500


@pytest.mark.parametrize("mischief", [Cut(BLOB_BYTES), Reset(BLOB_BYTES), Stall(BLOB_BYTES, 9)])
def test_what_lies_behind_the_end_never_happens(
    origin: Origin, address: str, fetch: Fetch, mischief: Cut | Reset | Stall
) -> None:
    """A point that the body does not reach has no effect, and is not used up by HEAD either."""
    origin.mischief(BLOB, mischief)
    assert fetch(address).error is None
    assert fetch(address, method="HEAD").error is None
    assert [request.mischief for request in origin.requests] == [None, None]


def _delivered(delivery: Delivery) -> Any:
    """A mischief of a test's own: the honest answer, delivered like this."""
    return SimpleNamespace(spoil=lambda exchange: exchange.delivered(delivery))


def test_no_length_at_all(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """The body ends with the connection, at its end or before: nothing in the answer says which."""
    for after_bytes in (None, 1000):
        origin.mischief(BLOB, _delivered(Delivery(unsaid=True, hang_up_after_bytes=after_bytes)))
        answer = fetch(address)
        assert (answer.status, answer.error) == (200, None)
        assert {"content-length", "transfer-encoding"}.isdisjoint(answer.headers)
        assert answer.body == blob.read_bytes()[:after_bytes]


def test_an_answer_behind_the_answer(origin: Origin, address: str, blob: Path) -> None:
    """What nobody asked for lies on the connection where the next answer is expected."""
    behind = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    origin.mischief(BLOB, _delivered(Delivery(behind=behind)))
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=30) as connection:
        connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        with connection.makefile("rb") as file:
            while file.readline().strip():
                pass
            assert file.read(blob.stat().st_size) == blob.read_bytes()
            assert file.read(len(behind)) == behind


def test_spoiled_connections_do_not_spoil_the_next(origin: Origin, address: str) -> None:
    """A session that reconnects after each accident gets honest bytes afterwards."""
    parts = urlsplit(address)
    for mischief in (Cut(10), Reset(10), Shorter(10), Longer(10), Silence()):
        origin.mischief(BLOB, mischief)
    spoiled = 0
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        for _ in range(6):
            try:
                connection.request("GET", parts.path)
                if len(connection.getresponse().read()) != BLOB_BYTES:
                    spoiled += 1
                    connection.close()
            except (OSError, http.client.HTTPException):
                spoiled += 1
                connection.close()
    assert spoiled == 5
