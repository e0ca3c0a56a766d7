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
