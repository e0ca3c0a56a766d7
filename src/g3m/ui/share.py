"""Files that do not come over g3m's own download: `g3m share`, `g3m import`, `g3m plan --format`."""

from __future__ import annotations

import signal
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g3m.ui.options import Context, json_flag, open_context, print_json, quiet_flag, setting_flags
from g3m.ui.watch import watched

if TYPE_CHECKING:
    from g3m.adapters.share import ShareServer
    from g3m.core.peers import Listing
    from g3m.core.plan import DatasetPlan, Plan
    from g3m.core.secrets import Secret
    from g3m.steps.bring import Brought

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOLD_S = 30
TOKEN_LENGTHS = range(16, 129)
WHY = {
    "published": "import-published",
    "unpinned": "import-unpinned",
    "unreadable": "import-unreadable",
    "unfinished": "import-unfinished",
    "size": "import-size",
    "digest": "import-digest",
}
FETCH_AGAIN = (
    "fetch these files again; the list of `g3m plan NAME --format curl` compares them by itself",
    "请重新下载这些文件；`g3m plan 名称 --format curl` 生成的脚本会自动校验",
)


@click.command()
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="Where to listen; 0.0.0.0: everywhere.")
@click.option(
    "--port", default=8318, type=click.IntRange(0, 65535), help="0 takes any that is free. [default: 8318]"
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The token of the address, to have the same at every start.",
)
@json_flag
@quiet_flag
@setting_flags("root", "lang")
def share(
    names: tuple[str, ...],
    host: str,
    port: int,
    token_file: Path | None,
    json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Let other machines read what is here: finished files, parts of files, packed shards.

    Prints one address with a fresh token; whoever has it can read, for as long as this command runs. On the
    other machine: g3m get NAME --peer ADDRESS. Without names all is shared. Nothing is written.
    """
    from g3m.adapters.beneath import open_beneath
    from g3m.adapters.share import ShareOptions, ShareServer
    from g3m.core.errors import SettingsError
    from g3m.steps.offer import known_datasets, offer, refuse_dropped

    context = open_context(flags, json=json, quiet=quiet)
    session = context.session
    token = _token(token_file, context)
    if not session.store.root.is_dir():
        raise SettingsError(f"root: there is no folder {session.store.root}")
    root = session.store.root.resolve()
    datasets = known_datasets(session, names)
    refuse_dropped(datasets, session)
    listing, _ = offer(datasets, session)
    server = ShareServer(
        lambda parts: open_beneath(root, parts),
        token,
        lambda: offer(known_datasets(session, names), session)[1],
        ShareOptions(host=host, port=port),
    )
    with _signals() as numbers, server:
        _show_address(server, listing, host, context)
        number = _wait(server, numbers, context)
    raise SystemExit(130 if number == signal.SIGINT else 0)


def _token(path: Path | None, context: Context) -> Secret:
    """The token of the file, or a fresh one of 128 bits."""
    import secrets

    from g3m.core.errors import SettingsError
    from g3m.core.secrets import Secret

    if path is None:
        return Secret(secrets.token_hex(16))
    hint = (
        f"make one: (umask 077; openssl rand -hex 16 > {path})",
        f"生成一个：(umask 077; openssl rand -hex 16 > {path})",
    )
    try:
        text = path.read_text(encoding="ascii").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"--token-file {path}: {getattr(error, 'strerror', 'no text')}", hint=hint
        ) from None
    if len(text) not in TOKEN_LENGTHS or not all(letter.isalnum() or letter in "-_" for letter in text):
        raise SettingsError(f"--token-file {path}: needs one line of 16 to 128 letters and digits", hint=hint)
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        context.tell(context.speaker.say("share-readable", path=path))
    return Secret(text)


@contextmanager
def _signals() -> Iterator[set[signal.Signals]]:
    """Hold the signals back, in this thread and in all that begin inside, so that they can be waited for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield set(SIGNALS)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait(server: ShareServer, numbers: Iterable[signal.Signals], context: Context) -> int:
    """Wait for a signal; every half minute in which bytes moved, say how many."""
    from g3m.ui.figures import size_text

    told = 0
    while (found := signal.sigtimedwait(numbers, TOLD_S)) is None:
        sent, told = told, server.sent_bytes
        if told != sent:
            context.tell(
                context.speaker.say("share-sent", size=size_text(told), connections=server.connections)
            )
    return found.si_signo


def _show_address(server: ShareServer, listing: Listing, host: str, context: Context) -> None:
    """The address, once, on stdout; what it is good for, on stderr."""
    from g3m.ui.figures import size_text

    whole = [asset for asset in listing.assets if asset.ranges is None]
    parts = [asset for asset in listing.assets if asset.ranges is not None]
    if context.json:
        counts = {"whole": len(whole), "parts": len(parts), "datasets": len(listing.datasets)}
        print_json({"share": {"url": server.url, "port": server.port, **counts}})
    else:
        click.echo(server.url)
    size_bytes = sum(asset.size_bytes for asset in whole)
    size_bytes += sum(end - start for asset in parts for start, end in asset.ranges or ())
    size_bytes += sum(shard.size_bytes for dataset in listing.datasets for shard in dataset.shards)
    root = context.session.store.root
    say = context.speaker.say
    if size_bytes:
        context.tell(
            say(
                "share-offers",
                root=root,
                whole=len(whole),
                parts=len(parts),
                datasets=len(listing.datasets),
                size=size_text(size_bytes),
            )
        )
    else:
        context.tell(say("share-nothing", root=root))
    if host in ("127.0.0.1", "::1", "localhost"):
        context.tell(say("share-loopback", host=host))
    for key in ("share-hand-on", "share-secret", "share-terms"):
        context.tell(say(key))


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path, exists=True), metavar="DIR")
@click.argument("names", nargs=-1, metavar="[DATASET...]")
@json_flag
@quiet_flag
@setting_flags("root", "offline", "lang", "proxy", "no_proxy", "route")
def import_(folder: Path, names: tuple[str, ...], json: bool, quiet: bool, **flags: Any) -> None:
    """Take in files that were fetched by hand: recognised by size and digest, whatever their names.

    They are hard linked, or copied where that cannot be; never moved or changed. By default for all datasets
    whose files are known without a network; for named ones the hub is asked for its listing, which is kept.
    """
    from g3m.steps.bring import Brought, bring
    from g3m.steps.offer import known_datasets

    context = open_context(flags, json=json, quiet=quiet)
    session = context.session
    wanted = session.recipes.expand(names)
    session.store.prepare()
    datasets = _listed(names, context) if names else known_datasets(session)
    result = Brought()
    with watched(context) as watch:
        for event in bring(folder, datasets, session, result):
            for sink in watch.sinks:
                sink(event)
    known = {dataset.name for dataset in datasets}
    unknown = [recipe.name for recipe in wanted if recipe.name not in known]
    if not names:  # not asked about: nothing can be done for these anyway
        result.passed = [one for one in result.passed if one.why not in ("published", "unpinned")]
    _show_result(result, unknown, context)


