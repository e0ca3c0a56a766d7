"""How values are written on the pages: the templates, and what they can call.

What a page shows is for pages.py; what a text of a stranger is cut into is for texts.py.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from g3m.core.alike import BOTH_LIMIT, CORRELATION
from g3m.core.browse import View
from g3m.core.catalog import NUMBERS
from g3m.core.charts import bins_within
from g3m.core.tally import Snapshot
from g3m.ui.figures import count_text, duration_text, size_text
from g3m.ui.web import charts, texts
from g3m.ui.web.facts import Card, Detail
from g3m.ui.web.links import Links

TEMPLATES = Path(__file__).parent / "templates"
PAIRS_SHOWN = 60
BINS_SHOWN = {"word": 24, "host": 20, "format": 12, "flag": 20}
"""Of the charts whose bins are names, so many are drawn; the others have few."""


def environment() -> Environment:
    """The templates: what is not their own is escaped, and what nobody can see is named."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_seen,
    )
    made.filters |= {
        "count": count_text,
        "size": size_text,
        "duration": duration_text,
        "pieces": texts.pieces,
        "told": texts.told,
        "share": _share_text,
        "web": _web_address,
        "brief": brief,
        "low": _low,
        "indented": _indented,
        "quoted": shlex.quote,
    }
    made.globals |= {
        "replaced": replace,
        "spark": charts.spark,
        "WHOLE": texts.WHOLE,
        "PAIRS_SHOWN": PAIRS_SHOWN,
        "BOTH_LIMIT": BOTH_LIMIT,
        "CORRELATION": CORRELATION,
        "thumb": thumb,
        "chips": chips,
        "speeds": speeds,
        "View": View,
    }
    return made


def _seen(value: object) -> object:
    """Whatever a template writes: texts without characters that cannot be seen; its own markup as it is."""
    return texts.plain(value) if type(value) is str else value


def thumb(width: int, height: int, side: int) -> tuple[int, int]:
    """The size of a picture that is drawn within a square of `side` and never enlarged; unknown is square.

    >>> thumb(640, 480, 256), thumb(100, 50, 256), thumb(0, 0, 256)
    ((256, 192), (100, 50), (256, 256))
    """
    if width <= 0 or height <= 0:
        return side, side
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def chips(view: View) -> list[tuple[str, str, View]]:
    """What a view is filtered by: the name, its value, and the view without it."""
    empty, found = View(), []
    for name in ("query", "dataset", "shard", *NUMBERS, "format", "host", "flag", "seed"):
        value = getattr(view, name)
        if value != getattr(empty, name):
            less = replace(view, **{name: getattr(empty, name)}, after=0, before=0)
            found.append((name, str(value), less))
    return found


def speeds(state: Snapshot) -> list[float]:
    """Bytes a second between the marks of a run, the oldest first."""
    marks = (*state.marks, (state.now_s, state.arrived_bytes))
    return [
        max(0.0, (later[1] - early[1]) / (later[0] - early[0]))
        for early, later in pairwise(marks)
        if later[0] > early[0]
    ]


def python_lines(detail: Detail) -> str:
    """Lines that load this sample, true as they stand: by its number, and straight out of the tar."""
    picture = next((member for member in detail.members if member.extension not in ("txt", "json")), None)
    lines = [
        "import g3m",
        "",
        f"data = g3m.dataset({detail.folder!r})",
        f"sample = data[{detail.shown.number if detail.loads_as is None else detail.loads_as}]",
        "sample.key, sample.text, sample.open().size",
    ]
    if picture is not None:
        shard = f"{detail.folder}/{detail.shard}"
        lines += [
            "",
            "# or without g3m, straight out of the tar:",
            f"with open({shard!r}, 'rb') as file:",
            f"    file.seek({picture.offset})",
            f"    image = file.read({picture.size_bytes})",
        ]
    return "\n".join(lines)


def chart(
    name: str, found: Sequence[tuple[str, int]], dataset: str, links: Links, *, is_log: bool
) -> charts.Columns | tuple[charts.Row, ...]:
    """A chart with a link from each bar to the samples it stands for."""
    if name in NUMBERS:
        found = _with_empty(name, found)
    page = "search" if name == "word" else "browse"
    parameter = "q" if name == "word" else name
    bars = [
        charts.Bar(
            label, count, links.page(page, dataset=dataset, **{parameter: label}) if label and count else None
        )
        for label, count in found[: BINS_SHOWN.get(name, len(found))]
    ]
    return charts.columns(bars, is_log=is_log) if name in NUMBERS else charts.rows(bars, is_log=is_log)


def alike_chart(counts: tuple[int, int] | None, dataset: str, links: Links) -> tuple[charts.Row, ...]:
    """Samples whose picture an earlier one has, by its bytes and nearly; each bar opens the pairs."""
    page = links.page("alike", dataset=dataset)
    counted = zip(("same_picture", "near_picture"), counts or (), strict=False)
    return charts.rows([charts.Bar(code, count, page if count else None) for code, count in counted])


def left_out_chart(cards: Sequence[Card], dataset: str, links: Links) -> tuple[charts.Row, ...]:
    """What was left out, of one dataset by reason, of all by dataset; each bar opens that dataset's list."""
    found = [
        charts.Bar(reason if dataset else card.name, count, links.page("left-out", dataset=card.name))
        for card in cards
        if dataset in ("", card.name)
        for reason, count in (card.missing if dataset else {"": sum(card.missing.values())}).items()
        if count
    ]
    return charts.rows(sorted(found, key=lambda bar: (-bar.count, bar.label)))


def _with_empty(name: str, found: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
    """The bins of numbers with the empty ones between them, so that a gap is seen; not behind that of 0."""
    zero, *labels = bins_within(name, None, None)
    counts = dict(found)
    held = [place for place, label in enumerate(labels) if label in counts]
    if not held or not counts.keys() <= {zero, *labels}:
        return found
    between = [(label, counts.get(label, 0)) for label in labels[held[0] : held[-1] + 1]]
    return [(zero, counts[zero]), *between] if zero in counts else between


def _share_text(part: float, whole: float | None) -> str:
    """A share in percent; never 100 % for what is not whole, nor 0 for what is something."""
    if not whole:
        return "?"
    percent = 100 * part / whole
    if part and percent < 0.1:
        return "< 0.1 %"
    if part < whole and percent > 99.9:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def brief(count: int) -> str:
    """A count for a scale.

    >>> brief(950), brief(1500), brief(2_000_000)
    ('950', '1.5 k', '2 M')
    """
    for unit, name in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if count >= unit:
            return f"{count / unit:.1f}".removesuffix(".0") + name
    return str(count)


def _low(name: str) -> str:
    """Where a bin of numbers begins, short."""
    start = name.partition("-")[0]
    return brief(int(start)) if start.isdecimal() and len(start) > 4 else start


def _indented(body: Mapping[str, Any]) -> str:
    return json.dumps(body, indent=1, ensure_ascii=False)


def _web_address(text: str) -> str:
    """The text if it is a web address that may be a link, else nothing."""
    return text if text.startswith(("https://", "http://")) else ""
