"""core/shard.py and adapters/shards.py: the same bytes as tarfile, whole files or none."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import string
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.adapters.shards import ShardWriter
from g3m.adapters.tar import list_tar
from g3m.core.errors import G3MError, NoSpace, NotWritable, StorageError
from g3m.core.members import Member, refuse_name
from g3m.core.shard import SIZE_LIMIT_BYTES, ShardSummary, end_of_archive, padding, ustar_header

keys = st.text(string.ascii_letters + string.digits + "-_+,=@()", min_size=1, max_size=80)
samples = st.dictionaries(
    keys,
    st.dictionaries(st.sampled_from(["jpg", "json", "txt", "seg.png"]), st.binary(max_size=1300), min_size=1),
    max_size=6,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that Hypothesis may use again and again."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def by_tarfile(content: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in content:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@given(
    st.text(string.printable.replace("\0", "").replace("/", ""), min_size=1, max_size=100),
    st.integers(0, SIZE_LIMIT_BYTES - 1),
)
def test_headers_are_those_of_tarfile(name: str, size_bytes: int) -> None:
    """For any ASCII name and size a header has the bytes that tarfile gives it."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    assert ustar_header(name, size_bytes) == member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("name", "size_bytes"),
    [("", 0), ("a" * 101, 0), ("é", 0), ("a\0b", 0), ("a/", 0), ("a", -1), ("a", SIZE_LIMIT_BYTES)],
)
def test_what_does_not_fit_into_a_header_is_an_error(name: str, size_bytes: int) -> None:
    """Names and sizes that USTAR cannot say are refused instead of being bent."""
    with pytest.raises(ValueError, match=r"."):
        ustar_header(name, size_bytes)


@given(st.integers(0, 10**12))
def test_padding_and_end_fill_blocks_and_records(size_bytes: int) -> None:
    """Padding is the least that fills the block, the end the least that fills the record."""
    assert (size_bytes + len(padding(size_bytes))) % 512 == 0
    assert len(padding(size_bytes)) < 512
    position = size_bytes + len(padding(size_bytes))
    assert (position + len(end_of_archive(position))) % 10_240 == 0
    assert 1024 <= len(end_of_archive(position)) < 1024 + 10_240


@given(content=samples)
def test_shards_are_those_of_tarfile(folder: Path, content: dict[str, dict[str, bytes]]) -> None:
    """A shard has the bytes that tarfile gives the same files; its summary and entries hold."""
    path = folder / "00000.tar"
    with ShardWriter(path) as writer:
        entries = [writer.add(key, list(parts.items())) for key, parts in content.items()]
        summary = writer.close()
    whole = path.read_bytes()
    path.unlink()
    flat = [(f"{key}.{kind}", data) for key, parts in content.items() for kind, data in parts.items()]
    assert whole == by_tarfile(flat)
    digest = hashlib.sha256(whole).hexdigest()
    assert summary == ShardSummary("00000.tar", len(content), len(whole), digest)
    assert [entry.key for entry in entries] == list(content)
    for entry in entries:
        for field in entry.fields:
            data = whole[field.offset : field.offset + field.size_bytes]
            assert data == content[entry.key][field.extension]


def test_views_are_written_as_bytes_are(tmp_path: Path) -> None:
    """Contents may be views into larger blocks, small and large; the shard is the same."""
    block = os.urandom(2**21)
    parts = [("jpg", 5, 1_300_000), ("json", 3, 700), ("txt", 0, 0)]
    for name, kind in (("a", bytes), ("b", memoryview)):
        with ShardWriter(tmp_path / name) as writer:
            for number in range(5):
                cut = [
                    (ext, kind(memoryview(block)[at + number : at + number + size]))
                    for ext, at, size in parts
                ]
                entry = writer.add(str(number), cut)
            summary = writer.close()
        whole = (tmp_path / name).read_bytes()
        assert summary.sha256 == hashlib.sha256(whole).hexdigest()
        (image, *_) = entry.fields
        assert whole[image.offset :][: image.size_bytes] == block[9 : 9 + 1_300_000]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("form", ["{}", "a{}b", "{}:x"])
def test_a_key_is_what_the_strict_reader_takes(tmp_path: Path, form: str) -> None:
    """Of all characters those are taken that a name may have, without blanks, dots and slashes."""
    taken, expected = [], []
    with ShardWriter(tmp_path / "a.tar") as writer:
        for key in (form.format(chr(code)) for code in range(256)):
            if key.isascii() and key.isprintable() and not set(key) & set(" ./\\") and not refuse_name(key):
                expected.append(key)
            with suppress(ValueError):
                taken.append(writer.add(key, [("jpg", b"x")]).key)
    assert taken == expected
    assert len(taken) > 30


@given(content=samples)
def test_shards_pass_the_strict_reader(folder: Path, content: dict[str, dict[str, bytes]]) -> None:
    """Whatever the writer accepts, the reader lists without a refusal."""
    path = folder / "00001.tar"
    with ShardWriter(path) as writer:
        for key, parts in content.items():
            writer.add(key, list(parts.items()))
    found = list(list_tar(path))
    path.unlink()
    assert all(isinstance(member, Member) for member in found)
    assert len(found) == sum(map(len, content.values()))


