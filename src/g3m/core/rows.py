"""Where the rows of a list end: pure functions from a piece of its text to the places behind its rows.

Planning and reading both ask here, so that a row counted is a row read, whatever it holds. What a row means
is for core/lists.py; files are for adapters/lists.py.

Every function takes a piece that begins where a row begins, and says nothing of a row that goes on behind the
piece. `last` means that nothing comes behind it. Bulk operations on bytes do the work where they can prove
that a piece has nothing odd; what is odd is gone through with care, 128 kB of a list at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ROW_LIMIT_BYTES = 16 * 2**20
"""A longer row is counted, and is bad; a quoted field that is longer ends with its line."""

_BLANK_LINES = re.compile(rb"\n(?:\r*\n)+")
_FIRST_BLANK_LINES = re.compile(rb"(?:\r*\n)+")

_OPENING = {b",": re.compile(rb'"(?<![^,\n]")'), b"\t": re.compile(rb'"(?<![^\t\n]")')}
"""A quote that opens a field: the first character of it."""
_FIRST_LINE = {
    comma: re.compile(opening.pattern + rb'[^"\n]*(?:""[^"\n]*)*(?:"|(\n)|\Z)')
    for comma, opening in _OPENING.items()
}
"""A quoted field, as far as it stands on its first line; the group is the newline that does not end it."""
_TO_CLOSING = re.compile(rb'(?:[^"]*"")*[^"]*"(?!")')

_NEITHER_QUOTE_NOR_BRACE = bytes(set(range(256)) - set(b'"{}'))
_BETWEEN_OBJECTS = re.compile(rb"\}\s*,\s*\{")
_FIRST_OBJECT = re.compile(rb"\s*,?\s*\{")
_BEHIND_OBJECTS = b" \t\r\n,]"
_STRINGS = r'[^"\\%s]*(?:(?:\\(?:["\\]|(?!["\\]))|"[^"\\]*(?:\\.[^"\\]*)*")[^"\\%s]*)*([%s])'
_OUTSIDE, _IN_OBJECT, _IN_ARRAY = (
    re.compile((_STRINGS % (signs, signs, signs)).encode(), re.DOTALL)
    for signs in (r"\[\]{},", r"{}", r"\[\]")
)
"""Up to the next sign that counts, over strings. In an object only braces do, in an array only brackets, so
that an element that is not well formed does less harm to those behind it."""
_MARK_BRACES = bytes(code == ord("}") for code in range(256))
_PART_BYTES = 8192
_END_OF_ARRAY = re.compile(rb"\s*,?\s*\]\s*")


@dataclass(frozen=True, slots=True)
class Ends:
    """The rows that end in a piece: at every `mark` of `text`, which is as long as the piece or shorter."""

    text: bytes | bytearray
    mark: bytes

    def count(self) -> int:
        return self.text.count(self.mark)

    def after(self) -> int:
        """The place behind the last row."""
        return self.text.rfind(self.mark) + 1

    def behind(self, number: int, low: int = 0) -> int:
        """The place behind row `number` after `low`, counted from 1, of which there must be as many."""
        high = len(self.text)
        while high - low > 1:
            middle = (low + high) // 2
            count = self.text.count(self.mark, low, middle)
            if count >= number:
                high = middle
            else:
                low, number = middle, number - count
        return high

    def places(self) -> Iterator[int]:
        """The place behind each row."""
        place = self.text.find(self.mark) + 1
        while place:
            yield place
            place = self.text.find(self.mark, place) + 1


FindEnds = Callable[[bytes, bool], Ends]
"""From a piece, and whether it is the last."""


def line_ends(piece: bytes, last: bool = False) -> Ends:
    r"""Rows are lines that are not empty.

    >>> list(line_ends(b"a\r\n\r\n\nb\nc").places())
    [3, 8]
    >>> list(line_ends(b"a\nb", last=True).places())
    [2, 3]
    """
    return Ends(_with_end(_without_blanks(piece), last), b"\n")


def field_ends(piece: bytes, last: bool = False, *, comma: bytes = b",", tabs: int = 0) -> Ends:
    r"""Rows are lines, save that a quoted field may go over several.

    A quote that opens a field and is not closed in front of a comma or the end of a row, or only after
    16 MiB, is a character as any other, so that it cannot swallow the rows behind it. Where `tabs` are given,
    a line with as many is a whole row whatever its quotes: tables with tabs are often written without any
    quoting.

    >>> list(field_ends(b'1,"a\nb"\n2,c\n').places())
    [8, 12]
    >>> list(field_ends(b'1,"a\n2,c\n', last=True).places())
    [5, 9]
    """
    odd = b'"' in piece and b"\n" in _FIRST_LINE[comma].findall(piece)
    text = _hide_quoted(piece, comma, tabs, last) if odd else piece
    return Ends(_with_end(_without_blanks(text), last), b"\n")


def _hide_quoted(piece: bytes, comma: bytes, tabs: int, last: bool) -> bytes:
    """The piece with other characters for newlines that end no row, and for what is not known yet."""
    hidden = bytearray(piece)
    place = 0
    while opening := _OPENING[comma].search(piece, place):
        start = opening.start()
        closing = _TO_CLOSING.match(piece, opening.end())
        end = closing.end() if closing else len(piece)
        newline = piece.find(b"\n", start, end)
        known = last or end < len(piece) or end - start > ROW_LIMIT_BYTES
        if tabs and newline >= 0 and piece.count(b"\t", piece.rfind(b"\n", 0, start) + 1, newline) >= tabs:
            place = newline + 1
        elif not known:
            return bytes(hidden[:start])
        elif newline < 0:
            place = end
        elif _is_closed(piece, end, closing is not None, comma) and end - start <= ROW_LIMIT_BYTES:
            hidden[start:end] = piece[start:end].replace(b"\n", b" ")
            place = end
        else:
            place = newline + 1
    return bytes(hidden)


def _is_closed(piece: bytes, end: int, has_quote: bool, comma: bytes) -> bool:
    return has_quote and (end == len(piece) or piece[end : end + 1] in (comma, b"\r", b"\n"))


def _without_blanks(piece: bytes) -> bytes:
    """The piece with spaces for the newlines of empty lines."""
    if piece[:1] in (b"\n", b"\r") and (found := _FIRST_BLANK_LINES.match(piece)):
        piece = b" " * found.end() + piece[found.end() :]
    if b"\n\n" in piece or b"\n\r" in piece:
        piece = _BLANK_LINES.sub(lambda found: b"\n".ljust(len(found[0])), piece)
    return piece


def _with_end(text: bytes, last: bool) -> bytes:
    """The text with a mark at its very end, where the last row has no newline."""
    if last and text[text.rfind(b"\n") + 1 :].strip(b"\r\n "):
        return text[:-1] + b"\n"
    return text


def element_ends(piece: bytes, last: bool = False) -> Ends:
    """Rows are the elements of a JSON array; a piece begins behind its bracket, or behind an element.

    >>> list(element_ends(b'{"a": "}, {"}, {"a": [1]}, nu').places())
    [13, 25]
    """
    marks, place = bytearray(), 0
    while place < len(piece):
        part = piece[place : place + _PART_BYTES]
        at_end = last and place + len(part) == len(piece)
        bare = _bare_objects(part, at_end)
        found = part[:bare].translate(_MARK_BRACES) if bare else _marked_elements(part, at_end)
        after = found.rfind(b"\1") + 1
        if not after:  # an element that is longer than the part
            marks += _marked_elements(piece[place:], last)
            break
        marks += found[:after]
        place += after
    return Ends(marks, b"\1")


def _bare_objects(piece: bytes, last: bool) -> int:
    """The place behind the last of flat objects that fill a piece; 0 if it is not proven that they do."""
    end = piece.rfind(b"}") + 1
    whole = piece[:end]
    if not _FIRST_OBJECT.match(whole) or (last and piece[end:].strip(_BEHIND_OBJECTS)):
        return 0
    left = whole
    if b"\\" in whole:
        left = whole.replace(rb"\\", b"") if rb"\\" in whole else whole
        left = left.replace(rb"\"", b"")
    # If no brace stands in a string, nothing but pairs of quotes is left between braces; else something is.
    left = left.translate(None, _NEITHER_QUOTE_NOR_BRACE).replace(b'""', b"")
    count = left.count(b"}")
    if b'"' in left or left.count(b"{") != count:
        return 0
    between = whole.count(b"}, {") or whole.count(b"},{")
    if between != count - 1:
        between = len(_BETWEEN_OBJECTS.findall(whole))
    return end if between == count - 1 else 0


def _marked_elements(piece: bytes, last: bool) -> bytearray:
    """Zeros, and a one at the last byte of each element."""
    marks = bytearray(len(piece))
    depth = begun = 0
    inside = _OUTSIDE
    token = _OUTSIDE.match(piece)
    while token:
        sign, place = token[1], token.end() - 1
        if sign in b"{[":
            inside = inside if depth else _IN_OBJECT if sign == b"{" else _IN_ARRAY
            depth += 1
        elif sign in b"}]" and depth:
            depth -= 1
            if not depth:
                marks[place], begun = 1, place + 1
        else:  # a comma, or the array's bracket
            if piece[begun:place].strip():
                marks[place - 1] = 1
            begun = place + 1
            if sign == b"]":
                return marks
        token = (inside if depth else _OUTSIDE).match(piece, place + 1)
    if last and not depth and piece[begun:].strip():
        marks[-1] = 1
    return marks


def is_end_of_array(rest: bytes) -> bool:
    """Whether what stands behind the last element is the proper end of a JSON array."""
    return _END_OF_ARRAY.fullmatch(rest) is not None
