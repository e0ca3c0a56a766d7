"""adapters/members.py: every member comes back whole and checked, from any kind of source."""

from __future__ import annotations

import dataclasses
import importlib
import io
import os
import random
import struct
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters.folder import list_folder
from g3m.adapters.members import MemberReader
from g3m.adapters.tar import list_tar
from g3m.adapters.zip import list_zip
from g3m.core.errors import BadArchive, StorageError
from g3m.core.members import MEMBER_LIMIT_BYTES, Member, Refusal

TEXT = b"one caption after the other, " * 40_000  # 1.2 MB: several pieces, stored and inflated
NOISE = random.Random(6).randbytes(700_000)


@pytest.fixture(params=["isal", "zlib"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run each test with the fast engine and as if it were not installed."""
    if request.param == "zlib":
        monkeypatch.setitem(sys.modules, "isal.isal_zlib", None)
    else:
        importlib.import_module("isal.isal_zlib")  # that it is there is part of the test
    return str(request.param)


@pytest.fixture(scope="module")
def spot() -> Iterator[Path]:
    """A file that is written again and again, because Hypothesis shares one test's folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "archive.zip"


def zipped(path: Path, *content: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> list[Member]:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content:
            archive.writestr(name, data)
    return plain(list_zip(path))


def plain(found: Iterator[Member | Refusal]) -> list[Member]:
    members = [member for member in found if isinstance(member, Member)]
    assert members
    return members


@pytest.fixture(params=["tar", "zip-stored", "zip-deflated", "folder"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[Member]]:
    """The same four files as a source of each kind, and its listing."""
    content = {"a.json": TEXT, "b.jpg": NOISE, "c.txt": b"", "d.txt": b"d"}
    path = tmp_path / "source"
    if request.param == "tar":
        with tarfile.open(path, "w") as archive:
            for name, data in content.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path, plain(list_tar(path))
    if request.param == "folder":
        path.mkdir()
        for name, data in content.items():
            (path / name).write_bytes(data)
        return path, plain(list_folder(path))
    method = zipfile.ZIP_STORED if request.param == "zip-stored" else zipfile.ZIP_DEFLATED
    return path, zipped(path, *content.items(), method=method)


def test_members_of_every_source_are_read(source: tuple[Path, list[Member]]) -> None:
    """Read at once, as a stream, in lines or in odd pieces, a member gives the same bytes."""
    path, members = source
    with MemberReader(path) as reader:
        assert [reader.read(member) for member in members] == [TEXT, NOISE, b"", b"d"]
        for member in members:
            whole = reader.read(member)
            with reader.open(member) as stream:
                assert stream.read() == whole
            with reader.open(member) as stream:
                assert b"".join(stream) == whole
            with reader.open(member) as stream:
                assert b"".join(iter(lambda: stream.read(70_001), b"")) == whole


def test_a_stream_may_be_left_early(source: tuple[Path, list[Member]]) -> None:
    """Closing a stream before its end or its start raises nothing and leaks no descriptor."""
    path, members = source
    before = len(os.listdir("/proc/self/fd"))
    with MemberReader(path) as reader:
        for member in members:
            with reader.open(member):
                pass
            with reader.open(member) as stream:
                stream.read(10)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_view_is_what_reading_gives(source: tuple[Path, list[Member]]) -> None:
    """A view has the member's bytes and nothing around them, stays valid, and cannot be changed."""
    path, members = source
    with MemberReader(path) as reader:
        views = [reader.view(member) for member in members]
        assert [bytes(view) for view in views] == [reader.read(member) for member in members]
    assert [bytes(view) for view in views] == [TEXT, NOISE, b"", b"d"]
    assert all(memoryview(view).readonly and memoryview(view).format == "B" for view in views)


def test_a_view_of_a_stored_member_is_no_copy(tmp_path: Path) -> None:
    """What lies stored in a zip is handed out from the block that was read; a wrong checksum is still an error."""
    (member,) = zipped(tmp_path / "a.zip", ("a.jpg", NOISE), method=zipfile.ZIP_STORED)
    with MemberReader(tmp_path / "a.zip") as reader:
        view = reader.view(member)
        assert isinstance(view, memoryview)
        assert len(view.obj) > len(view)  # type: ignore[arg-type]
        with pytest.raises(BadArchive, match="checksum"):
            reader.view(dataclasses.replace(member, crc32=0, method="raw", offset=reader.data_offset(member)))
        changed(tmp_path / "a.zip", reader.data_offset(member) + 5, bytes([NOISE[5] ^ 1]))
        with pytest.raises(BadArchive, match="checksum"):
            reader.view(member)


def test_threads_share_a_reader(source: tuple[Path, list[Member]]) -> None:
    """Eight threads that read from one reader all get what they asked for."""
    path, members = source
    expected = [TEXT, NOISE, b"", b"d"] * 25
    with MemberReader(path) as reader, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(reader.read, members * 25)) == expected


def test_short_reads_are_completed(
    source: tuple[Path, list[Member]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that gives fewer bytes than asked for changes nothing."""
    path, members = source
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, size, at: pread(file, min(size, 50_001), at))
    with MemberReader(path) as reader:
        assert [reader.read(member) for member in members] == [TEXT, NOISE, b"", b"d"]


@given(
    data=st.binary(max_size=3000),
    repeat=st.integers(1, 200),
    level=st.integers(0, 9),
    piece_bytes=st.integers(1, 100_000),
)
def test_deflated_members_stream_in_any_pieces(
    spot: Path, data: bytes, repeat: int, level: int, piece_bytes: int
) -> None:
    """However a member was compressed and however it is read, its bytes are the same."""
    with zipfile.ZipFile(spot, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        archive.writestr("a", data * repeat)
    (member,) = plain(list_zip(spot))
    with MemberReader(spot) as reader:
        assert reader.read(member) == data * repeat
        with reader.open(member) as stream:
            found = b"".join(iter(lambda: stream.read(piece_bytes), b""))
    assert found == data * repeat


@pytest.mark.parametrize(("extra_bytes", "reads"), [(0, 1), (28, 1), (64, 1), (65, 2), (60_000, 2)])
def test_a_zip_member_costs_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra_bytes: int, reads: int
) -> None:
    """Header and data come in one read, unless the extra field is longer than any in use."""
    name, data = b"a.jpg", b"x" * 1000
    local = struct.pack(
        "<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, zlib.crc32(data), 1000, 1000, len(name), extra_bytes
    )
    (tmp_path / "a.zip").write_bytes(local + name + b"e" * extra_bytes + data)
    asked: list[int] = []
    pread = os.pread

    def counting(file: int, size: int, at: int) -> bytes:
        asked.append(size)
        return pread(file, size, at)

    # Bytes behind the member, as the next header: at the end of the file a read would come short.
    with open(tmp_path / "a.zip", "ab") as file:
        file.write(bytes(200))
    monkeypatch.setattr(os, "pread", counting)
    with MemberReader(tmp_path / "a.zip") as reader:
        member = Member("a.jpg", "zip-stored", 0, 1000, 1000, zlib.crc32(data))
        assert reader.read(member) == data
    assert len(asked) == reads


def test_a_tar_inside_a_zip_is_read_in_place(tmp_path: Path) -> None:
    """The data offset of a stored member is where a listing of it can start."""
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w") as archive:
        member = tarfile.TarInfo("a.jpg")
        member.size = len(NOISE)
        archive.addfile(member, io.BytesIO(NOISE))
    path = tmp_path / "a.zip"
    _, outer = zipped(path, ("x", b"x"), ("b.tar", inner.getvalue()), method=zipfile.ZIP_STORED)
    with MemberReader(path) as reader:
        offset = reader.data_offset(outer)
        (found,) = plain(list_tar(path, offset=offset, size_bytes=outer.size_bytes))
        assert reader.data_offset(found) == found.offset
        assert reader.read(found) == NOISE


def changed(path: Path, at: int, value: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value)


HEADER_LIES = [
    ("signature", 0, b"PK\1\2", "no local header"),
    ("encrypted", 6, b"\1\0", "another method"),
    ("method", 8, b"\0\0", "another method"),
    ("crc32", 14, b"\1\2\3\4", "another size or checksum"),
    ("stored size", 18, b"\1\0\0\0", "another size or checksum"),
    ("size", 22, b"\1\0\0\0", "another size or checksum"),
    ("name length", 26, b"\4\0", "another name"),
    ("name", 30, b"b", "another name"),
]


@pytest.mark.parametrize(
    ("at", "value", "words"), [lie[1:] for lie in HEADER_LIES], ids=[lie[0] for lie in HEADER_LIES]
)
def test_a_local_header_must_agree(tmp_path: Path, at: int, value: bytes, words: str) -> None:
    """What the local header says differently from the directory is an error."""
    path = tmp_path / "a.zip"
    (member,) = zipped(path, ("a.json", TEXT))
    changed(path, at, value)
    with MemberReader(path) as reader:
        with pytest.raises(BadArchive, match=rf"a\.zip: member 'a\.json' at offset 0: .*{words}"):
            reader.read(member)
        with pytest.raises(BadArchive, match=words), reader.open(member) as stream:
            stream.read()


@pytest.mark.parametrize("blank", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_blanks_in_a_local_header_are_no_lie(tmp_path: Path, blank: bytes) -> None:
    """Sizes left at zero or at the zip64 mark say that they stand elsewhere."""
    path = tmp_path / "a.zip"
    (member,) = zipped(path, ("a.json", TEXT))
    changed(path, 18, blank * 2)
    with MemberReader(path) as reader:
        assert reader.read(member) == TEXT


def test_a_streamed_member_may_have_any_sizes_in_front(tmp_path: Path) -> None:
    """Where the sizes stand behind the data, those in the local header are not compared."""
    path = tmp_path / "a.zip"
    (member,) = zipped(path, ("a.json", TEXT))
    changed(path, 6, b"\x08\0")
    changed(path, 14, b"\1\2\3\4" * 3)
    with MemberReader(path) as reader:
        assert reader.read(member) == TEXT


@pytest.mark.parametrize("raw", [b"caf\x82", "café".encode()], ids=["cp437", "utf-8"])
def test_names_without_the_flag_for_utf8_are_read(tmp_path: Path, raw: bytes) -> None:
    """A name in code page 437, or in UTF-8 as Info-ZIP writes it, is listed and compared right."""
    path = tmp_path / "a.zip"
    blank = b"X" * len(raw)
    zipped(path, (f"{blank.decode()}.jpg", b"x"), method=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(blank, raw))
    (member,) = plain(list_zip(path))
    assert member.name == "café.jpg"
    with MemberReader(path) as reader:
        assert reader.read(member) == b"x"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_flip_in_the_data_is_an_error(tmp_path: Path, method: int) -> None:
    """No flipped bit of a member's data gets through, read at once or as a stream."""
    path = tmp_path / "a.zip"
    (member,) = zipped(path, ("a.jpg", NOISE[:200] + TEXT[:300]), method=method)
    with MemberReader(path) as reader:
        start = reader.data_offset(member)
        whole = path.read_bytes()
        for bit in range(start * 8, (start + member.stored_bytes) * 8, 3):
            changed(path, bit // 8, bytes([whole[bit // 8] ^ 1 << bit % 8]))
            with pytest.raises(BadArchive, match=r"'a\.jpg' at offset 0"):
                reader.read(member)
            with pytest.raises(BadArchive, match=r"'a\.jpg' at offset 0"):
                reader.open(member).read()
            changed(path, bit // 8, whole[bit // 8 : bit // 8 + 1])
        assert reader.read(member) == NOISE[:200] + TEXT[:300]


@pytest.mark.parametrize(
    "lie", [{"size_bytes": 10}, {"size_bytes": 2**21}, {"stored_bytes": 100}, {"crc32": 1}]
)
def test_a_listing_that_promises_something_else_is_an_error(tmp_path: Path, lie: dict[str, int]) -> None:
    """A member that is shorter, longer or other than listed is never handed out to its end."""
    path = tmp_path / "a.zip"
    (member,) = zipped(path, ("a.json", TEXT))
    # Without its checksum and sizes, the local header has nothing to contradict.
    changed(path, 14, bytes(12))
    wrong = dataclasses.replace(member, **lie)
    with MemberReader(path) as reader:
        with pytest.raises(BadArchive, match=r"a\.json"):
            reader.read(wrong)
        with pytest.raises(BadArchive, match=r"a\.json"):
            reader.open(wrong).read()


def test_a_member_longer_than_listed_is_stopped_at_once(tmp_path: Path) -> None:
    """A stream notices the surplus with its first piece, before a bomb has gone off."""
    path = tmp_path / "a.zip"
    (member,) = zipped(path, ("a.json", TEXT))
    changed(path, 14, bytes(12))
    with MemberReader(path) as reader, pytest.raises(BadArchive, match="longer than 10 bytes"):
        reader.open(dataclasses.replace(member, size_bytes=10)).read(5)


@pytest.mark.parametrize("more", range(0, 600, 43))
def test_a_stream_gives_the_last_bytes_too(tmp_path: Path, more: int) -> None:
    """Output that is held back when all input has been read is not forgotten."""
    content = bytes(2**18 + more)
    (member,) = zipped(tmp_path / "a.zip", ("a", content))
    with MemberReader(tmp_path / "a.zip") as reader:
        assert reader.open(member).read() == content


def test_bytes_behind_a_whole_piece_are_an_error(tmp_path: Path) -> None:
    """Compressed data that ends exactly with a piece of the stream is not taken for the whole."""
    path, piece_bytes = tmp_path / "a.zip", 2**18
    deflater = zlib.compressobj(0, zlib.DEFLATED, -15)
    data = b"x" * (piece_bytes - 5 * 5)
    packed = deflater.compress(data) + deflater.flush()
    data = data[: len(data) - (len(packed) - piece_bytes)]
    deflater = zlib.compressobj(0, zlib.DEFLATED, -15)
    packed = deflater.compress(data) + deflater.flush()
    assert len(packed) == piece_bytes
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, 0, 0, 1, 0) + b"a"
    path.write_bytes(local + packed + b"hidden")
    good = Member("a", "zip-deflated", 0, len(data), piece_bytes, zlib.crc32(data))
    with MemberReader(path) as reader:
        assert reader.open(good).read() == reader.read(good) == data
        longer = dataclasses.replace(good, stored_bytes=piece_bytes + 6)
        with pytest.raises(BadArchive, match="bytes behind"):
            reader.open(longer).read()
        with pytest.raises(BadArchive, match="does not inflate"):
            reader.read(longer)


def test_bytes_behind_the_compressed_data_are_an_error(tmp_path: Path) -> None:
    """Compressed data that ends before the member does hides something."""
    path = tmp_path / "a.zip"
    first, _ = zipped(path, ("a", TEXT), ("b", NOISE))
    changed(path, 14, bytes(12))
    longer = dataclasses.replace(first, stored_bytes=first.stored_bytes + 9)
    with MemberReader(path) as reader:
        with pytest.raises(BadArchive, match="does not inflate to"):
            reader.read(longer)
        with pytest.raises(BadArchive, match="does not end where it should"):
            reader.open(longer).read()


def test_a_stored_member_of_two_sizes_is_an_error(tmp_path: Path) -> None:
    """What is not compressed cannot have one size here and another there."""
    path = tmp_path / "a.zip"
    (member,) = zipped(path, ("a", b"abc"), method=zipfile.ZIP_STORED)
    changed(path, 14, bytes(12))
    with MemberReader(path) as reader, pytest.raises(BadArchive, match="two sizes"):
        reader.read(dataclasses.replace(member, size_bytes=2))


@pytest.mark.parametrize("left", [0, 20, 33, 400_000])
def test_a_file_cut_meanwhile_is_an_error(source: tuple[Path, list[Member]], left: int) -> None:
    """A source that lost its end since it was listed gives an error and no short member."""
    path, members = source
    member = members[1]
    cut = path / member.name if member.method == "file" else path
    os.truncate(cut, left if member.method == "file" else min(left, member.offset + left))
    with MemberReader(path) as reader:
        with pytest.raises(BadArchive, match=r"b\.jpg"):
            reader.read(member)
        with pytest.raises(BadArchive, match=r"b\.jpg"):
            reader.open(member).read()


def test_a_checksum_is_checked_wherever_there_is_one(tmp_path: Path) -> None:
    """A raw member may carry a crc32, too."""
    (tmp_path / "a").write_bytes(b"abc")
    good = Member("a", "raw", 0, 3, 3, zlib.crc32(b"abc"))
    with MemberReader(tmp_path / "a") as reader:
        assert reader.read(good) == b"abc"
        with pytest.raises(BadArchive, match="checksum"):
            reader.read(dataclasses.replace(good, crc32=0))


def test_too_large_a_member_is_never_read_into_memory(tmp_path: Path) -> None:
    """More than 2 GiB in one piece is refused, whatever the listing says."""
    (tmp_path / "a").write_bytes(b"")
    size_bytes = MEMBER_LIMIT_BYTES + 1
    with MemberReader(tmp_path / "a") as reader, pytest.raises(BadArchive, match="too many"):
        reader.read(Member("a", "raw", 0, size_bytes, size_bytes))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a\0b"])
def test_no_name_leads_out_of_a_folder(tmp_path: Path, name: str) -> None:
    """A member that no listing would give is not opened."""
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    with MemberReader(tmp_path / "folder") as reader, pytest.raises(BadArchive, match="opened"):
        reader.read(Member(name, "file", 0, 1, 1))


def test_a_file_that_became_something_else_is_an_error(tmp_path: Path) -> None:
    """A file that was replaced, grew or vanished since the listing is an error at once."""
    for name in ("fifo", "folder", "gone", "grown"):
        (tmp_path / name).touch()
    members = {member.name: member for member in plain(list_folder(tmp_path))}
    for name in members:
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "grown").write_bytes(b"more")
    with MemberReader(tmp_path) as reader:
        before = len(os.listdir("/proc/self/fd"))
        for name in ("fifo", "folder", "grown"):
            with pytest.raises(BadArchive, match="has changed"):
                reader.read(members[name])
        assert len(os.listdir("/proc/self/fd")) == before
        with pytest.raises(StorageError, match="No such file"):
            reader.read(members["gone"])


def test_places_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing source, and a folder where a file should be, are errors with the system's words."""
    with pytest.raises(StorageError, match="none: cannot be read: No such file"):
        MemberReader(tmp_path / "none")
    with MemberReader(tmp_path) as reader, pytest.raises(StorageError, match="Is a directory"):
        reader.read(Member("a", "raw", 0, 1, 1))
    reader.close()  # a second time