@pytest.mark.parametrize(
    "key",
    ["", "a" * 81, "a.b", "a/b", "a b", "a\tb", "a\0b", "é", "a\\b", "C:x", "\x7f", "../x", "a\n"],
)
def test_bad_keys_are_refused_and_nothing_is_written(tmp_path: Path, key: str) -> None:
    """A key that no name can be made of is refused, and the shard goes on as if it had not been."""
    with ShardWriter(tmp_path / "a.tar") as writer:
        with pytest.raises(ValueError, match="not a key"):
            writer.add(key, [("jpg", b"x")])
        writer.add("k" * 80, [("jpg", b"x")])
        assert writer.samples == 1
    assert [member.name for member in list_tar(tmp_path / "a.tar")] == ["k" * 80 + ".jpg"]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [("jpg", b""), ("jpg", b"")],
        [("", b"")],
        [("JPG", b"")],
        [("j/g", b"")],
        [(".jpg", b"")],
        [("txt", b""), ("e" * 100, b"")],
    ],
    ids=["none", "twice", "empty", "upper case", "slash", "dot", "second too long"],
)
def test_bad_parts_are_refused_and_nothing_is_written(tmp_path: Path, parts: list[tuple[str, bytes]]) -> None:
    """A sample that cannot be written whole is not written in part."""
    with ShardWriter(tmp_path / "a.tar") as writer:
        with pytest.raises(ValueError, match=r"."):
            writer.add("key", parts)
        writer.add("key", [("jpg", b"x")])
    assert [member.name for member in list_tar(tmp_path / "a.tar")] == ["key.jpg"]


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    """One shard cannot hold two samples of one key."""
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.add("a", [("jpg", b"x")])
        with pytest.raises(ValueError, match="there already"):
            writer.add("a", [("txt", b"x")])


def test_a_failing_block_leaves_no_file(tmp_path: Path) -> None:
    """When the block raises, the shard is gone and the error is the block's own."""
    writer = ShardWriter(tmp_path / "a.tar")

    def fail() -> None:
        with writer:
            writer.add("a", [("jpg", b"x" * 2**21)])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="finished"):
        writer.add("b", [("jpg", b"x")])
    with pytest.raises(ValueError, match="given up"):
        writer.close()


def test_closing_and_giving_up_twice_do_no_harm(tmp_path: Path) -> None:
    """Only the first of close and abort has an effect; a finished shard stays."""
    writer = ShardWriter(tmp_path / "a.tar")
    assert writer.close() == writer.close()
    writer.abort()
    assert (tmp_path / "a.tar").stat().st_size == 10_240
    other = ShardWriter(tmp_path / "b.tar")
    other.abort()
    (tmp_path / "b.tar").write_bytes(b"another's")
    other.abort()
    assert (tmp_path / "b.tar").exists()


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    """A file that is there already is neither overwritten nor removed."""
    (tmp_path / "a.tar").write_bytes(b"mine")
    with pytest.raises(StorageError, match="File exists"):
        ShardWriter(tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == b"mine"


def test_a_full_disk_is_no_space(tmp_path: Path) -> None:
    """A write that the system refuses for size is NoSpace, and the partial shard is removed."""
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20 + 5, allowed[1]))
    try:
        with ShardWriter(tmp_path / "a.tar") as writer:
            writer.add("1", [("jpg", b"x" * 1_040_000)])
            with pytest.raises(NoSpace, match=r"a\.tar"):
                writer.add("2", [("jpg", b"x" * 1_040_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "number", "kind"),
    [
        ("write", errno.ENOSPC, NoSpace),
        ("write", errno.EDQUOT, NoSpace),
        ("write", errno.EIO, StorageError),
        ("fsync", errno.ENOSPC, NoSpace),
        ("close", errno.EDQUOT, NoSpace),
    ],
)
def test_a_failing_disk_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: type[G3MError]
) -> None:
    """Errors of write, fsync and close become errors of the tree, and the file is removed."""
    real = getattr(os, call)

    def failing(file: int, *_: object) -> None:
        if call == "close":
            real(file)
        raise OSError(number, os.strerror(number))

    writer = ShardWriter(tmp_path / "a.tar")
    writer.add("a", [("jpg", b"x")])
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(kind, match=os.strerror(number)):
            writer.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="finished"):
        writer.add("b", [("jpg", b"x")])


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that takes fewer bytes than it is given changes nothing."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:999]))
    with ShardWriter(tmp_path / "a.tar") as writer:
        writer.add("a", [("jpg", b"x" * 5000)])
    assert (tmp_path / "a.tar").read_bytes() == by_tarfile([("a.jpg", b"x" * 5000)])


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal by the system is NotWritable with the path."""

    def refusing(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refusing)  # root may write anywhere
    with pytest.raises(NotWritable, match=r"a\.tar: Permission denied"):
        ShardWriter(tmp_path / "a.tar")


def test_writes_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files become few writes of about a megabyte."""
    sizes: list[int] = []
    write = os.write

    def counting(file: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(file, data)

    monkeypatch.setattr(os, "write", counting)
    with ShardWriter(tmp_path / "a.tar") as writer:
        for number in range(2000):
            writer.add(str(number), [("jpg", b"x" * 3000), ("txt", b"y")])
    assert all(2**20 <= size < 2**20 + 2**12 for size in sizes[:-1])
    assert sum(sizes) == (tmp_path / "a.tar").stat().st_size
