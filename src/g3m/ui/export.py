"""`g3m export`: what other programs want to be told about the shards; the work is in steps/export.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g3m.ui.options import json_flag, open_context, print_json, quiet_flag, setting_flags
from g3m.ui.words import printable

if TYPE_CHECKING:
    from g3m.steps.export import Exported
    from g3m.ui.options import Context

SHOWN = 4
"""Files of one folder that are named one by one."""


@click.command()
@click.argument("kind", metavar="FORMAT")
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where it goes: a file for text, a folder for files. Default: the screen, or beside the data.",
)
@click.option(
    "--factor",
    "factors",
    multiple=True,
    metavar="DATASET=NUMBER",
    help="How often its samples come in an epoch; open_clip and energon only.",
)
@json_flag
@quiet_flag
@setting_flags("root", "lang")
def export(
    kind: str,
    names: tuple[str, ...],
    to: Path | None,
    factors: tuple[str, ...],
    json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Tell other programs about the datasets under --root; nothing is fetched, and no shard is changed.

    FORMAT is nxtp (its table of lengths and folders), webdataset (addresses with braces), open_clip (options
    of its training), wids (lists of shards), hf (a dataset card and croissant.json) or energon
    (.nv-meta and indexes). The first three print text, the others write files beside the data; --to
    names another place. DATASET is a dataset, a group, or a folder with an index.bin; without one, all
    that is here.
    """
    from g3m.steps.export import export as export_in

    context = open_context(flags, json=json, quiet=quiet)
    done = export_in(kind, names, context.session, to=to, factors=_numbers(factors))
    if json:
        files = {"written": [str(path) for path in done.written], "kept": [str(path) for path in done.kept]}
        print_json({"format": kind, "datasets": dict(done.datasets), "text": done.text, **files})
        return
    if done.text and to is None:
        click.echo(printable(done.text), nl=False)
    _show_files(done, context)


def _numbers(texts: Sequence[str]) -> dict[str, float]:
    found = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not DATASET=NUMBER", param_hint="--factor") from None
    return found


def _show_files(done: Exported, context: Context) -> None:
    """A line for each file, or for a folder with several."""
    for key, paths in (("export-written", done.written), ("export-kept", done.kept)):
        folders: dict[Path, list[str]] = {}
        for path in paths:
            folders.setdefault(path.parent, []).append(path.name)
        for folder, names in folders.items():
            shown = ", ".join(names[:SHOWN])
            if len(names) == 1:
                context.say(key, path=folder / shown)
            else:
                more = context.speaker.say("export-more", count=len(names) - SHOWN)
                context.say(key, path=f"{folder}{os.sep} ({shown}{more if len(names) > SHOWN else ''})")
