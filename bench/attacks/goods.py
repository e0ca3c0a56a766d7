"""What is served and what is damaged: drawn pictures, shards of them, and pictures that are traps."""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Iterable

from PIL import Image

from g3m.lab.drawings import draw

SAMPLES = 100
BLOCK = 512


def picture(number: int) -> bytes:
    """A small photograph, drawn; every number another one."""
    return draw(8, number).jpeg


def tar(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar of these members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def members(first: int = 0, count: int = SAMPLES) -> list[tuple[str, bytes]]:
    """The members of a shard: pictures and their captions."""
    return [
        (f"{number:06d}.{extension}", data)
        for number in range(first, first + count)
        for extension, data in (("jpg", picture(number)), ("txt", b"picture number %d" % number))
    ]


def places(shard: bytes) -> list[int]:
    """Where the headers of a shard's members are."""
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        return [member.offset for member in archive]


def png_bomb(side: int = 30_000) -> bytes:
    """A grey PNG of side × side pixels, all black: 900 million of them in some 100 kB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def tiff() -> bytes:
    """A picture in a format that no list of JPEG and PNG should bring."""
    file = io.BytesIO()
    Image.open(io.BytesIO(picture(7))).convert("RGB").save(file, "TIFF")
    return file.getvalue()


def png() -> bytes:
    """A small picture without loss."""
    file = io.BytesIO()
    Image.open(io.BytesIO(picture(9))).convert("RGB").resize((64, 64)).save(file, "PNG")
    return file.getvalue()
