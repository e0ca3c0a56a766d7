"""adapters/zip.py: the listing of zipfile for sound zips, an error for what has two readings."""

from __future__ import annotations

import os
import random
import stat
import string
import struct
import tempfile
import tracemalloc
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hostile.archives import END_RECORD as END
from tests.hostile.archives import moved, patched, streamed, with_end
from tests.hostile.archives import zip_bytes as packed

from g3m.adapters import zip as adapter
from g3m.adapters.members import MemberReader
from g3m.adapters.zip import directory_offset, list_zip
from g3m.core.errors import BadArchive, StorageError
from g3m.core.members import MEMBER_LIMIT_BYTES, Member, Refusal

parts = st.text(string.ascii_letters + string.digits + "-_ é漢😀", min_size=1, max_size=40)
names = st.lists(parts, min_size=1, max_size=6).map("/".join)
methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
files = st.lists(
    st.tuples(names, st.binary(max_size=1200), methods), max_size=8, unique_by=lambda file: file[0]
)


@pytest.fixture(scope="module")
def spot() -> Iterator[Path]:
    """A file that is written again and again, because Hypothesis shares one test's folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "archive.zip"


@pytest.fixture
def listing(spot: Path) -> Callable[[bytes], list[Member | Refusal]]:
    def of(content: bytes) -> list[Member | Refusal]:
        spot.write_bytes(content)
        return list(list_zip(spot))

    return of


@given(content=files)
def test_sound_zips_are_listed_and_read_back(spot: Path, content: list[tuple[str, bytes, int]]) -> None:
    """Names, order, sizes, checksums and bytes agree with what went in."""
    with zipfile.ZipFile(spot, "w") as archive:
        for name, data, method in content:
            archive.writestr(name, data, method)
    found = [member for member in list_zip(spot) if isinstance(member, Member)]
    assert [(m.name, m.size_bytes, m.crc32) for m in found] == [
        (name, len(data), zlib.crc32(data)) for name, data, _ in content
    ]
    with MemberReader(spot) as reader:
        assert [reader.read(member) for member in found] == [data for _, data, _ in content]


def test_the_order_is_that_of_the_bytes(listing: Callable[[bytes], list[Member | Refusal]]) -> None:
    """Members come in the order in which they lie, neither by name nor as in the directory."""
    whole = packed(("c", b"1"), ("a", b"2"), ("b", b"3"))
    at = END.unpack(whole[-END.size :])[6]
    entries = whole[at : -END.size]
    turned = whole[:at] + entries[94:] + entries[47:94] + entries[:47] + whole[-END.size :]
    assert [member.name for member in listing(whole)] == ["c", "a", "b"]
    assert listing(turned) == listing(whole)


def test_directories_are_left_out(listing: Callable[[bytes], list[Member | Refusal]]) -> None:
    """A directory entry is no member and no refusal."""
    found = listing(packed(("d/", b""), ("d/a.jpg", b"x"), ("d/e/", b"")))
    assert [member.name for member in found] == ["d/a.jpg"]


def test_an_empty_zip_is_a_zip(listing: Callable[[bytes], list[Member | Refusal]]) -> None:
    """An end record alone is an archive without members."""
    assert listing(packed()) == []


def test_streamed_zips_are_read(spot: Path) -> None:
    """A zip written to a pipe, with the sizes behind the data, is listed and read."""
    spot.write_bytes(streamed(("a.jpg", b"a" * 5000), ("b.jpg", b"b" * 10), stored=["b.jpg"]))
    with MemberReader(spot) as reader:
        found = [reader.read(member) for member in list_zip(spot) if isinstance(member, Member)]
    assert found == [b"a" * 5000, b"b" * 10]


@pytest.fixture
def zip64(spot: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small zip with zip64 records in all places."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    with zipfile.ZipFile(spot, "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(name.encode())
    return spot.read_bytes()


def test_zip64_is_read(spot: Path, zip64: bytes) -> None:
    """The zip64 forms of the local header and of the end record are understood."""
    assert b"PK\6\6" in zip64
    with MemberReader(spot) as reader:
        found = [reader.read(member) for member in list_zip(spot) if isinstance(member, Member)]
    assert found == [b"a.jpg", b"b.jpg"]


@pytest.mark.parametrize("back", range(20 + 56))
def test_zip64_lies_are_an_error(
    listing: Callable[[bytes], list[Member | Refusal]], zip64: bytes, back: int
) -> None:
    """No byte of the zip64 end record and its locator can be changed to make another archive."""
    sound = listing(zip64)
    content = bytearray(zip64)
    content[len(content) - END.size - 1 - back] ^= 0x41
    try:
        assert listing(bytes(content)) == sound
    except BadArchive:
        return
    # What may differ: the versions of the program that wrote it and of the one that can read it.
    assert 20 + 56 - 16 <= back < 20 + 56 - 12


def test_two_end_records_that_differ_are_an_error(
    listing: Callable[[bytes], list[Member | Refusal]], zip64: bytes
) -> None:
    """The plain end record may leave a number to zip64, but not state another one."""
    with pytest.raises(BadArchive, match="differ"):
        listing(with_end(zip64, here=1, count=1))


SOUND = packed(("a.jpg", b"a" * 40), ("b.jpg", b"b" * 50))
END_IN_COMMENT = packed(("a", b"x"), comment=SOUND[-END.size :])

BAD = [
    ("empty file", b"", "no end record"),
    ("html", b"<html>" * 500, "no end record"),
    ("prefix junk", b"#!/bin/sh\n" + SOUND, "in front"),
    ("prefix junk with moved offsets", None, "in front"),
    ("trailing junk", SOUND + b"junk", "no end record"),
    ("two zips", SOUND + SOUND, "in front"),
    ("end record within the comment", END_IN_COMMENT, "more than one end record"),
    (
        "a signature within the comment",
        packed(("a", b"x"), comment=b"PK\5\6" + b"." * 30),
        "more than one",
    ),
    (
        "bytes before the end record",
        SOUND[: -END.size] + b"junk" + SOUND[-END.size :],
        "other bytes",
    ),
    ("several disks", with_end(SOUND, disk=1), "several files"),
    ("count below", with_end(SOUND, here=1, count=1), "1 members announced, 2 listed"),
    ("count above", with_end(SOUND, here=3, count=3), "too many"),
    ("count contradicts", with_end(SOUND, here=1), "several files"),
    ("directory elsewhere", with_end(SOUND, directory_offset=9), "central directory should end"),
    ("same bytes twice", patched(SOUND, 1, offset=0), "overlap"),
    ("overlap by one byte", patched(SOUND, 0, stored=41, size=41), "overlap"),
    ("overlap into the directory", patched(SOUND, 1, stored=51, size=51), "overlaps the central"),
    ("stored with two sizes", patched(SOUND, 1, size=49), "two sizes"),
    (
        "method of a stranger",
        patched(SOUND, 0, flags=0x0800).replace(b"a.jpg", b"a\xff\xffpg"),
        "cannot be read",
    ),
]


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_archives_with_two_readings_are_an_error(
    listing: Callable[[bytes], list[Member | Refusal]], content: bytes | None, words: str
) -> None:
    """The whole archive is refused, in words and with the file's name."""
    with pytest.raises(BadArchive, match=rf"archive\.zip: .*{words}"):
        listing(moved(SOUND, 10) if content is None else content)


