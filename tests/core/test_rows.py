"""core/rows.py: where rows end, whatever they hold and however a text is cut into pieces."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from g3m.core.rows import (
    ROW_LIMIT_BYTES,
    Ends,
    FindEnds,
    element_ends,
    field_ends,
    is_end_of_array,
    line_ends,
)

SHORT = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"a", b'""', b"\t", b" "]), max_size=24).map(
    b"".join
)
JSON_BITS = st.lists(
    st.sampled_from(
        [b'"', b",", b"{", b"}", b"[", b"]", b"\\", b" ", b"1", b'{"a": "b"}', b', {"c": 1}', b"}, {"]
    ),
    max_size=24,
).map(b"".join)
FINDERS: dict[str, FindEnds] = {
    "lines": line_ends,
    "csv": field_ends,
    "tsv": partial(field_ends, comma=b"\t", tabs=1),
    "array": element_ends,
}


def whole(find_ends: FindEnds, text: bytes) -> list[int]:
    return list(find_ends(text, True).places())


def in_pieces(find_ends: FindEnds, text: bytes, size: int) -> list[int]:
    """The same, as a reader finds them that has so many bytes at a time."""
    places: list[int] = []
    kept, offset = b"", 0
    for start in range(0, len(text), size):
        kept += text[start : start + size]
        ends = find_ends(kept, start + size >= len(text))
        places += (offset + place for place in ends.places())
        kept, offset = kept[ends.after() :], offset + ends.after()
    return places


@pytest.mark.parametrize("name", FINDERS)
@given(text=SHORT | JSON_BITS, size=st.integers(1, 30))
@example(text=b'a,"b""', size=6)
@example(text=b'"a\n""b"\n', size=4)
@example(text=b'{"a": 1} x, {"b": 2}', size=8)
@example(text=b"{[}", size=1)
@example(text=b"{}, null]", size=20)
@example(text=b"}, {}, {\\}, {", size=1)
def test_pieces_do_not_matter(name: str, text: bytes, size: int) -> None:
    """Where rows end does not depend on how a text is cut into pieces."""
    assert in_pieces(FINDERS[name], text, size) == whole(FINDERS[name], text)


@pytest.mark.parametrize("name", FINDERS)
@given(text=SHORT | JSON_BITS, data=st.data())
def test_a_part_has_the_rows_of_the_whole(name: str, text: bytes, data: st.DataObject) -> None:
    """Rows from one end to another are the same when only they are looked at: planning and reading agree."""
    places = [0, *whole(FINDERS[name], text)]
    first = data.draw(st.integers(0, len(places) - 1))
    last = data.draw(st.integers(first, len(places) - 1))
    part = text[places[first] : places[last]]
    assert whole(FINDERS[name], part) == [place - places[first] for place in places[first + 1 : last + 1]]


@given(st.lists(st.lists(st.text(st.sampled_from('a,"\n\r é'), max_size=5), min_size=2, max_size=4)))
def test_csv_rows_are_those_of_python(rows: list[list[str]]) -> None:
    """What Python's csv module writes, and reads again, has as many rows here."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    assert len(whole(field_ends, file.getvalue().encode())) == len(rows)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\{}[],:é\n '), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=8), st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40))
def test_elements_of_any_array(elements: list[Any], indent: int | None, ascii_only: bool, size: int) -> None:
    """The elements of any JSON array come out one by one, in order, and its end is known."""
    text = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode()[1:]
    places = [0, *in_pieces(element_ends, text, size)]
    found = [text[a:b].strip(b" \n,") for a, b in pairwise(places)]
    assert [json.loads(element) for element in found] == elements
    assert is_end_of_array(text[places[-1] :])


