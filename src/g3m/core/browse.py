"""What a list of samples is asked for: filters, words and a place, as they stand in the address bar.

`parse_view` reads the parameters of an address and `View.parameters` writes them, the shortest way. What the
row of a sample must fulfil is SQL made here; adapters/catalog_walk.py executes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from g3m.core.catalog import FLAGS, NUMBERS
from g3m.core.errors import BadText

NAMES = ("dataset", "shard", "format", "host", "flag")
"""The filters that are names."""

_TEXT_LIMIT = 1000
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,6})?")
_WHOLE = re.compile(r"[0-9]{1,18}")
_ROUNDING = 1e-6


class BadView(BadText):
    """A parameter that means nothing; `both` names it and says what it may be, in English and Chinese."""


@dataclass(frozen=True, slots=True)
class Span:
    """A range of numbers, both ends in it; None: no bound on that side.

    >>> Span.parse("256-511"), str(Span(512, None)), str(Span(7, 7))
    (Span(low=256, high=511), '512-', '7')
    """

    low: float | None
    high: float | None

    @classmethod
    def parse(cls, text: str) -> Span:
        """ValueError for what is no range."""
        low, dash, high = text.strip().partition("-")
        ends = [end.strip() for end in (low, high if dash else low)]
        if not any(ends) or any(end and not _NUMBER.fullmatch(end) for end in ends):
            raise ValueError(text)
        span = cls(*(_number(end) if end else None for end in ends))
        if span.low is not None and span.high is not None and span.low > span.high:
            raise ValueError(text)
        return span

    def __str__(self) -> str:
        low, high = ("" if end is None else _text(end) for end in (self.low, self.high))
        return low if low == high else f"{low}-{high}"


def _number(text: str) -> float:
    value = float(text)
    return int(value) if value.is_integer() else value


def _text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6f}".rstrip("0")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A list of samples: what all of them have in common, in which order, and behind (before) which of them.

    `after` and `before` are the cursors that a list of rows gives (0: from the start); with a `seed` the
    order is shuffled, the same for the same seed.
    """

    dataset: str = ""
    shard: str = ""
    query: str = ""
    words: Span | None = None
    letters: Span | None = None
    width: Span | None = None
    height: Span | None = None
    aspect: Span | None = None
    bytes: Span | None = None
    format: str = ""
    host: str = ""
    flag: str = ""
    seed: int | None = None
    after: int = 0
    before: int = 0

    def parameters(self) -> dict[str, str]:
        """The parameters of its address: only what is set, always in the same order; the words are `q`."""
        made: dict[str, str] = {}
        for name, parameter in _PARAMETERS.items():
            value = getattr(self, name)
            if value is not None and value != "" and (value != 0 or name == "seed"):
                made[parameter] = str(value)
        return made

    @property
    def is_filtered(self) -> bool:
        """Whether it is less than one or all datasets in their order, so that only a catalog can answer."""
        whole = replace(self, dataset="", after=0, before=0)
        return whole != View()

    def spans(self) -> dict[str, Span]:
        """The ranges that are set, by chart."""
        found = {name: getattr(self, name) for name in NUMBERS}
        return {name: span for name, span in found.items() if span is not None}


_PARAMETERS = {
    "dataset": "dataset",
    "shard": "shard",
    "query": "q",
    **{name: name for name in (*NUMBERS, "format", "host", "flag", "seed", "after", "before")},
}


def parse_view(parameters: Mapping[str, str]) -> View:
    """The view that the parameters of an address mean; those it does not know and empty ones count nothing.

    >>> parse_view({"q": "red bus", "width": "640-", "lang": "zh"}).parameters()
    {'q': 'red bus', 'width': '640-'}
    """
    made: dict[str, object] = {}
    for name, parameter in _PARAMETERS.items():
        text = parameters.get(parameter, "").strip()
        if text:
            made[name] = _value(name, parameter, text)
    if made.get("after") and made.get("before"):
        raise BadView("after and before: only one of the two", "after 与 before：只能给出其中一个")
    return View(**made)  # type: ignore[arg-type]


def _value(name: str, parameter: str, text: str) -> object:
    if name in NUMBERS:
        try:
            return Span.parse(text)
        except ValueError:
            raise BadView(
                f"{parameter}: a number or a range, such as 256-511, 512- or -255",
                f"{parameter}：一个数或一个范围，例如 256-511、512- 或 -255",
            ) from None
    if name in ("seed", "after", "before"):
        if not _WHOLE.fullmatch(text):
            raise BadView(f"{parameter}: a whole number", f"{parameter}：一个整数")
        return int(text)
    if len(text) > _TEXT_LIMIT:
        raise BadView(
            f"{parameter}: at most {_TEXT_LIMIT} letters", f"{parameter}：最多 {_TEXT_LIMIT} 个字符"
        )
    if name == "flag" and text not in FLAGS:
        names = ", ".join(FLAGS)
        raise BadView(f"flag: one of {names}", f"flag：下列之一：{names}")
    return text


def bounds(chart: str, span: Span) -> tuple[int | None, int | None]:
    """The whole numbers from which to which a range goes; an aspect is stored in hundredths.

    >>> bounds("aspect", Span(1.1, 1.15)), bounds("words", Span(0.5, 3.5))
    ((110, 115), (1, 3))
    """
    scale = 100 if chart == "aspect" else 1
    # 1.1 * 100 is a little more than 110: a shape must not fall out of its own bin.
    low = None if span.low is None else math.ceil(span.low * scale - _ROUNDING)
    high = None if span.high is None else math.floor(span.high * scale + _ROUNDING)
    return low, high


def condition(view: View) -> tuple[str, list[object]]:
    """What the row of a sample must fulfil, beside words, dataset, shard and host: SQL, and its values.

    >>> condition(View(width=Span(640, None), flag="bomb"))
    ('sample.width >= ? AND sample.flags & ?', [640, 2])
    """
    parts: list[str] = []
    found: list[object] = []
    for name, span in view.spans().items():
        for sign, end in zip((">=", "<="), bounds(name, span), strict=True):
            if end is not None:
                parts.append(f"sample.{name} {sign} ?")
                found.append(end)
    if view.format:
        parts.append("sample.format = ?")
        found.append(view.format)
    if view.flag:
        parts.append("sample.flags & ?")
        found.append(1 << FLAGS.index(view.flag))
    return " AND ".join(parts), found