def _listed(names: tuple[str, ...], context: Context) -> tuple[DatasetPlan, ...]:
    """The plans of named datasets; those of which no hub gives the listing are told of and left out."""
    from g3m.core.errors import SourceError
    from g3m.steps.resolve import resolve

    try:
        return resolve(names, context.session).datasets
    except SourceError:
        made = resolve(names, context.session, estimate=True, note=context.tell)
        return tuple(dataset for dataset in made.datasets if not dataset.estimated)


def _show_result(result: Brought, unknown: list[str], context: Context) -> None:
    """What was taken and what was not, and why; DigestMismatch if a file is not what its size says."""
    from g3m.core.errors import DigestMismatch
    from g3m.ui.figures import size_text

    if context.json:
        passed = [{"path": one.path, "why": one.why, **one.values} for one in result.passed]
        taken = [{"name": asset.name, "path": str(path)} for asset, path in result.taken]
        here, missing = (
            [asset.name for asset in result.here.values()],
            [asset.name for asset in result.missing],
        )
        facts = {"here": here, "missing": missing, "others": result.others, "unlisted": unknown}
        print_json({"import": {"taken": taken, "passed": passed, **facts}})
    for asset, path in result.taken:
        context.say("import-taken", name=asset.name, path=path)
    for asset in result.here.values():
        context.say("import-here", name=asset.name)
    for one in result.passed:
        key = WHY[one.why]
        context.say(key, **{"name": one.path, "path": one.path, **one.values})
    if not result.taken:
        context.say("import-none")
    if result.others:
        context.say("import-others", count=result.others)
    for asset in result.missing:
        context.say("import-missing", name=asset.name, size=size_text(asset.size_bytes))
    for name in unknown:
        context.say("import-unlisted", name=name)
    wrong = [one.path for one in result.passed if one.why == "digest"]
    if wrong:
        raise DigestMismatch("\n".join(wrong), hint=FETCH_AGAIN)


def write_list(plan: Plan, kind: str, context: Context) -> None:
    """`g3m plan --format`: what is to be fetched, as a list for another program, on stdout."""
    from g3m.core.errors import Unreachable
    from g3m.core.exports import FORMATS, downloads
    from g3m.core.plan import asset_id
    from g3m.core.recipe import Asset
    from g3m.core.routes import address, rewrite
    from g3m.steps.find import present
    from g3m.steps.publish import published

    session, say = context.session, context.speaker.say
    unknown = [dataset.name for dataset in plan.datasets if dataset.estimated]
    if unknown:
        raise Unreachable(f"{', '.join(unknown)}: the files are not known without the hub's listing")
    settings = session.settings

    def urls_of(asset: Asset) -> list[str]:
        urls = (address(place, settings.endpoints) for place in asset.places)
        return list(dict.fromkeys(other for url in urls for other in rewrite(url, settings.mirrors)))

    needed = {
        asset_id(asset)
        for dataset in plan.datasets
        if published(dataset, session) is None
        for asset in dataset.assets
        if present(session, asset) is None
    }
    files = downloads(plan, urls_of, [identifier for identifier in plan.assets if identifier not in needed])
    if len(needed) < len(plan.assets):
        context.tell(say("format-here", count=len(plan.assets) - len(needed)))
    for file in files:
        if not file.urls:
            context.tell(say("format-no-place", name=file.name))
    click.echo(FORMATS[kind]([file for file in files if file.urls]), nl=False)
