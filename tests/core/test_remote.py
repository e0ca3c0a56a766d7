"""core/remote.py: which addresses are meant, and which answers are believed."""

from __future__ import annotations

from typing import Any

import pytest

from g3m.core.errors import (
    Changed,
    G3MError,
    Missing,
    NotVerified,
    Refused,
    SettingsError,
    Throttled,
    UnknownDataset,
    Unreachable,
)
from g3m.core.remote import Version, accept, compare, file_address, first_look, folder_address, parse_size
from g3m.core.resume import Answer

SHARD = "https://host/coco/00000.tar"
KNOWN = Version(1000, '"a"')


def answer(status: int = 206, range_: str = "", **headers: str) -> Answer:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    if range_:
        found["content-range"] = range_
    return Answer(status=status, headers=found)


@pytest.mark.parametrize(
    ("text", "variables", "address"),
    [
        ("https://host/a/b", {}, "https://host/a/b/"),
        ("https://host/a/b/", {}, "https://host/a/b/"),
        ("https://host", {}, "https://host/"),
        ("http://127.0.0.1:8080/ü x".replace(" ", "%20"), {}, "http://127.0.0.1:8080/%C3%BC%20x/"),
        ("s3://bucket/a/b", {}, "https://bucket.s3.amazonaws.com/a/b/"),
        ("s3://bucket", {}, "https://bucket.s3.amazonaws.com/"),
        ("s3://images.host.org/a", {}, "https://s3.amazonaws.com/images.host.org/a/"),
        ("s3://bucket/a", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "http://127.0.0.1:9/bucket/a/"),
        (
            "s3://bucket/a",
            {"AWS_ENDPOINT_URL": "http://no", "AWS_ENDPOINT_URL_S3": "https://minio/x/"},
            "https://minio/x/bucket/a/",
        ),
    ],
)
def test_addresses_of_folders(text: str, variables: dict[str, str], address: str) -> None:
    """Each form has one web address, which ends with a slash; a bucket goes where its endpoint is."""
    assert folder_address(text, variables) == address


@pytest.mark.parametrize(
    "text",
    [
        "ftp://host/a",
        "coco",
        "https://",
        "https://me:secret@host/a",
        "https://host/a?sig=secret",
        "https://host/a#secret",
        "https://host:port/a",
        "https://[::1/a",
        "https://host/a b",
        "https://host/a\nb",
        "s3://Bucket_/a",
        "s3://b/a",
    ],
)
def test_addresses_that_are_none(text: str) -> None:
    """What cannot be the address of a folder is said before any request, and no secret with it."""
    with pytest.raises(UnknownDataset) as caught:
        folder_address(text, {})
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert "s3://" in caught.value.hint[0]
    assert "s3://" in caught.value.hint[1]


@pytest.mark.parametrize(
    "endpoint", ["host", "ftp://host", "https://me:secret@host", "http://h/?secret", "http://["]
)
def test_endpoints_that_are_none(endpoint: str) -> None:
    """An AWS_ENDPOINT_URL that cannot be used is named; a login in it is not shown."""
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL") as caught:
        folder_address("s3://bucket/a", {"AWS_ENDPOINT_URL": endpoint})
    assert "secret" not in caught.value.message


def test_addresses_of_files() -> None:
    """A name is quoted, and stays below its folder."""
    assert file_address("https://host/a/", "x/00 ü?.tar") == "https://host/a/x/00%20%C3%BC%3F.tar"
    assert file_address("https://host/a/", "http:x") == "https://host/a/http%3Ax"
    for name in ("", "../b", "/b", "a//b", "a/", ".", "a/..", "..\\b"):
        with pytest.raises(NotVerified, match="no name of a file"):
            file_address("https://host/a/", name)


