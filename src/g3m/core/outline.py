"""A sample of the catalog from what little was read of it: the ends of its picture, its text and its json."""

from __future__ import annotations

import json
from typing import Any

from g3m.core.catalog import CAPTION_LETTERS, Entry, count_words, mask
from g3m.core.samples import clean
from g3m.core.secrets import host_of
from g3m.core.structure import Structure, look
from g3m.core.treatment import CAPTION_LIMIT_BYTES

HEAD_BYTES = 4096
"""Where the header of most pictures ends."""

TAIL_BYTES = 64
"""What says whether a picture ends as it should."""

UNUSABLE = ("not_an_image", "bomb", "broken", "truncated")
_NEEDS_ALL = frozenset(("broken", "no_end", "trailing"))
_HOST_LETTERS = 253
_JSON_LIMIT_BYTES = 2**20


def glance(head: bytes, tail: bytes) -> Structure | None:
    """What a picture's first and last bytes say of it; None if all of it has to be looked at.

    Where the header ends within `head` and the picture with its end marker, nothing between them counts.
    """
    seen = look(head + tail)
    if seen.kind is None:
        return seen
    if _NEEDS_ALL.intersection(seen.classes) or seen.end != len(head) + len(tail):
        return None
    return seen


def entry(key: str, seen: Structure | None, size_bytes: int, text: bytes | None, meta: bytes) -> Entry:
    """The entry of a sample; `seen` is None where it has no picture, `text` where it has no txt."""
    caption, classes = _caption(text, meta)
    found = [*(seen.classes if seen else ()), *classes]
    if seen is None or set(UNUSABLE).intersection(seen.classes):
        found.append("unreadable")
    return Entry(
        key=clean(key),
        caption=caption,
        width=seen.width if seen else 0,
        height=seen.height if seen else 0,
        size_bytes=size_bytes,
        words=count_words(caption),
        host=_host(meta),
        format=(seen.kind or "") if seen else "",
        flags=mask(found),
    )


def _caption(text: bytes | None, meta: bytes) -> tuple[str, list[str]]:
    """The caption as the catalog has it, and the classes of the bytes; without a txt the json's captions."""
    if text is None:
        listed = _body(meta).get("captions") or [_body(meta).get("caption")]
        found = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
        text = clean(" ".join(found)).encode()
    classes = []
    try:
        caption = text.decode()
    except UnicodeDecodeError:
        caption = text.decode("utf-8", "replace")
        classes.append("caption_not_utf8")
    if len(text) > CAPTION_LIMIT_BYTES:
        classes.append("caption_too_long")
    # A database would take a null byte for the end.
    caption = caption.strip()[:CAPTION_LETTERS].replace("\0", "\ufffd")
    if not caption:
        classes.append("no_caption")
    return caption, classes


def _host(meta: bytes) -> str:
    """The host in the `url` of a json; empty if it has none."""
    if b'"url"' not in meta:
        return ""
    url = _body(meta).get("url")
    if not isinstance(url, str) or "://" not in url:
        return ""
    try:
        return clean(host_of(url).rpartition("@")[2].partition(":")[0].lower())[:_HOST_LETTERS].replace(
            "\0", ""
        )
    except ValueError:
        return ""


def _body(meta: bytes) -> dict[str, Any]:
    if len(meta) > _JSON_LIMIT_BYTES:
        return {}
    try:
        body = json.loads(meta)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
