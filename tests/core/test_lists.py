"""core/lists.py: what a row says, in the words of whoever wrote it, and what is none."""

from __future__ import annotations

import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.errors import NotRecognised
from g3m.core.gathering import Columns, Row
from g3m.core.lists import (
    LIST_SUFFIXES,
    PACKED,
    Form,
    Layout,
    Parser,
    after_bom,
    as_row,
    check_columns,
    form_of,
    header_of,
    is_list,
    json_object,
    without_header,
)

FIELDS = st.lists(st.text(st.sampled_from('a,"\t\n é'), max_size=6), min_size=2, max_size=5)


@pytest.mark.parametrize(("form", "comma"), [("csv", ","), ("tsv", "\t")])
@given(fields=FIELDS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_fields_are_those_that_were_written(form: Form, comma: str, fields: list[str], quoting: int) -> None:
    """What Python's csv module has written comes back, with commas, quotes and newlines."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=comma, quoting=quoting, lineterminator="\n").writerow(fields)  # type: ignore[arg-type]
    if form == "tsv" and comma in "".join(fields) and "\n" not in "".join(fields):
        return  # a tab in a line of a table with tabs always parts two fields
    assert header_of(file.getvalue()[:-1].encode(), form) == tuple(field.strip() for field in fields)


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('a,5" disk,b', ("a", '5" disk', "b")),
        ('"a"x,b', ("ax", "b")),
        ('"a,b', ('"a', "b")),
        (',"",', ("", "", "")),
        ('"a ""b""",c', ('a "b"', "c")),
        ("", ("",)),
    ],
)
def test_odd_quotes(line: str, fields: tuple[str, ...]) -> None:
    """A quote in a field, behind one, or never closed loses no character and no field."""
    assert header_of(line.encode(), "csv") == fields


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('"Hello\tb', ('"Hello', "b")),
        ('say "x"\tb', ('say "x"', "b")),
        ('"a ""b"""\tc', ('a "b"', "c")),
        ('"a" or "b"\tc', ('"a" or "b"', "c")),
        ('"\tc', ('"', "c")),
    ],
)
def test_quotes_between_tabs(line: str, fields: tuple[str, ...]) -> None:
    """A field loses its quotes only if it has them as a program that quotes writes them."""
    assert header_of(line.encode(), "tsv") == fields


def test_forms_by_name() -> None:
    """Names tell forms, in any case; what is no list is refused with those that are read."""
    assert [form_of(name) for name in ("A.PARQUET", "a.txt", "a.tab", "a.ndjson", "a.json")] == [
        "parquet",
        "txt",
        "tsv",
        "jsonl",
        "array",
    ]
    with pytest.raises(NotRecognised, match=r"a\.doc: not a list") as raised:
        form_of("a.doc")
    assert ".parquet" in raised.value.hint[0] and ".parquet" in raised.value.hint[1]
    assert not is_list("00000_stats.json") and not is_list("a.parquet.gz") and is_list("A.JSONL.GZ")
    assert all(is_list(f"a{ending}") for ending in LIST_SUFFIXES)


def test_columns_are_checked() -> None:
    """A column that is not there is told with the near one and all others; one that is there twice, too."""
    check_columns(Columns(sha256="", keep=("n",)), ("n", "caption", "url"), "x")
    with pytest.raises(NotRecognised, match=r"x: no column 'caption'\. It has: 'url', 'TEXT'"):
        check_columns(Columns(), ("url", "TEXT"), "x")
    with pytest.raises(NotRecognised, match=r"no column 'Url'; did you mean 'url'\? It has"):
        check_columns(Columns(url="Url"), ("url", "caption"), "x")
    with pytest.raises(NotRecognised, match="no column 'n'"):
        check_columns(Columns(keep=("n",)), ("url", "caption"), "x")
    with pytest.raises(NotRecognised, match="2 columns named 'url'"):
        check_columns(Columns(), ("url", "caption", "url"), "x")


def test_numbers_are_columns_only_together() -> None:
    """A table has no header where every column is a number."""
    assert without_header(Columns(url="2", caption="1"))
    assert without_header(Columns(url="1", caption=""))
    assert not without_header(Columns(url="1"))
    assert not without_header(Columns(url="2", caption="1", keep=("n",)))


def test_marks_of_encodings() -> None:
    """A mark of UTF-8 is no content; UTF-16 is refused."""
    assert (after_bom(b"\xef\xbb\xbfa"), after_bom(b"a")) == (3, 0)
    for head in (b"\xff\xfea\0", b"\xfe\xff\0a"):
        with pytest.raises(NotRecognised, match="UTF-16"):
            after_bom(head)


