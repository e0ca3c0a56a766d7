"""load/folder.py: reading samples of one folder in as few requests as may be, whatever the index says."""

from __future__ import annotations

import os
import pickle
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.load.folders import Members, folder_of, numbered, published

from g3m.adapters.local import LocalReader
from g3m.core.errors import G3MError, NotVerified, StorageError, UnknownDataset
from g3m.core.index import Head
from g3m.load.folder import GAP_LIMIT_BYTES, Folder, open_folder, tail

RECORD_BYTES = 8 + 12 * 2
CHECK_BYTES = 4
"""A record of an index with the fields jpg and txt."""


@pytest.fixture
def opened() -> Iterator[list[Folder]]:
    made: list[Folder] = []
    yield made
    for one in made:
        one.close()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Every read of a shard, while the test runs."""
    seen: list[tuple[str, int, int]] = []
    real = LocalReader.read

    def read(self: LocalReader, shard: str, offset: int, size_bytes: int) -> bytes:
        seen.append((shard, offset, size_bytes))
        return real(self, shard, offset, size_bytes)

    monkeypatch.setattr(LocalReader, "read", read)
    return seen


def parts_of(folder: Folder, number: int = 0) -> tuple[str, bytes, bytes, bytes]:
    parts = folder.parts(number)
    return parts.key, parts.image, parts.text, parts.json


def test_no_more_is_read_of_a_member_than_is_asked_for(
    tmp_path: Path, opened: list[Folder], reads: list[tuple[str, int, int]]
) -> None:
    """Its beginning, whatever its size; how large the image is, is known without a read."""
    members = {"jpg": b"J" * 200_000, "txt": b"t" * 90_000, "json": b"{}"}
    opened.append(folder := open_folder(str(folder_of(tmp_path / "f", {"0.tar": [("k", members)]}))))
    parts = folder.parts(0, 1000)
    assert (parts.image, parts.text, parts.json) == (b"J" * 1000, b"t" * 1000, b"{}")
    assert all(size_bytes <= 1000 for _, _, size_bytes in reads)
    reads.clear()
    assert folder.image_bytes(0) == 200_000 and not reads


@pytest.mark.parametrize("size_bytes", [0, 1, 999, 1000, 1001, 2500])
def test_an_image_comes_in_pieces(
    tmp_path: Path, opened: list[Folder], reads: list[tuple[str, int, int]], size_bytes: int
) -> None:
    """Each is read when it is asked for; together they are the image, and of none there is none."""
    members = {"txt": b"t", "jpg": os.urandom(size_bytes)}
    samples = [("k", members), ("no-image", {"txt": b"t"})]
    opened.append(folder := open_folder(str(folder_of(tmp_path / "f", {"0.tar": samples}))))
    pieces = list(folder.image_pieces(0, 1000))
    assert b"".join(pieces) == members["jpg"] and len(reads) == -(-size_bytes // 1000)
    assert all(len(piece) <= 1000 for piece in pieces)
    assert folder.image_bytes(1) == 0 and list(folder.image_pieces(1, 1000)) == []


@pytest.mark.parametrize(
    ("members", "expected", "expected_reads"),
    [
        ({"jpg": b"J" * 700, "json": b"{}", "txt": b"t"}, (b"J" * 700, b"t", b"{}"), 1),
        ({"txt": b"t", "jpg": b"J"}, (b"J", b"t", b""), 1),
        ({"cls": b"7", "png": b"P", "txt": b"t"}, (b"P", b"t", b""), 1),
        ({"png": b"P", "jpg": b"J", "txt": b"t"}, (b"J", b"t", b""), 1),
        ({"webp": b"W"}, (b"W", b"", b""), 1),
        ({"txt": b"t"}, (b"", b"t", b""), 1),
        ({"cls": b"7"}, (b"", b"", b""), 0),
        ({"jpg": b"", "txt": b""}, (b"", b"", b""), 1),
        ({"jpg": b"J", "npy": b"N" * (GAP_LIMIT_BYTES - 2048), "txt": b"t"}, (b"J", b"t", b""), 1),
        ({"jpg": b"J", "npy": b"N" * (GAP_LIMIT_BYTES + 1), "txt": b"t"}, (b"J", b"t", b""), 2),
    ],
)
def test_one_read_for_a_sample(
    tmp_path: Path,
    opened: list[Folder],
    reads: list[tuple[str, int, int]],
    members: Members,
    expected: tuple[bytes, ...],
    expected_reads: int,
) -> None:
    """Image, text and json come by one read, from the first to the last, unless something large lies between."""
    opened.append(folder := open_folder(str(folder_of(tmp_path / "f", {"0.tar": [("k", members)]}))))
    assert parts_of(folder) == ("k", *expected)
    assert len(reads) == expected_reads
    if expected_reads == 1:
        assert reads[0][2] <= sum(map(len, members.values())) + 2048 * len(members)


def test_any_member(tmp_path: Path, opened: list[Folder], reads: list[tuple[str, int, int]]) -> None:
    """Members that loading does not look at are read by their extension alone; what is not there is empty."""
    samples = [("a", {"jpg": b"J", "cls": b"7", "npy": b"N" * 99}), ("b", {"jpg": b"K"})]
    opened.append(folder := open_folder(str(folder_of(tmp_path / "f", {"0.tar": samples}))))
    assert folder.members(0, ("cls", "npy", "txt")) == [b"7", b"N" * 99, b""]
    assert folder.members(1, ("cls",)) == [b""]
    assert [size for _, _, size in reads] == [1024 + 99]


def test_errors_name_shard_and_sample(tmp_path: Path, opened: list[Folder]) -> None:
    """A missing, changed or cut shard: the file, the sample and what helps, for own datasets and for others."""
    own = published(tmp_path, "own", "own", 3)
    foreign = folder_of(tmp_path / "foreign", {"00000.tar": numbered("f", 3)})
    for path, remedy in ((own, "g3m verify --repair"), (foreign, f"g3m index {foreign}")):
        for spoil, said in (
            (lambda shard: shard.unlink(), "the shard is not there"),
            (lambda shard: shard.write_bytes(b"x" * 20_480), "has changed since it was indexed"),
            (lambda shard: shard.write_bytes(b"x" * 600), "it has 600 bytes, not 10240"),
        ):
            spoil(path / "00000.tar")  # type: ignore[no-untyped-call]
            opened.append(folder := open_folder(str(path)))
            with pytest.raises(NotVerified, match=rf"{path}/00000\.tar: .*{said}.* \(sample k1\)") as caught:
                folder.parts(1)
            assert str(caught.value) == caught.value.message
            assert all(remedy in hint for hint in caught.value.hint)


def test_a_disk_that_fails_is_no_reason_to_repair(
    tmp_path: Path, opened: list[Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk says keeps its own kind and hint; the sample is named."""
    opened.append(folder := open_folder(str(folder_of(tmp_path / "f", {"0.tar": numbered("f", 1)}))))

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(StorageError, match=r"0\.tar: Input/output error \(sample k0\)") as caught:
        folder.parts(0)
    assert "index" not in caught.value.hint[0]


