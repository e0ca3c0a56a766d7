"""core/directory.py: entries and end records say what zipfile reads in them, or are an error."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from g3m.core.directory import (
    DEFLATED,
    ENCRYPTED,
    END64_BYTES,
    ENTRY_LIMIT_BYTES,
    PATCHED,
    STORED,
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


def test_codes_are_those_of_the_format() -> None:
    """Methods as zipfile knows them; the bits that APPNOTE.TXT gives to encryption (0, 6, 13), patches and UTF-8."""
    assert (STORED, DEFLATED) == (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    assert (ENCRYPTED, PATCHED, UTF8) == (1 << 0 | 1 << 6 | 1 << 13, 1 << 5, 1 << 11)


def test_a_directory_may_end_with_its_entry() -> None:
    """An entry without a name is one, and so is the newest version that is known, 6.3."""
    assert read_entry(entry(b""), 0)[1] == 46
    assert read_entry(entry(version=63), 0)[0].name == "a.jpg"


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


END64 = {
    "signature": b"PK\6\6",
    "record": 44,
    "made": 45,
    "needed": 45,
    "disk": 0,
    "first": 0,
    "here": 3,
    "all": 3,
    "size": 400,
    "offset": 2**40,
}
LOCATOR = {"signature": b"PK\6\7", "disk": 0, "located": 2**40 + 400, "disks": 1}


def wide_end(**changed: int | bytes) -> bytes:
    """The two records of zip64 for three entries of 400 bytes; `locator_...` changes the second."""
    record = {**END64, **{name: value for name, value in changed.items() if not name.startswith("locator_")}}
    locator = {
        **LOCATOR,
        **{name[8:]: value for name, value in changed.items() if name.startswith("locator_")},
    }
    return struct.pack("<4sQ2H2L4Q", *record.values()) + struct.pack("<4sLQL", *locator.values())


@pytest.mark.parametrize(
    "changed",
    [{"signature": b"PK\6\5"}, {"record": 43}, {"record": 45}, {"disk": 1}, {"first": 1}, {"locator_disk": 1}, {"locator_disks": 2},
     {"locator_located": 2**40 + 399}, {"here": 2}, {"here": 4}],
)  # fmt: skip
def test_a_wide_end_that_contradicts_itself(changed: dict[str, int | bytes]) -> None:
    """Each field of the zip64 records that says another thing than the rest is an error."""
    unset = END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, WIDE, WIDE, 0)
    at = 2**40 + 400 + END64_BYTES
    assert (
        read_end(unset, wide_end(locator_disks=0), at)
        == read_end(unset, wide_end(), at)
        == End(3, 400, 2**40)
    )
    with pytest.raises(ValueError, match="contradicts itself"):
        read_end(unset, wide_end(**changed), at)


@pytest.mark.parametrize(
    "stated", [(4, 400, WIDE), (3, 401, WIDE), (3, 400, 1000), (3, 0xFFFF, WIDE), (3, 400, 0xFFFF)]
)
def test_two_ends_that_differ(stated: tuple[int, int, int]) -> None:
    """What the plain end record does say, it must say as the wide one does; the mark of another field is a number."""
    entries, size, offset = stated
    at = 2**40 + 400 + END64_BYTES
    plain = END.pack(b"PK\5\6", 0, 0, entries, entries, size, offset, 0)
    with pytest.raises(ValueError, match="differ"):
        read_end(plain, wide_end(), at)
    same = END.pack(b"PK\5\6", 0, 0, 3, 3, 400, WIDE, 0)
    assert read_end(same, wide_end(), at) == End(3, 400, 2**40)


@pytest.mark.parametrize("numbers", [(1, 0, 3, 3), (0, 1, 3, 3), (0, 0, 2, 3), (0, 0, 3, 2)])
def test_one_part_of_several(numbers: tuple[int, int, int, int]) -> None:
    """An end record that knows of other parts is an error."""
    with pytest.raises(ValueError, match="one part of an archive in several files, at offset 1400"):
        read_end(END.pack(b"PK\5\6", *numbers, 400, 1000, 0), b"", 1400)


@pytest.mark.parametrize("position", [1399, 1401])
def test_the_directory_must_end_where_the_end_record_begins(position: int) -> None:
    """Bytes between the two, or in front of the archive, are an error that names both places."""
    with pytest.raises(ValueError, match=f"should end at offset 1400, the end record is at {position}"):
        read_end(END.pack(b"PK\5\6", 0, 0, 3, 3, 400, 1000, 0), b"", position)


def test_only_whole_records_in_front_are_wide() -> None:
    """Bytes in front of the end record that are too few, or have the locator elsewhere, mean nothing."""
    plain = END.pack(b"PK\5\6", 0, 0, 3, 3, 400, 1000, 0)
    assert read_end(plain, wide_end()[1:], 1400) == End(3, 400, 1000)
    assert read_end(plain, wide_end()[56:] + bytes(56), 1400) == End(3, 400, 1000)


def test_where_the_end_is() -> None:
    """The one record whose comment ends with the file; another signature, in whatever place, is an error or chance."""
    end = END.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 0)
    assert find_end(b"front" + end) == 5
    assert find_end(b"PK\5\6" + bytes(30) + end) == 34
    spoken = END.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 300) + bytes(300)
    assert find_end(spoken) == 0
    for tail in (b"", end[:-1], end + b"x", b"PK\5\6"):
        with pytest.raises(ValueError, match="no end record"):
            find_end(tail)
    twice = END.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 22) + end
    inner = END.pack(b"PK\5\6", 0, 0, 0, 0, 0, 0, 30) + b"PK\5\6" + bytes(26)
    for tail in (twice, inner):
        with pytest.raises(ValueError, match="more than one end record"):
            find_end(tail)
