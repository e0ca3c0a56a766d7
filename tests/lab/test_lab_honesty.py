"""The origin without mischief: what a correct HTTP/1.1 file host answers."""

from __future__ import annotations

import base64
import hashlib
import http.client
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from g3m.lab.origin import Origin

BLOB_BYTES = 300_000
Fetch = Callable[..., Any]


def test_a_whole_file_comes_with_its_validators(address: str, blob: Path, fetch: Fetch) -> None:
    """GET brings every byte, its length, a strong ETag, a date, and the offer of ranges."""
    answer = fetch(address)
    assert (answer.status, answer.body, answer.error) == (200, blob.read_bytes(), None)
    assert answer.headers["content-length"] == str(BLOB_BYTES)
    assert answer.headers["etag"] == f'"{hashlib.md5(answer.body).hexdigest()}"'
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["accept-ranges"] == "bytes"
    assert "content-encoding" not in answer.headers


def test_requests_agrees(address: str, blob: Path) -> None:
    """A usual client, which offers gzip, gets the plain bytes, too."""
    answer = requests.get(address, timeout=30)
    assert answer.content == blob.read_bytes()
    assert requests.get(address, headers={"Range": "bytes=5-9"}, timeout=30).content == (answer.content[5:10])


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=299999-", 299_999, 299_999),
        ("bytes=1000-", 1_000, 299_999),
        ("bytes=-7", 299_993, 299_999),
        ("bytes=-999999", 0, 299_999),
        ("bytes=299990-400000", 299_990, 299_999),
        ("BYTES=5-6", 5, 6),
    ],
)
def test_single_ranges(address: str, blob: Path, fetch: Fetch, asked: str, first: int, last: int) -> None:
    """Each spelling of a range brings exactly those bytes, and says which they are."""
    answer = fetch(address, Range=asked)
    assert answer.status == 206
    assert answer.body == blob.read_bytes()[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{BLOB_BYTES}"
    assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=300000-", "bytes=300000-300001", "bytes=-0"])
def test_ranges_outside_the_file(address: str, fetch: Fetch, asked: str) -> None:
    """A range of which nothing exists is refused, with the true size in the refusal."""
    answer = fetch(address, Range=asked)
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{BLOB_BYTES}"
    assert b"<Code>InvalidRange</Code>" in answer.body


@pytest.mark.parametrize("asked", ["bytes=9-3", "bytes=0-1,5-6", "lines=1-2", "bytes=x-", "bytes=-"])
def test_other_range_headers_are_ignored(address: str, fetch: Fetch, asked: str) -> None:
    """Invalid, unknown and multiple ranges get the whole file, as RFC 9110 allows or demands."""
    answer = fetch(address, Range=asked)
    assert (answer.status, len(answer.body)) == (200, BLOB_BYTES)


def test_if_range_joins_only_the_same_version(address: str, fetch: Fetch) -> None:
    """A range under a condition comes as 206 for this version and as the whole file for another."""
    known = fetch(address, method="HEAD").headers
    for validator, status in (
        (known["etag"], 206),
        (known["last-modified"], 206),
        ('"another"', 200),
        (f"W/{known['etag']}", 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ):
        answer = fetch(address, Range="bytes=10-19", If_Range=validator)
        assert (answer.status, len(answer.body)) == (status, 10 if status == 206 else BLOB_BYTES)


def test_if_match_and_if_none_match(address: str, fetch: Fetch) -> None:
    """Conditions on the ETag are honoured: 412 for another version, 304 for the same."""
    etag = fetch(address, method="HEAD").headers["etag"]
    assert fetch(address, If_Match=etag).status == 200
    assert fetch(address, If_Match='"another"').status == 412
    same = fetch(address, If_None_Match=f'"another", {etag}')
    assert (same.status, same.body, same.error) == (304, b"", None)
    assert fetch(address, If_None_Match='"another"').status == 200


def test_head_is_get_without_the_body(address: str, fetch: Fetch) -> None:
    """HEAD tells what GET would, sends nothing, and knows no ranges."""
    head = fetch(address, method="HEAD", Range="bytes=0-1")
    get = fetch(address)
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}


def test_an_empty_file(origin: Origin, tmp_path: Path, fetch: Fetch) -> None:
    """No bytes are a valid file, of which no range exists."""
    (tmp_path / "empty").touch()
    origin.mount("/empty", tmp_path / "empty")
    assert (fetch(f"{origin.url}/empty").status, fetch(f"{origin.url}/empty").body) == (200, b"")
    assert fetch(f"{origin.url}/empty", Range="bytes=0-").status == 416
    assert fetch(f"{origin.url}/empty", Range="bytes=-5").status == 416


@pytest.mark.usefixtures("address")
@pytest.mark.parametrize(
    "path", ["/files/none.bin", "/files", "/files/../secret", "/files/%2e%2e/secret", "/files/%00"]
)
def test_what_is_not_there_is_not_found(origin: Origin, blob: Path, fetch: Fetch, path: str) -> None:
    """Missing files, folders and ways out of the folder get S3's 404."""
    (blob.parent.parent / "secret").write_text("secret")
    answer = fetch(origin.url + path)
    assert answer.status == 404
    assert b"<Code>NoSuchKey</Code>" in answer.body


def test_a_name_may_hold_any_letter(origin: Origin, blob: Path, fetch: Fetch) -> None:
    """Paths are percent-decoded, once."""
    blob.with_name("a b%20ü.txt").write_text("here")
    origin.mount("files/", blob.parent)
    assert fetch(f"{origin.url}/files/a%20b%2520%C3%BC.txt?x=1").body == b"here"
    assert origin.requests[-1].path == "/files/a b%20ü.txt"
    assert origin.requests[-1].query == "x=1"


def test_the_longest_prefix_wins(origin: Origin, address: str, blob: Path, fetch: Fetch) -> None:
    """A file mounted inside a mounted folder is the one that is served, and `/` takes the rest."""
    other = blob.with_name("other")
    other.write_text("other")
    origin.mount("/files/blob.bin", other)
    origin.mount("/", blob.parent)
    assert fetch(address).body == b"other"
    assert fetch(f"{origin.url}/other").body == b"other"


def test_a_google_mount_states_its_md5(origin: Origin, blob: Path, fetch: Fetch) -> None:
    """Google storage's header carries the digest of the whole file, also with a range."""
    origin.mount("/bucket", blob.parent, google=True)
    md5 = base64.b64encode(hashlib.md5(blob.read_bytes()).digest()).decode()
    answer = fetch(f"{origin.url}/bucket/blob.bin", Range="bytes=0-9")
    assert answer.headers["x-goog-hash"] == f"md5={md5}"


def test_an_upload_in_parts_has_an_etag_that_is_no_md5(origin: Origin, blob: Path, fetch: Fetch) -> None:
    """S3's multipart ETag is the MD5 of the parts' MD5s and their number."""
    origin.mount("/parts", blob.parent, part_bytes=200_000)
    content = blob.read_bytes()
    digests = [hashlib.md5(part).digest() for part in (content[:200_000], content[200_000:])]
    expected = f'"{hashlib.md5(b"".join(digests)).hexdigest()}-2"'
    assert fetch(f"{origin.url}/parts/blob.bin").headers["etag"] == expected


def test_a_file_written_anew_has_a_new_etag(address: str, blob: Path, fetch: Fetch) -> None:
    """Digests are remembered no longer than the file stays as it is."""
    before = fetch(address).headers["etag"]
    blob.write_bytes(b"short")
    after = fetch(address)
    assert after.body == b"short"
    assert after.headers["etag"] != before


def test_a_connection_is_kept_alive(address: str) -> None:
    """Answers of every kind leave the connection ready for the next request."""
    parts = urlsplit(address)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.connect()
        first = connection.sock
        for method, path, headers in (
            ("GET", parts.path, {"Range": "bytes=0-99"}),
            ("HEAD", parts.path, {}),
            ("GET", "/missing", {}),
            ("GET", parts.path, {"If-None-Match": "*"}),
            ("GET", parts.path, {"Range": "bytes=999999-"}),
            ("GET", parts.path, {}),
        ):
            connection.request(method, path, headers=headers)
            connection.getresponse().read()
            assert connection.sock is first


@pytest.mark.usefixtures("address")
def test_http_1_0_is_answered_and_closed(origin: Origin) -> None:
    """An old client gets its bytes and the end of the connection."""
    answer = _raw(origin, "GET /files/blob.bin HTTP/1.0\r\nRange: bytes=0-3\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 206 ")
    assert b"Connection: close" in answer


def test_absolute_targets_are_understood(origin: Origin, address: str, blob: Path) -> None:
    """The form in which clients ask a proxy names the same file."""
    text = f"GET {address} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert _raw(origin, text).endswith(blob.read_bytes())


def _raw(origin: Origin, text: str) -> bytes:
    """Send a text as it is, and return everything until the server closes."""
    parts = urlsplit(origin.url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=30)) as connection:
        connection.connect()
        connection.sock.sendall(text.encode())
        received = b""
        while piece := connection.sock.recv(65536):
            received += piece
    return received


def test_other_methods_are_refused_and_recorded(origin: Origin, address: str) -> None:
    """Nothing can be sent here, and whoever tries is in the record with what he showed."""
    answer = requests.post(address, data=b"x" * 10, headers={"Authorization": "t"}, timeout=30)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    (request,) = origin.requests
    assert (request.method, request.headers["authorization"]) == ("POST", "t")
