"""core/resume.py: which answers may be appended to a part, and what the others mean."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from g3m.core.digest import Digest
from g3m.core.errors import (
    Changed,
    G3MError,
    Missing,
    Refused,
    Replaced,
    SourceError,
    Throttled,
    Truncated,
    Unreachable,
)
from g3m.core.resume import (
    RETRY_AFTER_LIMIT_S,
    Answer,
    Go,
    Wanted,
    check_end,
    decide,
    is_page,
    refusal,
    retry_after_s,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
PART = Wanted(label="a.zip from host", offset_bytes=5, size_bytes=10, etag='"v1"')
NEW = Wanted(label="a.zip from host", size_bytes=10)

small = st.integers(0, 12)
etags = st.sampled_from(["", '"v1"', '"v2"', 'W/"v1"', 'W/"v3"'])
wanteds = st.builds(
    Wanted,
    label=st.sampled_from(["a.zip from host", "page.html"]),
    offset_bytes=small,
    size_bytes=st.none() | small,
    etag=st.sampled_from(["", '"v1"', '"v2"']),
)
ranges = st.one_of(
    st.builds("bytes {}-{}/{}".format, small, small, small | st.just("*")),
    st.sampled_from(
        ["", "bytes */10", "bytes 5-9", "5-9/10", "bytes -9/10", "bytes 5-9/10, bytes 1-2/10", "Bytes=5-9"]
    ),
)
answers = st.builds(
    lambda status, optional: Answer(status=status, headers=optional),
    st.sampled_from([200, 206, 206, 206]) | st.integers(100, 599),
    st.fixed_dictionaries(
        {},
        optional={
            "content-length": small.map(str) | st.sampled_from(["", "x", "-1", "1.0", "10, 10"]),
            "content-range": ranges,
            "content-encoding": st.sampled_from(["", "identity", "Identity", "gzip", "br", "identity, gzip"]),
            "content-type": st.sampled_from(
                ["application/zip", "text/html; charset=utf-8", "TEXT/HTML", "text/plain"]
            ),
            "etag": etags,
            "retry-after": st.sampled_from(["3", "x"]),
        },
    ),
)


def head(status: int, **headers: str) -> Answer:
    return Answer(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


def table(wanted: Wanted, answer: Answer) -> Go | None:
    """The table of the module's docstring once more, from the raw headers: what to do, or None to refuse."""
    headers = answer.headers
    page = headers.get("content-type", "").lower().startswith("text/html") and not wanted.label.endswith(
        ".html"
    )
    if page or headers.get("content-encoding", "").lower() not in ("", "identity"):
        return None
    size: int | None
    if answer.status == 200:
        length = headers.get("content-length", "")
        first, size = 0, int(length) if length.isdigit() else None
    elif answer.status == 206:
        words = headers.get("content-range", "").replace("-", " ").replace("/", " ").split()
        if len(words) != 4 or words[0] != "bytes" or not words[1].isdigit():
            return None
        first, last = int(words[1]), int(words[2])
        size = None if words[3] == "*" else int(words[3])
        version = headers.get("etag", "")
        other = wanted.etag and version.startswith('"') and version != wanted.etag
        if other or first != wanted.offset_bytes or last < first or (size is not None and last >= size):
            return None
    else:
        return None
    planned = wanted.size_bytes
    return (
        None
        if size is not None and planned is not None and size != planned
        else Go(offset_bytes=first, size_bytes=size)
    )


@given(wanteds, answers)
@example(PART, head(206, content_range="bytes 5-9/10", etag='"v1"'))
@example(PART, head(206, etag='"v2"'))
@example(PART, head(200, content_length="10", etag='"v2"'))
@example(PART, head(200, content_length="10"))
def test_exactly_the_table_is_accepted(wanted: Wanted, answer: Answer) -> None:
    """An answer is taken as the table says or refused with an error of the tree; there is no third way."""
    assume(not (answer.headers.get("content-range", "").endswith("/*") and wanted.size_bytes is not None))
    expected = table(wanted, answer)
    if expected is not None:
        assert decide(wanted, answer, now=NOW) == expected
        return
    with pytest.raises(SourceError) as caught:
        decide(wanted, answer, now=NOW)
    assert wanted.label in str(caught.value)
    if answer.status in (200, 206):
        version = answer.headers.get("etag", "")
        replaced = answer.status == 206 and wanted.etag and version.startswith('"') and version != wanted.etag
        encoded = answer.headers.get("content-encoding", "").lower() not in ("", "identity")
        assert type(caught.value) is (Replaced if replaced and not encoded else Changed)


