"""core/directory.py: entries and end records say what zipfile reads in them, or are an error."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from g3m.core.directory import (
    END64_BYTES,
    ENTRY_LIMIT_BYTES,
    TAIL_LIMIT_BYTES,
    UTF8,
    End,
    Entry,
    find_end,
    read_end,
    read_entry,
)

WIDE = 0xFFFFFFFF
ENTRY = struct.Struct("<4s4B4HL2L5H2L")
END = struct.Struct("<4s4H2LH")

extras = st.lists(
    st.tuples(st.integers(2, 0xFFFF).filter(lambda kind: kind != 0x7075), st.binary(max_size=9)), max_size=3
)
numbers = st.one_of(st.integers(0, WIDE - 1), st.integers(WIDE, 2**63))


def field(kind: int, data: bytes) -> bytes:
    return struct.pack("<2H", kind, len(data)) + data


def entry(
    name: bytes = b"a.jpg",
    *,
    size: int = 1,
    stored: int = 1,
    offset: int = 0,
    extra: bytes = b"",
    comment: bytes = b"",
    flags: int = 0,
    version: int = 20,
    signature: bytes = b"PK\1\2",
) -> bytes:
    """One entry as it stands in a directory; what is given for the numbers stands there as it is."""
    lengths = (len(name), len(extra), len(comment))
    head = (signature, 20, 3, version, 0, flags, 8, 0, 0, 7, stored, size, *lengths)
    return ENTRY.pack(*head, 0, 0, 0o100644 << 16, offset) + name + extra + comment


def by_zipfile(directory: bytes) -> zipfile.ZipInfo:
    end = END.pack(b"PK\5\6", 0, 0, 1, 1, len(directory), 0, 0)
    with zipfile.ZipFile(io.BytesIO(directory + end)) as archive:
        (found,) = archive.infolist()
        return found


@given(
    name=st.binary(min_size=1, max_size=20).filter(lambda raw: b"\0" not in raw),
    three=st.tuples(numbers, numbers, numbers),
    before=extras,
    behind=extras,
    comment=st.binary(max_size=9),
)
def test_an_entry_is_what_zipfile_reads(
    name: bytes,
    three: tuple[int, int, int],
    before: list[tuple[int, bytes]],
    behind: list[tuple[int, bytes]],
    comment: bytes,
) -> None:
    """Name, sizes and offset, with 64 bits or 32, among other extra fields and before a comment."""
    size, stored, offset = three
    wide = b"".join(struct.pack("<Q", number) for number in three if number >= WIDE)
    extra = b"".join(field(*pair) for pair in before)
    extra += field(1, wide) if wide else b""
    extra += b"".join(field(*pair) for pair in behind)
    size32, stored32, offset32 = (min(number, WIDE) for number in three)
    block = entry(name, size=size32, stored=stored32, offset=offset32, extra=extra, comment=comment)
    assume(block[-20:-16] != b"PK\6\7")  # zipfile would take it for what stands before a wide end
    found, at = read_entry(b"###" + block + b"rest", 3)
    expected = by_zipfile(block)
    assert at == 3 + len(block)
    assert found[1:8] == (0, 8, 7, stored, size, 0o100644, offset)
    assert found.end == offset + 30 + len(name) + stored
    assert (expected.file_size, expected.compress_size, expected.header_offset) == three
    raw = expected.orig_filename.encode("cp437")
    assert found.name.encode() == raw or found.name == expected.orig_filename


def test_names_are_utf8_or_code_page_437() -> None:
    """Without the flag the older code page stands in for what is no UTF-8; with the flag that is an error."""
    assert read_entry(entry("é.jpg".encode()), 0)[0].name == "é.jpg"
    assert read_entry(entry(b"\x82.jpg"), 0)[0].name == "é.jpg"
    assert read_entry(entry("é.jpg".encode(), flags=UTF8), 0)[0].name == "é.jpg"
    with pytest.raises(ValueError, match="utf-8"):
        read_entry(entry(b"\x82.jpg", flags=UTF8), 0)


def test_a_mark_without_a_wide_number_is_a_number() -> None:
    """The largest number of 32 bits, with no extra field to say another, is what it is."""
    assert read_entry(entry(size=WIDE), 0)[0].size_bytes == WIDE


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (b"", "cut"),
        (entry()[:45], "cut"),
        (entry()[:-1], "cut"),
        (entry(comment=b"word")[:-1], "cut"),
        (entry(extra=field(1, b"12345678"))[:-1], "cut"),
        (entry(signature=b"PK\5\6"), "no entry"),
        (entry(version=64), "version 6.4"),
        (entry(extra=field(5, b"abc")[:-1]), "extra field is cut"),
        (entry(size=WIDE, extra=field(1, bytes(7))), "zip64 is cut"),
        (entry(size=WIDE, stored=WIDE, extra=field(1, bytes(8))), "zip64 is cut"),
        (entry(size=WIDE, extra=field(1, bytes(8)) * 2), "two extra fields"),
        (entry(extra=field(1, b"") * 2), "two extra fields"),
    ],
)
def test_what_is_no_entry_is_an_error(block: bytes, words: str) -> None:
    """Cut at any field, of another kind, newer than anything known, or with two answers to one question."""
    with pytest.raises(ValueError, match=words):
        read_entry(block, 0)


@given(st.binary(max_size=120), st.integers(0, 130))
def test_any_bytes_are_an_entry_or_an_error(block: bytes, at: int) -> None:
    """Nothing but a ValueError comes out of bytes that are no entry."""
    for whole in (block, b"PK\1\2" + block):
        try:
            found, behind = read_entry(whole, at)
        except ValueError:
            continue
        assert isinstance(found, Entry)
        assert at + 46 <= behind <= len(whole)


def test_limits_are_those_of_the_format() -> None:
    """No entry and no end record is longer than its limit."""
    longest = entry(b"n" * 0xFFFF, extra=field(9, bytes(0xFFFB)), comment=b"c" * 0xFFFF)
    assert len(longest) == ENTRY_LIMIT_BYTES
    assert read_entry(longest, 0)[1] == ENTRY_LIMIT_BYTES
    end = END.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 0xFFFF) + b"c" * 0xFFFF
    assert len(end) == TAIL_LIMIT_BYTES
    assert find_end(end) == 0


def test_the_end_says_where_the_directory_is() -> None:
    """Plain and with zip64, which the plain record may leave all its numbers to."""
    plain = END.pack(b"PK\5\6", 0, 0, 3, 3, 400, 1000, 0)
    assert read_end(plain, b"", 1400) == End(3, 400, 1000)
    assert read_end(plain, bytes(END64_BYTES), 1400) == End(3, 400, 1000)
    unset = END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, WIDE, WIDE, 0)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, 400, 2**40)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, 2**40 + 400, 1)
    assert len(wide) == END64_BYTES
    assert read_end(unset, wide, 2**40 + 400 + END64_BYTES) == End(3, 400, 2**40)
    with pytest.raises(ValueError, match="differ"):
        read_end(plain, wide, 2**40 + 400 + END64_BYTES)
    with pytest.raises(ValueError, match="contradicts"):
        read_end(unset, wide, 2**40 + 401 + END64_BYTES)
