"""`g3m drop`: samples that nobody is to see any more; the work is in runners/drop.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g3m.ui.options import Context, json_flag, open_context, print_json, quiet_flag, setting_flags
from g3m.ui.watch import watched

if TYPE_CHECKING:
    from g3m.runners.drop import DropReport
    from g3m.steps.drop import Place

SHOWN = 20
_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@click.option("--keys", multiple=True, type=_file, metavar="FILE", help="A list of keys; may be repeated.")
@click.option("--urls", multiple=True, type=_file, metavar="FILE", help="A list of web addresses.")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept beside each key.")
@click.option("--rewrite", is_flag=True, help="Write the shards that hold dropped samples anew without them.")
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@click.option("--list", "shown", is_flag=True, help="Show what was dropped.")
@json_flag
@quiet_flag
@setting_flags("root", "lang", "max_time")
def drop(  # one parameter for each option
    names: tuple[str, ...], shown: bool, json: bool, quiet: bool, **flags: Any
) -> None:
    """Drop samples from the datasets under --root (all by default): for takedowns and exclusions.

    A line of --keys is KEY, DATASET/KEY or JSON with "key"; one of --urls an address that stands in the json
    of a sample or in the table of a gathered one. What is dropped stands in dropped.jsonl beside the shards,
    and is left out by the loader, the catalog, export, share, and whenever shards are made again. The shards
    are changed by --rewrite alone, also later and without a list. A dataset in a bucket is named by its
    address, s3://BUCKET/PATH.
    """
    from g3m.runners.drop import Wish, drop_in
    from g3m.steps.drop import places

    wish = Wish(**{name: flags.pop(name) for name in ("keys", "urls", "reason", "rewrite", "dry_run")})
    if shown and (wish.keys or wish.urls or wish.rewrite):
        raise click.UsageError("--list only shows: give it without --keys, --urls and --rewrite")
    context = open_context(flags, json=json, quiet=quiet)
    if shown:
        _show_records(places(names, context.session), context)
        return
    if wish.rewrite and not wish.dry_run:
        with watched(context) as watch:
            report = drop_in(names, wish, context.session, watch.sinks)
    else:
        report = drop_in(names, wish, context.session, [])
    _show(report, context, is_dry=wish.dry_run, is_rewritten=wish.rewrite)
    for error in report.failed.values():
        raise error


def _show(report: DropReport, context: Context, *, is_dry: bool, is_rewritten: bool) -> None:
    from g3m.ui.figures import count_text, size_text

    found = report.dropped
    if context.json:
        rows = [
            {"dataset": one.place.name, "new": len(one.new), "before": one.before, "samples": one.samples}
            for one in found.found
        ]
        facts: dict[str, object] = {
            "entries": found.entries,
            "unmatched": found.unmatched,
            "examples": list(found.examples),
        }
        rewritten = {name: asdict(one) for name, one in report.rewritten.items()}
        failed = {name: error.message for name, error in report.failed.items()}
        outcome = {"rewritten": rewritten, "failed": failed}
        print_json({"drop": {"dry_run": is_dry, "datasets": rows, **facts, **outcome}})
        return
    hit = [one for one in found.found if one.new or one.before]
    for one in hit:
        counts = {"new": count_text(len(one.new)), "before": count_text(one.before)}
        context.say("drop-would" if is_dry else "drop-found", name=one.place.name, **counts)
    if found.entries and not hit:
        context.say("drop-none", names=", ".join(one.place.name for one in found.found))
    if found.unmatched:
        examples = ", ".join(found.examples)
        counts = {"count": count_text(found.unmatched), "entries": count_text(found.entries)}
        context.say("drop-unmatched", **counts, examples=examples)
    for name, done in report.rewritten.items():
        if done.shards:
            size = size_text(done.freed_bytes)
            context.say("drop-rewritten", name=name, shards=done.shards, samples=done.samples, size=size)
        else:
            context.say("drop-current", name=name)
        if done.removed:
            context.say("drop-removed", files=", ".join(done.removed))
    for name, error in list(report.failed.items())[1:]:  # the first is what the command ends with
        context.say("drop-failed", name=name, reason=error.message)
    if any(one.samples for one in found.found) and not is_dry and not is_rewritten:
        context.say("drop-kept")


def _show_records(here: Sequence[Place], context: Context) -> None:
    from g3m.steps.dropped import read_record
    from g3m.ui.figures import count_text

    records = [(place, read_record(place.folder)) for place in here]
    if context.json:
        rows = {
            place.name: [
                {"key": one.key, "reason": one.reason, "from": one.source, "shard": one.shard}
                for one in record.drops.values()
            ]
            for place, record in records
        }
        print_json({"dropped": rows})
        return
    for place, record in records:
        if not record:
            continue
        drops = list(record.drops.values())
        gone = sum(bool(one.shard) for one in drops)
        context.say("drop-listed", name=place.name, count=count_text(len(drops)), gone=count_text(gone))
        for one in drops[:SHOWN]:
            word = context.speaker.say("drop-gone") if one.shard else ""
            context.say("drop-entry", sample=one.key, reason=one.reason or "-", source=one.source, gone=word)
        if len(drops) > SHOWN:
            path = place.folder / "dropped.jsonl"
            context.say("drop-more", count=count_text(len(drops) - SHOWN), path=path)
    if not any(record for _, record in records):
        context.say("drop-nothing")
