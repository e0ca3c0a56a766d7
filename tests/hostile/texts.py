"""Captions, names and lists by somebody who wishes the reader ill; declared once, with what must become of them.

Every caption holds the word `marker`, so that a search finds all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

BOUND = 65536
"""Captions of more bytes are left out."""


@dataclass(frozen=True, slots=True)
class Caption:
    """The bytes of a caption file, and the text in the shard, or the reason for which there is no sample."""

    name: str
    data: bytes
    text: str = ""
    reason: str = ""


def _same(name: str, text: str) -> Caption:
    return Caption(name, text.encode(), text)


CAPTIONS = (
    _same("plain", "a marker"),
    Caption("Latin-1", b"marker caf\xe9 au lait", "marker caf\ufffd au lait"),
    Caption("half of a character", b"marker \xe7\x8c", "marker \ufffd"),
    Caption("too long a form", b"marker \xc0\xaf..", "marker \ufffd\ufffd.."),
    Caption("half of a pair", b"marker \xed\xa0\x80 alone", "marker \ufffd\ufffd\ufffd alone"),
    Caption("beyond Unicode", b"marker \xf4\x90\x80\x80", "marker \ufffd\ufffd\ufffd\ufffd"),
    Caption("UTF-16", "a marker".encode("utf-16"), "\ufffd\ufffda\0 \0m\0a\0r\0k\0e\0r\0"),
    _same("a byte order mark within", "marker \ufeff in it"),
    _same("a zero", "marker \0 in it"),
    _same("every control character", "marker " + "".join(map(chr, (*range(1, 32), 127))) + " end"),
    _same("controls of eight bits", "marker " + "".join(map(chr, range(128, 160))) + " end"),
    _same("colours", "marker \x1b[31mred\x1b[0m"),
    _same("a new title", "marker \x1b]0;owned\x07 \x9d0;owned\x9c"),
    _same("a cleared screen", "marker \x1b[2J\x1b[H \x9b2J"),
    _same("an answer from the terminal", "marker \x1b[6n \x1bP+q544e\x1b\\"),
    _same("lines", "marker one\ntwo\r\nthree\rfour"),
    _same("lines of Unicode", "marker one\u2028two\u2029three\x85four"),
    _same("the other way round", "marker user\u202egpj.exe \u2066 \u200f end"),
    _same("what cannot be seen", "marker\u200b\u200c\u2060\ufeff\u00ad end"),
    _same("tags", "marker \U000e0001\U000e0041 end"),
    _same("marks on marks", "marker Z" + "\u0301\u0300\u0323" * 300),
    _same("no character", "marker \uffff \U0010ffff \ufdd0"),
    _same("emoji", "marker 👨‍👩‍👧‍👦 🇨🇳"),
    _same("Chinese", "marker 一只红色的猫"),
    _same("a script", "marker <script>alert(1)</script>"),
    _same("a link", 'marker <a href="javascript:alert(1)">x</a>'),
    _same("the end of other things", "marker ]]> --> */ </script> {{ 7*7 }} %s {0} ${HOME} $(id) `id`"),
    _same("a formula", "=cmd|' /C calc'!A1 marker"),
    _same("other formulas", "+1+marker\t@SUM(1)"),
    _same("a path", "marker ../../../../etc/passwd"),
    _same("a line of JSON", 'marker {"key": "x"}'),
    _same("quotes", 'marker """ \'\'\' \\" \\n'),
    _same("as long as it may be", "marker " + "x" * (BOUND - 7)),
    Caption("too long", b"marker " + b"x" * BOUND, reason="caption_too_long"),
    Caption("nothing", b"", reason="no_caption"),
    Caption("blanks", b" \t\r\n\xe2\x80\x83\n", reason="no_caption"),
)

NAMES = (
    "with a space",
    "with 'quotes\" and $(id)",
    "with\na line",
    "with\x1b[2J\x07",
    "-rf",
    "目录",
    "👍",
    "CON",
    "a.b.c",
    "dot.",
    "~root",
    "n" * 240,
    "=1+1",
    "turned\u202egpj",
    "<script>",
)
"""Names of pictures with a caption beside them, without their endings."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of URLs with a form, and the captions of the rows that it holds; None: a row without an address."""

    name: str
    form: str
    data: bytes
    captions: tuple[str | None, ...]


def _lines(*lines: bytes) -> bytes:
    return b"".join(line + b"\n" for line in lines)


_ROW = b'{"url": "http://a/1", "caption": "one"}'
_LAST = b'{"url": "http://a/2", "caption": "two"}'

