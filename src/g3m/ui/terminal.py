"""Progress on a terminal: one bar for the bytes, a line for each task at work, the last trouble.

Not a terminal: dated lines (ui/logs.py). Both are folds of the same events.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from g3m.core.events import Event, Noted, Progressed, RouteDropped, TaskFailed
from g3m.core.tally import Running, Snapshot, fold
from g3m.ui.figures import count_text, duration_text, size_text
from g3m.ui.logs import Dated, fact_text, label
from g3m.ui.words import printable

REDRAW_S = 0.2
TASKS_SHOWN = 6


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A sink that shows a run on stderr, as that is able to show it."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        yield from _live()
    else:
        yield Dated(lambda line: click.echo(line, err=True, nl=False))


def _live() -> Iterator[Callable[[Event], None]]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    state, drawn_s = Snapshot(), 0.0
    console = Console(stderr=True, highlight=False)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(event: Event) -> None:
            nonlocal state, drawn_s
            now_s = time.monotonic()
            state = fold(state, event, now_s)
            if isinstance(event, (Noted, RouteDropped, TaskFailed)):
                live.console.print(printable(fact_text(event)), markup=False, emoji=False)
            if not isinstance(event, Progressed) or now_s - drawn_s >= REDRAW_S:
                drawn_s = now_s
                live.update(Text("\n".join(lines(state, console.width))), refresh=True)

        yield show


def lines(state: Snapshot, width: int) -> list[str]:
    """The picture of a run as plain lines of at most `width` characters."""
    if state.over:
        return []
    shown = [_bar(state)]
    tasks = list(state.running.items())
    shown += [_task_line(name, task) for name, task in tasks[:TASKS_SHOWN]]
    if len(tasks) > TASKS_SHOWN:
        shown.append(f"  and {len(tasks) - TASKS_SHOWN} more")
    return [" ".join(printable(line).splitlines())[:width] for line in shown]


def _bar(state: Snapshot) -> str:
    parts = [f"{state.finished}/{state.tasks} tasks"]
    if state.total_bytes:
        share = min(1.0, state.done_bytes / state.total_bytes)
        full = int(share * 24)
        parts.insert(0, "█" * full + "░" * (24 - full) + f" {share:4.0%}")
        parts.append(f"{size_text(state.done_bytes)} of {size_text(state.total_bytes)}")
    if state.rate_bytes_per_s:
        parts.append(f"{size_text(state.rate_bytes_per_s)}/s")
        parts.append(f"{duration_text(state.remaining_s)} left" if state.remaining_s else "")
    if state.samples:
        parts.append(f"{count_text(state.samples)} samples")
    return "  ".join(part for part in parts if part)


def _task_line(name: str, task: Running) -> str:
    far = ""
    if task.total_bytes and task.kind == "pack":
        far = f"{task.done_bytes} of {task.total_bytes} samples"
    elif task.total_bytes:
        far = f"{size_text(task.done_bytes)} of {size_text(task.total_bytes)}"
    place = f"from {task.place} ({task.way})" if task.place else ""
    what = label(name) if task.kind == "fetch" else name.partition("/")[2]
    return f"  {task.kind:8} {what:30} {far}  {place}".rstrip()
