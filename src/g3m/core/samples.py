"""Samples: how captions become text, keys and json, and which shard a sample belongs to.

The contract is the layout of the NXTP data: text is every caption stripped and joined by one space,
the key is the image's name, the first shard holds 2,998 samples and each later one 2,999. A sample's
shard follows from its place in the source's own order, before anything is rejected, so that one
missing picture moves nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from g3m.core.errors import BadArchive
from g3m.core.members import Member
from g3m.core.treatment import CAPTION_LIMIT_BYTES, CLASSES, Treatment

SHARD_SAMPLES = 2999
KEY_LIMIT = 70
"""Leaves room for the number of a repeat: a key in a shard has 80 characters at most."""

REASONS = {
    "missing_image": "the captions name an image that the archive does not hold",
    "empty_image": "the image file has no bytes",
    "damaged": "the archive's own checksum of this member does not hold",
    "unsafe_key": "the name gives no usable key",
    "duplicate_key": "an earlier sample has the same key",
    "duplicate": "the archive holds a second member with the same name",
    "unsafe_name": "the member's name leads out of the archive or holds control characters",
    "not_a_file": "the member is a link, a device or another special file",
    "sparse": "the member is a sparse file",
    "too_large": "the member claims to be larger than 2 GiB",
    "ratio": "the member would unpack to more than a thousand times its size",
    "encrypted": "the member is encrypted",
    "unsupported_method": "the member is compressed by a method that is not supported",
    "link_outside": "the link leads out of the folder",
    "incomplete": "the shard holds the sample without its image or its caption",
    "bad_record": "the caption record cannot be read",
    "dropped": "it was dropped by `g3m drop`",
    **CLASSES,
}
"""Every reason for which a sample is rejected, with its meaning; the docs print this table.

The classes of findings come last: most of them are a reason only where the policy says so.
"""

_KEY_GAP = re.compile(r"[^A-Za-z0-9_-]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Draft:
    """A sample as its captions describe it: the image is still a name; `problem` is a reason code."""

    ordinal: int
    key: str
    image: str
    text: str
    meta: Mapping[str, Any]
    problem: str = ""
    line: tuple[int, int] | None = None
    """Offset and length of the record in its caption file, where the whole record may be wanted."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Where bytes lie: a source of the dataset (an asset's name or a spool's) and a member of it."""

    source: str
    member: Member


@dataclass(frozen=True, slots=True)
class Pick:
    """A sample as arranged: where its image lies, and its text and json or where those lie."""

    key: str
    image: Ref
    text: str | Ref
    meta: Mapping[str, Any] | Ref

    def to_line(self) -> str:
        """One line of the sample list."""
        text = self.text if isinstance(self.text, str) else _ref_list(self.text)
        meta = _ref_list(self.meta) if isinstance(self.meta, Ref) else self.meta
        return json.dumps([self.key, _ref_list(self.image), text, meta]) + "\n"

    @classmethod
    def from_line(cls, line: str | bytes) -> Pick:
        key, image, text, meta = json.loads(line)
        return cls(
            key,
            _ref(image),
            text if isinstance(text, str) else _ref(text),
            meta if isinstance(meta, dict) else _ref(meta),
        )


def _ref_list(ref: Ref) -> list[Any]:
    m = ref.member
    return [ref.source, m.name, m.method, m.offset, m.size_bytes, m.stored_bytes, m.crc32]


def _ref(parts: list[Any]) -> Ref:
    return Ref(parts[0], Member(*parts[1:]))


def shard_number(ordinal: int) -> int:
    """The shard of the sample at a place of the source's order, counted from 0.

    >>> shard_number(0), shard_number(2997), shard_number(2998), shard_number(5996), shard_number(5997)
    (0, 0, 1, 1, 2)
    """
    return (ordinal + 1) // SHARD_SAMPLES


def shard_name(number: int) -> str:
    """`00000.tar`, `00001.tar` …"""
    return f"{number:05d}.tar"


def safe_key(name: str) -> str:
    """A key of ASCII letters, digits, `_` and `-`, at most 80 characters; empty if nothing remains.

    >>> safe_key("000000000139"), safe_key("4385058960_b0f2.91"), safe_key("ÀÉ/1 2")
    ('000000000139', '4385058960_b0f2_91', '1_2')
    """
    return _KEY_GAP.sub("_", name).strip("_")[:80].strip("_")


