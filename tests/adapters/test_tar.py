"""adapters/tar.py: the same listing as tarfile for sound tars, an error for everything else."""

from __future__ import annotations

import os
import random
import string
import tarfile
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hostile.archives import END, entry, header, pax
from tests.hostile.archives import tar_of as packed
from tests.realdata import REAL

from g3m.adapters.tar import list_tar
from g3m.core.errors import BadArchive, StorageError
from g3m.core.members import MEMBER_LIMIT_BYTES, Member, Refusal
from g3m.core.shard import end_of_archive, padding, ustar_header

ODD_TARS = REAL / "odd_tars" / "testdata"
REAL_TARS = {path.name: path for path in sorted(ODD_TARS.glob("*.tar"))}
"""Tars of other programs, on machines that have the collection; elsewhere one made here stands in."""
FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)

parts = st.text(string.ascii_letters + string.digits + "-_ é漢😀", min_size=1, max_size=40)
names = st.lists(parts, min_size=1, max_size=8).map("/".join)
files = st.lists(st.tuples(names, st.binary(max_size=1200)), max_size=8, unique_by=lambda file: file[0])


@pytest.fixture(scope="module")
def spot() -> Iterator[Path]:
    """A file that is written again and again, because Hypothesis shares one test's folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "archive.tar"


@pytest.fixture
def listing(spot: Path) -> Callable[[bytes], list[Member | Refusal]]:
    def of(content: bytes) -> list[Member | Refusal]:
        spot.write_bytes(content)
        return list(list_tar(spot))

    return of


@given(content=files, tar_format=st.sampled_from(FORMATS))
def test_sound_tars_are_listed_as_tarfile_lists_them(
    spot: Path, content: list[tuple[str, bytes]], tar_format: int
) -> None:
    """Names, order, sizes and bytes agree with what went in, in every format of tarfile."""
    kept = []
    for file in content:
        try:
            packed([file], tar_format)
        except ValueError:  # ustar has no room for the name
            continue
        kept.append(file)
    whole = packed(kept, tar_format)
    spot.write_bytes(whole)
    found = [member for member in list_tar(spot) if isinstance(member, Member)]
    assert [
        (member.name, whole[member.offset : member.offset + member.size_bytes]) for member in found
    ] == kept
    assert all(member.method == "raw" and member.crc32 is None for member in found)


@pytest.mark.parametrize("name", [*REAL_TARS, "generated"])
def test_tars_of_other_programs_agree_with_tarfile(tmp_path: Path, name: str) -> None:
    """Tars that were found, and one with folders and long names, are listed as by tarfile."""
    path = REAL_TARS.get(name, tmp_path / "generated.tar")
    if name == "generated":
        content = header(b"d/", 0, b"5") + entry(b"d/a", b"a") + header(b"d/b", 0, b"2")
        path.write_bytes(content + packed([("n" * 120, b"x" * 700)], tarfile.GNU_FORMAT))
    with tarfile.open(path) as archive:
        expected = [(m.name, m.offset_data, m.size) for m in archive if m.isfile()]
    assert [(m.name, m.offset, m.size_bytes) for m in list_tar(path) if isinstance(m, Member)] == expected


@given(content=files, before=st.integers(0, 2000), after=st.binary(max_size=600))
def test_a_range_of_a_file_is_listed_in_place(
    spot: Path, content: list[tuple[str, bytes]], before: int, after: bytes
) -> None:
    """A tar in the middle of a file is listed with absolute offsets, and nothing beyond is read."""
    whole = packed(content, tarfile.PAX_FORMAT)
    spot.write_bytes(b"#" * before + whole + after)
    found = list(list_tar(spot, offset=before, size_bytes=len(whole)))
    spot.write_bytes(whole)
    moved = [
        Member(m.name, m.method, m.offset + before, m.size_bytes, m.stored_bytes)
        for m in list_tar(spot)
        if isinstance(m, Member)
    ]
    assert found == moved


SAMPLE = [(f"{i:06}.{kind}", b"\xa5" * (i * 97 % 2300)) for i in range(12) for kind in ("jpg", "txt")]


def test_every_cut_is_an_error(listing: Callable[[bytes], list[Member | Refusal]]) -> None:
    """A tar cut at any of 300 places, or at any block, is an error unless only padding is gone."""
    whole = packed(SAMPLE, tarfile.USTAR_FORMAT)
    sound = listing(whole)
    needed = len(whole.rstrip(b"\0"))
    needed = needed + -needed % 512 + len(END)
    places = random.Random(1).sample(range(len(whole)), 300)
    for place in [*places, *range(0, len(whole), 512), needed - 1, needed]:
        if place >= needed:
            assert listing(whole[:place]) == sound
        else:
            with pytest.raises(BadArchive, match=r"offset \d+"):
                listing(whole[:place])


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


def test_every_flip_is_an_error_or_within_data(spot: Path) -> None:
    """A flipped bit outside of member data is an error; within it the listing is the same."""
    whole = packed(SAMPLE, tarfile.USTAR_FORMAT)
    spot.write_bytes(whole)
    sound = list(list_tar(spot))
    data: set[int] = set()
    for member in sound:
        assert isinstance(member, Member)
        padded = member.size_bytes + -member.size_bytes % 512
        data.update(range(member.offset, member.offset + padded))
    first_headers = range(2 * 512 * 8)
    for bit in [*random.Random(2).sample(range(len(whole) * 8), 300), *first_headers]:
        with flipped(spot, bit):
            try:
                found = list(list_tar(spot))
            except BadArchive:
                assert bit // 8 not in data
            else:
                # In the checksum itself a leading zero may become a blank: the number is the same.
                assert bit // 8 in data or 148 <= bit // 8 % 512 < 156
                assert found == sound
    assert spot.read_bytes() == whole


HEADER_ONLY_KINDS = [(kind, kind.decode()) for kind in (b"1", b"2", b"3", b"4", b"6")]

REFUSED = [
    ("up", entry(b"../x", b"a"), "unsafe_name"),
    ("absolute", entry(b"/abs/x", b"a"), "unsafe_name"),
    ("backslash", entry(b"a\\..\\b", b"a"), "unsafe_name"),
    ("drive", entry(b"C:/x", b"a"), "unsafe_name"),
    ("no name", entry(b"", b"a"), "unsafe_name"),
    ("not utf-8", entry(b"caf\xe9.jpg", b"a"), "unsafe_name"),
    ("control", entry(b"a\x1b[2J.jpg", b"a"), "unsafe_name"),
    ("pax up", pax(("path", "../../x")) + entry(b"x", b"a"), "unsafe_name"),
    ("pax long", pax(("path", "n" * 5000)) + entry(b"x", b"a"), "unsafe_name"),
    ("pax nul", pax(("path", "a\0b")) + entry(b"x", b"a"), "unsafe_name"),
    ("gnu up", entry(b"L", b"../x\0", b"L") + entry(b"x", b"a"), "unsafe_name"),
    ("prefix up", header(b"x", 0, prefix=b".."), "unsafe_name"),
    *[(f"kind {word}", header(b"x", 0, kind), "not_a_file") for kind, word in HEADER_ONLY_KINDS],
    ("symlink out", entry(b"K", b"/etc/passwd\0", b"K") + header(b"x", 0, b"2"), "not_a_file"),
    ("volume label", header(b"label", 0, b"V"), "not_a_file"),
    ("continued", entry(b"x", b"abc", b"M"), "not_a_file"),
    ("slash with data", entry(b"x/", b"abc"), "not_a_file"),
    ("gnu sparse", header(b"x", 0, b"S", magic=b"ustar  \0"), "sparse"),
    (
        "gnu sparse, long map",
        header(b"x", 512, b"S", magic=b"ustar  \0", more=b"\1")
        + bytes(504)
        + b"\1"
        + bytes(7)
        + bytes(512)
        + b"d" * 512,
        "sparse",
    ),
    (
        "pax sparse",
        pax(("GNU.sparse.major", "1"), ("GNU.sparse.realsize", str(2**40))) + entry(b"x", b"a"),
        "sparse",
    ),
    (
        "pax sparse 0.0",
        pax(("GNU.sparse.offset", "0"), ("GNU.sparse.offset", "9")) + entry(b"x", b"a"),
        "sparse",
    ),
]


@pytest.mark.parametrize(
    ("blocks", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_hostile_members_are_refused_and_the_rest_is_listed(
    listing: Callable[[bytes], list[Member | Refusal]], blocks: bytes, reason: str
) -> None:
    """A member that may not be used costs itself and neither of its neighbours."""
    found = listing(entry(b"before.jpg", b"b") + blocks + entry(b"after.jpg", b"c" * 600) + END)
    assert [type(member) for member in found] == [Member, Refusal, Member]
    before, refusal, after = found
    assert (before.name, after.name) == ("before.jpg", "after.jpg")
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    refusal.name.encode()  # fit to be written into a report


def test_a_member_that_is_cut_is_not_listed(spot: Path) -> None:
    """The members before a cut have been listed when the error comes, the cut one has not."""
    spot.write_bytes(entry(b"whole.jpg", b"a") + header(b"cut.jpg", 5000) + bytes(4000))
    found = list_tar(spot)
    assert next(found).name == "whole.jpg"
    with pytest.raises(BadArchive, match="a member of 5000 bytes is cut, at offset 1024"):
        next(found)


def test_names_given_twice_are_refused_once(
    listing: Callable[[bytes], list[Member | Refusal]],
) -> None:
    """Of two members with one name the first is listed; case makes a difference, "./" does not."""
    found = listing(b"".join(entry(name, b"x") for name in (b"a", b"b", b"a", b"./b", b"A")) + END)
    assert [(member.name, isinstance(member, Member)) for member in found] == [
        ("a", True),
        ("b", True),
        ("a", False),
        ("./b", False),
        ("A", True),
    ]
    assert {m.reason for m in found if isinstance(m, Refusal)} == {"duplicate"}


X = entry(b"x", b"a")
BAD = [
    ("empty file", b""),
    ("one zero block", X + bytes(512)),
    ("no end", X),
    ("zeros in the middle", X + bytes(512) + X + END),
    ("two tars", X + END + X + END),
    ("junk behind the end", X + END + bytes(9000) + b"j"),
    ("half a header", X + header()[:300]),
    ("data cut", header(size=600) + bytes(511)),
    ("padding cut", header(size=600) + bytes(700)),
    ("runs over the end", header(size=5000) + END),
    ("checksum of spaces", header()[:148] + b" " * 8 + header()[156:] + END),
    ("html", b"<html>".ljust(2048)),
    ("negative size", header(size=b"\xff" * 12) + END),
    ("absurd size", header(size=b"\x80" + b"\xff" * 11) + END),
    ("size of letters", header(size=b"0000000000z\0") + END),
    ("size with a tail", header(size=b"0001\0garbag\0") + END),
    ("link with a size", header(b"x", 512, b"1") + bytes(512) + END),
    ("folder with a size", header(b"x", 512, b"5") + bytes(512) + END),
    ("solaris header", entry(b"x", b"10 path=a\n", b"X") + X + END),
    ("pax, then nothing", pax(("path", "a")) + END),
    ("long name, then nothing", entry(b"L", b"a\0", b"L") + END),
    ("two pax headers", pax(("path", "a")) + pax(("path", "b")) + X + END),
    ("two long names", entry(b"L", b"a\0", b"L") * 2 + X + END),
    ("pax, then long name", pax(("path", "a")) + entry(b"L", b"b\0", b"L") + X + END),
    ("long name, then pax", entry(b"L", b"b\0", b"L") + pax(("path", "a")) + X + END),
    ("pax bomb of digits", entry(b"p", b"1" * 2**18, b"x") + X + END),
    (
        "pax too long",
        entry(b"p", b"%d k=" % (2**16 + 1) + b"v" * (2**16 - 9) + b"\n", b"x") + X + END,
    ),
    ("pax size differs", pax(("size", "2")) + X + END),
    ("pax size zero", pax(("size", "0")) + X + END),
    ("pax size negative", pax(("size", "-1")) + X + END),
    ("pax size endless", pax(("size", "1" * 5000)) + X + END),
    ("pax size hides a member", pax(("size", "0")) + entry(b"x", header(b"hidden")) + END),
    ("pax size runs over the end", pax(("size", "99999")) + header() + END),
    ("pax size twice", pax(("size", "1"), ("size", "1")) + X + END),
    ("pax record without length", entry(b"p", b"path=a\n", b"x") + X + END),
    ("pax record without end", entry(b"p", b"8 path=a", b"x") + X + END),
    ("pax record too long", entry(b"p", b"99 path=a\n", b"x") + X + END),
    ("pax record too short", entry(b"p", b"3 path=a\n", b"x") + X + END),
    ("pax record of zeros", entry(b"p", bytes(20), b"x") + X + END),
    ("pax record without key", entry(b"p", b"5 =a\n", b"x") + X + END),
    ("global path", pax(("path", "a"), kind=b"g") + X + END),
    ("global size", pax(("size", "1"), kind=b"g") + X + END),
    ("global sparse", pax(("GNU.sparse.major", "1"), kind=b"g") + X + END),
    ("long name of a gigabyte", header(b"L", 2**30, b"L") + X + END),
    ("long name of 5 kB", entry(b"L", b"a" * 5000, b"L") + X + END),
    ("long link of 5 kB", entry(b"K", b"a" * 5000, b"K") + X + END),
    ("long name cut", header(b"L", 4000, b"L") + b"a" * 512),
    ("sparse map cut", header(b"x", 0, b"S", magic=b"ustar  \0", more=b"\1")),
]


@pytest.mark.parametrize("content", [case[1] for case in BAD], ids=[case[0] for case in BAD])
def test_what_two_readers_could_read_differently_is_an_error(
    listing: Callable[[bytes], list[Member | Refusal]], content: bytes
) -> None:
    """Each ambiguity and each damage is a BadArchive that names the file and the offset."""
    with pytest.raises(BadArchive, match=r"archive\.tar: not a sound tar: .*at offset \d+"):
        listing(content)


GOOD = [
    ("no members", END, []),
    ("end without padding", X + END, ["x"]),
    ("odd number of zeros behind the end", X + END + bytes(77), ["x"]),
    ("v7", header(b"x", 0, b"\0", magic=bytes(8)) + END, ["x"]),
    ("contiguous", entry(b"x", b"a", b"7") + END, ["x"]),
    ("folders", header(b"d/", 0, b"5") + header(b"e/", 0, b"\0") + header(b"f/", 0) + END, []),
    ("blank size", header(size=b" " * 12) + END, ["a.jpg"]),
    (
        "base-256 size",
        header(b"x", b"\x80" + (3).to_bytes(11, "big")) + b"abc" + padding(3) + END,
        ["x"],
    ),
    ("prefix", header(b"x", 0, prefix=b"folder/of") + END, ["folder/of/x"]),
    (
        "gnu times where the prefix is",
        header(b"x", 0, magic=b"ustar  \0", prefix=b"1234") + END,
        ["x"],
    ),
    ("pax path", pax(("path", "é" * 200), ("mtime", "1.5")) + X + END, ["é" * 200]),
    ("pax size", pax(("size", "3")) + header(b"x") + b"abc" + padding(3) + END, ["x"]),
    (
        "pax of other things",
        pax(("hdrcharset", "BINARY"), ("SCHILY.xattr.a", "=\n=")) + X + END,
        ["x"],
    ),
    ("git's global comment", pax(("comment", "0" * 40), kind=b"g") + X + END, ["x"]),
    ("gnu long name", entry(b"L", b"n" * 300 + b"\0", b"L") + X + END, ["n" * 300]),
    ("longest gnu name", entry(b"L", b"n" * 4096 + b"\0", b"L") + X + END, ["n" * 4096]),
]


@pytest.mark.parametrize(("content", "expected"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
def test_unusual_tars_that_mean_one_thing_are_read(
    listing: Callable[[bytes], list[Member | Refusal]], content: bytes, expected: list[str]
) -> None:
    """Forms that other programs write, and that can be understood in one way only, are accepted."""
    found = listing(content)
    assert all(isinstance(member, Member) for member in found)
    assert [member.name for member in found] == expected


@pytest.mark.parametrize("record_bytes", [512, 10_240, 2**16, 2**18, 2**20])
def test_records_of_any_usual_size_are_filled_with_zeros(
    listing: Callable[[bytes], list[Member | Refusal]], record_bytes: int
) -> None:
    """An archive is as long as whole records of the program that wrote it: each zero to there is no damage."""
    for count in (0, 1, 5):
        used = len(X) * count + len(END)
        assert len(listing(X * count + END + bytes(-used % record_bytes))) == count


@pytest.mark.parametrize("more_bytes", [20_480, 100_000, 10_240 * 31, 5 * 2**20])
def test_more_zeros_than_a_record_are_an_error(
    listing: Callable[[bytes], list[Member | Refusal]], more_bytes: int
) -> None:
    """A file that had its whole size from the start and was not filled ends in zeros, and is no tar."""
    with pytest.raises(BadArchive, match=r"bytes of zeros where its end should be, at offset 1024"):
        listing(X + END + bytes(more_bytes))
    with pytest.raises(BadArchive, match="at offset 0"):
        listing(bytes(more_bytes))


def sparse_tar(path: Path, sizes: list[int]) -> None:
    """A tar whose members are holes, so that large ones cost nothing."""
    with path.open("wb") as file:
        for number, size_bytes in enumerate(sizes):
            file.write(header(b"%d" % number, b"\x80" + size_bytes.to_bytes(11, "big")))
            file.seek(size_bytes + -size_bytes % 512, os.SEEK_CUR)
        file.write(END)


def test_members_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    """More than 2 GiB is refused with its size, exactly 2 GiB is not; offsets may pass 4 GiB."""
    sparse_tar(tmp_path / "big.tar", [MEMBER_LIMIT_BYTES, MEMBER_LIMIT_BYTES + 1, 1])
    first, second, third = list_tar(tmp_path / "big.tar")
    assert isinstance(first, Member)
    assert second == Refusal("1", "too_large", f"{MEMBER_LIMIT_BYTES + 1} bytes")
    assert isinstance(third, Member)
    assert third.offset > 2**32


@pytest.mark.parametrize(("size_bytes", "reads"), [(10, 20), (150_000, 1001)])
def test_headers_cost_few_small_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, reads: int
) -> None:
    """Small members are read many at a time; of large ones only the blocks around the headers."""
    asked: list[int] = []
    pread = os.pread

    def counting(file: int, length: int, offset: int) -> bytes:
        asked.append(length)
        return pread(file, length, offset)

    sparse_tar(tmp_path / "a.tar", [size_bytes] * 1000)
    monkeypatch.setattr(os, "pread", counting)
    assert len(list(list_tar(tmp_path / "a.tar"))) == 1000
    assert len(asked) <= reads
    assert sum(asked) < 5 * 2**20


def test_short_reads_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives fewer bytes than asked for changes nothing."""
    path = tmp_path / "a.tar"
    path.write_bytes(packed(SAMPLE, tarfile.PAX_FORMAT))
    expected = list(list_tar(path))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, length, offset: pread(file, min(length, 300), offset))
    assert list(list_tar(path)) == expected


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    """A tar that is cut while it is being listed ends in an error and not in silence."""
    path = tmp_path / "a.tar"
    sparse_tar(path, [200_000] * 5)
    found = list_tar(path)
    next(found)
    os.truncate(path, 1000)
    with pytest.raises(BadArchive, match="shorter"):
        list(found)


