"""core/segments.py: what stands in front of a JPEG's picture, and how `look` and Pillow read it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from g3m.core.segments import PROFILE_LIMIT_BYTES, with_segments
from g3m.core.structure import look


def drawn(mode: str = "RGB") -> bytes:
    written = io.BytesIO()
    Image.new(mode, (20, 10)).save(written, "JPEG")
    return written.getvalue()


@given(st.integers(1, 8), st.binary(max_size=200_000), st.sampled_from(["RGB", "L", "CMYK"]))
def test_what_is_written_is_read(orientation: int, profile: bytes, mode: str) -> None:
    """Tag and profile of any length come back, also where the encoder wrote no JFIF segment."""
    plain = drawn(mode)
    made = with_segments(plain, orientation=orientation, profile=profile)
    assert look(made).orientation == orientation
    with Image.open(io.BytesIO(made)) as image:
        image.load()
        assert image.info.get("icc_profile", b"") == profile
        assert image.getexif().get(0x0112, 1) == orientation
    assert len(made) >= len(plain) + len(profile)


def test_nothing_to_say_changes_nothing() -> None:
    """An upright picture without a profile has the encoder's bytes."""
    assert with_segments(drawn()) == drawn()


def test_a_profile_without_bounds_is_refused() -> None:
    """There is room for 255 pieces, and no profile is that long."""
    with_segments(drawn(), profile=bytes(PROFILE_LIMIT_BYTES))
    with pytest.raises(ValueError, match="bytes"):
        with_segments(drawn(), profile=bytes(PROFILE_LIMIT_BYTES + 1))


def test_the_bytes_of_both_segments() -> None:
    """Exif of one entry and no next directory; a profile in numbered pieces, the first as long as a segment can be."""
    exif = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    assert with_segments(b"\xff\xd8\xff\xd9", orientation=6) == b"\xff\xd8" + exif + b"\xff\xd9"
    made = with_segments(b"\xff\xd8\xff\xe0\0\x04ab\xff\xd9", profile=b"p" * 65_520)
    first = b"\xff\xe2\xff\xffICC_PROFILE\0\x01\x02" + b"p" * 65_519
    assert (
        made == b"\xff\xd8\xff\xe0\0\x04ab" + first + b"\xff\xe2\x00\x11ICC_PROFILE\0\x02\x02p" + b"\xff\xd9"
    )
    assert PROFILE_LIMIT_BYTES == 2_097_152
