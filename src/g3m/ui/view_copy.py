"""`g3m view --export` as it is seen: how far it is, what a signal does. web/export.py makes the copy."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from g3m.core.errors import Interrupted
from g3m.ui.figures import count_text, size_text
from g3m.ui.logs import HEARTBEAT_S, stamp
from g3m.ui.options import Context, print_json
from g3m.ui.terminal import REDRAWS_PER_S, cut, draws

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def write_copy(folder: Path, samples: int, context: Context) -> None:
    """Write the pages into a folder, and say how far that is; a signal leaves the folder as it was."""
    from g3m.ui.web.export import export
    from g3m.ui.web.server import opened

    with _stopping(folder, context), _told(context) as tell, opened(context.session) as (here, pictures):
        made = export(here, pictures, folder, samples=samples, language=context.speaker.lang, tell=tell)
    if context.json:
        sizes = {"pages": made.pages, "pictures": made.pictures, "size_bytes": made.size_bytes}
        print_json({"folder": str(made.folder), **sizes, "samples": made.samples})
        return
    say = context.speaker.say
    counts = {"pages": count_text(made.pages), "pictures": count_text(made.pictures)}
    click.echo(say("view-exported", folder=made.folder, size=size_text(made.size_bytes), **counts))
    for name, (shown, held) in made.samples.items():
        if shown < held:
            context.tell(say("view-part", name=name, shown=count_text(shown), held=count_text(held)))


@contextmanager
def _told(context: Context) -> Iterator[Callable[[int, int], None]]:
    """Hears of pages written and known: one line that changes on a terminal, elsewhere dated ones."""
    if context.quiet or context.json:
        yield lambda _written, _known: None
        return
    is_drawn = draws(sys.stderr)
    told_s = -HEARTBEAT_S if is_drawn else time.monotonic()

    def tell(written: int, known: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s < (1 / REDRAWS_PER_S if is_drawn else HEARTBEAT_S):
            return
        told_s = time.monotonic()
        text = context.speaker.say("view-writing", written=count_text(written), known=count_text(known))
        if is_drawn:
            click.echo(f"\r\x1b[2K{cut(text, shutil.get_terminal_size().columns - 1)}", err=True, nl=False)
        else:
            click.echo(f"{stamp()} {text}", err=True)

    try:
        yield tell
    finally:
        if is_drawn:
            click.echo("\r\x1b[2K", err=True, nl=False)


@contextmanager
def _stopping(folder: Path, context: Context) -> Iterator[None]:
    """The first signal ends the export and takes away what is half written; the second ends the process."""
    stopped = 0

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            os._exit(128 + number)
        stopped = number
        error = Interrupted("stopped")
        error.exit_code = 128 + number
        raise error

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except Interrupted:
        context.tell(context.speaker.say("view-stopped", folder=folder))
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
