"""core/serving.py: what a request for a whole or a growing file gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.serving import SharedPath, reply

WHOLE = SharedPath(parts=("a",), size_bytes=100, digest="sha256:1")
PART = SharedPath(parts=("a",), size_bytes=100, digest="sha256:1", ranges=((0, 10), (50, 100)))
EMPTY = SharedPath(parts=("a",), size_bytes=0, digest="sha256:1")
TAG, PART_TAG = '"sha256:1"', '"sha256:1;part"'


@pytest.mark.parametrize(
    ("shared", "wanted", "condition", "status", "start", "end"),
    [
        (WHOLE, None, None, 200, 0, 100),
        (WHOLE, "bytes=0-9", None, 206, 0, 10),
        (WHOLE, "bytes=90-", None, 206, 90, 100),
        (WHOLE, "bytes=90-1000", None, 206, 90, 100),
        (WHOLE, "bytes=-10", None, 206, 90, 100),
        (WHOLE, "bytes=-1000", None, 206, 0, 100),
        (WHOLE, "bytes=0-0", None, 206, 0, 1),
        (WHOLE, "bytes=100-", None, 416, 0, 0),
        (WHOLE, "bytes=999999999999999999-", None, 416, 0, 0),
        (WHOLE, "bytes=-0", None, 416, 0, 0),
        (WHOLE, "bytes=5-4", None, 200, 0, 100),
        (WHOLE, "bytes=0-1,5-6", None, 200, 0, 100),
        (WHOLE, "bytes=-", None, 200, 0, 100),
        (WHOLE, "bytes=a-b", None, 200, 0, 100),
        (WHOLE, "bytes=٣-٤", None, 200, 0, 100),
        (WHOLE, "lines=0-1", None, 200, 0, 100),
        (WHOLE, "bytes=" + "9" * 5000 + "-", None, 200, 0, 100),
        (WHOLE, "bytes=5-9", TAG, 206, 5, 10),
        (WHOLE, "bytes=5-9", PART_TAG, 200, 0, 100),
        (WHOLE, "bytes=5-9", "W/" + TAG, 200, 0, 100),
        (WHOLE, "bytes=5-9", "Sun, 22 Nov 2026 20:37:33 GMT", 200, 0, 100),
        (EMPTY, None, None, 200, 0, 0),
        (EMPTY, "bytes=0-", None, 416, 0, 0),
        (PART, "bytes=0-9", None, 206, 0, 10),
        (PART, "bytes=0-10", None, 416, 0, 0),
        (PART, "bytes=10-49", None, 416, 0, 0),
        (PART, "bytes=9-50", None, 416, 0, 0),
        (PART, "bytes=50-", None, 206, 50, 100),
        (PART, "bytes=-50", None, 206, 50, 100),
        (PART, "bytes=-51", None, 416, 0, 0),
        (PART, "bytes=0-9", PART_TAG, 206, 0, 10),
        (PART, "bytes=0-9", TAG, 404, 0, 0),
        (PART, None, None, 404, 0, 0),
        (PART, "bytes=0-1,5-6", None, 404, 0, 0),
    ],
)
def test_the_table(
    shared: SharedPath, wanted: str | None, condition: str | None, status: int, start: int, end: int
) -> None:
    """Row by row: whole, ranges, conditions, and what of a part is not there."""
    answer = reply(shared, wanted, condition)
    assert (answer.status, answer.start, answer.end) == (status, start, end)
    headers = dict(answer.headers)
    if status == 206:
        assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{shared.size_bytes}"
    if status == 416:
        assert headers == {"Content-Range": f"bytes */{shared.size_bytes}"}
    if status in (200, 206):
        assert headers["ETag"] == shared.etag
        assert headers["Accept-Ranges"] == "bytes"


@given(st.text() | st.from_regex(r"bytes=\d{0,20}-\d{0,20}", fullmatch=True))
def test_no_answer_goes_beyond_what_is_there(wanted: str) -> None:
    """Whatever is asked for, the bytes of the answer are within the file, and of a part within its ranges."""
    for shared in (WHOLE, PART, EMPTY):
        answer = reply(shared, wanted, None)
        assert 0 <= answer.start <= answer.end <= shared.size_bytes
        if shared.ranges is not None and answer.status == 206:
            assert any(a <= answer.start and answer.end <= b for a, b in shared.ranges)