def clean(text: str) -> str:
    """The text with lone surrogates replaced: they cannot be written as UTF-8."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def readable(text: str) -> str:
    """The text with U+FFFD for what cannot be written as UTF-8: lone surrogates of a JSON document, and
    bytes that were no UTF-8 and were read with `surrogateescape`.
    """
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return clean(text)


def caption_problem(text: str, limit_bytes: int = CAPTION_LIMIT_BYTES) -> str:
    """A reason code for a text that cannot stand as a caption, or an empty string."""
    if not text.strip():
        return "no_caption"
    # No character has more than four bytes, so most captions need not be encoded to be counted.
    if 4 * len(text) > limit_bytes and len(readable(text).encode()) > limit_bytes:
        return "caption_too_long"
    return ""


@dataclass(frozen=True, slots=True)
class Caption:
    """What became of a caption: the bytes to pack, the classes found, those of them fixed, or a reason."""

    data: bytes
    found: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    reason: str = ""


def treat_caption(text: str, treatment: Treatment) -> Caption:
    """A caption as the policy wants it. What is no UTF-8 in `text` stands there as `readable` expects it."""
    found: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data, found = readable(text).encode(), ("caption_not_utf8",)
        if treatment.action("caption_not_utf8") == "reject":
            return Caption(b"", found, (), "caption_not_utf8")
        fixed = found
    problem = caption_problem(text, treatment.caption_limit_bytes)
    if problem:
        return Caption(b"", found, (), problem)
    if len(data) > CAPTION_LIMIT_BYTES:
        found = ("caption_too_long", *found)
    return Caption(data, found, fixed)


def slim_coco(item: dict[str, Any]) -> Any:
    """An `object_hook` for COCO's captions: keeps of each object what samples need, so 92 MB stay small."""
    if "caption" in item and "image_id" in item:
        return (item["image_id"], item["caption"])
    if "file_name" in item and "id" in item:
        return (item["id"], item["file_name"], item.get("license"), item.get("flickr_url"))
    return item


def coco_drafts(
    document: Any,
    split: str,
    *,
    extra: bool = True,
    file: str = "",
    caption_limit_bytes: int = CAPTION_LIMIT_BYTES,
) -> Iterator[Draft]:
    """Samples of a COCO captions file (parsed with `slim_coco`), by image id.

    Text: the image's captions in file order, stripped, joined by one space. Json: `path`, `cap`,
    `split` as in NXTP, then (with `extra`) image_id, captions, license and flickr_url.
    """
    try:
        images = sorted((int(i), str(name), licence, url) for i, name, licence, url in document["images"])
        captions: dict[int, list[str]] = {}
        for image_id, caption in document["annotations"]:
            captions.setdefault(image_id, []).append(caption.strip())
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise BadArchive(f"{file}: not a COCO captions file ({error!r})") from None
    for ordinal, (image_id, file_name, licence, flickr_url) in enumerate(images):
        own = captions.get(image_id, [])
        text = " ".join(own)
        meta: dict[str, Any] = {"path": file_name, "cap": clean(text), "split": split}
        if extra:
            shown = [clean(caption) for caption in own]
            meta |= {"image_id": image_id, "captions": shown, "license": licence, "flickr_url": flickr_url}
        key = safe_key(str(file_name).rsplit("/", 1)[-1].split(".")[0])
        problem = caption_problem(text, caption_limit_bytes)
        yield Draft(ordinal, key, str(file_name), text, meta, problem)


def narrative_drafts(
    lines: Iterable[tuple[int, bytes]],
    *,
    number_repeats: bool,
    caption_limit_bytes: int = CAPTION_LIMIT_BYTES,
) -> Iterator[Draft]:
    """Samples of a Localized Narratives file, by line; `lines` are (offset, line) pairs.

    An image may be narrated several times. With `number_repeats` each narrative is a sample of its
    own: the second gets the key `ID_2`. Without it keys repeat, as the old script names them.
    """
    told: dict[str, int] = {}
    for ordinal, (offset, raw) in enumerate(lines):
        place = (offset, len(raw))
        try:
            record = json.loads(raw)
            image_id, text = record["image_id"], record["caption"]
            if not isinstance(image_id, (str, int)) or not isinstance(text, str):
                raise TypeError("no text")
            image_id = str(image_id)
        except (ValueError, KeyError, TypeError, RecursionError):
            yield Draft(ordinal, f"line-{ordinal + 1}", "", "", {}, "bad_record", place)
            continue
        told[image_id] = told.get(image_id, 0) + 1
        key = safe_key(image_id)[:KEY_LIMIT]
        if number_repeats and told[image_id] > 1:
            key = f"{key}_{told[image_id]}"
        kept = ("dataset_id", "image_id", "annotator_id", "caption", "voice_recording")
        meta = {name: record[name] for name in kept if name in record}
        problem = caption_problem(text, caption_limit_bytes)
        yield Draft(ordinal, key, f"{image_id}.jpg", text, meta, problem, place)


def keep_last(drafts: Iterable[Draft]) -> list[Draft]:
    """One draft for each key, the last: what remains where files of one folder overwrite each other."""
    kept: dict[str, Draft] = {}
    for draft in drafts:
        kept.pop(draft.key, None)
        kept[draft.key] = draft
    return list(kept.values())
