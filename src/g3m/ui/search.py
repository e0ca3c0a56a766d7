"""`g3m search` and `g3m sql`: the catalog asked by words and by a SELECT; work is in runners/search.py."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from g3m.core.query import Query, highlighted, parse
from g3m.ui.figures import count_text
from g3m.ui.options import Context, json_flag, open_context, print_json, print_lines, setting_flags
from g3m.ui.terminal import cells, cut, draws, padded
from g3m.ui.words import printable

if TYPE_CHECKING:
    from g3m.adapters.catalog import Answer, Catalog
    from g3m.core.browse import View
    from g3m.runners.search import Hit

SHOWN_HITS = 20
SHOWN_ROWS = 1000
TIMEOUT_S = 10.0
_BEFORE, _LETTERS = 80, 400
"""Of a long caption so many letters before the first mark are shown, and so many in all."""

_CELL_COLUMNS = 60
_INDENT = "    "
_BREAKS = re.compile(r"\s+")


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="WORD...")
@click.option("--dataset", default="", metavar="NAME", help="Search the captions of this dataset only.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=None, help=f"So many at most [{SHOWN_HITS}; --keys: all]."
)
@click.option(
    "--keys",
    "keys",
    is_flag=True,
    help="Print DATASET/KEY of all, one a line: a list for g3m.dataset(exclude=) and `g3m drop --keys`.",
)
@json_flag
@setting_flags("root", "lang")
def search(
    words: tuple[str, ...], dataset: str, limit: int | None, keys: bool, json: bool, **flags: Any
) -> None:
    """Find samples by the words of their captions, in the catalog that `g3m index` makes.

    \b
    red bus                  captions with both words
    '"double decker" bus*'   a phrase, and words that begin with bus
    'cat OR dog -night'      one of two, without a third (put -- before a query that begins with -)
    公交车                   characters that stand together

    Case and accents do not count.
    """
    from g3m.adapters.catalog import FILE, open_catalog
    from g3m.core.listed import listed
    from g3m.runners.search import asked

    if keys and json:
        raise click.UsageError("--keys and --json exclude each other")
    context = open_context(flags, json=json)
    with open_catalog(context.session.store.work / FILE) as catalog:
        view = asked(catalog, " ".join(words), dataset)
        if keys:
            for name, key in islice(catalog.keys(view), limit):
                click.echo(listed(name, key))
        else:
            _search(catalog, view, limit or SHOWN_HITS, context)


def _search(catalog: Catalog, view: View, limit: int, context: Context) -> None:
    from g3m.runners.search import search_in

    hits = search_in(catalog, view, context.session.store.root, limit)
    total = catalog.count(view)
    if context.json:
        rows = [hit_row(hit) for hit in hits]
        print_json({"search": {"query": view.query, **_total(total.samples, total.is_bound), "hits": rows}})
        return
    query, marked = parse(view.query), draws(sys.stdout) and not os.environ.get("NO_COLOR")
    for hit in hits:
        click.echo(printable(_place(hit)))
        click.echo(_INDENT + shown_caption(hit.caption, query, marked=marked))
    counts = {"shown": count_text(len(hits)), "count": count_text(total.samples)}
    if not hits:
        searched = [row for row in catalog.datasets() if view.dataset in ("", row.name)]
        samples, names = sum(row.samples for row in searched), ", ".join(row.name for row in searched)
        context.say("search-none", samples=count_text(samples), datasets=names)
    elif total.is_bound:
        context.say("search-many", **counts)
    else:
        context.say("search-all" if len(hits) >= total.samples else "search-more", **counts)


def _total(samples: int, is_bound: bool) -> dict[str, object]:
    return {"samples": samples, "samples_is_bound": is_bound}


def hit_row(hit: Hit) -> dict[str, object]:
    """A hit as JSON."""
    names = ("dataset", "key", "caption", "shard", "number", "width", "height")
    return {**{name: getattr(hit, name) for name in names}, "folder": os.fspath(hit.folder)}


def _place(hit: Hit) -> str:
    size = f"  {hit.width}x{hit.height}" if hit.width else ""
    return f"{hit.dataset}/{_one_line(hit.key)}  {hit.shard}  #{hit.number}{size}"


def shown_caption(caption: str, query: Query, *, marked: bool) -> str:
    """A caption on one line, its hits bold if `marked`; of a long one the part around the first."""
    pieces = highlighted(caption, query)
    start = len(pieces[0][0]) if pieces and not pieces[0][1] else 0
    skipped = max(0, start - _BEFORE) if len(caption) > _LETTERS else 0
    shown, left = "…" if skipped else "", _LETTERS
    for piece, is_hit in pieces:
        text = piece[skipped:]
        skipped = max(0, skipped - len(piece))
        safe = printable(_one_line(text[:left]))
        shown += click.style(safe, fg="red", bold=True) if marked and is_hit and safe else safe
        left -= min(left, len(text))
    return shown if len(caption) <= _LETTERS or left else shown + "…"


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text)


@click.command()
@click.argument("query", metavar="SELECT")
@click.option(
    "--limit", type=click.IntRange(min=1), default=SHOWN_ROWS, show_default=True, help="So many rows at most."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    help="Give up after so many seconds.",
)
@json_flag
@setting_flags("root", "lang")
def sql(query: str, limit: int, timeout_s: float, json: bool, **flags: Any) -> None:
    """Ask the catalog in SQL: one SELECT, nothing is changed.

    \b
    g3m sql "SELECT dataset, count(*), avg(width) FROM samples GROUP BY dataset"
    g3m sql "SELECT key, caption FROM samples WHERE aspect > 4 LIMIT 10" --json

    `samples` has a row for each sample: dataset, shard, number, key, caption, width, height, aspect, bytes,
    words, letters, host, format, flags, sha256.
    """
    from g3m.adapters.catalog import FILE, open_catalog
    from g3m.runners.search import sql_in

    context = open_context(flags, json=json)
    with open_catalog(context.session.store.work / FILE) as catalog:
        answer = sql_in(catalog, query, limit, timeout_s)
    if json:
        rows = [[_json_value(value) for value in row] for row in answer.rows]
        print_json({"sql": {"columns": list(answer.columns), "rows": rows, "is_cut": answer.is_cut}})
        return
    print_lines(_table(answer))
    context.say("sql-cut" if answer.is_cut else "sql-rows", count=count_text(len(answer.rows)))


def _json_value(value: object) -> object:
    """A value as JSON has it: bytes in hexadecimal digits, an infinite number as text."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _table(answer: Answer) -> Iterator[str]:
    """Columns as wide as needed, up to a limit; numbers to the right."""
    head = [_cell(name) for name in answer.columns]
    rows = [[_cell(value) for value in row] for row in answer.rows]
    widths = [max(cells(row[column]) for row in (head, *rows)) for column in range(len(head))]
    right = [
        all(isinstance(row[column], (int, float, type(None))) for row in answer.rows)
        for column in range(len(head))
    ]
    yield from (_line(row, widths, right) for row in (head, ["-" * width for width in widths], *rows))


def _line(row: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    made = (
        " " * (width - cells(cell)) + cell if is_right else padded(cell, width)
        for cell, width, is_right in zip(row, widths, right, strict=True)
    )
    return "  ".join(made).rstrip()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    text = (
        value.hex()
        if isinstance(value, bytes)
        else f"{value:.6g}"
        if isinstance(value, float)
        else str(value)
    )
    # Cut before it is measured: a cell may hold megabytes.
    return cut(printable(_one_line(text[: 4 * _CELL_COLUMNS])), _CELL_COLUMNS)
