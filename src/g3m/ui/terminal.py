"""Progress on a terminal: a bar for the bytes, a line for each task at work and one for each of its routes.

Elsewhere, and where a terminal cannot move its cursor, dated lines (ui/logs.py): both are folds of events.
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TextIO

import click

from g3m.core.events import Event, Noted, RouteDropped, RouteSpeed, TaskFailed
from g3m.core.tally import Running, Snapshot, fastest_first, fold
from g3m.ui.figures import count_text, duration_text, size_text
from g3m.ui.logs import Dated, Repeats, label, reasons_text, row_figures, rows_text
from g3m.ui.words import printable

REDRAWS_PER_S = 5
TASKS_SHOWN = 6
ROUTES_SHOWN = (4, 2, 1, 0)
"""Routes below each download: the most that fit the height."""

FIGURES_CELLS = 47
"""What stands before and behind a route's name."""

TOLD = (Noted, RouteDropped, TaskFailed)
"""What stays on the screen, above the picture."""


@contextmanager
def progress(*, quiet: bool, notice: Callable[[], str] = str) -> Iterator[Callable[[Event], None]]:
    """A sink that shows a run on stderr, as that is able to show it; `notice` is a line below the picture."""
    if quiet:
        yield lambda _: None
    elif draws(sys.stderr):
        with _live(notice) as show:
            yield show
    else:
        yield Dated(lambda line: click.echo(line, err=True, nl=False))


def draws(stream: TextIO) -> bool:
    """Whether a picture can be drawn there."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


@contextmanager
def _live(notice: Callable[[], str]) -> Iterator[Callable[[Event], None]]:
    state, repeats = Snapshot(), Repeats()
    with picture(lambda: replace(state, now_s=time.monotonic()), stderr=True, notice=notice) as tell:

        def show(event: Event) -> None:
            nonlocal state
            now_s = time.monotonic()
            state = fold(state, event, now_s)
            text = repeats.text(event, now_s) if isinstance(event, TOLD) else ""
            if text:
                tell(text)

        yield show


@contextmanager
def picture(
    current: Callable[[], Snapshot], *, stderr: bool, notice: Callable[[], str] = str
) -> Iterator[Callable[[str], None]]:
    """Draw a state five times a second, on a thread of its own; what is yielded prints a line above."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=stderr, highlight=False)

    def drawn() -> Text:
        shown = lines(current(), console.width, console.height - 1)
        if notice():
            shown.append(cut(_one_line(notice()), console.width))
        return Text("\n".join(shown), no_wrap=True, overflow="crop")

    with Live(
        console=console, get_renderable=drawn, refresh_per_second=REDRAWS_PER_S, transient=True
    ) as live:
        yield lambda text: live.console.print(printable(text), markup=False, emoji=False)


def show_cursor() -> None:
    """Bring back the cursor that the picture hides, for a process that ends at once."""
    if draws(sys.stderr):
        os.write(2, b"\x1b[?25h")


def lines(state: Snapshot, width: int, height: int = 50) -> list[str]:
    """The picture of a run as plain lines that fit a window."""
    if state.over:
        return []
    shown: list[str] = []
    for most in ROUTES_SHOWN:
        shown = _picture(state, width, most)
        if len(shown) < height:
            break
    return [cut(_one_line(line), width) for line in shown[: max(1, height - 1)]]


def _one_line(text: str) -> str:
    return " ".join(printable(text).replace("\t", " ").splitlines())


def _picture(state: Snapshot, width: int, most: int) -> list[str]:
    """All lines, with at most so many routes below a download."""
    shown = [_bar(state)]
    if reasons := reasons_text(state.rows):
        shown.append(f"  {'left out':8} {reasons}")
    tasks = sorted(state.running.items(), key=lambda item: item[1].kind != "fetch")
    for name, task in tasks[:TASKS_SHOWN]:
        routes = _at_work(task) if most else ()
        shown.append(_task_line(name, task, with_place=not routes))
        shown += route_lines(routes, width, most)
    if len(tasks) > TASKS_SHOWN:
        shown.append(f"  and {len(tasks) - TASKS_SHOWN} more")
    return shown


def _bar(state: Snapshot) -> str:
    parts, rows = [f"{state.finished}/{state.tasks} tasks"], state.rows
    if rows.total and state.done_bytes >= state.total_bytes:  # before, the bar is the archives'
        parts = [_share(rows.done / rows.total), *parts, *row_figures(state)]
    elif state.total_bytes:
        parts.insert(0, _share(state.done_bytes / state.total_bytes))
        parts.append(f"{size_text(state.done_bytes)} of {size_text(state.total_bytes)}")
    if state.rate_bytes_per_s:
        parts.append(f"{size_text(state.rate_bytes_per_s)}/s")
        parts.append(f"{duration_text(state.remaining_s)} left" if state.remaining_s else "")
    if state.samples:
        parts.append(f"{count_text(state.samples)} samples")
    return "  ".join(part for part in parts if part)


def _share(share: float) -> str:
    full = int(min(1.0, share) * 24)
    return "█" * full + "░" * (24 - full) + f" {min(1.0, share):4.0%}"


def _task_line(name: str, task: Running, *, with_place: bool) -> str:
    far = ""
    if task.rows is not None:
        far = rows_text(task.rows)
    elif task.total_bytes and task.kind == "pack":
        far = f"{task.done_bytes} of {task.total_bytes} samples"
    elif task.total_bytes:
        far = f"{size_text(task.done_bytes)} of {size_text(task.total_bytes)}"
    place = f"from {task.place} ({task.way})" if task.place and with_place else ""
    what = label(name) if task.kind == "fetch" else name.partition("/")[2]
    return f"  {task.kind:8} {padded(_one_line(what), 30)} {far}  {place}".rstrip()


def _at_work(task: Running) -> tuple[RouteSpeed, ...]:
    return fastest_first(route for route in task.routes if route.connections or route.done_bytes)


def route_lines(routes: Sequence[RouteSpeed], width: int, most: int) -> list[str]:
    """A line for each route: its name, connections, speed and bytes, in columns."""
    room = min(max(width - FIGURES_CELLS, 12), 60)
    names = [cut(_one_line(f"{route.place} ({route.way})"), room) for route in routes[:most]]
    column = max(28, *map(cells, names)) if names else 0
    shown = [
        f"    {padded(name, min(column, room))}  {_route_figures(route)}"
        for name, route in zip(names, routes, strict=False)
    ]
    return [*shown, f"    and {len(routes) - most} more"] if len(routes) > most else shown


def _route_figures(route: RouteSpeed) -> str:
    connections = f"{route.connections} connection{'' if route.connections == 1 else 's'}"
    rate, done = f"{size_text(route.rate_bytes_per_s)}/s", size_text(route.done_bytes)
    return f"{connections:>14}   {rate:>10}   {done:>8}"


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: two for a Chinese character, none for an accent alone."""
    return sum(_cells_of(letter) for letter in text)


def _cells_of(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int) -> str:
    """The text, or what of it fits, with an ellipsis where something is left out."""
    if cells(text) <= width:
        return text
    kept, left = "", width - 1
    for letter in text:
        left -= _cells_of(letter)
        if left < 0:
            break
        kept += letter
    return f"{kept}…" if width > 0 else ""


def padded(text: str, width: int) -> str:
    """The text with blanks up to a width in columns."""
    return text + " " * (width - cells(text))
