"""A dataset by somebody who wishes the reader ill: keys, captions, json and pictures that attack the page.

Nothing of it is refused by `g3m index`: these are tars as people find them. `MARK` is what each script would leave
behind if it ran; no test may ever find it.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from g3m.lab.drawings import draw

MARK = "g3mWasHere"
"""The property of `window` and the name of a request that any script here would make."""

SCRIPT = f"<script>window.{MARK}=1</script>"
IMAGE = f'<img src="https://{MARK}.invalid/x" onerror="window.{MARK}=1">'
BIDI = "".join(map(chr, (0x202E, 0x2066, 0x200F)))
"""An override, an isolate that is never closed, and a mark: each can turn what follows around."""

LONG_BYTES = 100_000


@dataclass(frozen=True)
class Bad:
    """One sample: a name for the test, its key in the tar, its files and what the page must make of its picture."""

    name: str
    key: str
    caption: bytes
    picture: bytes
    drawable: bool = True
    json: bytes = b""
    extension: str = "jpg"
    is_indexed: bool = True


def png(width: int, height: int, rows: bytes | None = None) -> bytes:
    """A grey PNG that claims to be of a size; without `rows`, it has one row only."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" + bytes(min(width, 1000)) if rows is None else rows)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    )


def bomb() -> bytes:
    """A PNG of 50,000 by 50,000 pixels in a few kilobytes."""
    return png(50_000, 50_000)


def webp_of(drawing: bytes) -> bytes:
    """The same picture as WebP."""
    file = io.BytesIO()
    Image.open(io.BytesIO(drawing)).save(file, "WEBP", quality=50)
    return file.getvalue()


def turned(drawing: bytes) -> bytes:
    """The same picture with a tag that says it lies on its side."""
    tags = Image.Exif()
    tags[0x0112] = 6
    file = io.BytesIO()
    Image.open(io.BytesIO(drawing)).save(file, "JPEG", exif=tags)
    return file.getvalue()


SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" onload="window.{MARK}=1">{SCRIPT}</svg>"""
PAGE = f"<!DOCTYPE html><html><body>{SCRIPT}{IMAGE}</body></html>"


def samples() -> list[Bad]:
    """Every attack, in the order of the tar."""
    good = [draw(7, number).jpeg for number in range(40)]
    pictures = iter(good)

    def text(name: str, key: str, caption: str | bytes, meta: Any = None) -> Bad:
        data = caption.encode() if isinstance(caption, str) else caption
        return Bad(name, key, data, next(pictures), json=b"" if meta is None else json.dumps(meta).encode())

    def picture(name: str, data: bytes, drawable: bool = False, extension: str = "jpg") -> Bad:
        return Bad(
            name, f"p-{name}", f"a picture that is {name}".encode(), data, drawable, extension=extension
        )

    deep: Any = "the bottom"
    for _ in range(500):
        deep = [deep]
    half = good[39][: len(good[39]) // 2]
    return [
        text("script", "script", f"a caption {SCRIPT} with a script", {"caption": SCRIPT, "url": SCRIPT}),
        text("image", "image", f"a caption {IMAGE} with a picture", {IMAGE: IMAGE}),
        text("closing", "closing", "</mark></p></main></script></style></title>--> ]]> {{ 7*7 }} {% raw %}"),
        text("attribute", "attribute", f"""' " onmouseover="window.{MARK}=1" x='&quot;&#39;&amp;"""),
        text(
            "address",
            "address",
            "see the url",
            {"url": f"javascript:window.{MARK}=1", "href": f"//{MARK}.invalid/"},
        ),
        text("bidi", "bidi", f"user{BIDI}gpj.exe is what it says"),
        text("null", "null", b"zero\0byte \x1b[31mred\x1b[0m \x07bell \x08\x7f end"),
        text("long", "long", "word " * (LONG_BYTES // 5)),
        text("unbroken", "unbroken", "W" * LONG_BYTES),
        text("zalgo", "zalgo", "Z" + "\u0301\u0300\u0323" * 300 + "algo"),
        text("not-utf8", "not-utf8", b"caf\xe9 \xff\xfe latin"),
        text("surrogates", "surrogates", "x", {"caption": "\ud800 alone", "n": float("nan")}),
        text("empty", "empty", ""),
        text("blank", "blank", " \n\t "),
        text("chinese", "chinese", "一只红色的猫坐在窗台上，看着外面的雨。"),
        text("emoji", "emoji", "family 👨‍👩‍👧‍👦 flag 🇨🇳 tag 🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
        text("fts", "fts", '" OR 1=1 -- NEAR( * ^ col:x'),
        text("deep-json", "deep-json", "json five hundred deep", deep),
        Bad("bad-json", "bad-json", b"json cut off", next(pictures), json=b'{"a": [1, 2'),
        Bad(
            "big-json",
            "big-json",
            b"json of a megabyte",
            next(pictures),
            json=json.dumps(["<b>"] * 150_000).encode(),
        ),
        Bad(
            "number-json",
            "number-json",
            b"json with a large number",
            next(pictures),
            json=b"[" + b"9" * 5000 + b"]",
        ),
        text("quotes", "quo\"te's & <b>", "a key with quotes"),
        text("slashes", "a/b//c/d e?x=1#y%2e%2e%00&z", "a key with slashes"),
        text("key-script", SCRIPT.replace(".", "["), "a key with a script"),
        text("key-bidi", f"k{BIDI}yek", "a key that turns around"),
        text("key-chinese", "目录/图片", "a key in Chinese"),
        text("key-long", "k" * 900, "a key of nine hundred letters"),
        text("key-formula", "=cmd|'calc'!A1", "a key that a table might reckon"),
        picture("svg", SVG.encode()),
        picture("html", PAGE.encode()),
        picture("bomb", bomb()),
        picture("bomb-named-png", bomb(), extension="png"),
        Bad("empty", "p-empty", b"a picture without bytes", b"", is_indexed=False),
        picture("half", half),
        picture("noise", bytes(range(256)) * 40),
        picture("jpeg-head-only", good[38][:20]),
        picture("polyglot", good[37] + PAGE.encode(), drawable=True),
        picture("webp", webp_of(good[36]), drawable=True),
        picture("turned", turned(good[35]), drawable=True),
        picture("one-pixel", png(1, 1, b"\0\0"), drawable=True),
        picture("one-row", png(20_000, 1, bytes(20_001)), drawable=True),
        Bad("no-picture", "no-picture", b"a sample without any picture", b"", extension="", is_indexed=False),
    ]


def write_hostile(folder: Path) -> list[Bad]:
    """Write the samples into two tars of `folder`; returns those that an index takes, in its order."""
    folder.mkdir(parents=True)
    all_samples = samples()
    half = len(all_samples) // 2
    for number, part in enumerate((all_samples[:half], all_samples[half:])):
        with tarfile.open(folder / f"bad-{number}.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            for one in part:
                _add(archive, one)
    return [one for one in all_samples if one.is_indexed]


def _add(archive: tarfile.TarFile, one: Bad) -> None:
    files = [(one.extension, one.picture), ("json", one.json), ("txt", one.caption)]
    for extension, data in files:
        if extension and (data or extension != "json"):
            member = tarfile.TarInfo(f"{one.key}.{extension}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