@given(wanteds, answers)
def test_what_is_accepted_continues_the_part(wanted: Wanted, answer: Answer) -> None:
    """Whatever a server answers: bytes are appended at the part's end from a 206, or from 0 from a 200; never
    from elsewhere, never encoded, never of another size."""
    try:
        go = decide(wanted, answer, now=NOW)
    except G3MError:
        return
    assert answer.status in (200, 206)
    assert go.offset_bytes == (wanted.offset_bytes if answer.status == 206 else 0)
    assert answer.headers.get("content-encoding", "").lower() in ("", "identity")
    assert None in (go.size_bytes, wanted.size_bytes) or go.size_bytes == wanted.size_bytes


@pytest.mark.parametrize(
    ("wanted", "answer", "go"),
    [
        (NEW, head(200, content_length="10"), Go(offset_bytes=0, size_bytes=10)),
        (NEW, head(200), Go(offset_bytes=0, size_bytes=None)),
        (NEW, head(206, content_range="bytes 0-9/10"), Go(offset_bytes=0, size_bytes=10)),
        (PART, head(206, content_range="bytes 5-9/10"), Go(offset_bytes=5, size_bytes=10)),
        (PART, head(206, content_range="bytes 5-7/10"), Go(offset_bytes=5, size_bytes=10)),
        (PART, head(206, content_range="bytes 5-9/*"), Go(offset_bytes=5, size_bytes=None)),
        (PART, head(206, content_range="bytes 5-9/10", etag='W/"v2"'), Go(offset_bytes=5, size_bytes=10)),
        (PART, head(200, content_length="10"), Go(offset_bytes=0, size_bytes=10)),
        (PART, head(200, content_length="10", etag='"v2"'), Go(offset_bytes=0, size_bytes=10)),
        (
            PART,
            head(200, content_length="10", content_encoding="identity"),
            Go(offset_bytes=0, size_bytes=10),
        ),
        (Wanted(label="a", offset_bytes=5), head(200, content_length="7"), Go(offset_bytes=0, size_bytes=7)),
        (
            Wanted(label="a", offset_bytes=5),
            head(206, content_range="bytes 5-9/77"),
            Go(offset_bytes=5, size_bytes=77),
        ),
        (Wanted(label="a.html"), head(200, content_type="text/html"), Go(offset_bytes=0, size_bytes=None)),
    ],
)
def test_rows_of_the_table_that_go_on(wanted: Wanted, answer: Answer, go: Go) -> None:
    """The accepting rows of the table, one by one."""
    assert decide(wanted, answer) == go


@pytest.mark.parametrize(
    ("wanted", "answer", "words"),
    [
        (PART, head(206, content_range="bytes 0-9/10"), "asked for bytes from 5, got 0-9"),
        (PART, head(206, content_range="bytes 6-9/10"), "asked for bytes from 5, got 6-9"),
        (PART, head(206, content_range="bytes 5-4/10"), "got 5-4"),
        (PART, head(206, content_range="bytes 5-10/10"), "got 5-10"),
        (PART, head(206), "without a usable Content-Range"),
        (PART, head(206, content_type="multipart/byteranges; boundary=x"), "without a usable Content-Range"),
        (PART, head(206, content_range="bytes 5-9/11"), "has 11 bytes, planned are 10"),
        (PART, head(206, content_range="bytes 5-9/10", etag='"v2"'), "changed since the download began"),
        (PART, head(200, content_length="11"), "has 11 bytes, planned are 10"),
        (NEW, head(200, content_length="0"), "has 0 bytes, planned are 10"),
        (
            NEW,
            head(200, content_length="10", content_encoding="gzip"),
            "the encoding 'gzip' that was not asked",
        ),
        (PART, head(206, content_range="bytes 5-9/10", content_encoding="br"), "the encoding 'br'"),
        (NEW, head(200, content_type="text/html"), "a web page came instead"),
        (NEW, head(200, content_length="10", content_type="text/html"), "a web page came instead"),
        (NEW, head(200, content_length="99", content_type="Text/HTML"), "perhaps a login page"),
        (PART, head(416), "has no byte 5"),
        (NEW, head(304), "unexpected answer"),
        (NEW, head(302), "unexpected answer"),
    ],
)
def test_rows_of_the_table_that_are_refused(wanted: Wanted, answer: Answer, words: str) -> None:
    """Each way in which an answer is not the planned file has its words."""
    with pytest.raises((Changed, Replaced), match=words):
        decide(wanted, answer)


