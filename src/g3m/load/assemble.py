"""Batches in order, made sample by sample: by threads a few batches ahead, or by who takes them.

Here: who does what when, what stands in the place of a broken picture, and how it all stops. Not here: what a
batch is made of, which is its maker's business (load/torch.py), and which samples it has (core/order.py).

One sample is one piece of work. So all threads make the first batch together, and a slow picture delays no
batch but its own.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

from g3m.core.errors import NotVerified, UsageError

Caption = str | tuple[str, ...]

STOP_S = 5.0
"""How long a stop waits for threads in the middle of a sample; they end by themselves after it."""


@dataclass(frozen=True, slots=True)
class BrokenImage:
    """A sample whose picture could not be decoded, and why."""

    dataset: str
    key: str
    reason: str


Row = tuple[str, Caption]
"""The key and the caption of a sample."""


class Maker(Protocol):
    """Makes batches; called from many threads at once. `memory` is its own: the pictures of one batch."""

    def begin(self, count: int) -> Any:
        """Memory for so many pictures."""
        ...

    def fill(self, memory: Any, place: int, number: int) -> Row | BrokenImage:
        """Put the picture of a sample into its place; a broken one leaves the place as it was or spoilt."""
        ...

    def copy(self, memory: Any, place: int, source: int) -> None:
        """Put the picture at `source` at `place` too."""
        ...

    def finish(self, memory: Any) -> Any:
        """What is handed out, when every place is filled."""
        ...


@dataclass(slots=True)
class Whole:
    """A batch; `good` is the number of its last sample with a picture, None (as `images`) if it has none."""

    numbers: tuple[int, ...]
    images: Any
    rows: list[Row]
    broken: tuple[BrokenImage, ...]
    good: int | None


def substitutes(usable: Sequence[bool]) -> list[tuple[int, int]]:
    """For each place that is not usable the next one that is, after the last the first; [] if none is.

    >>> substitutes([False, True, False, True, False])
    [(0, 1), (2, 3), (4, 1)]
    """
    following = next((place for place, good in enumerate(usable) if good), None)
    if following is None:
        return []
    found = []
    for place in reversed(range(len(usable))):
        if usable[place]:
            following = place
        else:
            found.append((place, following))
    return found[::-1]


def make(maker: Maker, numbers: tuple[int, ...]) -> Whole:
    """A batch of these samples, made by the caller alone."""
    memory = maker.begin(len(numbers))
    return whole(maker, numbers, memory, [maker.fill(memory, place, n) for place, n in enumerate(numbers)])


def whole(maker: Maker, numbers: tuple[int, ...], memory: Any, rows: list[Any]) -> Whole:
    """A batch from filled memory: broken pictures are replaced by good ones of the same batch."""
    broken = tuple(row for row in rows if isinstance(row, BrokenImage))
    if not broken:
        return Whole(numbers, maker.finish(memory), rows, broken, numbers[-1] if numbers else None)
    usable = [not isinstance(row, BrokenImage) for row in rows]
    if not any(usable):
        return Whole(numbers, None, [], broken, None)
    for place, source in substitutes(usable):
        maker.copy(memory, place, source)
        rows[place] = rows[source]
    last = max(place for place, good in enumerate(usable) if good)
    return Whole(numbers, maker.finish(memory), rows, broken, numbers[last])


def replace_all(maker: Maker, batch: Whole, good: int | None) -> Whole:
    """In the place of a batch without any good picture, the good sample of that number as often as needed.

    NotVerified if there is none.
    """
    first = batch.broken[0]
    if good is None:
        raise NotVerified(
            f"{first.dataset}/{first.key}: cannot be decoded ({first.reason}), nor can any other of the first"
            f" {len(batch.numbers)} pictures"
        )
    memory = maker.begin(len(batch.numbers))
    row = maker.fill(memory, 0, good)
    if isinstance(row, BrokenImage):
        raise NotVerified(f"{row.dataset}/{row.key}: could be decoded, and now cannot: {row.reason}")
    for place in range(1, len(batch.numbers)):
        maker.copy(memory, place, 0)
    rows = [row] * len(batch.numbers)
    return Whole(batch.numbers, maker.finish(memory), rows, batch.broken, good)


class _Slot:
    """A batch in the making."""

    __slots__ = ("error", "failed", "left", "lock", "memory", "numbers", "ready", "rows", "step", "whole")

    def __init__(self, step: int) -> None:
        self.step = step
        self.numbers: tuple[int, ...] = ()
        self.memory: Any = None
        self.rows: list[Any] = []
        self.left = 0
        self.lock = threading.Lock()
        self.ready = threading.Event()
        self.whole: Whole | None = None
        self.error: BaseException | None = None
        self.failed = 0
        """The place where the error was: of several, the first one's, however the threads went."""


