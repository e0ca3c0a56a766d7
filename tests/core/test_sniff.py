"""core/sniff.py: what a file is, from its first bytes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from g3m.core.shard import ustar_header
from g3m.core.sniff import HEAD_BYTES, container, image_kind


def tar(tar_format: int, name: str = "a.jpg") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tar_format) as archive:
        member = tarfile.TarInfo(name)
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    return packed.getvalue()


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * 600)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (zipped("a"), "zip"),
        (zipped(), "zip"),
        (gzip.compress(b"x"), "gzip"),
        (tar(tarfile.USTAR_FORMAT), "tar"),
        (tar(tarfile.GNU_FORMAT), "tar"),
        (tar(tarfile.PAX_FORMAT, "é" * 200), "tar"),
        (tar(tarfile.USTAR_FORMAT, "PAR1/a.jpg"), "tar"),
        (b"PAR1" + bytes(600), "parquet"),
        (b'{"images": []}', "json"),
        (b"\xef\xbb\xbf [\n {", "json"),
        (b"[1, 2]", "json"),
        (b"[]", "json"),
        (b"{", "json"),
        (b"[settings]\nkey=1", None),
        (b"{% block %}", None),
        (b"<!DOCTYPE html>", None),
        (b"", None),
        (bytes(HEAD_BYTES), None),
        (b"\x89PNG\r\n\x1a\n" + bytes(600), None),
    ],
)
def test_containers_are_told_from_their_first_bytes(content: bytes, kind: str | None) -> None:
    """Each container is recognised by its head alone, and what is none gives None."""
    assert container(content[:HEAD_BYTES]) == kind


def test_a_tar_without_magic_is_a_tar() -> None:
    """The header of a tar from 1979, which has a checksum and no 'ustar', is recognised."""
    header = bytearray(ustar_header("a.jpg", 3))
    header[257:265] = bytes(8)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    assert container(bytes(header)) == "tar"


@given(st.integers(0, HEAD_BYTES * 8 - 1))
def test_a_damaged_header_is_no_tar(bit: int) -> None:
    """No single flipped bit passes, except for blanks around the same checksum."""
    header = bytearray(ustar_header("000000000139.jpg", 161811))
    header[bit // 8] ^= 1 << bit % 8
    assert container(bytes(header)) is None or bit // 8 in (148, 154, 155)


@given(st.binary(max_size=700))
def test_any_bytes_have_an_answer(content: bytes) -> None:
    """No input makes the functions raise."""
    container(content)
    image_kind(content)


@given(st.recursive(st.none() | st.booleans() | st.integers(), st.lists, max_leaves=9).map(lambda x: [x]))
def test_every_json_array_is_json(value: list[object]) -> None:
    """Arrays of any content are recognised, with and without indentation."""
    assert container(json.dumps(value).encode()) == "json"
    assert container(json.dumps(value, indent=2).encode()) == "json"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_images_of_pillow_are_told_by_their_format(name: str) -> None:
    """What Pillow writes in a format is recognised as that format from 32 bytes."""
    written = io.BytesIO()
    Image.new("RGB", (3, 2)).save(written, name)
    assert image_kind(written.getvalue()[:32]) == name.lower()


@pytest.mark.parametrize(
    "text", [b"BM is a hill town", b"RIFF....WAVE", b"<svg/>", b"%!PS", b"", b"\xff\xd8"]
)
def test_text_and_sound_are_no_images(text: bytes) -> None:
    """Two letters or half a signature are not enough."""
    assert image_kind(text) is None


@pytest.mark.parametrize("size", range(130))
def test_bitmaps_are_told_by_the_size_of_their_second_header(size: int) -> None:
    """The sizes that Windows and OS/2 gave it; two letters with anything else behind them are no picture."""
    head = b"BM" + bytes(12) + size.to_bytes(4, "little")
    assert image_kind(head) == ("bmp" if size in (12, 16, 40, 52, 56, 64, 108, 124) else None)
    assert image_kind(b"bm" + head[2:]) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [(b"GIF87a", "gif"), (b"GIF89a", "gif"), (b"GIF88a", None), (b"II*\0", "tiff"), (b"MM\0*", "tiff"), (b"II+\0", "tiff"), (b"MM\0+", "tiff"),
     (b"RIFF\1\2\3\4WEBP", "webp"), (b"RIFX\1\2\3\4WEBP", None), (b"RIFF\1\2\3\4WEBQ", None), (b"\x89PNG\r\n\x1a\n", "png"),
     (b"\x89PNG\n\x1a\n", None), (b"\xff\xd8\xff", "jpeg"), (b"", None)],
)  # fmt: skip
def test_signatures(head: bytes, kind: str | None) -> None:
    """Each signature whole, and nothing that only begins like one."""
    assert image_kind(head) == kind
    assert HEAD_BYTES == 512
