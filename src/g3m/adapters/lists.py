"""Lists of URLs that are text: cut into spans of rows, and read again span by span.

Here: files to spans and rows, in constant memory. What rows are is decided in core/rows.py and core/lists.py;
Parquet is for adapters/tables.py, and what is compressed is unpacked by steps/layout.py before.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from g3m.core.errors import BadArchive, NotRecognised, StorageError
from g3m.core.gathering import Columns, Row, Span
from g3m.core.lists import (
    Form,
    Layout,
    Parser,
    after_bom,
    check_columns,
    form_of,
    header_of,
    json_object,
    without_header,
)
from g3m.core.rows import Ends, element_ends, is_end_of_array

BLOCK_BYTES = 2**17
MOST_BYTES = 2**27
"""No row is longer, or the file is no list."""

STAMP_BLOCKS = 64
STAMP_BLOCK_BYTES = 4096

_LOOKED_AT_ROWS = 100
_WHITE = b" \t\r\n"
_ARRAY_KEY = re.compile(rb'\s*[{,]\s*("(?:[^"\\]|\\.)*")\s*:\s*\[', re.DOTALL)
_CLOSED = re.compile(rb"\s*,?\s*\]")


def stamp_of(path: Path) -> tuple[int, str]:
    """The size of a file in bytes, and a digest of its beginning, its end and 62 blocks between them."""
    with _opened(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        hasher = sha256(str(size_bytes).encode())
        last = max(size_bytes - STAMP_BLOCK_BYTES, 0)
        for number in range(STAMP_BLOCKS):
            file.seek(last * number // (STAMP_BLOCKS - 1))
            hasher.update(file.read(STAMP_BLOCK_BYTES))
    return size_bytes, hasher.hexdigest()


def look(path: Path, name: str, columns: Columns) -> Layout:
    """How the rows of a text list lie; NotRecognised if it is no such list or a column is missing."""
    form = form_of(name)
    with _opened(path) as file:
        head = file.read(BLOCK_BYTES)
        start = _start(head, path)
        first = head[start:].lstrip(_WHITE)
        if form == "array":
            form, start = _json_form(first, head, start, path)
        layout = Layout(form, start)
        if form in ("csv", "tsv"):
            layout = _with_header(file, layout, columns)
            check_columns(columns, layout.names, str(path))
        elif form in ("jsonl", "array"):
            known = _keys(file, layout)
            if known:  # else there is nothing but bad rows
                check_columns(columns, known, str(path))
    return layout


def _start(head: bytes, path: Path) -> int:
    if b"\0" in head[:64] and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotRecognised(f"{path}: it is not text")
    try:
        return after_bom(head)
    except NotRecognised as error:
        raise NotRecognised(f"{path}: {error.message}", hint=error.hint) from None


def _json_form(first: bytes, head: bytes, start: int, path: Path) -> tuple[Form, int]:
    if first.startswith(b"["):
        return "array", head.index(b"[", start) + 1
    if first.startswith(b"{") or not first:
        return "jsonl", start
    raise NotRecognised(f"{path}: it is no JSON")


def _with_header(file: BinaryIO, layout: Layout, columns: Columns) -> Layout:
    """The layout with the names of its columns: the first row's fields, or their numbers."""
    plain = Layout("txt" if layout.form == "tsv" else layout.form, layout.start)
    first = next(_texts(file, plain, layout.start, None), None)
    if first is None:
        return layout
    data, _, end = first
    names = header_of(data.strip(b"\r\n"), layout.form)
    if without_header(columns):
        return replace(layout, names=tuple(str(number + 1) for number in range(len(names))))
    return replace(layout, start=end, names=names)


def _keys(file: BinaryIO, layout: Layout) -> tuple[str, ...]:
    """The keys of the first objects, in the order in which they come."""
    keys: dict[str, None] = {}
    for number, (data, _, _) in enumerate(_texts(file, layout, layout.start, None)):
        keys |= dict.fromkeys(json_object(data.strip(_WHITE + b",")))
        if number == _LOOKED_AT_ROWS:
            break
    return tuple(keys)


def cut(path: Path, layout: Layout, source: int, room: int, task_rows: int) -> Iterator[Span]:
    """All rows of a list as spans: the first of at most `room` rows, the others of `task_rows`.

    BadArchive if the list is damaged so that its rows cannot be told apart.
    """
    with _opened(path) as file:
        start, rows, check = layout.start, 0, 0
        for piece, ends, offset in _pieces(file, layout, layout.start, None):
            done, left = 0, ends.count()
            while left:
                count = min(left, room - rows)
                place = ends.after() if count == left else ends.behind(count, done)
                check = zlib.crc32(memoryview(piece)[done:place], check)
                rows, left, done = rows + count, left - count, place
                if rows == room:
                    yield Span(source, start, offset + done, rows, check)
                    start, rows, check, room = offset + done, 0, 0, task_rows
        if rows:
            yield Span(source, start, offset + done, rows, check)


def read_span(path: Path, layout: Layout, columns: Columns, span: Span, first: int) -> Iterator[Row]:
    """The rows of a span, numbered from `first`; BadArchive if the bytes are not those that were planned."""
    parser = Parser(layout, columns)
    with _opened(path) as file:
        if _crc32(file, span) != span.check:
            raise changed(path)
        number = first
        for data, _, _ in _texts(file, layout, span.start, span.end):
            yield parser.row(data, number)
            number += 1
        if number - first != span.rows:
            raise changed(path)


