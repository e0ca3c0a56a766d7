"""What the contestants fetch: WebDataset shards of any size, drawn by a fixed seed, and their recipes."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 2**20
PICTURE_HEAD = b"\xff\xd8\xff\xe0"
"""What a shard's reader wants to see of a picture; the rest of it here is noise."""

POOL_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class File:
    """One file to fetch, in its folder."""

    path: Path
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name


def make_shard(path: Path, mebibytes: int) -> File:
    """A shard of one sample per mebibyte, and 10 kB of tar's end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = random.Random(mebibytes)
    pool = numbers.randbytes(POOL_BYTES)
    picture_bytes = MIB - 3 * 512
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(mebibytes):
            at = numbers.randrange(POOL_BYTES - picture_bytes)
            _add(tar, f"{number:06d}.jpg", PICTURE_HEAD + pool[at + 4 : at + picture_bytes])
            _add(tar, f"{number:06d}.txt", b"a picture, number %d" % number)
    return File(path, path.stat().st_size, sha256_of(path))


def make_lie(file: File, folder: Path) -> Path:
    """A copy with one wrong byte in every mebibyte."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / file.name
    numbers = random.Random(5)
    with open(file.path, "rb") as source, open(copy, "wb") as target:
        while data := bytearray(source.read(MIB)):
            data[numbers.randrange(len(data))] ^= 1
            target.write(data)
    return copy


def make_small_shards(folder: Path, count: int, picture_bytes: int) -> list[File]:
    """Many shards of one sample each."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = random.Random(1).randbytes(POOL_BYTES)
    files = []
    for number in range(count):
        at = number * 1009 % (POOL_BYTES - picture_bytes)
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, f"{number:06d}.jpg", PICTURE_HEAD + pool[at + 4 : at + picture_bytes])
            _add(tar, f"{number:06d}.txt", b"a picture, number %d" % number)
        path = folder / f"{number:05d}.tar"
        path.write_bytes(data.getvalue())
        files.append(File(path, path.stat().st_size, hashlib.sha256(data.getvalue()).hexdigest()))
    return files


def make_sparse_shards(folder: Path, count: int, mebibytes: int) -> list[File]:
    """Shards whose picture is a hole of zeros: any size on a small disk. They differ in their last member."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = tarfile.TarInfo("000000.jpg")
    picture.size = mebibytes * MIB
    head = picture.tobuf(tarfile.USTAR_FORMAT) + PICTURE_HEAD
    prefix, zeros, left = hashlib.sha256(head), bytes(4 * MIB), picture.size - len(PICTURE_HEAD)
    while left:
        prefix.update(zeros[: min(left, len(zeros))])
        left -= min(left, len(zeros))
    files = []
    for number in range(count):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, "000000.txt", b"nothing to see, number %d" % number)
        path = folder / f"{number:05d}.tar"
        with open(path, "wb") as file:
            file.write(head)
            file.seek(512 + picture.size)
            file.write(data.getvalue())
        whole = prefix.copy()
        whole.update(data.getvalue())
        files.append(File(path, path.stat().st_size, whole.hexdigest()))
    return files


def write_recipe(path: Path, files: Sequence[File], places: Sequence[Sequence[str]]) -> Path:
    """A recipe of ready shards; `places` are the addresses of each file, in order."""
    blocks = [
        'format = 1\nname = "bench"\ntitle = "bench"\nfolder = "bench"\nlicence = "none"\n',
        *(
            f'[[assets]]\nname = "{file.name}"\nsize_bytes = {file.size_bytes}\n'
            f'digests = ["sha256:{file.sha256}"]\nplaces = [{", ".join(map(repr, each))}]\n'
            for file, each in zip(files, places, strict=True)
        ),
        '[samples]\nreader = "shards"\n',
    ]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def sha256_of(path: Path) -> str:
    """The digest of a file; of none for a file that is not there."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while data := file.read(4 * MIB):
                digest.update(data)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