@pytest.mark.parametrize(
    ("found", "version"),
    [
        (answer(range_="bytes 0-0/1000", etag='"a"'), KNOWN),
        (answer(range_="bytes 0-0/7", last_modified="Mon"), Version(7, "Mon")),
        (answer(range_="bytes 0-0/7", last_modified="Mon", etag='W/"a"'), Version(7, 'Mon W/"a"')),
        (answer(range_="bytes 0-0/7"), Version(7, "")),
        (answer(200, content_length="0", etag='"e"'), Version(0, '"e"')),
        (answer(416, range_="bytes */0"), Version(0, "")),
    ],
)
def test_what_the_first_look_tells(found: Answer, version: Version) -> None:
    """Size and validator come from the answer; a weak ETag counts with its date; an empty file is one."""
    assert first_look(SHARD, found) == version


@pytest.mark.parametrize(
    ("found", "error", "words"),
    [
        (answer(200, content_length="1000"), Changed, "does not answer ranges"),
        (answer(200, content_length="10", content_type="text/html"), Changed, "web page"),
        (answer(206, "bytes 0-0/10", content_type="text/html; charset=utf-8"), Changed, "web page"),
        (answer(206), Changed, "Content-Range"),
        (answer(206, "bytes 0-0/*"), Changed, "how large"),
        (answer(206, "bytes 1-1/10"), Changed, "asked for"),
        (answer(206, "bytes 0-9/10"), Changed, "byte 0, got 0-9"),
        (answer(206, "bytes 0-0/10", content_encoding="gzip"), Changed, "encoding"),
        (answer(404), Missing, "404"),
        (answer(403), Refused, "403"),
        (answer(401), Refused, "401"),
        (answer(429, retry_after="3"), Throttled, "429"),
        (answer(503), Throttled, "503"),
        (answer(500), Unreachable, "500"),
        (answer(302), Changed, "302"),
    ],
)
def test_answers_that_are_not_believed(found: Answer, error: type[G3MError], words: str) -> None:
    """Whatever is no honest first byte is an error that names the file and says what came."""
    with pytest.raises(error, match=words) as caught:
        first_look(SHARD, found)
    assert SHARD in caught.value.message


def test_a_refusal_says_that_nothing_is_signed() -> None:
    """403 of a bucket says that requests to S3 are not signed; of another host, that no token is sent."""
    for check in (
        lambda bucket: first_look(SHARD, answer(403), bucket=bucket),
        lambda bucket: accept(SHARD, (0, 1), answer(403), KNOWN, bucket=bucket),
    ):
        with pytest.raises(Refused) as caught:
            check(True)
        assert "not signed" in caught.value.hint[0]
        assert "签名" in caught.value.hint[1]
        with pytest.raises(Refused) as caught:
            check(False)
        assert "no token" in caught.value.hint[0]


def test_exactly_what_was_asked_for_is_accepted() -> None:
    """The range asked for, of the version known, passes."""
    accept(SHARD, (10, 20), answer(206, "bytes 10-19/1000", etag='"a"'), KNOWN)
    accept(SHARD, (999, 1000), answer(206, "bytes 999-999/1000", etag='"a"'), KNOWN)
    accept(SHARD, (10, 20), answer(206, "bytes 10-19/*", etag='"a"'), KNOWN)


@pytest.mark.parametrize(
    ("found", "error", "words"),
    [
        ({"range_": "bytes 10-19/1000", "etag": '"b"'}, NotVerified, "another ETag"),
        ({"range_": "bytes 10-19/1000"}, NotVerified, "another ETag"),
        ({"range_": "bytes 10-19/999", "etag": '"a"'}, NotVerified, "had 1000 bytes and has 999 now"),
        ({"range_": "bytes 10-18/1000", "etag": '"a"'}, Changed, "got 10-18"),
        ({"range_": "bytes 10-20/1000", "etag": '"a"'}, Changed, "got 10-20"),
        ({"range_": "bytes 9-19/1000", "etag": '"a"'}, Changed, "got 9-19"),
        ({"range_": "bytes 11-19/1000", "etag": '"a"'}, Changed, "got 11-19"),
        ({"range_": "", "etag": '"a"'}, Changed, "Content-Range"),
        ({"status": 200, "content_length": "1000", "etag": '"a"'}, Changed, "does not answer ranges"),
        ({"status": 200, "content_type": "text/html"}, Changed, "web page"),
        ({"status": 416, "range_": "bytes */5"}, G3MError, "416"),
        ({"status": 404}, Missing, "404"),
    ],
)
def test_what_is_not_that_range_of_that_version(
    found: dict[str, Any], error: type[G3MError], words: str
) -> None:
    """Another version is NotVerified, another range Changed; each names the file."""
    with pytest.raises(error, match=words) as caught:
        accept(SHARD, (10, 20), answer(**found), KNOWN)
    assert SHARD in caught.value.message


