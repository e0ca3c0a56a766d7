"""adapters/lists.py: lists of text cut into spans in little memory, and read again as they were."""

from __future__ import annotations

import json
import random
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters import lists
from g3m.adapters.lists import array_columns, array_rows, cut, is_arrays, look, read_span, stamp_of
from g3m.core.errors import BadArchive, NotRecognised, StorageError
from g3m.core.gathering import Columns, Span

COLUMNS = Columns()


def lines(path: Path, count: int) -> Path:
    path.write_text("".join(f"http://h/{number}\n" for number in range(count)))
    return path


@given(
    rows=st.integers(1, 300), room=st.integers(1, 40), task_rows=st.integers(1, 40), block=st.integers(9, 80)
)
def test_spans_follow_one_another(
    rows: int, room: int, task_rows: int, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Spans lie side by side from the first row to the last, the first with the room that there was."""
    path = lines(tmp_path_factory.mktemp("cut") / "a.txt", rows)
    layout = look(path, "a.txt", COLUMNS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "BLOCK_BYTES", block)
        spans = list(cut(path, layout, 3, room, task_rows))
        read = [row.url for span in spans for row in read_span(path, layout, COLUMNS, span, 0)]
    assert spans[0].start == 0 and spans[-1].end == path.stat().st_size
    assert all(a.end == b.start for a, b in pairwise(spans))
    left = max(rows - room, 0)
    full, rest = divmod(left, task_rows)
    assert [span.rows for span in spans] == [min(room, rows), *[task_rows] * full, *([rest] if rest else [])]
    assert {span.source for span in spans} == {3}
    assert read == [f"http://h/{number}" for number in range(rows)]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl", "a.json"])
def test_planning_takes_the_memory_of_a_task(name: str, tmp_path: Path) -> None:
    """A list of many tasks is cut and read in a small part of its size."""
    row = {"url": "http://h/1", "caption": 'a, "b" {c}\n' * 5}
    one = {
        "a.txt": "http://h/1" + "?" * 50 + "\n",
        "a.csv": f'http://h/1,"{"a, b" * 10}"\n',
        "a.jsonl": json.dumps(row) + "\n",
        "a.json": json.dumps(row) + ",",
    }[name]
    count = 5_000_000 // len(one)
    head = {"a.csv": "url,caption\n", "a.json": "["}.get(name, "")
    (tmp_path / name).write_text(head + one * count + ("]" if name == "a.json" else ""))
    layout = look(tmp_path / name, name, COLUMNS)
    tracemalloc.start()
    try:
        spans = list(cut(tmp_path / name, layout, 0, 10_000, 10_000))
        read = sum(1 for _ in read_span(tmp_path / name, layout, COLUMNS, spans[0], 0))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(span.rows for span in spans) == count
    assert read == spans[0].rows
    assert peak_bytes < 2_500_000


def test_a_stamp_tells_a_changed_list(tmp_path: Path) -> None:
    """A list that is longer, or differs in its beginning, its end or much of its middle, has another stamp."""
    path = tmp_path / "a.txt"
    data = random.Random(1).randbytes(1_000_000)
    path.write_bytes(data)
    size_bytes, stamp = stamp_of(path)
    assert size_bytes == len(data)
    assert stamp_of(path) == (size_bytes, stamp)
    others = [
        b"x" + data[1:],
        data[:-1] + b"x",
        data + b"x",
        data[:400_000] + bytes(200_000) + data[600_000:],
        bytes(1) + data,
    ]
    for other in others:
        path.write_bytes(other)
        assert stamp_of(path)[1] != stamp
    path.write_bytes(b"")
    assert stamp_of(path)[0] == 0
    with pytest.raises(StorageError, match="cannot be read"):
        stamp_of(tmp_path / "gone")


def test_a_span_is_read_only_as_it_was(tmp_path: Path) -> None:
    """A changed byte, a shorter file and a wrong number of rows are told before or behind the rows."""
    path = lines(tmp_path / "a.txt", 50)
    layout = look(path, "a.txt", COLUMNS)
    spans = list(cut(path, layout, 0, 20, 20))
    text = path.read_bytes()
    wrong = Span(0, spans[1].start, spans[1].end, 19, spans[1].check)
    with pytest.raises(BadArchive, match="changed since"):
        list(read_span(path, layout, COLUMNS, wrong, 0))
    for other in (text.replace(b"/25", b"/x5"), text[:-40]):
        path.write_bytes(other)
        assert [row.number for row in read_span(path, layout, COLUMNS, spans[0], 7)] == list(range(7, 27))
        with pytest.raises(BadArchive, match="changed since"):
            for _ in read_span(path, layout, COLUMNS, spans[1] if b"x" in other else spans[2], 0):
                pytest.fail("a row was given")  # nothing may be asked for by a list that is another


def test_objects_of_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays side by side are read in step, in blocks of any size, whatever is in them and around them."""
    monkeypatch.setattr(lists, "BLOCK_BYTES", 64)
    path = tmp_path / "a.json"
    document = {
        "image_urls": [f"http://h/{n}" for n in range(40)],
        'a "key"': [None, [1, "]"], {"x": "]"}, 5] * 10,
    }
    for indent in (None, 2):
        path.write_text(" " + json.dumps(document, indent=indent) + "\n\n")
        assert is_arrays(path)
        places, count = array_columns(path)
        assert (list(places), count) == (list(document), 40)
        rows = [json.loads(row) for row in array_rows(path, places)]
        assert rows == [
            dict(zip(document, values, strict=True)) for values in zip(*document.values(), strict=True)
        ]
        assert all(row.count(b"\n") == 1 for row in array_rows(path, places))


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ('{"url": "http://h/1"}\n{"url": "x"}', False),
        ('{"tags": ["a"], "url": "x"}\n{"tags": ["b"], "url": "x"}\n', False),
        ('{"tags": ["a"], "url": "x"}\n', False),
        ('{"url": ["a"],\n "caption": ["b"]}', True),
        ('{"url": ["a"], "caption": ["b"]}\n', True),
        ('{"url": ["a"]}\n{"url": ["b"]}\n', False),
        ('[{"url": ["a"]}]', False),
    ],
)
def test_what_is_an_object_of_arrays(text: str, arrays: bool, tmp_path: Path) -> None:
    """JSON lines whose values are arrays are told from one object of arrays."""
    (tmp_path / "a.json").write_text(text)
    assert is_arrays(tmp_path / "a.json") == arrays


@pytest.mark.parametrize(
    "text", ['{"a": ["b"', '{"a": ["b"], "c": {}}', '{"a": ["b"]} x', '{"a": ["b"], "c": ["d", "e"]}']
)
def test_arrays_that_are_damaged(text: str, tmp_path: Path) -> None:
    """A cut document, another value among the arrays, and arrays of different lengths are refused."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises((BadArchive, NotRecognised), match=r"a\.json"):
        array_columns(tmp_path / "a.json")