def test_another_process_must_find_the_same(tmp_path: Path, opened: list[Folder]) -> None:
    """Pickled, a folder is its place; where something else stands by then, nobody reads on by mistake."""
    path = folder_of(tmp_path / "f", {"0.tar": numbered("f", 3)})
    opened.append(folder := open_folder(str(path)))
    packed = pickle.dumps(folder)
    opened.append(again := pickle.loads(packed))
    assert (parts_of(again, 1), again.digest) == (parts_of(folder, 1), folder.digest)
    folder_of(path, {"0.tar": numbered("g", 4)})
    with pytest.raises(NotVerified, match="was another dataset"):
        pickle.loads(packed)
    shutil.rmtree(path)
    with pytest.raises(UnknownDataset):
        pickle.loads(packed)
    assert len(packed) < 400 + len(str(path))


def test_digests(tmp_path: Path, opened: list[Folder]) -> None:
    """Other samples, another order of shards, another size or another digest in the manifest: another digest."""
    shards = {"0.tar": numbered("f", 3), "1.tar": numbered("g", 3)}
    variants = [
        shards,
        dict(reversed(shards.items())),
        {"0.tar": numbered("f", 3), "1.tar": numbered("g", 3, key="x{}")},
        {"0.tar": numbered("f", 3), "1.tar": numbered("g", 3, size_bytes=41)},
        {"0.tar": numbered("f", 3), "1.tar": numbered("g", 3, size_bytes=4000)},
        {"0.tar": numbered("f", 3)},
    ]
    for number, variant in enumerate(variants):
        opened.append(open_folder(str(folder_of(tmp_path / f"{number}", variant))))
    own = published(tmp_path, "own", "own")
    opened.append(open_folder(str(own)))
    text = (own / "manifest.json").read_text(encoding="utf-8")
    digest = opened[-1].manifest.shards[0].sha256  # type: ignore[union-attr]
    (own / "manifest.json").write_text(text.replace(digest, "0" * 64), encoding="utf-8")
    opened.append(open_folder(str(own)))
    assert len({folder.digest for folder in opened}) == len(opened) == 8
    opened.append(open_folder(str(folder_of(tmp_path / "again", shards))))
    assert opened[-1].digest == opened[0].digest