def changed(path: Path) -> BadArchive:
    """The error for a list that is not what it was when its rows were planned."""
    return BadArchive(
        f"{path}: the list has changed since its rows were planned",
        hint=(
            "put the list back as it was, or gather from the new one into another folder with --to",
            "请恢复原来的列表，或用 --to 将新列表收集到另一个目录",
        ),
    )


def is_arrays(path: Path) -> bool:
    """Whether a text is one JSON object of arrays, of which each has a column of the list."""
    with _opened(path) as file:
        head = file.read(BLOCK_BYTES)
    line, _, others = head[_start(head, path) :].lstrip(_WHITE).partition(b"\n")
    if not _ARRAY_KEY.match(line) and not _ARRAY_KEY.match(head):
        return False
    values = list(json_object(line.rstrip(_WHITE)).values())
    return not values or (all(isinstance(value, list) for value in values) and not others.strip())


def array_columns(path: Path) -> tuple[dict[str, int], int]:
    """Where the arrays of an object of arrays begin, by key, and how many elements each of them has.

    NotRecognised if it holds anything else, BadArchive if it is cut or the arrays differ in length.
    """
    places: dict[str, int] = {}
    counts: dict[str, int] = {}
    with _opened(path) as file:
        head = file.read(4)
        place = _start(head, path)
        while found := _ARRAY_KEY.match(_read_at(file, place)):
            key = _key(found[1], path)
            place += found.end()
            places[key] = place
            elements = _Elements(file, place)
            counts[key] = sum(1 for _ in elements)
            place = elements.end
        if not re.fullmatch(rb"\s*\}\s*", _read_at(file, place)):
            raise NotRecognised(f"{path}: not an object of arrays, at byte {place}")
    if len(set(counts.values())) > 1:
        words = ", ".join(f"{key!r}: {count}" for key, count in counts.items())
        raise BadArchive(f"{path}: arrays of different lengths: {words}")
    return places, next(iter(counts.values()))


def _key(quoted: bytes, path: Path) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        raise NotRecognised(f"{path}: not an object of arrays: a key cannot be read") from None


def array_rows(path: Path, places: Mapping[str, int]) -> Iterator[bytes]:
    """The rows of an object of arrays, each as the bytes of one line of JSON lines."""
    with ExitStack() as stack:
        columns = [iter(_Elements(stack.enter_context(_opened(path)), place)) for place in places.values()]
        keys = [json.dumps(key).encode() for key in places]
        for values in zip(*columns, strict=True):
            parts = (b"%b: %b" % pair for pair in zip(keys, values, strict=True))
            yield b"{" + b", ".join(parts).replace(b"\n", b" ") + b"}\n"


class _Elements:
    """The elements of an array in a document, each as bytes; then `end` is the place behind its bracket."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start, self.end = file, start, 0

    def __iter__(self) -> Iterator[bytes]:
        offset, piece = self._start, b""
        while True:
            data = _read_at(self._file, offset + len(piece))
            piece += data
            done = 0
            for place in element_ends(piece).places():
                yield piece[done:place].strip(_WHITE + b",")
                done = place
            piece, offset = piece[done:], offset + done
            if closed := _CLOSED.match(piece):
                self.end = offset + closed.end()
                return
            if not data or len(piece) > MOST_BYTES:
                raise BadArchive(f"an array does not end, at byte {offset}")


def _read_at(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(BLOCK_BYTES)


def _crc32(file: BinaryIO, span: Span) -> int:
    file.seek(span.start)
    check, left = 0, span.end - span.start
    while left and (data := file.read(min(left, 2**20))):
        check, left = zlib.crc32(data, check), left - len(data)
    return check


def _texts(file: BinaryIO, layout: Layout, start: int, end: int | None) -> Iterator[tuple[bytes, int, int]]:
    """The bytes of each row, with where they begin and end."""
    for piece, ends, offset in _pieces(file, layout, start, end):
        done = 0
        for place in ends.places():
            yield piece[done:place], offset + done, offset + place
            done = place


def _pieces(file: BinaryIO, layout: Layout, start: int, end: int | None) -> Iterator[tuple[bytes, Ends, int]]:
    """Pieces that begin with a row, the ends of the rows in them, and where they begin."""
    find_ends = layout.find_ends
    file.seek(start)
    stop = os.fstat(file.fileno()).st_size if end is None else end
    position, offset, kept = start, start, b""
    wanted = BLOCK_BYTES
    while position < stop:
        data = file.read(min(wanted, stop - position))
        if not data:
            break
        position += len(data)
        piece = kept + data
        ends = find_ends(piece, position == stop)
        after = ends.after()
        if after:
            yield piece, ends, offset
            kept, offset, wanted = piece[after:], offset + after, BLOCK_BYTES
            continue
        if len(piece) > MOST_BYTES:
            raise BadArchive(f"row at byte {offset} has more than {MOST_BYTES} bytes: not a list")
        kept, wanted = piece, len(piece)  # twice as much, lest a long row be gone through again and again
    if layout.form == "array" and end is None and not is_end_of_array(kept):
        raise BadArchive(f"the array does not end as one, at byte {offset}: it is cut, or damaged there")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, unbuffered; errors say which one."""
    try:
        with open(path, "rb", buffering=0) as file:
            yield file
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except BadArchive as error:
        if str(path) in error.message:
            raise
        raise BadArchive(f"{path}: {error.message}", hint=error.hint) from None
