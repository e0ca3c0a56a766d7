"""core/shard.py: the bytes of a tar are those that tarfile writes."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g3m.core.shard import BLOCK_BYTES, RECORD_BYTES, end_of_archive, padding, ustar_header

names = st.text(st.characters(min_codepoint=1, max_codepoint=127), min_size=1, max_size=100).filter(
    lambda name: not name.endswith("/")
)


@given(names, st.integers(0, 8**11 - 1))
def test_a_header_is_what_tarfile_writes(name: str, size_bytes: int) -> None:
    """For any name of ASCII letters and any size below 8 GiB."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    wanted = member.tobuf(tarfile.USTAR_FORMAT)
    if member.get_info()["name"] == name:
        assert ustar_header(name, size_bytes) == wanted


@pytest.mark.parametrize("name", ["", "é.jpg", "a" * 101, "a\0b", "a/", "é" * 101])
def test_what_is_no_name(name: str) -> None:
    """Empty, not ASCII, too long, with an end inside, or of a folder: nothing is written that would be read otherwise."""
    with pytest.raises(ValueError, match=r"not 1 to 100 ASCII characters|not the name of a file"):
        ustar_header(name, 1)


@pytest.mark.parametrize("size_bytes", [-1, 8**11])
def test_what_is_no_size(size_bytes: int) -> None:
    """Below 0, and from 8 GiB on."""
    with pytest.raises(ValueError, match="do not fit into a ustar header"):
        ustar_header("a", size_bytes)
    assert len(ustar_header("a" * 100, 8**11 - 1)) == len(ustar_header("a", 0)) == 512


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_an_archive_is_what_tarfile_writes(sizes: list[int]) -> None:
    """Headers, contents, their padding and the end, to the byte."""
    written = io.BytesIO()
    made = b""
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, size in enumerate(sizes):
            member = tarfile.TarInfo(f"{number}.jpg")
            member.size = size
            archive.addfile(member, io.BytesIO(bytes(size)))
            made += ustar_header(f"{number}.jpg", size) + bytes(size) + padding(size)
    assert made + end_of_archive(len(made)) == written.getvalue()
    assert (BLOCK_BYTES, RECORD_BYTES) == (512, 10_240)