LISTS = (
    Listed(
        "NaN",
        "jsonl",
        _lines(_ROW, b'{"url": "http://a/3", "caption": "x", "n": NaN}', _LAST),
        ("one", "x", "two"),
    ),
    Listed(
        "Infinity",
        "jsonl",
        _lines(_ROW, b'{"url": "http://a/3", "caption": -Infinity}', _LAST),
        ("one", "", "two"),
    ),
    Listed(
        "a key twice", "jsonl", _lines(_ROW, b'{"url": "u", "caption": "a", "caption": "b"}'), ("one", "b")
    ),
    Listed(
        "5000 digits",
        "jsonl",
        _lines(_ROW, b'{"url": "u", "caption": "a", "n": ' + b"9" * 5000 + b"}"),
        ("one", "a"),
    ),
    Listed(
        "digits for a caption",
        "jsonl",
        _lines(_ROW, b'{"url": "u", "caption": ' + b"9" * 5000 + b"}"),
        ("one", "9" * 5000),
    ),
    Listed("brackets", "jsonl", _lines(_ROW, b'{"url": ' + b"[" * 100_000, _LAST), ("one", None, "two")),
    Listed("braces", "jsonl", _lines(_ROW, b'{"a":' * 100_000, _LAST), ("one", None, "two")),
    Listed("a broken line", "jsonl", _lines(_ROW, b'{"url": "http', _LAST), ("one", None, "two")),
    Listed("no end of the last line", "jsonl", _ROW + b"\n" + _LAST, ("one", "two")),
    Listed("a byte order mark", "jsonl", b"\xef\xbb\xbf" + _lines(_ROW, _LAST), ("one", "two")),
    Listed(
        "blank lines", "jsonl", b"\n\n" + _lines(_ROW, b"", b"\r", _LAST) + b"\n \n", ("one", "two", None)
    ),
    Listed("two on a line", "jsonl", _lines(_ROW + _LAST, _LAST), (None, "two")),
    Listed(
        "a list in a line",
        "jsonl",
        _lines(_ROW, b"[1, 2]", b"7", b'"text"', b"null"),
        ("one", None, None, None, None),
    ),
    Listed("half of a pair", "jsonl", _lines(b'{"url": "http://a", "caption": "\\ud800 x"}'), ("\ud800 x",)),
    Listed(
        "no UTF-8", "jsonl", _lines(b'{"url": "http://a", "caption": "caf\xe9"}', _LAST), ("caf\udce9", "two")
    ),
    Listed(
        "no UTF-8 in an address",
        "jsonl",
        _lines(b'{"url": "http://a/\xe9", "caption": "x"}', _LAST),
        (None, "two"),
    ),
    Listed(
        "values of other types", "jsonl", _lines(b'{"url": ["a"], "caption": {"b": 1}}', _LAST), (None, "two")
    ),
    Listed(
        "17 MB of a line",
        "jsonl",
        _lines(_ROW, b'{"url": "u", "caption": "' + b"x" * 17 * 2**20 + b'"}', _LAST),
        ("one", None, "two"),
    ),
    Listed(
        "a line of U+2028",
        "jsonl",
        _lines('{"url": "u", "caption": "a\u2028b\u0085c"}'.encode(), _LAST),
        ("a\u2028b\u0085c", "two"),
    ),
    Listed("quotes over lines", "csv", b'url,caption\nu,"a\nb"\nv,c\n', ("a\nb", "c")),
    Listed("an open quote", "csv", b'url,caption\nu,"a\nv,c\n', ('"a', "c")),
    Listed("quotes in quotes", "csv", b'url,caption\nu,"a ""b"" c"\n', ('a "b" c',)),
    Listed("too few fields", "csv", b"url,caption\nu\nv,c\n", ("", "c")),
    Listed("too many fields", "csv", b"url,caption\nu,a,b,c\n", ("a",)),
    Listed("a formula", "csv", b"url,caption\nu,=1+1\n", ("=1+1",)),
    Listed("a zero", "csv", b"url,caption\nu," + b"-" * 60 + b"\0b\n", ("-" * 60 + "\0b",)),
    Listed("a quote between tabs", "tsv", b'url\tcaption\nu\t"a\nv\tb"\n', ('"a', 'b"')),
    Listed(
        "braces in texts",
        "json",
        b'[{"url": "u", "caption": "}, {"}, {"url": "v", "caption": "]"}]',
        ("}, {", "]"),
    ),
    Listed(
        "other things among objects",
        "json",
        b'[{"url": "u", "caption": "a"}, 7, null, [1], "x"]',
        ("a", None, None, None, None),
    ),
    Listed(
        "lines of addresses", "txt", b"http://a\r\n\r\njavascript:alert(1)\nfile:///etc/passwd", ("", "", "")
    ),
)

REFUSED = (
    ("jsonl", "{}".encode("utf-16")),
    ("csv", "url,caption\n".encode("utf-16-be")),
    ("csv", b"\0" * 100),
    ("csv", b"address,caption\nu,c\n"),
    ("csv", b"url,url,caption\nu,v,c\n"),
    ("json", b'[{"url": "u", "caption": "a"}, {"url": '),
    ("json", b'[{"url": "u", "caption": "a"}'),
    ("json", b"<html>"),
    ("parquet", b"PAR1" + b"\0" * 100 + b"PAR1"),
    ("parquet", b"PAR1"),
)
"""Lists that are refused as a whole: form and bytes."""