@pytest.mark.parametrize(("offset", "size_bytes"), [(-1, None), (0, -1), (1025, None), (1000, 100)])
def test_a_range_outside_of_the_file_is_an_error(tmp_path: Path, offset: int, size_bytes: int | None) -> None:
    """A range that the file does not have is refused before anything is read."""
    (tmp_path / "a.tar").write_bytes(END)
    with pytest.raises(BadArchive):
        list(list_tar(tmp_path / "a.tar", offset=offset, size_bytes=size_bytes))


def test_a_missing_file_is_a_storage_error(tmp_path: Path) -> None:
    """What the system refuses to open is named with the system's words."""
    with pytest.raises(StorageError, match=r"none\.tar: cannot be read: No such file"):
        list(list_tar(tmp_path / "none.tar"))


@settings(max_examples=300)
@given(
    content=st.lists(
        st.sampled_from(
            [
                X,
                END,
                pax(("path", "p")),
                entry(b"L", b"l\0", b"L"),
                header(b"d/", 0, b"5"),
                bytes(512),
                b"j" * 512,
            ]
        ),
        max_size=6,
    )
)
def test_any_sequence_of_blocks_is_listed_or_an_error(spot: Path, content: list[bytes]) -> None:
    """Sound pieces in a senseless order never raise anything but BadArchive."""
    spot.write_bytes(b"".join(content))
    try:
        found = list(list_tar(spot))
    except BadArchive:
        return
    assert len(found) <= content.count(X)