def test_digests_of_large_heads(tmp_path: Path, opened: list[Folder]) -> None:
    """One name or size among twenty thousand shards is enough for another digest."""
    names = [f"{number:05}.tar" for number in range(20_000)]
    sizes = [10_240] * len(names)
    for place, (name, size) in enumerate(
        (("10000.tar", 10_240), ("10000.tax", 10_240), ("10000.tar", 20_480))
    ):
        names[10_000], sizes[10_000] = name, size
        head = Head(shards=tuple(names), samples=0, sizes=tuple(sizes))
        (tmp_path / f"{place}.bin").write_bytes(head.encode())
        opened.append(open_folder(str(tmp_path / f"{place}.bin")))
    assert len({folder.digest for folder in opened}) == 3


def test_an_index_that_is_not_the_manifests(tmp_path: Path) -> None:
    """Other counts or other shards than in the manifest are refused at once, with the remedy."""
    own = published(tmp_path, "own", "own", 3)
    text = (own / "manifest.json").read_text(encoding="utf-8")
    for old, new in (('"samples": 3', '"samples": 4'), ("00000.tar", "00001.tar")):
        (own / "manifest.json").write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(NotVerified, match="it has 3 samples in 1 shards, the manifest has") as caught:
            open_folder(str(own))
        assert "g3m verify --repair" in caught.value.hint[0]


def test_a_manifest_that_is_damaged(tmp_path: Path, opened: list[Folder]) -> None:
    """A manifest of g3m's that cannot be read is said; one of another program is none of ours."""
    own = published(tmp_path, "own", "own", 3)
    text = (own / "manifest.json").read_text(encoding="utf-8")
    (own / "manifest.json").write_text(text[:-20], encoding="utf-8")
    with pytest.raises(NotVerified, match=r"manifest\.json cannot be read"):
        open_folder(str(own))
    (own / "manifest.json").write_text('{"name": "a web page", "icons": []}', encoding="utf-8")
    opened.append(folder := open_folder(str(own)))
    assert (folder.manifest, len(folder), folder.name) == (None, 3, "own")


@pytest.mark.parametrize("spoil", ["empty", "other", "cut", "longer", "folder", "pipe"])
def test_an_index_that_is_none(tmp_path: Path, spoil: str) -> None:
    """What cannot be an index is an error of g3m's at once, for whatever reason; nothing waits for ever."""
    path = folder_of(tmp_path / "f", {"0.tar": numbered("f", 3)}) / "index.bin"
    data = path.read_bytes()
    path.unlink()
    if spoil == "folder":
        path.mkdir()
    elif spoil == "pipe":
        os.mkfifo(path)
    else:
        content = {"empty": b"", "other": b"x" * 100, "cut": data[:-1], "longer": data + b"x"}
        path.write_bytes(content[spoil])
    with pytest.raises((NotVerified, StorageError), match=r"index\.bin|its index cannot be used"):
        open_folder(str(path.parent))


