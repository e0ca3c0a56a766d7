"""Looking at what a run left on the disk, with nothing of g3m's own: a second opinion."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

WORK = ".g3m"
BLOCK = 512
ORDER = ("jpg", "json", "txt")

Shards = dict[str, dict[str, dict[str, bytes]]]
"""Shard name without suffix, then key, then extension: the bytes of one member."""


def tree(root: Path) -> dict[str, str]:
    """sha256 of every file outside the folder of work in progress, by its path below the root."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not (name := path.relative_to(root).as_posix()).startswith(f"{WORK}/")
    }


def tars(root: Path) -> list[Path]:
    """Every file that a loader would list as a shard, the folder of work in progress included."""
    return sorted(path for path in root.rglob("*") if path.name.endswith(".tar"))


def litter(root: Path) -> list[str]:
    """What nobody needs once all is published: parts, and temporary files anywhere."""
    parts = list((root / WORK / "parts").glob("*"))
    return sorted(path.name for path in {*parts, *root.rglob("*.tmp"), *root.rglob("*.making")})


def check_whole(path: Path) -> int:
    """Count the members of a tar, block by block; AssertionError unless it is whole to its last zero."""
    data = path.read_bytes()
    assert len(data) >= 2 * BLOCK, f"{path}: {len(data)} bytes are no tar"
    assert len(data) % BLOCK == 0, f"{path}: {len(data)} bytes are no whole blocks"
    position = members = 0
    while any(header := data[position : position + BLOCK]):
        stated = int(header[148:156].rstrip(b"\0 "), 8)
        assert stated == sum(header) - sum(header[148:156]) + 8 * ord(" "), f"{path}: header at {position}"
        size = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        end = position + BLOCK + size
        position = end + -end % BLOCK
        assert position + BLOCK <= len(data), f"{path}: cut in the member at {position}"
        assert not any(data[end:position]), f"{path}: padding before {position}"
        members += 1
    assert len(data) - position >= 2 * BLOCK, f"{path}: fewer than two zero blocks at its end"
    assert not any(data[position:]), f"{path}: something behind the end"
    return members


def check_all_whole(root: Path) -> int:
    """`check_whole` for everything that a loader would list; returns how many there are."""
    found = tars(root)
    for path in found:
        assert check_whole(path), f"{path}: holds nothing"
    return len(found)


def read_shard(path: Path) -> dict[str, dict[str, bytes]]:
    """The samples of a shard that g3m packed; members must stand as jpg, json, txt, side by side."""
    found: dict[str, dict[str, bytes]] = {}
    names: list[str] = []
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r:") as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            file = archive.extractfile(member)
            assert file is not None, member.name
            names.append(member.name)
            found.setdefault(key, {})[extension] = file.read()
            assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644), member.name
    assert names == [f"{key}.{extension}" for key in found for extension in ORDER], path
    return found


def read_shards(folder: Path) -> Shards:
    """Every shard of a dataset's folder."""
    return {path.stem: read_shard(path) for path in sorted(folder.glob("*.tar"))}


def flip(path: Path, offset: int) -> None:
    """Damage one byte of a file, as a bad disk does: in place, same size."""
    with open(path, "rb+") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))