class _Crew:
    """What the threads share. It does not know who takes the batches, so that he can be forgotten."""

    def __init__(self, maker: Maker, batches: Sequence[tuple[int, ...]]) -> None:
        self.maker = maker
        self.batches = batches
        self.stopped = False
        self.announced: deque[_Slot] = deque()
        self.jobs: SimpleQueue[tuple[_Slot, int] | None] = SimpleQueue()
        """A sample to fill, or None: look whether a batch is announced, or whether it is time to stop."""

    def announce(self, slot: _Slot) -> None:
        """Have a batch made. A thread gets its numbers and its memory, which cost time, before other work."""
        self.announced.append(slot)
        self.jobs.put(None)

    def work(self) -> None:
        """What each thread does until it is stopped."""
        while True:
            job = self.jobs.get()
            if self.stopped:
                return
            if self.announced:
                self._open()
            if job is not None:
                self._fill(*job)
                job = None  # while it waits, a thread must not keep a batch alive

    def _open(self) -> None:
        try:
            slot = self.announced.popleft()
        except IndexError:
            return
        try:
            slot.numbers = self.batches[slot.step]
            slot.memory = self.maker.begin(len(slot.numbers))
        except BaseException as error:  # noqa: BLE001  it belongs to who takes the batch
            slot.error = error
            slot.ready.set()
            return
        slot.left = slot.failed = len(slot.numbers)
        slot.rows = [None] * slot.left
        for place in range(slot.left):
            self.jobs.put((slot, place))
        if not slot.numbers:
            self._finish(slot)

    def _fill(self, slot: _Slot, place: int) -> None:
        try:
            if place < slot.failed:
                slot.rows[place] = self.maker.fill(slot.memory, place, slot.numbers[place])
        except BaseException as error:  # noqa: BLE001  it belongs to who takes the batch
            with slot.lock:
                if place < slot.failed:
                    slot.failed, slot.error = place, error
        with slot.lock:
            slot.left -= 1
            last = not slot.left
        if last:
            self._finish(slot)

    def _finish(self, slot: _Slot) -> None:
        try:
            if slot.error is None:
                slot.whole = whole(self.maker, slot.numbers, slot.memory, slot.rows)
        except BaseException as error:  # noqa: BLE001  it belongs to who takes the batch
            slot.error = error
        slot.memory = None
        slot.ready.set()


class Assembly:
    """The batches of a sequence from `begin` on, made by threads; at most `ahead` are ready or in the making.

    The threads end with the last batch, at an error, at `close()`, when nobody holds this any more, and at
    exit. Exceptions of the maker reach who takes the batch.
    """

    def __init__(
        self, maker: Maker, batches: Sequence[tuple[int, ...]], begin: int, *, workers: int, ahead: int
    ) -> None:
        self._crew = crew = _Crew(maker, batches)
        self._steps = iter(range(begin, len(batches)))
        self._slots: deque[_Slot] = deque()
        self._process = os.getpid()
        threads = [
            threading.Thread(target=crew.work, name=f"g3m-load-{number}", daemon=True)
            for number in range(workers)
        ]
        self._stop = weakref.finalize(self, _stop, crew, threads, self._process)
        for _ in range(max(1, ahead)):
            self._announce()
        if self._slots:
            for thread in threads:
                thread.start()

    def __iter__(self) -> Iterator[Whole]:
        return self

    def __next__(self) -> Whole:
        if os.getpid() != self._process:
            raise UsageError(
                "this epoch was begun in another process, whose threads are not here",
                hint=("call iter(loader) in this process", "请在本进程中重新调用 iter(loader)"),
            )
        if not self._slots:
            self.close()
            raise StopIteration
        try:
            slot = self._slots[0]
            slot.ready.wait()
            if slot.error is not None:
                raise slot.error
        except BaseException:
            self.close()
            raise
        if not self._slots:  # closed by somebody else while this waited
            raise StopIteration
        self._slots.popleft()
        self._announce()
        if slot.whole is None:
            raise StopIteration
        return slot.whole

    def close(self) -> None:
        """Stop the threads; whoever waits for a batch gets the end instead."""
        slots = list(self._slots)
        self._slots.clear()
        self._steps = iter(())
        self._stop()
        for slot in slots:
            slot.ready.set()

    def _announce(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            slot = _Slot(step)
            self._slots.append(slot)
            self._crew.announce(slot)


def _stop(crew: _Crew, threads: list[threading.Thread], process: int) -> None:
    """Let the threads end after the sample they are at. Called by the collector too, so from any thread."""
    crew.stopped = True
    if os.getpid() != process:
        return
    for _ in threads:
        crew.jobs.put(None)
    end = time.monotonic() + STOP_S
    for thread in threads:
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join(max(0.0, end - time.monotonic()))
