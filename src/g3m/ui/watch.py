"""Watching a run from a command: its views, its log files, and what a signal or the end of its time does."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click

from g3m.core.errors import Interrupted, TimeUp
from g3m.core.events import Event, Sink
from g3m.core.limits import parse_duration
from g3m.core.peers import shown
from g3m.core.secrets import mask
from g3m.core.tally import Snapshot, fold
from g3m.ui.figures import size_text
from g3m.ui.leave import give_back
from g3m.ui.logs import JsonLines
from g3m.ui.options import Context
from g3m.ui.story import LogFiles
from g3m.ui.terminal import draws, progress, show_cursor

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(slots=True)
class Watch:
    """The sinks of a run, and its state so far."""

    sinks: list[Sink] = field(default_factory=list)
    state: Snapshot = field(default_factory=Snapshot)

    def take(self, event: Event) -> None:
        """Keep the state, so that a stopped run can say how far it came."""
        self.state = fold(self.state, event, time.monotonic())


@dataclass(slots=True)
class _Stops:
    """What asked the run to stop: the first signal, or the end of its time if that came before."""

    signal: int = 0
    is_time_up: bool = False
    said: str = ""


@contextmanager
def watched(context: Context) -> Iterator[Watch]:
    """Show and log a run; where something stops it, say how to go on and leave with the code of that."""
    watch, stops = Watch(), _Stops()
    max_time = context.session.settings.max_time
    limit_s = parse_duration(max_time) if max_time else None
    quiet = context.quiet or context.json
    with (
        _stop_on_signals(context, stops),
        closing(LogFiles(context.session.store.work)) as files,
        progress(quiet=quiet, notice=lambda: stops.said) as show,
    ):
        watch.sinks += [watch.take, files, show]
        if context.json:
            watch.sinks.append(JsonLines(lambda line: click.echo(line, nl=False)))
        with _stop_after(limit_s, context, stops):
            try:
                yield watch
                return
            except Interrupted as error:
                stopped = error
    _tell_how_to_continue(context, watch.state)
    if stops.is_time_up:
        raise TimeUp(f"stopped after {max_time}, as --max-time says; run again to continue") from stopped
    stopped.exit_code = 128 + stops.signal if stops.signal else stopped.exit_code
    raise stopped


@contextmanager
def _stop_on_signals(context: Context, stops: _Stops) -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGUSR1 asks the run to stop; the second ends the process."""

    def stop(number: int, _frame: FrameType | None) -> None:
        if stops.signal:
            show_cursor()
            os._exit(128 + number)
        stops.signal = number
        _ask_to_stop(context, stops, context.speaker.say("stopping"))

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        give_back(before)


@contextmanager
def _stop_after(limit_s: float | None, context: Context, stops: _Stops) -> Iterator[None]:
    """After so many seconds the run is asked to stop, if nothing has stopped it before."""

    def stop() -> None:
        if not stops.signal:
            stops.is_time_up = True
            limit = context.session.settings.max_time
            _ask_to_stop(context, stops, context.speaker.say("time-up", limit=limit))

    if limit_s is None:
        yield
        return
    timer = threading.Timer(min(limit_s, threading.TIMEOUT_MAX), stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _ask_to_stop(context: Context, stops: _Stops, text: str) -> None:
    stops.said = text
    context.session.stop.set()
    if not context.quiet and (context.json or not draws(sys.stderr)):  # else it stands below the picture
        # Not through stderr's buffer: a signal may have come in the middle of a line to it.
        with suppress(OSError):
            os.write(2, f"\n{text}\n".encode())


def _tell_how_to_continue(context: Context, state: Snapshot) -> None:
    speaker, far = context.speaker, ""
    if state.total_bytes:
        done, total = size_text(state.done_bytes), size_text(state.total_bytes)
        far = speaker.say("stopped-at", done=done, total=total)
    context.tell(speaker.say("stopped", at=far))
    context.tell(f"  {own_line(context)}")


def own_line(context: Context, *more: str) -> str:
    """The command line of this process, to be run again: with more words, and without secrets."""
    name = Path(sys.argv[0]).name
    words = ["g3m" if name == "__main__.py" else name, *sys.argv[1:]]
    words += (word for word in more if word not in words)
    return shlex.join(_without_secrets(word, context) for word in words)


def _without_secrets(word: str, context: Context) -> str:
    """A word of the command line without tokens, logins and signatures: it may end in a job's log."""
    settings = context.session.settings
    for secrets, hidden in ((settings.peer, shown), (settings.proxy, mask)):
        for secret in secrets:
            word = word.replace(secret, hidden(secret))
    # The address of a list may be a signed one.
    return mask(word) if word.startswith(("http://", "https://")) else word
