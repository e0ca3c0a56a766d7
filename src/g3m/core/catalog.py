"""What the catalog knows of a sample, and into which bins of a chart it falls.

A sample's id is the id of its shard and its place in it. A bin of a chart is named by the range of values
that it holds ("640-767", "1.33-1.49", "4096-"), which is what a filter of core/browse.py reads.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
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

WORDS_A_SHARD = 500
HOSTS_A_SHARD = 500
"""So many of a shard's most frequent words (hosts) are counted; the rest would be most of the catalog."""

_PLACE_BITS = 24
PLACE_LIMIT = 2**_PLACE_BITS
"""No shard has more samples than this."""

BLOCK = 64
"""So many neighbours are looked for together: for each bin is noted which blocks of a shard have it."""


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


def _octaves(first: int, parts: int, end: int) -> tuple[int, ...]:
    """Edges that divide each doubling from `first` up to `end` into equal parts."""
    edges, low = [], first
    while low < end:
        edges += [low + low * part // parts for part in range(parts)]
        low *= 2
    return tuple(edges)


_EDGES = {
    "words": (0, 1, 2, 3, *_octaves(4, 4, 4096), 4096),
    "letters": (0, 1, 4, *_octaves(8, 4, 2**15), 2**15),
    "width": (0, 1, 16, *_octaves(32, 4, 8192), 8192),
    "height": (0, 1, 16, *_octaves(32, 4, 8192), 8192),
    # In hundredths, with edges at the shapes of cameras and screens.
    "aspect": (
        0,
        1,
        25,
        33,
        40,
        50,
        56,
        60,
        67,
        75,
        80,
        90,
        100,
        101,
        111,
        125,
        133,
        150,
        167,
        178,
        200,
        250,
        300,
        400,
    ),
    "bytes": (0, 1, *_octaves(1024, 2, 2**25), 2**25),
}


def bin_of(chart: str, value: int | str) -> str:
    """The bin of a value (aspect: in hundredths); a name is its own bin.

    >>> bin_of("width", 640), bin_of("aspect", 133), bin_of("words", 5), bin_of("format", "png")
    ('640-767', '1.33-1.49', '5', 'png')
    """
    if isinstance(value, str):
        return value
    return _LABELS[chart][bisect_right(_EDGES[chart], max(value, 0)) - 1]


def bin_range(chart: str, name: str) -> str:
    """The text of the filter that holds exactly the samples of a bin; of a word, the query."""
    return f'"{name}"' if chart == "word" else name


def bins_within(chart: str, low: int | None, high: int | None) -> list[str]:
    """The bins that hold values from `low` to `high` (None: no bound; aspect: in hundredths)."""
    edges, labels = _EDGES[chart], _LABELS[chart]
    if low is not None and high is not None and low > high:
        return []
    first = 0 if low is None else bisect_right(edges, max(low, 0)) - 1
    last = len(edges) - 1 if high is None else bisect_right(edges, high) - 1
    return list(labels[first : last + 1])


def bin_order(chart: str, name: str, samples: int) -> tuple[int, str]:
    """What bins are sorted by: numbers by value, names by how many samples they have."""
    place = _PLACES[chart].get(name) if chart in NUMBERS else None
    return (-samples if place is None else place, name)


def _label(chart: str, low: int, above: int | None) -> str:
    if chart == "aspect":
        start, end = f"{low / 100:.2f}", "" if above is None else f"{(above - 1) / 100:.2f}"
    else:
        start, end = str(low), "" if above is None else str(above - 1)
    return start if start == end else f"{start}-{end}"


_LABELS = {
    chart: tuple(_label(chart, low, above) for low, above in zip(edges, (*edges[1:], None), strict=True))
    for chart, edges in _EDGES.items()
}
_PLACES = {chart: {name: place for place, name in enumerate(labels)} for chart, labels in _LABELS.items()}

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


def tally(entries: Iterable[Entry]) -> Counter[tuple[str, str]]:
    """How many samples of a shard fall into each (chart, bin)."""
    numbers: dict[str, Counter[int]] = {chart: Counter() for chart in NUMBERS}
    made: Counter[tuple[str, str]] = Counter()
    hosts: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for entry in entries:
        for chart, value in values(entry):
            numbers[chart][value] += 1
        made["format", entry.format] += 1
        made.update(("flag", name) for name in names(entry.flags))
        hosts[entry.host] += 1
        found.update(terms(entry.caption))
    for chart, counts in numbers.items():
        for value, count in counts.items():
            made[chart, bin_of(chart, value)] += count
    for chart, names_, limit in (("host", hosts, HOSTS_A_SHARD), ("word", found, WORDS_A_SHARD)):
        names_.pop("", None)
        for name, count in sorted(names_.items(), key=lambda item: (-item[1], item[0]))[:limit]:
            made[chart, name] += count
    return made


def values(entry: Entry) -> tuple[tuple[str, int], ...]:
    """The numbers of an entry, by chart."""
    return (
        ("words", entry.words),
        ("letters", entry.letters),
        ("width", entry.width),
        ("height", entry.height),
        ("aspect", entry.aspect),
        ("bytes", entry.size_bytes),
    )


def blocks(places: Iterable[tuple[int, Entry]]) -> dict[tuple[str, str], tuple[int, int]]:
    """For each bin to filter by: how many samples are in it, and a bit for each block that has one."""
    made: dict[tuple[str, str], tuple[int, int]] = {}
    labels: dict[tuple[str, int], tuple[str, str]] = {}
    for block, entry in places:
        bins = [("format", entry.format), *(("flag", name) for name in names(entry.flags))]
        for pair in values(entry):
            if pair not in labels:
                labels[pair] = (pair[0], bin_of(*pair))
            bins.append(labels[pair])
        for one in bins:
            count, bits = made.get(one, (0, 0))
            made[one] = (count + 1, bits | 1 << block)
    return made
