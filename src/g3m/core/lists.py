"""Lists of URLs as text: which forms there are, and what one row says.

A row that cannot be read is a row all the same, without a URL. Where rows end is in core/rows.py; files are
for adapters/lists.py.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from g3m.core.errors import Bilingual, NotRecognised
from g3m.core.gathering import Columns, Row
from g3m.core.rows import ROW_LIMIT_BYTES, FindEnds, element_ends, field_ends, line_ends
from g3m.core.samples import readable

Form = Literal["txt", "csv", "tsv", "jsonl", "array", "parquet"]

FORMS: Mapping[str, Form] = {
    ".txt": "txt",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "array",
    ".parquet": "parquet",
}
"""By the end of a name. A `.json` that begins with an object is read as jsonl, or as parallel arrays."""

PACKED = (".gz", ".tgz", ".tar", ".zip")
"""Ends of names of what is unpacked once before it is read."""

LIST_SUFFIXES = (*FORMS, *(f"{ending}.gz" for ending in FORMS if ending != ".parquet"))
"""Ends of names of what is a list in a folder of lists."""

_BOM = b"\xef\xbb\xbf"
_MOST_DIGITS = 18
_FIELD = {
    comma: re.compile(rf'"([^"]*(?:""[^"]*)*)"([^{comma}]*)(?:{comma}|\Z)|([^{comma}]*)(?:{comma}|\Z)')
    for comma in (",", "\t")
}

_COLUMN_HINT: Bilingual = (
    'name the columns with --url and --caption; --caption "" if there are no captions',
    '请用 --url 和 --caption 指定列名；没有说明文字时用 --caption ""',
)
_FORM_HINT: Bilingual = (
    "lists are .parquet .csv .tsv .jsonl .json or .txt (one URL a line); the text ones also as .gz",
    "支持的列表格式：.parquet .csv .tsv .jsonl .json .txt（每行一个 URL）；文本格式也可为 .gz",
)


def form_of(name: str) -> Form:
    """The form that a list's name tells; NotRecognised if it tells none.

    >>> form_of("pairs.CSV"), form_of("laion_filtered.json")
    ('csv', 'array')
    """
    for ending, form in FORMS.items():
        if name.lower().endswith(ending):
            return form
    raise NotRecognised(f"{name}: not a list that can be read", hint=_FORM_HINT)


def is_list(name: str) -> bool:
    """Whether a file of a folder is a list, by its name.

    >>> [is_list(name) for name in ("a.parquet", "a.csv.gz", "_SUCCESS", ".a.csv", "a.csv.crc", "notes.md")]
    [True, True, False, False, False, False]
    """
    if name.startswith((".", "_")) or name.endswith("_stats.json"):
        return False
    return name.lower().endswith(LIST_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of one list lie: its form, the columns of its header, and where the first row begins."""

    form: Form
    start: int = 0
    names: tuple[str, ...] = ()
    """The columns of a table of text, in order; of the other forms none."""

    @property
    def find_ends(self) -> FindEnds:
        """Where rows of this list end."""
        if self.form == "csv":
            return field_ends
        if self.form == "tsv":
            return partial(field_ends, comma=b"\t", tabs=len(self.names) - 1)
        return element_ends if self.form == "array" else line_ends


def after_bom(head: bytes) -> int:
    """How many bytes of a text's beginning are a byte order mark; NotRecognised for UTF-16."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotRecognised("it is UTF-16; write it as UTF-8", hint=_FORM_HINT)
    return len(_BOM) if head.startswith(_BOM) else 0


def header_of(line: bytes, form: Form) -> tuple[str, ...]:
    """The fields of a header."""
    return tuple(name.strip() for name in _fields(_text(line), form))


def without_header(columns: Columns) -> bool:
    """Whether columns are given by their numbers, from 1, as for a table that has no header."""
    named = [name for name in (columns.url, columns.caption, columns.sha256, *columns.keep) if name]
    return all(name.isdecimal() for name in named)


def check_columns(columns: Columns, known: Sequence[str], where: str) -> None:
    """NotRecognised if a column is not there, with the one that was perhaps meant, or is there twice."""
    for name in (columns.url, columns.caption, columns.sha256, *columns.keep):
        if not name or known.count(name) == 1:
            continue
        if name in known:
            raise NotRecognised(f"{where}: {known.count(name)} columns named {name!r}", hint=_COLUMN_HINT)
        near = [other for other in known if other.casefold() == name.casefold()]
        near = near or difflib.get_close_matches(name, known, 1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        there = ", ".join(repr(other) for other in known) or "none"
        raise NotRecognised(f"{where}: no column {name!r}{meant} It has: {there}", hint=_COLUMN_HINT)


class Parser:
    """Makes rows of the bytes of one list's rows, one at a time; whatever they hold, it makes one."""

    def __init__(self, layout: Layout, columns: Columns) -> None:
        self._form, self._columns = layout.form, columns
        self._names = layout.names

    def row(self, data: bytes, number: int) -> Row:
        """The row; its URL is empty if there is none."""
        if len(data) > ROW_LIMIT_BYTES:
            return Row(number, "", "")
        if self._form == "txt":
            return Row(number, _url(_text(data)), "")
        if self._form in ("csv", "tsv"):
            values = _fields(_text(data.strip(b"\r\n")), self._form)
            return as_row(dict(zip(self._names, values, strict=False)), self._columns, number)
        return as_row(json_object(data.strip(b" \t\r\n,")), self._columns, number)


def as_row(values: Mapping[str, Any], columns: Columns, number: int) -> Row:
    """A row of the values of its columns, which may be of any type or not there."""
    return Row(
        number,
        _url(_word(values.get(columns.url))),
        _word(values.get(columns.caption)),
        _word(values.get(columns.sha256)).strip(),
        {name: _plain(values.get(name)) for name in columns.keep},
    )


def json_object(data: bytes) -> Mapping[str, Any]:
    """The object that is written there, empty if there is none. Numbers of many digits become texts."""
    try:
        value = _DECODER.decode(_text(data))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _whole_number(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


_DECODER = json.JSONDecoder(parse_int=_whole_number, parse_constant=lambda _: None)


def _text(data: bytes) -> str:
    """The bytes as text; what is no UTF-8 becomes surrogates, which a caption's judge knows."""
    return data.decode("utf-8", "surrogateescape")


def _word(value: object) -> str:
    """The value if it is a text, however it is stored."""
    if isinstance(value, bytes):
        return _text(value)
    return value if isinstance(value, str) else ""


def _url(value: str) -> str:
    """The text if it can be an address at all."""
    value = value.strip()
    try:
        value.encode()
    except UnicodeEncodeError:
        return ""
    return value


def _plain(value: Any) -> Any:
    """A kept value as a text, a number, a truth value or None, whatever it was."""
    if isinstance(value, (str, bytes)):
        return readable(_word(value))
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return readable(json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value))


def _fields(text: str, form: Form) -> list[str]:
    comma = "\t" if form == "tsv" else ","
    if '"' not in text:
        return text.split(comma)
    if form == "tsv" and "\n" not in text:
        return [_unquoted(field) for field in text.split(comma)]
    found, place = [], 0
    while field := _FIELD[comma].match(text, place):
        quoted, rest, bare = field.groups()
        found.append(bare if quoted is None else quoted.replace('""', '"') + rest)
        place = field.end()
        if text[place - 1 : place] != comma or field.end() == field.start():
            break
    return found


def _unquoted(field: str) -> str:
    """A field without its quotes, if it has them as a program that quotes writes them."""
    inner = field[1:-1]
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')