def test_a_range_beyond_the_planned_end_is_another_size() -> None:
    """A 206 of unknown size whose last byte lies past the planned end is not the planned file."""
    with pytest.raises(Changed):
        decide(PART, head(206, content_range="bytes 5-99/*"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Refused),
        (403, Refused),
        (404, Missing),
        (410, Missing),
        (416, Replaced),
        (429, Throttled),
        (503, Throttled),
        (500, Unreachable),
        (502, Unreachable),
        (504, Unreachable),
        (599, Unreachable),
        (499, Changed),
        (600, Changed),
        (400, Changed),
        (204, Changed),
        (301, Changed),
    ],
)
def test_statuses_find_their_error(status: int, kind: type[SourceError]) -> None:
    """Refused, missing, busy, failing and unexpected answers are told apart and name their status."""
    found = refusal(NEW, head(status))
    assert type(found) is kind
    assert f"HTTP {status}" in str(found)
    with pytest.raises(kind):
        decide(NEW, head(status, content_length="10"))


def test_a_server_that_lost_patience_may_be_asked_again() -> None:
    """408 says that the request took too long on the way: the same place is worth another attempt."""
    assert type(refusal(NEW, head(408))) is Unreachable


def test_a_refusal_says_where_to_sign_in() -> None:
    """The hint of a 401 names the variables of the hub and of Kaggle in both languages."""
    for hint in refusal(NEW, head(401)).hint:
        assert "HF_TOKEN" in hint
        assert "kaggle.json" in hint


def test_a_busy_server_is_given_the_time_it_asks_for() -> None:
    """The wait of a 429 or 503 comes from its header."""
    found = refusal(NEW, head(429, retry_after="7"), now=NOW)
    assert isinstance(found, Throttled)
    assert found.after_s == 7.0


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("299", 299.0),
        ("300", 300.0),
        ("301", 300.0),
        ("301", RETRY_AFTER_LIMIT_S),
        ("999999999", RETRY_AFTER_LIMIT_S),
        ("", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        (format_datetime(NOW + timedelta(seconds=42), usegmt=True), 42.0),
        (format_datetime(NOW - timedelta(seconds=42), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=42), usegmt=True), RETRY_AFTER_LIMIT_S),
        ("Sun, 22 Nov 2026 12:00:09 -0000", 9.0),
        ("Sun, 22 Nov 2026 13:00:09 +0100", 9.0),
    ],
)
def test_retry_after_in_both_forms(text: str, wait_s: float) -> None:
    """Seconds and dates are understood, the past and nonsense mean at once, five minutes are the most."""
    assert retry_after_s(text, now=NOW) == wait_s


def test_a_very_long_wait_is_cut_and_not_forgotten() -> None:
    """A number of ten digits asks for a long wait, not for none."""
    assert retry_after_s("9999999999", now=NOW) == RETRY_AFTER_LIMIT_S


def test_a_date_without_a_clock_means_at_once() -> None:
    """The clock is passed in; where it is not, a date cannot be used and seconds still can."""
    assert retry_after_s(format_datetime(NOW + timedelta(seconds=42), usegmt=True)) == 0.0
    assert retry_after_s("42") == 42.0


@given(st.text(max_size=30) | st.integers().map(str) | st.datetimes().map(format_datetime))
def test_waits_have_bounds(text: str) -> None:
    """No header makes the wait negative or longer than five minutes."""
    assert 0.0 <= retry_after_s(text, now=NOW) <= RETRY_AFTER_LIMIT_S


@pytest.mark.parametrize(
    "text",
    ["Mon, 99999999999 Jan 2024 00:00:00 GMT", "Mon, 01 Jan 2024 00:00:00 +99999999999999999", "9" * 5000],
)
def test_absurd_dates_do_not_stop_a_download(text: str) -> None:
    """Numbers that no calendar holds are nonsense like any other."""
    assert 0.0 <= retry_after_s(text, now=NOW) <= RETRY_AFTER_LIMIT_S


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0", 0),
        ("19336861798", 19336861798),
        ("", None),
        ("-1", None),
        ("1e3", None),
        ("10, 10", None),
        ("²", None),
        ("9" * 18, 10**18 - 1),
        ("1" * 19, int("1" * 18)),
    ],
)
def test_lengths_are_whole_numbers_or_unknown(text: str, length: int | None) -> None:
    """Content-Length counts only where it is digits alone."""
    assert head(200, content_length=text).length_bytes == length
    assert head(200).length_bytes is None


