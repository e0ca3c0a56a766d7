"""What the catalog knows of a sample: its row, its flags, its id, and the words of its caption.

A sample's id is the id of its shard and its place in it. Into which bins of a chart it falls is in
core/charts.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

FLAGS = (
    "not_an_image",
    "bomb",
    "broken",
    "truncated",
    "no_end",
    "trailing",
    "warning",
    "not_jpeg",
    "cmyk",
    "grayscale",
    "orientation",
    "duplicate_image",
    "no_caption",
    "caption_too_long",
    "caption_not_utf8",
    "unreadable",
)
"""What a sample can have, each a bit of a mask: classes of core/treatment.py, and `unreadable` (no picture,
or none that can be decoded). Catalogs on disks hold the bits, so new ones are appended."""

CHARTS = ("words", "letters", "width", "height", "aspect", "bytes", "format", "host", "flag", "word")
NUMBERS = ("words", "letters", "width", "height", "aspect", "bytes")
"""The charts whose bins are ranges of numbers; those of the others are names."""

CAPTION_LETTERS = 65536
"""A longer caption is cut to so many letters in the catalog; the shard has all of it."""

_PLACE_BITS = 24
PLACE_LIMIT = 2**_PLACE_BITS
"""No shard has more samples than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One sample. Width and height in pixels, as stored (0: not known); `size_bytes` of the picture.

    `digest` is the SHA-256 of the picture's bytes, `rows` and `columns` its dHash as signed 64-bit numbers:
    empty and 0 until the picture was decoded.
    """

    key: str
    caption: str = ""
    width: int = 0
    height: int = 0
    size_bytes: int = 0
    words: int = 0
    host: str = ""
    format: str = ""
    flags: int = 0
    digest: bytes = b""
    rows: int = 0
    columns: int = 0

    @property
    def letters(self) -> int:
        return len(self.caption)

    @property
    def aspect(self) -> int:
        """Width by height, in hundredths; 0 where it is not known."""
        return aspect(self.width, self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A sample as lists show it: a row of the catalog with its names. `number` is that in the dataset."""

    id: int
    dataset: str
    shard: str
    number: int
    key: str
    caption: str
    width: int
    height: int
    size_bytes: int
    words: int
    host: str
    format: str
    flags: tuple[str, ...]


def mask(names: Iterable[str]) -> int:
    """The bits of flags; names that are none count nothing.

    >>> mask(["bomb", "not_an_image"]), names(3)
    (3, ('not_an_image', 'bomb'))
    """
    return sum(1 << FLAGS.index(name) for name in set(names) if name in FLAGS)


def names(bits: int) -> tuple[str, ...]:
    """The flags of a mask, the gravest first."""
    return tuple(name for bit, name in enumerate(FLAGS) if bits >> bit & 1)


def sample_id(shard: int, place: int) -> int:
    """The id of the sample at a place of the shard with that id (1 and up)."""
    return shard << _PLACE_BITS | place


def place_of(identity: int) -> tuple[int, int]:
    """The shard's id and the place of the sample with that id."""
    return identity >> _PLACE_BITS, identity & (PLACE_LIMIT - 1)


def aspect(width: int, height: int) -> int:
    """Width by height, in hundredths; 0 where it is not known.

    >>> aspect(640, 480), aspect(480, 640), aspect(0, 10)
    (133, 75, 0)
    """
    return (200 * width + height) // (2 * height) if width > 0 and height > 0 else 0


# Han with its extensions, kana, Hangul: scripts that are searched by the character.
_CHARACTER = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_CHARACTER}]|[^\W_{_CHARACTER}]+(?:['’][^\W_{_CHARACTER}]+)*")
_ONE = re.compile(f"[{_CHARACTER}]")
_TERM = re.compile(rf"[{_CHARACTER}]{{2,}}|[^\W\d_{_CHARACTER}]{{3,}}")
_COMMON = frozenset(
    (  # noqa: SIM905  # a column of ninety words reads worse
        "about after all also and any are because been before being but can could did does each for from had"
        " has have her here him his how into its just more most nor not now off one only other our out over"
        " own she should some such than that the their them then there these they this those through too"
        " under until very was were what when where which while who will with would you your"
    ).split()
)


def count_words(text: str) -> int:
    """How many words a caption has; a Chinese, Japanese or Korean character counts as one.

    >>> count_words("A dog's life, 2 cats"), count_words("一只 red 猫"), count_words("")
    (5, 4, 0)
    """
    return len(_WORD.findall(text))


def terms(text: str) -> set[str]:
    """The words of a caption that their chart counts, in lower case; pairs of characters in Chinese.

    >>> sorted(terms("The DOG and the dog on a 红色沙发"))
    ['dog', '沙发', '红色', '色沙']
    """
    found: set[str] = set()
    for term in _TERM.findall(text.lower()):
        if _is_character(term[0]):
            found.update(term[at : at + 2] for at in range(len(term) - 1))
        elif term not in _COMMON:
            found.add(term)
    return found


def _is_character(letter: str) -> bool:
    return letter >= "\u3040" and _ONE.match(letter) is not None
