"""core/outline.py: what little was read of a sample gives the same entry as all of it, whatever it is."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from g3m.core.catalog import CAPTION_LETTERS, FLAGS, names
from g3m.core.outline import HEAD_BYTES, TAIL_BYTES, UNUSABLE, entry, glance
from g3m.core.structure import Structure, look


def picture(kind: str, **options: object) -> bytes:
    """A picture that is larger than what is read of it."""
    file = io.BytesIO()
    image = Image.effect_noise((160, 120), 90)
    image = image if options.pop("gray", False) else image.convert("RGB")
    image.save(file, kind, **options)  # type: ignore[arg-type]
    return file.getvalue()


JPEG = picture("JPEG", quality=95)
PICTURES = {
    "jpeg": JPEG,
    "gray": picture("JPEG", quality=95, gray=True),
    "profile": picture("JPEG", quality=95, icc_profile=b"p" * 9000),
    "padded": JPEG + bytes(10),
    "much padded": JPEG + bytes(500),
    "trailing": JPEG + b"tail" * 100,
    "no end": JPEG[:-2],
    "cut": JPEG[: len(JPEG) // 2],
    "png": picture("PNG"),
    "png cut": picture("PNG")[:-20],
    "webp": picture("WEBP", quality=100),
    "bmp": picture("BMP"),
    "html": b"<html>" + b"x" * 9000,
    "zeros": bytes(9000),
}


@pytest.mark.parametrize("name", PICTURES)
def test_both_ends_say_what_the_whole_says(name: str) -> None:
    """Or they say that the whole must be looked at; they never say anything else."""
    data = PICTURES[name]
    assert len(data) > HEAD_BYTES + TAIL_BYTES
    found, whole = glance(data[:HEAD_BYTES], data[-TAIL_BYTES:]), look(data)
    if found is not None:
        assert (found.kind, found.width, found.height) == (whole.kind, whole.width, whole.height)
        assert found.classes == whole.classes
    assert (found is not None) == (name in {"jpeg", "gray", "padded", "png", "bmp", "html", "zeros"})


def made(
    text: bytes | None = b"a dog", meta: bytes = b"", data: bytes = JPEG
) -> tuple[object, tuple[str, ...]]:
    found = entry("k", look(data), len(data), text, meta)
    return found, names(found.flags)


def test_a_plain_sample() -> None:
    """Size, format, caption, words and the host of its address."""
    found = entry(
        "k", look(JPEG), len(JPEG), b" a dog \n", b'{"url": "https://me:pw@Host.example:8080/a?x=1"}'
    )
    assert (found.width, found.height, found.format, found.size_bytes) == (160, 120, "jpeg", len(JPEG))
    assert (found.caption, found.words, found.letters) == ("a dog", 2, 5)
    assert found.host == "host.example"
    assert found.flags == 0


@pytest.mark.parametrize(
    ("text", "caption", "flags"),
    [
        (b"", "", ("no_caption",)),
        (b" \n", "", ("no_caption",)),
        (b"a\0b", "a\ufffdb", ()),
        (b"caf\xe9", "caf\ufffd", ("caption_not_utf8",)),
        (b"x" * 100_000, "x" * CAPTION_LETTERS, ("caption_too_long",)),
        ("\u202eright to left".encode(), "\u202eright to left", ()),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>", ()),
    ],
)
def test_captions_as_they_are(text: bytes, caption: str, flags: tuple[str, ...]) -> None:
    """Nothing is made of them but what a database and a page can hold."""
    found = entry("k", look(JPEG), 1, text, b"")
    assert found.caption == caption
    assert names(found.flags) == flags


@pytest.mark.parametrize(
    ("meta", "caption"),
    [
        (b'{"captions": ["one", "two"]}', "one two"),
        (b'{"caption": "alone"}', "alone"),
        (b'{"caption": 5}', ""),
        (b'{"caption": "\\ud800"}', "\ufffd"),
        (b"[" * 100_000, ""),
        (b"\xff\xfe", ""),
    ],
)
def test_without_a_text_the_json_may_have_it(meta: bytes, caption: str) -> None:
    """The captions that it lists; damaged json lists none."""
    assert entry("k", look(JPEG), 1, None, meta).caption == caption


@pytest.mark.parametrize(
    "url", ["", "nothing", "http://[", "http://\ud800/", "//host/a", "data:,x", 5, None, ["http://a/"]]
)
def test_addresses_that_are_none(url: object) -> None:
    """Give no host, or one that can be stored."""
    found = entry("k", None, 0, b"a", json.dumps({"url": url}).encode())
    found.host.encode()
    assert found.host in ("", "\ufffd")


def test_what_cannot_be_a_picture_is_unreadable() -> None:
    """And says why; so is a sample without any picture."""
    assert names(entry("k", look(b"<html>"), 6, b"a", b"").flags) == ("not_an_image", "unreadable")
    assert names(entry("k", None, 0, b"a", b"").flags) == ("unreadable",)
    assert names(entry("k", look(JPEG[:-2]), 6, b"a", b"").flags) == ("no_end",)


@given(
    st.binary(max_size=200),
    st.binary(max_size=200),
    st.none() | st.binary(max_size=50),
    st.binary(max_size=80),
)
def test_any_bytes_give_an_entry(head: bytes, tail: bytes, text: bytes | None, meta: bytes) -> None:
    """No sample stops the catalog."""
    found = entry("k", glance(head, tail), 1, text, meta)
    (found.caption + found.host + found.key).encode()
    assert "\0" not in found.caption + found.host


def test_how_much_of_a_sample_the_catalog_reads() -> None:
    """A json of a mebibyte is read, a longer one is not; a host of 253 letters stays whole."""

    def host(length: int, name: str = "h") -> str:
        meta = json.dumps({"url": f"https://{name}/a"}).encode()
        return entry("k", None, 0, b"x", meta + b" " * (length - len(meta))).host

    assert (host(2**20), host(2**20 + 1)) == ("h", "")
    assert host(999, "h" * 253) == host(999, "h" * 254) == "h" * 253


@pytest.mark.parametrize(("count", "flags"), [(65_536, ()), (65_537, ("caption_too_long",))])
def test_captions_that_are_too_long_are_cut(count: int, flags: tuple[str, ...]) -> None:
    """Bytes decide whether it is too long, letters where it is cut."""
    found = entry("k", look(JPEG), 1, b"a" * count, b"")
    assert names(found.flags) == flags
    assert len(found.caption) == 65_536
    wide = entry("k", look(JPEG), 1, "é".encode() * 65_536, b"")
    assert (names(wide.flags), len(wide.caption)) == (("caption_too_long",), 65_536)


def test_a_sample_without_a_picture() -> None:
    """It has no size, no format, and is unreadable; so is one whose picture no decoder can take."""
    none = entry("k\ud800", None, 7, b"a dog", b"")
    assert (none.key, none.width, none.height, none.size_bytes, none.format, none.words) == (
        "k\ufffd",
        0,
        0,
        7,
        "",
        2,
    )
    assert names(none.flags) == ("unreadable",)
    assert UNUSABLE == ("not_an_image", "bomb", "broken", "truncated")
    for name in UNUSABLE:
        found = names(entry("k", Structure("jpeg", 1, 1, (name,), 0), 7, b"a", b"").flags)
        assert found == tuple(flag for flag in FLAGS if flag in (name, "unreadable"))
    assert names(entry("k", Structure("jpeg", 1, 1, ("no_end",), 0), 7, b"a", b"").flags) == ("no_end",)
