"""Captions and images that come as a heap of files: which form is it, and what belongs together?

SBU exists in eight forms (docs/datasets.md). They are told apart by content, never by the archive's
name, because nobody publishes what the Kaggle copy holds:

    triplets    an image with a .txt or .json of the same stem beside it       (forms 1 and 2)
    arrays      one JSON object of parallel arrays image_urls, captions        (form 3)
    positions   the same, images named NNNN/MMM by their place in the arrays   (forms 3 with 4)
    lines       ..._urls.txt and ..._captions.txt, paired by line              (form 5)
    images      a JSON list of objects with image and caption                  (form 6)
    urls        a JSON list of objects with url and caption                    (form 7)
    table       parquet with captions and image bytes                          (form 8)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from g3m.core.members import basename
from g3m.core.samples import KEY_LIMIT, safe_key

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
CAPTION_COLUMNS = ("descript", "caption", "captions", "text", "TEXT", "txt", "sentence")
"""Columns of a table that may hold the caption, the original text of a re-captioned copy first."""
KEY_COLUMNS = ("key", "__key__", "id", "image_id")

_POSITION = re.compile(r"(?:^|/)(\d{4})/(\d{3})\.[a-z]+$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Record:
    """One caption of a table: the image's file name, or its position where names say nothing.

    The caption is as it was read: what is no UTF-8 in it is for samples.py's `treat_caption`.
    """

    image: str
    caption: str
    url: str = ""
    position: int = -1


def suffix(name: str) -> str:
    """The lower-case suffix of a member's name with its dot."""
    dot = basename(name).rfind(".")
    return basename(name)[dot:].lower() if dot > 0 else ""


def stem(name: str) -> str:
    """The name without its suffix, folders kept."""
    return name[: len(name) - len(suffix(name))]


def is_image(name: str) -> bool:
    """Whether a name promises an image; the bytes are looked at when they are packed."""
    return suffix(name) in IMAGE_SUFFIXES


def image_of_url(url: str) -> str:
    """The file name that an image of this URL is stored under.

    >>> image_of_url("http://static.flickr.com/2723/4385058960_b0f291553e.jpg")
    '4385058960_b0f291553e.jpg'
    """
    try:
        return unquote(basename(urlsplit(url).path))
    except ValueError:
        return ""


def has_triplets(names: Iterable[str]) -> bool:
    """Whether images have a caption file of their own stem beside them."""
    images: set[str] = set()
    captions: set[str] = set()
    for name in names:
        if is_image(name):
            images.add(stem(name))
        elif suffix(name) in (".txt", ".json"):
            captions.add(stem(name))
    return not images.isdisjoint(captions)


def positions(names: Sequence[str]) -> dict[int, str] | None:
    """Position to image name if every image is called NNNN/MMM, else None.

    >>> positions(["x/0001/002.jpg", "x/0000/000.jpg"])
    {1002: 'x/0001/002.jpg', 0: 'x/0000/000.jpg'}
    """
    found: dict[int, str] = {}
    for name in names:
        match = _POSITION.search(name)
        if match is None:
            return None
        found[int(match.group(1)) * 1000 + int(match.group(2))] = name
    # Two images at one place: the names do not tell places, and none may be dropped in silence.
    return found if found and len(found) == len(names) else None


def json_records(document: Any) -> tuple[str, list[Record]] | None:
    """The form and the records of a parsed caption file, or None if it is none of ours."""
    if isinstance(document, dict):
        return _arrays(document)
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return _objects(document)
    return None


def _arrays(document: Mapping[str, Any]) -> tuple[str, list[Record]] | None:
    urls, captions = document.get("image_urls"), document.get("captions")
    if not isinstance(urls, list) or not isinstance(captions, list) or len(urls) != len(captions):
        return None
    return "arrays", [
        Record(image_of_url(str(url)), _caption(caption), str(url), position)
        for position, (url, caption) in enumerate(zip(urls, captions, strict=True))
    ]


def _objects(document: Sequence[Mapping[str, Any]]) -> tuple[str, list[Record]] | None:
    by_name = "image" in document[0]
    if "caption" not in document[0] or not (by_name or "url" in document[0]):
        return None
    records = []
    for item in document:
        if not isinstance(item, dict):
            return None
        url = str(item.get("url", ""))
        image = basename(str(item.get("image", ""))) if by_name else image_of_url(url)
        records.append(Record(image, _caption(item.get("caption")), url))
    return ("images" if by_name else "urls"), records


def _caption(value: Any) -> str:
    """The text, or the first of several; what is no text is an empty caption, which has its reason code."""
    first = value[0] if isinstance(value, list) and value else value
    return first if isinstance(first, str) else ""


def line_records(urls: str, captions: str) -> list[Record] | None:
    """Records of two text files paired by line, or None if their lengths differ."""
    url_lines, caption_lines = _lines(urls), _lines(captions)
    if len(url_lines) != len(caption_lines):
        return None
    return [
        Record(image_of_url(url.strip()), caption.removesuffix("\r"), url.strip())
        for url, caption in zip(url_lines, caption_lines, strict=True)
    ]


def _lines(text: str) -> list[str]:
    """Lines by newline alone: a caption may hold other characters that look like line ends."""
    return text.removeprefix("\ufeff").removesuffix("\n").split("\n")


def unique_keys(names: Iterable[str]) -> Iterator[str]:
    """A key for each name; the second of the same key gets `_2`, and so on.

    >>> list(unique_keys(["a.b", "a_b", "ü"]))
    ['a_b', 'a_b_2', 'sample']
    """
    seen: dict[str, int] = {}
    for name in names:
        base = key = safe_key(name)[:KEY_LIMIT] or "sample"
        while key in seen:  # a name may end as a numbered key does: "a", "a_2", "a"
            seen[base] += 1
            key = f"{base}_{seen[base]}"
        seen[key] = 1
        yield key
