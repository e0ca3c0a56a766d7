"""`g3m pack`: what stands already, packed anew; the work is in runners/pack.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from g3m.ui.options import json_flag, open_context, quiet_flag, setting_flags
from g3m.ui.watch import watched


@click.command()
@click.argument("source", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "--to",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the new shards go; a folder that is empty or does not exist yet.",
)
@click.option("--shard-size", type=click.IntRange(1), metavar="N", help="Samples in a shard.")
@click.option(
    "--max-shard-bytes",
    default="",
    metavar="SIZE",
    help="A shard ends before it would be larger: 500M, 8G (1000-based), 2GiB.",
)
@json_flag
@quiet_flag
@setting_flags(
    "root",
    "catalog",
    "image_size",
    "resize",
    "only_if_bigger",
    "quality",
    "policy",
    "jobs",
    "max_rejected",
    "max_time",
    "lang",
)
def pack(  # one parameter for each option
    source: tuple[str, ...],
    to: Path,
    shard_size: int | None,
    max_shard_bytes: str,
    json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Pack ready shards anew: other sizes of shards, other sizes of pictures. SOURCE stays as it is.

    SOURCE is a dataset that stands under --root, or folders and files of WebDataset tars, whoever made them.
    With --shard-size and --max-shard-bytes a shard ends where the first of them is reached; without both each
    shard gives one. All members of a sample are kept, their extensions in lower case. Only its picture is
    treated: the first of .jpg .jpeg .png .webp .gif .bmp .tiff; encoded anew it is called .jpg. With
    --image-size, too, shards are cut by the sizes that samples have in SOURCE. Run it again to continue.
    """
    from g3m.runners.pack import cut_at, pack_in, plan_in
    from g3m.ui.cli import show_dataset  # not above: that module takes this one in

    context = open_context(flags, json=json, quiet=quiet)
    plan, context.session = plan_in(source, to, cut_at(shard_size or 0, max_shard_bytes), context.session)
    with watched(context) as watch:
        summary = pack_in(plan, context.session, watch.sinks)
    if not summary.finished:
        context.say("nothing-to-do")
    for name, body in summary.manifests.items():
        show_dataset(context, name, body)
