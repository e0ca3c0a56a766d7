"""`g3m gather`: pictures behind lists of URLs become shards; the work is in runners/gather.py.

Also what `g3m get` says at the end of a dataset that was gathered.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from g3m.core.errors import SettingsError
from g3m.ui.options import json_flag, open_context, print_json, print_lines, quiet_flag, setting_flags
from g3m.ui.watch import own_line, watched

if TYPE_CHECKING:
    from g3m.core.events import Sink
    from g3m.core.receipt import Manifest
    from g3m.runners.base import Summary
    from g3m.ui.options import Context
    from g3m.ui.words import Speaker

LIST_SETTINGS = (
    "requests",
    "per_host",
    "url_timeout_s",
    "max_url_bytes",
    "allow_private",
    "ignore_robots_txt",
    "hash_mismatch",
    "min_side",
    "max_aspect",
)
"""The settings that speak of the URLs of lists."""

REASONS_SHOWN = 12

_LISTS_HINT = (
    "name datasets of lists only, with the same --source as before (for SBU: --source urls)",
    "请只写由 URL 列表构成的数据集，并使用与之前相同的 --source（SBU 为 --source urls）",
)

retry_flag = click.option(
    "--retry-failed", is_flag=True, help="Ask again for the rows that failed and may still succeed."
)


@click.command()
@click.argument("lists", nargs=-1, metavar="[LIST...]")
@click.option(
    "--to", required=True, metavar="PLACE", help="Where the shards go: a folder, or s3://BUCKET/PREFIX."
)
@click.option("--url", "url_column", default="url", metavar="COLUMN", help="The column of the addresses.")
@click.option(
    "--caption",
    "caption_column",
    default="caption",
    metavar="COLUMN",
    help="The column of the captions; '' if there is none.",
)
@click.option(
    "--hash-column",
    default="",
    metavar="COLUMN",
    help="The column of sha256 digests that pictures must have.",
)
@click.option(
    "--keep-column",
    "keep_columns",
    multiple=True,
    metavar="COLUMN",
    help="A column to carry into each sample's json and the tables; repeatable.",
)
@click.option(
    "--task-rows", type=click.IntRange(1), metavar="N", help="Rows of a task, which makes one shard: 10000."
)
@retry_flag
@json_flag
@quiet_flag
@setting_flags(*LIST_SETTINGS, "image_size", "resize", "only_if_bigger", "quality", "policy", "max_rejected")
@setting_flags("root", "runner", "address", "part", "jobs", "catalog", "offline", "lang")
@setting_flags("proxy", "no_proxy", "route", "bwlimit", "max_time")
def gather(lists: tuple[str, ...], json: bool, quiet: bool, **flags: Any) -> None:
    """Gather pictures behind lists of URLs and pack them with their captions.

    LIST is a file or a folder of parquet, csv, tsv, json, jsonl or txt (also as .gz), a URL of one, or
    s3://BUCKET/KEY. Each row becomes a sample, or a line with the reason in the table beside its shard. Every
    10000 rows are a task of their own: run the same line again to continue. Addresses that lead into a
    private network are refused, a host's robots.txt and opt-out headers are honoured, and no credential is
    ever sent. With --part I/N many processes share one list, with --runner ray a cluster does.
    """
    from g3m.core.gathering import TASK_ROWS, Columns, gathering_for
    from g3m.runners.gather import gather_in, plan_in

    columns = Columns(
        url=flags.pop("url_column"),
        caption=flags.pop("caption_column"),
        sha256=flags.pop("hash_column"),
        keep=flags.pop("keep_columns"),
    )
    to, is_retry, task_rows = flags.pop("to"), flags.pop("retry_failed"), flags.pop("task_rows")
    if not lists and not is_retry:
        raise click.UsageError("name a list, or say --retry-failed")
    context = open_context(flags, json=json, quiet=quiet)
    gathering = gathering_for(columns, context.session.settings, task_rows or TASK_ROWS)
    plan, context.session = plan_in(lists, to, gathering, context.session)
    for note in context.session.ways.notes:
        context.tell(context.speaker.pick(note))
    with watched(context) as watch:
        summary = gather_in(plan, context.session, watch.sinks, retry_failed=is_retry)
    if context.session.settings.part and not summary.manifests:
        context.say("gathered-part", part=context.session.settings.part)
    elif not summary.finished:
        context.say("nothing-to-do")
    for name, body in summary.manifests.items():
        show_gathered(context, name, body, place=to)


def gather_again(names: Sequence[str], context: Context, sinks: Sequence[Sink]) -> Summary:
    """`g3m get --retry-failed`: the rows of datasets that were gathered, and may succeed now."""
    from g3m.core.gathering import READER
    from g3m.runners.gather import gather_in
    from g3m.steps.resolve import resolve

    plan = resolve(names, context.session)
    if others := [one.name for one in plan.datasets if one.recipe.samples.reader != READER]:
        raise SettingsError(
            f"--retry-failed: {', '.join(others)}: not made of a list of URLs", hint=_LISTS_HINT
        )
    return gather_in(plan, context.session, sinks, retry_failed=True)


def show_gathered(context: Context, name: str, body: Manifest, *, place: str) -> None:
    """How gathering a list ended: samples, their share of the rows, reasons, tables, what to try again."""
    from g3m.core.gathering import READER
    from g3m.core.outcomes import may_succeed
    from g3m.ui.figures import count_text, size_text

    again = sum(count for reason, count in body.rejected.items() if may_succeed(reason))
    share = body.samples / body.seen if body.seen else 0.0
    if context.json:
        row = {"dataset": name, "samples": body.samples, "shards": len(body.shards), "folder": place}
        rows = {"form": READER, "rows": body.seen, "may_succeed": again}
        print_json({**row, **rows, "rejected": body.rejected, "findings": body.findings})
        return
    size, samples = size_text(body.size_bytes), count_text(body.samples)
    context.say("done", name=name, samples=samples, shards=len(body.shards), size=size, folder=place)
    context.say("gathered", rows=count_text(body.seen), share=f"{share:.1%}")
    if not context.quiet:
        print_lines(reason_lines(body.rejected, context.speaker))
    context.say("gathered-tables", folder=place)
    if again:
        line = own_line(context, "--retry-failed")
        context.say("gathered-again", count=count_text(again), line=line)


def reason_lines(rejected: Mapping[str, int], speaker: Speaker) -> Iterator[str]:
    """Why rows became no samples: counts and reasons with their meanings, the biggest first."""
    from g3m.ui.figures import count_text, table
    from g3m.ui.words_gather import meaning_of

    reasons = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    rows = [(count_text(count), name, speaker.pick(meaning_of(name))) for name, count in reasons]
    if len(rows) > REASONS_SHOWN:
        others = sum(count for _, count in reasons[REASONS_SHOWN:])
        words = speaker.say("gathered-others", count=len(rows) - REASONS_SHOWN)
        rows = [*rows[:REASONS_SHOWN], (count_text(others), "...", words)]
    if rows:
        yield from (f"  {line}" for line in table(rows[0], rows[1:], right=(0,)))
