"""`g3m stats`: figures of datasets as lines with bars, and which pictures of one set are in others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g3m.ui.figures import count_text
from g3m.ui.options import (
    Context,
    json_flag,
    open_context,
    print_json,
    print_lines,
    quiet_flag,
    setting_flags,
)
from g3m.ui.watch import watched

if TYPE_CHECKING:
    from g3m.adapters.catalog import Catalog
    from g3m.core.alike import Leak, Leaks
    from g3m.runners.stats import Stats

SHOWN = 10
"""Names of one chart, and pairs of leaks, that a terminal shows."""

LINES = 16
"""Ranges of one chart that a terminal shows; the rest at both ends is one line each."""

_BAR = 40
_NAME = 40
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@click.command()
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@click.option(
    "--leaks",
    "evaluation",
    default="",
    metavar="DATASET",
    help="Say which samples of the others have a picture of this evaluation set, exactly or nearly.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="With --leaks: write those samples there, as a list that leaves them out.",
)
@json_flag
@quiet_flag
@setting_flags("root", "jobs", "max_time", "lang")
def stats(  # one parameter for each option
    names: tuple[str, ...], evaluation: str, out: Path | None, json: bool, quiet: bool, **flags: Any
) -> None:
    """Show what the catalog knows of datasets: captions, sizes, formats, hosts, words, findings, duplicates.

    All datasets together without a name. `g3m index` makes the catalog; with --pictures it also knows which
    pictures are alike. That is what --leaks asks: is a picture of the evaluation set among those to train
    with? The list of --out is one for `g3m.dataset(..., exclude=FILE)` and `g3m drop --keys FILE`.
    """
    from g3m.adapters.catalog import FILE, open_catalog

    if out is not None and not evaluation:
        raise click.UsageError("--out is for --leaks")
    context = open_context(flags, json=json, quiet=quiet)
    with open_catalog(context.session.store.work / FILE) as catalog:
        if evaluation:
            _leaks(catalog, evaluation, names, out, context)
        else:
            _stats(catalog, names, context)


def _stats(catalog: Catalog, names: Sequence[str], context: Context) -> None:
    from g3m.runners.stats import stats_in

    made = stats_in(catalog, names)
    if context.json:
        charts = {
            chart: [{"bin": name, "samples": samples} for name, samples in bins]
            for chart, bins in made.charts.items()
        }
        counts = {"samples": made.samples, "looked": made.looked, "same": made.same, "near": made.near}
        rows = [asdict(row) for row in made.datasets]
        print_json({"datasets": rows, **counts, "is_current": made.is_current, "charts": charts})
    elif not context.quiet:
        print_lines(stats_lines(made, context))


def stats_lines(made: Stats, context: Context) -> Iterator[str]:
    """The figures for a terminal."""
    say = context.speaker.say
    names = ", ".join(row.name for row in made.datasets) or "-"
    shards = sum(row.shards for row in made.datasets)
    yield say("stats-head", names=names, samples=count_text(made.samples), shards=count_text(shards))
    if made.looked:
        counts = {
            "looked": count_text(made.looked),
            "same": count_text(made.same),
            "near": count_text(made.near),
        }
        yield say("stats-looked", **counts)
        if not made.is_current:
            yield say("stats-older")
    if made.looked < made.samples:
        yield say("stats-part-looked" if made.looked else "stats-not-looked")
    for chart, bins in made.charts.items():
        yield ""
        yield say(f"chart-{chart}")
        yield from bars(chart, bins, made.samples, context)


def bars(chart: str, bins: Sequence[tuple[str, int]], samples: int, context: Context) -> Iterator[str]:
    """A line with a bar for each bin; long charts have their ends in one line each, or their first names."""
    from g3m.core.catalog import NUMBERS

    shown = (
        _ends_joined(bins) if chart in NUMBERS else [(name[:_NAME], count) for name, count in bins[:SHOWN]]
    )
    widest = max((len(name) for name, _ in shown), default=0)
    longest = max((count for _, count in shown), default=0)
    digits = len(count_text(longest))
    for name, count in shown:
        share = 100 * count / samples if samples else 0
        line = f"  {name:<{widest}}  {count_text(count):>{digits}}  {share:5.1f} %  {bar(count, longest)}"
        yield line.rstrip()
    if len(shown) < len(bins) and chart not in NUMBERS:
        yield "  " + context.speaker.say("stats-more", count=count_text(len(bins) - len(shown)))


def bar(count: int, longest: int) -> str:
    """A bar of up to 40 characters, in eighths of one.

    >>> bar(10, 10) == "█" * 40, bar(1, 320), bar(0, 5)
    (True, '▏', '')
    """
    eighths = -(-count * _BAR * 8 // longest) if longest else 0
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def _ends_joined(bins: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """No more than LINES bins: the smaller of the two ends becomes part of its neighbour until that is so."""
    joined = list(bins)
    while len(joined) > LINES:
        at = 0 if joined[0][1] <= joined[-1][1] else len(joined) - 2
        low, high = joined[at], joined[at + 1]
        start, end = low[0].partition("-")[0], high[0].rpartition("-")[2]
        joined[at : at + 2] = [(f"{start}-{end}", low[1] + high[1])]
    return joined


def _leaks(
    catalog: Catalog, evaluation: str, names: Sequence[str], out: Path | None, context: Context
) -> None:
    from g3m.adapters.disk import write_document
    from g3m.runners.stats import leaks_in

    with watched(context) as watch:
        made = leaks_in(catalog, evaluation, context.session, names, watch.sinks)
    if out is not None:
        write_document(out, (line.encode() for line in made.exclusion()))
    if context.json:
        print_json({"leaks": asdict(made), "complete": made.is_complete, "out": str(out) if out else None})
    elif not context.quiet:
        print_lines(leaks_lines(made, out, context))


def leaks_lines(made: Leaks, out: Path | None, context: Context) -> Iterator[str]:
    """The answer for a terminal: how many, what that means, what it does not cover, the first pairs."""
    from g3m.core.alike import BOTH_LIMIT, CORRELATION

    say, name = context.speaker.say, made.evaluation
    if not made.datasets:
        yield say("leaks-alone")
        return
    head = "leaks-head" if made.hit else "leaks-none"
    yield say(head, name=name, hit=count_text(made.hit), looked=count_text(made.looked))
    for one in made.datasets:
        counts = {kind: count_text(getattr(one, kind)) for kind in ("exact", "near", "unsure")}
        yield say("leaks-row", dataset=one.dataset, searched=count_text(one.looked), **counts)
    yield say("leaks-near", bits=BOTH_LIMIT, correlation=CORRELATION)
    if any(one.unsure for one in made.datasets):
        yield say("leaks-unsure")
    if made.refuted:
        yield say("leaks-refuted", count=count_text(made.refuted))
    if made.is_crowded:
        yield say("leaks-crowded")
    searched = [(name, made.samples, made.looked), *((o.dataset, o.samples, o.looked) for o in made.datasets)]
    for dataset, samples, looked in searched:
        if looked < samples:
            missing = {"missing": count_text(samples - looked), "samples": count_text(samples)}
            yield say("leaks-incomplete", dataset=dataset, **missing)
    yield from _pair_lines(made, out, context)


def _pair_lines(made: Leaks, out: Path | None, context: Context) -> Iterator[str]:
    say = context.speaker.say
    for leak in made.pairs[:SHOWN]:
        like = f"{made.evaluation}/{leak.like_key}"
        yield f"  {leak.dataset}/{leak.key}  {_why(leak, context)}  {like}"
    if made.is_cut:
        yield say("leaks-cut", count=count_text(len(made.pairs)))
    elif len(made.pairs) > SHOWN and out is None:
        yield say("leaks-more", count=count_text(len(made.pairs) - SHOWN))
    if out is not None:
        yield say("leaks-written", path=str(out), count=count_text(len(made.pairs)))


def _why(leak: Leak, context: Context) -> str:
    if leak.why == "exact":
        return context.speaker.say("leaks-exact")
    words = "leaks-nearly" if leak.why == "near" else "leaks-perhaps"
    return context.speaker.say(words, bits=leak.bits, correlation=leak.correlation)