def test_memory_stays_small_however_many_members(tmp_path: Path) -> None:
    """60,000 members cost eight bytes of digest each and the set around them, not their names."""
    path = tmp_path / "many.tar"
    with path.open("wb") as file:
        for start in range(0, 60_000, 1000):
            numbers = range(start, start + 1000)
            file.write(b"".join(ustar_header(f"folder/folder/{n}", 0) for n in numbers))
        file.write(end_of_archive(file.tell()))
    tracemalloc.start()
    try:
        assert sum(1 for _ in list_tar(path)) == 60_000
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5 * 2**20


class Growing:
    """A file that is made as long as somebody wants, and a piece longer, until it is whole."""

    def __init__(self, path: Path, whole: bytes, piece_bytes: int) -> None:
        self.path, self.whole, self.piece_bytes = path, whole, piece_bytes
        self.length = 0
        path.write_bytes(b"")

    def reach(self, position: int) -> int:
        while self.length < min(position, len(self.whole)):
            with open(self.path, "ab") as file:
                file.write(self.whole[self.length : self.length + self.piece_bytes])
            self.length = min(self.length + self.piece_bytes, len(self.whole))
        return self.length


def outcome(members: Iterator[Member | Refusal]) -> tuple[list[Member | Refusal], str]:
    """What was listed, and the words of the error if there was one."""
    found: list[Member | Refusal] = []
    try:
        found.extend(members)
    except BadArchive as error:
        return found, error.message
    return found, ""