@pytest.mark.parametrize(
    "answer",
    [
        head(200, content_length="9" * 5000),
        head(206, content_range="bytes 0-9/" + "9" * 5000),
        head(206, content_range=f"bytes {'9' * 5000}-9/10"),
    ],
)
def test_endless_numbers_are_no_crash(answer: Answer) -> None:
    """A header with thousands of digits is refused like any wrong answer, not a ValueError of Python's."""
    with pytest.raises(Changed):
        decide(NEW, answer)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 0-0/1", (0, 0, 1)),
        (" bytes 5-9/* ", (5, 9, None)),
        ("bytes 5-9/10\t", (5, 9, 10)),
        (f"bytes {'1' * 18}-{'2' * 18}/{'3' * 18}", (int("1" * 18), int("2" * 18), int("3" * 18))),
        (f"bytes {'1' * 19}-9/10", None),
        (f"bytes 5-{'9' * 19}/10", None),
        (f"bytes 5-9/{'1' * 19}", None),
        ("bytes -9/10", None),
        ("bytes 5-/10", None),
        ("bytes 5-9/", None),
        ("bytes 5-9/10x", None),
        ("bytes 5-9/10, 5-9/10", None),
        ("xbytes 5-9/10", None),
        ("bytes */10", None),
        ("", None),
    ],
)
def test_a_range_is_three_numbers(text: str, found: tuple[int, int, int | None] | None) -> None:
    """First, last and size, each of 18 digits at most and none left out, with nothing before or behind."""
    assert head(206, content_range=text).content_range == found


def test_a_range_of_one_byte() -> None:
    """A part that lacks its last byte gets it."""
    wanted = Wanted(label="a", offset_bytes=9, size_bytes=10)
    assert wanted.etag == ""
    assert decide(wanted, head(206, content_range="bytes 9-9/10")) == Go(offset_bytes=9, size_bytes=10)


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("text/html", True),
        ("Text/HTML; charset=utf-8", True),
        ("application/zip", False),
        ("x/text/html", False),
        ("", False),
    ],
)
def test_what_a_page_is(kind: str, page: bool) -> None:
    """A page is known by the beginning of its type, whatever its letters are encoded in."""
    assert is_page(head(200, content_type=kind)) is page


@pytest.mark.parametrize(("text", "etag"), [('"a"', '"a"'), ('W/"a"', ""), ("", ""), ("bare", "bare")])
def test_weak_validators_promise_nothing(text: str, etag: str) -> None:
    """A weak ETag is as good as none."""
    assert head(200, etag=text).etag == etag


@given(st.binary(max_size=30))
def test_the_md5_of_google_storage_is_read(data: bytes) -> None:
    """x-goog-hash holds crc32c and md5 in base64; the md5 becomes a digest, wherever it stands."""
    md5 = hashlib.md5(data)
    text = base64.b64encode(md5.digest()).decode()
    expected = (Digest("md5", md5.hexdigest()),)
    assert head(200, x_goog_hash=f"md5=*{text}").digests == ()
    for header in (
        f" md5={text} ",
        f"crc32c=n03x6A==,md5={text}",
        f"md5={text}",
        f"md5={text}, crc32c=n03x6A==",
    ):
        assert head(200, x_goog_hash=header).digests == expected


@pytest.mark.parametrize("text", ["", "crc32c=n03x6A==", "md5=***", "md5=abc", "sha=YWJj"])
def test_other_hashes_are_no_digest(text: str) -> None:
    """Without a readable md5 there is no digest to compare with."""
    assert head(200, x_goog_hash=text).digests == ()
    assert head(200).digests == ()


@pytest.mark.parametrize("text", ["md5", "md5=", "md5=YWJj", "md5=\xe9"])
def test_a_broken_md5_is_no_digest(text: str) -> None:
    """An md5 of the wrong length would call good bytes wrong, and one that is not ASCII must not crash."""
    assert head(200, x_goog_hash=text).digests == ()


@given(small, st.none() | small)
def test_the_end_is_where_it_should_be(received: int, size: int | None) -> None:
    """Too few bytes are Truncated (go on from there), too many Changed, and an unknown size is taken as it is."""
    if size is None or received == size:
        check_end(NEW, received, size)
        return
    with pytest.raises(Truncated if received < size else Changed, match=str(size)):
        check_end(NEW, received, size)