def test_a_record_that_lies(tmp_path: Path, opened: list[Folder]) -> None:
    """A damaged record is an error of its own sample, and no end of the dataset: the others can be read."""
    path = folder_of(tmp_path / "f", {"0.tar": numbered("f", 3)})
    data = bytearray((path / "index.bin").read_bytes())
    start = len(data) - CHECK_BYTES - 3 * RECORD_BYTES - len("k0k1k2")
    spoils = (
        (0, struct.pack("<I", 7)),  # a shard that is not there
        (4, struct.pack("<I", 2**31)),  # a key that ends behind all keys
        (8, struct.pack("<Q", 2**63)),  # an offset beyond any file
        (16, struct.pack("<I", 2**31)),  # a size beyond the shard
    )
    for at, value in spoils:
        place = start + RECORD_BYTES + at
        (path / "index.bin").write_bytes(bytes(data[:place]) + value + bytes(data[place + len(value) :]))
        opened.append(folder := open_folder(str(path)))
        with pytest.raises(NotVerified, match=f"{path}.* sample 1") as caught:
            folder.parts(1)
        assert f"g3m index {path}" in caught.value.hint[0]
        assert parts_of(folder, 0)[2] == b"f 0"
        with pytest.raises(NotVerified, match=str(path)):
            list(folder.keys()) if at == 4 else folder.members(1, ("jpg",))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_of_an_index(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes of an index are changed: samples, or an error of g3m's; never another exception."""
    path = tmp_path / "f"
    if not path.is_dir():
        folder_of(path, {"0.tar": numbered("f", 3), "1.tar": numbered("g", 2)})
        shutil.copy(path / "index.bin", tmp_path / "whole.bin")
    content = bytearray((tmp_path / "whole.bin").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (path / "index.bin").write_bytes(content[: data.draw(st.integers(0, len(content))) or None])
    try:
        folder = open_folder(str(path))
    except G3MError:
        return
    for number in range(min(len(folder), 5)):
        try:
            folder.parts(number)
        except G3MError as error:
            assert str(path) in error.message
    folder.close()


def test_the_last_components() -> None:
    """Paths and addresses end alike; an address without a path has its host as name."""
    assert [tail("/", 1), tail("/a/b/c/", 2), tail("https://h/a/b/", 1), tail("s3://bucket", 1)] == [
        "",
        "b/c",
        "b",
        "bucket",
    ]


def test_where_members_lie(tmp_path: Path, opened: list[Folder]) -> None:
    """Shard, key and the bytes of each member, as they lie in the tar; where the samples of each shard begin."""
    shards = {
        "a.tar": [("x", {"jpg": b"JJ", "txt": b"t"}), ("y", {"txt": b"alone"})],
        "b.tar": [("z", {"jpg": b"Z" * 5})],
    }
    folder = open_folder(str(folder_of(tmp_path / "d", shards)))
    opened.append(folder)
    samples = [(name, *sample) for name, held in shards.items() for sample in held]
    for number, (name, key, members) in enumerate(samples):
        shard, entry = folder.where(number)
        data = (tmp_path / "d" / shard).read_bytes()
        found = {one.extension: data[one.offset : one.offset + one.size_bytes] for one in entry.fields}
        assert (shard, entry.key, found) == (name, key, members)
    assert folder.starts() == [0, 2, 3]
    assert folder.size_bytes == sum((tmp_path / "d" / name).stat().st_size for name in shards)


def test_damage_names_the_folder_wherever_it_is_met(tmp_path: Path, opened: list[Folder]) -> None:
    """Also where only places are asked for."""
    place = folder_of(tmp_path / "d", {"a.tar": numbered("a", 3)})
    index = place / "index.bin"
    data = bytearray(index.read_bytes())
    head = len(data) - CHECK_BYTES - sum(len(f"k{number}") for number in range(3)) - 3 * RECORD_BYTES
    struct.pack_into("<I", data, head + RECORD_BYTES, 9)
    index.write_bytes(data)
    folder = open_folder(str(place))
    opened.append(folder)
    for ask in (lambda: folder.where(1), folder.starts):
        with pytest.raises(NotVerified, match="d: the index is damaged"):
            ask()