GROWN = [
    *((name, path.read_bytes()) for name, path in REAL_TARS.items()),
    *((name, content) for name, content, *_ in BAD),
    *((name, content) for name, content, _ in GOOD),
    ("many", packed(SAMPLE, tarfile.PAX_FORMAT)),
    ("long tail", packed(SAMPLE, tarfile.USTAR_FORMAT) + bytes(3 * 2**20 + 5)),
    ("something in a long tail", packed(SAMPLE, tarfile.USTAR_FORMAT) + bytes(2**21) + b"x" + bytes(9)),
]


@pytest.mark.parametrize("piece_bytes", [100, 5000, 2**20])
@pytest.mark.parametrize("content", [case[1] for case in GROWN], ids=[case[0] for case in GROWN])
def test_a_tar_that_grows_is_listed_as_a_whole_one(spot: Path, content: bytes, piece_bytes: int) -> None:
    """The same members, refusals and errors, whatever part of the file is there at first."""
    if len(content) > 2**20 and piece_bytes < 2**20:
        piece_bytes *= 100
    spot.write_bytes(content)
    expected = outcome(list_tar(spot))
    growing = Growing(spot, content, piece_bytes)
    assert outcome(list_tar(spot, reach=growing.reach)) == expected
    if not expected[1]:
        assert growing.length == len(content)


def test_a_member_is_listed_as_soon_as_it_is_there(spot: Path) -> None:
    """Nothing is listed before its last byte is in the file, and no more is asked for than its end."""
    growing = Growing(spot, packed(SAMPLE, tarfile.USTAR_FORMAT), 512)
    for item in list_tar(spot, reach=growing.reach):
        assert isinstance(item, Member)
        assert item.offset + item.size_bytes <= growing.length <= item.offset + item.size_bytes + 1023