LINK = (stat.S_IFLNK | 0o777) & 0xFFFF
ZEROS = packed(("a.jpg", bytes(3 * 2**20)), ("b.jpg", b"b"), method=zipfile.ZIP_DEFLATED)

REFUSED = [
    ("encrypted", patched(SOUND, flags=1), "encrypted"),
    ("strongly encrypted", patched(SOUND, flags=0x41), "encrypted"),
    ("patch data", patched(SOUND, flags=0x20), "unsupported_method"),
    ("bzip2", packed(("a.jpg", b"a"), method=zipfile.ZIP_BZIP2), "unsupported_method"),
    ("lzma", packed(("a.jpg", b"a"), method=zipfile.ZIP_LZMA), "unsupported_method"),
    ("deflate64", patched(SOUND, method=9), "unsupported_method"),
    ("symlink", patched(SOUND, mode=LINK), "not_a_file"),
    ("device", patched(SOUND, mode=stat.S_IFCHR), "not_a_file"),
    ("folder with data", packed(("a/", b"data")), "not_a_file"),
    ("up", packed(("../x", b"a")), "unsafe_name"),
    ("absolute", packed(("/x", b"a")), "unsafe_name"),
    ("backslash", packed(("a\\..\\x", b"a")), "unsafe_name"),
    ("drive", packed(("C:/x", b"a")), "unsafe_name"),
    ("control", packed(("a\x1b[2J", b"a")), "unsafe_name"),
    ("nul", packed(("aXb.jpg", b"a")).replace(b"aXb", b"a\0b"), "unsafe_name"),
    ("ratio", ZEROS, "ratio"),
]