def test_a_row_of_any_values() -> None:
    """Values of other types than text are none, and kept ones can be written as JSON."""
    values = {"url": b" http://h/1 ", "caption": 5, "sha": " ab ", "f": math.inf, "l": [1], "b": True}
    columns = Columns(sha256="sha", keep=("f", "l", "b", "none"))
    kept = {"f": None, "l": "[1]", "b": True, "none": None}
    assert as_row(values, columns, 3) == Row(3, "http://h/1", "", "ab", kept)
    assert as_row({"url": "http://h/\ud800", "l": "\ud800"}, Columns(keep=("l",)), 0).extra == {"l": "\ufffd"}
    assert as_row({"url": "http://h/\ud800"}, Columns(), 0).url == ""


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"a": 1} {}', b"[" * 200_000, b"\xff", b'"a"', b"{" + b"[" * 200_000]
)
def test_what_is_no_object(data: bytes) -> None:
    """Whatever is no JSON object is an empty one, and nothing is raised."""
    assert json_object(data) == {}


@given(st.binary(max_size=60), st.sampled_from(["txt", "csv", "tsv", "jsonl", "array"]))
def test_any_bytes_are_a_row(data: bytes, form: Form) -> None:
    """Any bytes make a row, whose URL can be written as UTF-8."""
    row = Parser(Layout(form, names=("url", "caption")), Columns()).row(data, 7)
    assert row.number == 7
    row.url.encode()


def test_a_row_without_enough_fields() -> None:
    """A short row has the fields that it has, and a long one those of the header."""
    parser = Parser(Layout("csv", names=("url", "caption")), Columns())
    assert parser.row(b"http://h/1\r\n", 0) == Row(0, "http://h/1", "")
    assert parser.row(b"http://h/1,a,b\n", 0) == Row(0, "http://h/1", "a")


def test_where_rows_of_each_form_end() -> None:
    """Tables with commas by their quotes, those with tabs by their columns, the others by lines; an array by its elements."""
    text = b'a\t"b\nc"\td\n'
    assert list(Layout("txt").find_ends(text, True).places()) == list(
        Layout("jsonl").find_ends(text, True).places()
    )
    assert Layout("txt").find_ends(text, True).count() == 2
    assert Layout("csv").find_ends(b'1,"a\nb"\n', True).count() == 1
    assert Layout("tsv", names=("a", "b", "c")).find_ends(b'a\t"b\nc"\td\n', True).count() == 1
    assert Layout("tsv", names=("a", "b")).find_ends(b'a\t"b\nc"\td\n', True).count() == 2
    assert Layout("array").find_ends(b'{"a": "}\n"}, 5]', True).count() == 2
    assert (Layout("csv").start, Layout("csv").names) == (0, ())


def test_what_a_field_holds_between_tabs() -> None:
    """Two quotes are an empty field, one is itself; line ends of both kinds belong to no field."""
    parser = Parser(Layout("tsv", names=("url", "caption")), Columns())
    for line, caption in (
        (b'u\t""\r\n', ""),
        (b'u\t"\n', '"'),
        (b'u\t"a"\n', "a"),
        (b"\r\nu\ta\n", "a"),
        (b'u\t"a""b"\n', 'a"b'),
    ):
        row = parser.row(line, 5)
        assert (row.url, row.caption, row.number) == ("u", caption, 5)


def test_a_row_that_is_too_long() -> None:
    """Sixteen MiB are a row, one byte more has no address."""
    parser = Parser(Layout("txt"), Columns())
    assert parser.row(b"u" + b" " * (2**24 - 1), 1).url == "u"
    assert parser.row(b"u" + b" " * 2**24, 1).url == ""


def test_numbers_of_many_digits() -> None:
    """Eighteen digits are a number, nineteen a text, as are those that no JSON has."""
    found = json_object(b'{"a": ' + b"9" * 18 + b', "b": ' + b"9" * 19 + b', "c": NaN, "d": -Infinity}')
    assert found == {"a": 10**18 - 1, "b": "9" * 19, "c": None, "d": None}


def test_what_lists_are_called() -> None:
    """Forms by their ends, packed ones where they are texts."""
    assert PACKED == (".gz", ".tgz", ".tar", ".zip")
    assert set(LIST_SUFFIXES) >= {
        ".parquet",
        ".csv",
        ".csv.gz",
        ".tsv.gz",
        ".jsonl.gz",
        ".json.gz",
        ".txt.gz",
    }
    assert ".parquet.gz" not in LIST_SUFFIXES