@pytest.mark.parametrize("separator", [", ", ",", ",\n", " ,\r\n "])
def test_plain_objects_are_not_gone_through_one_by_one(
    separator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flat objects, also with escapes, take the fast way, whatever stands between them."""
    monkeypatch.setattr("g3m.core.rows._marked_elements", None)
    rows = [json.dumps({"url": f"http://h/{n}", "caption": 'a "b" \\ é'}) for n in range(50)]
    text = separator.join(rows).encode()
    ends = element_ends(text, True)
    assert ends.count() == 50 and ends.after() == len(text)


@given(st.binary(max_size=300), st.data())
def test_the_place_behind_any_row(text: bytes, data: st.DataObject) -> None:
    """A place is found by halving as by counting, from wherever one begins."""
    text = text.replace(b"x", b"\n")
    ends = Ends(text, b"\n")
    places = list(ends.places())
    assert ends.count() == len(places)
    if places:
        first = data.draw(st.integers(0, len(places) - 1))
        number = data.draw(st.integers(1, len(places) - first))
        low = places[first - 1] if first else 0
        assert ends.behind(number, low) == places[first + number - 1]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b'1,"a\n2,b\n3,c\n', 3),  # opened and never closed
        (b'1,"a\n2,"b"\n3,c\n', 3),  # closed by a quote that opens another field
        (b'1,"a\n"\n3,c\n', 2),
        (b'1,5" disk\n2,6" disk\n', 2),  # quotes inside a field are characters
        (b'1,"a"b"\n2,c\n', 2),
        (b'1,"a ""b""\nc"\r\n2,d\r\n', 2),
        (b'"a\nb","c\nd"\n', 1),
        (b"\n\n1,a\n\r\n\n2,b\n\n", 2),
    ],
)
def test_quotes_in_csv(text: bytes, rows: int) -> None:
    """A quoted field may go over lines; a quote that opens none swallows no row."""
    assert len(whole(field_ends, text)) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (b'u\t"Hello\nv\tbye"\nw\tx\n', 3),  # no quoting: each line has its tab
        (b'"Hello\tu\nbye"\tv\n', 2),
        (b'"a\nb"\tv\nw\tx\n', 2),  # quoting: the first line alone is too short
        (b'u\t"a\nb"\nw\tx\n', 3),  # cannot be told from the first: lines count
    ],
)
def test_quotes_in_tables_with_tabs(text: bytes, rows: int) -> None:
    """A line with all its tabs is a row; only one that lacks some can go on in the next."""
    assert len(whole(partial(field_ends, comma=b"\t", tabs=1), text)) == rows


def test_a_quoted_field_has_an_end() -> None:
    """A quote that closes only behind 16 MiB opens nothing, whether the piece ends before it or behind it."""
    text = b'1,"a\n' + b"2,bcdefg\n" * (ROW_LIMIT_BYTES // 9) + b'3,c"\n'
    places = whole(field_ends, text)
    assert len(places) == ROW_LIMIT_BYTES // 9 + 2
    assert in_pieces(field_ends, text, 2**22) == places


@pytest.mark.parametrize("rest", [b"]", b" \n]\n", b", ]"])
def test_ends_of_arrays(rest: bytes) -> None:
    """A bracket ends an array, and nothing may follow it."""
    assert is_end_of_array(rest)
    assert not is_end_of_array(rest + b" {}")
    assert not is_end_of_array(rest.replace(b"]", b""))


def test_the_last_element_may_stand_without_a_bracket() -> None:
    """A number at the very end is an element, as it is before a comma; blanks at the end are none."""
    assert whole(element_ends, b"1, 2") == [1, 4]
    assert whole(element_ends, b"1, 2 ") == [1, 5]
    assert whole(element_ends, b"1, 2, ") == [1, 4]
    assert whole(element_ends, b"1, 2]") == [1, 4]
    assert list(element_ends(b"1, 2").places()) == [1]


@pytest.mark.parametrize("row", [b'{"a": 1}', b'{"a": {"b": 1}}', b"[1, 2]", b"12345678"])
def test_elements_of_many_parts(row: bytes) -> None:
    """A piece of 100 kB gives every element, whether it is the last one or not."""
    rows = 100_000 // (len(row) + 2)
    text = b", ".join([row] * rows)
    places = [number * (len(row) + 2) + len(row) for number in range(rows)]
    assert whole(element_ends, text) == whole(element_ends, text + b"]") == places
    assert in_pieces(element_ends, text + b"]", 30_000) == places


def test_the_place_behind_each_of_many_rows() -> None:
    """Every row is found by halving, from every place that one begins at."""
    ends = Ends(b"ab\nc\n\nddd\n" * 5, b"\n")
    places = list(ends.places())
    assert len(places) == ends.count() == 20
    assert ends.after() == places[-1] == len(ends.text)
    for first, low in enumerate([0, *places[:-1]]):
        assert [ends.behind(number, low) for number in range(1, 21 - first)] == places[first:]
    assert Ends(b"ab", b"\n").after() == 0
    assert ROW_LIMIT_BYTES == 16_777_216


def test_where_a_quoted_field_is_too_long() -> None:
    """Sixteen MiB with both quotes are a field, one more byte is none."""

    def lines(inner: int) -> int:
        return len(whole(field_ends, b'"' + b"a" * (inner - 1) + b"\n" + b'"\nb\n'))

    assert lines(ROW_LIMIT_BYTES - 2) == 2
    assert lines(ROW_LIMIT_BYTES - 1) == 3


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (b"a", [1]),
        (b"a\n", [2]),
        (b"a\n\n", [2]),
        (b"a\nb ", [2, 4]),
        (b"a\n \r", [2]),
        (b"\r\na\n", [4]),
        (b"\n\n\na", [4]),
        (b"", []),
        (b"\n", []),
    ],
)
def test_lines(text: bytes, places: list[int]) -> None:
    """What is no blank is a row, also without a newline at its end; empty lines are none."""
    assert whole(line_ends, text) == places


def test_quoted_fields_far_into_a_piece() -> None:
    """How long a field is does not depend on where it begins: one that is closed hides its newline, one that is not, waits."""
    before = b"a\n" * (6 * 2**20)
    assert field_ends(before + b'"b\nc"\n', last=True).count() == 6 * 2**20 + 1
    assert field_ends(before + b'"b\nc').count() == 6 * 2**20


def test_a_quoted_field_that_is_not_closed_yet() -> None:
    """Sixteen MiB of it are waited for; with one byte more its lines are rows."""
    text = b'"' + b"a" * (ROW_LIMIT_BYTES - 3) + b"\nb"
    assert len(text) == ROW_LIMIT_BYTES
    assert field_ends(text).count() == 0
    assert field_ends(text + b"c").count() == 1