def test_sizes_are_compared_with_the_manifest() -> None:
    """A shard that is not as long as the manifest says is named, with both sizes; without a manifest all is well."""
    compare(SHARD, KNOWN, 1000)
    compare(SHARD, KNOWN, None)
    with pytest.raises(NotVerified, match=r"00000\.tar: has 1000 bytes on the server, 1001 by the manifest"):
        compare(SHARD, KNOWN, 1001)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("20G", 20 * 10**9), ("500 MB", 5 * 10**8), ("1.5k", 1500), ("7", 7)]
)
def test_sizes_of_the_cache(text: str, size: int) -> None:
    """Sizes are decimal, as everywhere."""
    assert parse_size(text, "G3M_CACHE_LIMIT") == size


@pytest.mark.parametrize("text", ["", "much", "-1", "1e9", "20 Gi", "1.2.3"])
def test_sizes_that_are_none(text: str) -> None:
    """What is no size is named with its variable."""
    with pytest.raises(SettingsError, match="G3M_CACHE_LIMIT"):
        parse_size(text, "G3M_CACHE_LIMIT")


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("0", 0), ("1B", 1), ("1K", 1000), ("1 KB", 1000), ("2m", 2_000_000), ("1.5G", 1_500_000_000), ("1T", 10**12), (" 7 ", 7),
     ("9" * 15, 10**15 - 1), ("1.123456M", 1_123_456)],
)  # fmt: skip
def test_sizes(text: str, size_bytes: int) -> None:
    """Decimal units, in either case, with a blank before them or none."""
    assert parse_size(text, "X") == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "K", "1.", ".5G", "1.G", "1X", "1KK", "1  K", "-1", "1" * 16, "1.1234567M", "1KiB", "1e3", "٣"],
)
def test_what_is_no_size(text: str) -> None:
    """Half a number, another unit, or more digits than anybody has bytes: the words name the option."""
    with pytest.raises(SettingsError, match=r"^X: .* is no size"):
        parse_size(text, "X")


@pytest.mark.parametrize(
    ("status", "headers", "size_bytes"),
    [
        (200, {"content-length": "0"}, 0),
        (416, {"content-range": "bytes */0"}, 0),
        (416, {"content-range": " bytes */0 "}, 0),
    ],
)
def test_an_empty_file(status: int, headers: dict[str, str], size_bytes: int) -> None:
    """It has no first byte, which servers say in two ways."""
    found = first_look("https://a/b", Answer(status=status, headers={**headers, "etag": '"v"'}))
    assert (found.size_bytes, found.validator) == (size_bytes, '"v"')


@pytest.mark.parametrize(
    ("status", "headers"),
    [(206, {"content-range": "bytes */0"}), (416, {"content-range": "bytes */5"}), (416, {}), (200, {}), (200, {"content-length": "5"}),
     (206, {"content-range": "bytes 0-0/*"}), (206, {"content-range": "bytes 0-1/5"}), (207, {"content-type": "text/html"}),
     (206, {"content-range": "bytes 0-0/5", "content-type": "text/html"})],
)  # fmt: skip
def test_what_does_not_say_how_large_a_file_is(status: int, headers: dict[str, str]) -> None:
    """Every other answer to a request for the first byte is an error."""
    with pytest.raises(G3MError):
        first_look("https://a/b", Answer(status=status, headers=headers))
