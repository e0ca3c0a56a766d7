"""`g3m view`: look at what is here, in a browser, or write that as files."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g3m.ui.options import Context, json_flag, open_context, print_json, quiet_flag, setting_flags

if TYPE_CHECKING:
    from g3m.ui.web.server import Served


@click.command()
@click.argument("what", default="", metavar="[DATASET|PATH]")
@click.option(
    "--port", default=8317, type=click.IntRange(0, 65535), help="0 takes any that is free. [default: 8317]"
)
@click.option(
    "--socket", "path", type=click.Path(path_type=Path), help="Listen at a socket that only you can open."
)
@click.option(
    "--export", "folder", type=click.Path(path_type=Path), help="Write the pages as files, and end."
)
@click.option(
    "--samples", default=500, type=click.IntRange(0), help="With --export: samples of each. [default: 500]"
)
@click.option("--open", "is_open", is_flag=True, help="Open the address in your browser on this machine.")
@json_flag
@quiet_flag
@setting_flags("root", "jobs", "lang")
def view(  # noqa: PLR0913, PLR0917  # one parameter for each option
    what: str,
    port: int,
    path: Path | None,
    folder: Path | None,
    samples: int,
    is_open: bool,
    json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Look at the datasets in a browser: pictures, captions, statistics, and the run at work.

    PATH takes the place of --root: a root, or one folder of tars with an index. A DATASET is shown first.
    Prints an address with a token, and the ssh line to reach it from elsewhere. Nothing leaves this machine,
    and nothing can be changed through the pages. Ctrl-C ends it.
    """
    from g3m.core.errors import SettingsError

    if is_open and folder is not None:
        raise click.UsageError("--open is for the pages of a server: give it without --export")
    context = open_context(flags, json=json, quiet=quiet)
    start = _choose(what, context)
    root = context.session.store.root
    if not root.is_dir():
        raise SettingsError(f"root: there is no folder {root}")
    if folder is not None:
        from g3m.ui.view_copy import write_copy

        write_copy(folder, samples, context)
        return
    from g3m.ui.browser import Browser
    from g3m.ui.web.server import Wanted, serve

    wanted = Wanted(port=port, path=path, start=start, lang=context.session.settings.lang)
    with Browser(context) as browser:

        def ready(served: Served) -> None:
            _show(served, port, context)
            if is_open:
                browser.open(served)

        serve(context.session, wanted, ready=ready)


def _choose(what: str, context: Context) -> str:
    """The page to open first; a path becomes the root, a name must be a dataset below it."""
    from urllib.parse import urlencode

    from g3m.adapters.disk import Store
    from g3m.core.errors import UnknownDataset
    from g3m.core.recipe import suggest
    from g3m.steps.holdings import folders_below

    if not what:
        return ""
    if os.sep in what or what in (".", ".."):
        path = Path(what).expanduser()
        if not path.is_dir():
            raise UnknownDataset(f"{path}: there is no such folder")
        context.session = replace(context.session, store=Store(path))
        return ""
    names = [*folders_below(context.session)]
    if what not in names:
        root = context.session.store.root
        raise UnknownDataset(f"{what!r} is not under {root}{suggest(what, names)}")
    return f"browse?{urlencode({'dataset': what})}"


def _show(served: Served, port: int, context: Context) -> None:
    from g3m.core.tunnel import is_remote, tunnel_line

    target = str(served.path.absolute()) if served.path else str(served.port)
    line = tunnel_line(os.environ, socket.gethostname(), target, served.port or port)
    if context.json:
        root = str(context.session.store.root.absolute())
        print_json({"address": served.address, "port": served.port, "root": root, "ssh": line})
        return
    click.echo(served.address)
    say = context.speaker.say
    context.tell(say("view-root", root=context.session.store.root.absolute()))
    if served.port and port not in (0, served.port):
        context.tell(say("view-port", port=port, used=served.port))
    if is_remote(os.environ) or served.path:
        context.tell(say("view-tunnel"))
        context.tell(f"  {line}")
    if served.path:
        context.tell(say("view-socket", port=port))
    context.tell(say("view-end"))
