"""`g3m index`: the index of tars, whoever made them, and the catalog; the work is in runners/index.py."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from g3m.core.errors import G3MError, NotVerified
from g3m.ui.options import Context, json_flag, open_context, print_json, quiet_flag, setting_flags
from g3m.ui.watch import watched

if TYPE_CHECKING:
    from g3m.steps.index import Folder, Indexed

SHOWN = 20
_AGAIN_HINT = (
    "run `g3m index` on that folder without --check: it reads the headers of the shards again",
    "请对该目录运行不带 --check 的 `g3m index`：会重新读取分片的文件头",
)
_REPAIR_HINT = (
    "all else is in the catalog; `g3m verify --repair` makes broken shards again, then run `g3m index`",
    "其余分片已收录；`g3m verify --repair` 可重做损坏的分片，之后再运行 `g3m index`",
)


@click.command()
@click.argument("paths", nargs=-1, metavar="[DATASET|PATH...]")
@click.option(
    "--to",
    default="",
    metavar="FILE",
    help="Write the index there, where the folder cannot be written; `g3m.dataset` opens that file.",
)
@click.option("--check", is_flag=True, help="Only compare names, sizes and times; exit 7 if they differ.")
@click.option("--force", is_flag=True, help="Read the shards also where index and catalog are up to date.")
@click.option(
    "--pictures",
    is_flag=True,
    help="Decode every picture, too: digests, look-alikes, unreadable ones. Takes hours for millions.",
)
@json_flag
@quiet_flag
@setting_flags("root", "jobs", "max_time", "lang")
def index(  # noqa: PLR0913, PLR0917  # one parameter for each option
    paths: tuple[str, ...],
    to: str,
    check: bool,
    force: bool,
    pictures: bool,
    json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Make the catalog of the samples below --root, for search, stats and view; index.bin where it lacks.

    DATASET is one of those below --root; without it all are taken. PATH is a folder of WebDataset tars,
    whoever made them (its folders are looked into, too): it gets an index.bin, so that g3m.dataset can read
    it; only the headers of the tars are read for that. A sample's key is the name of its files up to the
    first dot of the last component, with the folder in the tar; extensions count in lower case. Run it again
    to continue, or after datasets or tars were added: what is known is not read again. --json prints an
    object for each index that is made, and one for the catalog.
    """
    from g3m.runners.index import below_root, fits, places

    if to and len(paths) != 1:
        raise click.UsageError("--to is for one PATH: an index describes one folder")
    if check and force:
        raise click.UsageError("--check reads no shards, --force reads all of them: give one of the two")
    context = open_context(flags, json=json, quiet=quiet)
    known = below_root(paths, context.session)
    folders = _folders(places(paths, context.session) if paths or check else (), to, context)
    if check:
        _check(folders, context)
        return
    failures: list[G3MError] = []
    for path, folder in zip(paths, folders, strict=True):
        if path in known and not (force or to) and fits(folder):
            continue
        try:
            _show(folder, _index(folder, context, force=force), context)
        except G3MError as error:
            if len(folders) == 1 or error.exit_code not in (6, 7):
                raise
            failures.append(error)
    if failures:
        text = "\n".join(error.message for error in failures)
        raise type(failures[0])(text, hint=failures[0].hint)
    names = below_root(paths, context.session) if paths else ()  # by now with those that had no index
    if (names or not paths) and not to:
        _catalog(names, context, pictures=pictures, force=force)


def _folders(paths: tuple[str, ...], to: str, context: Context) -> list[Folder]:
    from g3m.steps.index import find_folder

    return [find_folder(path, to, context.session) for path in paths]


def _catalog(names: tuple[str, ...], context: Context, *, pictures: bool, force: bool) -> None:
    from g3m.runners.index import catalog_in
    from g3m.ui.figures import count_text, size_text

    with watched(context) as watch:
        made = catalog_in(names, context.session, watch.sinks, pictures=pictures, force=force)
    if context.json:
        print_json({"catalog": {**asdict(made), "path": str(made.path)}})
    else:
        values = {"path": made.path, "samples": count_text(made.samples), "shards": made.shards}
        context.say(
            "catalog-made" if made.is_changed else "catalog-current",
            size=size_text(made.size_bytes),
            **values,
        )
        if made.read or made.forgotten:
            context.say("catalog-read", read=made.read, forgotten=made.forgotten)
        if made.decoded:
            context.say("catalog-decoded", decoded=made.decoded)
    if made.failed:
        lines = [f"{name}: {reason}" for name, reason in made.failed.items()]
        more = [context.speaker.say("verify-more", count=len(lines) - SHOWN)] if len(lines) > SHOWN else []
        raise NotVerified("\n".join([*lines[:SHOWN], *more]), hint=_REPAIR_HINT)


def _index(folder: Folder, context: Context, *, force: bool) -> Indexed:
    from g3m.adapters.disk import Store
    from g3m.runners.index import index_in

    # The logs of a run stand in the .g3m of a root; a folder of tars has none, and none is made.
    own = replace(context, session=replace(context.session, store=Store(folder.root)))
    with watched(own) as watch:
        return index_in(folder, own.session, watch.sinks, force=force)


def _show(folder: Folder, made: Indexed, context: Context) -> None:
    from g3m.ui.figures import count_text, size_text

    if context.json:
        print_json({"index": {**asdict(made), "path": str(made.path), "folder": str(folder.root)}})
        return
    values = {"path": made.path, "samples": count_text(made.samples), "shards": made.shards}
    context.say("index-made" if made.is_new else "index-current", size=size_text(made.size_bytes), **values)
    fields = ", ".join(f"{count_text(count)} {name}" for name, count in made.fields.items())
    context.say("index-fields", fields=fields)
    if folder.body is not None:
        context.say("index-manifest")
    if made.is_same:
        context.say("index-same")
    for reason, count in made.left_out.items():
        context.say("index-left-out", count=count_text(count), reason=reason, first=made.first[reason])
    if made.ignored:
        context.say("index-ignored", count=count_text(made.ignored))
    if made.repeated:
        context.say("index-repeated", count=count_text(made.repeated), example=made.repeated_key)


def _check(folders: list[Folder], context: Context) -> None:
    from g3m.steps.index import differences

    lines: list[str] = []
    for folder in folders:
        found = differences(folder)
        if context.json:
            rows = [asdict(one) for one in found]
            print_json({"index": {"path": str(folder.path), "ok": not found, "differences": rows}})
        elif not found:
            context.say("index-checked", path=folder.path, shards=len(folder.shards))
        lines += (
            context.speaker.say("index-differs", path=folder.path, **asdict(one)).rstrip() for one in found
        )
    if lines:
        more = [] if len(lines) <= SHOWN else [context.speaker.say("verify-more", count=len(lines) - SHOWN)]
        raise NotVerified("\n".join([*lines[:SHOWN], *more]), hint=_AGAIN_HINT)