@pytest.mark.parametrize(
    ("content", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_hostile_members_are_refused(
    listing: Callable[[bytes], list[Member | Refusal]], content: bytes, reason: str
) -> None:
    """A member that may not be used is refused with its reason, and the others stay."""
    first, *others = listing(content)
    assert isinstance(first, Refusal)
    assert first.reason == reason
    assert all(isinstance(member, Member) for member in others)


def test_duplicates_are_refused(spot: Path) -> None:
    """Of two members with one name the first is listed, the second refused."""
    names = ("a", "b", "a", "./b", "A")
    with zipfile.ZipFile(spot, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is wanted here
        for name in names:
            archive.writestr(name, name)
    found = list(list_zip(spot))
    assert [isinstance(member, Member) for member in found] == [True, True, False, False, True]
    assert {m.reason for m in found if isinstance(m, Refusal)} == {"duplicate"}


@pytest.mark.parametrize(
    ("stored_bytes", "size_bytes", "refused"),
    [
        (MEMBER_LIMIT_BYTES, MEMBER_LIMIT_BYTES, False),
        (MEMBER_LIMIT_BYTES + 1, MEMBER_LIMIT_BYTES + 1, True),
        (MEMBER_LIMIT_BYTES + 1, 9, True),
        (MEMBER_LIMIT_BYTES // 9, MEMBER_LIMIT_BYTES + 1, True),
    ],
)
def test_members_beyond_the_limit_are_refused(
    spot: Path, stored_bytes: int, size_bytes: int, refused: bool
) -> None:
    """What claims more than 2 GiB, packed or unpacked, is refused; exactly 2 GiB is not."""
    with zipfile.ZipFile(spot, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", b"")
        archive.writestr("b.jpg", b"b")
        first, second = archive.filelist
        first.file_size, first.compress_size = size_bytes, stored_bytes
        second.header_offset += stored_bytes
        archive.start_dir += stored_bytes
    large, other = list_zip(spot)
    if refused:
        assert large == Refusal("a.jpg", "too_large", f"{size_bytes} bytes")
    else:
        assert isinstance(large, Member)
    assert isinstance(other, Member)


def test_small_members_may_shrink_to_nothing(
    listing: Callable[[bytes], list[Member | Refusal]],
) -> None:
    """A blank megabyte, deflated a thousandfold, is listed."""
    assert isinstance(listing(packed(("a", bytes(2**20)), method=zipfile.ZIP_DEFLATED))[0], Member)


DEFLATED = packed(
    ("val/000139.jpg", bytes(range(256)) * 2),
    ("val/000285.jpg", b"jpeg" * 99),
    method=zipfile.ZIP_DEFLATED,
)


def contents(path: Path) -> dict[str, bytes | str]:
    """What a listing and reading all of it gives: bytes for members, the reason for refusals."""
    found: dict[str, bytes | str] = {}
    with MemberReader(path) as reader:
        for member in list_zip(path):
            found[member.name] = reader.read(member) if isinstance(member, Member) else member.reason
    return found


@contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """The file with one bit flipped in place, which is much faster than writing it anew."""
    with path.open("r+b", buffering=0) as file:
        sound = os.pread(file.fileno(), 1, bit // 8)
        os.pwrite(file.fileno(), bytes([sound[0] ^ 1 << bit % 8]), bit // 8)
        try:
            yield
        finally:
            os.pwrite(file.fileno(), sound, bit // 8)


@pytest.mark.parametrize("whole", [SOUND, DEFLATED], ids=["stored", "deflated"])
def test_every_flip_is_an_error_a_refusal_or_harmless(spot: Path, whole: bytes) -> None:
    """After any single flipped bit, what is read without an error are the same names and bytes."""
    spot.write_bytes(whole)
    sound = contents(spot)
    for bit in range(len(whole) * 8):
        with flipped(spot, bit):
            try:
                found = contents(spot)
            except BadArchive:
                continue
        assert len(found) == len(sound)
        for name, content in found.items():
            assert isinstance(content, str) or content == sound[name]
    assert spot.read_bytes() == whole


def test_every_cut_is_an_error(listing: Callable[[bytes], list[Member | Refusal]]) -> None:
    """A zip cut at any of 300 places is an error."""
    whole = packed(*((f"{n:06}.jpg", b"x" * n) for n in range(60)))
    for place in random.Random(1).sample(range(len(whole)), 300):
        with pytest.raises(BadArchive):
            listing(whole[:place])


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_bytes_are_an_error(spot: Path, content: bytes, directory: bytes) -> None:
    """Random bytes, also as a central directory, raise BadArchive and nothing else."""
    count = len(directory) // 46
    end = END.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(content), 0)
    for whole in (content, content + directory + end):
        spot.write_bytes(whole)
        if whole != end:
            with pytest.raises(BadArchive):
                list(list_zip(spot))


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    """What the system refuses to open is named with the system's words."""
    with pytest.raises(StorageError, match=r"none\.zip: cannot be read: No such file"):
        list(list_zip(tmp_path / "none.zip"))


def entry_of(name: str, offset: int, extra: bytes = b"") -> bytes:
    """The directory's entry of an empty file."""
    head = (b"PK\1\2", 20, 3, 20, *bytes(8), len(name), len(extra), *bytes(4), offset)
    return struct.pack("<4s4B4HL2L5H2L", *head) + name.encode() + extra


def local_of(name: str) -> bytes:
    """The local header of an empty file."""
    return struct.pack("<4s5H3L2H", b"PK\3\4", 20, *bytes(7), len(name), 0) + name.encode()


def directory_of(count: int) -> tuple[bytes, list[str]]:
    """A zip of many empty files, made quickly; names of various lengths, so that pieces end anywhere."""
    local, central, found = bytearray(), bytearray(), []
    for number in range(count):
        name = f"{number // 1000:05}/{'x' * (number % 40)}{number}.jpg"
        found.append(name)
        central += entry_of(name, len(local))
        local += local_of(name)
    end = END.pack(b"PK\5\6", 0, 0, count, count, len(central), len(local), 0)
    return bytes(local + central) + end, found


def test_a_directory_of_several_pieces_is_read_whole(spot: Path) -> None:
    """Entries that lie across the pieces in which the directory is read are neither lost nor doubled."""
    content, expected = directory_of(40_000)
    spot.write_bytes(content)
    assert END.unpack(content[-END.size :])[5] > 2 * 2**20
    assert [member.name for member in list_zip(spot)] == expected


@pytest.mark.parametrize("piece_bytes", [1, 7, 46, 64, 1000])
def test_pieces_may_be_of_any_size(spot: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int) -> None:
    """Also where the system gives a few bytes at a time, the listing is the same."""
    content, expected = directory_of(50)
    spot.write_bytes(content)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, at: pread(file, min(size, piece_bytes), at))
    assert [member.name for member in list_zip(spot)] == expected


def test_a_directory_that_is_cut_meanwhile_is_an_error(spot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that becomes shorter between its end record and its directory gives no half listing."""
    content, _ = directory_of(50)
    spot.write_bytes(content)
    pread = os.pread

    def shrinking(file: int, size: int, at: int) -> bytes:
        os.truncate(spot, len(content) - 500)
        return pread(file, size, at)

    monkeypatch.setattr(os, "pread", shrinking)
    with pytest.raises(BadArchive, match="became shorter"):
        list(list_zip(spot))


def test_listing_keeps_next_to_nothing(spot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many members take some bytes more for each, much less than their names."""
    monkeypatch.setattr(adapter, "_READ_BYTES", 2**16)
    peaks = []
    for count in (7_000, 14_000):
        content, _ = directory_of(count)
        spot.write_bytes(content)
        tracemalloc.start()
        try:
            assert sum(1 for _ in list_zip(spot)) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 7_000 * 20


def turned(whole: bytes) -> bytes:
    """The same zip of two files with names of one length, its directory in the other order."""
    start = END.unpack(whole[-END.size :])[6]
    middle = start + (len(whole) - END.size - start) // 2
    return whole[:start] + whole[middle : -END.size] + whole[start:middle] + whole[-END.size :]


def test_a_directory_in_another_order_is_checked_no_less(
    listing: Callable[[bytes], list[Member | Refusal]],
) -> None:
    """Overlaps, bytes in front and bytes of the directory itself are seen whatever the order of the entries."""
    assert listing(turned(SOUND)) == listing(SOUND)
    with pytest.raises(BadArchive, match=r"members 'a\.jpg' and 'b\.jpg' overlap"):
        listing(turned(patched(SOUND, 0, stored=41, size=41)))
    with pytest.raises(BadArchive, match=r"'b\.jpg' overlaps the central directory"):
        listing(turned(patched(SOUND, 1, stored=51, size=51)))
    with pytest.raises(BadArchive, match="in front"):
        listing(turned(moved(SOUND, 10)))


def test_more_members_than_anybody_has_are_an_error(
    listing: Callable[[bytes], list[Member | Refusal]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count is believed up to a limit."""
    monkeypatch.setattr(adapter, "MEMBER_COUNT_LIMIT", 2)
    assert len(listing(SOUND)) == 2
    with pytest.raises(BadArchive, match=r"3 members announced at offset .*: too many"):
        listing(packed(("a", b""), ("b", b""), ("c", b"")))


def test_duplicates_far_apart_are_found(spot: Path) -> None:
    """The second of two equal names is refused, however many lie between them; names alike are not."""
    with zipfile.ZipFile(spot, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is wanted here
        for number in [*range(3000), 7, 2999]:
            archive.writestr(f"{number}.jpg", b"")
    found = list(list_zip(spot))
    assert [item.name for item in found if isinstance(item, Refusal)] == ["7.jpg", "2999.jpg"]
    assert all(isinstance(item, Member) for item in found[:3000])


def test_equal_hashes_are_no_duplicates(spot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused as a duplicate has the same name, not only the same hash."""
    monkeypatch.setattr(adapter, "hash", lambda _: 5, raising=False)
    spot.write_bytes(packed(("a.jpg", b"1"), ("b.jpg", b"2"), ("./a.jpg", b"3"), ("c.jpg", b"4")))
    assert [(item.name, isinstance(item, Member)) for item in list_zip(spot)] == [
        ("a.jpg", True),
        ("b.jpg", True),
        ("./a.jpg", False),
        ("c.jpg", True),
    ]


def test_members_beyond_four_gigabytes_are_found(spot: Path) -> None:
    """An offset that needs 64 bits, in a file with a hole of 5 GB, leads to the bytes."""
    whole, far = packed(("far.jpg", b"far away")), 5 * 10**9
    place = END.unpack(whole[-END.size :])[6]
    local, central = whole[:place], whole[place : -END.size]
    extra = struct.pack("<2HQ", 1, 8, far)
    wide = central[:30] + struct.pack("<H", len(extra)) + central[32:42] + b"\xff" * 4 + central[46:] + extra
    directory = entry_of("a.jpg", 0) + wide
    start, size = far + len(local), len(directory)
    with open(spot, "wb") as file:
        file.write(local_of("a.jpg"))
        file.seek(far)
        file.write(local + directory)
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2, 2, size, start))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, start + size, 1))
        file.write(END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    try:
        assert directory_offset(spot) == start
        assert contents(spot) == {"a.jpg": b"", "far.jpg": b"far away"}
        with zipfile.ZipFile(spot) as archive:
            assert [member.header_offset for member in archive.infolist()] == [0, far]
    finally:
        spot.unlink()
