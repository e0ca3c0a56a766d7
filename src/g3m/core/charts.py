"""Into which bins of a chart a sample falls, and how many samples of a shard fall into each.

A bin is named by the range of values that it holds ("640-767", "1.33-1.49", "4096-"), which is what a filter
of core/browse.py reads. What is known of a sample is in core/catalog.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping

from g3m.core.catalog import NUMBERS, Entry, names, terms

WORDS_A_SHARD = 500
HOSTS_A_SHARD = 500
"""So many of a shard's most frequent words (hosts) are counted; the rest would be most of the catalog."""

BLOCK = 64
"""So many neighbours are looked for together: for each bin is noted which blocks of a shard have it."""


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


def tally(entries: Iterable[Entry]) -> Counter[tuple[str, str]]:
    """How many samples of a shard fall into each (chart, bin)."""
    rows = list(entries)
    made = tally_bins(rows)
    made.update(most_frequent(tally_names(rows)))
    return made


def tally_bins(entries: Iterable[Entry]) -> Counter[tuple[str, str]]:
    """The same without the charts of hosts and words, which name no more than the most frequent."""
    numbers: dict[str, Counter[int]] = {chart: Counter() for chart in NUMBERS}
    made: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for chart, value in values(entry):
            numbers[chart][value] += 1
        made["format", entry.format] += 1
        made.update(("flag", name) for name in names(entry.flags))
    for chart, counts in numbers.items():
        for value, count in counts.items():
            made[chart, bin_of(chart, value)] += count
    return made


def tally_names(entries: Iterable[Entry]) -> dict[str, Counter[str]]:
    """How many samples have each host, and each word."""
    hosts: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for entry in entries:
        if entry.host:
            hosts[entry.host] += 1
        found.update(terms(entry.caption))
    return {"host": hosts, "word": found}


def most_frequent(counts: Mapping[str, Counter[str]]) -> dict[tuple[str, str], int]:
    """Of the hosts and words of a shard those that are counted in their charts."""
    made: dict[tuple[str, str], int] = {}
    for chart, limit in (("host", HOSTS_A_SHARD), ("word", WORDS_A_SHARD)):
        ordered = sorted(counts[chart].items(), key=lambda item: (-item[1], item[0]))
        made.update({(chart, name): count for name, count in ordered[:limit] if count > 0})
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
