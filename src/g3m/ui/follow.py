"""`g3m status --watch`: a run seen from another shell, by its files alone; nothing here can disturb it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress

import click

from g3m.adapters.disk import Lease
from g3m.core.events import Event, RunFinished
from g3m.ui.figures import count_text
from g3m.ui.logs import Repeats, stamp, status_text
from g3m.ui.options import Context
from g3m.ui.story import Follower
from g3m.ui.terminal import TOLD, draws, picture
from g3m.ui.words import printable

POLL_S = 0.5
LINE_S = 10.0

Show = Callable[[list[Event]], None]


def watch(context: Context) -> None:
    """Show the run at work until it ends or the user has seen enough."""
    store, say = context.session.store, context.speaker.say
    lease = Lease(store.work / "lock")
    with closing(Follower(store.work / "events.jsonl")) as follower, suppress(KeyboardInterrupt):
        follower.read()
        holder = lease.holder()
        if holder is None:
            click.echo(printable(say("running-not", root=store.root)))
            return
        who = {"pid": holder.get("pid"), "host": holder.get("host")}
        context.tell(say("watching", **who))
        with _view(follower) as show:
            _until_it_ends(follower, lease, show)
        state = follower.state
        if state.over:
            counts = {"done": state.finished, "tasks": state.tasks, "failed": state.failed.count}
            text = say("watch-end", **counts, samples=count_text(state.samples))
        else:
            text = say("watch-gone", **who)
        click.echo(printable(text))


def _until_it_ends(follower: Follower, lease: Lease, show: Show) -> None:
    """Read on until the run says that it ends, or nobody holds the lease any more."""
    at_work = True
    while at_work:
        # First who works, then what was done: what ends in between has written its last event.
        at_work = lease.holder() is not None
        news = follower.read()
        show(news)
        if any(isinstance(event, RunFinished) for event in news):
            return
        if at_work:
            time.sleep(POLL_S)


def _view(follower: Follower) -> AbstractContextManager[Show]:
    return _pictured(follower) if draws(sys.stdout) else nullcontext(_Lines(follower))


@contextmanager
def _pictured(follower: Follower) -> Iterator[Show]:
    """The picture that the run itself draws, and above it what the run tells."""
    repeats = Repeats()
    with picture(follower.now, stderr=False) as tell:

        def show(news: list[Event]) -> None:
            texts = [repeats.text(event, time.monotonic()) for event in news if isinstance(event, TOLD)]
            for text in filter(None, texts):
                tell(text)

        yield show


class _Lines:
    """A dated line now, and one every ten seconds."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._next_s = time.monotonic()

    def __call__(self, _news: list[Event]) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + LINE_S
            click.echo(printable(f"{stamp()} {status_text(self._follower.now())}"))
