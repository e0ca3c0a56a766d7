"""Watching a run from a command: its views, its log files, and what a signal does to it."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from g3m.core.errors import Interrupted
from g3m.core.events import Event, Sink
from g3m.core.tally import Snapshot, fold
from g3m.ui.figures import size_text
from g3m.ui.logs import JsonLines, LogFiles
from g3m.ui.options import Context
from g3m.ui.terminal import progress

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(slots=True)
class Watch:
    """The sinks of a run, and its state so far."""

    sinks: list[Sink] = field(default_factory=list)
    state: Snapshot = field(default_factory=Snapshot)

    def take(self, event: Event) -> None:
        """Keep the state, so that a stopped run can say how far it came."""
        self.state = fold(self.state, event, time.monotonic())


@contextmanager
def watched(context: Context) -> Iterator[Watch]:
    """Show and log a run; where a signal stops it, say how to go on and leave with the signal's code."""
    watch = Watch()
    quiet = context.quiet or context.json
    with closing(LogFiles(context.session.store.work)) as files, progress(quiet=quiet) as show:
        watch.sinks += [watch.take, files, show]
        if context.json:
            watch.sinks.append(JsonLines(lambda line: click.echo(line, nl=False)))
        with _stop_on_signals(context) as number:
            try:
                yield watch
                return
            except Interrupted as error:
                stopped = error
    _tell_how_to_continue(context, watch.state)
    stopped.exit_code = 128 + number[0] if number else stopped.exit_code
    raise stopped


@contextmanager
def _stop_on_signals(context: Context) -> Iterator[list[int]]:
    """The first Ctrl-C, SIGTERM or SIGUSR1 asks the run to stop; the second ends the process."""
    numbers: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if numbers:
            os._exit(128 + number)
        numbers.append(number)
        context.session.stop.set()
        if not context.quiet:
            # Not through stderr's buffer: the signal may have come in the middle of a line to it.
            os.write(2, f"\n{context.speaker.say('stopping')}\n".encode())

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_how_to_continue(context: Context, state: Snapshot) -> None:
    speaker, far = context.speaker, ""
    if state.total_bytes:
        done, total = size_text(state.done_bytes), size_text(state.total_bytes)
        far = speaker.say("stopped-at", done=done, total=total)
    context.tell(speaker.say("stopped", at=far))
    name = Path(sys.argv[0]).name
    context.tell(f"  {shlex.join(['g3m' if name == '__main__.py' else name, *sys.argv[1:]])}")
